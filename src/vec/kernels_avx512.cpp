// Kernels for x86-64 with AVX-512 Foundation (Skylake-SP, Zen 4 and later).

#if defined(__x86_64__)

#include "vec/avx512_intrinsics.hpp"

#include <cstddef>
#include <cstdint>

#include "vec/kernels_internal.hpp"

// See kernels_avx2.cpp for why a target region, and why GCC's is never closed.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f"))), apply_to = function)
#else
#pragma GCC target("avx512f")
#endif

namespace tandem::vec {
namespace {

struct Simd {
  using Register = __m512;
  static constexpr std::size_t kLanes = 16;

  static Register Zero() { return _mm512_setzero_ps(); }
  static Register Load(const float* from) { return _mm512_loadu_ps(from); }

  static Register Load(const Half* from) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(static_cast<const void*>(from))));
  }

  static void Store(Register x, float* to) { _mm512_storeu_ps(to, x); }

  static void ToHalves(Register x, Half* to) {
    _mm256_storeu_si256(static_cast<__m256i*>(static_cast<void*>(to)),
                        _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }

  static Register LoadFirst(const float* from, std::size_t count) {
    return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1U << count) - 1U), from);
  }

  static Register Add(Register a, Register b) { return _mm512_add_ps(a, b); }
  static Register Sub(Register a, Register b) { return _mm512_sub_ps(a, b); }
  static Register Abs(Register a) { return _mm512_abs_ps(a); }
  static Register MulAdd(Register a, Register b, Register sum) { return _mm512_fmadd_ps(a, b, sum); }

  static double ReduceInDouble(Register sum0, Register sum1, Register sum2, Register sum3) {
    const Register sum = Add(Add(sum0, sum1), Add(sum2, sum3));
    const __m256 low = _mm512_castps512_ps256(sum);
    const __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(sum), 1));
    const __m512d octets = _mm512_add_pd(_mm512_cvtps_pd(low), _mm512_cvtps_pd(high));
    const __m256d quads = _mm256_add_pd(_mm512_castpd512_pd256(octets), _mm512_extractf64x4_pd(octets, 1));
    const __m128d pair = _mm_add_pd(_mm256_castpd256_pd128(quads), _mm256_extractf128_pd(quads, 1));
    return _mm_cvtsd_f64(_mm_add_sd(pair, _mm_unpackhi_pd(pair, pair)));
  }
};

}  // namespace
}  // namespace tandem::vec

#include "vec/kernels_loops.hpp"

namespace tandem::vec::internal {

const DistanceKernels& Avx512Kernels() noexcept {
  static constexpr DistanceKernels kKernels = MakeKernels("avx512");
  return kKernels;
}

}  // namespace tandem::vec::internal

#if defined(__clang__)
#pragma clang attribute pop
#endif

#endif  // __x86_64__
