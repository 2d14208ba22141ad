#pragma once
// Who owns which blocks. What nobody claims is free: free blocks are written nowhere.

#include "storage/manifest.hpp"

namespace tandem::storage {

enum class BlockOwner : uint8 {
  kNobody,
  kMeta,
  kDirectory,
  kHeads,
  kVectors,
  kNullHeads,
  kManifest,
  kSegment,
  kPacked,
  kRetired,   ///< blobs that a running scan may still read
  kReserved,  ///< free extents held ready for streams
};
constexpr int kBlockOwners = 11;

/// For messages: "a heads extent" and so on.
[[nodiscard]] const char* NameOfOwner(BlockOwner owner);

/// What an index consisted of at one moment: the moment its meta page was copied.
struct IndexLayout {
  MetaPage meta;
  DirectoryView* directory;
  Manifest* manifest;  ///< nullptr if damaged, see ReadLayoutAnyway()
};

/// In the current memory context. Raises ERRCODE_INDEX_CORRUPTED as ReadManifest() does. The caller holds the builder lock,
/// or has a snapshot.
[[nodiscard]] IndexLayout* ReadLayout(Relation index);
/// As ReadLayout(), but a damaged manifest is not an error: it is missing from the layout, and `problem` says why.
[[nodiscard]] IndexLayout* ReadLayoutAnyway(Relation index, const char** problem);

/// Calls `visit` for every run of blocks that something owns.
using ClaimVisitor = void (*)(void* state, BlockOwner owner, BlockNumber first, uint32 blocks);
void VisitClaims(const IndexLayout& layout, ClaimVisitor visit, void* state);

/// Number of blocks below the high-water mark by owner, for statistics: `blocks` has kBlockOwners entries.
void CountClaims(const IndexLayout& layout, uint64* blocks);

}  // namespace tandem::storage
