// Chooses the code kernels for this CPU.

#include "vec/code_kernels.hpp"

#include "vec/code_kernels_internal.hpp"
#include "vec/kernel_sets.hpp"

namespace tandem::vec {
namespace {

using AvailableSets = internal::KernelSets<CodeKernels>;

AvailableSets DetectSets() noexcept {
  AvailableSets available;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")) {
    if (__builtin_cpu_supports("avx512vnni")) available.Append(internal::Avx512VnniCodeKernels());
    available.Append(internal::Avx512CodeKernels());
  }
  if (__builtin_cpu_supports("avx2")) available.Append(internal::Avx2CodeKernels());
#endif
#if defined(__aarch64__)
  available.Append(internal::NeonCodeKernels());
#endif
  available.Append(internal::PortableCodeKernels());
  return available;
}

const AvailableSets& Sets() noexcept {
  static const AvailableSets sets = DetectSets();
  return sets;
}

}  // namespace

const CodeKernels& CodeKernelsForCpu() noexcept {
  return Sets().best();
}

base::Span<const CodeKernels* const> AvailableCodeKernels() noexcept {
  return Sets().all();
}

}  // namespace tandem::vec
