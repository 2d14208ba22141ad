// Bit kernels for x86-64 with AVX-512 VPOPCNTDQ (Ice Lake, Zen 4 and later).

#if defined(__x86_64__)

#include "vec/avx512_intrinsics.hpp"

#include <cstddef>
#include <cstdint>

#include "vec/bit_kernels_internal.hpp"

// See kernels_avx2.cpp for why a target region, and why GCC's is never closed.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vpopcntdq"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512vpopcntdq")
#endif

namespace tandem::vec {
namespace {

struct Simd {
  using Register = __m512i;
  static constexpr std::size_t kBytes = 64;

  static Register Zero() { return _mm512_setzero_si512(); }
  static Register Load(const unsigned char* from) { return _mm512_loadu_si512(from); }

  static Register LoadFirst(const unsigned char* from, std::size_t count) {
    return _mm512_maskz_loadu_epi8((std::uint64_t{1} << count) - 1U, from);
  }

  static Register And(Register a, Register b) { return _mm512_and_si512(a, b); }
  static Register Xor(Register a, Register b) { return _mm512_xor_si512(a, b); }
  static Register Count(Register a) { return _mm512_popcnt_epi64(a); }
  static Register Add(Register a, Register b) { return _mm512_add_epi64(a, b); }
  static std::uint64_t Sum(Register a) { return static_cast<std::uint64_t>(_mm512_reduce_add_epi64(a)); }
};

}  // namespace
}  // namespace tandem::vec

#include "vec/bit_kernels_loops.hpp"

namespace tandem::vec::internal {

const BitKernels& Avx512BitKernels() noexcept {
  static constexpr BitKernels kKernels = MakeBitKernels("avx512vpopcntdq");
  return kKernels;
}

}  // namespace tandem::vec::internal

#if defined(__clang__)
#pragma clang attribute pop
#endif

#endif  // __x86_64__
