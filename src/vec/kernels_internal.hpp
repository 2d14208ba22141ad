#pragma once
// The kernel sets that kernels.cpp chooses from. One source file per instruction set; see README.md.

#include "vec/kernels.hpp"

namespace tandem::vec::internal {

extern const DistanceKernels kPortableKernels;
#if defined(__x86_64__)
extern const DistanceKernels kAvx2Kernels;    // needs avx2 and fma
extern const DistanceKernels kAvx512Kernels;  // needs avx512f
#endif
#if defined(__aarch64__)
extern const DistanceKernels kNeonKernels;  // always there on this architecture
#endif

}  // namespace tandem::vec::internal
