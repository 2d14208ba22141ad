#pragma once
// Counts over strings of bits, chosen once for the CPU that runs them.

#include <cstddef>
#include <cstdint>

#include "base/span.hpp"

namespace tandem::vec {

/// What the Jaccard distance is made of.
struct BitOverlap {
  std::uint64_t both;  ///< bits set in a and in b
  std::uint64_t in_a;  ///< bits set in a
  std::uint64_t in_b;
};

/// One instruction set's kernels. a and b: `bytes` bytes each, any alignment, nothing outside is read. Exact, so that
/// all sets agree. Thread-safe, never throws.
struct BitKernels {
  const char* name;  ///< "avx512vpopcntdq", "popcnt" or "portable"
  std::uint64_t (*hamming)(const unsigned char* a, const unsigned char* b, std::size_t bytes);
  BitOverlap (*overlap)(const unsigned char* a, const unsigned char* b, std::size_t bytes);
};

/// The best kernels for this CPU; resolved at the first call.
[[nodiscard]] const BitKernels& CountBits() noexcept;

/// Every set that this CPU can run, best first; for tests.
[[nodiscard]] base::Span<const BitKernels* const> AvailableBitKernels() noexcept;

/// 1 - bits in common / bits in either; 1 if they have none in common, also if none is set at all.
[[nodiscard]] inline double JaccardDistance(const BitOverlap& overlap) noexcept {
  if (overlap.both == 0) return 1.0;
  return 1.0 -
         static_cast<double>(overlap.both) / static_cast<double>(overlap.in_a + overlap.in_b - overlap.both);
}

}  // namespace tandem::vec
