// Kernels for x86-64 with AVX2, FMA and F16C (Haswell, Zen and later).

#if defined(__x86_64__)

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "vec/kernels_internal.hpp"

// A target region instead of compiler flags for this file: PGXS and CMake then need no rule of their own, and
// headers included above stay compiled for the baseline. GCC's region is left open on purpose: templates are
// instantiated at the end of the file, with the target that is in force there.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,f16c")
#endif

namespace tandem::vec {
namespace {

// Eight lanes on, then eight lanes off: eight entries from position 8 - count select the first `count` lanes.
alignas(32) constexpr std::int32_t kLaneMasks[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};

struct Simd {
  using Register = __m256;
  static constexpr std::size_t kLanes = 8;

  static Register Zero() { return _mm256_setzero_ps(); }
  static Register Load(const float* from) { return _mm256_loadu_ps(from); }

  static Register Load(const Half* from) {
    return _mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(static_cast<const void*>(from))));
  }

  static void Store(Register x, float* to) { _mm256_storeu_ps(to, x); }

  static void ToHalves(Register x, Half* to) {
    _mm_storeu_si128(static_cast<__m128i*>(static_cast<void*>(to)),
                     _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }

  static Register LoadFirst(const float* from, std::size_t count) {
    const __m256i mask = _mm256_loadu_si256(
        reinterpret_cast<const __m256i*>(static_cast<const void*>(kLaneMasks + kLanes - count)));
    return _mm256_maskload_ps(from, mask);
  }

  static Register Add(Register a, Register b) { return _mm256_add_ps(a, b); }
  static Register Sub(Register a, Register b) { return _mm256_sub_ps(a, b); }
  static Register Abs(Register a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0F), a); }
  static Register MulAdd(Register a, Register b, Register sum) { return _mm256_fmadd_ps(a, b, sum); }

  static double ReduceInDouble(Register sum0, Register sum1, Register sum2, Register sum3) {
    const __m256d quads = _mm256_add_pd(Widen(Add(sum0, sum1)), Widen(Add(sum2, sum3)));
    const __m128d pair = _mm_add_pd(_mm256_castpd256_pd128(quads), _mm256_extractf128_pd(quads, 1));
    return _mm_cvtsd_f64(_mm_add_sd(pair, _mm_unpackhi_pd(pair, pair)));
  }

  /// Lanes 0 + 4, 1 + 5, 2 + 6 and 3 + 7 in double.
  static __m256d Widen(Register sum) {
    return _mm256_add_pd(_mm256_cvtps_pd(_mm256_castps256_ps128(sum)),
                         _mm256_cvtps_pd(_mm256_extractf128_ps(sum, 1)));
  }
};

}  // namespace
}  // namespace tandem::vec

#include "vec/kernels_loops.hpp"

namespace tandem::vec::internal {

const DistanceKernels& Avx2Kernels() noexcept {
  static constexpr DistanceKernels kKernels = MakeKernels("avx2");
  return kKernels;
}

}  // namespace tandem::vec::internal

#if defined(__clang__)
#pragma clang attribute pop
#endif

#endif  // __x86_64__
