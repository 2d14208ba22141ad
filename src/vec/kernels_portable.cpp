// Kernels for any CPU: four-lane vectors of the compiler, which are SSE2 on x86-64.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "vec/kernels_internal.hpp"

namespace tandem::vec {
namespace {

struct Simd {
  using Register = float __attribute__((vector_size(16)));
  using Bits = std::int32_t __attribute__((vector_size(16)));
  using Doubles = double __attribute__((vector_size(16)));
  static constexpr std::size_t kLanes = 4;

  static Register Zero() { return Register{}; }

  static Register Load(const float* from) {
    Register loaded;
    std::memcpy(&loaded, from, sizeof loaded);
    return loaded;
  }

  static Register Load(const Half* from) {
    Half halves[kLanes];
    std::memcpy(halves, from, sizeof halves);
    return Register{FromHalf(halves[0]), FromHalf(halves[1]), FromHalf(halves[2]), FromHalf(halves[3])};
  }

  static void Store(Register x, float* to) { std::memcpy(to, &x, sizeof x); }

  /// Adding 2^13 times its power of two (2^-1 for denormals) leaves the bits that a half has, rounded to even.
  static void ToHalves(Register x, Half* to) {
    const auto bits = reinterpret_cast<Bits>(x);
    const auto magnitude = reinterpret_cast<Register>(bits & 0x7FFFFFFF);
    const Bits power = bits & 0x7F800000;
    const Bits least = Bits{} + (113 << 23);
    const Bits anchor_power = (power > least ? power : least) + (13 << 23);
    const auto anchor = reinterpret_cast<Register>(anchor_power);
    const Register rounded = (magnitude + anchor) - anchor;
    const auto shifted = reinterpret_cast<Bits>(rounded * 0x1p-112F);
    Half halves[kLanes];
    for (std::size_t i = 0; i < kLanes; ++i) {
      halves[i] = static_cast<Half>(((bits[i] >> 16) & 0x8000) | (shifted[i] >> 13));
    }
    std::memcpy(to, halves, sizeof halves);
  }

  static Register LoadFirst(const float* from, std::size_t count) {
    float padded[kLanes] = {};
    const char* bytes = reinterpret_cast<const char*>(from);
    for (std::size_t i = 0; i < count; ++i) std::memcpy(&padded[i], bytes + i * sizeof(float), sizeof(float));
    return Load(padded);
  }

  static Register Add(Register a, Register b) { return a + b; }
  static Register Sub(Register a, Register b) { return a - b; }

  static Register Abs(Register a) {
    return reinterpret_cast<Register>(reinterpret_cast<Bits>(a) & 0x7FFFFFFF);
  }

  static Register MulAdd(Register a, Register b, Register sum) { return sum + a * b; }

  static double ReduceInDouble(Register sum0, Register sum1, Register sum2, Register sum3) {
    const Doubles total = (Widen(sum0) + Widen(sum1)) + (Widen(sum2) + Widen(sum3));
    return total[0] + total[1];
  }

  /// Lanes 0 + 2 and 1 + 3 in double.
  static Doubles Widen(Register sum) {
    const Doubles low = {sum[0], sum[1]};
    const Doubles high = {sum[2], sum[3]};
    return low + high;
  }
};

}  // namespace
}  // namespace tandem::vec

#include "vec/kernels_loops.hpp"

namespace tandem::vec::internal {

const DistanceKernels& PortableKernels() noexcept {
  static constexpr DistanceKernels kKernels = MakeKernels("portable");
  return kKernels;
}

}  // namespace tandem::vec::internal
