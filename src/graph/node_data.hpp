#pragma once
// A node's data while its graph is being built: code | zeros to a multiple of 4 | for inner products its term, a float.

#include <cstddef>
#include <cstdint>

#include "vec/metric.hpp"

namespace tandem::graph {

/// Where the term is; also the bytes of a code in a frozen record.
[[nodiscard]] constexpr std::size_t PaddedCodeBytes(std::size_t dimensions) noexcept {
  return (dimensions + 3) / 4 * 4;
}

[[nodiscard]] constexpr std::size_t NodeDataBytes(vec::Metric metric, std::size_t dimensions) noexcept {
  return PaddedCodeBytes(dimensions) + (metric == vec::Metric::kInnerProduct ? sizeof(float) : 0);
}

}  // namespace tandem::graph
