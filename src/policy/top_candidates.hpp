#pragma once
// The smallest n of many (key, row) pairs, kept in a caller's buffer.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "base/ids.hpp"

namespace tandem::policy {

/// A key that sorts as SQL sorts float8: -0 equals 0, infinities at the ends, NaN after everything.
enum class OrderedKey : std::uint64_t {};

[[nodiscard]] inline OrderedKey ToOrderedKey(double key) noexcept {
  if (std::isnan(key)) return OrderedKey{~std::uint64_t{0}};
  key += 0.0;  // -0 becomes 0
  std::uint64_t bits;
  std::memcpy(&bits, &key, sizeof bits);
  // Negative numbers descend as their bits ascend: flip them all; set the sign bit of the others.
  return OrderedKey{(bits >> 63) != 0 ? ~bits : bits | (std::uint64_t{1} << 63)};
}

[[nodiscard]] inline double FromOrderedKey(OrderedKey ordered) noexcept {
  auto bits = static_cast<std::uint64_t>(ordered);
  if (bits == ~std::uint64_t{0}) return std::nan("");
  bits = (bits >> 63) != 0 ? bits & ~(std::uint64_t{1} << 63) : ~bits;
  double key;
  std::memcpy(&key, &bits, sizeof key);
  return key;
}

struct Candidate {
  OrderedKey key;
  base::RowId row;
};

/// Ascending by key, ties by row id, so that plans repeat.
[[nodiscard]] inline bool operator<(const Candidate& a, const Candidate& b) noexcept {
  return a.key != b.key ? a.key < b.key : a.row < b.row;
}

/// For a heap whose top is the nearest.
[[nodiscard]] inline bool IsFarther(const Candidate& a, const Candidate& b) noexcept {
  return b < a;
}

/// Keeps the `keep` smallest candidates offered, in a buffer of 2 * keep: when that is full, a selection throws
/// the upper half away, so that an offer costs O(1) amortised and, once the bound is tight, one comparison.
/// Plain data, allocates nothing, never throws. Not thread-safe.
class TopCandidates {
 public:
  TopCandidates() noexcept = default;

  /// buffer: room for 2 * keep candidates (or for all that will be offered, if they are fewer), keep >= 1; must outlive this
  /// object.
  TopCandidates(Candidate* buffer, std::size_t keep) noexcept : buffer_(buffer), keep_(keep) {}

  void Offer(Candidate candidate) noexcept {
    if (bounded_ && !(candidate < bound_)) return;
    buffer_[size_++] = candidate;
    if (size_ == 2 * keep_) Shrink();
  }

  /// Cuts down to the smallest `keep` and sorts them. Returns how many there are.
  std::size_t Finish() noexcept {
    Cut();
    std::sort(buffer_, buffer_ + size_);
    return size_;
  }

  /// The same without sorting: for who may not want them all.
  std::size_t Cut() noexcept {
    if (size_ > keep_) Shrink();
    return size_;
  }

  /// No candidate beyond it is kept; the largest there is while all are.
  [[nodiscard]] OrderedKey bound() const noexcept {
    return bounded_ ? bound_.key : OrderedKey{~std::uint64_t{0}};
  }

  /// True if some candidate was thrown away: there may be more beyond the ones kept.
  [[nodiscard]] bool overflowed() const noexcept { return bounded_; }

 private:
  void Shrink() noexcept {
    std::nth_element(buffer_, buffer_ + (keep_ - 1), buffer_ + size_);
    size_ = keep_;
    bound_ = buffer_[keep_ - 1];
    bounded_ = true;
  }

  Candidate* buffer_ = nullptr;
  std::size_t keep_ = 0;
  std::size_t size_ = 0;
  Candidate bound_ = {};
  bool bounded_ = false;
};

}  // namespace tandem::policy
