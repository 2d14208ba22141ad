// The loops that every instruction set shares, over the `Simd` operations that the including file defined
// just before, inside its own target region. Deliberately without #pragma once and in an unnamed namespace:
// each inclusion compiles its own copy for its own instruction set. Nothing of the standard library may be
// called here: an inline function instantiated under AVX-512 could be the copy that the linker keeps for
// callers that run on lesser CPUs.
//
// Simd provides: Register, kLanes, Zero, Load and LoadFirst (the rest reads as zero and touches no memory) of floats
// and Load of halves, Store of floats, ToHalves (of kLanes floats), Add, Sub, Abs, MulAdd, and ReduceInDouble, which leaves at least 16
// lanes before it widens to double.
//
// Four accumulators: fused multiply-add has a latency of 4 cycles and two can start per cycle, but the loads
// (two per step, two per cycle) allow only one step per cycle, so four in flight saturate the core.

namespace tandem::vec {
namespace {  // NOLINT(google-build-namespaces): a copy of its own for each file is the purpose

struct SquaredDifference {
  static Simd::Register Step(Simd::Register a, Simd::Register b, Simd::Register sum) {
    const Simd::Register difference = Simd::Sub(a, b);
    return Simd::MulAdd(difference, difference, sum);
  }
};

struct Product {
  static Simd::Register Step(Simd::Register a, Simd::Register b, Simd::Register sum) {
    return Simd::MulAdd(a, b, sum);
  }
};

struct AbsoluteDifference {
  static Simd::Register Step(Simd::Register a, Simd::Register b, Simd::Register sum) {
    return Simd::Add(sum, Simd::Abs(Simd::Sub(a, b)));
  }
};

/// Four running sums that take turns. An aggregate without initialisers: a constructor that the compiler makes
/// up would lie outside the target region.
struct FourSums {
  Simd::Register sum0;
  Simd::Register sum1;
  Simd::Register sum2;
  Simd::Register sum3;

  [[nodiscard]] static FourSums Zero() { return {Simd::Zero(), Simd::Zero(), Simd::Zero(), Simd::Zero()}; }

  /// The one rounding at the end.
  [[nodiscard]] float Result() const {
    return static_cast<float>(Simd::ReduceInDouble(sum0, sum1, sum2, sum3));
  }
};

inline Simd::Register LoadFirst(const float* from, std::size_t count) {
  return Simd::LoadFirst(from, count);
}

inline Simd::Register LoadFirst(const Half* from, std::size_t count) {
  Half padded[Simd::kLanes] = {};
  __builtin_memcpy(padded, from, count * sizeof(Half));
  return Simd::Load(padded);
}

/// B: float or Half.
template <typename Term, typename B>
float Accumulate(const float* a, const B* b, std::size_t n) {
  constexpr std::size_t kLanes = Simd::kLanes;
  FourSums sums = FourSums::Zero();
  std::size_t i = 0;
  for (; n - i >= 4 * kLanes; i += 4 * kLanes) {
    sums.sum0 = Term::Step(Simd::Load(a + i), Simd::Load(b + i), sums.sum0);
    sums.sum1 = Term::Step(Simd::Load(a + i + kLanes), Simd::Load(b + i + kLanes), sums.sum1);
    sums.sum2 = Term::Step(Simd::Load(a + i + 2 * kLanes), Simd::Load(b + i + 2 * kLanes), sums.sum2);
    sums.sum3 = Term::Step(Simd::Load(a + i + 3 * kLanes), Simd::Load(b + i + 3 * kLanes), sums.sum3);
  }
  if (n - i >= 2 * kLanes) {
    sums.sum0 = Term::Step(Simd::Load(a + i), Simd::Load(b + i), sums.sum0);
    sums.sum1 = Term::Step(Simd::Load(a + i + kLanes), Simd::Load(b + i + kLanes), sums.sum1);
    i += 2 * kLanes;
  }
  if (n - i >= kLanes) {
    sums.sum2 = Term::Step(Simd::Load(a + i), Simd::Load(b + i), sums.sum2);
    i += kLanes;
  }
  if (n != i) {
    sums.sum3 = Term::Step(LoadFirst(a + i, n - i), LoadFirst(b + i, n - i), sums.sum3);
  }
  return sums.Result();
}

/// Accumulate<Product> for (a, b) and for (b, b) in one pass. Both must keep the order of additions of
/// Accumulate, or the bit-equality that kernels.hpp promises is gone. b comes first in each step, so that a is
/// the operand which GCC folds into the instruction: the other way round it reads b from memory twice, and the
/// loads are what limits the loop (AVX-512, 1,536 dimensions in cache: 89 ns instead of 59).
template <typename B>
DotAndNorm AccumulateDotAndNorm(const float* a, const B* b, std::size_t n) {
  constexpr std::size_t kLanes = Simd::kLanes;
  FourSums dot = FourSums::Zero();
  FourSums norm = FourSums::Zero();
  std::size_t i = 0;
  for (; n - i >= 4 * kLanes; i += 4 * kLanes) {
    const Simd::Register b0 = Simd::Load(b + i);
    const Simd::Register b1 = Simd::Load(b + i + kLanes);
    const Simd::Register b2 = Simd::Load(b + i + 2 * kLanes);
    const Simd::Register b3 = Simd::Load(b + i + 3 * kLanes);
    dot.sum0 = Product::Step(b0, Simd::Load(a + i), dot.sum0);
    dot.sum1 = Product::Step(b1, Simd::Load(a + i + kLanes), dot.sum1);
    dot.sum2 = Product::Step(b2, Simd::Load(a + i + 2 * kLanes), dot.sum2);
    dot.sum3 = Product::Step(b3, Simd::Load(a + i + 3 * kLanes), dot.sum3);
    norm.sum0 = Product::Step(b0, b0, norm.sum0);
    norm.sum1 = Product::Step(b1, b1, norm.sum1);
    norm.sum2 = Product::Step(b2, b2, norm.sum2);
    norm.sum3 = Product::Step(b3, b3, norm.sum3);
  }
  if (n - i >= 2 * kLanes) {
    const Simd::Register b0 = Simd::Load(b + i);
    const Simd::Register b1 = Simd::Load(b + i + kLanes);
    dot.sum0 = Product::Step(b0, Simd::Load(a + i), dot.sum0);
    dot.sum1 = Product::Step(b1, Simd::Load(a + i + kLanes), dot.sum1);
    norm.sum0 = Product::Step(b0, b0, norm.sum0);
    norm.sum1 = Product::Step(b1, b1, norm.sum1);
    i += 2 * kLanes;
  }
  if (n - i >= kLanes) {
    const Simd::Register b2 = Simd::Load(b + i);
    dot.sum2 = Product::Step(b2, Simd::Load(a + i), dot.sum2);
    norm.sum2 = Product::Step(b2, b2, norm.sum2);
    i += kLanes;
  }
  if (n != i) {
    const Simd::Register b3 = LoadFirst(b + i, n - i);
    dot.sum3 = Product::Step(b3, LoadFirst(a + i, n - i), dot.sum3);
    norm.sum3 = Product::Step(b3, b3, norm.sum3);
  }
  return {dot.Result(), norm.Result()};
}

inline void ToHalves(const float* x, std::size_t n, Half* to) {
  constexpr std::size_t kLanes = Simd::kLanes;
  std::size_t i = 0;
  for (; n - i >= kLanes; i += kLanes) Simd::ToHalves(Simd::Load(x + i), to + i);
  if (n == i) return;
  Half padded[kLanes];
  Simd::ToHalves(Simd::LoadFirst(x + i, n - i), padded);
  __builtin_memcpy(to + i, padded, (n - i) * sizeof(Half));
}

inline void ToFloats(const Half* x, std::size_t n, float* to) {
  constexpr std::size_t kLanes = Simd::kLanes;
  std::size_t i = 0;
  for (; n - i >= kLanes; i += kLanes) Simd::Store(Simd::Load(x + i), to + i);
  if (n == i) return;
  float padded[kLanes];
  Simd::Store(LoadFirst(x + i, n - i), padded);
  __builtin_memcpy(to + i, padded, (n - i) * sizeof(float));
}

constexpr DistanceKernels MakeKernels(const char* name) {
  return {name,
          Accumulate<SquaredDifference, float>,
          Accumulate<Product, float>,
          Accumulate<AbsoluteDifference, float>,
          AccumulateDotAndNorm<float>,
          Accumulate<SquaredDifference, Half>,
          Accumulate<Product, Half>,
          Accumulate<AbsoluteDifference, Half>,
          AccumulateDotAndNorm<Half>,
          ToHalves,
          ToFloats};
}

}  // namespace
}  // namespace tandem::vec
