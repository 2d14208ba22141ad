// Chooses the kernel set for this CPU.

#include "vec/kernels.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "vec/kernels_internal.hpp"
#include "vec/kernel_sets.hpp"

namespace tandem::vec {
namespace {

using AvailableSets = internal::KernelSets<DistanceKernels>;

#if defined(__x86_64__)
/// clang 14 does not let one ask for it by name.
bool ConvertsHalves() noexcept {
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}
#endif

AvailableSets DetectSets() noexcept {
  AvailableSets available;
#if defined(__x86_64__)
  // The builtin asks XGETBV too, so that a set is offered only if the operating system saves its registers.
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f")) available.Append(internal::Avx512Kernels());
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && ConvertsHalves())
    available.Append(internal::Avx2Kernels());
#endif
#if defined(__aarch64__)
  available.Append(internal::NeonKernels());
#endif
  available.Append(internal::PortableKernels());
  return available;
}

const AvailableSets& Sets() noexcept {
  static const AvailableSets sets = DetectSets();
  return sets;
}

}  // namespace

const DistanceKernels& Kernels() noexcept {
  return Sets().best();
}

base::Span<const DistanceKernels* const> AvailableKernels() noexcept {
  return Sets().all();
}

}  // namespace tandem::vec
