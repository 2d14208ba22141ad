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
  return SumOverBoth(a, b, [](double x, double y) { return x * y; });
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

}  // namespace tandem::vec
