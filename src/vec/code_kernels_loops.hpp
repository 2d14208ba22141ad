// The loops over codes that every instruction set shares, over the `Simd` operations that the including file defined
// just before, inside its own target region. Deliberately without #pragma once and in an unnamed namespace, and without
// the standard library: kernels_loops.hpp says why.
//
// Simd provides: Words (kLanes signed elements of at least 16 bits), Load (widens codes, loads int16), Sub, Abs, And,
// Ones; Sums (lanes of 32 bits, which wrap), Zero, MulAdd (adds the products to some lanes), Reduce; and
// Encode, which codes kEncoded floats at once.
//
// Sums wrap around modulo 2^32, so only the total must fit. Two of them take turns: an addition has a latency of one
// cycle, a fused multiply-add (VNNI) of four or five, which two widening loads a step nearly hide.

namespace tandem::vec {
namespace {  // NOLINT(google-build-namespaces): a copy of its own for each file is the purpose

struct SquaredDifference {
  static Simd::Sums Step(Simd::Words a, Simd::Words b, Simd::Sums sum) {
    const Simd::Words difference = Simd::Sub(a, b);
    return Simd::MulAdd(difference, difference, sum);
  }
};

struct Product {
  static Simd::Sums Step(Simd::Words a, Simd::Words b, Simd::Sums sum) { return Simd::MulAdd(a, b, sum); }
};

struct AbsoluteDifference {
  static Simd::Sums Step(Simd::Words a, Simd::Words b, Simd::Sums sum) {
    return Simd::MulAdd(Simd::Abs(Simd::Sub(a, b)), Simd::Ones(), sum);
  }
};

/// kLanes of zeros, then kLanes of ones: a load from position `count` keeps the last `count` lanes.
struct LaneMasks {
  std::int16_t lanes[2 * Simd::kLanes];
};

constexpr LaneMasks MakeLaneMasks() {
  LaneMasks masks = {};
  for (std::size_t i = Simd::kLanes; i < 2 * Simd::kLanes; ++i) masks.lanes[i] = -1;
  return masks;
}

alignas(64) constexpr LaneMasks kLaneMasks = MakeLaneMasks();

/// n < kLanes.
template <typename Term, typename A>
std::uint32_t AccumulateFew(const A* a, const std::uint8_t* b, std::size_t n) {
  A padded_a[Simd::kLanes] = {};
  std::uint8_t padded_b[Simd::kLanes] = {};
  __builtin_memcpy(padded_a, a, n * sizeof(A));
  __builtin_memcpy(padded_b, b, n);
  const Simd::Sums sum = Term::Step(Simd::Load(padded_a), Simd::Load(padded_b), Simd::Zero());
  return Simd::Reduce(sum, Simd::Zero());
}

template <typename Term, typename A>
std::uint32_t Accumulate(const A* a, const std::uint8_t* b, std::size_t n) {
  constexpr std::size_t kLanes = Simd::kLanes;
  if (n == 0) return 0;
  if (n < kLanes) return AccumulateFew<Term>(a, b, n);
  Simd::Sums sum0 = Simd::Zero();
  Simd::Sums sum1 = Simd::Zero();
  std::size_t i = 0;
  for (; n - i >= 2 * kLanes; i += 2 * kLanes) {
    sum0 = Term::Step(Simd::Load(a + i), Simd::Load(b + i), sum0);
    sum1 = Term::Step(Simd::Load(a + i + kLanes), Simd::Load(b + i + kLanes), sum1);
  }
  if (n - i >= kLanes) {
    sum0 = Term::Step(Simd::Load(a + i), Simd::Load(b + i), sum0);
    i += kLanes;
  }
  if (n != i) {  // the last kLanes elements once more, without those that are counted already
    const Simd::Words keep = Simd::Load(kLaneMasks.lanes + (n - i));
    sum1 = Term::Step(Simd::And(Simd::Load(a + (n - kLanes)), keep),
                      Simd::And(Simd::Load(b + (n - kLanes)), keep), sum1);
  }
  return Simd::Reduce(sum0, sum1);
}

inline std::int32_t SignedDot(const std::int16_t* q, const std::uint8_t* b, std::size_t n) {
  return static_cast<std::int32_t>(Accumulate<Product>(q, b, n));
}

inline void Encode(const float* x, const float* offset, float twice_inverse_step, std::size_t n,
                   std::uint8_t* code) {
  constexpr std::size_t kAtOnce = Simd::kEncoded;
  if (n < kAtOnce) {
    float padded_x[kAtOnce] = {};
    float padded_offset[kAtOnce] = {};
    std::uint8_t padded_code[kAtOnce];
    if (n == 0) return;
    __builtin_memcpy(padded_x, x, n * sizeof(float));
    __builtin_memcpy(padded_offset, offset, n * sizeof(float));
    Simd::Encode(padded_x, padded_offset, twice_inverse_step, padded_code);
    __builtin_memcpy(code, padded_code, n);
    return;
  }
  std::size_t i = 0;
  for (; n - i >= kAtOnce; i += kAtOnce) Simd::Encode(x + i, offset + i, twice_inverse_step, code + i);
  if (n != i) {  // some elements twice, with the same result
    i = n - kAtOnce;
    Simd::Encode(x + i, offset + i, twice_inverse_step, code + i);
  }
}

constexpr CodeKernels MakeCodeKernels(const char* name) {
  return {name,
          Accumulate<SquaredDifference, std::uint8_t>,
          Accumulate<AbsoluteDifference, std::uint8_t>,
          Accumulate<Product, std::uint8_t>,
          Accumulate<SquaredDifference, std::int16_t>,
          Accumulate<AbsoluteDifference, std::int16_t>,
          SignedDot,
          Encode};
}

}  // namespace
}  // namespace tandem::vec
