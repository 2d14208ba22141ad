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
  using Bytes = __m256i;
  using Levels = __m256i;  // 8 of 32 bits
  static constexpr std::size_t kBytes = 32;
  static constexpr std::size_t kLevels = 8;

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

  static Bytes LoadBytes(const std::uint8_t* from) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(static_cast<const void*>(from)));
  }
  static Bytes AndBytes(Bytes a, Bytes b) { return _mm256_and_si256(a, b); }

  static Sums DotNibbles(Bytes code, const std::int8_t* low, const std::int8_t* high, Sums sum) {
    const __m256i mask = _mm256_set1_epi8(15);
    const __m256i low_halves = _mm256_and_si256(code, mask);
    const __m256i high_halves = _mm256_and_si256(_mm256_srli_epi16(code, 4), mask);
    // At most 15 * 127 * 4 in 16 bits.
    const __m256i products = _mm256_add_epi16(_mm256_maddubs_epi16(low_halves, LoadWeights(low)),
                                              _mm256_maddubs_epi16(high_halves, LoadWeights(high)));
    return MulAdd(products, Ones(), sum);
  }

  static __m256i LoadWeights(const std::int8_t* from) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(static_cast<const void*>(from)));
  }

  static Levels NoLevels() { return _mm256_setzero_si256(); }

  static Levels MakeLevels(const std::uint8_t* code, const float* centre, const float* step, Levels* terms) {
    const __m128i codes = _mm_loadl_epi64(static_cast<const __m128i*>(static_cast<const void*>(code)));
    const __m256 x = _mm256_sub_ps(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(codes)), _mm256_loadu_ps(centre));
    const __m256 steps = _mm256_loadu_ps(step);
    const __m256 place = _mm256_add_ps(_mm256_div_ps(x, steps), _mm256_set1_ps(8.0F));
    const __m256 clamped = _mm256_min_ps(_mm256_max_ps(place, _mm256_setzero_ps()), _mm256_set1_ps(15.0F));
    const Levels levels = _mm256_cvttps_epi32(clamped);
    const __m256 from_middle = _mm256_sub_ps(_mm256_cvtepi32_ps(levels), _mm256_set1_ps(7.5F));
    const __m256 twice_u = _mm256_mul_ps(_mm256_mul_ps(from_middle, _mm256_set1_ps(2.0F)), steps);
    const __m256 term = _mm256_mul_ps(x, _mm256_sub_ps(twice_u, x));
    *terms = _mm256_add_epi32(*terms, _mm256_cvtps_epi32(_mm256_mul_ps(term, _mm256_set1_ps(16.0F))));
    return levels;
  }

  static void StoreNibbles(Levels low, Levels high, std::uint8_t* nibbles) {
    const __m256i both = _mm256_or_si256(low, _mm256_slli_epi32(high, 4));
    const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(both), _mm256_extracti128_si256(both, 1));
    _mm_storel_epi64(static_cast<__m128i*>(static_cast<void*>(nibbles)), _mm_packus_epi16(words, words));
  }

  static std::int64_t SumOfTerms(Levels terms) {
    const __m256i quads = _mm256_add_epi64(_mm256_cvtepi32_epi64(_mm256_castsi256_si128(terms)),
                                           _mm256_cvtepi32_epi64(_mm256_extracti128_si256(terms, 1)));
    const __m128i pair = _mm_add_epi64(_mm256_castsi256_si128(quads), _mm256_extracti128_si256(quads, 1));
    return _mm_cvtsi128_si64(pair) + _mm_extract_epi64(pair, 1);
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
