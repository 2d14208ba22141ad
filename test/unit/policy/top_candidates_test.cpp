#include "policy/top_candidates.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace tandem::policy {
namespace {

using base::RowId;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

Candidate Make(double key, std::uint64_t row) {
  return {ToOrderedKey(key), RowId{row}};
}

bool Same(const Candidate& a, const Candidate& b) {
  return a.key == b.key && a.row == b.row;
}

/// What TopCandidates must keep: the head of a full sort.
std::vector<Candidate> Smallest(std::vector<Candidate> all, std::size_t keep) {
  std::sort(all.begin(), all.end());
  all.resize(std::min(keep, all.size()));
  return all;
}

void ExpectKeepsSmallest(const std::vector<Candidate>& offered, std::size_t keep) {
  std::vector<Candidate> buffer(2 * keep);
  TopCandidates top(buffer.data(), keep);
  for (const Candidate& candidate : offered) top.Offer(candidate);
  const std::size_t kept = top.Finish();
  const std::vector<Candidate> expected = Smallest(offered, keep);
  ASSERT_EQ(kept, expected.size());
  for (std::size_t i = 0; i < kept; i++) EXPECT_TRUE(Same(buffer[i], expected[i])) << "at " << i;
  EXPECT_EQ(top.overflowed(), offered.size() > keep);
}

TEST(OrderedKey, SortsAsSqlSortsFloat8) {
  const double ascending[] = {-kInfinity, -1e300,
                              -1.0,       -std::numeric_limits<double>::denorm_min(),
                              0.0,        std::numeric_limits<double>::denorm_min(),
                              1.0,        1e300,
                              kInfinity,  std::nan("")};
  for (std::size_t i = 1; i < std::size(ascending); i++)
    EXPECT_LT(ToOrderedKey(ascending[i - 1]), ToOrderedKey(ascending[i])) << ascending[i];
}

TEST(OrderedKey, TreatsMinusZeroAsZeroAndAllNansAlike) {
  EXPECT_EQ(ToOrderedKey(-0.0), ToOrderedKey(0.0));
  EXPECT_EQ(ToOrderedKey(std::nan("1")), ToOrderedKey(-std::nan("2")));
}

TEST(OrderedKey, GivesTheNumberBack) {
  for (const double key : {-kInfinity, -2.5, 0.0, 3.25, 1e-310, kInfinity})
    EXPECT_EQ(FromOrderedKey(ToOrderedKey(key)), key);
  EXPECT_TRUE(std::isnan(FromOrderedKey(ToOrderedKey(std::nan("")))));
}

TEST(TopCandidates, KeepsTheSmallestOfManyRandomOnes) {
  std::mt19937_64 random(7);
  for (const std::size_t keep : {1U, 2U, 3U, 10U, 1000U}) {
    for (const std::size_t count : {0U, 1U, 2U, 5U, 999U, 1000U, 1001U, 20000U}) {
      std::vector<Candidate> offered;
      for (std::uint64_t row = 0; row < count; row++)
        offered.push_back(Make(static_cast<double>(random() % 5000) - 2500, row));
      ExpectKeepsSmallest(offered, keep);
    }
  }
}

TEST(TopCandidates, BreaksTiesByRowIdWhateverTheOrderOfOffers) {
  std::vector<Candidate> offered;
  for (std::uint64_t row = 0; row < 5000; row++) offered.push_back(Make(1.0, row));
  ExpectKeepsSmallest(offered, 100);
  std::reverse(offered.begin(), offered.end());
  ExpectKeepsSmallest(offered, 100);
}

TEST(TopCandidates, KeepsNanBehindInfinity) {
  ExpectKeepsSmallest({Make(std::nan(""), 1), Make(kInfinity, 2), Make(0, 3), Make(std::nan(""), 0)}, 3);
}

TEST(TopCandidates, LeavesNothingOutWhenResumedBehindTheLast) {
  std::mt19937_64 random(11);
  std::vector<Candidate> all;
  for (std::uint64_t row = 0; row < 3000; row++) all.push_back(Make(static_cast<double>(random() % 40), row));
  std::vector<Candidate> collected;
  std::vector<Candidate> buffer(2 * 64);
  for (;;) {
    TopCandidates top(buffer.data(), 64);
    for (const Candidate& candidate : all)
      if (collected.empty() || collected.back() < candidate) top.Offer(candidate);
    const std::size_t kept = top.Finish();
    collected.insert(collected.end(), buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(kept));
    if (!top.overflowed()) break;
  }
  const std::vector<Candidate> expected = Smallest(all, all.size());
  ASSERT_EQ(collected.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); i++)
    EXPECT_TRUE(Same(collected[i], expected[i])) << "at " << i;
}

}  // namespace
}  // namespace tandem::policy
