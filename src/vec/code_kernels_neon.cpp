// Code kernels for 64-bit Arm.

#if defined(__aarch64__)

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "vec/code_kernels_internal.hpp"

namespace tandem::vec {
namespace {

struct Simd {
  using Words = int16x8_t;
  using Sums = int32x4_t;
  static constexpr std::size_t kLanes = 8;
  static constexpr std::size_t kEncoded = 8;

  static Words Load(const std::uint8_t* from) { return vreinterpretq_s16_u16(vmovl_u8(vld1_u8(from))); }

  static Words Load(const std::int16_t* from) {
    Words loaded;  // memcpy, since vld1q_s16 may assume that the elements are aligned
    std::memcpy(&loaded, from, sizeof loaded);
    return loaded;
  }

  static Words Sub(Words a, Words b) { return vsubq_s16(a, b); }
  static Words Abs(Words a) { return vabsq_s16(a); }
  static Words And(Words a, Words b) { return vandq_s16(a, b); }
  static Words Ones() { return vdupq_n_s16(1); }
  static Sums Zero() { return vdupq_n_s32(0); }

  static Sums MulAdd(Words a, Words b, Sums sum) {
    return vmlal_high_s16(vmlal_s16(sum, vget_low_s16(a), vget_low_s16(b)), a, b);
  }

  static std::uint32_t Reduce(Sums sum0, Sums sum1) {
    return static_cast<std::uint32_t>(vaddvq_s32(vaddq_s32(sum0, sum1)));
  }

  static void Encode(const float* x, const float* offset, float twice_inverse_step, std::uint8_t* code) {
    const uint16x4_t low = EncodeFour(x, offset, twice_inverse_step);
    const uint16x4_t high = EncodeFour(x + 4, offset + 4, twice_inverse_step);
    vst1_u8(code, vmovn_u16(vcombine_u16(low, high)));
  }

  static uint16x4_t EncodeFour(const float* x, const float* offset, float twice_inverse_step) {
    const float32x4_t difference =
        vsubq_f32(vmulq_n_f32(LoadFloats(x), 0.5F), vmulq_n_f32(LoadFloats(offset), 0.5F));
    const float32x4_t steps = vmulq_n_f32(difference, twice_inverse_step);
    const float32x4_t clamped = vminq_f32(vmaxq_f32(steps, vdupq_n_f32(0.0F)), vdupq_n_f32(255.0F));
    return vmovn_u32(vcvtq_u32_f32(vaddq_f32(clamped, vdupq_n_f32(0.5F))));
  }

  static float32x4_t LoadFloats(const float* from) {
    float32x4_t loaded;
    std::memcpy(&loaded, from, sizeof loaded);
    return loaded;
  }
};

}  // namespace
}  // namespace tandem::vec

#include "vec/code_kernels_loops.hpp"

namespace tandem::vec::internal {

const CodeKernels& NeonCodeKernels() noexcept {
  static constexpr CodeKernels kKernels = MakeCodeKernels("neon");
  return kKernels;
}

}  // namespace tandem::vec::internal

#endif  // __aarch64__
