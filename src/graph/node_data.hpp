#pragma once
// A node's data while its graph is being built: code | zeros to a multiple of 4 | for inner products its term, a float.

#include <cstddef>
#include <cstdint>

#include "vec/metric.hpp"

namespace tandem::graph {

/// Where the term is; also the bytes of a code in a frozen record.
[[nodiscard]] constexpr std::size_t PaddedCodeBytes(std::size_t code_bytes) noexcept {
  return (code_bytes + 3) / 4 * 4;
}

[[nodiscard]] constexpr std::size_t NodeDataBytes(vec::Metric metric, std::size_t code_bytes) noexcept {
  return PaddedCodeBytes(code_bytes) + (metric == vec::Metric::kInnerProduct ? sizeof(float) : 0);
}

}  // namespace tandem::graph
