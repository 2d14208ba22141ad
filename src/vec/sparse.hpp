#pragma once
// Distances between sparse vectors: only the elements that are not zero are stored, by ascending index.

#include <cstddef>
#include <cstdint>

#include "vec/metric.hpp"

namespace tandem::vec {

/// The elements of a sparse vector. Non-owning.
struct SparseView {
  const std::int32_t* indices;  ///< ascending, no two equal
  const float* values;          ///< finite
  std::size_t count;
};

/// The most elements that are not zero in one vector.
constexpr std::size_t kMostSparseElements = 16000;

/// A sparse vector as an index stores it, which is how the SQL type holds it: this, then the indices, then the values.
struct SparseRow {
  std::int32_t count;
  std::int32_t unused;  ///< zero
};

[[nodiscard]] constexpr std::size_t SparseRowBytesOf(std::size_t count) noexcept {
  return sizeof(SparseRow) + count * (sizeof(std::int32_t) + sizeof(float));
}

/// row: a SparseRow, aligned to 4.
[[nodiscard]] inline std::size_t SparseRowBytes(const void* row) noexcept {
  return SparseRowBytesOf(static_cast<std::size_t>(static_cast<const SparseRow*>(row)->count));
}

[[nodiscard]] inline SparseView ViewOfRow(const void* row) noexcept {
  const auto* head = static_cast<const SparseRow*>(row);
  const auto count = static_cast<std::size_t>(head->count);
  const auto* indices = reinterpret_cast<const std::int32_t*>(head + 1);
  return {indices, reinterpret_cast<const float*>(indices + count), count};
}

/// Bytes of the longest row of vectors of so many dimensions.
[[nodiscard]] constexpr std::size_t LongestSparseRow(std::size_t dimensions) noexcept {
  return SparseRowBytesOf(dimensions < kMostSparseElements ? dimensions : kMostSparseElements);
}

/// Sums are kept in double and rounded to float32 once, as those of dense vectors. Symmetric in a and b to the bit.
/// O(a.count + b.count). Thread-safe, never throws.
[[nodiscard]] float SparseL2Squared(SparseView a, SparseView b) noexcept;
[[nodiscard]] float SparseInnerProduct(SparseView a, SparseView b) noexcept;
[[nodiscard]] float SparseL1(SparseView a, SparseView b) noexcept;

/// The value of the operator. NaN for cosine if a vector has no elements.
[[nodiscard]] double SparseDistance(Metric metric, SparseView a, SparseView b) noexcept;

/// QueryDistance for sparse vectors: keys order as distances do, and Distance() gives the operator's very number. Holds the query's
/// pointers and `marks`, which must outlive it. Thread-safe: immutable.
class SparseQueryDistance {
 public:
  SparseQueryDistance() noexcept = default;
  /// marks: MarkWords(), for what is made of the query.
  SparseQueryDistance(Metric metric, SparseView query, std::uint64_t* marks) noexcept;
  [[nodiscard]] static std::size_t MarkWords(std::size_t count) noexcept;
  [[nodiscard]] double Key(SparseView vector) const noexcept;

 private:
  [[nodiscard]] float InnerProduct(SparseView vector) const noexcept;

  Metric metric_ = Metric::kL2;
  SparseView query_ = {nullptr, nullptr, 0};
  const std::uint64_t* marks_ = nullptr;  ///< a bit is set where an index of the query may be
  std::uint32_t mark_mask_ = 0;
  float query_norm_squared_ = 0.0F;  ///< cosine
};

}  // namespace tandem::vec
