#pragma once
// Sums of look-ups in tables of 16 entries, which lie in registers ("fast scan": André, Kermarrec and Le Scouarnec 2015), chosen
// once for the CPU that runs them. Exact integers, so that all sets agree.

#include <cstddef>
#include <cstdint>

#include "base/span.hpp"

namespace tandem::vec {

/// Strings of bits lie in blocks of 16 rows: byte j of row i of a block is its byte 16 * j + i. So a row may be added to a block
/// without changing a byte of the others.
constexpr std::size_t kLookupRows = 16;

/// The largest entry, and the most bytes of a row: then two entries a byte fit into 16 bits, and four entries into 8.
constexpr std::uint8_t kLargestEntry = 30;
constexpr std::size_t kMostLookupBytes = 1024;

/// Where byte 0 of a row is among blocks that lie end to end; byte j is kLookupRows * j behind it.
[[nodiscard]] constexpr std::size_t PlaceInBlocks(std::size_t row, std::size_t bytes) noexcept {
  return row / kLookupRows * kLookupRows * bytes + row % kLookupRows;
}

/// What bounds are made of, for rows of which three numbers are known beside their sum.
struct BoundWeights {
  float base;
  float of_term;
  float of_sum;
  float most;
  float of_spread;
};

/// Of rows that follow each other.
struct BoundRows {
  const std::uint16_t* sums;
  const float* terms;
  const float* scales;
  const float* spreads;
};

/// base + of_term * term + scale * (of_sum * sum - most) - of_spread * spread, from the left. Every instruction set rounds after every
/// operation, none multiplies and adds in one: so that all have the same bits.
[[nodiscard]] inline float BoundOf(const BoundWeights& weights, const BoundRows& rows,
                                   std::size_t i) noexcept {
  const float product = weights.of_sum * static_cast<float>(rows.sums[i]) - weights.most;
  return weights.base + weights.of_term * rows.terms[i] + rows.scales[i] * product -
         weights.of_spread * rows.spreads[i];
}

/// Any alignment, nothing outside is read. Thread-safe, never throws.
struct LookupKernels {
  const char* name;  ///< "avx512", "avx2" or "portable"
  /// sums[i] = the sum over row i's bytes j of entry (byte & 15) of table j and entry (byte >> 4) of table bytes + j.
  /// tables: 2 * bytes of them, end to end, entries 0 … kLargestEntry. bytes: of a row, a multiple of 8, at most kMostLookupBytes.
  /// blocks: end to end; of the last one only bytes of the `count` rows are read. sums: room for whole blocks.
  void (*sum_entries)(const std::uint8_t* tables, std::size_t bytes, const std::uint8_t* blocks,
                      std::size_t count, std::uint16_t* sums);
  /// Bit i: BoundOf() row i is not larger than `cut`, or one of them is NaN. count: at most 64.
  std::uint64_t (*within)(const BoundWeights& weights, const BoundRows& rows, std::size_t count, float cut);
  bool is_fast;  ///< looks up many entries at a time
};

/// The best kernels for this CPU; resolved at the first call.
[[nodiscard]] const LookupKernels& LookupKernelsForCpu() noexcept;

/// Every set that this CPU can run, best first; for tests and benches.
[[nodiscard]] base::Span<const LookupKernels* const> AvailableLookupKernels() noexcept;

}  // namespace tandem::vec
