#include "vec/sparse.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "unit/vec/reference.hpp"

namespace tandem::vec {
namespace {

struct Sparse {
  std::vector<std::int32_t> indices;
  std::vector<float> values;

  [[nodiscard]] SparseView View() const { return {indices.data(), values.data(), values.size()}; }
};

/// Keeps about one of `one_of` elements.
std::vector<float> Thinned(std::vector<float> dense, std::uint32_t one_of, std::uint32_t seed) {
  std::mt19937 random(seed);
  for (float& x : dense) x = random() % one_of == 0 ? x : 0.0F;
  return dense;
}

Sparse SparseOf(const std::vector<float>& dense) {
  Sparse sparse;
  for (std::size_t i = 0; i < dense.size(); ++i) {
    if (dense[i] == 0.0F) continue;
    sparse.indices.push_back(static_cast<std::int32_t>(i));
    sparse.values.push_back(dense[i]);
  }
  return sparse;
}

TEST(SparseDistance, IsThatOfTheDenseVectors) {
  for (std::uint32_t seed = 1; seed < 200; ++seed) {
    const std::size_t n = 1 + seed * 7 % 90;
    const std::vector<float> a = Thinned(test::RandomVector(n, seed), 1 + seed % 5, seed);
    const std::vector<float> b = Thinned(test::RandomVector(n, seed + 1'000), 1 + seed % 7, seed + 1);
    const Sparse left = SparseOf(a);
    const Sparse right = SparseOf(b);
    const auto expected = [](const test::ReferenceSum& sum) { return static_cast<float>(sum.value); };
    EXPECT_FLOAT_EQ(SparseL2Squared(left.View(), right.View()),
                    expected(test::L2SquaredReference(a.data(), b.data(), n)));
    EXPECT_NEAR(SparseInnerProduct(left.View(), right.View()),
                expected(test::InnerProductReference(a.data(), b.data(), n)), 1e-6);
    EXPECT_FLOAT_EQ(SparseL1(left.View(), right.View()), expected(test::L1Reference(a.data(), b.data(), n)));
    for (const Metric metric : {Metric::kL2, Metric::kInnerProduct, Metric::kCosine, Metric::kL1}) {
      const double one_way = SparseDistance(metric, left.View(), right.View());
      const double other_way = SparseDistance(metric, right.View(), left.View());
      EXPECT_TRUE(one_way == other_way || (std::isnan(one_way) && std::isnan(other_way)));
    }
  }
}

TEST(SparseDistance, TakesMissingElementsAsZeros) {
  const Sparse empty;
  const Sparse a = {{0, 999'999'999}, {3.0F, 4.0F}};
  const Sparse b = {{1, 999'999'999}, {12.0F, 4.0F}};
  EXPECT_EQ(SparseDistance(Metric::kL2, empty.View(), a.View()), 5.0);
  EXPECT_EQ(SparseDistance(Metric::kL2, a.View(), b.View()), std::sqrt(153.0));
  EXPECT_EQ(SparseDistance(Metric::kInnerProduct, a.View(), b.View()), -16.0);
  EXPECT_EQ(SparseDistance(Metric::kL1, a.View(), b.View()), 15.0);
  EXPECT_EQ(SparseDistance(Metric::kCosine, a.View(), a.View()), 0.0);
  EXPECT_TRUE(std::isnan(SparseDistance(Metric::kCosine, empty.View(), a.View())));
}

}  // namespace
}  // namespace tandem::vec
