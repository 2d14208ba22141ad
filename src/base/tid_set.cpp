#include "base/tid_set.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace tandem::base {
namespace {

constexpr std::uint32_t kPastAllBlocks = std::numeric_limits<std::uint32_t>::max();

bool IsBefore(const TidSet::Block& block, std::uint32_t number) noexcept {
  return block.number < number;
}

constexpr unsigned kOffsetBits = 16;
constexpr std::uint64_t kOffsetMask = (1U << kOffsetBits) - 1;

unsigned BitsOf(std::uint64_t value) noexcept {
  return value == 0 ? 0 : 64 - static_cast<unsigned>(__builtin_clzll(value));
}

/// Sorts by the lowest `bits` bits, digit by digit from the lowest on (radix sort); where the sorted ones are, which is one of the two.
const std::uint64_t* Sort(std::uint64_t* values, std::size_t count, std::uint64_t* scratch, unsigned bits) {
  constexpr unsigned kDigitBits = 11;  // counts of a digit stay in the first-level cache
  constexpr std::size_t kDigits = std::size_t{1} << kDigitBits;
  for (unsigned shift = 0; shift < bits; shift += kDigitBits) {
    std::size_t begins[kDigits + 1] = {};
    for (std::size_t i = 0; i < count; ++i) ++begins[(values[i] >> shift) % kDigits + 1];
    for (std::size_t digit = 1; digit < kDigits; ++digit) begins[digit] += begins[digit - 1];
    for (std::size_t i = 0; i < count; ++i) scratch[begins[(values[i] >> shift) % kDigits]++] = values[i];
    std::swap(values, scratch);
  }
  return values;
}

}  // namespace

void TidSet::AddKeys(std::uint64_t* keys, std::size_t count, std::uint64_t* scratch) {
  std::uint64_t used = 0;
  bool is_ascending = true;
  for (std::size_t i = 0; i < count; ++i) {
    used |= keys[i];
    is_ascending = is_ascending && (i == 0 || keys[i - 1] <= keys[i]);
  }
  // Offsets are small: closed up, fewer digits have to be sorted.
  const unsigned offset_bits = BitsOf(used & kOffsetMask);
  const std::uint64_t* sorted = keys;
  if (!is_ascending) {
    for (std::size_t i = 0; i < count; ++i)
      keys[i] = keys[i] >> kOffsetBits << offset_bits | (keys[i] & kOffsetMask);
    sorted = Sort(keys, count, scratch, BitsOf(used >> kOffsetBits) + offset_bits);
  }
  const unsigned shift = is_ascending ? kOffsetBits : offset_bits;
  const std::uint64_t mask = (std::uint64_t{1} << shift) - 1;
  offsets_.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t block = sorted[i] >> shift;
    AddTid({static_cast<std::uint16_t>(block >> 16), static_cast<std::uint16_t>(block),
            static_cast<std::uint16_t>(sorted[i] & mask)});
  }
}

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
