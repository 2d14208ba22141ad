#include "base/tid_set.hpp"

#include <algorithm>
#include <limits>

namespace tandem::base {
namespace {

constexpr std::uint32_t kPastAllBlocks = std::numeric_limits<std::uint32_t>::max();

bool IsBefore(const TidSet::Block& block, std::uint32_t number) noexcept {
  return block.number < number;
}

}  // namespace

void TidSet::AddTid(HeapTid tid) {
  const std::uint32_t number = tid.Block();
  if (blocks_.empty() || blocks_.back().number != number) {
    blocks_.push_back({number, static_cast<std::uint32_t>(offsets_.size())});
  } else if (blocks_.back().first == offsets_.size() || offsets_.back() == tid.offset) {
    return;
  }
  offsets_.push_back(tid.offset);
}

void TidSet::AddWholeBlock(std::uint32_t number) {
  if (blocks_.empty() || blocks_.back().number != number) {
    blocks_.push_back({number, static_cast<std::uint32_t>(offsets_.size())});
  } else if (blocks_.back().first == offsets_.size()) {
    return;
  } else {
    offsets_.resize(blocks_.back().first);
  }
  ++whole_blocks_;
}

void TidSet::Freeze() {
  blocks_.push_back({kPastAllBlocks, static_cast<std::uint32_t>(offsets_.size())});
}

bool TidSet::Contains(HeapTid tid) const noexcept {
  TidFinder finder(this);
  return finder.Contains(tid);
}

bool TidSet::HasOffset(std::size_t block, std::uint16_t offset) const noexcept {
  const std::uint16_t* first = offsets_.data() + blocks_[block].first;
  const std::uint16_t* end = offsets_.data() + blocks_[block + 1].first;
  if (first == end) return true;
  // Mostly a few: a walk is faster than halving.
  if (end - first > 16) first = std::lower_bound(first, end, offset);
  while (first != end && *first < offset) ++first;
  return first != end && *first == offset;
}

bool TidFinder::SeekBlock(std::uint32_t number) noexcept {
  const TidSet::Block* blocks = set_->blocks_.data();
  const std::size_t end = set_->blocks_.size() - 1;
  std::size_t low = at_;
  std::size_t high = end;
  if (at_ < end && blocks[at_].number < number) {
    for (std::size_t step = 1; at_ + step < end; step *= 2) {
      if (blocks[at_ + step].number >= number) {
        high = at_ + step;
        break;
      }
      low = at_ + step;
    }
  } else {
    // Not ahead: it was passed, or is the one.
    high = at_;
    low = at_ > 0 && blocks[at_ - 1].number >= number ? 0 : at_;
  }
  at_ = static_cast<std::size_t>(std::lower_bound(blocks + low, blocks + high, number, IsBefore) - blocks);
  return at_ < end;
}

bool TidFinder::Contains(HeapTid tid) noexcept {
  return SeekBlock(tid.Block()) && block() == tid.Block() && BlockHas(tid.offset);
}

}  // namespace tandem::base
