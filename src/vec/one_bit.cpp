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
// Between two levels of a query's element, in its standard deviations: the best 16 levels for normal numbers (Max 1960).
constexpr double kLevelStep = 0.3352;
// What rounding the query to these levels adds (a deviation of b) to what the bits leave open (of a): 5 (a² + b²)^½ <= 5 a + b
// while b <= 10/24 a. So it is, if the query is rounded by at most that share of its length, and a row's spread is at least that
// share of its scale (0.6 is usual).
constexpr double kMostRounded = 0.15;
constexpr double kLeastSpread = 0.4;
// More than what float32 may round anywhere here.
constexpr double kRounding = 0x1p-18;
// Below, bits are no shorter than what else a row has.
constexpr std::uint32_t kFewestDimensions = 384;

using Lanes [[gnu::vector_size(16)]] = float;
using Masks [[gnu::vector_size(16)]] = std::int32_t;   // what comparisons give
using Words [[gnu::vector_size(16)]] = std::uint32_t;  // floats as bits

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

/// n: a multiple of 64.
void FlipSigns(std::uint64_t round, float* x, std::size_t n) noexcept {
  constexpr std::uint32_t kSign = 0x8000'0000U;
  for (std::size_t first = 0; first < n; first += 64) {
    const std::uint64_t signs = Hash(kSeed + round * 0x1'0000 + first);
    for (std::size_t i = 0; i < 64; i += 4) {
      const auto four = static_cast<std::uint32_t>(signs >> i & 15);
      const Words places = {four << 31, four << 30, four << 29, four << 28};
      Words words;
      std::memcpy(&words, x + first + i, sizeof words);
      words ^= places & kSign;
      std::memcpy(x + first + i, &words, sizeof words);
    }
  }
}

/// The transform by Hadamard's matrix of n rows, divided by the root of n, so that lengths stay. n: a power of 2, at least 64.
void Hadamard(float* x, std::size_t n) noexcept {
  const auto share = static_cast<float>(1.0 / std::sqrt(static_cast<double>(n)));
  for (std::size_t i = 0; i < n; i += 4) {
    const float sum01 = x[i] + x[i + 1];
    const float sum23 = x[i + 2] + x[i + 3];
    const float difference01 = x[i] - x[i + 1];
    const float difference23 = x[i + 2] - x[i + 3];
    x[i] = (sum01 + sum23) * share;
    x[i + 1] = (difference01 + difference23) * share;
    x[i + 2] = (sum01 - sum23) * share;
    x[i + 3] = (difference01 - difference23) * share;
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

double SumOfSquares(const float* x, std::size_t n) noexcept {
  Lanes even = {};
  Lanes odd = {};
  for (std::size_t i = 0; i < n; i += 8) {
    const Lanes a = Load(x + i);
    const Lanes b = Load(x + i + 4);
    even += a * a;
    odd += b * b;
  }
  even += odd;
  return static_cast<double>(even[0] + even[1]) + static_cast<double>(even[2] + even[3]);
}

}  // namespace

bool OneBitPays(const WalkCodec& codec) noexcept {
  return codec.code == WalkCode::kSq4 && codec.base.dimensions >= kFewestDimensions &&
         CountBits().counts_fast;
}

OneBitFactors MakeOneBit(const WalkCodec& codec, const std::uint8_t* code, float* scratch,
                         unsigned char* bits) noexcept {
  const std::size_t n = codec.base.dimensions;
  const std::size_t padded = OneBitBytes(n) * 8;
  const std::size_t bytes = NibbleBytes(n);
  const std::size_t low = std::min(bytes, n);
  constexpr auto kMiddle = static_cast<float>(kMiddleNibble);
  for (std::size_t d = 0; d < low; ++d)
    scratch[d] = codec.step[d] * (static_cast<float>(code[d] & 15) - kMiddle);
  for (std::size_t d = low; d < n; ++d)
    scratch[d] = codec.step[d] * (static_cast<float>(code[d - bytes] >> 4) - kMiddle);
  std::fill(scratch + n, scratch + padded, 0.0F);
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
    std::memcpy(bits + first / 8, &word, sizeof word);
  }
  const double magnitudes = static_cast<double>(sums[0] + sums[1]) + static_cast<double>(sums[2] + sums[3]);
  const double squares = SumOfSquares(scratch, padded);
  float norm = 0.0F;
  std::memcpy(&norm, code + bytes, sizeof norm);
  OneBitFactors factors = {};
  factors.term =
      static_cast<float>(static_cast<double>(norm) - std::fabs(static_cast<double>(norm)) * kRounding);
  if (!(magnitudes > 0.0)) return factors;
  // With b the signs: the estimate of (u, q) is (u, u) / (b, u) * (b, q).
  const double scale = squares / magnitudes;
  const auto dimensions = static_cast<double>(padded);
  const double open = std::max(0.0, scale * scale * dimensions - squares) / (dimensions - 1.0);
  factors.scale = static_cast<float>(scale);
  factors.spread = static_cast<float>(std::max(std::sqrt(open), kLeastSpread * scale) * (1.0 + kRounding));
  return factors;
}

OneBitQuery::OneBitQuery(const WalkCodec& codec, const WalkQuery& query, void* scratch) noexcept
    : kernels_(&CountBits()), bytes_(OneBitBytes(codec.base.dimensions)) {
  const NibbleQuery* nibbles = query.nibbles();
  if (nibbles == nullptr || !std::isfinite(nibbles->base) || !std::isfinite(nibbles->scale)) return;
  const std::size_t n = codec.base.dimensions;
  const std::size_t padded = bytes_ * 8;
  auto* planes = static_cast<unsigned char*>(scratch);
  auto* turned = reinterpret_cast<float*>(planes + kBitPlanes * bytes_);
  // The key is base + norm term - (r, u), with u = step * (nibble - middle) and r as the weights have it: exactly.
  double weights = 0.0;
  for (std::size_t d = 0; d < n; ++d) {
    const double weight = d < nibbles->bytes ? nibbles->low[d] : nibbles->high[d - nibbles->bytes];
    weights += weight;
    turned[d] = static_cast<float>(nibbles->scale * weight / static_cast<double>(codec.step[d]));
  }
  std::fill(turned + n, turned + padded, 0.0F);
  Rotate(turned, padded);
  const double length = std::sqrt(SumOfSquares(turned, padded));
  if (!(length > 0.0) || !std::isfinite(length)) return;
  const double step = kLevelStep * length / std::sqrt(static_cast<double>(padded));
  const auto inverse = static_cast<float>(1.0 / step);
  const auto wide_step = static_cast<float>(step);
  double rounded = 0.0;
  for (std::size_t first = 0; first < padded; first += 64) {
    std::uint64_t words[kBitPlanes] = {};
    for (std::size_t i = 0; i < 64; ++i) {
      const float x = turned[first + i];
      const auto level = static_cast<std::uint32_t>(std::clamp(x * inverse + 8.0F, 0.0F, 15.0F));
      const float off = x - wide_step * (static_cast<float>(level) - 7.5F);
      rounded += static_cast<double>(off * off);
      for (std::size_t plane = 0; plane < kBitPlanes; ++plane)
        words[plane] |= static_cast<std::uint64_t>(level >> plane & 1) << i;
    }
    for (std::size_t plane = 0; plane < kBitPlanes; ++plane)
      std::memcpy(planes + plane * bytes_ + first / 8, &words[plane], sizeof words[plane]);
  }
  const double rounding = std::sqrt(rounded);
  const double of_rounding = rounding <= kMostRounded * length ? rounding : kDeviations * rounding;
  // An element is step / 2 times the sum of its planes' ±2^p, so the product with signs is step / 2 * (15 n - 2 * sum).
  const double most = 7.5 * step * static_cast<double>(padded);
  const double base = nibbles->base - kMiddleNibble * nibbles->scale * weights;
  base_ = static_cast<float>(base - (std::fabs(nibbles->base) + std::fabs(base)) * kRounding);
  term_weight_ = static_cast<float>(nibbles->norm_weight);
  sum_weight_ = wide_step;
  most_ = static_cast<float>(most * (1.0 + kRounding) + of_rounding);
  length_ = static_cast<float>(kDeviations * length * (1.0 + kRounding));
  planes_ = planes;
  is_usable_ = std::isfinite(base_) && std::isfinite(most_) && std::isfinite(length_);
}

void OneBitQuery::Bounds(const OneBitRows& rows, std::size_t count, float* bounds) const noexcept {
  std::uint32_t sums[kMostRows];
  kernels_->plane_sums(planes_, bytes_, rows.bits, count, sums);
  const auto bound = [&](std::size_t i) {
    return base_ + term_weight_ * rows.terms[i] +
           rows.scales[i] * (sum_weight_ * static_cast<float>(static_cast<std::int32_t>(sums[i])) - most_) -
           length_ * rows.spreads[i];
  };
  std::size_t i = 0;
  for (; i + 4 <= count; i += 4) {
    Masks four;
    std::memcpy(&four, sums + i, sizeof four);
    const Lanes product = __builtin_convertvector(four, Lanes) * sum_weight_ - most_;
    const Lanes bound4 = base_ + term_weight_ * Load(rows.terms + i) + Load(rows.scales + i) * product -
                         length_ * Load(rows.spreads + i);
    Store(bound4, bounds + i);
  }
  for (; i < count; ++i) bounds[i] = bound(i);
}

}  // namespace tandem::vec
