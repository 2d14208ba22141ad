#pragma once
// Sets of vectors and their codes, for the tests of quantisers and walk codes.

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "unit/vec/reference.hpp"
#include "vec/scalar_quantizer.hpp"
#include "vec/walk_query.hpp"

namespace tandem::vec::test {

/// Rows of equal length, end to end.
struct Vectors {
  std::uint32_t dimensions;
  std::vector<float> values;

  [[nodiscard]] std::size_t size() const { return values.size() / dimensions; }
  [[nodiscard]] const float* operator[](std::size_t i) const { return values.data() + i * dimensions; }
  [[nodiscard]] float* operator[](std::size_t i) { return values.data() + i * dimensions; }
};

inline Vectors Uniform(std::size_t count, std::uint32_t dimensions, std::uint32_t seed, float low = -1.0F,
                       float high = 1.0F) {
  return {dimensions, RandomVector(count * dimensions, seed, low, high)};
}

inline Vectors Gaussian(std::size_t count, std::uint32_t dimensions, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  Vectors vectors{dimensions, std::vector<float>(count * dimensions)};
  for (float& value : vectors.values) value = normal(random);
  return vectors;
}

/// A quantiser with its offsets and the codes of the vectors that it was trained on.
struct Trained {
  ScalarQuantizerTrainer trainer;
  std::vector<float> offset;
  ScalarQuantizer quantizer;
  std::vector<std::uint8_t> codes;

  Trained(Metric metric, const Vectors& vectors)
      : trainer(metric, vectors.dimensions), offset(vectors.dimensions) {
    for (std::size_t i = 0; i < vectors.size(); ++i) trainer.Add(vectors[i]);
    const float step = trainer.Train(offset.data());
    quantizer = {metric, vectors.dimensions, step, offset.data()};
    codes.resize(vectors.values.size());
    for (std::size_t i = 0; i < vectors.size(); ++i) {
      if (IsCodable(metric, vectors[i], vectors.dimensions)) EncodeVector(quantizer, vectors[i], Code(i));
    }
  }
  Trained(const Trained&) = delete;
  Trained& operator=(const Trained&) = delete;

  [[nodiscard]] std::uint8_t* Code(std::size_t i) { return codes.data() + i * quantizer.dimensions; }

  [[nodiscard]] double Decode(const std::uint8_t* code, std::uint32_t d) const {
    return static_cast<double>(offset[d]) + static_cast<double>(quantizer.step) * code[d];
  }

  [[nodiscard]] double SquaredError(const Vectors& vectors) {
    double sum = 0.0;
    for (std::size_t i = 0; i < vectors.size(); ++i) {
      for (std::uint32_t d = 0; d < vectors.dimensions; ++d) {
        const double error = static_cast<double>(vectors[i][d]) - Decode(Code(i), d);
        sum += error * error;
      }
    }
    return sum;
  }
};

/// A query with the memory that it needs.
class PreparedQuery {
 public:
  PreparedQuery(const WalkCodec& codec, const float* query)
      : scratch_(WalkQuery::ScratchBytes(codec.base.dimensions) / sizeof(Line)),
        query_(codec, query, scratch_.data()) {}
  PreparedQuery(const PreparedQuery&) = delete;
  PreparedQuery& operator=(const PreparedQuery&) = delete;

  [[nodiscard]] const WalkQuery& operator*() const { return query_; }
  [[nodiscard]] const WalkQuery* operator->() const { return &query_; }

 private:
  struct alignas(64) Line {
    char bytes[64];
  };
  std::vector<Line> scratch_;
  WalkQuery query_;
};

}  // namespace tandem::vec::test
