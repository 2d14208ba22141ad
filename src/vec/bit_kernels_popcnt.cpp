// Bit kernels for x86-64 with POPCNT (Nehalem, Barcelona and later).

#if defined(__x86_64__)

#include <cstddef>
#include <cstdint>

#include "vec/bit_kernels_internal.hpp"

// See kernels_avx2.cpp for why a target region, and why GCC's is never closed.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("popcnt"))), apply_to = function)
#else
#pragma GCC target("popcnt")
#endif

#include "vec/bit_simd_word.hpp"

#include "vec/bit_kernels_loops.hpp"

namespace tandem::vec::internal {

const BitKernels& PopcntBitKernels() noexcept {
  static constexpr BitKernels kKernels = MakeBitKernels("popcnt");
  return kKernels;
}

}  // namespace tandem::vec::internal

#if defined(__clang__)
#pragma clang attribute pop
#endif

#endif  // __x86_64__
