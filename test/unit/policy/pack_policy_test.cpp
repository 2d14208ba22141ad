#include "policy/pack_policy.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

namespace tandem::policy {
namespace {

// Each of these mistakes in pack_policy.cpp makes a test here fail: items of more than half live rows taken for poor, no
// neighbours absorbed, all of them absorbed, the capacity ignored, least_freed ignored.

constexpr std::uint64_t kUnlimited = std::uint64_t{1} << 29;

PackItem Extents(std::uint64_t slots, std::uint64_t live) {
  return {slots, live, slots, false};
}
PackItem Packed(std::uint64_t slots, std::uint64_t live, std::uint64_t span) {
  return {slots, live, span, true};
}

PackPlan Plan(const std::vector<PackItem>& items, std::uint64_t capacity = kUnlimited,
              std::uint64_t least = 1) {
  return PlanPack({items.data(), items.size()}, {512, capacity, least});
}

void ExpectPlan(const PackPlan& plan, std::uint32_t first, std::uint32_t end) {
  ASSERT_TRUE(plan.worth_it);
  EXPECT_EQ(plan.first, first);
  EXPECT_EQ(plan.end, end);
}

TEST(PackPolicy, LeavesWhatIsMostlyAliveAlone) {
  EXPECT_FALSE(Plan({}).worth_it);
  EXPECT_FALSE(Plan({Extents(100, 51), Packed(60, 31, 100), Extents(100, 100)}).worth_it);
  EXPECT_FALSE(Plan({Packed(0, 0, 1000), Packed(50, 50, 1000)}).worth_it);
}

TEST(PackPolicy, WritesNoMoreThanItFreesWhereRowsAreSmall) {
  const std::vector<PackItem> items = {Extents(100, 15), Extents(100, 100), Extents(100, 50)};
  ExpectPlan(PlanPack({items.data(), items.size()}, {8, kUnlimited, 1}), 0, 1);
  const std::vector<PackItem> half = {Extents(100, 50)};
  EXPECT_TRUE(PlanPack({half.data(), half.size()}, {8, kUnlimited, 1}).worth_it);
  EXPECT_FALSE(PlanPack({half.data(), half.size()}, {1, kUnlimited, 1}).worth_it);
  const std::vector<PackItem> few = {Extents(100, 15)};
  EXPECT_TRUE(PlanPack({few.data(), few.size()}, {1, kUnlimited, 1}).worth_it);
}

TEST(PackPolicy, TakesNeighbouringPoorItemsTogether) {
  ExpectPlan(Plan({Extents(100, 90), Extents(100, 50), Extents(100, 0), Extents(100, 90)}), 1, 3);
}

TEST(PackPolicy, TakesTheStretchThatFreesMost) {
  ExpectPlan(Plan({Extents(100, 50), Extents(100, 90), Extents(100, 10), Extents(100, 90)}), 2, 3);
}

TEST(PackPolicy, TakesEmptyRangesAlong) {
  ExpectPlan(Plan({Packed(0, 0, 900), Extents(100, 0), Packed(0, 0, 900), Extents(100, 0)}), 0, 4);
}

TEST(PackPolicy, AbsorbsSmallRangesOnBothSidesButNoLargeOnes) {
  ExpectPlan(Plan({Packed(150, 150, 900), Packed(60, 60, 900), Extents(100, 40), Packed(80, 80, 900)}), 0, 4);
  ExpectPlan(Plan({Packed(500, 500, 900), Packed(60, 60, 900), Extents(100, 40), Packed(900, 900, 900)}), 1,
             3);
}

TEST(PackPolicy, StaysWithinTheCapacityUnlessOneItemExceedsIt) {
  ExpectPlan(Plan({Extents(100, 40), Extents(100, 40), Extents(100, 40)}, 90), 0, 2);
  ExpectPlan(Plan({Extents(100, 40), Extents(100, 40)}, 10), 0, 1);
}

TEST(PackPolicy, LetsSmallChangeLie) {
  EXPECT_FALSE(Plan({Extents(100, 45)}, kUnlimited, 56).worth_it);
  EXPECT_TRUE(Plan({Extents(100, 45)}, kUnlimited, 55).worth_it);
}

TEST(PackPolicy, GroupsAreFewHoweverLargeTheIndex) {
  EXPECT_EQ(ExtentsPerGroup(0), 1U);
  EXPECT_EQ(ExtentsPerGroup(kMostGroups), 1U);
  for (std::uint32_t extents = 1; extents < 4'000'000; extents = extents * 3 + 1) {
    EXPECT_LE(extents / ExtentsPerGroup(extents), kMostGroups);
    if (extents > kMostGroups) {
      EXPECT_GT(extents / ExtentsPerGroup(extents), kMostGroups / 2 - 1);
    }
  }
}

/// A table whose rows are replaced, and an index that does what PlanPack() says and keeps the accounts.
class Model {
 public:
  explicit Model(std::uint64_t rows) : alive_(rows) {
    for (std::uint64_t row = 0; row < rows; ++row) alive_[row] = true;
    for (std::uint64_t row = 0; row < rows; ++row) live_rows_.push_back(row);
    Grow();
  }

  std::uint64_t replaced = 0;
  std::uint64_t written = 0;
  std::size_t most_ranges = 0;
  std::uint64_t most_slots = 0;  ///< after settling

  /// Replaces `count` rows: random ones, or the oldest.
  void Replace(std::uint64_t count, bool oldest) {
    if (oldest) std::sort(live_rows_.begin(), live_rows_.end());
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::size_t victim = oldest ? i : random_() % live_rows_.size();
      alive_[live_rows_[victim]] = false;
      live_rows_[victim] = alive_.size();
      alive_.push_back(true);
      ++replaced;
    }
    Grow();
  }

  void Settle() {
    for (int plans = 0; Step(); ++plans) ASSERT_LT(plans, 10'000) << "does not end";
    std::size_t ranges = 0;
    std::uint64_t slots = 0;
    for (const Range& range : ranges_) {
      ranges += range.item.packed ? 1 : 0;
      slots += range.item.slots;
    }
    most_ranges = std::max(most_ranges, ranges);
    most_slots = std::max(most_slots, slots);
  }

 private:
  struct Range {
    std::uint64_t first;
    std::uint64_t end;
    PackItem item;
  };
  static constexpr std::uint64_t kExtentRows = 100;

  /// Extents for rows that came.
  void Grow() {
    std::uint64_t end = ranges_.empty() ? 0 : ranges_.back().end;
    for (; end + kExtentRows <= alive_.size(); end += kExtentRows)
      ranges_.push_back({end, end + kExtentRows, {kExtentRows, 0, kExtentRows, false}});
  }

  bool Step() {
    std::vector<PackItem> items;
    for (Range& range : ranges_) {
      range.item.live = static_cast<std::uint64_t>(
          std::count(alive_.begin() + static_cast<std::ptrdiff_t>(range.first),
                     alive_.begin() + static_cast<std::ptrdiff_t>(range.end), true));
      items.push_back(range.item);
    }
    const PackPlan plan = Plan(items, kUnlimited, kExtentRows / 2);
    if (!plan.worth_it) return false;
    Range packed = {ranges_[plan.first].first, ranges_[plan.end - 1].end, {0, 0, 0, true}};
    for (std::uint32_t i = plan.first; i < plan.end; ++i) packed.item.slots += items[i].live;
    packed.item.span = packed.end - packed.first;
    written += packed.item.slots;
    ranges_.erase(ranges_.begin() + plan.first + 1, ranges_.begin() + plan.end);
    ranges_[plan.first] = packed;
    return true;
  }

  std::mt19937_64 random_{42};
  std::vector<bool> alive_;
  std::vector<std::uint64_t> live_rows_;
  std::vector<Range> ranges_;
};

double WrittenPerReplaced(const Model& model) {
  return static_cast<double>(model.written) / static_cast<double>(model.replaced);
}

/// README.md has the figures.
TEST(PackPolicy, SteadyReplacementKeepsSpaceRangesAndWritingBounded) {
  constexpr std::uint64_t kRows = 20'000;
  struct Case {
    const char* name;
    std::uint64_t at_once;
    bool oldest;
    double most_written;
    std::size_t most_ranges;
  };
  for (const Case& churn :
       {Case{"all", kRows, true, 0.1, 4}, Case{"a fifth, oldest first", kRows / 5, true, 0.1, 4},
        Case{"a fifth, at random", kRows / 5, false, 1.8, 80},
        Case{"a fiftieth, at random", kRows / 50, false, 2.5, 80}}) {
    Model model(kRows);
    for (std::uint64_t done = 0; done < 12 * kRows; done += churn.at_once) {
      model.Replace(churn.at_once, churn.oldest);
      model.Settle();
    }
    RecordProperty(churn.name, std::to_string(WrittenPerReplaced(model)) + " written per row replaced, " +
                                   std::to_string(model.most_ranges) + " ranges, " +
                                   std::to_string(model.most_slots) + " slots");
    EXPECT_LE(model.most_slots, 2 * kRows + kRows / 10) << churn.name;
    EXPECT_LE(WrittenPerReplaced(model), churn.most_written) << churn.name;
    EXPECT_LE(model.most_ranges, churn.most_ranges) << churn.name;
  }
}

}  // namespace
}  // namespace tandem::policy
