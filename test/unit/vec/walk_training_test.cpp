#include "vec/walk_training.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "unit/vec/quantised.hpp"

namespace tandem::vec {
namespace {

using test::Gaussian;
using test::PreparedQuery;
using test::Trained;
using test::Vectors;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Chosen {
  Trained trained;
  std::vector<float> centre;
  std::vector<float> step;
  WalkDecision decision;

  Chosen(Metric metric, const Vectors& vectors, WalkWish wish = WalkWish::kAuto)
      : trained(metric, vectors),
        centre(vectors.dimensions, -1.0F),
        step(vectors.dimensions, -1.0F),
        decision(ChooseWalkCode(trained.trainer, trained.quantizer, wish, centre.data(), step.data())) {}

  [[nodiscard]] WalkCodec Codec() const {
    return {decision.code, trained.quantizer, centre.data(), step.data(), decision.trial.error};
  }
};

/// Like learnt embeddings: 24 dimensions seen through many, and some noise.
Vectors Embedded(std::size_t count, std::uint32_t dimensions) {
  const Vectors inner = Gaussian(count, 24, 83);
  const Vectors projection = Gaussian(24, dimensions, 84);
  Vectors vectors = Gaussian(count, dimensions, 85);
  for (std::size_t i = 0; i < count; ++i) {
    for (std::uint32_t d = 0; d < dimensions; ++d) {
      vectors[i][d] *= 0.3F;
      for (std::size_t k = 0; k < 24; ++k) vectors[i][d] += inner[i][k] * projection[k][d];
    }
  }
  return vectors;
}

/// Groups of vectors so alike that 16 levels do not tell them apart.
Vectors Crowded(std::size_t count, std::uint32_t dimensions) {
  const Vectors middles = Gaussian(20, dimensions, 81);
  Vectors vectors = Gaussian(count, dimensions, 82);
  for (std::size_t i = 0; i < count; ++i) {
    for (std::uint32_t d = 0; d < dimensions; ++d) {
      vectors[i][d] = middles[i % 20][d] + 0.02F * vectors[i][d];
    }
  }
  return vectors;
}

TEST(ChooseWalkCode, TakesFourBitsInManyDimensionsThatAllowIt) {
  const Vectors vectors = Embedded(1'000, kLeastDimensionsForSq4);
  for (const Metric metric : {Metric::kL2, Metric::kCosine}) {
    const Chosen chosen(metric, vectors);
    EXPECT_EQ(chosen.decision.code, WalkCode::kSq4);
    EXPECT_EQ(chosen.decision.reason, WalkReason::kSampleNear);
    EXPECT_GE(chosen.decision.trial.depth, 10U);
    EXPECT_TRUE(std::isfinite(chosen.decision.trial.error));
  }
}

TEST(ChooseWalkCode, TakesEightBitsWhereFourDoNotTellNeighboursApart) {
  const Chosen chosen(Metric::kL2, Crowded(1'000, kLeastDimensionsForSq4));
  EXPECT_EQ(chosen.decision.code, WalkCode::kSq8);
  EXPECT_EQ(chosen.decision.reason, WalkReason::kSampleFar);
}

TEST(ChooseWalkCode, TakesFloat16WhereEightBitsDoNotTellNeighboursApart) {
  for (const Metric metric : {Metric::kL2, Metric::kCosine, Metric::kL1}) {
    Vectors crowds = Gaussian(1'000, 100, 86);
    const Vectors middles = Gaussian(4, 100, 87);
    for (std::size_t i = 0; i < crowds.size(); ++i) {
      for (std::uint32_t d = 0; d < 100; ++d) crowds[i][d] = middles[i % 4][d] + 0.03F * crowds[i][d];
    }
    const Chosen chosen(metric, crowds);
    EXPECT_EQ(chosen.decision.code, WalkCode::kFp16);
    EXPECT_EQ(chosen.decision.reason, WalkReason::kSampleCoarse);
    EXPECT_LE(chosen.decision.trial.depth, 32U);
    const Chosen asked(metric, crowds, WalkWish::kSq8);
    EXPECT_GT(asked.decision.trial.depth, 64U);
  }
}

/// A node of several rows would have the 8-bit code all the same.
TEST(ChooseWalkCode, TakesEightBitsWhereVectorsHaveTheSameCodes) {
  const Chosen chosen(Metric::kL2, Gaussian(4'000, 1, 88));
  EXPECT_EQ(chosen.decision.code, WalkCode::kSq8);
  EXPECT_EQ(chosen.decision.reason, WalkReason::kDimensions);
}

TEST(ChooseWalkCode, TakesEightBitsInFewDimensionsAndForL1) {
  const Chosen few(Metric::kL2, Gaussian(200, kLeastDimensionsForSq4 - 1, 2));
  EXPECT_EQ(few.decision.code, WalkCode::kSq8);
  EXPECT_EQ(few.decision.reason, WalkReason::kDimensions);
  EXPECT_EQ(few.centre[0], -1.0F) << "written without need";
  for (const WalkWish wish : {WalkWish::kAuto, WalkWish::kSq4}) {
    const Chosen l1(Metric::kL1, Gaussian(200, kLeastDimensionsForSq4, 3), wish);
    EXPECT_EQ(l1.decision.code, WalkCode::kSq8);
    EXPECT_EQ(l1.decision.reason, WalkReason::kMetric);
  }
}

TEST(ChooseWalkCode, TakesWhatIsAskedFor) {
  const Vectors vectors = Gaussian(100, 20, 4);
  const Chosen sq4(Metric::kL2, vectors, WalkWish::kSq4);
  EXPECT_EQ(sq4.decision.code, WalkCode::kSq4);
  EXPECT_EQ(sq4.decision.reason, WalkReason::kAsked);
  const Chosen sq8(Metric::kL2, Gaussian(100, kLeastDimensionsForSq4, 5), WalkWish::kSq8);
  EXPECT_EQ(sq8.decision.code, WalkCode::kSq8);
  EXPECT_EQ(sq8.decision.reason, WalkReason::kAsked);
  EXPECT_LT(sq8.decision.trial.error, sq4.decision.trial.error);
  for (const Metric metric : {Metric::kL2, Metric::kInnerProduct, Metric::kCosine, Metric::kL1}) {
    const Chosen fp16(metric, vectors, WalkWish::kFp16);
    EXPECT_EQ(fp16.decision.code, WalkCode::kFp16);
    EXPECT_EQ(fp16.decision.reason, WalkReason::kAsked);
    const Chosen float32(metric, vectors, WalkWish::kFloat32);
    EXPECT_EQ(float32.decision.code, WalkCode::kFloat32);
    EXPECT_LT(float32.decision.trial.error, fp16.decision.trial.error);
    EXPECT_LT(fp16.decision.trial.error, fp16.decision.trial.shared_error);
  }
}

TEST(ChooseWalkCode, KnowsNothingFromAFewSamples) {
  for (const std::size_t count : {0U, 1U, 19U}) {
    const Chosen chosen(Metric::kL2, Gaussian(count, kLeastDimensionsForSq4, 6));
    EXPECT_EQ(chosen.decision.code, WalkCode::kSq8);
    EXPECT_EQ(chosen.decision.reason, WalkReason::kSampleSmall);
    EXPECT_EQ(chosen.decision.trial.error, kInfinity);
    EXPECT_EQ(chosen.decision.trial.depth, 0U);
  }
}

TEST(ChooseWalkCode, AnswersTheSameForTheSame) {
  const Vectors vectors = Gaussian(300, kLeastDimensionsForSq4, 7);
  const Chosen one(Metric::kCosine, vectors);
  const Chosen other(Metric::kCosine, vectors);
  EXPECT_EQ(one.decision.code, other.decision.code);
  EXPECT_EQ(one.decision.trial.error, other.decision.trial.error);
  EXPECT_EQ(one.decision.trial.depth, other.decision.trial.depth);
  EXPECT_EQ(one.centre, other.centre);
  EXPECT_EQ(one.step, other.step);
}

/// `twins` times the same vector, then `others`.
Vectors WithTwins(std::size_t twins, const Vectors& others) {
  Vectors vectors{others.dimensions, std::vector<float>(twins * others.dimensions, 3.25F)};
  vectors.values.insert(vectors.values.end(), others.values.begin(), others.values.end());
  return vectors;
}

TEST(TryWalkCode, KnowsNothingFromTwins) {
  for (const std::size_t others : {0U, 18U}) {
    const Vectors vectors = WithTwins(100, Gaussian(others, 6, 11));
    for (const Metric metric : {Metric::kL2, Metric::kCosine, Metric::kL1}) {
      const Trained trained(metric, vectors);
      const WalkTrial trial = TryWalkCode(trained.trainer, {WalkCode::kSq8, trained.quantizer});
      EXPECT_EQ(trial.error, kInfinity);
      EXPECT_EQ(trial.reach, kInfinity);
      EXPECT_EQ(trial.depth, 0U);
    }
  }
}

TEST(TryWalkCode, CountsTwinsOnce) {
  const Vectors others = Gaussian(200, 6, 12);
  for (const std::size_t twins : {1U, 2'000U}) {
    const Trained trained(Metric::kL2, WithTwins(twins, others));
    const WalkTrial trial = TryWalkCode(trained.trainer, {WalkCode::kSq8, trained.quantizer});
    EXPECT_GT(trial.error, trained.quantizer.step / 8.0F);
    EXPECT_LT(trial.error, trained.quantizer.step * 8.0F);
  }
}

// ---- 16 levels ----

TEST(TrainNibbles, StaysWhereTermsAreExact) {
  for (const std::uint32_t seed : {1U, 2U, 3U, 4U}) {
    std::mt19937 random(seed);
    Vectors vectors = Gaussian(100, 40, seed);
    for (std::size_t i = 0; i < vectors.values.size(); ++i) {
      const std::size_t d = i % 40;
      if (d < 10) vectors.values[i] = static_cast<float>(random() % 2);             // two values
      if (d >= 10 && d < 20) vectors.values[i] = random() % 50 == 0 ? 9.0F : 0.0F;  // sparse
      if (d >= 20 && d < 25) vectors.values[i] = 5.0F;                              // constant
      if (d >= 25 && d < 30) vectors.values[i] = std::exp(vectors.values[i]);       // skewed
    }
    const Chosen chosen(Metric::kL2, vectors, WalkWish::kSq4);
    for (std::uint32_t d = 0; d < 40; ++d) {
      EXPECT_TRUE(chosen.centre[d] >= 0.0F && chosen.centre[d] <= 255.0F);
      EXPECT_TRUE(chosen.step[d] >= 1.0F && chosen.step[d] <= 16.0F);
      EXPECT_EQ(chosen.centre[d] * 4.0F, std::floor(chosen.centre[d] * 4.0F));
      EXPECT_EQ(chosen.step[d] * 4.0F, std::floor(chosen.step[d] * 4.0F));
    }
  }
}

TEST(TrainNibbles, KeepsTheZerosOfSparseVectors) {
  std::mt19937 random(9);
  Vectors vectors{64, std::vector<float>(std::size_t{64} * 500)};
  for (float& value : vectors.values) value = random() % 5 == 0 ? static_cast<float>(random() % 256) : 0.0F;
  Chosen chosen(Metric::kL2, vectors, WalkWish::kSq4);
  for (std::uint32_t d = 0; d < 64; ++d) {
    const double zero =
        -static_cast<double>(chosen.trained.offset[d]) / static_cast<double>(chosen.trained.quantizer.step);
    const double levels =
        (zero - static_cast<double>(chosen.centre[d])) / static_cast<double>(chosen.step[d]) + 7.5;
    EXPECT_NEAR(levels, std::round(levels), 0.02) << "dimension " << d;
  }
}

TEST(TrainNibbles, LosesLittleMoreThanTheBestLevelsOfANormalDistribution) {
  const Vectors vectors = Gaussian(3'000, 16, 10);
  Chosen chosen(Metric::kL2, vectors, WalkWish::kSq4);
  double sum = 0.0;
  for (std::size_t i = 0; i < vectors.size(); ++i) {
    for (std::uint32_t d = 0; d < 16; ++d) {
      const double x = chosen.trained.Code(i)[d] - static_cast<double>(chosen.centre[d]);
      const auto step = static_cast<double>(chosen.step[d]);
      const double error = x - step * (std::clamp(std::floor(x / step + 8.0), 0.0, 15.0) - 7.5);
      sum += error * error;
    }
  }
  const auto unit = static_cast<double>(chosen.trained.quantizer.step);
  // Max 1960: 16 equal levels of a normal distribution leave 0.01154 of its variance.
  EXPECT_LE(sum * unit * unit / static_cast<double>(vectors.values.size()), 0.0127);
}

// ---- Real data ----

/// A file of the real data sets; nothing if TANDEM_DATA does not hold it.
std::optional<std::string> DataFile(const std::string& name) {
  const char* folder = std::getenv("TANDEM_DATA");
  if (folder == nullptr) return std::nullopt;
  std::string path = std::string(folder) + "/" + name;
  std::FILE* file = std::fopen(path.c_str(), "rb");
  if (file == nullptr) return std::nullopt;
  std::fclose(file);
  return path;
}

/// The first `count` images of Fashion-MNIST's idx file, unpacked by gzip.
Vectors Images(const std::string& path, std::size_t count) {
  Vectors images{784, std::vector<float>(784 * count)};
  std::FILE* unpacked = popen(("gzip -dc '" + path + "'").c_str(), "r");
  std::vector<std::uint8_t> bytes(16 + images.values.size());
  bytes.resize(std::fread(bytes.data(), 1, bytes.size(), unpacked));
  pclose(unpacked);
  EXPECT_EQ(bytes.size(), 16 + images.values.size());
  std::copy(bytes.begin() + 16, bytes.end(), images.values.begin());
  return images;
}

/// Every `every`th of an f16bin file: uint32 rows, uint32 dimensions, float16 rows.
Vectors Embeddings(const std::string& path, std::size_t every) {
  std::FILE* file = std::fopen(path.c_str(), "rb");
  std::uint32_t head[2] = {};
  EXPECT_EQ(std::fread(head, sizeof head, 1, file), 1U);
  Vectors vectors{head[1], {}};
  std::vector<std::uint16_t> row(head[1]);
  for (std::uint32_t i = 0; i < head[0]; ++i) {
    EXPECT_EQ(std::fread(row.data(), sizeof(std::uint16_t), row.size(), file), row.size());
    if (i % every != 0) continue;
    for (const std::uint16_t half : row) {
      const double magnitude = (half & 0x7C00) == 0
                                   ? std::ldexp(half & 0x3FF, -24)
                                   : std::ldexp(1024 + (half & 0x3FF), ((half >> 10) & 31) - 25);
      vectors.values.push_back(static_cast<float>((half & 0x8000) != 0 ? -magnitude : magnitude));
    }
  }
  std::fclose(file);
  return vectors;
}

/// What counts in a search: bounds above the true distance, and exact distances before the ten nearest are known.
struct Walked {
  std::size_t bounds = 0;
  std::size_t too_high = 0;
  std::vector<std::size_t> exact;  ///< a query

  Walked(const WalkCodec& codec, Trained* trained, const Vectors& vectors, const Vectors& queries) {
    const Metric metric = codec.base.metric;
    const std::size_t bytes = WalkCodeBytes(codec.code, vectors.dimensions);
    std::vector<std::uint8_t> codes(vectors.size() * bytes);
    for (std::size_t i = 0; i < vectors.size(); ++i)
      MakeWalkCode(codec, trained->Code(i), codes.data() + i * bytes);
    for (std::size_t q = 0; q < queries.size(); ++q) {
      const PreparedQuery query(codec, queries[q]);
      const QueryDistance distance(metric, queries[q], vectors.dimensions);
      std::vector<std::pair<double, double>> by_bound;  // and the distance
      for (std::size_t i = 0; i < vectors.size(); ++i) {
        by_bound.emplace_back(query->LowerBound(query->Key(codes.data() + i * bytes)),
                              distance.Key(vectors[i]));
      }
      std::sort(by_bound.begin(), by_bound.end());
      Look(by_bound);
    }
    std::sort(exact.begin(), exact.end());
  }

 private:
  void Look(const std::vector<std::pair<double, double>>& by_bound) {
    std::vector<double> nearest;
    std::size_t looked_at = 0;
    for (const auto& [bound, distance] : by_bound) {
      if (looked_at >= 200 && nearest[9] <= bound) break;
      bounds++;
      too_high += bound > distance ? 1U : 0U;
      if (nearest.size() < 10 || bound < nearest[9]) exact_now_ = looked_at + 1;
      nearest.insert(std::upper_bound(nearest.begin(), nearest.end(), distance), distance);
      if (nearest.size() > 10) nearest.pop_back();
      looked_at++;
    }
    exact.push_back(exact_now_);
  }

  std::size_t exact_now_ = 0;
};

TEST(RealData, OfImagesIsBoundedAndTakesFewExactDistances) {
  const auto train = DataFile("fashion-train-images-idx3-ubyte.gz");
  const auto test = DataFile("fashion-test-images-idx3-ubyte.gz");
  if (!train || !test) GTEST_SKIP() << "TANDEM_DATA does not hold Fashion-MNIST";
  const Vectors vectors = Images(*train, 4'000);
  const Vectors queries = Images(*test, 40);
  for (const WalkWish wish : {WalkWish::kSq8, WalkWish::kSq4}) {
    for (const Metric metric : {Metric::kL2, Metric::kCosine}) {
      Chosen chosen(metric, vectors, wish);
      const Walked walked(chosen.Codec(), &chosen.trained, vectors, queries);
      EXPECT_LE(walked.too_high * 1'000, walked.bounds);
      EXPECT_LE(walked.exact[walked.exact.size() / 2], wish == WalkWish::kSq8 ? 25U : 80U);
      EXPECT_LE(walked.exact[walked.exact.size() / 2], 3 * chosen.decision.trial.depth);
    }
  }
  // 4 bits would do for the walk, but not for the exact distances.
  EXPECT_EQ(Chosen(Metric::kL2, vectors).decision.reason, WalkReason::kSampleFar);
}

TEST(RealData, OfTextIsBoundedAndTakesFewExactDistances) {
  const auto base = DataFile("acl-base.f16bin");
  const auto near = DataFile("acl-query.f16bin");
  const auto far = DataFile("acl-titlequery.f16bin");
  if (!base || !near || !far) GTEST_SKIP() << "TANDEM_DATA does not hold ACL";
  const Vectors vectors = Embeddings(*base, 20);
  Chosen sq8(Metric::kCosine, vectors, WalkWish::kSq8);
  Chosen sq4(Metric::kCosine, vectors, WalkWish::kSq4);
  // Titles are shorter than what was trained on.
  for (const std::string& file : {*near, *far}) {
    const Vectors queries = Embeddings(file, 25);
    const Walked of_sq8(sq8.Codec(), &sq8.trained, vectors, queries);
    EXPECT_LE(of_sq8.too_high * 1'000, of_sq8.bounds);
    EXPECT_LE(of_sq8.exact[of_sq8.exact.size() / 2], 25U);
    const Walked of_sq4(sq4.Codec(), &sq4.trained, vectors, queries);
    EXPECT_LE(of_sq4.too_high * 1'000, of_sq4.bounds);
  }
}

}  // namespace
}  // namespace tandem::vec
