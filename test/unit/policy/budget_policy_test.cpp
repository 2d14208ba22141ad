// Where the border between the caches goes, on loads that are steady, mixed, and shifting.
//
// Seen to fail with: no margin for the current pattern; steps of the whole way; counts of scans that go down.

#include "policy/budget_policy.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace tandem::policy {
namespace {

constexpr double kFirstShare = 0.6;

/// A launcher's rounds.
struct Balance {
  PatternCounts counts;
  QueryPattern pattern = QueryPattern::kUnknown;
  double share = kFirstShare;
  int changes = 0;

  void Interval(const PatternCounts& interval) {
    counts = AddInterval(counts, interval);
    const QueryPattern now = Classify(counts, pattern);
    if (now != pattern) changes++;
    pattern = now;
    share = StepTowards(share, GraphShareOf(pattern, kFirstShare));
  }
};

TEST(BudgetPolicy, KeepsItsShareWhileNothingIsKnown) {
  Balance balance;
  for (int i = 0; i < 10; i++) balance.Interval({3, 1, 1});
  EXPECT_EQ(balance.pattern, QueryPattern::kUnknown);
  EXPECT_DOUBLE_EQ(balance.share, kFirstShare);
}

TEST(BudgetPolicy, GoesToTheTargetOfEachPatternGradually) {
  const struct {
    PatternCounts interval;
    QueryPattern pattern;
    double share;
  } loads[] = {{{900, 50, 50}, QueryPattern::kVectorHeavy, 0.8},
               {{100, 800, 100}, QueryPattern::kHybrid, 0.5},
               {{50, 50, 900}, QueryPattern::kMetadataHeavy, 0.2}};
  for (const auto& load : loads) {
    Balance balance;
    double before = balance.share;
    for (int i = 0; i < 12; i++) {
      balance.Interval(load.interval);
      EXPECT_LE(std::fabs(balance.share - before), kLargestStep + 1e-9);
      before = balance.share;
    }
    EXPECT_EQ(balance.pattern, load.pattern);
    EXPECT_DOUBLE_EQ(balance.share, load.share);
    EXPECT_EQ(balance.changes, 1);
  }
}

TEST(BudgetPolicy, FollowsAShiftWithinTwoIntervals) {
  Balance balance;
  for (int i = 0; i < 10; i++) balance.Interval({1000, 0, 0});
  balance.Interval({0, 1000, 0});
  balance.Interval({0, 1000, 0});
  EXPECT_EQ(balance.pattern, QueryPattern::kHybrid);
  EXPECT_LT(balance.share, 0.8);
}

// Queries that take a hundred times as long come a hundred times less often, and are not outnumbered by those of the past.
TEST(BudgetPolicy, FollowsAShiftToSlowerQueries) {
  Balance balance;
  for (int i = 0; i < 10; i++) balance.Interval({100'000, 0, 0});
  for (int i = 0; i < 3; i++) balance.Interval({0, 1000, 0});
  EXPECT_EQ(balance.pattern, QueryPattern::kHybrid);
}

// Half and half, by chance now more of the one, now of the other.
TEST(BudgetPolicy, DoesNotFlapOnAMixedLoad) {
  Balance balance;
  std::mt19937 random(5);
  for (int i = 0; i < 500; i++) {
    const double vector_only = 450 + static_cast<double>(random() % 100);
    balance.Interval({vector_only, 1000 - vector_only, 0});
  }
  EXPECT_LE(balance.changes, 1);
}

TEST(BudgetPolicy, APauseChangesNothing) {
  Balance balance;
  for (int i = 0; i < 10; i++) balance.Interval({0, 0, 1000});
  for (int i = 0; i < 100; i++) balance.Interval({});
  EXPECT_EQ(balance.pattern, QueryPattern::kMetadataHeavy);
  EXPECT_DOUBLE_EQ(balance.share, 0.2);
}

TEST(BudgetPolicy, CountsScansOfWhatTheLookBeforeHad) {
  const std::vector<IndexScans> before = {{1, 10, 500}, {1, 11, 1000}, {2, 10, 7}, {3, 30, 90}};
  // One goes on, one was reset, one has the number of another database's, one has gone, one has come with all scans of its life.
  const std::vector<IndexScans> now = {{1, 12, 1000000}, {2, 10, 9}, {1, 10, 530}, {1, 11, 20}};
  EXPECT_EQ(ScansBetween(before.data(), before.size(), now.data(), now.size()), 32U);
  EXPECT_EQ(ScansBetween(nullptr, 0, now.data(), now.size()), 0U);
  EXPECT_EQ(ScansBetween(before.data(), before.size(), nullptr, 0), 0U);
  EXPECT_EQ(ScansBetween(now.data(), now.size(), now.data(), now.size()), 0U);
}

TEST(BudgetPolicy, SharesAddUp) {
  const PatternCounts shares = SharesOf({2, 1, 1});
  EXPECT_DOUBLE_EQ(shares.vector_only, 0.5);
  EXPECT_DOUBLE_EQ(shares.hybrid, 0.25);
  EXPECT_DOUBLE_EQ(shares.metadata_only, 0.25);
  EXPECT_DOUBLE_EQ(SharesOf({}).hybrid, 0);
}

TEST(BudgetPolicy, StepsEndAtTheGoal) {
  for (const double goal : {0.2, 0.5, 0.8, 0.61})
    for (double share = 0.05; share < 1; share += 0.05) {
      double at = share;
      for (int i = 0; i < 40; i++) at = StepTowards(at, goal);
      EXPECT_DOUBLE_EQ(at, goal);
    }
}

}  // namespace
}  // namespace tandem::policy
