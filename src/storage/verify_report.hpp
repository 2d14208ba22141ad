#pragma once
// How the parts of verification say what is wrong.

#include "storage/claims.hpp"
#include "storage/verify.hpp"

namespace tandem::storage {

/// Where problems go.
struct Reporter {
  ProblemSink sink;
  void* state;

  /// block: where, or InvalidBlockNumber. Texts are cut at 255 bytes.
  void Say(BlockNumber block, const char* format, ...) const __attribute__((format(printf, 3, 4))) {
    char text[256];
    va_list args;
    va_start(args, format);
    (std::vsnprintf)(text, sizeof text, format, args);
    va_end(args);
    sink(state, block, text);
  }
};

/// Copies block `block` to `image`, a page. False when the file has no such block.
bool CopyBlock(Relation index, BlockNumber block, BlockNumber file_blocks, char* image);

/// Checks what all pages have in common. False if the page's contents make no sense.
bool CheckFrame(const Reporter& report, BlockNumber block, char* image, PageKind kind, uint32 ordinal,
                uint64 incarnation);

/// Checks that the places of `rows` sparse rows follow each other, and what lies there.
void VerifySparseRows(Relation index, const DirectoryView& view, uint64 rows, const Reporter& report);

/// Checks the manifest's pages; `problem` is what ReadLayoutAnyway() said of it, if it did.
void VerifyManifest(Relation index, const IndexLayout& layout, const char* problem, const Reporter& report);

/// Checks the manifest's packed ranges: their pages, and that they hold what they should. rows: as VerifySegments().
void VerifyPacked(Relation index, const IndexLayout& layout, uint64 rows, const Reporter& report);

/// True if an extent of the vectors is, or is to become, a hole: packed ranges hold its rows.
[[nodiscard]] bool IsPackedExtent(const Manifest& manifest, uint32 extent);

/// Checks the manifest's segments: every page's checksum, the graphs, and their rows against the row heads. `rows` row ids
/// existed when the layout was read.
void VerifySegments(Relation index, const IndexLayout& layout, uint64 rows, const Reporter& report);

}  // namespace tandem::storage
