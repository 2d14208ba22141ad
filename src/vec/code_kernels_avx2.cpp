// Code kernels for x86-64 with AVX2.

#if defined(__x86_64__)

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "vec/code_kernels_internal.hpp"

// See kernels_avx2.cpp for why a target region, and why GCC's is never closed.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC target("avx2")
#endif

namespace tandem::vec {
namespace {

struct Simd {
  using Words = __m256i;  // 16 of 16 bits
  using Sums = __m256i;   // 8 of 32 bits
  static constexpr std::size_t kLanes = 16;
  static constexpr std::size_t kEncoded = 8;

  static Words Load(const std::uint8_t* from) {
    return _mm256_cvtepu8_epi16(_mm_loadu_si128(static_cast<const __m128i*>(static_cast<const void*>(from))));
  }
  static Words Load(const std::int16_t* from) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(static_cast<const void*>(from)));
  }

  static Words Sub(Words a, Words b) { return _mm256_sub_epi16(a, b); }
  static Words Abs(Words a) { return _mm256_abs_epi16(a); }
  static Words And(Words a, Words b) { return _mm256_and_si256(a, b); }
  static Words Ones() { return _mm256_set1_epi16(1); }
  static Sums Zero() { return _mm256_setzero_si256(); }
  static Sums MulAdd(Words a, Words b, Sums sum) { return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b)); }

  static std::uint32_t Reduce(Sums sum0, Sums sum1) {
    const __m256i octet = _mm256_add_epi32(sum0, sum1);
    const __m128i quad = _mm_add_epi32(_mm256_castsi256_si128(octet), _mm256_extracti128_si256(octet, 1));
    const __m128i pair = _mm_add_epi32(quad, _mm_unpackhi_epi64(quad, quad));
    return static_cast<std::uint32_t>(_mm_cvtsi128_si32(_mm_add_epi32(pair, _mm_shuffle_epi32(pair, 1))));
  }

  static void Encode(const float* x, const float* offset, float twice_inverse_step, std::uint8_t* code) {
    const __m256 half = _mm256_set1_ps(0.5F);
    const __m256 difference =
        _mm256_sub_ps(_mm256_mul_ps(_mm256_loadu_ps(x), half), _mm256_mul_ps(_mm256_loadu_ps(offset), half));
    const __m256 steps = _mm256_mul_ps(difference, _mm256_set1_ps(twice_inverse_step));
    const __m256 clamped = _mm256_min_ps(_mm256_max_ps(steps, _mm256_setzero_ps()), _mm256_set1_ps(255.0F));
    const __m256i rounded = _mm256_cvttps_epi32(_mm256_add_ps(clamped, half));
    const __m128i words =
        _mm_packus_epi32(_mm256_castsi256_si128(rounded), _mm256_extracti128_si256(rounded, 1));
    _mm_storel_epi64(static_cast<__m128i*>(static_cast<void*>(code)), _mm_packus_epi16(words, words));
  }
};

}  // namespace
}  // namespace tandem::vec

#include "vec/code_kernels_loops.hpp"

namespace tandem::vec::internal {

const CodeKernels& Avx2CodeKernels() noexcept {
  static constexpr CodeKernels kKernels = MakeCodeKernels("avx2");
  return kKernels;
}

}  // namespace tandem::vec::internal

#if defined(__clang__)
#pragma clang attribute pop
#endif

#endif  // __x86_64__
