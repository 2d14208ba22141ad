#pragma once
// The kernel sets that code_kernels.cpp chooses from. One source file per instruction set; see README.md.

#include "vec/code_kernels.hpp"

namespace tandem::vec::internal {

[[nodiscard]] const CodeKernels& PortableCodeKernels() noexcept;
#if defined(__x86_64__)
/// Only on a CPU with avx2.
[[nodiscard]] const CodeKernels& Avx2CodeKernels() noexcept;
/// Only on a CPU with avx512f and avx512bw.
[[nodiscard]] const CodeKernels& Avx512CodeKernels() noexcept;
/// Only on a CPU with avx512f, avx512bw and avx512vnni.
[[nodiscard]] const CodeKernels& Avx512VnniCodeKernels() noexcept;
#endif
#if defined(__aarch64__)
[[nodiscard]] const CodeKernels& NeonCodeKernels() noexcept;
#endif

}  // namespace tandem::vec::internal
