// Chooses the look-up kernels for this CPU.

#include "vec/lookup_kernels.hpp"

#include "vec/kernel_sets.hpp"
#include "vec/lookup_kernels_internal.hpp"

namespace tandem::vec {
namespace {

using AvailableSets = internal::KernelSets<LookupKernels>;

AvailableSets DetectSets() noexcept {
  AvailableSets available;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw"))
    available.Append(internal::Avx512LookupKernels());
  if (__builtin_cpu_supports("avx2")) available.Append(internal::Avx2LookupKernels());
#endif
  available.Append(internal::PortableLookupKernels());
  return available;
}

const AvailableSets& Sets() noexcept {
  static const AvailableSets sets = DetectSets();
  return sets;
}

}  // namespace

const LookupKernels& LookupKernelsForCpu() noexcept {
  return Sets().best();
}

base::Span<const LookupKernels* const> AvailableLookupKernels() noexcept {
  return Sets().all();
}

}  // namespace tandem::vec
