#pragma once
// A set of ordinals below a bound: rows of a segment, or its nodes, that a filter admits.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tandem::base {

/// As a sorted list while that is smaller than a bit an ordinal, as a bitmap from there on: the two forms of Roaring's
/// containers (Chambi, Lemire, Kaser and Godin 2016), one container for the whole. Filled once, in any order, then read. Frozen it is
/// immutable.
///
/// Owns its memory, or borrows what another set was copied to. What can throw throws std::bad_alloc only: Add(), Freeze() and
/// ToBitmap(). Moves, but has no copies: a copy of a set is either a borrowed one or a mistake.
class OrdinalSet {
 public:
  OrdinalSet() noexcept = default;
  /// Ordinals are below `bound`.
  explicit OrdinalSet(std::uint32_t bound) noexcept : bound_(bound) {}
  OrdinalSet(OrdinalSet&& other) noexcept { Swap(&other); }
  OrdinalSet& operator=(OrdinalSet&& other) noexcept {
    OrdinalSet taken(static_cast<OrdinalSet&&>(other));
    Swap(&taken);
    return *this;
  }
  OrdinalSet(const OrdinalSet&) = delete;
  OrdinalSet& operator=(const OrdinalSet&) = delete;
  ~OrdinalSet() = default;

  /// A frozen set whose data() is somewhere else: DataBytes() of those of a set with these properties, aligned to 8. They must
  /// outlive this one, and stay where they are.
  [[nodiscard]] static OrdinalSet Borrow(std::uint32_t bound, std::size_t size, bool is_bitmap,
                                         const void* data) noexcept;

  /// Any order; twice is once.
  void Add(std::uint32_t ordinal) {
    if (is_bitmap_) {
      Mark(ordinal);
      return;
    }
    list_.push_back(ordinal);
    if (list_.size() > MostListed(bound_)) ToBitmap();
  }
  /// Adds the ordinals from `first`, a multiple of 64, on whose bits are set, the lowest for `first`. After ToBitmap(), before Freeze(); bits
  /// are of ordinals below the bound.
  void AddBits(std::uint32_t first, std::uint64_t bits) noexcept { words_[first / kWordBits] |= bits; }
  /// No more will be added. Changes nothing more in a frozen set.
  void Freeze();
  /// From now on a bitmap, however few they are: for questions in no order. What was borrowed stays as it is, and is not
  /// looked at any more.
  void ToBitmap();

  [[nodiscard]] bool Contains(std::uint32_t ordinal) const noexcept {
    return is_bitmap_ ? HasBit(words(), ordinal) : IsListed(ordinal);
  }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] std::uint32_t bound() const noexcept { return bound_; }
  [[nodiscard]] bool is_bitmap() const noexcept { return is_bitmap_; }
  /// A bit an ordinal, from the lowest of the first word on; of a bitmap.
  [[nodiscard]] const std::uint64_t* words() const noexcept {
    return static_cast<const std::uint64_t*>(data_);
  }
  /// Ascending; of a frozen list.
  [[nodiscard]] const std::uint32_t* list() const noexcept {
    return static_cast<const std::uint32_t*>(data_);
  }

  /// words() or list(), whichever it is, of a frozen set.
  [[nodiscard]] const void* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t DataBytes() const noexcept {
    return is_bitmap_ ? WordCount(bound_) * sizeof(std::uint64_t) : size_ * sizeof(std::uint32_t);
  }
  /// What it owns.
  [[nodiscard]] std::size_t MemoryBytes() const noexcept {
    return list_.capacity() * sizeof(list_[0]) + words_.capacity() * sizeof(words_[0]);
  }

  [[nodiscard]] static bool HasBit(const std::uint64_t* words, std::uint32_t ordinal) noexcept {
    return (words[ordinal / kWordBits] >> (ordinal % kWordBits) & 1) != 0;
  }

 private:
  friend class OrdinalWalk;
  friend class OrdinalAlgebra;

  static constexpr std::uint32_t kWordBits = 64;
  static constexpr std::size_t kLeastList = 64;

  /// A longer list would be larger than a bitmap.
  [[nodiscard]] static std::size_t MostListed(std::uint32_t bound) noexcept {
    return std::size_t{bound} / kWordBits * 2 + kLeastList;
  }
  [[nodiscard]] static std::size_t WordCount(std::uint32_t bound) noexcept {
    return (std::size_t{bound} + kWordBits - 1) / kWordBits;
  }

  void Mark(std::uint32_t ordinal) noexcept {
    words_[ordinal / kWordBits] |= std::uint64_t{1} << (ordinal % kWordBits);
  }
  [[nodiscard]] bool IsBorrowed() const noexcept {
    return data_ != nullptr && list_.empty() && words_.empty();
  }
  [[nodiscard]] bool IsListed(std::uint32_t ordinal) const noexcept;
  void Swap(OrdinalSet* other) noexcept;

  std::uint32_t bound_ = 0;
  bool is_bitmap_ = false;
  std::size_t size_ = 0;              ///< since Freeze()
  const void* data_ = nullptr;        ///< of a bitmap, and of a frozen list: of a vector below, or borrowed
  std::vector<std::uint32_t> list_;   ///< empty if that is borrowed
  std::vector<std::uint64_t> words_;  ///< empty if that is borrowed
};

/// What both have. Frozen ones of the same bound; frozen, in the form that Add() would have chosen. Throws std::bad_alloc.
[[nodiscard]] OrdinalSet Intersect(const OrdinalSet& a, const OrdinalSet& b);
/// What `a` has and `b` does not; likewise.
[[nodiscard]] OrdinalSet Subtract(const OrdinalSet& a, const OrdinalSet& b);
/// What one of them has; likewise.
[[nodiscard]] OrdinalSet Unite(const OrdinalSet& a, const OrdinalSet& b);

/// Visits a frozen set in ascending order. Plain data; the set must outlive it.
class OrdinalWalk {
 public:
  OrdinalWalk() noexcept = default;
  explicit OrdinalWalk(const OrdinalSet* set) noexcept
      : set_(set), word_(set->is_bitmap_ && set->bound_ > 0 ? set->words()[0] : 0) {}

  /// False at the end.
  [[nodiscard]] bool Next(std::uint32_t* ordinal) noexcept {
    if (!set_->is_bitmap_) {
      if (at_ == set_->size_) return false;
      *ordinal = set_->list()[at_++];
      return true;
    }
    while (word_ == 0) {
      if (++at_ >= OrdinalSet::WordCount(set_->bound_)) return false;
      word_ = set_->words()[at_];
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
