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

/// Sums are kept in double and rounded to float32 once, as those of dense vectors. Symmetric in a and b to the bit.
/// O(a.count + b.count). Thread-safe, never throws.
[[nodiscard]] float SparseL2Squared(SparseView a, SparseView b) noexcept;
[[nodiscard]] float SparseInnerProduct(SparseView a, SparseView b) noexcept;
[[nodiscard]] float SparseL1(SparseView a, SparseView b) noexcept;

/// The value of the operator. NaN for cosine if a vector has no elements.
[[nodiscard]] double SparseDistance(Metric metric, SparseView a, SparseView b) noexcept;

}  // namespace tandem::vec
