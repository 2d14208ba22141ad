// 8-bit scalar quantisation: training, encoding.

#include "vec/scalar_quantizer.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

namespace tandem::vec {
namespace {

constexpr double kLargestCode = 255.0;
// Smaller steps would only resolve values whose squares underflow in float32; and 2 / step stays finite.
constexpr double kSmallestStep = 0x1p-100;
// Shares of a dimension's sample that candidates leave out at either end. 0 comes first: of equal errors it wins.
constexpr double kLeftOut[] = {0.0, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05};
// How far one range for all dimensions reaches, in those of the sample's elements. The first leaves integers exact.
constexpr double kRooms[] = {1.0, 1.5};
// Elements encoded at once through a buffer on the stack.
constexpr std::size_t kBlock = 256;

float ToFiniteFloat(double value) noexcept {
  constexpr double kLargest = std::numeric_limits<float>::max();
  return static_cast<float>(std::clamp(value, -kLargest, kLargest));
}

float StepForWidth(double width) noexcept {
  return ToFiniteFloat(std::max(width / kLargestCode, kSmallestStep));
}

/// Where the codes begin so that [low, high] lies in the middle of their range, or, if it is wider, they in the middle
/// of it. A whole number of steps below `low` where that fits, so that low itself is exact: then integers,
/// the zeros of sparse vectors and dimensions that never change keep their value.
float PlaceOffset(double low, double high, double step) noexcept {
  const double slack = kLargestCode - (high - low) / step;  // in steps
  const double steps_below = slack >= 0.0 ? std::floor(slack / 2.0) : slack / 2.0;
  return ToFiniteFloat(low - steps_below * step);
}

}  // namespace

float InverseNorm(const float* vector, std::size_t dimensions) noexcept {
  const double norm_squared = Kernels().inner_product(vector, vector, dimensions);
  if (!(norm_squared > 0.0) || std::isinf(norm_squared)) return 0.0F;
  return static_cast<float>(1.0 / std::sqrt(norm_squared));
}

ScalarQuantizerTrainer::ScalarQuantizerTrainer(Metric metric, std::uint32_t dimensions)
    : metric_(metric), dimensions_(dimensions) {}

std::size_t ScalarQuantizerTrainer::MaxSamples() const noexcept {
  const std::size_t fitting = kSampleBytes / (std::max<std::size_t>(dimensions_, 1) * sizeof(float));
  return std::clamp<std::size_t>(fitting, 64, 4'096);
}

void ScalarQuantizerTrainer::Add(const float* vector) {
  if (samples_.empty()) samples_.reserve(MaxSamples() * dimensions_);
  if (samples_.size() >= MaxSamples() * dimensions_ || !IsCodable(metric_, vector, dimensions_)) return;
  const float scale = metric_ == Metric::kCosine ? InverseNorm(vector, dimensions_) : 1.0F;
  for (std::uint32_t d = 0; d < dimensions_; ++d) samples_.push_back(vector[d] * scale);
}

float ScalarQuantizerTrainer::Train(float* offset) const {
  std::fill_n(offset, dimensions_, 0.0F);
  if (samples_.empty()) return 1.0F;
  double room = 0.0;
  if (!OneRangeServesBetter(&room)) return TrainByShares(Samples(), offset);
  const Range range = RangeOfAll(Samples(), room);
  std::fill_n(offset, dimensions_, range.offset);
  return range.step;
}

/// Where most elements are zero a sample has few others of each dimension to tell its range by, or none. What lies beyond is clipped, and
/// under cosine a vector that lost length by that would be near to every query. Half of the sample, which nothing was learnt from,
/// tells which range is better for vectors that are not in the sample: those that it was learnt from fit by themselves.
bool ScalarQuantizerTrainer::OneRangeServesBetter(double* room) const {
  const base::Span<const float> samples = Samples();
  const std::size_t learnt = samples.size() / dimensions_ / 2 * dimensions_;
  if (learnt == 0 || !IsMostlyZero()) return false;
  const base::Span<const float> half(samples.data(), learnt);
  const base::Span<const float> others(samples.data() + learnt, samples.size() - learnt);
  std::vector<float> offset(dimensions_);
  float step = TrainByShares(half, offset.data());
  double least_error = SquaredError(others, step, offset.data());
  bool serves_better = false;
  for (const double candidate : kRooms) {
    const Range range = RangeOfAll(half, candidate);
    std::fill(offset.begin(), offset.end(), range.offset);
    const double error = SquaredError(others, range.step, offset.data());
    // Of equal ones that of all dimensions: the fewest vectors lie beyond it.
    if (serves_better ? !(error < least_error) : error > least_error) continue;
    serves_better = true;
    least_error = error;
    *room = candidate;
  }
  return serves_better;
}

/// But not all of it: then nothing tells what the others are.
bool ScalarQuantizerTrainer::IsMostlyZero() const {
  const auto zeros = static_cast<std::size_t>(std::count(samples_.begin(), samples_.end(), 0.0F));
  return zeros > samples_.size() / 2 && zeros < samples_.size();
}

/// One for all dimensions, with zero exactly on a code: from the smallest to the largest element, `room` times as far from zero as they are,
/// or as far as normalised vectors reach.
ScalarQuantizerTrainer::Range ScalarQuantizerTrainer::RangeOfAll(base::Span<const float> samples,
                                                                 double room) const {
  double low = 0.0;
  double high = 0.0;
  for (const float x : samples) {
    low = std::min(low, static_cast<double>(x));
    high = std::max(high, static_cast<double>(x));
  }
  low *= room;
  high *= room;
  if (metric_ == Metric::kCosine) {
    low = std::max(low, -1.0);
    high = std::min(high, 1.0);
  }
  // On both sides of zero one step may be lost by its place. All zero: as where all samples are equal.
  const double steps = low < 0.0 && high > 0.0 ? kLargestCode - 1.0 : kLargestCode;
  const double width = high > low ? high - low : kLargestCode;
  const float step = ToFiniteFloat(std::max(width / steps, kSmallestStep));
  const double below = std::min(std::ceil(-low / static_cast<double>(step)), kLargestCode);
  return {step, ToFiniteFloat(0.0 - below * static_cast<double>(step))};
}

/// The best of the candidates that leave out shares of the sample.
float ScalarQuantizerTrainer::TrainByShares(base::Span<const float> samples, float* offset) const {
  const std::vector<float> bounds = Bounds(samples);
  std::vector<float> candidate(dimensions_);
  double least_error = std::numeric_limits<double>::infinity();
  float best_step = 1.0F;
  for (std::size_t c = 0; c < std::size(kLeftOut); ++c) {
    const float* low = bounds.data() + 2 * c * dimensions_;
    const float* high = low + dimensions_;
    double widest = 0.0;
    double largest = 0.0;
    for (std::uint32_t d = 0; d < dimensions_; ++d) {
      widest = std::max(widest, static_cast<double>(high[d]) - static_cast<double>(low[d]));
      largest = std::max(largest, std::fabs(static_cast<double>(low[d])));
    }
    // Equal samples say nothing about the others; their own magnitude is the best guess.
    const float step = StepForWidth(widest > 0.0 ? widest : largest > 0.0 ? largest : kLargestCode);
    for (std::uint32_t d = 0; d < dimensions_; ++d) {
      candidate[d] = PlaceOffset(low[d], high[d], static_cast<double>(step));
    }
    const double error = SquaredError(samples, step, candidate.data());
    if (c != 0 && !(error < least_error)) continue;
    least_error = error;
    best_step = step;
    std::copy(candidate.begin(), candidate.end(), offset);
  }
  return best_step;
}

/// For each share of kLeftOut, `dimensions` lower bounds, then as many upper ones.
std::vector<float> ScalarQuantizerTrainer::Bounds(base::Span<const float> samples) const {
  const std::size_t count = samples.size() / dimensions_;
  std::vector<float> bounds(2 * std::size(kLeftOut) * dimensions_);
  std::vector<float> column(count);
  for (std::uint32_t d = 0; d < dimensions_; ++d) {
    for (std::size_t i = 0; i < count; ++i) column[i] = samples[i * dimensions_ + d];
    std::sort(column.begin(), column.end());
    for (std::size_t c = 0; c < std::size(kLeftOut); ++c) {
      const auto left_out = static_cast<std::size_t>(kLeftOut[c] * static_cast<double>(count));
      bounds[2 * c * dimensions_ + d] = column[left_out];
      bounds[(2 * c + 1) * dimensions_ + d] = column[count - 1 - left_out];
    }
  }
  return bounds;
}

/// Over all these samples, in double: no square of a float32 overflows there.
double ScalarQuantizerTrainer::SquaredError(base::Span<const float> samples, float step,
                                            const float* offset) const {
  const ScalarQuantizer quantizer{Metric::kL2, dimensions_, step, offset};  // samples are normalised already
  std::vector<std::uint8_t> code(dimensions_);
  double sum = 0.0;
  for (std::size_t start = 0; start < samples.size(); start += dimensions_) {
    const float* sample = samples.data() + start;
    EncodeVector(quantizer, sample, code.data());
    for (std::uint32_t d = 0; d < dimensions_; ++d) {
      const double decoded = static_cast<double>(offset[d]) + static_cast<double>(step) * code[d];
      const double error = static_cast<double>(sample[d]) - decoded;
      sum += error * error;
    }
  }
  return sum;
}

bool IsCodable(Metric metric, const float* vector, std::size_t dimensions) noexcept {
  return metric != Metric::kCosine || InverseNorm(vector, dimensions) > 0.0F;
}

void EncodeVector(const ScalarQuantizer& quantizer, const float* vector, std::uint8_t* code) noexcept {
  const CodeKernels& kernels = CodeKernelsForCpu();
  const float twice_inverse_step = 2.0F / quantizer.step;
  if (quantizer.metric != Metric::kCosine) {
    kernels.encode(vector, quantizer.offset, twice_inverse_step, quantizer.dimensions, code);
    return;
  }
  // Normalised in a pass of its own: with fused multiply-add the codes would depend on the CPU.
  const float scale = InverseNorm(vector, quantizer.dimensions);
  float normalised[kBlock];
  for (std::size_t start = 0; start < quantizer.dimensions; start += kBlock) {
    const std::size_t n = std::min(kBlock, quantizer.dimensions - start);
    for (std::size_t i = 0; i < n; ++i) normalised[i] = vector[start + i] * scale;
    kernels.encode(normalised, quantizer.offset + start, twice_inverse_step, n, code + start);
  }
}

CodeDistance::CodeDistance(const ScalarQuantizer& quantizer) noexcept
    : kernels_(&CodeKernelsForCpu()), quantizer_(quantizer) {
  if (quantizer.metric != Metric::kInnerProduct) return;
  double largest = static_cast<double>(quantizer.step);
  for (std::uint32_t d = 0; d < quantizer.dimensions; ++d) {
    largest = std::max(largest, std::fabs(static_cast<double>(quantizer.offset[d])));
  }
  offset_scale_ = static_cast<float>(1.0 / largest);
  dot_scale_ = static_cast<double>(quantizer.step) / largest;
}

float CodeDistance::CodeTerm(const std::uint8_t* code) const noexcept {
  if (quantizer_.metric != Metric::kInnerProduct) return 0.0F;
  float sum = 0.0F;
  for (std::uint32_t d = 0; d < quantizer_.dimensions; ++d) {
    sum += quantizer_.offset[d] * offset_scale_ * static_cast<float>(code[d]);
  }
  return sum;
}

float CodeDistance::operator()(const std::uint8_t* a, float a_term, const std::uint8_t* b,
                               float b_term) const noexcept {
  const std::size_t n = quantizer_.dimensions;
  switch (quantizer_.metric) {
    case Metric::kL2:
    case Metric::kCosine:
      return static_cast<float>(kernels_->l2_squared(a, b, n));
    case Metric::kL1:
      return static_cast<float>(kernels_->l1(a, b, n));
    case Metric::kInnerProduct:
      // (offset + step a) (offset + step b), divided by the step, without the sum that all pairs share.
      return static_cast<float>(
          -(dot_scale_ * kernels_->dot(a, b, n) + static_cast<double>(a_term) + static_cast<double>(b_term)));
  }
  return 0.0F;
}

}  // namespace tandem::vec
