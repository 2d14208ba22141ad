// Walk codes and queries prepared for them.

#include "vec/walk_query.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

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
  }
  return 0;
}

void MakeWalkCode(const WalkCodec& codec, const std::uint8_t* code8, std::uint8_t* to) noexcept {
  const std::size_t n = codec.base.dimensions;
  switch (codec.code) {
    case WalkCode::kSq8:
      std::copy_n(code8, n, to);
      std::fill(to + n, to + WalkCodeBytes(WalkCode::kSq8, n), std::uint8_t{0});
      break;
    case WalkCode::kSq4:
      CodeKernelsForCpu().make_nibbles(code8, codec.centre, codec.step, n, to);
      break;
  }
}

double WalkResidual(const WalkCodec& codec, const float* vector, const std::uint8_t* code8) noexcept {
  const double scale = ScaleOf(codec.base.metric, vector, codec.base.dimensions);
  const auto code_at = [code8](std::size_t d) { return static_cast<double>(code8[d]); };
  const auto level_at = [code8, centres = codec.centre, steps = codec.step](std::size_t d) {
    const auto centre = static_cast<double>(centres[d]);
    return centre + LevelFor(code8[d] - centre, static_cast<double>(steps[d]));
  };
  return codec.code == WalkCode::kSq4 ? ResidualOf(codec.base, vector, scale, level_at)
                                      : ResidualOf(codec.base, vector, scale, code_at);
}

std::size_t WalkQuery::ScratchBytes(std::size_t dimensions) noexcept {
  return std::max((dimensions * sizeof(std::int16_t) + 63) / 64 * 64, 2 * WeightBytes(dimensions));
}

WalkQuery::WalkQuery(const WalkCodec& codec, const float* query, void* scratch) noexcept
    : kernels_(&CodeKernelsForCpu()),
      code_(codec.code),
      metric_(codec.base.metric),
      dimensions_(codec.base.dimensions),
      unit_(static_cast<double>(codec.base.step)),
      error_(static_cast<double>(codec.error)) {
  switch (code_) {
    case WalkCode::kSq8:
      PrepareSq8(codec, query, static_cast<std::int16_t*>(scratch));
      break;
    case WalkCode::kSq4:
      PrepareSq4(codec, query, static_cast<std::int8_t*>(scratch));
      break;
  }
  if (metric_ == Metric::kInnerProduct) error_ *= Norm(query, dimensions_);
  if (IsCodable(metric_, query, dimensions_)) return;
  error_ = kInfinity;
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

double WalkQuery::LowerBound(float key) const noexcept {
  if (!(error_ < kInfinity)) return -kInfinity;
  const double unrounded = static_cast<double>(key) * (key > 0.0F ? 1.0 - kRounding : 1.0 + kRounding);
  switch (metric_) {
    case Metric::kL2:
    case Metric::kCosine: {
      const double distance = std::max(0.0, std::sqrt(std::max(0.0, unrounded - slack_)) * unit_ - error_);
      return metric_ == Metric::kL2 ? distance * distance : distance * distance / 2.0;
    }
    case Metric::kL1:
      return std::max(0.0, unrounded * unit_ - error_);
    case Metric::kInnerProduct:
      return constant_ + static_cast<double>(key) * unit_ - error_;
  }
  return -kInfinity;
}

double WalkQuery::Estimate(float key) const noexcept {
  const double wide = static_cast<double>(key);
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
  return static_cast<float>(key + std::fabs(key) * kRounding);
}

}  // namespace tandem::vec
