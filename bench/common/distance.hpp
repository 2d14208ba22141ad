#pragma once
// Reference distances in double precision: what ground truth and recall are measured with. On purpose not the
// extension's kernels: a mistake there must not hide itself here.

#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <string>

#include "base/span.hpp"

namespace tandem::bench {

enum class Metric { kL2, kInnerProduct, kCosine, kL1 };

/// "l2", "ip", "cosine" or "l1"; anything else throws std::invalid_argument.
inline Metric ParseMetric(const std::string& name) {
  if (name == "l2") return Metric::kL2;
  if (name == "ip") return Metric::kInnerProduct;
  if (name == "cosine") return Metric::kCosine;
  if (name == "l1") return Metric::kL1;
  throw std::invalid_argument("unknown metric '" + name + "' (l2, ip, cosine or l1)");
}

/// The SQL operator's value (`<->`, `<#>`, `<=>`, `<+>`) in double precision. Both spans have the same size.
inline double ReferenceDistance(Metric metric, base::Span<const float> a, base::Span<const float> b) {
  double first = 0;
  double second = 0;
  double third = 0;
  switch (metric) {
    case Metric::kL2:
      for (std::size_t i = 0; i < a.size(); ++i) {
        const double difference = static_cast<double>(a[i]) - b[i];
        first += difference * difference;
      }
      return std::sqrt(first);
    case Metric::kInnerProduct:
      for (std::size_t i = 0; i < a.size(); ++i) first += static_cast<double>(a[i]) * b[i];
      return -first;
    case Metric::kCosine:
      for (std::size_t i = 0; i < a.size(); ++i) {
        first += static_cast<double>(a[i]) * b[i];
        second += static_cast<double>(a[i]) * a[i];
        third += static_cast<double>(b[i]) * b[i];
      }
      return 1.0 - first / std::sqrt(second * third);
    case Metric::kL1:
      for (std::size_t i = 0; i < a.size(); ++i) first += std::fabs(static_cast<double>(a[i]) - b[i]);
      return first;
  }
  return 0;
}

}  // namespace tandem::bench
