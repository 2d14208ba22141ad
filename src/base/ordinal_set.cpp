#include "base/ordinal_set.hpp"

#include <algorithm>

namespace tandem::base {

void OrdinalSet::ToBitmap() {
  if (is_bitmap_) return;
  words_.assign((std::size_t{bound_} + kWordBits - 1) / kWordBits, 0);
  is_bitmap_ = true;
  for (const std::uint32_t ordinal : list_) Mark(ordinal);
  list_ = std::vector<std::uint32_t>();  // {} would keep the memory
}

void OrdinalSet::Freeze() {
  if (is_bitmap_) {
    size_ = 0;
    for (const std::uint64_t word : words_) size_ += static_cast<std::size_t>(__builtin_popcountll(word));
    return;
  }
  if (!std::is_sorted(list_.begin(), list_.end())) std::sort(list_.begin(), list_.end());
  list_.erase(std::unique(list_.begin(), list_.end()), list_.end());
  size_ = list_.size();
}

bool OrdinalSet::IsListed(std::uint32_t ordinal) const noexcept {
  return std::binary_search(list_.begin(), list_.end(), ordinal);
}

}  // namespace tandem::base
