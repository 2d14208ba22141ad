#pragma once
// The kernel sets that kernels.cpp chooses from. One source file per instruction set; see README.md.

#include "vec/kernels.hpp"

namespace tandem::vec::internal {

[[nodiscard]] const DistanceKernels& PortableKernels() noexcept;
#if defined(__x86_64__)
/// Only on a CPU with avx2, fma and f16c.
[[nodiscard]] const DistanceKernels& Avx2Kernels() noexcept;
/// Only on a CPU with avx512f.
[[nodiscard]] const DistanceKernels& Avx512Kernels() noexcept;
#endif
#if defined(__aarch64__)
[[nodiscard]] const DistanceKernels& NeonKernels() noexcept;
#endif

}  // namespace tandem::vec::internal
