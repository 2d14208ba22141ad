// Looking TIDs up. Rows mostly lie in a segment as their tuples lie in the heap, so a block's place among the TIDs is about
// what its number says: a guess by interpolation is off by a page or two (Perl, Itai and Avni 1978), and halving takes over
// where it is off by more.

#include "pg/compat.hpp"

#include "storage/segment_tids.hpp"

namespace tandem::storage {

namespace {

constexpr uint32 kEntriesPerPage = kBlobPageBytes / sizeof(graph::TidEntry);
constexpr int kGuesses = 3;

}  // namespace

void SegmentTids::Open(Relation index, const Manifest& manifest, const SegmentInfo& segment,
                       const graph::SegmentHeader* header, Buffer* recent) {
  OpenBlob(&blob_, index, manifest.incarnation, manifest.BlobOf(segment), recent);
  header_ = header;
  scratch_ = static_cast<char*>(palloc(kBlobPageBytes));
  knows_last_ = false;
}

base::Span<const graph::TidEntry> SegmentTids::From(uint32 ordinal) {
  CHECK_FOR_INTERRUPTS();
  const uint64 offset = header_->tids_at + static_cast<uint64>(ordinal) * sizeof(graph::TidEntry);
  const auto on_page =
      static_cast<uint32>((kBlobPageBytes - offset % kBlobPageBytes) / sizeof(graph::TidEntry));
  // One that lies across a page boundary comes alone.
  const uint32 entries = Min(Max(on_page, 1U), count() - ordinal);
  const char* bytes =
      ReadBlob(&blob_, offset, entries * static_cast<uint32>(sizeof(graph::TidEntry)), scratch_);
  return {reinterpret_cast<const graph::TidEntry*>(bytes), entries};
}

uint32 SegmentTids::LastBlock() {
  if (!knows_last_) last_block_ = From(count() - 1)[0].tid.Block();
  knows_last_ = true;
  return last_block_;
}

uint32 SegmentTids::FirstOnPageOf(uint32 ordinal) const {
  const uint64 offset = header_->tids_at + static_cast<uint64>(ordinal) * sizeof(graph::TidEntry);
  const uint64 page_at = offset - offset % kBlobPageBytes;
  if (page_at <= header_->tids_at) return 0;
  return static_cast<uint32>((page_at - header_->tids_at + sizeof(graph::TidEntry) - 1) /
                             sizeof(graph::TidEntry));
}

uint32 SegmentTids::SkipSplit(uint32 ordinal, uint32 block) {
  const uint64 offset = header_->tids_at + static_cast<uint64>(ordinal) * sizeof(graph::TidEntry);
  const bool is_split = kBlobPageBytes - offset % kBlobPageBytes < sizeof(graph::TidEntry);
  if (!is_split || ordinal + 1 == count()) return ordinal;
  return From(ordinal + 1)[0].tid.Block() < block ? ordinal + 1 : ordinal;
}

uint32 SegmentTids::Guess(uint32 block, const TidRange& range) {
  // Of the first block some entries come before the range: half, as likely as not.
  const double share = (static_cast<double>(block - range.low_block) - 0.5) /
                       static_cast<double>(range.high_block - range.low_block);
  return range.low + static_cast<uint32>(share * (range.high - range.low));
}

void SegmentTids::AskFor(uint32 block, uint32 low, uint32 low_block) const {
  if (!knows_last_ || blob_.recent == nullptr || block <= low_block || block > last_block_ || low >= count())
    return;
  // The block's entries, if they are few, and as many around as the guess is off.
  constexpr uint32 kMostInBlock = 16;
  const uint32 in_block = Min((count() - low) / (last_block_ - low_block), kMostInBlock);
  const uint32 guess = Guess(block, {low, low_block, count(), last_block_});
  const uint32 first = guess - Min(guess, in_block / 2);
  PrefetchBlob(blob_, header_->tids_at + static_cast<uint64>(first) * sizeof(graph::TidEntry),
               (2 * in_block + 1) * static_cast<uint32>(sizeof(graph::TidEntry)));
}

uint32 SegmentTids::Seek(uint32 block, uint32 low, uint32 low_block) {
  uint32 high = count();
  uint32 high_block = LastBlock();
  for (int tries = 0; high - low > kEntriesPerPage; tries++) {
    uint32 guess = low + (high - low) / 2;
    if (tries < kGuesses && low_block < block && block <= high_block)
      guess = Guess(block, {low, low_block, high, high_block});
    // All of the page: the place is a few entries off.
    guess = Max(low, FirstOnPageOf(guess));
    const base::Span<const graph::TidEntry> entries = From(guess);
    if (stale()) return count();
    if (entries[0].tid.Block() >= block) {
      if (guess == low) return low;
      high = guess;
      high_block = entries[0].tid.Block();
    } else if (entries[entries.size() - 1].tid.Block() < block) {
      low = guess + static_cast<uint32>(entries.size());
      low_block = entries[entries.size() - 1].tid.Block();
    } else {
      return guess + static_cast<uint32>(BlockPlaces(entries).Find(entries.begin(), block) - entries.begin());
    }
  }
  return low;
}

}  // namespace tandem::storage
