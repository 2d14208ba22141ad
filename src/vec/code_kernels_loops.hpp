// The loops over codes that every instruction set shares, over the `Simd` operations that the including file defined
// just before, inside its own target region. Deliberately without #pragma once and in an unnamed namespace, and without
// the standard library: kernels_loops.hpp says why.
//
// Simd provides: Words (kLanes signed elements of at least 16 bits), Load (widens codes, loads int16), Sub, Abs, And,
// Ones; Sums (lanes of 32 bits, which wrap), Zero, MulAdd (adds the products to some lanes), Reduce; and
// Encode, which codes kEncoded floats at once. For 4-bit codes: Bytes (kBytes of them), LoadBytes, AndBytes, DotNibbles
// (adds the products of both halves with two runs of weights); Levels (kLevels int32), MakeLevels, which also adds to
// kLevels norm terms, in sixteenths; NoLevels, SumOfTerms, StoreNibbles.
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

template <typename Term>
void QuerySums(const std::int16_t* q, const std::uint8_t* const* codes, std::size_t count, std::size_t n,
               float* sums) {
  for (std::size_t c = 0; c < count; ++c) sums[c] = static_cast<float>(Accumulate<Term>(q, codes[c], n));
}

inline void QueryDots(const std::int16_t* q, const std::uint8_t* const* codes, std::size_t count,
                      std::size_t n, float* sums) {
  for (std::size_t c = 0; c < count; ++c) {
    sums[c] = static_cast<float>(static_cast<std::int32_t>(Accumulate<Product>(q, codes[c], n)));
  }
}

/// kBytes of zeros, then kBytes of ones, as kLaneMasks.
struct ByteMasks {
  std::uint8_t bytes[2 * Simd::kBytes];
};

constexpr ByteMasks MakeByteMasks() {
  ByteMasks masks = {};
  for (std::size_t i = Simd::kBytes; i < 2 * Simd::kBytes; ++i) masks.bytes[i] = 0xFF;
  return masks;
}

alignas(64) constexpr ByteMasks kByteMasks = MakeByteMasks();

/// q.bytes < kBytes.
inline std::int32_t DotFewNibbles(const NibbleQuery& q, const std::uint8_t* code) {
  std::uint8_t padded[Simd::kBytes] = {};
  std::int8_t low[Simd::kBytes] = {};
  std::int8_t high[Simd::kBytes] = {};
  __builtin_memcpy(padded, code, q.bytes);
  __builtin_memcpy(low, q.low, q.bytes);
  __builtin_memcpy(high, q.high, q.bytes);
  const Simd::Sums sum = Simd::DotNibbles(Simd::LoadBytes(padded), low, high, Simd::Zero());
  return static_cast<std::int32_t>(Simd::Reduce(sum, Simd::Zero()));
}

/// q.bytes >= kBytes.
inline std::int32_t DotManyNibbles(const NibbleQuery& q, const std::uint8_t* code) {
  constexpr std::size_t kBytes = Simd::kBytes;
  Simd::Sums sum0 = Simd::Zero();
  Simd::Sums sum1 = Simd::Zero();
  std::size_t i = 0;
  for (; q.bytes - i >= 2 * kBytes; i += 2 * kBytes) {
    sum0 = Simd::DotNibbles(Simd::LoadBytes(code + i), q.low + i, q.high + i, sum0);
    sum1 =
        Simd::DotNibbles(Simd::LoadBytes(code + i + kBytes), q.low + i + kBytes, q.high + i + kBytes, sum1);
  }
  if (q.bytes - i >= kBytes) {
    sum0 = Simd::DotNibbles(Simd::LoadBytes(code + i), q.low + i, q.high + i, sum0);
    i += kBytes;
  }
  if (q.bytes != i) {  // the last kBytes once more, without those that are counted already
    const std::size_t last = q.bytes - kBytes;
    const Simd::Bytes keep = Simd::LoadBytes(kByteMasks.bytes + (q.bytes - i));
    sum1 = Simd::DotNibbles(Simd::AndBytes(Simd::LoadBytes(code + last), keep), q.low + last, q.high + last,
                            sum1);
  }
  return static_cast<std::int32_t>(Simd::Reduce(sum0, sum1));
}

/// Both products are exact in double, so that it does not matter whether they are fused with an addition.
inline float NibbleKey(const NibbleQuery& q, const std::uint8_t* code, std::int32_t dot) {
  float norm;
  __builtin_memcpy(&norm, code + q.bytes, sizeof norm);
  return static_cast<float>(q.base + q.norm_weight * static_cast<double>(norm) -
                            q.scale * static_cast<double>(dot));
}

/// The keys of four codes, which take turns: weights are loaded once for all of them. q.bytes >= kBytes.
inline void QueryFourNibbles(const NibbleQuery& q, const std::uint8_t* const* codes, float* keys) {
  constexpr std::size_t kBytes = Simd::kBytes;
  Simd::Sums sum0 = Simd::Zero();
  Simd::Sums sum1 = Simd::Zero();
  Simd::Sums sum2 = Simd::Zero();
  Simd::Sums sum3 = Simd::Zero();
  std::size_t i = 0;
  for (; q.bytes - i >= kBytes; i += kBytes) {
    sum0 = Simd::DotNibbles(Simd::LoadBytes(codes[0] + i), q.low + i, q.high + i, sum0);
    sum1 = Simd::DotNibbles(Simd::LoadBytes(codes[1] + i), q.low + i, q.high + i, sum1);
    sum2 = Simd::DotNibbles(Simd::LoadBytes(codes[2] + i), q.low + i, q.high + i, sum2);
    sum3 = Simd::DotNibbles(Simd::LoadBytes(codes[3] + i), q.low + i, q.high + i, sum3);
  }
  if (q.bytes != i) {  // as DotManyNibbles() does
    const std::size_t last = q.bytes - kBytes;
    const Simd::Bytes keep = Simd::LoadBytes(kByteMasks.bytes + (q.bytes - i));
    const std::int8_t* low = q.low + last;
    const std::int8_t* high = q.high + last;
    sum0 = Simd::DotNibbles(Simd::AndBytes(Simd::LoadBytes(codes[0] + last), keep), low, high, sum0);
    sum1 = Simd::DotNibbles(Simd::AndBytes(Simd::LoadBytes(codes[1] + last), keep), low, high, sum1);
    sum2 = Simd::DotNibbles(Simd::AndBytes(Simd::LoadBytes(codes[2] + last), keep), low, high, sum2);
    sum3 = Simd::DotNibbles(Simd::AndBytes(Simd::LoadBytes(codes[3] + last), keep), low, high, sum3);
  }
  keys[0] = NibbleKey(q, codes[0], static_cast<std::int32_t>(Simd::Reduce(sum0, Simd::Zero())));
  keys[1] = NibbleKey(q, codes[1], static_cast<std::int32_t>(Simd::Reduce(sum1, Simd::Zero())));
  keys[2] = NibbleKey(q, codes[2], static_cast<std::int32_t>(Simd::Reduce(sum2, Simd::Zero())));
  keys[3] = NibbleKey(q, codes[3], static_cast<std::int32_t>(Simd::Reduce(sum3, Simd::Zero())));
}

inline void QueryNibbles(const NibbleQuery& q, const std::uint8_t* const* codes, std::size_t count,
                         float* keys) {
  if (q.bytes < Simd::kBytes) {
    for (std::size_t c = 0; c < count; ++c) keys[c] = NibbleKey(q, codes[c], DotFewNibbles(q, codes[c]));
    return;
  }
  std::size_t c = 0;
  for (; count - c >= 4; c += 4) QueryFourNibbles(q, codes + c, keys + c);
  for (; c < count; ++c) keys[c] = NibbleKey(q, codes[c], DotManyNibbles(q, codes[c]));
}

/// Two runs of dimensions that share bytes, padded with dimensions whose norm term is 0.
struct PaddedLevels {
  std::uint8_t code[2 * Simd::kLevels];
  float centre[2 * Simd::kLevels];
  float step[2 * Simd::kLevels];
  std::uint8_t nibbles[Simd::kLevels];

  void Fill(std::size_t at, std::size_t used, const std::uint8_t* from, const float* from_centre,
            const float* from_step) {
    for (std::size_t i = 0; i < Simd::kLevels; ++i) {
      code[at + i] = i < used ? from[i] : std::uint8_t{0};
      centre[at + i] = i < used ? from_centre[i] : 0.0F;
      step[at + i] = i < used ? from_step[i] : 1.0F;
    }
  }
};

/// How many of the dimensions from `start` on, kLevels at the most, lie before `end`.
constexpr std::size_t LevelsBefore(std::size_t end, std::size_t start) {
  if (start >= end) return 0;
  return end - start < Simd::kLevels ? end - start : Simd::kLevels;
}

inline void MakeNibbles(const std::uint8_t* code, const float* centre, const float* step, std::size_t n,
                        std::uint8_t* nibbles) {
  constexpr std::size_t kLevels = Simd::kLevels;
  const std::size_t bytes = NibbleBytes(n);
  Simd::Levels low_terms = Simd::NoLevels();  // the terms of 16,000 dimensions fit into twice eight lanes
  Simd::Levels high_terms = Simd::NoLevels();
  std::size_t i = 0;
  for (; bytes + i + kLevels <= n; i += kLevels) {
    const std::size_t j = bytes + i;
    const Simd::Levels low = Simd::MakeLevels(code + i, centre + i, step + i, &low_terms);
    const Simd::Levels high = Simd::MakeLevels(code + j, centre + j, step + j, &high_terms);
    Simd::StoreNibbles(low, high, nibbles + i);
  }
  for (; i < bytes; i += kLevels) {
    const std::size_t j = bytes + i;
    PaddedLevels padded;
    padded.Fill(0, LevelsBefore(n < bytes ? n : bytes, i), code + i, centre + i, step + i);
    padded.Fill(kLevels, LevelsBefore(n, j), code + j, centre + j, step + j);
    const Simd::Levels low = Simd::MakeLevels(padded.code, padded.centre, padded.step, &low_terms);
    const Simd::Levels high =
        Simd::MakeLevels(padded.code + kLevels, padded.centre + kLevels, padded.step + kLevels, &high_terms);
    Simd::StoreNibbles(low, high, padded.nibbles);
    __builtin_memcpy(nibbles + i, padded.nibbles, LevelsBefore(bytes, i));
  }
  const std::int64_t sixteenths = Simd::SumOfTerms(low_terms) + Simd::SumOfTerms(high_terms);
  const auto norm = static_cast<float>(static_cast<double>(sixteenths) / 16.0);
  __builtin_memcpy(nibbles + bytes, &norm, sizeof norm);
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
          QuerySums<SquaredDifference>,
          QuerySums<AbsoluteDifference>,
          QueryDots,
          QueryNibbles,
          Encode,
          MakeNibbles};
}

}  // namespace
}  // namespace tandem::vec
