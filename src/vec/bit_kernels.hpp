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

/// The same, from fewer counts: the Jaccard distance is different / (different + both).
struct BitDifference {
  std::uint32_t different;  ///< bits set in one of the two
  std::uint32_t both;
};

/// One instruction set's kernels. a and b: `bytes` bytes each, any alignment, nothing outside is read. Exact, so that
/// all sets agree. Thread-safe, never throws.
struct BitKernels {
  const char* name;  ///< "avx512vpopcntdq", "popcnt" or "portable"
  std::uint64_t (*hamming)(const unsigned char* a, const unsigned char* b, std::size_t bytes);
  BitOverlap (*overlap)(const unsigned char* a, const unsigned char* b, std::size_t bytes);
  /// counts[i]: of `query` against codes[i]. One call for all neighbours of a node, since a string may be a few words long.
  void (*hamming_to_many)(const unsigned char* query, const unsigned char* const* codes, std::size_t count,
                          std::size_t bytes, std::uint32_t* counts);
  void (*overlaps_with_many)(const unsigned char* query, const unsigned char* const* codes, std::size_t count,
                             std::size_t bytes, BitDifference* counts);
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
