#pragma once
// Distance kernels over float32 vectors, chosen once for the CPU that runs them.

#include <cstddef>

#include "base/span.hpp"

namespace tandem::vec {

struct DotAndNorm {
  float dot;           ///< sum of a[i] * b[i]
  float norm_squared;  ///< sum of b[i] * b[i]; bit-equal to inner_product(b, b)
};

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
};

/// The best kernels for this CPU; resolved at the first call.
[[nodiscard]] const DistanceKernels& Kernels() noexcept;

/// Every kernel set that this CPU can run, best first; for tests and benches.
[[nodiscard]] base::Span<const DistanceKernels* const> AvailableKernels() noexcept;

}  // namespace tandem::vec
