#pragma once
// 8-bit scalar quantisation: the code that graph segments are built from and walked on.
//
//   code[d] = round((x[d] - offset[d]) / step), clamped to 0 … 255
//
// One step for all dimensions: the error is then the same in each, which is what minimises the squared error of a
// distance, and L2 and L1 between codes are sums of integers. Cosine codes are those of the normalised vectors,
// compared by L2 (equivalent order). Codes choose candidates only; the distance that counts is computed from the full
// vector.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/span.hpp"
#include "vec/code_kernels.hpp"
#include "vec/metric.hpp"

namespace tandem::vec {

/// Parameters of one segment's codes. Does not own `offset` (dimensions floats).
struct ScalarQuantizer {
  Metric metric = Metric::kL2;
  std::uint32_t dimensions = 0;
  float step = 1.0F;
  const float* offset = nullptr;
};

/// Learns offset and step from a sample of vectors. Memory: bounded by kSampleBytes, whatever is added.
class ScalarQuantizerTrainer {
 public:
  /// Vectors beyond these many bytes are not needed: MaxSamples() says how many to offer.
  static constexpr std::size_t kSampleBytes = std::size_t{8} << 20;

  ScalarQuantizerTrainer(Metric metric, std::uint32_t dimensions);

  /// Between 64 and 4,096, by dimension. Offer a random sample of the rows, not the first ones.
  [[nodiscard]] std::size_t MaxSamples() const noexcept;
  /// vector: `dimensions` floats. Vectors that IsCodable() refuses, and those past MaxSamples(), are ignored.
  /// Throws std::bad_alloc.
  void Add(const float* vector);
  /// Writes `dimensions` offsets; returns the step, > 0 and finite also for no samples or all equal ones.
  /// Of some candidates, the step that minimises the squared error over the sample, clipping included. Where most elements are zero
  /// one range may serve all dimensions, if it is better for the half of the sample that it was not learnt from.
  /// Throws std::bad_alloc.
  [[nodiscard]] float Train(float* offset) const;
  /// What was added, end to end; normalised under cosine.
  [[nodiscard]] base::Span<const float> Samples() const noexcept {
    return {samples_.data(), samples_.size()};
  }

 private:
  /// Of all dimensions.
  struct Range {
    float step;
    float offset;
  };

  [[nodiscard]] bool OneRangeServesBetter(double* room) const;
  [[nodiscard]] bool IsMostlyZero() const;
  [[nodiscard]] Range RangeOfAll(base::Span<const float> samples, double room) const;
  [[nodiscard]] float TrainByShares(base::Span<const float> samples, float* offset) const;
  [[nodiscard]] std::vector<float> Bounds(base::Span<const float> samples) const;
  [[nodiscard]] double SquaredError(base::Span<const float> samples, float step, const float* offset) const;

  Metric metric_;
  std::uint32_t dimensions_;
  std::vector<float> samples_;
};

/// False for vectors that have no place in a graph of this metric: zero vectors under cosine, and vectors whose norm
/// under cosine is not finite. Their rows are found by exact scan alone.
/// Elements are finite: NaN and infinity are refused before a vector is stored.
[[nodiscard]] bool IsCodable(Metric metric, const float* vector, std::size_t dimensions) noexcept;

/// What cosine codes are of: the vector times this. 0 for a vector that is not codable under cosine.
[[nodiscard]] float InverseNorm(const float* vector, std::size_t dimensions) noexcept;

/// Writes `dimensions` bytes. vector: codable.
void EncodeVector(const ScalarQuantizer& quantizer, const float* vector, std::uint8_t* code) noexcept;

/// Distance between two codes of one quantiser, for building graphs. Symmetric; ascending = farther; the scale is
/// arbitrary but one within a segment. Inner products need a term per code (CodeTerm), which the others ignore.
class CodeDistance {
 public:
  CodeDistance() noexcept = default;
  explicit CodeDistance(const ScalarQuantizer& quantizer) noexcept;

  /// For inner products the sum over d of offset[d] * code[d], in units that never overflow; 0 for other metrics.
  [[nodiscard]] float CodeTerm(const std::uint8_t* code) const noexcept;
  [[nodiscard]] float operator()(const std::uint8_t* a, float a_term, const std::uint8_t* b,
                                 float b_term) const noexcept;

 private:
  const CodeKernels* kernels_ = nullptr;
  ScalarQuantizer quantizer_;
  float offset_scale_ =
      0.0F;  ///< inner products: offsets are multiplied by this, so that all are within -1 … 1
  double dot_scale_ = 0.0;  ///< inner products: the step in the same units
};

}  // namespace tandem::vec
