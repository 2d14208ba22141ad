#include "policy/fusion.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace tandem::policy {
namespace {

using Entries = std::vector<LegEntry>;

std::vector<FusedRow> Fuse(Fusion fusion, const Entries& by_vector, const Entries& by_text, std::size_t rows,
                           std::size_t k = 10) {
  FusionRule rule;
  rule.fusion = fusion;
  return FuseLegs(rule, {by_vector, true}, {by_text, true}, rows, k);
}

void ExpectRows(const std::vector<FusedRow>& found, const std::vector<FusedRow>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); i++) {
    EXPECT_EQ(found[i].row, expected[i].row) << i;
    EXPECT_EQ(found[i].vector_rank, expected[i].vector_rank) << i;
    EXPECT_EQ(found[i].text_rank, expected[i].text_rank) << i;
    EXPECT_NEAR(found[i].combined, expected[i].combined, 1e-12) << i;
  }
}

// Rows 0 to 2 by vector with scores 0.9, 0.8, 0.5; rows 2, 3, 0 by text with 4, 3, 2. Normalised: 1, 0.75, 0 and 1, 0.5, 0.
const Entries kByVector = {{0, 0.9}, {1, 0.8}, {2, 0.5}};
const Entries kByText = {{2, 4.0}, {3, 3.0}, {0, 2.0}};

TEST(Fusion, AddsReciprocalRanks) {
  // Cormack et al.: RRFscore(d) = sum of 1 / (60 + r(d)). Rows 0 and 2 have ranks 1 and 3 both ways; row 0 is the better by vector.
  const double both = 1.0 / 61 + 1.0 / 63;
  ExpectRows(Fuse(Fusion::kRrf, kByVector, kByText, 4),
             {{0, 1, 3, both}, {2, 3, 1, both}, {1, 2, 0, 1.0 / 62}, {3, 0, 2, 1.0 / 62}});
}

TEST(Fusion, AgreementBeatsOneFirstPlace) {
  // With a constant of 60 ranks 2 and 2 are more than 1 and nothing, with one of 0 they are equal.
  const Entries by_vector = {{0, 3.0}, {1, 2.0}};
  const Entries by_text = {{2, 3.0}, {1, 2.0}};
  EXPECT_EQ(Fuse(Fusion::kRrf, by_vector, by_text, 3)[0].row, 1U);
  FusionRule rule;
  rule.rrf_constant = 0.0;
  const auto found = FuseLegs(rule, {by_vector, true}, {by_text, true}, 3, 3);
  EXPECT_DOUBLE_EQ(found[0].combined, 1.0);
  EXPECT_DOUBLE_EQ(found[1].combined, 1.0);
  EXPECT_EQ(found[0].row, 0U);
}

TEST(Fusion, WeighsNormalisedScores) {
  ExpectRows(Fuse(Fusion::kWeighted, kByVector, kByText, 4),
             {{0, 1, 3, 0.7}, {1, 2, 0, 0.525}, {2, 3, 1, 0.3}, {3, 0, 2, 0.15}});
}

TEST(Fusion, TakesTheGreaterScore) {
  ExpectRows(Fuse(Fusion::kMax, kByVector, kByText, 4),
             {{0, 1, 3, 1.0}, {2, 3, 1, 1.0}, {1, 2, 0, 0.75}, {3, 0, 2, 0.5}});
}

TEST(Fusion, TakesTheLesserScoreAndNothingOfOneLegAlone) {
  const Entries by_text = {{1, 4.0}, {3, 3.0}, {0, 2.0}};
  ExpectRows(Fuse(Fusion::kMin, kByVector, by_text, 4),
             {{1, 2, 1, 0.75}, {0, 1, 3, 0.0}, {2, 3, 0, 0.0}, {3, 0, 2, 0.0}});
}

TEST(Fusion, TakesTheAverage) {
  ExpectRows(Fuse(Fusion::kAverage, kByVector, kByText, 4),
             {{0, 1, 3, 0.5}, {2, 3, 1, 0.5}, {1, 2, 0, 0.375}, {3, 0, 2, 0.25}});
}

TEST(Fusion, LeavesOutALegThatWasNotAsked) {
  for (const Fusion fusion : {Fusion::kWeighted, Fusion::kMax, Fusion::kMin, Fusion::kAverage}) {
    FusionRule rule;
    rule.fusion = fusion;
    ExpectRows(FuseLegs(rule, {kByVector, true}, {}, 3, 10),
               {{0, 1, 0, 1.0}, {1, 2, 0, 0.75}, {2, 3, 0, 0.0}});
    ExpectRows(FuseLegs(rule, {}, {Entries{{0, 4.0}, {1, 2.0}}, true}, 2, 10),
               {{0, 0, 1, 1.0}, {1, 0, 2, 0.0}});
  }
  ExpectRows(FuseLegs(FusionRule(), {}, {Entries{{0, 4.0}, {1, 2.0}}, true}, 2, 10),
             {{0, 0, 1, 1.0 / 61}, {1, 0, 2, 1.0 / 62}});
}

TEST(Fusion, CountsALegThatFoundNothing) {
  ExpectRows(Fuse(Fusion::kAverage, kByVector, {}, 3), {{0, 1, 0, 0.5}, {1, 2, 0, 0.375}, {2, 3, 0, 0.0}});
}

TEST(Fusion, CutsToTheBest) {
  EXPECT_EQ(Fuse(Fusion::kRrf, kByVector, kByText, 4, 1).size(), 1U);
  EXPECT_EQ(Fuse(Fusion::kRrf, kByVector, kByText, 4, 0).size(), 0U);
  EXPECT_TRUE(Fuse(Fusion::kRrf, {}, {}, 0).empty());
}

TEST(Fusion, NormalisesScores) {
  EXPECT_DOUBLE_EQ(NormalisedScore(5.0, 5.0, 5.0), 1.0);
  EXPECT_DOUBLE_EQ(NormalisedScore(-2.0, -3.0, 1.0), 0.25);
  EXPECT_DOUBLE_EQ(NormalisedScore(1.5e308, -1.5e308, 1.5e308), 1.0);
  const Entries unsorted = {{0, 2.0}, {1, 3.0}, {2, 1.0}};
  const auto found = Fuse(Fusion::kMax, unsorted, {}, 3);
  EXPECT_EQ(found[0].row, 1U);
  EXPECT_DOUBLE_EQ(found[1].combined, 0.5);
}

TEST(Fusion, GoesTenTimesAsDeep) {
  EXPECT_EQ(DefaultDepth(1), 100U);
  EXPECT_EQ(DefaultDepth(10), 100U);
  EXPECT_EQ(DefaultDepth(50), 500U);
  EXPECT_EQ(DefaultDepth(50'000), kMostCandidates);
  EXPECT_EQ(DefaultDepth(2'000'000'000), 2'000'000'000U);
}

}  // namespace
}  // namespace tandem::policy
