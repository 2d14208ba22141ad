#include "policy/fold_policy.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

namespace tandem::policy {
namespace {

// Each of these mistakes in fold_policy.cpp makes a test here fail: forgetting the tail that was cut in PlanTail(),
// counting the tail among the absorbed segments there, ignoring the capacity in PlanMerge(), leaving out ChooseBase()'s
// dead nodes, PlanRebuild() for every segment with a dead row.

constexpr std::uint64_t kUnlimited = std::uint64_t{1} << 29;

SegmentWeight Fresh(std::uint64_t rows) {
  return {rows, 0, rows, rows};
}

std::uint64_t Live(const SegmentWeight& segment) {
  return segment.rows - segment.dead;
}

double WastedShare(const SegmentWeight& segment) {
  const auto nodes = static_cast<double>(std::max(segment.rows, segment.nodes));
  return nodes == 0 ? 0.0 : 1.0 - static_cast<double>(Live(segment)) / nodes;
}

/// An index that does what PlanFold() says and keeps the accounts.
class Model {
 public:
  explicit Model(FoldSettings settings) : settings_(settings) {}

  std::vector<SegmentWeight> segments;
  std::uint64_t tail_rows = 0;
  std::uint64_t written = 0;   ///< rows of all segments ever built
  std::uint64_t inserted = 0;  ///< of these, the ones not taken over from a base graph
  std::size_t most_segments = 0;

  FoldSituation Situation(bool tail_is_old, bool at_rest, bool everything) const {
    return {{segments.data(), segments.size()}, tail_rows, tail_is_old, at_rest, everything};
  }

  /// Plans until nothing is worth it. Returns the number of plans.
  int Settle(bool tail_is_old, bool at_rest, bool everything) {
    int plans = 0;
    while (Step(tail_is_old, at_rest, everything)) {
      ++plans;
      const std::uint64_t bound = 8 + 4 * segments.size() + 2 * tail_rows / settings_.capacity_rows;
      if (plans > 10'000 + static_cast<int>(bound)) {
        ADD_FAILURE() << "does not end";
        break;
      }
    }
    return plans;
  }

  bool Step(bool tail_is_old, bool at_rest, bool everything) {
    const FoldPlan plan = PlanFold(Situation(tail_is_old, at_rest, everything), settings_);
    if (!plan.worth_it) return false;
    CheckPlan(plan);
    if (testing::Test::HasFailure()) return false;
    Apply(plan);
    return true;
  }

  void CheckPlan(const FoldPlan& plan) const {
    ASSERT_LE(plan.first, plan.end);
    ASSERT_LE(plan.end, segments.size());
    std::uint64_t live = plan.tail_rows;
    for (std::uint32_t i = plan.first; i < plan.end; ++i) live += Live(segments[i]);
    EXPECT_LE(live, settings_.capacity_rows);
    if (plan.tail) {
      EXPECT_EQ(plan.end, segments.size()) << "only neighbours";
      EXPECT_GE(plan.tail_rows, 1U);
      EXPECT_LE(plan.tail_rows, tail_rows);
    } else {
      EXPECT_EQ(plan.tail_rows, 0U);
      ASSERT_GE(plan.end, plan.first + 1);
      if (plan.end == plan.first + 1) {
        EXPECT_GT(WastedShare(segments[plan.first]), kRebuildDeadPercent / 100.0) << "nothing changes";
        EXPECT_EQ(plan.base, FoldPlan::kNoBase) << "the dead nodes shall go";
      }
    }
    if (plan.base == FoldPlan::kNoBase) return;
    ASSERT_GE(plan.base, plan.first);
    ASSERT_LT(plan.base, plan.end);
    const SegmentWeight& base = segments[plan.base];
    EXPECT_LE(WastedShare(base), kBaseDeadPercent / 100.0);
    EXPECT_LE(live + std::max(base.rows, base.nodes) - Live(base), settings_.capacity_rows);
    EXPECT_GE(2 * Live(base), live);
  }

  void Apply(const FoldPlan& plan) {
    SegmentWeight built = {plan.tail_rows, 0, plan.tail_rows, plan.tail_rows};
    for (std::uint32_t i = plan.first; i < plan.end; ++i) {
      built.rows += Live(segments[i]);
      built.nodes += Live(segments[i]);
      built.span += segments[i].span;
    }
    written += built.rows;
    inserted += built.rows;
    if (plan.base != FoldPlan::kNoBase) {
      const SegmentWeight& base = segments[plan.base];
      built.nodes += std::max(base.rows, base.nodes) - Live(base);
      inserted -= Live(base);
    }
    tail_rows -= plan.tail_rows;
    segments.erase(segments.begin() + plan.first, segments.begin() + plan.end);
    segments.insert(segments.begin() + plan.first, built);
    most_segments = std::max(most_segments, segments.size());
  }

  /// What PlanFold() promises once nothing is worth doing at rest.
  void ExpectAtRest() const {
    std::uint64_t later = 0;
    for (std::size_t i = segments.size(); i-- > 0;) {
      const bool is_settled = std::max<std::uint64_t>(Live(segments[i]), 1) >= kRestRatio * later;
      const bool is_stuck =
          i + 1 < segments.size() && Live(segments[i]) + Live(segments[i + 1]) > settings_.capacity_rows;
      EXPECT_TRUE(is_settled || is_stuck) << "segment " << i << " of " << segments.size();
      if (Live(segments[i]) <= settings_.capacity_rows) {
        EXPECT_LE(WastedShare(segments[i]), kRebuildDeadPercent / 100.0) << "segment " << i;
      }
      later += std::max<std::uint64_t>(Live(segments[i]), 1);
    }
  }

  std::uint64_t LiveRows() const {
    std::uint64_t live = tail_rows;
    for (const SegmentWeight& segment : segments) live += Live(segment);
    return live;
  }

 private:
  FoldSettings settings_;
};

double LogToFoldGrowth(double x) {
  return std::log(x) / std::log(static_cast<double>(kFoldGrowth));
}

TEST(FoldPolicy, LeavesAShortFreshTailAlone) {
  Model model({50'000, kUnlimited});
  for (const std::uint64_t rows : {0U, 1U, 999U, 1'000U, 49'999U}) {
    model.tail_rows = rows;
    EXPECT_FALSE(PlanFold(model.Situation(false, false, false), {50'000, kUnlimited}).worth_it) << rows;
  }
}

TEST(FoldPolicy, FoldsATailThatIsLongOrOldAndWorthwhileOrAskedFor) {
  const FoldSettings settings{50'000, kUnlimited};
  FoldSituation situation;
  situation.tail_rows = 50'000;
  EXPECT_TRUE(PlanFold(situation, settings).worth_it);
  situation.tail_rows = kWorthwhileTail;
  EXPECT_FALSE(PlanFold(situation, settings).worth_it);
  situation.tail_is_old = true;
  EXPECT_TRUE(PlanFold(situation, settings).worth_it);
  situation.tail_rows = kWorthwhileTail - 1;
  EXPECT_FALSE(PlanFold(situation, settings).worth_it);
  situation.everything = true;
  situation.tail_rows = 1;
  const FoldPlan plan = PlanFold(situation, settings);
  EXPECT_TRUE(plan.worth_it && plan.tail);
  EXPECT_EQ(plan.tail_rows, 1U);
  situation.tail_rows = 0;
  EXPECT_FALSE(PlanFold(situation, settings).worth_it) << "an empty index";
}

TEST(FoldPolicy, FoldsATailThatFillsMemoryBeforeItIsToBeSealed) {
  FoldSituation situation;
  situation.tail_rows = 10'000;
  const FoldPlan plan = PlanFold(situation, {50'000, 10'000});
  EXPECT_TRUE(plan.worth_it && plan.tail);
  EXPECT_EQ(plan.tail_rows, 10'000U);
}

TEST(FoldPolicy, TakesSmallSegmentsAlongWithALongTail) {
  Model model({50'000, kUnlimited});
  model.segments = {Fresh(1'000'000), Fresh(2'000), Fresh(1'000), Fresh(3'000)};
  model.tail_rows = 50'000;
  const FoldPlan plan = PlanFold(model.Situation(false, false, false), {50'000, kUnlimited});
  EXPECT_EQ(plan.first, 1U);
  EXPECT_EQ(plan.end, 4U);
  EXPECT_EQ(plan.base, FoldPlan::kNoBase) << "a quantiser trained on 3,000 rows is not one for 56,000";
}

TEST(FoldPolicy, TakesTheLargestSegmentAsBaseUnlessTooManyOfItsNodesAreDead) {
  const FoldSettings settings{50'000, kUnlimited};
  std::vector<SegmentWeight> segments = {Fresh(100'000), Fresh(50'000)};
  FoldSituation situation{{segments.data(), segments.size()}, 0, false, true, false};
  EXPECT_EQ(PlanFold(situation, settings).base, 0U);
  segments[0].dead = 15'000;
  EXPECT_EQ(PlanFold(situation, settings).base, 0U);
  segments[0].dead = 15'001;
  EXPECT_EQ(PlanFold(situation, settings).base, FoldPlan::kNoBase);
  segments[0].dead = 0;
  segments[0].nodes = 118'000;  // dead nodes of an earlier base
  EXPECT_EQ(PlanFold(situation, settings).base, FoldPlan::kNoBase);
  segments[0].nodes = 105'000;
  EXPECT_EQ(PlanFold(situation, settings).base, 0U);
  EXPECT_EQ(PlanFold(situation, {50'000, 154'999}).base, FoldPlan::kNoBase) << "dead nodes need memory";
}

TEST(FoldPolicy, RebuildsASegmentWithTooManyDeadNodes) {
  const FoldSettings settings{50'000, kUnlimited};
  std::vector<SegmentWeight> segments = {Fresh(1'000'000), Fresh(10'000)};
  const FoldSituation situation{{segments.data(), segments.size()}, 0, false, false, false};
  segments[0].dead = 250'000;
  EXPECT_FALSE(PlanFold(situation, settings).worth_it);
  segments[0].dead = 250'001;
  const FoldPlan plan = PlanFold(situation, settings);
  EXPECT_TRUE(plan.worth_it && !plan.tail);
  EXPECT_EQ(plan.first, 0U);
  EXPECT_EQ(plan.end, 1U);
  EXPECT_EQ(plan.base, FoldPlan::kNoBase);
  segments[0].dead = 0;
  segments[0].nodes = 1'350'000;
  EXPECT_TRUE(PlanFold(situation, settings).worth_it) << "dead nodes of an earlier base count";
}

TEST(FoldPolicy, CutsATailThatDoesNotFitIntoMemory) {
  Model model({50'000, 100'000});
  model.tail_rows = 1'020'000;
  EXPECT_EQ(model.Settle(false, false, false), 10) << "what is left is too short";
  EXPECT_EQ(model.tail_rows, 20'000U);
  EXPECT_EQ(model.written, 1'000'000U) << "full segments are not written again";
  EXPECT_EQ(model.Settle(true, true, true), 1);
  EXPECT_EQ(model.segments.size(), 11U);
}

TEST(FoldPolicy, FillsASmallSegmentUpFromATailThatIsCut) {
  Model model({50'000, 100'000});
  model.segments = {Fresh(100'000), Fresh(20'000)};
  model.tail_rows = 500'000;
  const FoldPlan plan = PlanFold(model.Situation(false, false, false), {50'000, 100'000});
  EXPECT_EQ(plan.first, 1U);
  EXPECT_EQ(plan.tail_rows, 80'000U);
}

TEST(FoldPolicy, MergesEmptySegmentsAway) {
  Model model({50'000, kUnlimited});
  const SegmentWeight empty{0, 0, 5'000, 0};
  model.segments = {Fresh(1'000'000), empty, empty, empty};
  model.Settle(false, true, false);
  EXPECT_EQ(model.segments.size(), 2U);
  model.tail_rows = 50'000;
  model.Settle(false, false, false);
  EXPECT_EQ(model.segments.size(), 2U);
}

TEST(FoldPolicy, KeepsAllRowIdsOfOneSegmentWithin32Bits) {
  Model model({50'000, ~std::uint64_t{0} >> 1});
  const SegmentWeight sparse{10'000, 0, std::uint64_t{1} << 29, 10'000};
  model.segments = {sparse, sparse, sparse, sparse, sparse};
  model.Settle(false, true, false);
  EXPECT_EQ(model.segments.size(), 3U);
  for (const SegmentWeight& segment : model.segments) EXPECT_LT(segment.span, std::uint64_t{1} << 32);
}

TEST(FoldPolicy, WritesFewRowsTwiceDuringASteadyLoad) {
  constexpr std::uint64_t kRows = 1'000'000;
  for (const std::uint64_t seal_rows : {5'000U, 10'000U, 50'000U, 64'000U}) {
    Model model({seal_rows, kUnlimited});
    for (std::uint64_t loaded = 0; loaded < kRows; loaded += seal_rows) {
      model.tail_rows += seal_rows;
      model.Settle(false, false, false);
      EXPECT_EQ(model.tail_rows, 0U);
    }
    const double levels = LogToFoldGrowth(static_cast<double>(kRows) / static_cast<double>(seal_rows));
    EXPECT_LE(static_cast<double>(model.written) / kRows, 1.0 + levels) << seal_rows;
    EXPECT_LE(static_cast<double>(model.most_segments), 3.0 * (std::floor(levels) + 1.0)) << seal_rows;
    model.Settle(true, true, false);
    model.ExpectAtRest();
    EXPECT_LE(model.segments.size(), 3U);
    EXPECT_LE(static_cast<double>(model.written) / kRows, 2.0 + levels) << seal_rows;
  }
}

TEST(FoldPolicy, WritesFewRowsTwiceWhateverTheTailsAre) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 200; ++round) {
    Model model({10'000, kUnlimited});
    const double spread = std::uniform_real_distribution<double>(1.0, 20.0)(random);
    const double growth = std::uniform_real_distribution<double>(0.98, 1.3)(random);
    std::uint64_t loaded = 0;
    double mean = 10'000;
    while (loaded < 3'000'000) {
      const double rows = mean * std::uniform_real_distribution<double>(1.0, spread)(random);
      model.tail_rows = std::max<std::uint64_t>(static_cast<std::uint64_t>(rows), 10'000);
      loaded += model.tail_rows;
      mean *= growth;
      model.Settle(false, false, false);
    }
    const double ratio = static_cast<double>(loaded) / 10'000;
    EXPECT_LE(static_cast<double>(model.written) / static_cast<double>(loaded), 1.0 + LogToFoldGrowth(ratio));
    EXPECT_LE(static_cast<double>(model.most_segments), 1.0 + std::log(ratio) / std::log(4.0 / 3.0));
  }
}

TEST(FoldPolicy, SealsABulkLoadInOnePieceIfItFits) {
  Model model({50'000, kUnlimited});
  model.tail_rows = 50'000;  // the worker is quick to take the first rows
  model.Settle(false, false, false);
  model.tail_rows = 950'000;
  model.Settle(false, false, false);
  EXPECT_EQ(model.segments.size(), 1U);
  EXPECT_EQ(model.written, 1'050'000U);
  EXPECT_EQ(model.Settle(true, true, true), 0);
}

TEST(FoldPolicy, CutsFoldsThatRowsOvertake) {
  constexpr std::uint64_t kSealRows = 10'000;
  constexpr std::uint64_t kEnough = kCutTails * kSealRows;
  EXPECT_FALSE(IsWorthCutting({0, 100 * kEnough, 0}, kSealRows)) << "nothing waits behind it";
  EXPECT_FALSE(IsWorthCutting({0, kSealRows, 100 * kEnough}, kSealRows)) << "too little is read";
  EXPECT_TRUE(IsWorthCutting({0, kEnough, kEnough}, kSealRows));
  EXPECT_FALSE(IsWorthCutting({kEnough, kEnough, kEnough}, kSealRows)) << "much is written again";
  for (const double rate : {0.25, 0.5, 1.0, 2.0}) {  // rows that arrive while one is folded
    Model model({kSealRows, kUnlimited});
    const auto arriving = [rate](std::uint64_t rows) {
      return static_cast<std::uint64_t>(rate * static_cast<double>(rows));
    };
    model.tail_rows = 200'000;
    std::uint64_t folded = 0;
    while (folded < 3'000'000 && model.tail_rows >= kSealRows) {
      FoldPlan plan = PlanFold(model.Situation(false, false, false), {kSealRows, kUnlimited});
      ASSERT_TRUE(plan.tail);
      FoldReading reading;
      for (std::uint32_t i = plan.first; i < plan.end; ++i) reading.absorbed_rows += model.segments[i].rows;
      while (reading.read_rows < plan.tail_rows && !IsWorthCutting(reading, kSealRows)) {
        reading.arrived_rows = arriving(++reading.read_rows);
      }
      plan.tail_rows = reading.read_rows;
      model.Apply(plan);
      model.tail_rows += reading.arrived_rows;
      folded += reading.read_rows;
      const double longest =
          std::max(kEnough * std::max(1.0, 1.0 / rate), 3.0 * static_cast<double>(reading.absorbed_rows));
      EXPECT_LE(static_cast<double>(reading.read_rows), longest + 1.0) << rate;
    }
    const double levels = LogToFoldGrowth(static_cast<double>(folded) / kSealRows);
    EXPECT_LE(static_cast<double>(model.written) / static_cast<double>(folded), 1.0 + levels) << rate;
  }
}

/// Replaces rows at a constant rate, the table keeping its size.
struct ChurnResult {
  double written_per_row;
  double inserted_per_row;
  std::size_t most_segments_at_rest;
  double most_wasted;
};

ChurnResult Churn(std::uint64_t rows, std::uint64_t batch, FoldSettings settings, int batches) {
  std::mt19937_64 random(2);
  Model model(settings);
  model.tail_rows = rows;
  model.Settle(true, true, true);
  model.written = model.inserted = 0;
  ChurnResult result = {};
  for (int i = 0; i < batches; ++i) {
    model.tail_rows += batch;
    const double share = static_cast<double>(batch) / static_cast<double>(model.LiveRows());
    for (SegmentWeight& segment : model.segments) {
      std::binomial_distribution<std::uint64_t> dying(Live(segment), share);
      segment.dead += dying(random);
    }
    model.Settle(true, i % 2 == 1, false);
    if (i % 2 == 0) continue;
    model.ExpectAtRest();
    result.most_segments_at_rest = std::max(result.most_segments_at_rest, model.segments.size());
    for (const SegmentWeight& segment : model.segments) {
      result.most_wasted = std::max(result.most_wasted, WastedShare(segment));
    }
  }
  const double replaced = static_cast<double>(batch) * batches;
  result.written_per_row = static_cast<double>(model.written) / replaced;
  result.inserted_per_row = static_cast<double>(model.inserted) / replaced;
  return result;
}

TEST(FoldPolicy, KeepsUpWithSteadyChurn) {
  for (const std::uint64_t batch : {2'000U, 10'000U, 50'000U}) {
    const ChurnResult result = Churn(1'000'000, batch, {50'000, kUnlimited}, 1'000);
    EXPECT_LE(result.most_segments_at_rest, 3U) << batch;
    EXPECT_LE(result.most_wasted, kRebuildDeadPercent / 100.0) << batch;
    EXPECT_LE(result.written_per_row, 15.0) << batch;
    EXPECT_LE(result.inserted_per_row, 7.0) << batch;
  }
}

TEST(FoldPolicy, KeepsUpWithChurnInSegmentsOfLimitedSize) {
  const ChurnResult result = Churn(1'000'000, 10'000, {10'000, 100'000}, 1'000);
  EXPECT_LE(result.most_segments_at_rest, 2U * 10U + 3U);
  EXPECT_LE(result.most_wasted, kRebuildDeadPercent / 100.0);
  EXPECT_LE(result.written_per_row, 9.0);
}

TEST(FoldPolicy, LeavesSegmentsNearTheCapacityAlone) {
  Model model({10'000, 100'000});
  for (int i = 0; i < 200; ++i) {
    model.tail_rows += 10'000;
    model.Settle(true, true, false);
  }
  model.ExpectAtRest();
  EXPECT_LE(model.segments.size(), 2U * 20U);
  EXPECT_LE(static_cast<double>(model.written) / 2'000'000.0, 6.0);
  EXPECT_EQ(model.Settle(true, true, true), 0);
}

TEST(FoldPolicy, EndsFromAnySituation) {
  std::mt19937_64 random(3);
  const auto up_to = [&random](std::uint64_t largest) {
    // As many small numbers as large ones, and zero.
    const double exponent = std::uniform_real_distribution<double>(0.0, 1.0)(random);
    return static_cast<std::uint64_t>(std::pow(static_cast<double>(largest) + 1.0, exponent)) - 1;
  };
  for (int round = 0; round < 20'000 && !HasFailure(); ++round) {
    const FoldSettings settings{up_to(100'000), round % 3 == 0 ? kUnlimited : up_to(200'000)};
    Model model({settings.seal_rows, std::max<std::uint64_t>(settings.capacity_rows, 1)});
    const std::uint64_t count = up_to(30);
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t rows = up_to(1'000'000);
      const std::uint64_t dead = std::min(up_to(1'000'000), round % 2 == 0 ? rows : rows / 5);
      model.segments.push_back({rows, dead, rows + up_to(1'000'000), up_to(1'500'000)});
    }
    model.tail_rows = std::min(up_to(5'000'000), 1'000 * std::max<std::uint64_t>(settings.capacity_rows, 1));
    const std::uint64_t live = model.LiveRows();
    const bool tail_is_old = round % 5 == 0;
    const bool at_rest = round % 7 < 3;
    const bool everything = round % 11 < 4;
    model.Settle(tail_is_old, at_rest, everything);
    EXPECT_EQ(model.LiveRows(), live);
    if (everything) {
      EXPECT_EQ(model.tail_rows, 0U);
    }
    if (at_rest || everything) model.ExpectAtRest();
    EXPECT_EQ(model.Settle(tail_is_old, at_rest, everything), 0) << "an end is an end";
  }
}

}  // namespace
}  // namespace tandem::policy
