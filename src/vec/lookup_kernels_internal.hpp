#pragma once
// The kernel sets that lookup_kernels.cpp chooses from. One source file per instruction set; see README.md.

#include "vec/lookup_kernels.hpp"

namespace tandem::vec::internal {

[[nodiscard]] const LookupKernels& PortableLookupKernels() noexcept;
#if defined(__x86_64__)
/// Only on a CPU with avx2.
[[nodiscard]] const LookupKernels& Avx2LookupKernels() noexcept;
/// Only on a CPU with avx512f and avx512bw.
[[nodiscard]] const LookupKernels& Avx512LookupKernels() noexcept;
#endif

}  // namespace tandem::vec::internal
