#pragma once
// The kernel sets that bit_kernels.cpp chooses from. One source file per instruction set; see README.md.

#include "vec/bit_kernels.hpp"

namespace tandem::vec::internal {

[[nodiscard]] const BitKernels& PortableBitKernels() noexcept;
#if defined(__x86_64__)
/// Only on a CPU with popcnt.
[[nodiscard]] const BitKernels& PopcntBitKernels() noexcept;
/// Only on a CPU with avx512f and avx512vpopcntdq.
[[nodiscard]] const BitKernels& Avx512BitKernels() noexcept;
#endif

}  // namespace tandem::vec::internal
