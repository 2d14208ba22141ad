// Codes of one bit, and queries prepared for them.

#include "vec/one_bit.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "vec/nibble_levels.hpp"

namespace tandem::vec {
namespace {

// Standard deviations of an estimate that are not expected to be exceeded: in one of 3 million, if it is distributed as it should be.
constexpr double kDeviations = 5.0;
constexpr std::size_t kRounds = 3;  // of the rotation
constexpr std::uint64_t kSeed = 0x7461'6E64'656D'3162;
// What rounding the query's entries adds (a deviation of b) to what the bits leave open (of a): 5 (a² + b²)^½ <= 5 a + b
// while b <= 10/24 a. So it is, if their rounding deviates by at most that share of the query's length, and a row's spread is at
// least that share of its scale (0.6 is usual).
constexpr double kMostRounded = 0.15;
constexpr double kLeastSpread = 0.4;
constexpr std::uint32_t kMiddleEntry = kLargestEntry / 2;
constexpr float kNoFraction = 0x1.8p23F;
constexpr std::uint32_t kNoFractionBits = 0x4B40'0000;  // of that number
// More than what float32 may round anywhere here.
constexpr double kRounding = 0x1p-18;
// Below, too many rows are within their bounds, or their codes are compared in the time of looking at bits.
constexpr std::uint32_t kFewestOf8Bits = 64;
constexpr std::uint32_t kFewestOf4Bits = 128;
// Above, sums of entries overflow.
constexpr std::uint32_t kMostDimensions = 8 * kMostLookupBytes;

using Lanes [[gnu::vector_size(16)]] = float;
using Masks [[gnu::vector_size(16)]] = std::int32_t;   // what comparisons give
using Words [[gnu::vector_size(16)]] = std::uint32_t;  // floats as bits
using Bytes [[gnu::vector_size(4)]] = std::uint8_t;
using Shorts [[gnu::vector_size(8)]] = std::int16_t;

Lanes Load(const float* from) noexcept {
  Lanes lanes;
  std::memcpy(&lanes, from, sizeof lanes);
  return lanes;
}

Lanes Magnitudes(Lanes lanes) noexcept {
  Words words;
  std::memcpy(&words, &lanes, sizeof words);
  words &= 0x7FFF'FFFFU;
  std::memcpy(&lanes, &words, sizeof lanes);
  return lanes;
}

void Store(Lanes lanes, float* to) noexcept {
  std::memcpy(to, &lanes, sizeof lanes);
}

/// Splitmix64: bits as good as random.
std::uint64_t Hash(std::uint64_t x) noexcept {
  x += 0x9E37'79B9'7F4A'7C15;
  x = (x ^ (x >> 30)) * 0xBF58'476D'1CE4'E5B9;
  x = (x ^ (x >> 27)) * 0x94D0'49BB'1331'11EB;
  return x ^ (x >> 31);
}

/// Signs to change of four floats, by four bits.
struct SignMasks {
  alignas(16) std::uint32_t of[16][4] = {};
  constexpr SignMasks() {
    for (std::uint32_t four = 0; four < 16; ++four)
      for (std::uint32_t i = 0; i < 4; ++i) of[four][i] = (four >> i & 1U) << 31;
  }
};
constexpr SignMasks kSignMasks;

/// n: a multiple of 64.
void FlipSigns(std::uint64_t round, float* x, std::size_t n) noexcept {
  for (std::size_t first = 0; first < n; first += 64) {
    const std::uint64_t signs = Hash(kSeed + round * 0x1'0000 + first);
    for (std::size_t i = 0; i < 64; i += 4) {
      Words words;
      Words masks;
      std::memcpy(&words, x + first + i, sizeof words);
      std::memcpy(&masks, kSignMasks.of[signs >> i & 15], sizeof masks);
      words ^= masks;
      std::memcpy(x + first + i, &words, sizeof words);
    }
  }
}

/// The transform by Hadamard's matrix of n rows, divided by the root of n, so that lengths stay. n: a power of 2, at least 64.
void Hadamard(float* x, std::size_t n) noexcept {
  const auto share = static_cast<float>(1.0 / std::sqrt(static_cast<double>(n)));
  const Lanes neighbours = {share, -share, share, -share};
  const Lanes pairs = {1.0F, 1.0F, -1.0F, -1.0F};
  for (float* at = x; at < x + n; at += 4) {
    const Lanes four = Load(at);
    const Lanes two = __builtin_shufflevector(four, four, 0, 0, 2, 2) * share +
                      __builtin_shufflevector(four, four, 1, 1, 3, 3) * neighbours;
    Store(
        __builtin_shufflevector(two, two, 0, 1, 0, 1) + __builtin_shufflevector(two, two, 2, 3, 2, 3) * pairs,
        at);
  }
  std::size_t h = 4;
  for (; h * 4 <= n; h *= 4) {
    for (std::size_t first = 0; first < n; first += 4 * h) {
      for (float* at = x + first; at < x + first + h; at += 4) {
        const Lanes a = Load(at);
        const Lanes b = Load(at + h);
        const Lanes c = Load(at + 2 * h);
        const Lanes d = Load(at + 3 * h);
        const Lanes sum = a + b;
        const Lanes difference = a - b;
        const Lanes sum2 = c + d;
        const Lanes difference2 = c - d;
        Store(sum + sum2, at);
        Store(difference + difference2, at + h);
        Store(sum - sum2, at + 2 * h);
        Store(difference - difference2, at + 3 * h);
      }
    }
  }
  if (h == n) return;
  for (float* at = x; at < x + h; at += 4) {
    const Lanes a = Load(at);
    const Lanes b = Load(at + h);
    Store(a + b, at);
    Store(a - b, at + h);
  }
}

/// Turns a vector by an angle of all dimensions that is as good as random, and always the same. n: a multiple of 64. Where it is no
/// power of 2, two transforms overlap.
void Rotate(float* x, std::size_t n) noexcept {
  std::size_t power = 64;
  while (power * 2 <= n) power *= 2;
  for (std::size_t round = 0; round < kRounds; ++round) {
    FlipSigns(round, x, n);
    Hadamard(x, power);
    if (power < n) Hadamard(x + (n - power), power);
  }
}

double SumOf(Lanes lanes) noexcept {
  return static_cast<double>(lanes[0] + lanes[1]) + static_cast<double>(lanes[2] + lanes[3]);
}

double SumOfSquares(const float* x, std::size_t n) noexcept {
  Lanes even = {};
  Lanes odd = {};
  for (std::size_t i = 0; i < n; i += 8) {
    const Lanes a = Load(x + i);
    const Lanes b = Load(x + i + 4);
    even += a * a;
    odd += b * b;
  }
  return SumOf(even + odd);
}

/// The largest sum of magnitudes of four elements that follow each other.
float LargestOfFours(const float* x, std::size_t n) noexcept {
  float largest = 0.0F;
  for (std::size_t i = 0; i < n; i += 4) {
    const Lanes four = Magnitudes(Load(x + i));
    largest = std::max(largest, four[0] + four[1] + (four[2] + four[3]));
  }
  return largest;
}

/// x[d] = scale * weight / step; returns the sum of the weights.
double Unweighted(const std::int8_t* weights, const float* steps, std::size_t n, float scale,
                  float* x) noexcept {
  Masks sums = {};
  std::size_t d = 0;
  for (; d + 4 <= n; d += 4) {
    const Masks four = {weights[d], weights[d + 1], weights[d + 2], weights[d + 3]};
    sums += four;
    Store(__builtin_convertvector(four, Lanes) * scale / Load(steps + d), x + d);
  }
  std::int32_t sum = sums[0] + sums[1] + sums[2] + sums[3];
  for (; d < n; ++d) {
    sum += weights[d];
    x[d] = static_cast<float>(weights[d]) * scale / steps[d];
  }
  return sum;
}

/// x[d] = 2 * query[d], or query[d]; returns the sum of the squares of query[d].
double Doubled(const std::int16_t* query, std::size_t n, float times, float* x) noexcept {
  double squares = 0.0;
  std::size_t d = 0;
  for (; d + 4 <= n; d += 4) {
    Shorts shorts;
    std::memcpy(&shorts, query + d, sizeof shorts);
    const Lanes four = __builtin_convertvector(shorts, Lanes);
    squares += SumOf(four * four);
    Store(four * times, x + d);
  }
  for (; d < n; ++d) {
    const auto one = static_cast<float>(query[d]);
    squares += static_cast<double>(one * one);
    x[d] = one * times;
  }
  return squares;
}

/// A query by what codes stand for (WalkValues()): the key is base + norm_weight * norm - (r, x).
struct ByValues {
  double base;
  double magnitude;  ///< of what base was made of
  double norm_weight;
};

/// r: to write. False if the keys are not finite.
bool ByValuesOf(const WalkCodec& codec, const WalkQuery& query, float* r, ByValues* by) noexcept {
  const std::size_t n = codec.base.dimensions;
  if (const std::int16_t* eights = query.eights(); eights != nullptr) {
    const bool is_product = query.IsProduct();
    const double squares = Doubled(eights, n, is_product ? 1.0F : 2.0F, r);
    *by = is_product ? ByValues{0.0, 0.0, 0.0} : ByValues{squares, squares, 1.0};
    return true;
  }
  const NibbleQuery* nibbles = query.nibbles();
  if (nibbles == nullptr || !std::isfinite(nibbles->base) || !std::isfinite(nibbles->scale)) return false;
  // The key is base + norm term - (r, u), with u = step * (nibble - middle) and r as the weights have it: exactly.
  const std::size_t low = std::min(nibbles->bytes, n);
  const auto scale = static_cast<float>(nibbles->scale);
  const double weights = Unweighted(nibbles->low, codec.step, low, scale, r) +
                         Unweighted(nibbles->high, codec.step + low, n - low, scale, r + low);
  const double base = nibbles->base - kMiddleNibble * nibbles->scale * weights;
  *by = {base, std::fabs(nibbles->base) + std::fabs(base), nibbles->norm_weight};
  return true;
}

/// By what is left of the values: x = centre + u, and |x|² is |centre|² + 2 (centre, u) + |u|².
void MoveTo(OneBitCentre centre, std::size_t n, float* r, ByValues* by) noexcept {
  double base = by->base;
  for (std::size_t d = 0; d < n; ++d) {
    const auto middle = static_cast<double>(centre[d]);
    base += middle * (by->norm_weight * middle - static_cast<double>(r[d]));
    r[d] -= static_cast<float>(2.0 * by->norm_weight * middle);
  }
  by->magnitude += std::fabs(base);
  by->base = base;
}

/// The 16 sums of four elements with signs, bit i of a place telling that element i is taken off, in steps, as entries of which
/// kMiddleEntry stands for 0. Entries and rounding of a place and its complement are opposite. Returns by how much entries were
/// rounded: the sum of their squares, in squares of steps.
Lanes MakeTable(const float* four, float inverse_step, std::uint8_t* table) noexcept {
  const Lanes x = Load(four) * inverse_step;
  const Lanes signs2 = {1.0F, -1.0F, 1.0F, -1.0F};
  const Lanes signs3 = {1.0F, 1.0F, -1.0F, -1.0F};
  const Lanes of_last_two = signs2 * x[2] + signs3 * x[3];
  const float of_first_two[2] = {x[0] + x[1], x[1] - x[0]};
  Lanes rounded = {};
  Words entries = {};  // lane i has places 4 i … 4 i + 3, which bits 2 and 3 tell apart
  for (int i = 0; i < 2; ++i) {
    const Lanes sums = of_last_two + of_first_two[i];
    // Rounds to the nearest: numbers of this size have no fractions, and end in the bits of the integer.
    const Lanes wide = sums + kNoFraction;
    const Lanes off = sums - (wide - kNoFraction);
    rounded += off * off;
    Words words;
    std::memcpy(&words, &wide, sizeof words);
    words -= kNoFractionBits - kMiddleEntry;
    const Words opposite = 2 * kMiddleEntry - __builtin_shufflevector(words, words, 3, 2, 1, 0);
    entries |= words << (8 * i) | opposite << (24 - 8 * i);
  }
  std::memcpy(table, &entries, sizeof entries);
  return rounded + rounded;
}

}  // namespace

bool OneBitPays(const WalkCodec& codec) noexcept {
  const std::uint32_t n = codec.base.dimensions;
  const bool is_long = (codec.code == WalkCode::kSq8 && n >= kFewestOf8Bits) ||
                       (codec.code == WalkCode::kSq4 && n >= kFewestOf4Bits);
  return is_long && n <= kMostDimensions && codec.base.metric != Metric::kL1 && LookupKernelsForCpu().is_fast;
}

void WalkValues(const WalkCodec& codec, const std::uint8_t* code, float* values) noexcept {
  const std::size_t n = codec.base.dimensions;
  if (codec.code == WalkCode::kSq8) {
    std::size_t d = 0;
    for (; d + 4 <= n; d += 4) {
      Bytes four;
      std::memcpy(&four, code + d, sizeof four);
      Store(__builtin_convertvector(four, Lanes), values + d);
    }
    for (; d < n; ++d) values[d] = static_cast<float>(code[d]);
    return;
  }
  constexpr auto kMiddle = static_cast<float>(kMiddleNibble);
  const std::size_t bytes = NibbleBytes(n);
  const std::size_t low = std::min(bytes, n);
  for (std::size_t d = 0; d < low; ++d)
    values[d] = codec.step[d] * (static_cast<float>(code[d] & 15) - kMiddle);
  for (std::size_t d = low; d < n; ++d)
    values[d] = codec.step[d] * (static_cast<float>(code[d - bytes] >> 4) - kMiddle);
}

OneBitFactors MakeOneBit(const WalkCodec& codec, OneBitCentre centre, const std::uint8_t* code,
                         float* scratch, unsigned char* bits) noexcept {
  const std::size_t n = codec.base.dimensions;
  const std::size_t padded = OneBitBytes(n) * 8;
  WalkValues(codec, code, scratch);
  std::fill(scratch + n, scratch + padded, 0.0F);
  const double from_codec = codec.code == WalkCode::kSq4 ? SumOfSquares(scratch, padded) : 0.0;
  for (std::size_t d = 0; d < n; ++d) scratch[d] -= centre[d];
  const double from_centre = SumOfSquares(scratch, padded);
  Rotate(scratch, padded);
  Lanes sums = {};
  for (std::size_t first = 0; first < padded; first += 64) {
    std::uint64_t word = 0;
    for (std::size_t i = 0; i < 64; i += 4) {
      const Lanes x = Load(scratch + first + i);
      const Masks signs = x < Lanes{};
      const Masks places = ~signs & Masks{1, 2, 4, 8};
      word |= static_cast<std::uint64_t>(places[0] | places[1] | places[2] | places[3]) << i;
      sums += Magnitudes(x);
    }
    for (std::size_t i = 0; i < 64; i += 8)
      bits[(first + i) / 8 * kLookupRows] = static_cast<unsigned char>(word >> i);
  }
  const double magnitudes = SumOf(sums);
  const double squares = SumOfSquares(scratch, padded);
  // Of the key |x|², which is |u|² but for what is the query's; and by how much the norm term of 4 bits differs from that.
  double term = from_centre;
  if (codec.code == WalkCode::kSq4) {
    float norm = 0.0F;
    std::memcpy(&norm, code + NibbleBytes(n), sizeof norm);
    term += static_cast<double>(norm) - from_codec;
  }
  OneBitFactors factors = {};
  factors.term = static_cast<float>(term - (std::fabs(term) + from_centre + from_codec) * kRounding);
  if (!(magnitudes > 0.0)) return factors;
  // With b the signs: the estimate of (u, q) is (u, u) / (b, u) * (b, q).
  const double scale = squares / magnitudes;
  const auto dimensions = static_cast<double>(padded);
  const double open = std::max(0.0, scale * scale * dimensions - squares) / (dimensions - 1.0);
  factors.scale = static_cast<float>(scale);
  factors.spread = static_cast<float>(std::max(std::sqrt(open), kLeastSpread * scale) * (1.0 + kRounding));
  return factors;
}

OneBitQuery::OneBitQuery(const WalkCodec& codec, OneBitCentre centre, const WalkQuery& query,
                         void* scratch) noexcept
    : kernels_(&LookupKernelsForCpu()), bytes_(OneBitBytes(codec.base.dimensions)) {
  const std::size_t n = codec.base.dimensions;
  const std::size_t padded = bytes_ * 8;
  auto* tables = static_cast<std::uint8_t*>(scratch);
  auto* turned = reinterpret_cast<float*>(tables + 2 * 16 * bytes_);
  ByValues by;
  if (!ByValuesOf(codec, query, turned, &by)) return;
  MoveTo(centre, n, turned, &by);
  std::fill(turned + n, turned + padded, 0.0F);
  Rotate(turned, padded);
  const double length = std::sqrt(SumOfSquares(turned, padded));
  if (!(length > 0.0) || !std::isfinite(length)) return;
  const float step = LargestOfFours(turned, padded) * (1.0F / static_cast<float>(kMiddleEntry));
  const float inverse_step = 1.0F / step;
  if (!std::isfinite(inverse_step)) return;
  Lanes rounded = {};
  for (std::size_t j = 0; j < bytes_; ++j) {
    rounded += MakeTable(turned + 8 * j, inverse_step, tables + 16 * j);
    rounded += MakeTable(turned + 8 * j + 4, inverse_step, tables + 16 * (bytes_ + j));
  }
  const double wide_step = step;
  const double rounding = wide_step * std::sqrt(SumOf(rounded) / 16.0);
  const double of_rounding = rounding <= kMostRounded * length ? rounding : kDeviations * rounding;
  // The product with signs is step * (most - the sum of entries): a set bit adds, and in tables takes off.
  const double most = wide_step * static_cast<double>(2 * bytes_ * kMiddleEntry);
  weights_ = {static_cast<float>(by.base - by.magnitude * kRounding), static_cast<float>(by.norm_weight),
              step, static_cast<float>(most * (1.0 + kRounding) + of_rounding),
              static_cast<float>(kDeviations * length * (1.0 + kRounding))};
  tables_ = tables;
  is_usable_ =
      std::isfinite(weights_.base) && std::isfinite(weights_.most) && std::isfinite(weights_.of_spread);
}

void OneBitQuery::Bounds(const OneBitRows& rows, std::size_t count, float* bounds) const noexcept {
  alignas(16) std::uint16_t sums[kMostRows];
  kernels_->sum_entries(tables_, bytes_, rows.bits, count, sums);
  for (std::size_t i = 0; i < count; ++i)
    bounds[i] = BoundOf(weights_, {sums, rows.terms, rows.scales, rows.spreads}, i);
}

std::uint64_t OneBitQuery::Within(const OneBitRows& rows, std::size_t count, float cut) const noexcept {
  alignas(64) std::uint16_t sums[kMostRows];
  kernels_->sum_entries(tables_, bytes_, rows.bits, count, sums);
  return kernels_->within(weights_, {sums, rows.terms, rows.scales, rows.spreads}, count, cut);
}

}  // namespace tandem::vec
