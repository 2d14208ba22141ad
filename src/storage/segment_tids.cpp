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

uint32 SegmentTids::Seek(uint32 block, uint32 low, uint32 low_block) {
  if (!knows_last_) last_block_ = From(count() - 1)[0].tid.Block();
  knows_last_ = true;
  uint32 high = count();
  uint32 high_block = last_block_;
  for (int tries = 0; high - low > kEntriesPerPage; tries++) {
    uint32 guess = low + (high - low) / 2;
    if (tries < kGuesses && low_block < block && block <= high_block) {
      const double share =
          static_cast<double>(block - low_block) / (static_cast<double>(high_block - low_block) + 1.0);
      guess = low + static_cast<uint32>(share * (high - low));
      // So that the place lies in the middle of what is looked at.
      guess -= Min(guess - low, kEntriesPerPage / 2);
    }
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
