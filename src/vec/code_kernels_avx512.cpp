// Code kernels for x86-64 with AVX-512 Foundation and BW (Skylake-SP and later).

#if defined(__x86_64__)

#include "vec/avx512_intrinsics.hpp"

#include <cstddef>
#include <cstdint>

#include "vec/code_kernels_internal.hpp"

// See kernels_avx2.cpp for why a target region, and why GCC's is never closed.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw")
#endif

#include "vec/code_simd_avx512.hpp"

namespace tandem::vec {
namespace {

struct Simd : Avx512Operations {
  static Sums MulAdd(Words a, Words b, Sums sum) { return _mm512_add_epi32(sum, _mm512_madd_epi16(a, b)); }

  static Sums DotNibbles(Bytes code, const std::int8_t* low, const std::int8_t* high, Sums sum) {
    // At most 15 * 127 * 4 in 16 bits.
    const __m512i products =
        _mm512_add_epi16(_mm512_maddubs_epi16(LowHalves(code), _mm512_loadu_si512(low)),
                         _mm512_maddubs_epi16(HighHalves(code), _mm512_loadu_si512(high)));
    return MulAdd(products, Ones(), sum);
  }
};

}  // namespace
}  // namespace tandem::vec

#include "vec/code_kernels_loops.hpp"

namespace tandem::vec::internal {

const CodeKernels& Avx512CodeKernels() noexcept {
  static constexpr CodeKernels kKernels = MakeCodeKernels("avx512");
  return kKernels;
}

}  // namespace tandem::vec::internal

#if defined(__clang__)
#pragma clang attribute pop
#endif

#endif  // __x86_64__
