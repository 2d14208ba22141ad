#include "vec/scalar_quantizer.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <random>
#include <vector>

#include "unit/vec/quantised.hpp"
#include "unit/vec/reference.hpp"

namespace tandem::vec {
namespace {

// Each of these mistakes in scalar_quantizer.cpp makes a test here fail: the first candidate of Train() taken always, an
// offset that is not a whole number of steps below the smallest value, the query clamped to 0 … 255, cosine vectors not
// normalised, offsets left out of CodeTerm(), offsets not scaled there, one range for all dimensions wherever most elements are zero,
// and what a range was learnt from deciding about it.

using test::Gaussian;
using test::RandomVector;
using test::Trained;
using test::Uniform;
using test::Vectors;

constexpr float kHuge = 3.4e38F;
constexpr float kTiniest = std::numeric_limits<float>::denorm_min();
constexpr Metric kMetrics[] = {Metric::kL2, Metric::kInnerProduct, Metric::kCosine, Metric::kL1};

// ---- Training ----

TEST(ScalarQuantizerTrainer, NeedsABoundedNumberOfSamples) {
  for (const std::uint32_t dimensions : {1U, 3U, 128U, 512U, 768U, 2'000U, 16'000U}) {
    const ScalarQuantizerTrainer trainer(Metric::kL2, dimensions);
    EXPECT_GE(trainer.MaxSamples(), 64U);
    EXPECT_LE(trainer.MaxSamples(), 4'096U);
    EXPECT_LE(trainer.MaxSamples() * dimensions * sizeof(float), ScalarQuantizerTrainer::kSampleBytes);
  }
}

TEST(ScalarQuantizerTrainer, IgnoresSamplesPastTheBound) {
  const Vectors few = Uniform(4'096, 2, 1);
  ScalarQuantizerTrainer trainer(Metric::kL2, 2);
  for (std::size_t i = 0; i < few.size(); ++i) trainer.Add(few[i]);
  float expected[2];
  const float step = trainer.Train(expected);
  const float outlier[2] = {1e6F, -1e6F};
  for (int i = 0; i < 100'000; ++i) trainer.Add(outlier);
  float offset[2];
  EXPECT_EQ(trainer.Train(offset), step);
  EXPECT_EQ(offset[0], expected[0]);
  EXPECT_EQ(offset[1], expected[1]);
}

TEST(ScalarQuantizerTrainer, IgnoresVectorsWithoutDirectionUnderCosine) {
  ScalarQuantizerTrainer trainer(Metric::kCosine, 2);
  const float zero[2] = {0.0F, 0.0F};
  const float overflowing[2] = {kHuge, kHuge};
  trainer.Add(zero);
  trainer.Add(overflowing);
  float offset[2];
  EXPECT_EQ(trainer.Train(offset), 1.0F) << "as without samples";
}

TEST(ScalarQuantizerTrainer, KeepsIntegersUpTo255) {
  Vectors pixels{50, test::RandomBytes(std::size_t{1'000} * 50, 2)};
  for (std::size_t i = 0; i < pixels.size(); ++i) {
    pixels[i][3] = 17.0F;                              // never changes
    pixels[i][4] = static_cast<float>(i % 2);          // uses little of the range
    pixels[i][5] = static_cast<float>(40 + i % 3);     // nor begins at 0
    if (i < 2) pixels[i][0] = i == 0 ? 0.0F : 255.0F;  // so that the range is known
  }
  Trained trained(Metric::kL2, pixels);
  EXPECT_EQ(trained.quantizer.step, 1.0F);
  EXPECT_EQ(trained.SquaredError(pixels), 0.0);
}

TEST(ScalarQuantizerTrainer, LeavesRoomOnBothSidesOfNarrowDimensions) {
  Vectors vectors = Uniform(500, 2, 3);
  for (std::size_t i = 0; i < vectors.size(); ++i) vectors[i][1] *= 0.01F;
  Trained trained(Metric::kL2, vectors);
  const float unseen[2] = {0.0F, 0.5F};
  const float opposite[2] = {0.0F, -0.5F};
  for (const float* vector : {unseen, opposite}) {
    EncodeVector(trained.quantizer, vector, trained.Code(0));
    EXPECT_NEAR(trained.Decode(trained.Code(0), 1), static_cast<double>(vector[1]),
                static_cast<double>(trained.quantizer.step));
  }
}

TEST(ScalarQuantizerTrainer, ClipsAFewOutliersForTheSakeOfAllOthers) {
  Vectors vectors = Gaussian(4'096, 256, 4);
  vectors[0][7] = 15.0F;
  vectors[1][9] = -15.0F;
  Trained trained(Metric::kL2, vectors);
  EXPECT_LT(trained.quantizer.step * 255.0F, 12.0F) << "rather than the 19 from -15 to 4";
  EXPECT_GT(trained.quantizer.step * 255.0F, 6.0F);
}

TEST(ScalarQuantizerTrainer, DoesNotClipADimensionThatIsWide) {
  Vectors vectors = Uniform(1'000, 16, 5);
  for (std::size_t i = 0; i < vectors.size(); ++i) vectors[i][3] *= 1'000.0F;
  Trained trained(Metric::kL2, vectors);
  EXPECT_NEAR(trained.quantizer.step, 2'000.0F / 255.0F, 0.1F);
}

TEST(ScalarQuantizerTrainer, TakesTheCandidateWithTheLeastError) {
  // The same error, measured here, for windows that leave out a share of all values at either end.
  std::mt19937 random(6);
  std::cauchy_distribution<float> cauchy;
  Vectors vectors{4, std::vector<float>(4 * 3'000)};
  for (float& value : vectors.values) value = std::clamp(cauchy(random), -1e4F, 1e4F);
  Trained trained(Metric::kL2, vectors);
  const double error = trained.SquaredError(vectors);
  for (const double share : {0.0, 0.001, 0.01, 0.05}) {
    double widest = 0.0;
    std::vector<float> middle(4);
    for (std::uint32_t d = 0; d < 4; ++d) {
      std::vector<float> column;
      for (std::size_t i = 0; i < vectors.size(); ++i) column.push_back(vectors[i][d]);
      std::sort(column.begin(), column.end());
      const auto left_out = static_cast<std::size_t>(share * static_cast<double>(column.size()));
      const float low = column[left_out];
      const float high = column[column.size() - 1 - left_out];
      widest = std::max(widest, static_cast<double>(high - low));
      middle[d] = (low + high) / 2;
    }
    const auto step = static_cast<float>(widest / 255.0);
    double sum = 0.0;
    for (std::size_t i = 0; i < vectors.size(); ++i) {
      for (std::uint32_t d = 0; d < 4; ++d) {
        const float offset = middle[d] - 127.5F * step;
        const float code = std::clamp(std::round((vectors[i][d] - offset) / step), 0.0F, 255.0F);
        const double difference = static_cast<double>(vectors[i][d] - (offset + step * code));
        sum += difference * difference;
      }
    }
    EXPECT_LT(error, 1.02 * sum) << share;
  }
}

/// As in sketches of texts, where few vectors of a sample have an element other than zero in a dimension.
TEST(ScalarQuantizerTrainer, KeepsLengthsWhereMostElementsAreZero) {
  constexpr std::uint32_t kDimensions = 512;
  for (const bool both_signs : {true, false}) {
    std::mt19937 random(7);
    std::normal_distribution<float> normal;
    const auto element = [&] { return both_signs ? normal(random) : std::fabs(normal(random)); };
    Vectors vectors{kDimensions, std::vector<float>(std::size_t{kDimensions} * 1'000)};
    for (std::size_t i = 0; i < vectors.size(); ++i)
      for (std::size_t left = 2 + random() % 20; left > 0; --left)
        vectors[i][random() % kDimensions] = element();
    Trained trained(Metric::kCosine, vectors);
    for (int i = 0; i < 300; ++i) {
      std::vector<float> rare(kDimensions);
      const std::size_t first = random() % (kDimensions - 1);
      rare[first] = both_signs && i % 2 == 0 ? -1.0F : 1.0F;
      rare[first + 1] = both_signs && i % 3 == 0 ? -1.0F : 1.0F;
      EncodeVector(trained.quantizer, rare.data(), trained.Code(0));
      double length = 0.0;
      for (std::uint32_t d = 0; d < kDimensions; ++d) {
        const double decoded = trained.Decode(trained.Code(0), d);
        length += decoded * decoded;
      }
      EXPECT_NEAR(std::sqrt(length), 1.0, 0.02);
    }
  }
}

/// As bits and counts of words, which are on one side of zero; of some dimensions the sample has nothing else.
TEST(ScalarQuantizerTrainer, KeepsWhatASampleOfNonNegativeVectorsLacks) {
  constexpr std::uint32_t kDimensions = 1'024;
  for (const int largest : {1, 255}) {
    std::mt19937 random(8);
    Vectors vectors{kDimensions, std::vector<float>(std::size_t{kDimensions} * 200)};
    for (std::size_t i = 0; i < vectors.size(); ++i)
      for (int element = 0; element < 8; ++element)
        vectors[i][random() % kDimensions] = static_cast<float>(1 + random() % largest);
    vectors[0][0] = vectors[150][1] = static_cast<float>(largest);
    Trained trained(Metric::kL2, vectors);
    std::vector<float> other(kDimensions, static_cast<float>(largest));
    EncodeVector(trained.quantizer, other.data(), trained.Code(0));
    for (std::uint32_t d = 0; d < kDimensions; ++d)
      ASSERT_NEAR(trained.Decode(trained.Code(0), d), largest, 1e-6 * largest);
  }
}

/// Every dimension is on one side of zero, the first below: ranges of their own are half as wide as one of all, and fit the sample
/// better. But of many dimensions the sample has nothing else than zero.
TEST(ScalarQuantizerTrainer, ChoosesByVectorsThatNothingWasLearntFrom) {
  constexpr std::uint32_t kDimensions = 1'024;
  std::mt19937 random(10);
  std::uniform_real_distribution<float> uniform(0.5F, 1.0F);
  Vectors vectors{kDimensions, std::vector<float>(std::size_t{kDimensions} * 200)};
  for (std::size_t i = 0; i < vectors.size(); ++i) {
    vectors[i][0] = i % 2 == 0 ? -1.0F : 0.0F;
    for (int element = 0; element < 8; ++element)
      vectors[i][1 + random() % (kDimensions - 1)] = uniform(random);
  }
  Trained trained(Metric::kL2, vectors);
  std::vector<float> other(kDimensions, 1.0F);
  other[0] = -1.0F;
  EncodeVector(trained.quantizer, other.data(), trained.Code(0));
  for (std::uint32_t d = 0; d < kDimensions; ++d)
    ASSERT_NEAR(trained.Decode(trained.Code(0), d), static_cast<double>(other[d]), 0.01);
}

/// What is not zero is in a quarter of the dimensions, in each at a place of its own: one range would leave them a code or two.
TEST(ScalarQuantizerTrainer, GivesDimensionsTheirOwnRangesWhereTheyAreKnown) {
  constexpr std::uint32_t kDimensions = 64;
  std::mt19937 random(9);
  std::uniform_real_distribution<float> uniform(0.0F, 1.0F);
  Vectors vectors{kDimensions, std::vector<float>(std::size_t{kDimensions} * 1'000)};
  for (std::size_t i = 0; i < vectors.size(); ++i)
    for (std::uint32_t d = 0; d < kDimensions / 4; ++d)
      vectors[i][d] = 100.0F * static_cast<float>(d) + uniform(random);
  const Trained trained(Metric::kL2, vectors);
  EXPECT_LT(trained.quantizer.step, 0.01F);
}

TEST(ScalarQuantizerTrainer, SurvivesEveryExtreme) {
  const std::vector<std::vector<float>> samples[] = {
      {},
      {{0, 0, 0}},
      {{1, 2, 3}},
      {{1, 2, 3}, {1, 2, 3}},
      {{kHuge, -kHuge, 0}},
      {{kHuge, -kHuge, 0}, {-kHuge, -kHuge, kHuge}},
      {{-kHuge, kHuge, 1}, {-kHuge, kHuge, -1}},
      {{kTiniest, 0, -kTiniest}},
      {{kTiniest, 0, -kTiniest}, {0, 0, 1e-40F}},
      {{kHuge, 0, 0}, {0, 0, -kHuge}},
      {{0, 0, kHuge}, {0, 1, 0}},
      {{kTiniest, 0, 0}, {0, 0, 0}},
      {{1e6F, 1e6F, 1e6F}, {1e6F, 1e6F, 1e6F + 0.0625F}},
      {{1e38F, 1e-38F, 0}, {1e38F, 2e-38F, 0}},
  };
  for (const Metric metric : kMetrics) {
    for (const auto& set : samples) {
      Vectors vectors{3, {}};
      for (const auto& vector : set)
        vectors.values.insert(vectors.values.end(), vector.begin(), vector.end());
      Trained trained(metric, vectors);
      EXPECT_GT(trained.quantizer.step, 0.0F);
      EXPECT_TRUE(std::isfinite(trained.quantizer.step));
      EXPECT_TRUE(std::isfinite(2.0F / trained.quantizer.step));
      for (const float offset : trained.offset) EXPECT_TRUE(std::isfinite(offset));

      const CodeDistance distance(trained.quantizer);
      for (const auto& query : {std::vector<float>{0, 0, 0},
                                {1, -2, 3},
                                {kHuge, -kHuge, kHuge},
                                {-kHuge, kHuge, 0},
                                {kTiniest, -kTiniest, 0},
                                {1e-38F, 1e20F, -1}}) {
        const test::PreparedQuery prepared({WalkCode::kSq8, trained.quantizer}, query.data());
        for (std::size_t i = 0; i < vectors.size(); ++i) {
          EXPECT_TRUE(std::isfinite(prepared->Key(trained.Code(i))));
          const float term = distance.CodeTerm(trained.Code(i));
          EXPECT_TRUE(std::isfinite(term));
          EXPECT_TRUE(std::isfinite(
              distance(trained.Code(i), term, trained.Code(0), distance.CodeTerm(trained.Code(0)))));
        }
      }
    }
  }
}

// ---- Codes ----

TEST(ScalarQuantizer, DecodesWithinHalfAStep) {
  for (const std::uint32_t dimensions : {1U, 3U, 16U, 100U, 257U, 1'000U}) {
    const Vectors vectors = Uniform(300, dimensions, dimensions, -3.0F, 5.0F);
    Trained trained(Metric::kL2, vectors);
    const double allowed = 0.5 * static_cast<double>(trained.quantizer.step) * 1.0001 + 1e-6;
    // Dimensions as wide as the widest are clipped by what was worth it: a few thousandths of the range.
    const double clipped = 0.06 * 8.0;
    std::size_t beyond = 0;
    for (std::size_t i = 0; i < vectors.size(); ++i) {
      for (std::uint32_t d = 0; d < dimensions; ++d) {
        const double error =
            std::fabs(static_cast<double>(vectors[i][d]) - trained.Decode(trained.Code(i), d));
        EXPECT_LE(error, clipped);
        if (error > allowed) ++beyond;
      }
    }
    EXPECT_LE(beyond, vectors.values.size() / 20);
  }
}

TEST(ScalarQuantizer, ClampsWhatLiesOutside) {
  const Vectors vectors = Uniform(100, 4, 7);
  Trained trained(Metric::kL2, vectors);
  const float above[4] = {100.0F, kHuge, 100.0F, 100.0F};
  const float below[4] = {-100.0F, -kHuge, -100.0F, -100.0F};
  EncodeVector(trained.quantizer, above, trained.Code(0));
  EncodeVector(trained.quantizer, below, trained.Code(1));
  for (int d = 0; d < 4; ++d) {
    EXPECT_EQ(trained.Code(0)[d], 255);
    EXPECT_EQ(trained.Code(1)[d], 0);
  }
}

TEST(ScalarQuantizer, CodesTheDirectionUnderCosine) {
  constexpr std::uint32_t kDimensions = 300;  // more than one block of the encoder
  Vectors vectors = Gaussian(200, kDimensions, 8);
  for (std::size_t i = 0; i < vectors.size(); ++i) vectors[i][7] += 3.0F;  // so that offsets differ
  Trained trained(Metric::kCosine, vectors);
  std::vector<std::uint8_t> code(kDimensions);
  std::size_t beyond = 0;
  for (std::size_t i = 0; i < vectors.size(); ++i) {
    for (const float factor : {0.25F, 1024.0F}) {
      std::vector<float> scaled(vectors[i], vectors[i] + kDimensions);
      for (float& value : scaled) value *= factor;
      EncodeVector(trained.quantizer, scaled.data(), code.data());
      EXPECT_TRUE(std::equal(code.begin(), code.end(), trained.Code(i))) << factor;
    }
    const double norm =
        std::sqrt(static_cast<double>(Kernels().inner_product(vectors[i], vectors[i], kDimensions)));
    for (std::uint32_t d = 0; d < kDimensions; ++d) {
      const double error = static_cast<double>(vectors[i][d]) / norm - trained.Decode(trained.Code(i), d);
      if (std::fabs(error) > 0.51 * static_cast<double>(trained.quantizer.step)) ++beyond;
    }
  }
  EXPECT_LE(beyond, vectors.values.size() / 20) << "more than clipping explains";
}

TEST(IsCodable, RefusesVectorsWithoutDirectionUnderCosineOnly) {
  const std::vector<std::vector<float>> without = {
      {0, 0, 0}, {-0.0F, 0, 0}, {kHuge, 0, 0}, {1e20F, 1e20F, 1e20F}, {kTiniest, 0, 0}};
  for (const auto& vector : without) {
    EXPECT_FALSE(IsCodable(Metric::kCosine, vector.data(), 3)) << vector[0];
    for (const Metric metric : {Metric::kL2, Metric::kL1, Metric::kInnerProduct}) {
      EXPECT_TRUE(IsCodable(metric, vector.data(), 3)) << vector[0];
    }
  }
  for (const auto& vector : {std::vector<float>{1, 0, 0}, {1e-18F, 0, 0}, {1e18F, -1e18F, 0}}) {
    EXPECT_TRUE(IsCodable(Metric::kCosine, vector.data(), 3)) << vector[0];
  }
}

// ---- Distances between codes ----

TEST(CodeDistance, IsSymmetricAndOrdersLikeTheDecodedVectors) {
  for (const Metric metric : kMetrics) {
    Vectors vectors = Gaussian(120, 37, 9);
    for (std::size_t i = 0; i < vectors.size(); ++i) vectors[i][5] += 10.0F;  // offsets matter
    Trained trained(metric, vectors);
    const CodeDistance distance(trained.quantizer);
    const auto decoded_distance = [&](std::size_t i, std::size_t j) {
      double sum = 0.0;
      for (std::uint32_t d = 0; d < 37; ++d) {
        const double a = trained.Decode(trained.Code(i), d);
        const double b = trained.Decode(trained.Code(j), d);
        sum += metric == Metric::kInnerProduct ? -a * b
               : metric == Metric::kL1         ? std::fabs(a - b)
                                               : (a - b) * (a - b);
      }
      return sum;
    };
    std::vector<std::pair<double, float>> pairs;
    for (std::size_t i = 0; i < vectors.size(); ++i) {
      const float i_term = distance.CodeTerm(trained.Code(i));
      for (std::size_t j = 0; j < vectors.size(); ++j) {
        const float j_term = distance.CodeTerm(trained.Code(j));
        const float value = distance(trained.Code(i), i_term, trained.Code(j), j_term);
        EXPECT_EQ(value, distance(trained.Code(j), j_term, trained.Code(i), i_term));
        pairs.emplace_back(decoded_distance(i, j), value);
      }
    }
    std::sort(pairs.begin(), pairs.end());
    const double scale = std::fabs(pairs.back().first) + std::fabs(pairs.front().first);
    const float value_scale = std::fabs(pairs.back().second) + std::fabs(pairs.front().second);
    float largest = -std::numeric_limits<float>::infinity();
    for (const auto& [decoded, value] : pairs) {
      // Ascending but for float32's rounding of offsets, terms and sums.
      EXPECT_GT(value, largest - 1e-5F * value_scale) << decoded / scale;
      largest = std::max(largest, value);
    }
  }
}

TEST(CodeDistance, NeedsNoTermButForInnerProducts) {
  const Vectors vectors = Uniform(10, 8, 10);
  for (const Metric metric : {Metric::kL2, Metric::kCosine, Metric::kL1}) {
    Trained trained(metric, vectors);
    const CodeDistance distance(trained.quantizer);
    EXPECT_EQ(distance.CodeTerm(trained.Code(3)), 0.0F);
    EXPECT_EQ(distance(trained.Code(3), 0.0F, trained.Code(3), 0.0F), 0.0F);
  }
}

}  // namespace
}  // namespace tandem::vec
