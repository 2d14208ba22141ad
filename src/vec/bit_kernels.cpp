// Chooses the bit kernels for this CPU.

#include "vec/bit_kernels.hpp"

#include "vec/bit_kernels_internal.hpp"
#include "vec/kernel_sets.hpp"

namespace tandem::vec {
namespace {

using AvailableSets = internal::KernelSets<BitKernels>;

AvailableSets DetectSets() noexcept {
  AvailableSets available;
#if defined(__x86_64__)
  // The builtin asks XGETBV too, so that a set is offered only if the operating system saves its registers.
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512vpopcntdq") && __builtin_cpu_supports("avx512bw"))
    available.Append(internal::Avx512BitKernels());
  if (__builtin_cpu_supports("popcnt")) available.Append(internal::PopcntBitKernels());
#endif
  available.Append(internal::PortableBitKernels());
  return available;
}

const AvailableSets& Sets() noexcept {
  static const AvailableSets sets = DetectSets();
  return sets;
}

}  // namespace

const BitKernels& CountBits() noexcept {
  return Sets().best();
}

base::Span<const BitKernels* const> AvailableBitKernels() noexcept {
  return Sets().all();
}

}  // namespace tandem::vec
