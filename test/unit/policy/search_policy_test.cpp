#include "policy/search_policy.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>

namespace tandem::policy {
namespace {

// Each of these mistakes in search_policy.cpp makes a test here fail: a tail that costs nothing, one segment's cost for all
// of them, a walk that may compare more codes than there are rows, an exact scan refused where there is no segment, re-ranks counted
// where codes are exact, for the first rows or for later ones, and none for later rows where they are not.

SearchSituation Make(std::uint64_t rows, std::uint32_t dimensions, std::uint32_t segments = 1) {
  SearchSituation situation;
  situation.rows = rows;
  situation.segments = segments;
  situation.code_bytes = dimensions;
  situation.row_bytes = 4 * dimensions;
  return situation;
}

/// Where the graph becomes cheaper, by bisection.
std::uint64_t Crossover(SearchSituation situation) {
  std::uint64_t exact = 0;
  std::uint64_t graph = std::uint64_t{1} << 32;
  while (graph - exact > 1) {
    situation.rows = exact + (graph - exact) / 2;
    (PrefersExactScan(situation) ? exact : graph) = situation.rows;
  }
  return graph;
}

TEST(PoolFor, FindsAsMuchOfWhatIsWantedAsWithoutConditions) {
  EXPECT_EQ(PoolFor(40, {}), 40U);
  EXPECT_EQ(PoolFor(40, {2.0, 20}), 80U);
  EXPECT_EQ(PoolFor(40, {3.0, 3}), 40U) << "one row: the pool is large enough";
  EXPECT_EQ(PoolFor(40, {3.0, 15}), 60U) << "five rows: in between";
  EXPECT_EQ(PoolFor(10, {2.0, 20}), 25U) << "who asks for a small pool has one, with room for what is wanted";
  EXPECT_EQ(PoolFor(40, {100.0, 100}), 160U) << "and then searches go on";
  EXPECT_EQ(PoolFor(40, {2.0, 0}), 80U) << "nobody knows how many";
}

// Broken once by pools that a LIMIT does not change.
TEST(PoolFor, HasRoomForAllThatIsKnownToBeWanted) {
  EXPECT_EQ(PoolFor(40, {1.0, 100}), 100U);
  EXPECT_EQ(PoolFor(40, {3.0, 300}), 375U) << "some more, as not all of them fulfil the conditions";
  EXPECT_EQ(PoolFor(400, {1.0, 100}), 400U);
  EXPECT_EQ(PoolFor(40, {1.0, 1e6}), kMostWanted) << "and then searches go on";
}

// Broken once by looking at rows alone, whatever was expected of them.
TEST(SearchPolicy, TellsWhatLiesFartherOff) {
  Wanted half;
  half.found_per_row = 2;
  EXPECT_FALSE(LiesFartherOff(half, 0, 0));
  EXPECT_FALSE(LiesFartherOff(half, 20, 0)) << "chance";
  EXPECT_TRUE(LiesFartherOff(half, 80, 19));
  EXPECT_FALSE(LiesFartherOff(half, 80, 20));
  EXPECT_FALSE(LiesFartherOff(half, 80, 40));
  Wanted quarter;
  quarter.found_per_row = 4;
  EXPECT_TRUE(LiesFartherOff(quarter, 80, 9));
  EXPECT_FALSE(LiesFartherOff(quarter, 80, 10));
  EXPECT_FALSE(LiesFartherOff(Wanted{}, 1'000, 0)) << "no conditions: who takes none of it has its reasons";
}

TEST(SearchPolicy, GivesSegmentsPoolsByTheirShare) {
  EXPECT_EQ(PoolOfSegment(40, 1.0), 40U);
  EXPECT_EQ(PoolOfSegment(40, 0.25), 20U);
  EXPECT_EQ(PoolOfSegment(40, 0.001), 20U) << "half at the least";
  EXPECT_EQ(PoolOfSegment(20, 0.001), kLeastPool);
  EXPECT_EQ(PoolOfSegment(3, 0.001), 3U) << "never more than was asked for";
  // All of them together keep as many as one graph.
  for (std::uint32_t segments = 1; segments <= 64; ++segments)
    EXPECT_GE(segments * PoolOfSegment(100, 1.0 / segments), 100U);
}

TEST(SearchPolicy, GoesWithoutAFilterUntilAskingWouldHavePaid) {
  EXPECT_DOUBLE_EQ(BudgetUnasked(100, 10, 0), 100.0) << "all that was spent";
  EXPECT_DOUBLE_EQ(BudgetUnasked(100, 10, 8), 500.0) << "fifty searches that each lose two";
  EXPECT_TRUE(std::isinf(BudgetUnasked(100, 10, 10)));
  EXPECT_TRUE(std::isinf(BudgetUnasked(100, 10, 11)));
}

TEST(SearchPolicy, TellsChanceFromElsewhere) {
  EXPECT_FALSE(LiesElsewhere(20.0, 0, 0));
  EXPECT_FALSE(LiesElsewhere(20.0, 119, 0)) << "fewer than six are expected";
  EXPECT_TRUE(LiesElsewhere(20.0, 120, 0));
  EXPECT_TRUE(LiesElsewhere(20.0, 120, 1));
  EXPECT_FALSE(LiesElsewhere(20.0, 120, 2));
  EXPECT_FALSE(LiesElsewhere(20.0, 1'000, 17));
  EXPECT_TRUE(LiesElsewhere(20.0, 1'000, 16));
}

TEST(SearchPolicy, CountsInRowsOf128Dimensions) {
  EXPECT_NEAR(CostOfExactScan(Make(1'000, 128)), 1'000.0, 1e-6);
  EXPECT_GT(CostOfExactScan(Make(1'000, 768)), 4'000.0);
}

TEST(SearchPolicy, ScansExactlyWithoutSegments) {
  EXPECT_TRUE(PrefersExactScan(Make(0, 128, 0)));
  EXPECT_TRUE(PrefersExactScan(Make(100'000'000, 1'536, 0)));
}

TEST(SearchPolicy, ScansSmallTablesExactlyAndWalksLargeOnes) {
  EXPECT_TRUE(PrefersExactScan(Make(3'000, 128)));
  EXPECT_FALSE(PrefersExactScan(Make(60'000, 128)));
  EXPECT_GT(Crossover(Make(0, 128)), 3'000U);
  EXPECT_LT(Crossover(Make(0, 128)), 30'000U);
  EXPECT_LT(Crossover(Make(0, 1'536)), Crossover(Make(0, 128))) << "long vectors favour the graph";
}

TEST(SearchPolicy, WalksSmallerTablesWhereGraphsAreInMemory) {
  SearchSituation in_memory = Make(0, 128);
  in_memory.in_memory = true;
  EXPECT_GT(Crossover(in_memory), 500U);
  EXPECT_LT(Crossover(in_memory), Crossover(Make(0, 128)) / 2);
}

TEST(SearchPolicy, PrefersExactScansOnOneSideOfTheCrossoverOnly) {
  for (const std::uint32_t segments : {1U, 2U, 5U}) {
    SearchSituation situation = Make(0, 384, segments);
    const std::uint64_t crossover = Crossover(situation);
    for (double rows = 1; rows < 1e8; rows *= 1.3) {
      situation.rows = static_cast<std::uint64_t>(rows);
      EXPECT_EQ(PrefersExactScan(situation), situation.rows < crossover) << situation.rows;
    }
  }
}

TEST(SearchPolicy, ChargesForSegmentsEffortAndTail) {
  const SearchSituation one = Make(1'000'000, 128);
  const double cost = CostOfGraphSearch(one);
  EXPECT_GT(CostOfGraphSearch(Make(1'000'000, 128, 4)), 3.5 * cost);

  SearchSituation thorough = one;
  thorough.ef_search = 200;
  EXPECT_GT(CostOfGraphSearch(thorough), 4.0 * cost);
  thorough.m = 48;
  EXPECT_GT(CostOfGraphSearch(thorough), 8.0 * cost);

  SearchSituation with_tail = one;
  with_tail.tail_rows = 10'000;
  EXPECT_NEAR(CostOfGraphSearch(with_tail), cost + 10'000.0, 100.0);

  SearchSituation by_code = with_tail;
  by_code.in_memory = true;
  SearchSituation without_tail = one;
  without_tail.in_memory = true;
  const double tail = CostOfGraphSearch(by_code) - CostOfGraphSearch(without_tail);
  EXPECT_GT(tail, 1'000.0);
  EXPECT_LT(tail, 5'000.0);
}

TEST(SearchPolicy, ChargesTheNextRowForItsShareOfABatch) {
  const SearchSituation one = Make(1'000'000, 128);
  const double row = CostOfNextRow(one);
  EXPECT_GT(row, CostOfGraphSearch(one) / one.ef_search);
  EXPECT_LT(row, 6.0 * CostOfGraphSearch(one) / one.ef_search);
  // Rows come from the segments by turns: the next one costs a batch of one of them.
  EXPECT_LT(CostOfNextRow(Make(1'000'000, 128, 4)), 1.1 * row);

  SearchSituation with_tail = one;
  with_tail.tail_rows = one.rows;
  EXPECT_GE(CostOfNextRow(with_tail), 0.0);
  SearchSituation exact = one;
  exact.segments = 0;
  EXPECT_EQ(CostOfNextRow(exact), 0.0);
}

TEST(SearchPolicy, NeverComparesMoreCodesThanThereAre) {
  SearchSituation situation = Make(50, 128);
  situation.ef_search = 1'000;
  EXPECT_LT(CostOfGraphSearch(situation), 100.0 * 50.0);
  EXPECT_TRUE(PrefersExactScan(situation));
}

TEST(SearchPolicy, WidensThePoolByWhatIsDead) {
  EXPECT_EQ(WidenedEf(40, 1'000, 1'000, 0), 40U);
  EXPECT_EQ(WidenedEf(40, 1'000, 1'000, 200), 50U);
  EXPECT_EQ(WidenedEf(40, 1'000, 800, 0), 50U);      // way-marks
  EXPECT_EQ(WidenedEf(40, 10, 1'000, 0), 40U);       // rows that share nodes
  EXPECT_EQ(WidenedEf(40, 1'000, 1'000, 999), 80U);  // never more than twice
  EXPECT_EQ(WidenedEf(40, 1'000, 1'000, 5'000), 80U);
  EXPECT_EQ(WidenedEf(40, 0, 0, 0), 40U);
}

TEST(SearchPolicy, StaysFiniteAtTheEdges) {
  for (const std::uint64_t rows : {std::uint64_t{0}, std::uint64_t{1}, ~std::uint64_t{0} >> 1}) {
    for (const std::uint32_t value : {0U, 1U, 16'000U}) {
      SearchSituation situation = Make(rows, value, value);
      situation.m = value;
      situation.ef_search = value;
      situation.tail_rows = rows + 7;  // counted at another moment
      EXPECT_TRUE(std::isfinite(CostOfExactScan(situation)));
      EXPECT_TRUE(std::isfinite(CostOfGraphSearch(situation)));
      EXPECT_GE(CostOfGraphSearch(situation), 0.0);
    }
  }
}

TEST(SearchPolicy, ReadsNoRowsWhereCodesAreExact) {
  SearchSituation situation = Make(100'000, 32);
  situation.in_memory = true;
  SearchSituation exact = situation;
  exact.is_exact = true;
  EXPECT_LT(CostOfGraphSearch(exact) + 200.0, CostOfGraphSearch(situation));
  EXPECT_LT(CostOfNextRow(exact), CostOfNextRow(situation));
  EXPECT_EQ(CostOfNextRow(exact), CostOfLaterBatches(exact));
  EXPECT_GT(CostOfNextRow(situation), CostOfLaterBatches(situation));
  EXPECT_EQ(CostOfExactScan(exact), CostOfExactScan(situation));
}

TEST(SearchPolicy, CountsAllReRanksWhereGraphsAreOfSketches) {
  SearchSituation situation;
  situation.rows = 1'000'000;
  situation.segments = 1;
  situation.code_bytes = 2048;
  situation.row_bytes = 1504;
  situation.in_memory = true;
  situation.ef_search = 40 * kSketchPool;
  const double as_needed = CostOfGraphSearch(situation);
  situation.re_ranks_all = true;
  EXPECT_GT(CostOfGraphSearch(situation), as_needed);
  EXPECT_FALSE(PrefersExactScan(situation));
  situation.rows = 50'000;
  EXPECT_TRUE(PrefersExactScan(situation)) << "so wide a pool costs more than comparing all";
}

}  // namespace
}  // namespace tandem::policy
