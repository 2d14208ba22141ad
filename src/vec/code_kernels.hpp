#pragma once
// Kernels over codes of 8 and of 4 bits a dimension, chosen once for the CPU that runs them. All sums are exact integers
// and all other arithmetic is made so that fused multiply-add cannot change it: every instruction set gives the same bits.

#include <cstddef>
#include <cstdint>

#include "base/span.hpp"

namespace tandem::vec {

/// 4-bit codes: byte i holds dimension i in its low half and dimension NibbleBytes() + i in its high half; halves past the
/// last dimension are 8. A float32 follows, the norm term (see make_nibbles).
[[nodiscard]] constexpr std::size_t NibbleBytes(std::size_t n) noexcept {
  return (n + 7) / 8 * 4;
}

/// What 4-bit codes are compared with:  key = base + norm_weight * norm term - scale * (sum of weight * nibble).
struct NibbleQuery {
  const std::int8_t* low;   ///< NibbleBytes() weights of the low halves, within -127 … 127
  const std::int8_t* high;  ///< of the high halves; 0 past the last dimension
  std::size_t bytes;        ///< NibbleBytes()
  double base;
  double norm_weight;  ///< 0 or 1
  double scale;        ///< a float32, so that its product with a sum is exact
};

/// a, b, codes: n bytes; q: n int16; any alignment, nothing outside is read, n <= 16,000. Thread-safe, never throws.
struct CodeKernels {
  const char* name;  ///< "avx512vnni", "avx512", "avx2", "neon" or "portable"
  /// Between codes.
  std::uint32_t (*l2_squared)(const std::uint8_t* a, const std::uint8_t* b, std::size_t n);
  std::uint32_t (*l1)(const std::uint8_t* a, const std::uint8_t* b, std::size_t n);
  std::uint32_t (*dot)(const std::uint8_t* a, const std::uint8_t* b, std::size_t n);
  /// Between a query and `count` codes at once: exact sums, rounded to float32. The caller keeps |q| so small that they fit
  /// into 32 bits (QueryLimit*()).
  void (*query_l2_squared)(const std::int16_t* q, const std::uint8_t* const* codes, std::size_t count,
                           std::size_t n, float* sums);
  void (*query_l1)(const std::int16_t* q, const std::uint8_t* const* codes, std::size_t count, std::size_t n,
                   float* sums);
  void (*query_dot)(const std::int16_t* q, const std::uint8_t* const* codes, std::size_t count, std::size_t n,
                    float* sums);
  /// The keys of `count` 4-bit codes, aligned to 4.
  void (*query_nibbles)(const NibbleQuery& q, const std::uint8_t* const* codes, std::size_t count,
                        float* keys);
  /// code[i] = (x[i] - offset[i]) / step to the nearest integer, halves upwards, clamped to 0 … 255.
  /// twice_inverse_step: 2 / step, finite and > 0; x and offset finite.
  void (*encode)(const float* x, const float* offset, float twice_inverse_step, std::size_t n,
                 std::uint8_t* code);
  /// Makes a 4-bit code of an 8-bit one. In units of 8-bit codes, x = code - centre is kept as u = step * (nibble - 7.5), and
  /// the norm term is the sum of u² - (u - x)². centre: multiples of 1/4 within 0 … 255; step: multiples of 1/4 within 1 … 16;
  /// then every term is exact.
  void (*make_nibbles)(const std::uint8_t* code, const float* centre, const float* step, std::size_t n,
                       std::uint8_t* nibbles);
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
