#pragma once
// Distance kernels over float32 vectors, chosen once for the CPU that runs them.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/span.hpp"

namespace tandem::vec {

struct DotAndNorm {
  float dot;           ///< sum of a[i] * b[i]
  float norm_squared;  ///< sum of b[i] * b[i]; bit-equal to inner_product(b, b)
};

/// IEEE 754 binary16, by its bits. No infinity, no NaN.
using Half = std::uint16_t;
constexpr float kLargestHalf = 65'504.0F;

/// Exact. The bits of a half, moved to where a float32 has them, are the number times 2^-112, denormals included.
[[nodiscard]] inline float FromHalf(Half half) noexcept {
  const std::uint32_t moved = (half & 0x7FFFU) << 13;
  float magnitude;
  std::memcpy(&magnitude, &moved, sizeof magnitude);
  magnitude *= 0x1p112F;
  return (half & 0x8000U) != 0 ? -magnitude : magnitude;
}

/// Where rounding to half becomes infinity: the middle between the largest half and the next power of two.
constexpr float kHalfRangeEnd = 65'520.0F;

/// To the nearest, halves to even, bit for bit what DistanceKernels::to_halves does; for single numbers.
/// |x| < kHalfRangeEnd.
[[nodiscard]] inline Half ToHalf(float x) noexcept {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  // Adding 2^13 times its power of two (2^-1 for denormals) leaves the bits that a half has, rounded to even.
  constexpr std::uint32_t kLeastPower = 113U << 23;
  const std::uint32_t power = bits & 0x7F800000U;
  const std::uint32_t anchor_bits = (power > kLeastPower ? power : kLeastPower) + (13U << 23);
  float anchor;
  std::memcpy(&anchor, &anchor_bits, sizeof anchor);
  const float magnitude = x < 0.0F ? -x : x;
  const float rounded = ((magnitude + anchor) - anchor) * 0x1p-112F;
  std::uint32_t shifted;
  std::memcpy(&shifted, &rounded, sizeof shifted);
  return static_cast<Half>(((bits >> 16) & 0x8000U) | ((shifted & 0x7FFFFFFFU) >> 13));
}

/// One instruction set's kernels. a and b: n float32 each, any alignment, n >= 0 (n = 0 gives 0).
/// At least 16 lanes accumulate in float32; they are reduced in double and rounded to float32 once, so that sums
/// of integers are exact, but for that rounding, while every lane stays within 2^24 (L2 and inner product of
/// 0..255: up to 4,096 elements). The error is at most (n / 16 + 7) * 2^-24 times the sum of the terms'
/// magnitudes; sets differ from each other by up to twice that. Symmetric in a and b to the bit, and dot_and_norm
/// gives the bits of inner_product. Denormals count; overflow, infinity and NaN behave as in float32 arithmetic.
/// Nothing outside the 2 n elements is read. Thread-safe, never throws.
struct DistanceKernels {
  const char* name;  ///< "avx512", "avx2", "neon" or "portable"
  float (*l2_squared)(const float* a, const float* b, std::size_t n);
  float (*inner_product)(const float* a, const float* b, std::size_t n);
  float (*l1)(const float* a, const float* b, std::size_t n);
  DotAndNorm (*dot_and_norm)(const float* a, const float* b, std::size_t n);
  /// The bits that the kernels above give for b as float32.
  float (*l2_squared_half)(const float* a, const Half* b, std::size_t n);
  float (*inner_product_half)(const float* a, const Half* b, std::size_t n);
  float (*l1_half)(const float* a, const Half* b, std::size_t n);
  DotAndNorm (*dot_and_norm_half)(const float* a, const Half* b, std::size_t n);
  /// To the nearest, halves to even: every set gives the same bits. |x[i]| < kHalfRangeEnd.
  void (*to_halves)(const float* x, std::size_t n, Half* to);
  /// Exact: FromHalf() of each.
  void (*to_floats)(const Half* x, std::size_t n, float* to);
};

/// The best kernels for this CPU; resolved at the first call.
[[nodiscard]] const DistanceKernels& Kernels() noexcept;

/// Every kernel set that this CPU can run, best first; for tests and benches.
[[nodiscard]] base::Span<const DistanceKernels* const> AvailableKernels() noexcept;

}  // namespace tandem::vec
