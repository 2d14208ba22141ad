#include "vec/metric.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "unit/vec/reference.hpp"

namespace tandem::vec {
namespace {

using test::RandomBytes;
using test::RandomVector;

constexpr Metric kMetrics[] = {Metric::kL2, Metric::kInnerProduct, Metric::kCosine, Metric::kL1};
constexpr float kInfinity = std::numeric_limits<float>::infinity();

double DistanceBetween(Metric metric, const std::vector<float>& a, const std::vector<float>& b) {
  const QueryDistance query(metric, a.data(), a.size());
  return query.Distance(query.Key(b.data()));
}

TEST(CosineDistance, IsOneMinusTheCosine) {
  EXPECT_EQ(CosineDistance(0.0F, 1.0F, 1.0F), 1.0);
  EXPECT_EQ(CosineDistance(0.5F, 1.0F, 1.0F), 0.5);
  EXPECT_EQ(CosineDistance(-3.0F, 4.0F, 9.0F), 1.5);
}

TEST(CosineDistance, IsClampedAgainstRounding) {
  const float above_one = std::nextafter(1.0F, 2.0F);
  EXPECT_EQ(CosineDistance(above_one, 1.0F, 1.0F), 0.0);
  EXPECT_EQ(CosineDistance(-above_one, 1.0F, 1.0F), 2.0);
}

TEST(CosineDistance, IsNanForAZeroVector) {
  EXPECT_TRUE(std::isnan(CosineDistance(0.0F, 0.0F, 1.0F)));
  EXPECT_TRUE(std::isnan(CosineDistance(0.0F, 1.0F, 0.0F)));
  EXPECT_TRUE(std::isnan(CosineDistance(0.0F, 0.0F, 0.0F)));
}

TEST(CosineDistance, MultipliesNormsWithoutOverflowOrUnderflow) {
  const float large = 1e38F;
  EXPECT_NEAR(CosineDistance(large, large, large), 0.0, 1e-12);
  const float small = 1e-40F;
  EXPECT_NEAR(CosineDistance(small, small, small), 0.0, 1e-12);
}

TEST(QueryDistance, GivesTheTextbookValues) {
  const std::vector<float> a = {1.0F, 2.0F, 3.0F};
  const std::vector<float> b = {4.0F, 6.0F, 3.0F};
  EXPECT_EQ(DistanceBetween(Metric::kL2, a, b), 5.0);
  EXPECT_EQ(DistanceBetween(Metric::kInnerProduct, a, b), -25.0);
  EXPECT_EQ(DistanceBetween(Metric::kL1, a, b), 7.0);
  EXPECT_NEAR(DistanceBetween(Metric::kCosine, a, b), 1.0 - 25.0 / std::sqrt(14.0 * 61.0), 1e-12);
}

TEST(QueryDistance, IsZeroToItselfAndTwoToTheOppositeUnderCosine) {
  for (std::size_t n = 1; n <= 200; ++n) {
    const std::vector<float> a = RandomVector(n, static_cast<std::uint32_t>(n));
    std::vector<float> opposite = a;
    for (float& value : opposite) value = -value;
    EXPECT_EQ(DistanceBetween(Metric::kCosine, a, a), 0.0) << n;
    EXPECT_EQ(DistanceBetween(Metric::kCosine, a, opposite), 2.0) << n;
    EXPECT_EQ(DistanceBetween(Metric::kL2, a, a), 0.0) << n;
    EXPECT_EQ(DistanceBetween(Metric::kL1, a, a), 0.0) << n;
  }
}

TEST(QueryDistance, StaysWithinTheCosineRange) {
  for (std::uint32_t seed = 0; seed < 2'000; ++seed) {
    const std::vector<float> a = RandomVector(3, seed);
    std::vector<float> b = a;
    for (float& value : b) value *= (seed % 2 == 0 ? 1.7F : -0.3F);
    const double distance = DistanceBetween(Metric::kCosine, a, b);
    EXPECT_GE(distance, 0.0);
    EXPECT_LE(distance, 2.0);
  }
}

TEST(QueryDistance, IsSymmetricToTheBit) {
  for (const Metric metric : kMetrics) {
    for (std::uint32_t seed = 0; seed < 200; ++seed) {
      const std::vector<float> a = RandomVector(1 + seed, 2 * seed);
      const std::vector<float> b = RandomVector(1 + seed, 2 * seed + 1);
      EXPECT_EQ(DistanceBetween(metric, a, b), DistanceBetween(metric, b, a)) << seed;
    }
  }
}

TEST(QueryDistance, OrdersKeysExactlyAsDistances) {
  const std::vector<float> query = RandomBytes(6, 1);
  for (const Metric metric : kMetrics) {
    const QueryDistance prepared(metric, query.data(), query.size());
    std::vector<double> keys;
    for (std::uint32_t seed = 2; seed < 3'000; ++seed) {
      keys.push_back(prepared.Key(RandomBytes(6, seed).data()));  // small integers: many ties
    }
    std::sort(keys.begin(), keys.end());
    for (std::size_t i = 1; i < keys.size(); ++i) {
      const double before = prepared.Distance(keys[i - 1]);
      const double after = prepared.Distance(keys[i]);
      EXPECT_EQ(keys[i - 1] < keys[i], before < after);
      EXPECT_EQ(keys[i - 1] == keys[i], before == after);
    }
  }
}

TEST(QueryDistance, TellsNeighbouringL2KeysApart) {
  // Keys are float32 values; their square roots in double must not fall together, from denormals to the largest.
  const float query = 0.0F;
  const QueryDistance prepared(Metric::kL2, &query, 1);
  for (int exponent = -149; exponent <= 126; ++exponent) {
    float key = std::ldexp(1.0F, exponent);
    for (int step = 0; step < 100; ++step) {
      const float next = std::nextafter(key, kInfinity);
      EXPECT_LT(prepared.Distance(static_cast<double>(key)), prepared.Distance(static_cast<double>(next)));
      key = next * 1.0007F;
    }
  }
}

TEST(QueryDistance, GivesNanForAZeroVectorUnderCosineOnly) {
  const std::vector<float> zero(40, 0.0F);
  const std::vector<float> other = RandomVector(40, 1);
  EXPECT_TRUE(std::isnan(DistanceBetween(Metric::kCosine, zero, other)));
  EXPECT_TRUE(std::isnan(DistanceBetween(Metric::kCosine, other, zero)));
  EXPECT_EQ(DistanceBetween(Metric::kInnerProduct, zero, other), 0.0);
  EXPECT_FALSE(std::isnan(DistanceBetween(Metric::kL2, zero, other)));
}

TEST(QueryDistance, KeepsOverflowOrderedBehindEverythingElse) {
  const std::vector<float> origin(2, 0.0F);
  const std::vector<float> far(2, 3e38F);
  EXPECT_EQ(DistanceBetween(Metric::kL2, origin, far), static_cast<double>(kInfinity));
  EXPECT_EQ(DistanceBetween(Metric::kInnerProduct, far, far), -static_cast<double>(kInfinity));
}

TEST(QueryDistance, GivesTheBitsOfTheFloatsThatHalvesAre) {
  const std::vector<float> query = test::RandomVector(333, 1);
  std::vector<Half> halves(333);
  Kernels().to_halves(test::RandomVector(333, 2).data(), 333, halves.data());
  std::vector<float> floats(333);
  Kernels().to_floats(halves.data(), 333, floats.data());
  for (const Metric metric : {Metric::kL2, Metric::kInnerProduct, Metric::kCosine, Metric::kL1}) {
    const QueryDistance distance(metric, query.data(), query.size());
    EXPECT_EQ(distance.Key(halves.data()), distance.Key(floats.data()));
  }
}

TEST(QueryDistance, RemembersWhatItWasMadeFor) {
  const std::vector<float> query = RandomVector(17, 1);
  const QueryDistance prepared(Metric::kL1, query.data(), query.size());
  EXPECT_EQ(prepared.metric(), Metric::kL1);
  EXPECT_EQ(prepared.dimensions(), 17U);
}

}  // namespace
}  // namespace tandem::vec
