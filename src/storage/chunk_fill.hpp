#pragma once
// Chunks of a segment (graph/chunk_layout.hpp), made from its pages.

#include "storage/segment_reader.hpp"

#include "graph/chunk_layout.hpp"

namespace tandem::storage {

/// Makes chunks of one segment. Plain data; holds at most two pins, and those of what is read ahead, until CloseFiller().
struct ChunkFiller {
  BlobReader blob;
  const SegmentHead* head;
  MemoryContext context;  ///< what follows
  char* record;           ///< one, as pages have it
  // If walk codes are made of vectors.
  RowReader* rows;
  std::uint32_t* row_starts;  ///< of a chunk's nodes, and one more
  std::uint32_t* only_rows;   ///< of a chunk's nodes
};

/// Scratch memory comes from a child of the current memory context. `manifest`, `head` and what `blob` points to must outlive the
/// filler. manifest: as for OpenRows(). strategy: for reading pages; may be nullptr.
void OpenFiller(ChunkFiller* filler, Relation index, const Manifest& manifest, const BlobRef& blob,
                const SegmentHead* head, BufferAccessStrategy strategy);

/// Chunks [first, end) will be filled next, in ascending order: their records are read ahead where the server can do that. The filler must
/// stay where it is.
void ReadAhead(ChunkFiller* filler, uint32 first, uint32 end);

/// Writes chunk number `chunk` of `head->layout` to `to`, graph::kChunkBytes. Reads pages in their order and checks each page's
/// checksum and for interrupts; leaves by longjmp like any server function. False: the segment was recycled, or is damaged, as a
/// WARNING says then; nothing in `to` is worth anything, now or later.
/// Contents are copied as they are: whoever uses them checks them, as if they came from a page.
[[nodiscard]] bool FillChunk(ChunkFiller* filler, uint32 chunk, char* to);

/// Frees the scratch memory, too.
void CloseFiller(ChunkFiller* filler);

}  // namespace tandem::storage
