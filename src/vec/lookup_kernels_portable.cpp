// Look-up kernels for any CPU: entry by entry.

#include <cstddef>
#include <cstdint>

#include "vec/lookup_kernels_internal.hpp"

namespace tandem::vec {
namespace {

void SumEntries(const std::uint8_t* tables, std::size_t bytes, const std::uint8_t* blocks, std::size_t count,
                std::uint16_t* sums) {
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint8_t* row = blocks + PlaceInBlocks(i, bytes);
    const std::uint8_t* low = tables;
    const std::uint8_t* high = tables + 16 * bytes;
    std::uint32_t sum = 0;
    for (std::size_t j = 0; j < bytes; ++j, row += kLookupRows, low += 16, high += 16)
      sum += std::uint32_t{low[*row & 15]} + high[*row >> 4];
    sums[i] = static_cast<std::uint16_t>(sum);
  }
}

std::uint64_t Within(const BoundWeights& weights, const BoundRows& rows, std::size_t count, float cut) {
  std::uint64_t within = 0;
  for (std::size_t i = 0; i < count; ++i)
    within |= std::uint64_t{BoundOf(weights, rows, i) > cut ? 0U : 1U} << i;
  return within;
}

}  // namespace

namespace internal {

const LookupKernels& PortableLookupKernels() noexcept {
  static constexpr LookupKernels kKernels = {"portable", SumEntries, Within, false};
  return kKernels;
}

}  // namespace internal
}  // namespace tandem::vec
