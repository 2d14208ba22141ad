// Code kernels for any CPU: element by element. Without a 16-bit multiply-add, vectors of the compiler gain nothing
// (L2 at 128 dimensions with SSE2: 115 ns instead of 43), and the CPUs that get here are rare.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "vec/code_kernels_internal.hpp"

namespace tandem::vec {
namespace {

struct Simd {
  using Words = std::int32_t;
  using Sums = std::uint32_t;
  static constexpr std::size_t kLanes = 1;
  static constexpr std::size_t kEncoded = 4;
  using Bytes = std::uint8_t;
  using Levels = std::int64_t;
  static constexpr std::size_t kBytes = 1;
  static constexpr std::size_t kLevels = 1;

  static Words Load(const std::uint8_t* from) { return *from; }
  static Words Load(const std::int16_t* from) {
    std::int16_t loaded;  // at any alignment
    std::memcpy(&loaded, from, sizeof loaded);
    return loaded;
  }

  static Words Sub(Words a, Words b) { return a - b; }
  static Words Abs(Words a) { return a < 0 ? -a : a; }
  static Words And(Words a, Words b) { return a & b; }
  static Words Ones() { return 1; }
  static Sums Zero() { return 0; }
  static Sums MulAdd(Words a, Words b, Sums sum) { return sum + static_cast<Sums>(a * b); }
  static std::uint32_t Reduce(Sums sum0, Sums sum1) { return sum0 + sum1; }

  static void Encode(const float* x, const float* offset, float twice_inverse_step, std::uint8_t* code) {
    float from[kEncoded];
    float base[kEncoded];
    std::memcpy(from, x, sizeof from);
    std::memcpy(base, offset, sizeof base);
    for (std::size_t i = 0; i < kEncoded; ++i) {
      const float steps = (0.5F * from[i] - 0.5F * base[i]) * twice_inverse_step;
      const float positive = steps > 0.0F ? steps : 0.0F;
      const float clamped = positive < 255.0F ? positive : 255.0F;
      // As the other sets round; the result of lround() would differ where the sum is rounded up to the next integer.
      code[i] = static_cast<std::uint8_t>(clamped + 0.5F);  // NOLINT(bugprone-incorrect-roundings)
    }
  }

  static Bytes LoadBytes(const std::uint8_t* from) { return *from; }
  static Bytes AndBytes(Bytes a, Bytes b) { return a & b; }

  static Sums DotNibbles(Bytes code, const std::int8_t* low, const std::int8_t* high, Sums sum) {
    return sum + static_cast<Sums>((code & 15) * *low + (code >> 4) * *high);
  }

  static Levels NoLevels() { return 0; }

  static Levels MakeLevels(const std::uint8_t* code, const float* centre, const float* step, Levels* terms) {
    const float x = static_cast<float>(*code) - *centre;
    const float place = x / *step + 8.0F;
    const float positive = place > 0.0F ? place : 0.0F;
    const auto level = static_cast<std::int32_t>(positive < 15.0F ? positive : 15.0F);
    const float twice_u = (static_cast<float>(level) - 7.5F) * 2.0F * *step;
    *terms += static_cast<std::int64_t>(x * (twice_u - x) * 16.0F);
    return level;
  }

  static void StoreNibbles(Levels low, Levels high, std::uint8_t* nibbles) {
    *nibbles = static_cast<std::uint8_t>(low | high << 4);
  }

  static std::int64_t SumOfTerms(Levels terms) { return terms; }
};

}  // namespace
}  // namespace tandem::vec

#include "vec/code_kernels_loops.hpp"

namespace tandem::vec::internal {

const CodeKernels& PortableCodeKernels() noexcept {
  static constexpr CodeKernels kKernels = MakeCodeKernels("portable");
  return kKernels;
}

}  // namespace tandem::vec::internal
