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
  using Bytes = uint8x16_t;
  static constexpr std::size_t kBytes = 16;
  static constexpr std::size_t kLevels = 8;
  struct Levels {
    int32x4_t low;
    int32x4_t high;
  };

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

  static Bytes LoadBytes(const std::uint8_t* from) { return vld1q_u8(from); }
  static Bytes AndBytes(Bytes a, Bytes b) { return vandq_u8(a, b); }

  static Sums DotNibbles(Bytes code, const std::int8_t* low, const std::int8_t* high, Sums sum) {
    const int8x16_t low_halves = vreinterpretq_s8_u8(vandq_u8(code, vdupq_n_u8(15)));
    const int8x16_t high_halves = vreinterpretq_s8_u8(vshrq_n_u8(code, 4));
    const int8x16_t low_weights = vld1q_s8(low);
    const int8x16_t high_weights = vld1q_s8(high);
    // At most 15 * 127 * 4 in 16 bits.
    int16x8_t products = vmull_s8(vget_low_s8(low_halves), vget_low_s8(low_weights));
    products = vmlal_high_s8(products, low_halves, low_weights);
    products = vmlal_s8(products, vget_low_s8(high_halves), vget_low_s8(high_weights));
    products = vmlal_high_s8(products, high_halves, high_weights);
    return vpadalq_s16(sum, products);
  }

  static Levels NoLevels() { return {vdupq_n_s32(0), vdupq_n_s32(0)}; }

  static Levels MakeLevels(const std::uint8_t* code, const float* centre, const float* step, Levels* terms) {
    const uint16x8_t codes = vmovl_u8(vld1_u8(code));
    return {MakeFour(vmovl_u16(vget_low_u16(codes)), centre, step, &terms->low),
            MakeFour(vmovl_high_u16(codes), centre + 4, step + 4, &terms->high)};
  }

  static int32x4_t MakeFour(uint32x4_t codes, const float* centre, const float* step, int32x4_t* terms) {
    const float32x4_t x = vsubq_f32(vcvtq_f32_u32(codes), LoadFloats(centre));
    const float32x4_t steps = LoadFloats(step);
    const float32x4_t place = vaddq_f32(vdivq_f32(x, steps), vdupq_n_f32(8.0F));
    const int32x4_t levels =
        vcvtq_s32_f32(vminq_f32(vmaxq_f32(place, vdupq_n_f32(0.0F)), vdupq_n_f32(15.0F)));
    const float32x4_t from_middle = vsubq_f32(vcvtq_f32_s32(levels), vdupq_n_f32(7.5F));
    const float32x4_t twice_u = vmulq_f32(vmulq_n_f32(from_middle, 2.0F), steps);
    const float32x4_t term = vmulq_f32(x, vsubq_f32(twice_u, x));
    *terms = vaddq_s32(*terms, vcvtq_s32_f32(vmulq_n_f32(term, 16.0F)));
    return levels;
  }

  static void StoreNibbles(const Levels& low, const Levels& high, std::uint8_t* nibbles) {
    const int32x4_t first = vorrq_s32(low.low, vshlq_n_s32(high.low, 4));
    const int32x4_t second = vorrq_s32(low.high, vshlq_n_s32(high.high, 4));
    const int16x8_t words = vcombine_s16(vmovn_s32(first), vmovn_s32(second));
    vst1_u8(nibbles, vmovn_u16(vreinterpretq_u16_s16(words)));
  }

  static std::int64_t SumOfTerms(const Levels& terms) {
    return vaddlvq_s32(terms.low) + vaddlvq_s32(terms.high);
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
