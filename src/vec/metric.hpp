#pragma once
// The distances that operators and indexes order by. One definition serves both, so that an index returns
// rows in exactly the order of the operator's values, to the last bit.

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "vec/kernels.hpp"

namespace tandem::vec {

/// Which operator a distance belongs to.
enum class Metric : std::uint8_t {
  kL2 = 1,            ///< `<->`: Euclidean distance
  kInnerProduct = 2,  ///< `<#>`: negative inner product
  kCosine = 3,        ///< `<=>`: 1 - cosine similarity
  kL1 = 4,            ///< `<+>`: taxicab distance
};

/// 1 - cosine similarity from its parts, clamped to [0, 2] against rounding. NaN if either vector is zero.
[[nodiscard]] inline double CosineDistance(float dot, float norm_a_squared, float norm_b_squared) noexcept {
  const double similarity = static_cast<double>(dot) / std::sqrt(static_cast<double>(norm_a_squared) *
                                                                 static_cast<double>(norm_b_squared));
  if (similarity > 1.0) return 0.0;
  if (similarity < -1.0) return 2.0;
  return 1.0 - similarity;
}

/// A query vector prepared for many distance computations against stored vectors of the same length, in single or
/// half precision; the query is in single precision, which holds a half exactly.
///
/// Key() is what a scan compares; it is cheaper than the distance but orders identically: smaller key means
/// smaller operator value, equal keys mean equal operator values. Distance() turns a key into exactly the value
/// that the SQL operator returns. NaN keys (cosine with a zero vector, inf - inf) stand for NaN distances.
/// Holds a pointer to the query, which must outlive it. Thread-safe: immutable.
class QueryDistance {
 public:
  QueryDistance() noexcept = default;
  QueryDistance(Metric metric, const float* query, std::size_t dimensions) noexcept
      : kernels_(&Kernels()),
        query_(query),
        dimensions_(dimensions),
        metric_(metric),
        query_norm_squared_(metric == Metric::kCosine ? kernels_->inner_product(query, query, dimensions)
                                                      : 0.0F) {}

  /// Element: float or Half.
  template <typename Element>
  [[nodiscard]] double Key(const Element* vector) const noexcept {
    switch (metric_) {
      case Metric::kL2:
        return L2Squared(vector);
      case Metric::kInnerProduct:
        return -static_cast<double>(InnerProduct(vector));
      case Metric::kCosine: {
        const DotAndNorm parts = Parts(vector);
        return CosineDistance(parts.dot, query_norm_squared_, parts.norm_squared);
      }
      case Metric::kL1:
        return L1(vector);
    }
    return 0.0;
  }

  /// The operator's value for a key.
  [[nodiscard]] double Distance(double key) const noexcept {
    return metric_ == Metric::kL2 ? std::sqrt(key) : key;
  }

  [[nodiscard]] Metric metric() const noexcept { return metric_; }
  [[nodiscard]] std::size_t dimensions() const noexcept { return dimensions_; }

 private:
  float L2Squared(const float* x) const noexcept { return kernels_->l2_squared(query_, x, dimensions_); }
  float L2Squared(const Half* x) const noexcept { return kernels_->l2_squared_half(query_, x, dimensions_); }
  float InnerProduct(const float* x) const noexcept {
    return kernels_->inner_product(query_, x, dimensions_);
  }
  float InnerProduct(const Half* x) const noexcept {
    return kernels_->inner_product_half(query_, x, dimensions_);
  }
  DotAndNorm Parts(const float* x) const noexcept { return kernels_->dot_and_norm(query_, x, dimensions_); }
  DotAndNorm Parts(const Half* x) const noexcept {
    return kernels_->dot_and_norm_half(query_, x, dimensions_);
  }
  float L1(const float* x) const noexcept { return kernels_->l1(query_, x, dimensions_); }
  float L1(const Half* x) const noexcept { return kernels_->l1_half(query_, x, dimensions_); }

  const DistanceKernels* kernels_ = nullptr;
  const float* query_ = nullptr;
  std::size_t dimensions_ = 0;
  Metric metric_ = Metric::kL2;
  float query_norm_squared_ = 0.0F;
};

}  // namespace tandem::vec
