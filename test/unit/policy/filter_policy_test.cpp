#include "policy/filter_policy.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>

#include "policy/search_policy.hpp"

namespace tandem::policy {
namespace {

FilterSituation Make(std::uint64_t rows, double share, std::uint32_t dimensions = 128) {
  FilterSituation situation;
  situation.rows = rows;
  situation.admitted = static_cast<std::uint64_t>(static_cast<double>(rows) * share);
  situation.code_bytes = dimensions;
  situation.row_bytes = 4 * dimensions;
  situation.in_memory = true;
  return situation;
}

TEST(FilterPolicy, ScoresSmallSetsExactly) {
  EXPECT_GE(LargestExactSet(4 * 128), 500U);
  EXPECT_LE(LargestExactSet(4 * 128), 2'000U);
  EXPECT_LT(LargestExactSet(4 * 1'536), LargestExactSet(4 * 128));
  EXPECT_GE(LargestExactSet(4 * 16'000), 10U);
}

// Broken once by a walk that costs the same whatever is admitted.
TEST(FilterPolicy, GoesFromCodesToWalkToStream) {
  int last = 0;
  for (const double share : {0.0001, 0.001, 0.005, 0.01, 0.05, 0.1, 0.2, 0.5, 0.9, 1.0}) {
    const FilterTactic tactic = ChooseTactic(Make(1'000'000, share));
    const int rank = tactic == FilterTactic::kCodes ? 0 : tactic == FilterTactic::kWalk ? 1 : 2;
    EXPECT_NE(tactic, FilterTactic::kVectors) << share;
    EXPECT_GE(rank, last) << share;
    last = rank;
  }
  EXPECT_EQ(last, 2);
  EXPECT_EQ(ChooseTactic(Make(1'000'000, 0.005)), FilterTactic::kCodes);
  EXPECT_EQ(ChooseTactic(Make(1'000'000, 0.1)), FilterTactic::kWalk);
}

// What long codes cost is their bytes, which come from a far cache: a walk reads a quarter of them. Broken once by bytes that cost as much
// wherever they are, by which comparing 6,000 codes of 784 bytes was chosen, and took three times as long.
TEST(FilterPolicy, WalksWhereManyLongCodesAreAdmitted) {
  FilterSituation situation = Make(60'000, 0.1, 784);
  situation.wanted = 10;
  EXPECT_EQ(ChooseTactic(situation), FilterTactic::kWalk);
  EXPECT_EQ(ChooseTactic(Make(60'000, 0.01, 784)), FilterTactic::kCodes);
}

TEST(FilterPolicy, ReadsVectorsWhereCodesAreOnPages) {
  FilterSituation situation = Make(1'000'000, 0.001);
  EXPECT_FALSE(PrefersVectors(situation));
  situation.in_memory = false;
  EXPECT_TRUE(PrefersVectors(situation));
  EXPECT_EQ(ChooseTactic(situation), FilterTactic::kVectors);
  EXPECT_EQ(CostOfAll(situation), CostOfTactic(FilterTactic::kVectors, situation));
}

TEST(FilterPolicy, ScoresAllWhereThatCostsLittleMore) {
  const FilterSituation situation = Make(1'000'000, 0.01);
  const double least =
      std::min(CostOfTactic(FilterTactic::kWalk, situation), CostOfTactic(FilterTactic::kStream, situation));
  const double codes = CostOfTactic(FilterTactic::kCodes, situation);
  EXPECT_EQ(ChooseTactic(situation) == FilterTactic::kCodes, codes <= 1.5 * least);
  EXPECT_TRUE(IsWorthScoring(FilterTactic::kWalk, Make(1'000'000, 0.02)));
  EXPECT_FALSE(IsWorthScoring(FilterTactic::kStream, Make(1'000'000, 0.9)));
}

// A query far from all that is admitted: of a small set everything is compared, a large one is walked with a wide pool.
TEST(FilterPolicy, WidensWalksAsFarAsThatIsCheaperThanAll) {
  EXPECT_EQ(WidestWalk(Make(1'000'000, 0.0001)), 1U);
  EXPECT_LT(WidestWalk(Make(100'000, 0.15)), 8U);
  EXPECT_GE(WidestWalk(Make(10'000'000, 0.2)), 8U);
  EXPECT_LE(WidestWalk(Make(1'000'000, 0.1)), WidestWalk(Make(1'000'000, 0.2)));
}

TEST(FilterPolicy, WidensPools) {
  EXPECT_EQ(EfOfTactic(FilterTactic::kStream, Make(1'000'000, 0.5)), 80U);
  EXPECT_EQ(EfOfTactic(FilterTactic::kStream, Make(1'000'000, 1.0)), 40U);
  EXPECT_EQ(EfOfTactic(FilterTactic::kStream, Make(1'000'000, 0.0)), 40U);
  EXPECT_EQ(EfOfTactic(FilterTactic::kWalk, Make(1'000'000, 0.1)), 40U);
  EXPECT_EQ(EfOfTactic(FilterTactic::kWalk, Make(1'000'000, 0.01)), 80U);
  EXPECT_EQ(EfOfTactic(FilterTactic::kCodes, Make(1'000'000, 0.01)), 40U);
}

TEST(FilterPolicy, NarrowsPoolsOfWhoWantsLittle) {
  FilterSituation situation = Make(1'000'000, 0.1);
  for (const auto& [wanted, ef] : {std::pair{0U, 40U}, {5U, 24U}, {6U, 24U}, {7U, 40U}, {40U, 40U}}) {
    situation.wanted = wanted;
    EXPECT_EQ(EfOfTactic(FilterTactic::kWalk, situation), ef) << wanted;
  }
  situation.wanted = 5;
  situation.admitted = 300'000;
  EXPECT_EQ(EfOfTactic(FilterTactic::kWalk, situation), 40U);
  situation.admitted = 10'000;
  EXPECT_EQ(EfOfTactic(FilterTactic::kWalk, situation), 80U);
}

// Broken once by pools that a LIMIT does not change.
TEST(FilterPolicy, HasRoomForAllThatIsKnownToBeWanted) {
  FilterSituation situation = Make(1'000'000, 0.5);
  situation.wanted = 100;
  EXPECT_EQ(EfOfTactic(FilterTactic::kStream, situation), 200U) << "then as many more as it takes";
  EXPECT_EQ(EfOfTactic(FilterTactic::kWalk, situation), 100U);
  situation.wanted = 100'000;
  EXPECT_EQ(EfOfTactic(FilterTactic::kWalk, situation), kMostWanted) << "and then searches go on";
  EXPECT_EQ(EfOfTactic(FilterTactic::kStream, situation), 2 * kMostWanted);
}

// Broken once by plain walks over bits that are charged for rows read.
TEST(FilterPolicy, KnowsWhatPlainWalksReRank) {
  FilterSituation situation = Make(1'000'000, 0.5);
  const double some = CostOfTactic(FilterTactic::kStream, situation);
  situation.has_bounds = false;
  EXPECT_GT(CostOfTactic(FilterTactic::kStream, situation), 1.2 * some) << "all of a pool of 80, not 20";
  situation.has_bounds = true;
  situation.is_exact = true;
  EXPECT_LT(CostOfTactic(FilterTactic::kStream, situation), some) << "codes are distances: no row is read";
  SearchSituation whole;
  whole.rows = situation.rows;
  whole.segments = 1;
  whole.code_bytes = situation.code_bytes;
  whole.row_bytes = situation.row_bytes;
  whole.in_memory = true;
  whole.is_exact = true;
  whole.ef_search = 80;
  EXPECT_DOUBLE_EQ(CostOfTactic(FilterTactic::kStream, situation), CostOfGraphSearch(whole));
}

TEST(FilterPolicy, TellsWhatLiesElsewhere) {
  EXPECT_TRUE(LiesNear(80, 40, Make(1'000'000, 0.5)));
  EXPECT_TRUE(LiesNear(80, 20, Make(1'000'000, 0.5)));
  EXPECT_FALSE(LiesNear(80, 19, Make(1'000'000, 0.5)));
  EXPECT_TRUE(LiesNear(0, 0, Make(1'000'000, 0.5)));
}

TEST(FilterPolicy, GoesOnUntilEnoughIsAdmitted) {
  const FilterSituation half = Make(1'000'000, 0.5);
  ASSERT_EQ(half.ef_search, 40U);
  EXPECT_EQ(NodesUntilEnough(80, 40, half), 0U);
  EXPECT_EQ(NodesUntilEnough(80, 60, half), 0U);
  EXPECT_EQ(NodesUntilEnough(80, 20, half), 80U) << "as many again";
  EXPECT_EQ(NodesUntilEnough(80, 32, half), 20U) << "the other eight, where two of five are admitted";
  EXPECT_EQ(NodesUntilEnough(80, 39, half), 16U) << "some are as good as none";
  EXPECT_EQ(NodesUntilEnough(80, 1, half), 80U) << "no more than there were";
  EXPECT_EQ(NodesUntilEnough(80, 0, half), 80U);
  EXPECT_EQ(NodesUntilEnough(0, 0, half), 16U);
  FilterSituation many = half;
  many.wanted = 100;
  EXPECT_EQ(NodesUntilEnough(200, 80, many), 50U);
}

TEST(FilterPolicy, TakesEmptySegments) {
  const FilterSituation nothing = Make(0, 0.0);
  for (const FilterTactic tactic :
       {FilterTactic::kVectors, FilterTactic::kCodes, FilterTactic::kWalk, FilterTactic::kStream})
    EXPECT_GE(CostOfTactic(tactic, nothing), 0.0);
  EXPECT_GT(EfOfTactic(FilterTactic::kStream, nothing), 0U);
}

}  // namespace
}  // namespace tandem::policy
