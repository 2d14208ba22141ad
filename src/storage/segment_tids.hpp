#pragma once
// The TIDs of a segment, ascending, on its pages: which rows stand for given TIDs.

#include "storage/segment_reader.hpp"

namespace tandem::storage {

/// Reads them page by page. Plain data; holds at most one pin, until Close(). Contents are believed no further than that rows
/// must be the segment's.
class SegmentTids {
 public:
  /// recent: as for OpenBlob(). Everything named must outlive it; scratch memory comes from the current memory context.
  void Open(Relation index, const Manifest& manifest, const SegmentInfo& segment,
            const graph::SegmentHeader* header, Buffer* recent);
  void Close() { CloseBlob(&blob_); }

  /// How many there are. One TID may stand for several rows: an old one that is dead, and the one that has its place.
  [[nodiscard]] uint32 count() const { return static_cast<uint32>(header_->rows); }
  /// Entries from `ordinal` < count() on, as many as lie together, at least one. Valid until the next call. Checks for interrupts.
  [[nodiscard]] base::Span<const graph::TidEntry> From(uint32 ordinal);
  /// An ordinal not before `low` and before which no entry has block `block` or a later one, mostly the last such: entries
  /// before `low` must be of earlier blocks, the last of them of `low_block`.
  [[nodiscard]] uint32 Seek(uint32 block, uint32 low, uint32 low_block);

  /// The segment was recycled: what was read is worth nothing.
  [[nodiscard]] bool stale() const { return blob_.stale; }

 private:
  BlobReader blob_;
  const graph::SegmentHeader* header_;
  char* scratch_;
  uint32 last_block_;  ///< of the last entry; read when it is needed
  bool knows_last_;
};

}  // namespace tandem::storage
