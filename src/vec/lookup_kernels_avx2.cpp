// Look-up kernels for x86-64 with AVX2 (Haswell, Zen and later).

#if defined(__x86_64__)

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "vec/lookup_kernels_internal.hpp"

// See kernels_avx2.cpp for why a target region, and why GCC's is never closed.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC target("avx2")
#endif

namespace tandem::vec {
namespace {

struct Simd {
  using Register = __m256i;
  static constexpr std::size_t kColumns = 2;

  static constexpr std::size_t kFloats = 8;

  static std::uint32_t Within(const BoundWeights& weights, const BoundRows& rows, std::size_t i, float cut) {
    const __m256i sums = _mm256_cvtepu16_epi32(
        _mm_loadu_si128(static_cast<const __m128i*>(static_cast<const void*>(rows.sums + i))));
    const __m256 product =
        _mm256_sub_ps(_mm256_mul_ps(_mm256_set1_ps(weights.of_sum), _mm256_cvtepi32_ps(sums)),
                      _mm256_set1_ps(weights.most));
    const __m256 of_term = _mm256_mul_ps(_mm256_set1_ps(weights.of_term), _mm256_loadu_ps(rows.terms + i));
    const __m256 of_spread =
        _mm256_mul_ps(_mm256_set1_ps(weights.of_spread), _mm256_loadu_ps(rows.spreads + i));
    const __m256 bound =
        _mm256_sub_ps(_mm256_add_ps(_mm256_add_ps(_mm256_set1_ps(weights.base), of_term),
                                    _mm256_mul_ps(_mm256_loadu_ps(rows.scales + i), product)),
                      of_spread);
    return static_cast<std::uint32_t>(
        _mm256_movemask_ps(_mm256_cmp_ps(bound, _mm256_set1_ps(cut), _CMP_NGT_UQ)));
  }

  static Register Zero() { return _mm256_setzero_si256(); }

  static Register Load(const std::uint8_t* from) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(static_cast<const void*>(from)));
  }

  /// No masks of bytes: a copy, once for each chunk of rows that is not full.
  static Register LoadRows(const std::uint8_t* from, std::size_t rows) {
    std::uint8_t columns[kColumns * kLookupRows] = {};
    for (std::size_t column = 0; column < sizeof columns; column += kLookupRows)
      __builtin_memcpy(columns + column, from + column, rows);
    return Load(columns);
  }

  static Register LowHalves(Register a) { return _mm256_and_si256(a, _mm256_set1_epi8(15)); }
  static Register HighHalves(Register a) { return LowHalves(_mm256_srli_epi16(a, 4)); }
  static Register LookUp(Register tables, Register places) { return _mm256_shuffle_epi8(tables, places); }
  static Register AddBytes(Register a, Register b) { return _mm256_add_epi8(a, b); }
  static Register AddWords(Register a, Register b) { return _mm256_add_epi16(a, b); }
  static Register HighBytes(Register a) { return _mm256_srli_epi16(a, 8); }

  static void StoreSums(Register both, Register odd, std::uint16_t* sums) {
    const Register even = _mm256_sub_epi16(both, _mm256_slli_epi16(odd, 8));
    const Register rows0 = _mm256_unpacklo_epi16(even, odd);  // 0 … 7, of two columns
    const Register rows8 = _mm256_unpackhi_epi16(even, odd);
    _mm256_storeu_si256(static_cast<__m256i*>(static_cast<void*>(sums)),
                        AddWords(_mm256_permute2x128_si256(rows0, rows8, 0x20),
                                 _mm256_permute2x128_si256(rows0, rows8, 0x31)));
  }
};

}  // namespace
}  // namespace tandem::vec

#include "vec/lookup_kernels_loops.hpp"

namespace tandem::vec::internal {

const LookupKernels& Avx2LookupKernels() noexcept {
  static constexpr LookupKernels kKernels = MakeLookupKernels("avx2");
  return kKernels;
}

}  // namespace tandem::vec::internal

#if defined(__clang__)
#pragma clang attribute pop
#endif

#endif  // __x86_64__
