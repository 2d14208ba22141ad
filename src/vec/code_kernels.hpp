#pragma once
// Kernels over 8-bit codes, chosen once for the CPU that runs them. All sums are exact integers, so every instruction
// set gives the same bits.

#include <cstddef>
#include <cstdint>

#include "base/span.hpp"

namespace tandem::vec {

/// a, b: n bytes; q: n int16; any alignment, nothing outside is read, n <= 16,000. Thread-safe, never throws.
struct CodeKernels {
  const char* name;  ///< "avx512vnni", "avx512", "avx2", "neon" or "portable"
  /// Between codes.
  std::uint32_t (*l2_squared)(const std::uint8_t* a, const std::uint8_t* b, std::size_t n);
  std::uint32_t (*l1)(const std::uint8_t* a, const std::uint8_t* b, std::size_t n);
  std::uint32_t (*dot)(const std::uint8_t* a, const std::uint8_t* b, std::size_t n);
  /// Between a query and a code. The caller keeps |q| so small that the sums fit (QueryLimit*()).
  std::uint32_t (*query_l2_squared)(const std::int16_t* q, const std::uint8_t* b, std::size_t n);
  std::uint32_t (*query_l1)(const std::int16_t* q, const std::uint8_t* b, std::size_t n);
  std::int32_t (*query_dot)(const std::int16_t* q, const std::uint8_t* b, std::size_t n);
  /// code[i] = (x[i] - offset[i]) / step to the nearest integer, halves upwards, clamped to 0 … 255.
  /// twice_inverse_step: 2 / step, finite and > 0; x and offset finite.
  void (*encode)(const float* x, const float* offset, float twice_inverse_step, std::size_t n,
                 std::uint8_t* code);
};

[[nodiscard]] const CodeKernels& CodeKernelsForCpu() noexcept;
/// Every kernel set that this CPU can run, best first; for tests and benches.
[[nodiscard]] base::Span<const CodeKernels* const> AvailableCodeKernels() noexcept;

/// The largest difference between a query's element and any code's for which query_l2_squared() fits into 32 bits:
/// q lies within [255 - limit, limit]. n <= 16,000 leaves at least 518.
[[nodiscard]] constexpr std::int32_t QueryLimitL2(std::size_t n) noexcept {
  constexpr std::uint64_t kLargestSum = (std::uint64_t{1} << 32) - 1;
  std::uint64_t limit = 0;  // at most 32,767, so that the difference itself fits into 16 bits
  for (std::uint64_t bit = 1 << 14; bit != 0; bit >>= 1) {
    if ((limit + bit) * (limit + bit) * n <= kLargestSum) limit += bit;
  }
  return static_cast<std::int32_t>(limit);
}

/// The same for query_l1().
[[nodiscard]] constexpr std::int32_t QueryLimitL1(std::size_t n) noexcept {
  const std::uint64_t limit = n == 0 ? 32'767 : ((std::uint64_t{1} << 32) - 1) / n;
  return static_cast<std::int32_t>(limit < 32'767 ? limit : 32'767);
}

/// The largest |q| for which query_dot() fits into 32 bits. n <= 16,000 leaves at least 526.
[[nodiscard]] constexpr std::int32_t QueryLimitDot(std::size_t n) noexcept {
  const std::uint64_t limit = n == 0 ? 32'767 : ((std::uint64_t{1} << 31) - 1) / (255 * n);
  return static_cast<std::int32_t>(limit < 32'767 ? limit : 32'767);
}

}  // namespace tandem::vec
