#include "base/ordinal_set.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace tandem::base {

OrdinalSet OrdinalSet::Borrow(std::uint32_t bound, std::size_t size, bool is_bitmap,
                              const void* data) noexcept {
  OrdinalSet set(bound);
  set.size_ = size;
  set.is_bitmap_ = is_bitmap;
  set.data_ = data;
  return set;
}

void OrdinalSet::Swap(OrdinalSet* other) noexcept {
  std::swap(bound_, other->bound_);
  std::swap(is_bitmap_, other->is_bitmap_);
  std::swap(size_, other->size_);
  std::swap(data_, other->data_);  // vectors keep their buffers
  list_.swap(other->list_);
  words_.swap(other->words_);
}

void OrdinalSet::ToBitmap() {
  if (is_bitmap_) return;
  words_.assign(WordCount(bound_), 0);
  // Frozen it may be borrowed; not frozen it has no data_ yet.
  const std::uint32_t* listed = data_ != nullptr ? list() : list_.data();
  const std::size_t count = data_ != nullptr ? size_ : list_.size();
  for (std::size_t i = 0; i < count; ++i) Mark(listed[i]);
  list_ = std::vector<std::uint32_t>();  // {} would keep the memory
  is_bitmap_ = true;
  data_ = words_.data();
}

void OrdinalSet::Freeze() {
  if (IsBorrowed()) return;
  if (is_bitmap_) {
    size_ = 0;
    for (const std::uint64_t word : words_) size_ += static_cast<std::size_t>(__builtin_popcountll(word));
    return;
  }
  if (!std::is_sorted(list_.begin(), list_.end())) std::sort(list_.begin(), list_.end());
  list_.erase(std::unique(list_.begin(), list_.end()), list_.end());
  size_ = list_.size();
  data_ = list_.data();
}

bool OrdinalSet::IsListed(std::uint32_t ordinal) const noexcept {
  return std::binary_search(list(), list() + size_, ordinal);
}

/// What makes one set of two.
class OrdinalAlgebra {
 public:
  static OrdinalSet Intersect(const OrdinalSet& a, const OrdinalSet& b) {
    if (a.is_bitmap_ && b.is_bitmap_)
      return Combine(a, b, [](std::uint64_t x, std::uint64_t y) { return x & y; });
    if (a.is_bitmap_ || (!b.is_bitmap_ && b.size_ < a.size_)) return Intersect(b, a);
    OrdinalSet both(a.bound_);
    both.list_.reserve(a.size_);
    if (b.is_bitmap_)
      std::copy_if(a.list(), a.list() + a.size_, std::back_inserter(both.list_),
                   [&b](std::uint32_t ordinal) { return OrdinalSet::HasBit(b.words(), ordinal); });
    else
      IntersectLists(a, b, &both.list_);
    both.Freeze();
    return both;
  }

  static OrdinalSet Unite(const OrdinalSet& a, const OrdinalSet& b) {
    if (a.is_bitmap_ && b.is_bitmap_)
      return Combine(a, b, [](std::uint64_t x, std::uint64_t y) { return x | y; });
    if (!b.is_bitmap_ && (a.is_bitmap_ || a.size_ + b.size_ > OrdinalSet::MostListed(a.bound_)))
      return Marked(a, b);
    if (b.is_bitmap_) return Marked(b, a);
    OrdinalSet either(a.bound_);
    either.list_.reserve(a.size_ + b.size_);
    std::set_union(a.list(), a.list() + a.size_, b.list(), b.list() + b.size_,
                   std::back_inserter(either.list_));
    either.Freeze();
    return either;
  }

 private:
  /// By galloping in the longer one (Bentley and Yao 1976): short and long are as cheap as a look-up each, two alike as a merge.
  static void IntersectLists(const OrdinalSet& shorter, const OrdinalSet& longer,
                             std::vector<std::uint32_t>* both) {
    const std::uint32_t* at = longer.list();
    const std::uint32_t* end = at + longer.size_;
    for (std::size_t i = 0; i < shorter.size_ && at != end; ++i) {
      const std::uint32_t ordinal = shorter.list()[i];
      std::ptrdiff_t step = 1;
      while (step < end - at && at[step] < ordinal) step *= 2;
      at = std::lower_bound(at + step / 2, step < end - at ? at + step : end, ordinal);
      if (at != end && *at == ordinal) both->push_back(ordinal);
    }
  }

  template <typename Operation>
  static OrdinalSet Combine(const OrdinalSet& a, const OrdinalSet& b, Operation operation) {
    OrdinalSet result(a.bound_);
    result.ToBitmap();
    std::transform(a.words(), a.words() + result.words_.size(), b.words(), result.words_.begin(), operation);
    return InItsForm(std::move(result));
  }

  /// All of `a`, whichever form it has, and of the list `b`.
  static OrdinalSet Marked(const OrdinalSet& a, const OrdinalSet& b) {
    OrdinalSet either(a.bound_);
    either.ToBitmap();
    if (a.is_bitmap_)
      std::copy_n(a.words(), either.words_.size(), either.words_.begin());
    else
      MarkAll(a, &either);
    MarkAll(b, &either);
    return InItsForm(std::move(either));
  }

  static void MarkAll(const OrdinalSet& listed, OrdinalSet* to) {
    for (std::size_t i = 0; i < listed.size_; ++i) to->Mark(listed.list()[i]);
  }

  /// Freezes a bitmap, as a list if that is the smaller one.
  static OrdinalSet InItsForm(OrdinalSet bitmap) {
    bitmap.Freeze();
    if (bitmap.size_ > OrdinalSet::MostListed(bitmap.bound_)) return bitmap;
    OrdinalSet few(bitmap.bound_);
    few.list_.reserve(bitmap.size_);
    OrdinalWalk walk(&bitmap);
    for (std::uint32_t ordinal; walk.Next(&ordinal);) few.list_.push_back(ordinal);
    few.Freeze();
    return few;
  }
};

OrdinalSet Intersect(const OrdinalSet& a, const OrdinalSet& b) {
  return OrdinalAlgebra::Intersect(a, b);
}

OrdinalSet Subtract(const OrdinalSet& a, const OrdinalSet& b) {
  OrdinalSet rest(a.bound());
  OrdinalWalk walk(&a);
  for (std::uint32_t ordinal; walk.Next(&ordinal);)
    if (!b.Contains(ordinal)) rest.Add(ordinal);
  rest.Freeze();
  return rest;
}

OrdinalSet Unite(const OrdinalSet& a, const OrdinalSet& b) {
  return OrdinalAlgebra::Unite(a, b);
}

}  // namespace tandem::base
