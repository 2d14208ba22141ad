#include "vec/sparse.hpp"

#include <cmath>

namespace tandem::vec {
namespace {

/// Walks both by ascending index and sums Term(value of a, value of b), where either is 0 if the index is missing.
template <typename Term>
float SumOverBoth(SparseView a, SparseView b, Term term) noexcept {
  double sum = 0.0;
  std::size_t i = 0;
  std::size_t j = 0;
  while (i < a.count && j < b.count) {
    if (a.indices[i] == b.indices[j]) {
      sum += term(static_cast<double>(a.values[i++]), static_cast<double>(b.values[j++]));
    } else if (a.indices[i] < b.indices[j]) {
      sum += term(static_cast<double>(a.values[i++]), 0.0);
    } else {
      sum += term(0.0, static_cast<double>(b.values[j++]));
    }
  }
  for (; i < a.count; ++i) sum += term(static_cast<double>(a.values[i]), 0.0);
  for (; j < b.count; ++j) sum += term(0.0, static_cast<double>(b.values[j]));
  return static_cast<float>(sum);
}

}  // namespace

float SparseL2Squared(SparseView a, SparseView b) noexcept {
  return SumOverBoth(a, b, [](double x, double y) { return (x - y) * (x - y); });
}

float SparseInnerProduct(SparseView a, SparseView b) noexcept {
  // What only one of them has adds zero, which changes no sum.
  double sum = 0.0;
  for (std::size_t i = 0, j = 0; i < a.count && j < b.count;) {
    const std::int32_t left = a.indices[i];
    const std::int32_t right = b.indices[j];
    if (left == right) sum += static_cast<double>(a.values[i]) * static_cast<double>(b.values[j]);
    i += left <= right ? 1 : 0;
    j += right <= left ? 1 : 0;
  }
  return static_cast<float>(sum);
}

float SparseL1(SparseView a, SparseView b) noexcept {
  return SumOverBoth(a, b, [](double x, double y) { return std::fabs(x - y); });
}

double SparseDistance(Metric metric, SparseView a, SparseView b) noexcept {
  switch (metric) {
    case Metric::kL2:
      return std::sqrt(static_cast<double>(SparseL2Squared(a, b)));
    case Metric::kInnerProduct:
      return -static_cast<double>(SparseInnerProduct(a, b));
    case Metric::kCosine:
      return CosineDistance(SparseInnerProduct(a, b), SparseInnerProduct(a, a), SparseInnerProduct(b, b));
    case Metric::kL1:
      return SparseL1(a, b);
  }
  return 0.0;
}

SparseQueryDistance::SparseQueryDistance(Metric metric, SparseView query) noexcept
    : metric_(metric),
      query_(query),
      query_norm_squared_(metric == Metric::kCosine ? SparseInnerProduct(query, query) : 0.0F) {}

double SparseQueryDistance::Key(SparseView vector) const noexcept {
  if (metric_ == Metric::kL2) return SparseL2Squared(query_, vector);
  if (metric_ == Metric::kCosine)
    return CosineDistance(SparseInnerProduct(query_, vector), query_norm_squared_,
                          SparseInnerProduct(vector, vector));
  return SparseDistance(metric_, query_, vector);
}

}  // namespace tandem::vec
