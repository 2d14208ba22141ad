// Code kernels for x86-64 with AVX-512 Foundation, BW and VNNI (Ice Lake, Zen 4 and later).

#if defined(__x86_64__)

#include "vec/avx512_intrinsics.hpp"

#include <cstddef>
#include <cstdint>

#include "vec/code_kernels_internal.hpp"

// See kernels_avx2.cpp for why a target region, and why GCC's is never closed.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vnni"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512vnni")
#endif

#include "vec/code_simd_avx512.hpp"

namespace tandem::vec {
namespace {

struct Simd : Avx512Operations {
  static Sums MulAdd(Words a, Words b, Sums sum) { return _mm512_dpwssd_epi32(sum, a, b); }

  static Sums DotNibbles(Bytes code, const std::int8_t* low, const std::int8_t* high, Sums sum) {
    sum = _mm512_dpbusd_epi32(sum, LowHalves(code), _mm512_loadu_si512(low));
    return _mm512_dpbusd_epi32(sum, HighHalves(code), _mm512_loadu_si512(high));
  }
};

}  // namespace
}  // namespace tandem::vec

#include "vec/code_kernels_loops.hpp"

namespace tandem::vec::internal {

const CodeKernels& Avx512VnniCodeKernels() noexcept {
  static constexpr CodeKernels kKernels = MakeCodeKernels("avx512vnni");
  return kKernels;
}

}  // namespace tandem::vec::internal

#if defined(__clang__)
#pragma clang attribute pop
#endif

#endif  // __x86_64__
