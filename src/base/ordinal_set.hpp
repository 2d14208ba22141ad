#pragma once
// A set of ordinals below a bound: rows of a segment, or its nodes, that a filter admits.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tandem::base {

/// As a sorted list while that is smaller than a bit an ordinal, as a bitmap from there on: the two forms of Roaring's
/// containers (Chambi, Lemire, Kaser and Godin 2016), one container for the whole. Filled once, in any order, then read. Owns
/// its memory; Add() and Freeze() throw std::bad_alloc, nothing else throws. Frozen it is immutable.
class OrdinalSet {
 public:
  OrdinalSet() noexcept = default;
  /// Ordinals are below `bound`.
  explicit OrdinalSet(std::uint32_t bound) noexcept : bound_(bound) {}

  /// Any order; twice is once.
  void Add(std::uint32_t ordinal) {
    if (is_bitmap_) {
      Mark(ordinal);
      return;
    }
    list_.push_back(ordinal);
    if (list_.size() > bound_ / kWordBits * 2 + kLeastList) ToBitmap();
  }
  /// No more will be added.
  void Freeze();
  /// From now on a bitmap, however few they are: for questions in no order.
  void ToBitmap();

  [[nodiscard]] bool Contains(std::uint32_t ordinal) const noexcept {
    return is_bitmap_ ? HasBit(words_.data(), ordinal) : IsListed(ordinal);
  }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] std::uint32_t bound() const noexcept { return bound_; }
  [[nodiscard]] bool is_bitmap() const noexcept { return is_bitmap_; }
  /// A bit an ordinal, from the lowest of the first word on; of a bitmap.
  [[nodiscard]] const std::uint64_t* words() const noexcept { return words_.data(); }
  [[nodiscard]] std::size_t MemoryBytes() const noexcept {
    return list_.capacity() * sizeof(list_[0]) + words_.capacity() * sizeof(words_[0]);
  }

  [[nodiscard]] static bool HasBit(const std::uint64_t* words, std::uint32_t ordinal) noexcept {
    return (words[ordinal / kWordBits] >> (ordinal % kWordBits) & 1) != 0;
  }

 private:
  friend class OrdinalWalk;

  static constexpr std::uint32_t kWordBits = 64;
  static constexpr std::size_t kLeastList = 64;

  void Mark(std::uint32_t ordinal) noexcept {
    words_[ordinal / kWordBits] |= std::uint64_t{1} << (ordinal % kWordBits);
  }
  [[nodiscard]] bool IsListed(std::uint32_t ordinal) const noexcept;

  std::uint32_t bound_ = 0;
  bool is_bitmap_ = false;
  std::size_t size_ = 0;  ///< since Freeze()
  std::vector<std::uint32_t> list_;
  std::vector<std::uint64_t> words_;
};

/// Visits a frozen set in ascending order. Plain data; the set must outlive it.
class OrdinalWalk {
 public:
  OrdinalWalk() noexcept = default;
  explicit OrdinalWalk(const OrdinalSet* set) noexcept
      : set_(set), word_(set->is_bitmap_ && !set->words_.empty() ? set->words_[0] : 0) {}

  /// False at the end.
  [[nodiscard]] bool Next(std::uint32_t* ordinal) noexcept {
    if (!set_->is_bitmap_) {
      if (at_ == set_->list_.size()) return false;
      *ordinal = set_->list_[at_++];
      return true;
    }
    while (word_ == 0) {
      if (++at_ >= set_->words_.size()) return false;
      word_ = set_->words_[at_];
    }
    const auto bit = static_cast<std::uint32_t>(__builtin_ctzll(word_));
    word_ &= word_ - 1;
    *ordinal = static_cast<std::uint32_t>(at_) * OrdinalSet::kWordBits + bit;
    return true;
  }

 private:
  const OrdinalSet* set_ = nullptr;
  std::size_t at_ = 0;  ///< in the list, or the word that word_ is of
  std::uint64_t word_ = 0;
};

}  // namespace tandem::base
