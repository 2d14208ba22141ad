#include "vec/walk_query.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include "unit/vec/quantised.hpp"
#include "unit/vec/reference.hpp"
#include "vec/row_distance.hpp"
#include "vec/walk_training.hpp"

namespace tandem::vec {
namespace {

using test::Bits;
using test::Gaussian;
using test::PreparedQuery;
using test::Trained;
using test::Uniform;
using test::Vectors;

constexpr float kHuge = 3.4e38F;
constexpr float kTiniest = std::numeric_limits<float>::denorm_min();
constexpr float kUnknown = std::numeric_limits<float>::infinity();
constexpr Metric kMetrics[] = {Metric::kL2, Metric::kInnerProduct, Metric::kCosine, Metric::kL1};

// ---- 8 bits ----

/// Share of the `count` nearest by exact distance that are among the 2 * `count` nearest by code.
double RecallOfSq8(Metric metric, const Vectors& vectors, const Vectors& queries, std::size_t count) {
  Trained trained(metric, vectors);
  std::size_t found = 0;
  for (std::size_t q = 0; q < queries.size(); ++q) {
    const QueryDistance exact(metric, queries[q], vectors.dimensions);
    const PreparedQuery query({WalkCode::kSq8, trained.quantizer}, queries[q]);
    std::vector<std::pair<double, std::size_t>> by_distance;
    std::vector<std::pair<float, std::size_t>> by_key;
    for (std::size_t i = 0; i < vectors.size(); ++i) {
      by_distance.emplace_back(exact.Key(vectors[i]), i);
      by_key.emplace_back(query->Key(trained.Code(i)), i);
    }
    std::sort(by_distance.begin(), by_distance.end());
    std::sort(by_key.begin(), by_key.end());
    for (std::size_t i = 0; i < count; ++i) {
      found += std::any_of(by_key.begin(), by_key.begin() + static_cast<std::ptrdiff_t>(2 * count),
                           [&](const auto& pair) { return pair.second == by_distance[i].second; });
    }
  }
  return static_cast<double>(found) / static_cast<double>(count * queries.size());
}

TEST(WalkQuerySq8, KeepsL2DistancesWithinTheRoundingOfBothSides) {
  constexpr std::uint32_t kDimensions = 96;
  const Vectors vectors = Uniform(300, kDimensions, 11);
  const Vectors queries = Uniform(20, kDimensions, 12, -2.0F, 2.0F);  // half of each beyond the range
  Trained trained(Metric::kL2, vectors);
  const auto step = static_cast<double>(trained.quantizer.step);
  for (std::size_t q = 0; q < queries.size(); ++q) {
    const PreparedQuery keys({WalkCode::kSq8, trained.quantizer}, queries[q]);
    for (std::size_t i = 0; i < vectors.size(); ++i) {
      double exact = 0.0;
      for (std::uint32_t d = 0; d < kDimensions; ++d) {
        const double difference = static_cast<double>(queries[q][d]) - trained.Decode(trained.Code(i), d);
        exact += difference * difference;
      }
      const double by_key = std::sqrt(static_cast<double>(keys->Key(trained.Code(i)))) * step;
      EXPECT_NEAR(by_key, std::sqrt(exact), 0.5 * step * std::sqrt(kDimensions) * 1.001);
    }
  }
}

TEST(WalkQuerySq8, KeepsL1DistancesWithinTheRounding) {
  constexpr std::uint32_t kDimensions = 96;
  const Vectors vectors = Uniform(300, kDimensions, 13);
  const Vectors queries = Uniform(20, kDimensions, 14, -20.0F, 20.0F);
  Trained trained(Metric::kL1, vectors);
  const auto step = static_cast<double>(trained.quantizer.step);
  for (std::size_t q = 0; q < queries.size(); ++q) {
    const PreparedQuery keys({WalkCode::kSq8, trained.quantizer}, queries[q]);
    for (std::size_t i = 0; i < vectors.size(); ++i) {
      double exact = 0.0;
      for (std::uint32_t d = 0; d < kDimensions; ++d) {
        exact += std::fabs(static_cast<double>(queries[q][d]) - trained.Decode(trained.Code(i), d));
      }
      const double by_key = static_cast<double>(keys->Key(trained.Code(i))) * step;
      EXPECT_NEAR(by_key, exact, 0.5 * step * kDimensions * 1.001 + 1e-6 * exact);
    }
  }
}

TEST(WalkQuerySq8, IsExactOnIntegers) {
  Vectors pixels{784, test::RandomBytes(std::size_t{100} * 784, 15)};
  pixels[0][0] = 0.0F;
  pixels[1][0] = 255.0F;
  Trained l2(Metric::kL2, pixels);
  Trained l1(Metric::kL1, pixels);
  for (std::size_t q = 0; q < 10; ++q) {
    const PreparedQuery l2_keys({WalkCode::kSq8, l2.quantizer}, pixels[q]);
    const PreparedQuery l1_keys({WalkCode::kSq8, l1.quantizer}, pixels[q]);
    for (std::size_t i = 0; i < pixels.size(); ++i) {
      EXPECT_EQ(l2_keys->Key(l2.Code(i)), Kernels().l2_squared(pixels[q], pixels[i], 784));
      EXPECT_EQ(l1_keys->Key(l1.Code(i)), Kernels().l1(pixels[q], pixels[i], 784));
    }
  }
}

TEST(WalkQuerySq8, FindsTheNearestUnderEveryMetric) {
  const Vectors vectors = Gaussian(2'000, 32, 16);
  const Vectors queries = Gaussian(50, 32, 17);
  for (const Metric metric : kMetrics) EXPECT_GE(RecallOfSq8(metric, vectors, queries, 10), 0.999);
}

TEST(WalkQuerySq8, FindsTheNearestWithOffsetsAndScalesThatDiffer) {
  Vectors vectors = Gaussian(2'000, 32, 18);
  Vectors queries = Gaussian(50, 32, 19);
  for (Vectors* set : {&vectors, &queries}) {
    for (std::size_t i = 0; i < set->size(); ++i) {
      for (std::uint32_t d = 0; d < 32; ++d) {
        (*set)[i][d] = (*set)[i][d] * (1.0F + static_cast<float>(d % 5)) + static_cast<float>(d) - 16.0F;
      }
      (*set)[i][8] *= 10.0F;  // an outlier dimension, which the distances depend on too
    }
  }
  for (const Metric metric : kMetrics) EXPECT_GE(RecallOfSq8(metric, vectors, queries, 10), 0.95);
}

TEST(WalkQuerySq8, FindsTheNearestFromFarOutside) {
  const Vectors vectors = Gaussian(2'000, 32, 20);
  Vectors queries = Gaussian(50, 32, 21);
  for (float& value : queries.values) value = 4.0F * value;
  for (const Metric metric : {Metric::kL2, Metric::kL1}) {
    EXPECT_GE(RecallOfSq8(metric, vectors, queries, 10), 0.99);
  }
}

TEST(WalkQuerySq8, DoesNotOverflowAtTheLargestDimension) {
  constexpr std::uint32_t kDimensions = 16'000;
  const Vectors vectors = Uniform(4, kDimensions, 22);
  for (const Metric metric : kMetrics) {
    Trained trained(metric, vectors);
    for (const float value : {-1e6F, 1e6F, kHuge, -kHuge}) {
      const std::vector<float> query(kDimensions, value);
      const PreparedQuery keys({WalkCode::kSq8, trained.quantizer}, query.data());
      std::vector<std::uint8_t> none(kDimensions, 0);
      std::vector<std::uint8_t> all(kDimensions, 255);
      if (metric == Metric::kCosine && std::fabs(value) == kHuge) {
        EXPECT_EQ(keys->Key(none.data()), keys->Key(all.data()));
      } else if (value > 0.0F) {
        EXPECT_GT(keys->Key(none.data()), keys->Key(all.data())) << "the sum wrapped around";
      } else {
        EXPECT_LT(keys->Key(none.data()), keys->Key(all.data())) << "the sum wrapped around";
      }
    }
  }
}

TEST(WalkQuerySq8, GivesEqualKeysWithoutADirectionUnderCosine) {
  const Vectors vectors = Gaussian(50, 16, 23);
  Trained trained(Metric::kCosine, vectors);
  for (const float value : {0.0F, kHuge}) {
    const std::vector<float> query(16, value);
    const PreparedQuery keys({WalkCode::kSq8, trained.quantizer}, query.data());
    for (std::size_t i = 0; i < vectors.size(); ++i)
      EXPECT_EQ(keys->Key(trained.Code(i)), keys->Key(trained.Code(0)));
  }
}

// ---- All codes ----

/// A set of vectors with its walk codes.
struct Walkable {
  Trained trained;
  std::vector<float> centre;
  std::vector<float> step;
  WalkCodec codec;
  std::vector<std::uint8_t> codes;

  Walkable(Metric metric, WalkCode code, const Vectors& vectors)
      : trained(metric, vectors), centre(vectors.dimensions), step(vectors.dimensions) {
    TrainNibbles(trained.trainer, trained.quantizer, centre.data(), step.data());
    codec = {code, trained.quantizer, centre.data(), step.data(), 0.0F};
    const WalkTrial trial = TryWalkCode(trained.trainer, codec);
    codec.error = trial.error;
    codec.shared_error = trial.shared_error;
    codes.resize(vectors.size() * Bytes());
    for (std::size_t i = 0; i < vectors.size(); ++i) {
      if (IsMadeOfVectors(code)) {
        MakeWalkCode(codec, vectors[i], codes.data() + i * Bytes());
      } else {
        MakeWalkCode(codec, trained.Code(i), codes.data() + i * Bytes());
      }
    }
  }

  [[nodiscard]] std::size_t Bytes() const { return WalkCodeBytes(codec.code, codec.base.dimensions); }
  [[nodiscard]] const std::uint8_t* Code(std::size_t i) const { return codes.data() + i * Bytes(); }
  [[nodiscard]] std::size_t size() const { return codes.size() / Bytes(); }
};

/// Every pair of metric and code that there is.
std::vector<std::pair<Metric, WalkCode>> Kinds() {
  std::vector<std::pair<Metric, WalkCode>> kinds;
  for (const Metric metric : kMetrics) {
    kinds.emplace_back(metric, WalkCode::kSq8);
    if (metric != Metric::kL1) kinds.emplace_back(metric, WalkCode::kSq4);
    kinds.emplace_back(metric, WalkCode::kFp16);
    kinds.emplace_back(metric, WalkCode::kFloat32);
  }
  return kinds;
}

TEST(WalkCode, IsAMultipleOfFourBytesLong) {
  for (std::size_t n = 1; n <= 16'000; ++n) {
    const std::size_t sq8 = WalkCodeBytes(WalkCode::kSq8, n);
    const std::size_t sq4 = WalkCodeBytes(WalkCode::kSq4, n);
    ASSERT_EQ(sq8 % 4, 0U);
    ASSERT_TRUE(sq8 >= n && sq8 < n + 4);
    ASSERT_EQ(sq4 % 4, 0U);
    ASSERT_TRUE(2 * (sq4 - 4) >= n && 2 * (sq4 - 4) < n + 8);
    ASSERT_EQ(WalkCodeBytes(WalkCode::kFp16, n), (n + n % 2) * 2);
    ASSERT_EQ(WalkCodeBytes(WalkCode::kFloat32, n), n * 4);
    ASSERT_GE(WalkQuery::ScratchBytes(n), n * sizeof(float));
    ASSERT_EQ(WalkQuery::ScratchBytes(n) % 64, 0U);
  }
}

TEST(WalkCode, OfEightBitsIsTheCodePaddedWithZeros) {
  const std::vector<std::uint8_t> code = {1, 2, 3, 4, 5};
  const std::vector<float> offset(5);
  std::vector<std::uint8_t> walk_code(8, 0xA5);
  MakeWalkCode({WalkCode::kSq8, {Metric::kL1, 5, 1.0F, offset.data()}}, code.data(), walk_code.data());
  EXPECT_EQ(walk_code, (std::vector<std::uint8_t>{1, 2, 3, 4, 5, 0, 0, 0}));
}

TEST(WalkQuery, GivesTheSameKeysOneByOneAndTogether) {
  for (const std::uint32_t dimensions : {1U, 2U, 3U, 5U, 8U, 31U, 64U, 65U, 100U, 127U, 257U, 768U, 1'543U}) {
    const Vectors vectors = Gaussian(19, dimensions, dimensions);
    for (const auto& [metric, code] : Kinds()) {
      const Walkable walkable(metric, code, vectors);
      std::vector<const std::uint8_t*> codes;
      for (std::size_t i = 0; i < walkable.size(); ++i)
        codes.push_back(walkable.Code(walkable.size() - 1 - i));
      for (std::size_t q = 0; q < 5; ++q) {
        const PreparedQuery query(walkable.codec, vectors[q]);
        std::vector<float> keys(codes.size() + 1, -7.0F);
        query->Keys(codes.data(), codes.size(), keys.data());
        for (std::size_t i = 0; i < codes.size(); ++i) ASSERT_EQ(Bits(keys[i]), Bits(query->Key(codes[i])));
        ASSERT_EQ(keys.back(), -7.0F);
        query->Keys(nullptr, 0, nullptr);
      }
    }
  }
}

TEST(WalkQuery, BoundsDistancesFromBelow) {
  for (const std::uint32_t dimensions : {1U, 2U, 7U, 100U, 387U}) {
    const Vectors vectors = Gaussian(400, dimensions, 31 + dimensions);
    const Vectors others = Gaussian(20, dimensions, 77 + dimensions);
    for (const auto& [metric, code] : Kinds()) {
      const Walkable walkable(metric, code, vectors);
      const bool two_vectors = metric == Metric::kCosine && dimensions == 1;
      ASSERT_EQ(std::isfinite(walkable.codec.error), IsMadeOfVectors(code) || !two_vectors);
      // Codes made of vectors know every row's error. Others': only what is among the nearest must keep the bound, but in these sets
      // everything nearly does.
      const std::size_t allowed = IsMadeOfVectors(code) ? 0 : 2 * others.size() * walkable.size() / 500;
      std::size_t violations = 0;
      for (std::size_t q = 0; q < 2 * others.size(); ++q) {
        const float* vector = q < others.size() ? others[q] : vectors[q];
        const PreparedQuery query(walkable.codec, vector);
        const QueryDistance exact(metric, vector, dimensions);
        for (std::size_t i = 0; i < walkable.size(); ++i) {
          violations += query->LowerBound(query->Key(walkable.Code(i))) > exact.Key(vectors[i]) ? 1U : 0U;
        }
      }
      EXPECT_LE(violations, allowed) << dimensions << " dimensions, metric " << static_cast<int>(metric)
                                     << ", code " << static_cast<int>(code);
    }
  }
}

/// The bound is of use only if it is near: within a tenth of the distance in many dimensions.
TEST(WalkQuery, BoundsDistancesTightly) {
  constexpr std::uint32_t kDimensions = 512;
  const Vectors vectors = Gaussian(400, kDimensions, 51);
  const Vectors queries = Gaussian(20, kDimensions, 52);
  for (const WalkCode code : {WalkCode::kSq8, WalkCode::kSq4, WalkCode::kFp16, WalkCode::kFloat32}) {
    const double share = IsMadeOfVectors(code) ? 0.998 : code == WalkCode::kSq8 ? 0.96 : 0.8;
    for (const Metric metric : {Metric::kL2, Metric::kCosine}) {
      const Walkable walkable(metric, code, vectors);
      for (std::size_t q = 0; q < queries.size(); ++q) {
        const PreparedQuery query(walkable.codec, queries[q]);
        const QueryDistance exact(metric, queries[q], kDimensions);
        for (std::size_t i = 0; i < walkable.size(); ++i) {
          EXPECT_GE(query->LowerBound(query->Key(walkable.Code(i))), share * exact.Key(vectors[i]));
        }
      }
    }
  }
}

TEST(WalkQuery, BoundsAscendWithKeys) {
  const Vectors vectors = Gaussian(200, 40, 61);
  for (const auto& [metric, code] : Kinds()) {
    const Walkable walkable(metric, code, vectors);
    const PreparedQuery query(walkable.codec, vectors[3]);
    std::vector<float> keys = {-1e30F, -1.0F, -kTiniest, 0.0F, kTiniest, 1.0F, 1e30F};
    for (std::size_t i = 0; i < walkable.size(); ++i) keys.push_back(query->Key(walkable.Code(i)));
    std::sort(keys.begin(), keys.end());
    for (std::size_t i = 1; i < keys.size(); ++i) {
      EXPECT_LE(query->LowerBound(keys[i - 1]), query->LowerBound(keys[i]));
    }
  }
}

TEST(WalkQuery, KnowsTheKeyOfABound) {
  const Vectors vectors = Gaussian(300, 40, 81);
  for (const auto& [metric, code] : Kinds()) {
    const Walkable walkable(metric, code, vectors);
    const PreparedQuery query(walkable.codec, vectors[7]);
    for (std::size_t i = 0; i < walkable.size(); ++i) {
      const float key = query->Key(walkable.Code(i));
      const double bound = query->LowerBound(key);
      EXPECT_GE(query->Estimate(key), bound) << static_cast<int>(metric);
      if (bound == 0.0) continue;  // many keys have it
      EXPECT_NEAR(query->KeyOfBound(bound), key, 1e-4 * (std::fabs(static_cast<double>(key)) + 1.0))
          << static_cast<int>(metric);
    }
  }
}

TEST(WalkQuery, BoundsNothingIfTheErrorIsNotKnown) {
  const Vectors vectors = Gaussian(200, 16, 62);
  for (const auto& [metric, code] : Kinds()) {
    Walkable walkable(metric, code, vectors);
    walkable.codec.error = kUnknown;
    const PreparedQuery query(walkable.codec, vectors[0]);
    EXPECT_EQ(query->LowerBound(query->Key(walkable.Code(1))), -std::numeric_limits<double>::infinity());
  }
}

TEST(WalkQuery, BoundsNothingWithoutADirectionUnderCosine) {
  const Vectors vectors = Gaussian(100, 16, 63);
  for (const WalkCode code : {WalkCode::kSq8, WalkCode::kSq4, WalkCode::kFp16, WalkCode::kFloat32}) {
    const Walkable walkable(Metric::kCosine, code, vectors);
    for (const float value : {0.0F, kHuge}) {
      const std::vector<float> nowhere(16, value);
      const PreparedQuery query(walkable.codec, nowhere.data());
      for (std::size_t i = 0; i < walkable.size(); ++i) {
        EXPECT_EQ(query->Key(walkable.Code(i)), query->Key(walkable.Code(0)));
        EXPECT_EQ(query->LowerBound(query->Key(walkable.Code(i))), -std::numeric_limits<double>::infinity());
      }
    }
  }
}

TEST(WalkQuery, SurvivesEveryExtreme) {
  const std::vector<std::vector<float>> values = {{0, 0, 0, 0, 0},
                                                  {1, 1, 1, 1, 1},
                                                  {1e30F, -1e30F, 1e30F, 0, 1},
                                                  {kHuge, -kHuge, 0, 0, 1},
                                                  {kTiniest, 0, 0, 0, 0},
                                                  {1e-30F, -1e-30F, 0, 0, 0},
                                                  {1, 2, 3, 4, 5},
                                                  {kHuge, kHuge, kHuge, kHuge, kHuge}};
  for (const std::size_t count : {0U, 1U, 2U, 60U}) {
    for (const auto& kind : Kinds()) {
      for (const auto& value : values) {
        Vectors vectors{5, {}};
        for (std::size_t i = 0; i < count; ++i) {
          vectors.values.insert(vectors.values.end(), value.begin(), value.end());
          if (count == 60U) vectors.values.back() *= static_cast<float>(i) / 60.0F;
        }
        const Walkable walkable(kind.first, kind.second, vectors);
        EXPECT_FALSE(std::isnan(walkable.codec.error));
        for (const auto& from : values) {
          const PreparedQuery query(walkable.codec, from.data());
          for (std::size_t i = 0; i < walkable.size(); ++i) {
            const float key = query->Key(walkable.Code(i));
            EXPECT_FALSE(std::isnan(key));
            EXPECT_FALSE(std::isnan(query->LowerBound(key)));
          }
        }
      }
    }
  }
}

TEST(WalkQuery, WorksAtTheLargestDimension) {
  constexpr std::uint32_t kDimensions = 16'000;
  const Vectors vectors = Gaussian(8, kDimensions, 64);
  for (const auto& [metric, code] : Kinds()) {
    const Walkable walkable(metric, code, vectors);
    for (std::size_t q = 0; q < 3; ++q) {
      const PreparedQuery query(walkable.codec, vectors[q]);
      for (std::size_t i = 0; i < walkable.size(); ++i) {
        if (i == q) continue;
        EXPECT_LT(query->Key(walkable.Code(q)), query->Key(walkable.Code(i)));
      }
    }
  }
}

// ---- Codes made of vectors ----

constexpr WalkCode kRealCodes[] = {WalkCode::kFp16, WalkCode::kFloat32};

/// What key means as a distance that adds up: L2 and cosine as lengths.
double Additive(Metric metric, double key) {
  switch (metric) {
    case Metric::kL2:
      return std::sqrt(std::max(0.0, key));
    case Metric::kCosine:
      return std::sqrt(std::max(0.0, 2.0 * key));
    case Metric::kInnerProduct:
    case Metric::kL1:
      break;
  }
  return key;
}

/// Sets in which bounds are hardest to keep: the query is a vector of the set or near one, vectors are far out, equal, or
/// made of integers.
std::vector<Vectors> HardSets(std::uint32_t dimensions) {
  std::vector<Vectors> sets = {Gaussian(60, dimensions, 91), Uniform(60, dimensions, 92, 1e6F, 1e6F + 1.0F),
                               Uniform(60, dimensions, 93, -1e-15F, 1e-15F)};
  sets.push_back({dimensions, test::RandomBytes(std::size_t{60} * dimensions, 94)});
  sets.push_back({dimensions, std::vector<float>(std::size_t{60} * dimensions, 0.3F)});
  Vectors wide = Gaussian(60, dimensions, 95);
  for (std::size_t i = 0; i < wide.size(); ++i) wide[i][0] *= 1e4F;
  sets.push_back(std::move(wide));
  return sets;
}

std::vector<Vectors> QueriesNear(const Vectors& vectors) {
  std::vector<Vectors> sets = {vectors, vectors, vectors};
  for (std::size_t i = 0; i < vectors.values.size(); ++i) {
    sets[1].values[i] *= 1.0F + 1e-5F * static_cast<float>(i % 7);
    sets[2].values[i] = -1e5F * vectors.values[i];
  }
  return sets;
}

TEST(WalkQueryReals, NeverBoundsADistanceFromAbove) {
  for (const std::uint32_t dimensions : {1U, 3U, 64U, 65U, 300U}) {
    for (const Vectors& vectors : HardSets(dimensions)) {
      for (const Metric metric : kMetrics) {
        for (const WalkCode code : kRealCodes) {
          const Walkable walkable(metric, code, vectors);
          std::vector<std::uint8_t> shared(walkable.Bytes());
          for (const Vectors& queries : QueriesNear(vectors)) {
            for (std::size_t q = 0; q < queries.size(); q += 7) {
              const PreparedQuery query(walkable.codec, queries[q]);
              const QueryDistance exact(metric, queries[q], dimensions);
              for (std::size_t i = 0; i < vectors.size(); ++i) {
                const double distance = exact.Key(vectors[i]);
                ASSERT_LE(query->LowerBound(query->Key(walkable.Code(i))), distance)
                    << dimensions << " dimensions, metric " << static_cast<int>(metric) << ", code "
                    << static_cast<int>(code);
                MakeWalkCode(walkable.codec, const_cast<Trained&>(walkable.trained).Code(i), shared.data());
                ASSERT_LE(query->SharedLowerBound(query->Key(shared.data())), distance);
              }
            }
          }
        }
      }
    }
  }
}

/// Within what the residual of the code allows, either way.
TEST(WalkQueryReals, KeepsDistancesWithinTheRoundingOfCodes) {
  constexpr std::uint32_t kDimensions = 100;
  const Vectors vectors = Gaussian(100, kDimensions, 96);
  const Vectors queries = Gaussian(20, kDimensions, 97);
  for (const Metric metric : kMetrics) {
    for (const WalkCode code : kRealCodes) {
      const Walkable walkable(metric, code, vectors);
      EXPECT_LT(walkable.codec.error,
                walkable.codec.shared_error / (code == WalkCode::kFp16 ? 4.0F : 500.0F));
      for (std::size_t q = 0; q < queries.size(); ++q) {
        WalkCodec exact_codec = walkable.codec;
        exact_codec.error = 0.0F;
        const PreparedQuery query(exact_codec, queries[q]);
        const QueryDistance exact(metric, queries[q], kDimensions);
        double norm = 1.0;
        if (metric == Metric::kInnerProduct) {
          norm = std::sqrt(test::InnerProductReference(queries[q], queries[q], kDimensions).value);
        }
        for (std::size_t i = 0; i < vectors.size(); ++i) {
          const double distance = Additive(metric, exact.Key(vectors[i]));
          EXPECT_NEAR(Additive(metric, query->LowerBound(query->Key(walkable.Code(i)))), distance,
                      norm * static_cast<double>(walkable.codec.error) + 2e-5 * std::fabs(distance) + 1e-5);
        }
      }
    }
  }
}

TEST(WalkQueryReals, OrdersAsTheOperatorDoes) {
  constexpr std::uint32_t kDimensions = 24;
  const Vectors vectors = Gaussian(300, kDimensions, 98);
  for (const Metric metric : kMetrics) {
    const Walkable walkable(metric, WalkCode::kFloat32, vectors);
    for (std::size_t q = 0; q < 20; ++q) {
      const PreparedQuery query(walkable.codec, vectors[q]);
      const QueryDistance exact(metric, vectors[q], kDimensions);
      std::vector<std::pair<float, double>> both;
      for (std::size_t i = 0; i < vectors.size(); ++i) {
        both.emplace_back(query->Key(walkable.Code(i)), exact.Key(vectors[i]));
      }
      std::sort(both.begin(), both.end());
      for (std::size_t i = 1; i < both.size(); ++i) {
        EXPECT_LE(both[i - 1].second, both[i].second + 1e-5 * std::max(1.0, std::fabs(both[i].second)));
      }
    }
  }
}

/// Integers, and what 8-bit codes stand for, are kept.
TEST(WalkQueryReals, HaveTheVectorsOfIntegers) {
  const Vectors pixels{37, test::RandomBytes(std::size_t{50} * 37, 99)};
  for (const WalkCode code : kRealCodes) {
    Walkable walkable(Metric::kL2, code, pixels);
    std::vector<std::uint8_t> of_code8(walkable.Bytes(), 0xA5);
    for (std::size_t i = 0; i < pixels.size(); ++i) {
      EXPECT_EQ(WalkResidual(walkable.codec, pixels[i], walkable.trained.Code(i)), 0.0);
      MakeWalkCode(walkable.codec, walkable.trained.Code(i), of_code8.data());
      EXPECT_EQ(0, std::memcmp(of_code8.data(), walkable.Code(i), of_code8.size()));
    }
  }
}

// ---- 4 bits ----

/// The definition: |r - u|² - |u - x|², r the query and x the 8-bit code from the centre, u what is left of x.
TEST(WalkQuerySq4, KeepsSquaredDistancesButForTheRoundingOfWeights) {
  for (const std::uint32_t dimensions : {3U, 8U, 60U, 129U, 700U}) {
    const Vectors vectors = Gaussian(100, dimensions, 71);
    Walkable walkable(Metric::kL2, WalkCode::kSq4, vectors);
    const auto unit = static_cast<double>(walkable.codec.base.step);
    for (std::size_t q = 0; q < 10; ++q) {
      const PreparedQuery query(walkable.codec, vectors[q]);
      for (std::size_t i = 0; i < vectors.size(); ++i) {
        const std::uint8_t* code = walkable.Code(i);
        double expected = 0.0;
        double largest_weight = 0.0;
        for (std::uint32_t d = 0; d < dimensions; ++d) {
          const auto centre = static_cast<double>(walkable.centre[d]);
          const auto step = static_cast<double>(walkable.step[d]);
          const std::size_t bytes = NibbleBytes(dimensions);
          const int nibble = d < bytes ? code[d] & 15 : code[d - bytes] >> 4;
          const double r =
              (static_cast<double>(vectors[q][d]) - static_cast<double>(walkable.trained.offset[d])) / unit -
              centre;
          const double u = step * (nibble - 7.5);
          const double x = walkable.trained.Code(i)[d] - centre;
          expected += (r - u) * (r - u) - (u - x) * (u - x);
          largest_weight = std::max(largest_weight, std::fabs(r * step));
        }
        // Rounding a weight by half of a 127th, times the difference of levels.
        const double allowed = 2.0 * largest_weight / 254.0 * 15.0 * std::sqrt(dimensions) * 2.0;
        EXPECT_NEAR(static_cast<double>(query->Key(code)), expected, allowed + 1e-6 * std::fabs(expected));
      }
    }
  }
}

TEST(WalkQuerySq4, FindsTheNearestAmongTwiceAsManyInManyDimensions) {
  const Vectors vectors = Gaussian(1'000, 512, 72);
  const Vectors queries = Gaussian(20, 512, 73);
  for (const Metric metric : {Metric::kL2, Metric::kCosine, Metric::kInnerProduct}) {
    const Walkable walkable(metric, WalkCode::kSq4, vectors);
    std::size_t found = 0;
    for (std::size_t q = 0; q < queries.size(); ++q) {
      const PreparedQuery query(walkable.codec, queries[q]);
      const QueryDistance exact(metric, queries[q], 512);
      std::vector<std::pair<double, std::size_t>> by_distance;
      std::vector<std::pair<float, std::size_t>> by_key;
      for (std::size_t i = 0; i < vectors.size(); ++i) {
        by_distance.emplace_back(exact.Key(vectors[i]), i);
        by_key.emplace_back(query->Key(walkable.Code(i)), i);
      }
      std::sort(by_distance.begin(), by_distance.end());
      std::sort(by_key.begin(), by_key.end());
      for (std::size_t i = 0; i < 10; ++i) {
        found += std::any_of(by_key.begin(), by_key.begin() + 20,
                             [&](const auto& pair) { return pair.second == by_distance[i].second; });
      }
    }
    EXPECT_GE(found, 195U) << "metric " << static_cast<int>(metric);
  }
}

// ---- Bits ----

/// Rows of bits in both forms: as numbers, and as type bit has them.
struct BitRows {
  BitRows(std::size_t count, std::size_t bits)
      : numbers{static_cast<std::uint32_t>(bits), {}}, bytes((bits + 7) / 8) {
    numbers.values.resize(count * bits);
    stored.resize(count * bytes);
  }
  void Set(std::size_t row, std::size_t bit) {
    numbers[row][bit] = 1.0F;
    stored[row * bytes + bit / 8] |= static_cast<unsigned char>(0x80U >> bit % 8);
  }
  [[nodiscard]] const unsigned char* Stored(std::size_t row) const { return stored.data() + row * bytes; }
  [[nodiscard]] WalkCodec Codec(Metric metric) const {
    return {WalkCode::kBit, {metric, numbers.dimensions, 1.0F, nullptr}};
  }
  [[nodiscard]] std::vector<std::uint8_t> Code(std::size_t row) {
    std::vector<std::uint8_t> code(WalkCodeBytes(WalkCode::kBit, numbers.dimensions), 0xAA);
    MakeWalkCode(Codec(Metric::kL2), numbers[row], code.data());
    return code;
  }
  /// As scans order rows.
  [[nodiscard]] double Exact(Metric metric, std::size_t query, std::size_t row) {
    std::vector<unsigned char> room(RowDistance::RoomBytes(Element::kBit, numbers.dimensions));
    std::copy_n(Stored(query), bytes, room.data());
    return RowDistance(metric, Element::kBit, numbers[query], numbers.dimensions, room.data())
        .Key(Stored(row));
  }

  Vectors numbers;
  std::size_t bytes;
  std::vector<unsigned char> stored;
};

/// The first row has a bit in two, others from few to all.
BitRows RandomBitRows(std::size_t count, std::size_t bits, std::uint32_t seed) {
  BitRows rows(count, bits);
  std::mt19937 random(seed);
  for (std::size_t row = 0; row < count; ++row) {
    const std::size_t share = row == 0 ? 50 : 1 + random() % 100;
    for (std::size_t bit = 0; bit < bits; ++bit)
      if (random() % 100 < share) rows.Set(row, bit);
  }
  rows.Set(0, 0);
  return rows;
}

constexpr Metric kMetricsOfBits[] = {Metric::kL2, Metric::kCosine};

TEST(WalkQueryBit, CodesAreWhatRowsAre) {
  for (const std::size_t bits : {1U, 7U, 8U, 31U, 32U, 33U, 60U, 256U, 1003U, 16'000U}) {
    BitRows rows = RandomBitRows(3, bits, 41);
    const std::vector<std::uint8_t> code = rows.Code(1);
    ASSERT_EQ(code.size() % 4, 0U);
    EXPECT_LT(code.size(), rows.bytes + 4);
    EXPECT_EQ(std::memcmp(code.data(), rows.Stored(1), rows.bytes), 0) << bits;
    EXPECT_TRUE(std::all_of(code.begin() + static_cast<std::ptrdiff_t>(rows.bytes), code.end(),
                            [](std::uint8_t byte) { return byte == 0; }));
    std::vector<std::uint8_t> kept(RecordCodeBytes(WalkCode::kBit, bits), 0xAA);
    MakeRecordCode(rows.Codec(Metric::kL2), rows.numbers[1], kept.data());
    EXPECT_EQ(kept, code);
  }
}

// Each of these makes it fail: keys from half of the code, a Jaccard distance by the query's bits alone, fractions that are rounded.
TEST(WalkQueryBit, KeysAreTheDistancesOfRows) {
  for (const Metric metric : kMetricsOfBits) {
    for (const std::size_t bits :
         {1U, 2U, 3U, 7U, 8U, 9U, 31U, 32U, 33U, 60U, 64U, 65U, 256U, 513U, 784U, 1003U, 16'000U}) {
      BitRows rows = RandomBitRows(bits > 1003 ? 40 : 200, bits, static_cast<std::uint32_t>(bits));
      const PreparedQuery query(rows.Codec(metric), rows.numbers[0]);
      EXPECT_TRUE(query->IsExact());
      std::vector<std::pair<double, float>> keys;
      for (std::size_t row = 0; row < rows.numbers.size(); ++row) {
        const double exact = rows.Exact(metric, 0, row);
        const float key = query->Key(rows.Code(row).data());
        ASSERT_EQ(query->ExactKey(key), exact) << bits << " bits, row " << row;
        EXPECT_LE(query->LowerBound(key), exact);
        EXPECT_GE(query->LowerBound(key), exact * (1.0 - 1e-12));
        EXPECT_GE(query->KeyOfBound(query->Estimate(key)), key);
        keys.emplace_back(exact, key);
      }
      std::sort(keys.begin(), keys.end());
      for (std::size_t i = 1; i < keys.size(); ++i)
        EXPECT_EQ(keys[i - 1].first < keys[i].first, keys[i - 1].second < keys[i].second) << bits;
    }
  }
}

/// Two rows that have `both` bits in common, and of all others `different`.
double JaccardByKey(std::size_t bits, std::size_t both, std::size_t different, double* exact) {
  BitRows rows(2, bits);
  for (std::size_t bit = 0; bit < both + different; ++bit) {
    if (bit < both || bit % 3 == 0) rows.Set(0, bit);
    if (bit < both || bit % 3 != 0) rows.Set(1, bit);
  }
  *exact = rows.Exact(Metric::kCosine, 0, 1);
  const PreparedQuery query(rows.Codec(Metric::kCosine), rows.numbers[0]);
  return query->ExactKey(query->Key(rows.Code(1).data()));
}

TEST(WalkQueryBit, JaccardKeysTellEveryFractionApart) {
  double exact;
  for (std::size_t all = 1; all <= 90; ++all)
    for (std::size_t both = 1; both <= all; ++both)
      EXPECT_EQ(JaccardByKey(90, both, all - both, &exact), exact) << both << " of " << all;
  // The nearest to each other that there are, and others of as many bits.
  std::mt19937 random(7);
  for (std::size_t i = 0; i < 200; ++i) {
    const std::size_t all = i < 8 ? 16'000 - i / 2 : 15'000 + random() % 1'001;
    const std::size_t both = i < 8 ? (i % 2 == 0 ? 1 : all - 1) : 1 + random() % (all - 1);
    EXPECT_EQ(JaccardByKey(16'000, both, all - both, &exact), exact) << both << " of " << all;
  }
}

TEST(WalkQueryBit, ASetWithoutElementsIsEquallyFarFromAll) {
  BitRows rows = RandomBitRows(10, 100, 5);
  const std::vector<float> none(100, 0.0F);
  const PreparedQuery query(rows.Codec(Metric::kCosine), none.data());
  EXPECT_FALSE(query->IsExact());
  const float key = query->Key(rows.Code(0).data());
  for (std::size_t row = 0; row < 10; ++row) EXPECT_EQ(query->Key(rows.Code(row).data()), key);
  EXPECT_EQ(query->LowerBound(key), -std::numeric_limits<double>::infinity());
}

TEST(WalkQueryBit, SaysNothingOfDistancesWhereItIsToldNotTo) {
  BitRows rows = RandomBitRows(2, 100, 6);
  WalkCodec codec = rows.Codec(Metric::kL2);
  codec.error = kUnknown;
  const PreparedQuery query(codec, rows.numbers[0]);
  EXPECT_FALSE(query->IsExact());
  EXPECT_EQ(query->LowerBound(3.0F), -std::numeric_limits<double>::infinity());
}

}  // namespace
}  // namespace tandem::vec
