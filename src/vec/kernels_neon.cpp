// Kernels for 64-bit Arm, whose baseline includes NEON with fused multiply-add.

#if defined(__aarch64__)

#include <arm_neon.h>

#include <cstddef>
#include <cstring>

#include "vec/kernels_internal.hpp"

namespace tandem::vec {
namespace {

struct Simd {
  using Register = float32x4_t;
  static constexpr std::size_t kLanes = 4;

  static Register Zero() { return vdupq_n_f32(0.0F); }

  static Register Load(const float* from) {
    Register loaded;  // memcpy, since vld1q_f32 may assume that floats are aligned
    std::memcpy(&loaded, from, sizeof loaded);
    return loaded;
  }

  static Register Load(const Half* from) {
    float16x4_t loaded;
    std::memcpy(&loaded, from, sizeof loaded);
    return vcvt_f32_f16(loaded);
  }

  static void Store(Register x, float* to) { std::memcpy(to, &x, sizeof x); }

  static void ToHalves(Register x, Half* to) {
    const float16x4_t halves = vcvt_f16_f32(x);
    std::memcpy(to, &halves, sizeof halves);
  }

  static Register LoadFirst(const float* from, std::size_t count) {
    float padded[kLanes] = {};
    const char* bytes = reinterpret_cast<const char*>(from);
    for (std::size_t i = 0; i < count; ++i) std::memcpy(&padded[i], bytes + i * sizeof(float), sizeof(float));
    return Load(padded);
  }

  static Register Add(Register a, Register b) { return vaddq_f32(a, b); }
  static Register Sub(Register a, Register b) { return vsubq_f32(a, b); }
  static Register Abs(Register a) { return vabsq_f32(a); }
  static Register MulAdd(Register a, Register b, Register sum) { return vfmaq_f32(sum, a, b); }

  static double ReduceInDouble(Register sum0, Register sum1, Register sum2, Register sum3) {
    return vaddvq_f64(vaddq_f64(vaddq_f64(Widen(sum0), Widen(sum1)), vaddq_f64(Widen(sum2), Widen(sum3))));
  }

  /// Lanes 0 + 2 and 1 + 3 in double.
  static float64x2_t Widen(Register sum) {
    return vaddq_f64(vcvt_f64_f32(vget_low_f32(sum)), vcvt_high_f64_f32(sum));
  }
};

}  // namespace
}  // namespace tandem::vec

#include "vec/kernels_loops.hpp"

namespace tandem::vec::internal {

const DistanceKernels& NeonKernels() noexcept {
  static constexpr DistanceKernels kKernels = MakeKernels("neon");
  return kKernels;
}

}  // namespace tandem::vec::internal

#endif  // __aarch64__
