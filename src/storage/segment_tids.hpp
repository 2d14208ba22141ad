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
  /// The ordinal behind, if that entry lies across a page boundary and is of an earlier block: on the next page, which is read anyway, what
  /// follows tells it.
  [[nodiscard]] uint32 SkipSplit(uint32 ordinal, uint32 block);
  /// Asks for the memory where Seek() would look for the block first, from there. After the first Seek().
  void AskFor(uint32 block, uint32 low, uint32 low_block) const;

  /// The segment was recycled: what was read is worth nothing.
  [[nodiscard]] bool stale() const { return blob_.stale; }

 private:
  /// Entries [low, high): those before are of `low_block` and earlier blocks, the last one is of `high_block`, or the first behind.
  struct TidRange {
    uint32 low;
    uint32 low_block;
    uint32 high;
    uint32 high_block;
  };
  /// Where the block should be, if rows lie evenly; it is one of the range's.
  [[nodiscard]] static uint32 Guess(uint32 block, const TidRange& range);
  /// The first entry that begins on the page on which that one does.
  [[nodiscard]] uint32 FirstOnPageOf(uint32 ordinal) const;
  [[nodiscard]] uint32 LastBlock();

  BlobReader blob_;
  const graph::SegmentHeader* header_;
  char* scratch_;
  uint32 last_block_;  ///< of the last entry; read when it is needed
  bool knows_last_;
};

/// Where blocks are among entries that lie together: their numbers tell it to within a few entries, as for whole segments, so that no line of memory between is looked at. There is one entry at least.
class BlockPlaces {
 public:
  explicit BlockPlaces(base::Span<const graph::TidEntry> entries)
      : entries_(entries),
        first_(entries[0].tid.Block()),
        last_(entries[entries.size() - 1].tid.Block()),
        per_block_(static_cast<double>(entries.size()) / static_cast<double>(Max(last_ - first_, 1U))) {}

  /// The first entry of that block or of a later one, not before `from`.
  [[nodiscard]] const graph::TidEntry* Find(const graph::TidEntry* from, uint32 block) const {
    if (block > last_) return entries_.end();
    const graph::TidEntry* at = Max(from, Guess(block));
    while (at != from && at[-1].tid.Block() >= block)
      at -= Min(static_cast<std::ptrdiff_t>(kStep), at - from);
    while (at->tid.Block() < block) at++;
    return at;
  }
  /// Asks for where it will be looked for.
  void AskFor(uint32 block) const {
    if (block >= first_ && block <= last_) __builtin_prefetch(Guess(block));
  }

 private:
  static constexpr std::ptrdiff_t kStep = 16;

  [[nodiscard]] const graph::TidEntry* Guess(uint32 block) const {
    if (block <= first_) return entries_.begin();  // before it: of a damaged page
    // The first block and the last go on elsewhere: half of each is here, as likely as not.
    return entries_.begin() + static_cast<std::ptrdiff_t>((block - first_ - 0.5) * per_block_);
  }

  base::Span<const graph::TidEntry> entries_;
  uint32 first_;
  uint32 last_;
  double per_block_;
};

}  // namespace tandem::storage
