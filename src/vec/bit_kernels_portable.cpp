// Bit kernels for any CPU. On 64-bit Arm the builtin is the CPU's own count.

#include <cstddef>
#include <cstdint>

#include "vec/bit_kernels_internal.hpp"

#include "vec/bit_simd_word.hpp"

#include "vec/bit_kernels_loops.hpp"

namespace tandem::vec::internal {

const BitKernels& PortableBitKernels() noexcept {
  static constexpr BitKernels kKernels = MakeBitKernels("portable");
  return kKernels;
}

}  // namespace tandem::vec::internal
