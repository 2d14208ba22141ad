// Walk codes and queries prepared for them.

#include "vec/walk_query.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "vec/bit_kernels.hpp"
#include "vec/nibble_levels.hpp"

namespace tandem::vec {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
// What float32 may have rounded: the true distance in its kernel, a key to 24 bits.
constexpr double kRounding = 0x1p-18;
constexpr double kLargestWeight = 127.0;
constexpr double kDeviations = 5.0;  // standard deviations that are not expected to be exceeded
// Queries farther out than that many units of 8-bit codes are taken for nearer: sums stay finite, bounds hold.
constexpr double kFarthest = 32'767.0;
// Codes made of vectors: around this one, and no farther from it than float16 goes, or than sums of 16,000 squares go.
constexpr double kMiddleCode = 128.0;
constexpr double kFarthestReal = 0x1p50;
// Elements that are made at once.
constexpr std::size_t kBlock = 64;

/// 1 / norm under cosine, else 1. 0: not codable.
double ScaleOf(Metric metric, const float* query, std::size_t n) noexcept {
  return metric == Metric::kCosine ? static_cast<double>(InverseNorm(query, n)) : 1.0;
}

double LargestMagnitude(const float* values, std::size_t n) noexcept {
  double largest = 0.0;
  for (std::size_t d = 0; d < n; ++d) largest = std::max(largest, std::fabs(static_cast<double>(values[d])));
  return largest;
}

double Norm(const float* values, std::size_t n) noexcept {
  double sum = 0.0;
  for (std::size_t d = 0; d < n; ++d) sum += static_cast<double>(values[d]) * static_cast<double>(values[d]);
  return std::sqrt(sum);
}

/// A run of weights begins at a cache line.
std::size_t WeightBytes(std::size_t dimensions) noexcept {
  return (NibbleBytes(dimensions) + 63) / 64 * 64;
}

/// To the nearest integer within [lowest, highest].
std::int16_t RoundAndClamp(double value, std::int32_t lowest, std::int32_t highest) noexcept {
  const double clamped = std::clamp(value, static_cast<double>(lowest), static_cast<double>(highest));
  return static_cast<std::int16_t>(clamped + (clamped < 0.0 ? -0.5 : 0.5));
}

/// x in steps from the offset: what codes are compared with.
void PrepareDifferences(const ScalarQuantizer& quantizer, const float* query, double scale,
                        std::int32_t limit, std::int16_t* prepared) noexcept {
  const double inverse_step = 1.0 / static_cast<double>(quantizer.step);
  const std::int32_t lowest = 255 - limit;
  for (std::uint32_t d = 0; d < quantizer.dimensions; ++d) {
    const double difference =
        static_cast<double>(query[d]) * scale - static_cast<double>(quantizer.offset[d]);
    prepared[d] = RoundAndClamp(difference * inverse_step, lowest, limit);
  }
}

/// The inner product with x = offset + step * code is, but for a constant and a factor, the sum of query * code.
void PrepareInnerProduct(const float* query, std::uint32_t dimensions, std::int16_t* prepared) noexcept {
  const double largest = LargestMagnitude(query, dimensions);
  const std::int32_t limit = QueryLimitDot(dimensions);
  const double scale = largest > 0.0 ? limit / largest : 0.0;
  for (std::uint32_t d = 0; d < dimensions; ++d) {
    prepared[d] = RoundAndClamp(static_cast<double>(query[d]) * scale, -limit, limit);
  }
}

/// As whole numbers within -127 … 127 times the scale that this returns. weight(d): finite.
template <typename Weight>
float RoundWeights(std::size_t n, const Weight& weight, std::int8_t* low, std::int8_t* high) noexcept {
  double largest = 0.0;
  for (std::size_t d = 0; d < n; ++d) largest = std::max(largest, std::fabs(weight(d)));
  const auto scale = static_cast<float>(largest / kLargestWeight);
  const double inverse = scale > 0.0F ? 1.0 / static_cast<double>(scale) : 0.0;
  const std::size_t bytes = NibbleBytes(n);
  for (std::size_t d = 0; d < n; ++d) {
    const double rounded = std::clamp(std::nearbyint(weight(d) * inverse), -kLargestWeight, kLargestWeight);
    (d < bytes ? low[d] : high[d - bytes]) = static_cast<std::int8_t>(rounded);
  }
  return scale;
}

// ---- Bits ----

/// As type bit has them, and zeros behind the last one.
void MakeBits(const float* vector, std::size_t n, std::uint8_t* to) noexcept {
  constexpr std::size_t kBitsOfByte = 8;
  const std::size_t bytes = BitCodeBytes(n);
  for (std::size_t at = 0; at < bytes; ++at) {
    const std::size_t first = at * kBitsOfByte;
    const std::size_t end = std::min(n, first + kBitsOfByte);
    unsigned byte = 0;
    for (std::size_t d = first; d < end; ++d) byte |= (vector[d] > 0.5F ? 0x80U : 0U) >> (d - first);
    to[at] = static_cast<std::uint8_t>(byte);
  }
}

// A Jaccard distance is a fraction of two counts. Two that differ, of up to 16,000 bits, differ by 1 / 16,000² at least, more than
// four units of 2^-30; and one that is no whole number of units is 1 / 16,000 of a unit away from any. So the units that it has, rounded down,
// are a key that orders as the distance does, and tell which fraction it is. As a float they would be rounded: they are its bits
// instead, behind those of the numbers with fewer digits than others, which some CPUs are slow with.
constexpr double kWholeShare = 0x1p30;
constexpr std::uint32_t kKeyBitsOfZero = std::uint32_t{1} << 23;
constexpr std::uint32_t kKeyBitsOfOne = kKeyBitsOfZero + (std::uint32_t{1} << 30);

std::uint32_t ShareOf(const BitDifference& counts) noexcept {
  if (counts.both == 0) return static_cast<std::uint32_t>(kWholeShare);  // also if no bit is set in either
  const double all = static_cast<double>(counts.different) + static_cast<double>(counts.both);
  return static_cast<std::uint32_t>(static_cast<double>(counts.different) * kWholeShare / all);
}

float KeyOfShare(std::uint32_t share) noexcept {
  const std::uint32_t bits = kKeyBitsOfZero + share;
  float key;
  std::memcpy(&key, &bits, sizeof key);
  return key;
}

struct Fraction {
  std::uint64_t numerator;
  std::uint64_t denominator;
};

/// The fraction within [low, high] / whole that has the smallest denominator: by continued fractions (Knuth 4.5.3, exercise 39).
Fraction SimplestWithin(std::uint64_t low, std::uint64_t high, std::uint64_t whole) noexcept {
  // Both ends minus what they have in common, upside down, again and again, until there is a whole number between them. The
  // fraction is that of the quotients so far.
  Fraction end = {1, 0};
  Fraction before = {0, 1};
  const auto append = [&end, &before](std::uint64_t quotient) {
    const Fraction next = {quotient * end.numerator + before.numerator,
                           quotient * end.denominator + before.denominator};
    before = end;
    end = next;
  };
  std::uint64_t low_part = whole;
  std::uint64_t high_part = whole;
  for (;;) {
    const std::uint64_t quotient = low / low_part;
    const std::uint64_t rest = low % low_part;
    if (rest == 0 || quotient != high / high_part) {
      append(quotient + (rest == 0 ? 0 : 1));
      return end;
    }
    append(quotient);
    const std::uint64_t high_rest = high % high_part;
    low = high_part;
    high = low_part;
    low_part = high_rest;
    high_part = rest;
  }
}

/// The distance whose key it is, to the bit. Of a key that is no distance's, which KeyOfBound() makes: one within its unit.
double JaccardOfKey(float key) noexcept {
  std::uint32_t bits;
  std::memcpy(&bits, &key, sizeof bits);
  const std::uint64_t share = std::clamp(bits, kKeyBitsOfZero, kKeyBitsOfOne) - kKeyBitsOfZero;
  // Of a unit the last 2^-15 are left out: the next number of units is another distance's.
  constexpr unsigned kFiner = 16;
  const std::uint64_t low = share << kFiner;
  const Fraction distance =
      SimplestWithin(low, low + (std::uint64_t{1} << kFiner) - 2, std::uint64_t{1} << (30 + kFiner));
  const auto all = static_cast<double>(distance.denominator);
  return 1.0 - static_cast<double>(distance.denominator - distance.numerator) / all;
}

// ---- Codes made of vectors ----

/// Share of the sum of its terms' magnitudes that a kernel may be off by, roundings of the terms included (kernels.hpp).
double KernelRounding(std::size_t n) noexcept {
  return (static_cast<double>(n) / 16.0 + 16.0) * 0x1p-24;
}

double FarthestReal(WalkCode code) noexcept {
  return code == WalkCode::kFp16 ? static_cast<double>(kLargestHalf) : kFarthestReal;
}

/// Elements [first, first + count) of a vector in units of 8-bit codes, from the middle one, and no farther out than codes are.
void PlaceReals(const WalkCodec& codec, const float* vector, double scale, std::size_t first,
                std::size_t count, float* reals) noexcept {
  const double inverse_step = 1.0 / static_cast<double>(codec.base.step);
  const double farthest = FarthestReal(codec.code);
  for (std::size_t i = 0; i < count; ++i) {
    const double difference =
        static_cast<double>(vector[first + i]) * scale - static_cast<double>(codec.base.offset[first + i]);
    reals[i] = static_cast<float>(std::clamp(difference * inverse_step - kMiddleCode, -farthest, farthest));
  }
}

/// Calls write(first, count, floats) for one run of elements after the other, with what their code holds.
template <typename Write>
void ForEachBlock(const WalkCodec& codec, const float* vector, double scale, const Write& write) {
  float reals[kBlock];
  for (std::size_t first = 0; first < codec.base.dimensions; first += kBlock) {
    const std::size_t count = std::min<std::size_t>(kBlock, codec.base.dimensions - first);
    PlaceReals(codec, vector, scale, first, count, reals);
    write(first, count, reals);
  }
}

/// `reals`, up to kBlock, to elements from `first` on of a code.
void StoreReals(WalkCode code, const float* reals, std::size_t first, std::size_t count,
                std::uint8_t* to) noexcept {
  if (code == WalkCode::kFloat32) {
    std::memcpy(to + first * sizeof(float), reals, count * sizeof(float));
    return;
  }
  Half halves[kBlock];
  Kernels().to_halves(reals, count, halves);
  std::memcpy(to + first * sizeof(Half), halves, count * sizeof(Half));
}

/// To what the code's elements can be.
void RoundReals(WalkCode code, std::size_t count, float* reals) noexcept {
  if (code == WalkCode::kFloat32) return;
  Half halves[kBlock];
  Kernels().to_halves(reals, count, halves);
  for (std::size_t i = 0; i < count; ++i) reals[i] = FromHalf(halves[i]);
}

/// A float16 code of an odd number of dimensions ends with zeros.
void PadReals(WalkCode code, std::size_t dimensions, std::uint8_t* to) noexcept {
  const std::size_t bytes = dimensions * (code == WalkCode::kFp16 ? sizeof(Half) : sizeof(float));
  std::fill(to + bytes, to + WalkCodeBytes(code, dimensions), std::uint8_t{0});
}

void MakeRealsOfCode(WalkCode code, const std::uint8_t* code8, std::size_t n, std::uint8_t* to) noexcept {
  float reals[kBlock];
  for (std::size_t first = 0; first < n; first += kBlock) {
    const std::size_t count = std::min(kBlock, n - first);
    for (std::size_t i = 0; i < count; ++i) {
      reals[i] = static_cast<float>(code8[first + i]) - static_cast<float>(kMiddleCode);
    }
    StoreReals(code, reals, first, count, to);
  }
  PadReals(code, n, to);
}

/// Inner products: how much of either product, per unit of the query's norm, float32 may have rounded. Other metrics' rounding
/// is a share of the distance.
double ProductRounding(const ScalarQuantizer& base, const float* vector) noexcept {
  if (base.metric != Metric::kInnerProduct) return 0.0;
  double squares = 0.0;
  double squares_from_middle = 0.0;
  for (std::size_t d = 0; d < base.dimensions; ++d) {
    const double x = vector[d];
    const double from_middle =
        x - static_cast<double>(base.offset[d]) - kMiddleCode * static_cast<double>(base.step);
    squares += x * x;
    squares_from_middle += from_middle * from_middle;
  }
  return 2.0 * KernelRounding(base.dimensions) * (std::sqrt(squares) + std::sqrt(squares_from_middle));
}

// ---- Residuals ----

/// How far a vector is from what stands for it.
class ResidualSum {
 public:
  void Add(double vector, double meant) noexcept {
    const double difference = vector - meant;
    sum_ += std::fabs(difference);
    squares_ += difference * difference;
  }
  /// In the units of WalkCodec::error.
  [[nodiscard]] double Result(Metric metric) const noexcept {
    return metric == Metric::kL1 ? sum_ : std::sqrt(squares_);
  }

 private:
  double sum_ = 0.0;
  double squares_ = 0.0;
};

double RealResidual(const WalkCodec& codec, const float* vector) noexcept {
  const ScalarQuantizer& base = codec.base;
  const double scale = ScaleOf(base.metric, vector, base.dimensions);
  ResidualSum residual;
  ForEachBlock(codec, vector, scale, [&](std::size_t first, std::size_t count, float* reals) {
    RoundReals(codec.code, count, reals);
    for (std::size_t i = 0; i < count; ++i) {
      const double meant = static_cast<double>(base.offset[first + i]) +
                           static_cast<double>(base.step) * (kMiddleCode + static_cast<double>(reals[i]));
      residual.Add(static_cast<double>(vector[first + i]) * scale, meant);
    }
  });
  return residual.Result(base.metric) + ProductRounding(base, vector);
}

double SumOfWeights(const NibbleQuery& query) noexcept {
  std::int32_t sum = 0;
  for (std::size_t i = 0; i < query.bytes; ++i) sum += query.low[i] + query.high[i];
  return static_cast<double>(sum);
}

/// How far the vector times `scale` is from what the codes stand for. code(d): in units of 8-bit codes.
template <typename Code>
double ResidualOf(const ScalarQuantizer& base, const float* vector, double scale, const Code& code) noexcept {
  const auto step = static_cast<double>(base.step);
  const float* offset = base.offset;
  const std::size_t n = base.dimensions;
  const auto difference = [=](std::size_t d) {
    return static_cast<double>(vector[d]) * scale - (static_cast<double>(offset[d]) + step * code(d));
  };
  // Two sums take turns: an addition waits for the one before it.
  double even = 0.0;
  double odd = 0.0;
  if (base.metric == Metric::kL1) {
    for (std::size_t d = 0; d < n; ++d) even += std::fabs(difference(d));
    return even;
  }
  for (std::size_t d = 0; d + 1 < n; d += 2) {
    const double first = difference(d);
    const double second = difference(d + 1);
    even += first * first;
    odd += second * second;
  }
  if (n % 2 != 0) odd += difference(n - 1) * difference(n - 1);
  return std::sqrt(even + odd);
}

}  // namespace

std::size_t WalkCodeBytes(WalkCode code, std::size_t dimensions) noexcept {
  switch (code) {
    case WalkCode::kSq8:
      return (dimensions + 3) / 4 * 4;
    case WalkCode::kSq4:
      return NibbleBytes(dimensions) + sizeof(float);
    case WalkCode::kFp16:
      return (dimensions * sizeof(Half) + 3) / 4 * 4;
    case WalkCode::kFloat32:
      return dimensions * sizeof(float);
    case WalkCode::kBit:
      return BitCodeBytes(dimensions);
  }
  return 0;
}

void MakeRecordCode(const WalkCodec& codec, const float* vector, std::uint8_t* to) noexcept {
  if (codec.code == WalkCode::kBit) {
    MakeBits(vector, codec.base.dimensions, to);
  } else {
    EncodeVector(codec.base, vector, to);
  }
}

void MakeWalkCode(const WalkCodec& codec, const std::uint8_t* record_code, std::uint8_t* to) noexcept {
  const std::size_t n = codec.base.dimensions;
  switch (codec.code) {
    case WalkCode::kSq8:
      std::copy_n(record_code, n, to);
      std::fill(to + n, to + WalkCodeBytes(WalkCode::kSq8, n), std::uint8_t{0});
      break;
    case WalkCode::kSq4:
      CodeKernelsForCpu().make_nibbles(record_code, codec.centre, codec.step, n, to);
      break;
    case WalkCode::kFp16:
    case WalkCode::kFloat32:
      MakeRealsOfCode(codec.code, record_code, n, to);
      break;
    case WalkCode::kBit:
      std::copy_n(record_code, BitCodeBytes(n), to);
      break;
  }
}

void MakeWalkCode(const WalkCodec& codec, const float* vector, std::uint8_t* to) noexcept {
  const std::size_t n = codec.base.dimensions;
  if (codec.code == WalkCode::kBit) {
    MakeBits(vector, n, to);
    return;
  }
  const double scale = ScaleOf(codec.base.metric, vector, n);
  ForEachBlock(codec, vector, scale, [&](std::size_t first, std::size_t count, const float* reals) {
    StoreReals(codec.code, reals, first, count, to);
  });
  PadReals(codec.code, n, to);
}

double WalkResidual(const WalkCodec& codec, const float* vector, const std::uint8_t* code8) noexcept {
  if (codec.code == WalkCode::kBit) return 0.0;
  if (IsMadeOfVectors(codec.code)) return RealResidual(codec, vector);
  if (codec.code == WalkCode::kSq8) return Sq8Residual(codec, vector, code8);
  const double scale = ScaleOf(codec.base.metric, vector, codec.base.dimensions);
  return ResidualOf(codec.base, vector, scale,
                    [code8, centres = codec.centre, steps = codec.step](std::size_t d) {
                      const auto centre = static_cast<double>(centres[d]);
                      return centre + LevelFor(code8[d] - centre, static_cast<double>(steps[d]));
                    });
}

double Sq8Residual(const WalkCodec& codec, const float* vector, const std::uint8_t* code8) noexcept {
  const double scale = ScaleOf(codec.base.metric, vector, codec.base.dimensions);
  const double residual =
      ResidualOf(codec.base, vector, scale, [code8](std::size_t d) { return static_cast<double>(code8[d]); });
  return IsMadeOfVectors(codec.code) ? residual + ProductRounding(codec.base, vector) : residual;
}

std::size_t WalkQuery::ScratchBytes(std::size_t dimensions) noexcept {
  return std::max((dimensions * sizeof(float) + 63) / 64 * 64, 2 * WeightBytes(dimensions));
}

WalkQuery::WalkQuery(const WalkCodec& codec, const float* query, void* scratch) noexcept
    : kernels_(&CodeKernelsForCpu()),
      code_(codec.code),
      metric_(codec.base.metric),
      dimensions_(codec.base.dimensions),
      unit_(static_cast<double>(codec.base.step)),
      rounding_(kRounding),
      error_(static_cast<double>(codec.error)),
      shared_error_(error_) {
  switch (code_) {
    case WalkCode::kSq8:
      PrepareSq8(codec, query, static_cast<std::int16_t*>(scratch));
      break;
    case WalkCode::kSq4:
      PrepareSq4(codec, query, static_cast<std::int8_t*>(scratch));
      break;
    case WalkCode::kFp16:
    case WalkCode::kFloat32:
      PrepareReals(codec, query, static_cast<float*>(scratch));
      break;
    case WalkCode::kBit:
      MakeBits(query, dimensions_, static_cast<std::uint8_t*>(scratch));
      bits_ = static_cast<const unsigned char*>(scratch);
      is_jaccard_ = metric_ == Metric::kCosine;
      break;
  }
  if (metric_ == Metric::kInnerProduct) {
    const double norm = Norm(query, dimensions_);
    error_ *= norm;
    shared_error_ *= norm;
  }
  if (IsCodable(metric_, query, dimensions_)) return;
  error_ = shared_error_ = kInfinity;
  metric_ = Metric::kInnerProduct;
  std::memset(scratch, 0, ScratchBytes(dimensions_));  // every key is 0
}

void WalkQuery::PrepareSq8(const WalkCodec& codec, const float* query, std::int16_t* scratch) noexcept {
  query_ = scratch;
  switch (metric_) {
    case Metric::kL2:
    case Metric::kCosine:
      PrepareDifferences(codec.base, query, ScaleOf(metric_, query, dimensions_), QueryLimitL2(dimensions_),
                         scratch);
      // Rounding both sides adds to a squared distance, mostly where it is about half a unit a dimension: up to a quarter each.
      slack_ = static_cast<double>(dimensions_) / 4.0;
      return;
    case Metric::kL1:
      PrepareDifferences(codec.base, query, 1.0, QueryLimitL1(dimensions_), scratch);
      return;
    case Metric::kInnerProduct:
      break;
  }
  PrepareInnerProduct(query, dimensions_, scratch);
  unit_ *= LargestMagnitude(query, dimensions_) / QueryLimitDot(dimensions_);
  for (std::size_t d = 0; d < dimensions_; ++d) {
    constant_ -= static_cast<double>(query[d]) * static_cast<double>(codec.base.offset[d]);
  }
}

void WalkQuery::PrepareSq4(const WalkCodec& codec, const float* query, std::int8_t* scratch) noexcept {
  const std::size_t bytes = NibbleBytes(dimensions_);
  std::int8_t* low = scratch;
  std::int8_t* high = scratch + WeightBytes(dimensions_);
  std::fill_n(low, bytes, std::int8_t{0});
  std::fill_n(high, bytes, std::int8_t{0});
  nibbles_ = {low, high, bytes, 0.0, 0.0, 0.0};
  if (metric_ == Metric::kInnerProduct) {
    PrepareSq4Product(codec, query, low, high);
  } else {
    PrepareSq4Difference(codec, query, low, high);
  }
}

/// With u = step * (nibble - 7.5), the negative inner product with offset + unit * (centre + u).
void WalkQuery::PrepareSq4Product(const WalkCodec& codec, const float* query, std::int8_t* low,
                                  std::int8_t* high) noexcept {
  const double largest = LargestMagnitude(query, dimensions_);
  if (!(largest > 0.0)) return;
  const auto weight = [&](std::size_t d) {
    return static_cast<double>(query[d]) / largest * static_cast<double>(codec.step[d]);
  };
  nibbles_.scale = static_cast<double>(RoundWeights(dimensions_, weight, low, high));
  nibbles_.base = kMiddleNibble * nibbles_.scale * SumOfWeights(nibbles_);
  for (std::size_t d = 0; d < dimensions_; ++d) {
    const double centre =
        static_cast<double>(codec.base.offset[d]) + unit_ * static_cast<double>(codec.centre[d]);
    constant_ -= static_cast<double>(query[d]) * centre;
  }
  unit_ *= largest;
}

/// With r and u from the centre, |r - u|² is |r|² + |u|² - 2 r u, and u is step * (nibble - 7.5).
void WalkQuery::PrepareSq4Difference(const WalkCodec& codec, const float* query, std::int8_t* low,
                                     std::int8_t* high) noexcept {
  const double norm_scale = ScaleOf(metric_, query, dimensions_);
  if (!(norm_scale > 0.0)) return;
  const double inverse_unit = 1.0 / unit_;
  const auto from_centre = [&](std::size_t d) {
    const double difference =
        static_cast<double>(query[d]) * norm_scale - static_cast<double>(codec.base.offset[d]);
    return std::clamp(difference * inverse_unit - static_cast<double>(codec.centre[d]), -kFarthest,
                      kFarthest);
  };
  const auto weight = [&](std::size_t d) { return from_centre(d) * static_cast<double>(codec.step[d]); };
  const auto scale = static_cast<double>(RoundWeights(dimensions_, weight, low, high));
  nibbles_.norm_weight = 1.0;
  nibbles_.scale = 2.0 * scale;
  nibbles_.base = kMiddleNibble * nibbles_.scale * SumOfWeights(nibbles_);
  double steps_squared = 0.0;
  for (std::size_t d = 0; d < dimensions_; ++d) {
    const double r = from_centre(d);
    const auto step = static_cast<double>(codec.step[d]);
    const double rounded =
        scale * static_cast<double>(d < nibbles_.bytes ? low[d] : high[d - nibbles_.bytes]);
    // What rounding the weight does to the code of the query itself is taken back, and so to most of its neighbours'.
    const double own_level = std::clamp(r / step, -kMiddleNibble, kMiddleNibble);
    nibbles_.base += r * r - 2.0 * (r * step - rounded) * own_level;
    steps_squared += step * step;
  }
  // Squared distances that are 0 in truth: the 8-bit code's rounding, 1/12 a dimension; its product with that of 4 bits and
  // half a level times the rounding of a weight, of either a deviation of a sixth a dimension.
  const auto n = static_cast<double>(dimensions_);
  slack_ = n / 8.0 + kDeviations * std::sqrt(n * scale * scale + steps_squared) / 6.0;
}

void WalkQuery::PrepareReals(const WalkCodec& codec, const float* query, float* scratch) noexcept {
  reals_ = scratch;
  shared_error_ = std::max(error_, static_cast<double>(codec.shared_error));
  if (metric_ == Metric::kInnerProduct) {
    PrepareRealProduct(codec, query, scratch);
    return;
  }
  // The codes lie in a box: what is moved to its surface gets nearer to all of them.
  PlaceReals(codec, query, ScaleOf(metric_, query, dimensions_), 0, dimensions_, scratch);
  const double rounding = KernelRounding(dimensions_);
  rounding_ = 2.0 * rounding;
  double magnitude = metric_ == Metric::kL1 ? 0.0 : Norm(scratch, dimensions_);
  for (std::size_t d = 0; d < dimensions_ && metric_ == Metric::kL1; ++d) {
    magnitude += std::fabs(static_cast<double>(scratch[d]));
  }
  double from_query = unit_ * magnitude * 0x1p-24;
  if (metric_ == Metric::kCosine) {
    // The operator rounds a cosine, not a distance. And norms become 1 but for the rounding of what they are divided by.
    slack_ = 8.0 * rounding / (unit_ * unit_);
    from_query += 0x1p-21;
  }
  error_ += from_query;
  shared_error_ += from_query;
}

/// With u from the middle code, the negative inner product with offset + unit * (middle + u).
void WalkQuery::PrepareRealProduct(const WalkCodec& codec, const float* query, float* scratch) noexcept {
  const double largest = LargestMagnitude(query, dimensions_);
  const double inverse = largest > 0.0 ? 1.0 / largest : 0.0;
  for (std::size_t d = 0; d < dimensions_; ++d) {
    const double middle = static_cast<double>(codec.base.offset[d]) + kMiddleCode * unit_;
    constant_ -= static_cast<double>(query[d]) * middle;
    scratch[d] = static_cast<float>(static_cast<double>(query[d]) * inverse);
  }
  unit_ *= largest;
}

float WalkQuery::Key(const std::uint8_t* code) const noexcept {
  float key = 0.0F;
  Keys(&code, 1, &key);
  return key;
}

void WalkQuery::Keys(const std::uint8_t* const* codes, std::size_t count, float* keys) const noexcept {
  if (code_ == WalkCode::kSq4) {
    kernels_->query_nibbles(nibbles_, codes, count, keys);
    return;
  }
  if (IsMadeOfVectors(code_)) {
    KeysOfReals(codes, count, keys);
    return;
  }
  if (code_ == WalkCode::kBit) {
    KeysOfBits(codes, count, keys);
    return;
  }
  switch (metric_) {
    case Metric::kL2:
    case Metric::kCosine:
      kernels_->query_l2_squared(query_, codes, count, dimensions_, keys);
      break;
    case Metric::kL1:
      kernels_->query_l1(query_, codes, count, dimensions_, keys);
      break;
    case Metric::kInnerProduct:
      kernels_->query_dot(query_, codes, count, dimensions_, keys);
      for (std::size_t i = 0; i < count; ++i) keys[i] = -keys[i];
      break;
  }
}

namespace {

/// T: float or Half.
template <typename T>
void KeysBy(float (*kernel)(const float*, const T*, std::size_t), const float* query, std::size_t n,
            const std::uint8_t* const* codes, std::size_t count, float* keys) noexcept {
  for (std::size_t i = 0; i < count; ++i) keys[i] = kernel(query, reinterpret_cast<const T*>(codes[i]), n);
}

}  // namespace

void WalkQuery::KeysOfReals(const std::uint8_t* const* codes, std::size_t count, float* keys) const noexcept {
  const DistanceKernels& kernels = Kernels();
  const bool halves = code_ == WalkCode::kFp16;
  const auto by = [&](auto of_floats, auto of_halves) {
    if (halves) {
      KeysBy(of_halves, reals_, dimensions_, codes, count, keys);
    } else {
      KeysBy(of_floats, reals_, dimensions_, codes, count, keys);
    }
  };
  switch (metric_) {
    case Metric::kL2:
    case Metric::kCosine:
      by(kernels.l2_squared, kernels.l2_squared_half);
      break;
    case Metric::kL1:
      by(kernels.l1, kernels.l1_half);
      break;
    case Metric::kInnerProduct:
      by(kernels.inner_product, kernels.inner_product_half);
      for (std::size_t i = 0; i < count; ++i) keys[i] = -keys[i];
      break;
  }
}

void WalkQuery::KeysOfBits(const std::uint8_t* const* codes, std::size_t count, float* keys) const noexcept {
  constexpr std::size_t kAtOnce = 32;
  const std::size_t bytes = BitCodeBytes(dimensions_);
  const BitKernels& kernels = CountBits();
  for (std::size_t first = 0; first < count; first += kAtOnce) {
    const std::size_t end = std::min(count, first + kAtOnce);
    if (is_jaccard_) {
      BitDifference counts[kAtOnce];
      kernels.overlaps_with_many(bits_, codes + first, end - first, bytes, counts);
      for (std::size_t i = first; i < end; ++i) keys[i] = KeyOfShare(ShareOf(counts[i - first]));
    } else {
      std::uint32_t counts[kAtOnce];
      kernels.hamming_to_many(bits_, codes + first, end - first, bytes, counts);
      for (std::size_t i = first; i < end; ++i) keys[i] = static_cast<float>(counts[i - first]);
    }
  }
}

bool WalkQuery::IsExact() const noexcept {
  return code_ == WalkCode::kBit && error_ < kInfinity;
}

double WalkQuery::ExactKey(float key) const noexcept {
  return is_jaccard_ ? JaccardOfKey(key) : static_cast<double>(key);
}

double WalkQuery::LowerBound(float key, double error) const noexcept {
  if (!(error < kInfinity)) return -kInfinity;
  // Others than we may compute Jaccard distances with one more rounding; they count bits as we do.
  if (code_ == WalkCode::kBit) return ExactKey(key) * (is_jaccard_ ? 1.0 - 0x1p-48 : 1.0);
  const double unrounded = static_cast<double>(key) * (key > 0.0F ? 1.0 - rounding_ : 1.0 + rounding_);
  switch (metric_) {
    case Metric::kL2:
    case Metric::kCosine: {
      const double distance = std::max(0.0, std::sqrt(std::max(0.0, unrounded - slack_)) * unit_ - error);
      return metric_ == Metric::kL2 ? distance * distance : distance * distance / 2.0;
    }
    case Metric::kL1:
      return std::max(0.0, unrounded * unit_ - error);
    case Metric::kInnerProduct:
      return constant_ + static_cast<double>(key) * unit_ - error;
  }
  return -kInfinity;
}

double WalkQuery::Estimate(float key) const noexcept {
  const double wide = static_cast<double>(key);
  if (code_ == WalkCode::kBit) {
    if (!is_jaccard_) return wide;
    const double jaccard = ExactKey(key);
    return jaccard / (2.0 - jaccard);  // as JaccardBound() has it for sets of one size
  }
  switch (metric_) {
    case Metric::kL2:
      return std::max(0.0, wide) * unit_ * unit_;
    case Metric::kCosine:
      return std::max(0.0, wide) * unit_ * unit_ / 2.0;
    case Metric::kL1:
      return wide * unit_;
    case Metric::kInnerProduct:
      return constant_ + wide * unit_;
  }
  return 0.0;
}

float WalkQuery::KeyOfBound(double distance) const noexcept {
  if (!(error_ < kInfinity)) return std::numeric_limits<float>::infinity();
  if (code_ == WalkCode::kBit) {
    if (!is_jaccard_) return static_cast<float>(distance);
    // A bit farther than Estimate()'s inverse, so that what it was an estimate of is not left out.
    const double jaccard = 2.0 * distance / (1.0 + distance);
    return KeyOfShare(static_cast<std::uint32_t>(std::clamp(jaccard + 0x1p-27, 0.0, 1.0) * kWholeShare));
  }
  double key = 0.0;
  switch (metric_) {
    case Metric::kL2:
    case Metric::kCosine: {
      const double squared = std::max(0.0, metric_ == Metric::kL2 ? distance : 2.0 * distance);
      const double far = (std::sqrt(squared) + error_) / unit_;
      key = far * far + slack_;
      break;
    }
    case Metric::kL1:
      key = (distance + error_) / unit_;
      break;
    case Metric::kInnerProduct:
      key = unit_ > 0.0 ? (distance + error_ - constant_) / unit_ : kInfinity;
      break;
  }
  return static_cast<float>(key + std::fabs(key) * rounding_);
}

}  // namespace tandem::vec
