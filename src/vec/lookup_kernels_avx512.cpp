// Look-up kernels for x86-64 with AVX-512 F and BW (Skylake-X, Zen 4 and later).

#if defined(__x86_64__)

#include "vec/avx512_intrinsics.hpp"

#include <cstddef>
#include <cstdint>

#include "vec/lookup_kernels_internal.hpp"

// See kernels_avx2.cpp for why a target region, and why GCC's is never closed.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw")
#endif

namespace tandem::vec {
namespace {

struct Simd {
  using Register = __m512i;
  static constexpr std::size_t kColumns = 4;

  static constexpr std::size_t kFloats = 16;

  // Operators on registers would be fused.
  static __m512 Times(__m512 a, __m512 b) {
    return _mm512_mul_round_ps(a, b, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  static __m512 Plus(__m512 a, __m512 b) {
    return _mm512_add_round_ps(a, b, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  static __m512 Minus(__m512 a, __m512 b) {
    return _mm512_sub_round_ps(a, b, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }

  static std::uint32_t Within(const BoundWeights& weights, const BoundRows& rows, std::size_t i, float cut) {
    const __m512i sums = _mm512_cvtepu16_epi32(
        _mm256_loadu_si256(static_cast<const __m256i*>(static_cast<const void*>(rows.sums + i))));
    const __m512 product =
        Minus(Times(_mm512_set1_ps(weights.of_sum), _mm512_cvtepi32_ps(sums)), _mm512_set1_ps(weights.most));
    const __m512 of_term = Times(_mm512_set1_ps(weights.of_term), _mm512_loadu_ps(rows.terms + i));
    const __m512 of_spread = Times(_mm512_set1_ps(weights.of_spread), _mm512_loadu_ps(rows.spreads + i));
    const __m512 bound = Minus(
        Plus(Plus(_mm512_set1_ps(weights.base), of_term), Times(_mm512_loadu_ps(rows.scales + i), product)),
        of_spread);
    return _mm512_cmp_ps_mask(bound, _mm512_set1_ps(cut), _CMP_NGT_UQ);
  }

  static Register Zero() { return _mm512_setzero_si512(); }
  static Register Load(const std::uint8_t* from) { return _mm512_loadu_si512(from); }

  static Register LoadRows(const std::uint8_t* from, std::size_t rows) {
    const std::uint64_t of_a_column = (std::uint64_t{1} << rows) - 1U;
    return _mm512_maskz_loadu_epi8(of_a_column * 0x0001'0001'0001'0001U, from);
  }

  static Register LowHalves(Register a) { return _mm512_and_si512(a, _mm512_set1_epi8(15)); }
  static Register HighHalves(Register a) { return LowHalves(_mm512_srli_epi16(a, 4)); }
  static Register LookUp(Register tables, Register places) { return _mm512_shuffle_epi8(tables, places); }
  static Register AddBytes(Register a, Register b) { return _mm512_add_epi8(a, b); }
  static Register AddWords(Register a, Register b) { return _mm512_add_epi16(a, b); }
  static Register HighBytes(Register a) { return _mm512_srli_epi16(a, 8); }

  static void StoreSums(Register both, Register odd, std::uint16_t* sums) {
    const Register even = _mm512_sub_epi16(both, _mm512_slli_epi16(odd, 8));
    const Register rows0 = _mm512_unpacklo_epi16(even, odd);  // 0 … 7, of four columns
    const Register rows8 = _mm512_unpackhi_epi16(even, odd);
    const Register halves = AddWords(_mm512_shuffle_i32x4(rows0, rows8, 0b01'00'01'00),
                                     _mm512_shuffle_i32x4(rows0, rows8, 0b11'10'11'10));
    const Register all = AddWords(halves, _mm512_shuffle_i32x4(halves, halves, 0b10'11'00'01));
    _mm256_storeu_si256(static_cast<__m256i*>(static_cast<void*>(sums)),
                        _mm512_castsi512_si256(_mm512_shuffle_i32x4(all, all, 0b11'01'10'00)));
  }
};

}  // namespace
}  // namespace tandem::vec

#include "vec/lookup_kernels_loops.hpp"

namespace tandem::vec::internal {

const LookupKernels& Avx512LookupKernels() noexcept {
  static constexpr LookupKernels kKernels = MakeLookupKernels("avx512");
  return kKernels;
}

}  // namespace tandem::vec::internal

#if defined(__clang__)
#pragma clang attribute pop
#endif

#endif  // __x86_64__
