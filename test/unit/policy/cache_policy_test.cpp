// What caches keep by utility, on traces: scans, Zipf's law, shifts, mixed sizes and costs. A cache of pieces is simulated as the
// filter cache does it: of a few pieces at the hand of a clock the one of least utility goes.
//
// Seen to fail with: uses that do not decay; utility without the cost, without the size; the least useful piece of all given up only
// by age (that is LRU, to which each trace is compared).

#include "policy/cache_policy.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <list>
#include <random>
#include <unordered_map>
#include <vector>

namespace tandem::policy {
namespace {

struct Piece {
  std::uint32_t id;
  PieceCost cost;
  UseCount count;
};

/// Of `capacity` bytes. Ask() returns what a request costs: 0 where it was found.
class SimulatedCache {
 public:
  SimulatedCache(std::uint64_t capacity, bool by_age) : capacity_(capacity), by_age_(by_age) {}

  float Ask(std::uint32_t id, const PieceCost& cost, std::uint32_t now) {
    const auto found = places_.find(id);
    if (found != places_.end()) {
      found->second->count = WithUses(found->second->count, 1, now);
      // In the order of their last use only for LRU.
      if (by_age_) pieces_.splice(pieces_.end(), pieces_, found->second);
      return 0;
    }
    while (used_ + cost.bytes > capacity_) GiveUp(now);
    pieces_.push_back({id, cost, {1, now}});
    places_[id] = std::prev(pieces_.end());
    used_ += cost.bytes;
    return cost.reload_us;
  }

  [[nodiscard]] bool Has(std::uint32_t id) const { return places_.count(id) > 0; }

 private:
  static constexpr int kSample = 16;

  void GiveUp(std::uint32_t now) {
    auto victim = pieces_.begin();
    for (int i = 0; i < kSample && !by_age_ && i < static_cast<int>(pieces_.size()); i++) {
      // The hand goes on: what it has passed is behind all others.
      const auto piece = pieces_.begin();
      pieces_.splice(pieces_.end(), pieces_, piece);
      if (i == 0 || WorthOf(BudgetMode::kCoordinated, piece->count, piece->cost, now) <
                        WorthOf(BudgetMode::kCoordinated, victim->count, victim->cost, now))
        victim = piece;
    }
    used_ -= victim->cost.bytes;
    places_.erase(victim->id);
    pieces_.erase(victim);
  }

  std::uint64_t capacity_;
  bool by_age_;
  std::uint64_t used_ = 0;
  std::list<Piece> pieces_;
  std::unordered_map<std::uint32_t, std::list<Piece>::iterator> places_;
};

constexpr PieceCost kOne = {1, 1};

/// By Zipf's law with exponent 1, 0 the most frequent.
std::vector<std::uint32_t> Zipf(std::uint32_t ids, std::size_t length, std::uint32_t seed) {
  std::vector<double> sums(ids);
  double sum = 0;
  for (std::uint32_t i = 0; i < ids; i++) sums[i] = sum += 1.0 / (i + 1);
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> below(0, sum);
  std::vector<std::uint32_t> trace(length);
  for (auto& id : trace)
    id = static_cast<std::uint32_t>(std::lower_bound(sums.begin(), sums.end(), below(random)) - sums.begin());
  return trace;
}

TEST(CacheUtility, HalvesWithTimeAndAddsUp) {
  UseCount count = WithUses({}, 8, 100);
  EXPECT_FLOAT_EQ(UsesAt(count, 100), 8);
  EXPECT_FLOAT_EQ(UsesAt(count, 100 + kUseHalfLifeSeconds), 4);
  count = WithUses(count, 1, 100 + 2 * kUseHalfLifeSeconds);
  EXPECT_FLOAT_EQ(UsesAt(count, 100 + 2 * kUseHalfLifeSeconds), 3);
  // A process whose clock is a second behind.
  EXPECT_FLOAT_EQ(UsesAt(count, 99), 3);
  EXPECT_FLOAT_EQ(UsesAt(count, ~std::uint32_t{0}), 0);
}

TEST(CacheUtility, IsUsesTimesCostByBytes) {
  EXPECT_DOUBLE_EQ(UtilityOf({3, 10}, {20, 5}, 10), 12);
  EXPECT_GT(UtilityOf({1, 10}, {100, 10}, 10), UtilityOf({1, 10}, {99, 10}, 10));
  EXPECT_GT(UtilityOf({1, 10}, {100, 10}, 10), UtilityOf({1, 10}, {100, 11}, 10));
  EXPECT_DOUBLE_EQ(UtilityOf({1, 10}, {100, 0}, 10), 100) << "never by nothing";
}

// Filters that are used again and again, and one sweep over ten times as many as fit.
TEST(CacheTraces, AScanDoesNotEmptyTheCache) {
  SimulatedCache by_utility(100, false);
  SimulatedCache by_age(100, true);
  std::uint32_t now = 1;
  for (int round = 0; round < 20; round++, now++)
    for (std::uint32_t id = 0; id < 50; id++) {
      by_utility.Ask(id, kOne, now);
      by_age.Ask(id, kOne, now);
    }
  for (std::uint32_t id = 0; id < 1000; id++) {
    by_utility.Ask(10'000 + id, kOne, now);
    by_age.Ask(10'000 + id, kOne, now);
  }
  int kept_by_utility = 0;
  int kept_by_age = 0;
  for (std::uint32_t id = 0; id < 50; id++) {
    kept_by_utility += by_utility.Has(id) ? 1 : 0;
    kept_by_age += by_age.Has(id) ? 1 : 0;
  }
  EXPECT_GE(kept_by_utility, 45) << "samples are samples";
  EXPECT_EQ(kept_by_age, 0);
}

TEST(CacheTraces, FindsMoreOfZipfsLawThanByAge) {
  SimulatedCache by_utility(100, false);
  SimulatedCache by_age(100, true);
  float missed_by_utility = 0;
  float missed_by_age = 0;
  const std::vector<std::uint32_t> trace = Zipf(2000, 60'000, 1);
  for (std::size_t i = 0; i < trace.size(); i++) {
    const auto now = static_cast<std::uint32_t>(1 + i / 1000);
    missed_by_utility += by_utility.Ask(trace[i], kOne, now);
    missed_by_age += by_age.Ask(trace[i], kOne, now);
  }
  EXPECT_LT(missed_by_utility, 0.9F * missed_by_age);
}

// Another set of filters becomes the one that is used: within some half-lives the old one has gone.
TEST(CacheTraces, FollowsAShift) {
  SimulatedCache cache(100, false);
  std::uint32_t now = 1;
  for (int second = 0; second < 300; second++, now++)
    for (std::uint32_t id = 0; id < 90; id++) cache.Ask(id, kOne, now);
  std::uint32_t seconds_to_follow = 0;
  for (float missed = 1; missed > 0 && seconds_to_follow < 1000; seconds_to_follow++, now++) {
    missed = 0;
    for (std::uint32_t id = 1000; id < 1090; id++) missed += cache.Ask(id, kOne, now);
  }
  EXPECT_LT(seconds_to_follow, 7 * kUseHalfLifeSeconds);
  EXPECT_GT(seconds_to_follow, 2U) << "it does not forget at once";
}

// Small pieces that are as dear as large ones are worth more room; so are those that take long to make.
TEST(CacheTraces, WeighsSizeAndCost) {
  SimulatedCache by_utility(1000, false);
  SimulatedCache by_age(1000, true);
  float missed_by_utility = 0;
  float missed_by_age = 0;
  std::mt19937 random(3);
  for (int i = 0; i < 60'000; i++) {
    const auto now = static_cast<std::uint32_t>(1 + i / 1000);
    const auto id = static_cast<std::uint32_t>(random() % 300);
    const PieceCost cost = {id % 3 == 0 ? 50.F : 1.F, id % 2 == 0 ? 20U : 2U};
    missed_by_utility += by_utility.Ask(id, cost, now);
    missed_by_age += by_age.Ask(id, cost, now);
  }
  EXPECT_LT(missed_by_utility, 0.5F * missed_by_age);
}

// A search asks for a few codes of each chunk of a large graph, and for all of those of a small one.
TEST(CacheUtility, AChunkOfALargeGraphIsUsedLess) {
  EXPECT_FLOAT_EQ(UsesOfChunk(100, 1, 1000), 100);
  EXPECT_FLOAT_EQ(UsesOfChunk(100, 2, 1000), 100);
  EXPECT_FLOAT_EQ(UsesOfChunk(100, 3125, 1200), 0.1F);
  EXPECT_FLOAT_EQ(UsesOfChunk(100, 0, 1000), 100);
  EXPECT_FLOAT_EQ(UsesOfChunk(100, 250, 48), 0.05F) << "searches read far fewer lists";
  EXPECT_FLOAT_EQ(UsesOfChunk(100, 250, 0), 0) << "and maybe none";
}

TEST(CacheUtility, ACostIsWhatMostPiecesTook) {
  EXPECT_FLOAT_EQ(WithCost(0, 40), 40);
  EXPECT_FLOAT_EQ(WithCost(40, 56), 41);
  // One of them was interrupted.
  EXPECT_LT(WithCost(40, 20'000), 50);
  // The disk is slower now.
  float cost = 40;
  for (int i = 0; i < 24; i++) cost = WithCost(cost, 400);
  EXPECT_GT(cost, 300);
  // The first one was interrupted.
  cost = 20'000;
  for (int i = 0; i < 120; i++) cost = WithCost(cost, 40);
  EXPECT_LT(cost, 60);
}

TEST(CacheUtility, CodesAreWorthMoreThanLinksWhereChunksOfThemAreReadMore) {
  EXPECT_TRUE(AreCodesWorthMore(kUsualReads, 400, 200));
  EXPECT_FALSE(AreCodesWorthMore({1000, 850}, 400, 200)) << "walks by a filter";
  EXPECT_FALSE(AreCodesWorthMore({1000, 260}, 400, 200)) << "a little more is not enough";
  EXPECT_FALSE(AreCodesWorthMore({1000, 200}, 1, 1)) << "every search reads either chunk";
  EXPECT_TRUE(AreCodesWorthMore({6000, 0}, 400, 200)) << "all that a filter admits is compared";
}

TEST(GraphReads, AreWhatSearchesReadOfLate) {
  GraphReads reads = WithReads(kUsualReads, {}, 0);
  EXPECT_FLOAT_EQ(reads.codes, kUsualReads.codes) << "no search, nothing new";
  // A few of another kind are some of them.
  reads = WithReads(kUsualReads, {16 * 1400, 16 * 850}, 16);
  EXPECT_FLOAT_EQ(reads.codes, 1100);
  EXPECT_FLOAT_EQ(reads.lists, 250);
  for (int i = 0; i < 20; i++) reads = WithReads(reads, {16 * 1400, 16 * 850}, 16);
  EXPECT_NEAR(reads.codes, 1400, 2);
  EXPECT_NEAR(reads.lists, 850, 5);
  // Many at once are all there is.
  reads = WithReads(reads, {0, 100'000}, 1000);
  EXPECT_FLOAT_EQ(reads.codes, 0);
  EXPECT_FLOAT_EQ(reads.lists, 100);
}

// A set that is used once a second counts 43 uses in the end, and as many from its beginning on.
TEST(AsAlways, CountsWhatIsNewAsIfItWereOld) {
  UseCount count = {1, 100};
  EXPECT_FLOAT_EQ(UsesAt(AsAlways(count, 100, 100), 100), 1) << "used once, maybe for the last time";
  EXPECT_FLOAT_EQ(UsesAt(AsAlways(count, 100, 130), 130), 0.5);
  for (std::uint32_t now = 101; now <= 400; now++) {
    count = WithUses(count, 1, now);
    if (now >= 105) {
      EXPECT_NEAR(UsesAt(AsAlways(count, 100, now), now), 43.3F, 3.0F) << now;
    }
  }
  EXPECT_NEAR(UsesAt(AsAlways(count, 100, 400), 400), UsesAt(count, 400), 0.1F);
  EXPECT_EQ(AsAlways(count, 100, 410).at, 400U) << "still as idle as it was";
  // Twice at once is not taken for twice in each second.
  EXPECT_LT(UsesAt(AsAlways({2, 100}, 100, 100), 100), 12);
  // Used for a minute, and again ten minutes later: it begins anew.
  EXPECT_FALSE(IsForgotten(count, 430));
  EXPECT_TRUE(IsForgotten(count, 1000));
  // The clock of another process is behind.
  EXPECT_GT(UsesAt(AsAlways({2, 100}, 100, 99), 99), 2);
}

TEST(CacheUtility, ALoadThatHasGoneIsNotCountedOn) {
  UseCount count;
  RecentUses recent;
  std::uint32_t now = 1;
  const auto pass = [&](int seconds, float rate) {
    for (int i = 0; i < seconds; i++, now++) {
      count = WithUses(count, rate, now);
      recent = WithRecentUses(recent, rate, now);
    }
    now--;
  };
  pass(300, 1000);
  EXPECT_NEAR(UsesNow(count, recent, now), UsesAt(count, now), 0.01F * UsesAt(count, now));
  // A tenth of a second in which others come less often is nothing to go by, two seconds are.
  recent = WithRecentUses(recent, 1, ++now);
  EXPECT_GT(UsesNow(count, recent, now), 0.9F * UsesAt(count, now));
  pass(2, 10);
  EXPECT_LT(UsesNow(count, recent, now), 0.02F * UsesAt(count, now));
  // When it comes back it is there at once.
  pass(1, 1000);
  EXPECT_GT(UsesNow(count, recent, now), 0.9F * UsesAt(count, now));
}

TEST(RecentUses, AreThoseOfTheLastWholeSecond) {
  RecentUses recent = WithRecentUses({}, 30, 100);
  EXPECT_FLOAT_EQ(UsesASecond(recent, 100), 30);
  EXPECT_FLOAT_EQ(UsesASecond(recent, 99), 30) << "the clock of another process is behind";
  recent = WithRecentUses(recent, 2, 101);
  EXPECT_FLOAT_EQ(UsesASecond(recent, 101), 30) << "this second is not over";
  EXPECT_FLOAT_EQ(UsesASecond(WithRecentUses(recent, 40, 101), 101), 42) << "but has more already";
  EXPECT_FLOAT_EQ(UsesASecond(recent, 102), 2);
  EXPECT_FLOAT_EQ(UsesASecond(recent, 103), 1) << "no more than once in the time without any";
  EXPECT_LE(UsesASecond(recent, 106), 0.25F);
  EXPECT_FLOAT_EQ(UsesASecond(WithRecentUses(recent, 5, 110), 110), 5);
}

TEST(CacheUtility, WhatWasUsedOftenAndNoLongerIsWorthLess) {
  constexpr auto kMode = BudgetMode::kCoordinated;
  const PieceCost cost = {100, 1};
  const UseCount often = WithUses({}, 1000, 100);
  EXPECT_DOUBLE_EQ(WorthOf(kMode, often, cost, 100), UtilityOf(often, cost, 100));
  EXPECT_LT(WorthOf(kMode, often, cost, 110), 0.01 * UtilityOf(often, cost, 110));
  // Once in ten seconds, asked just before the next use.
  UseCount seldom;
  for (std::uint32_t at = 100; at <= 200; at += 10) seldom = WithUses(seldom, 1, at);
  EXPECT_GT(WorthOf(kMode, seldom, cost, 209), 0.9 * UtilityOf(seldom, cost, 209));
}

TEST(CacheUtility, ByAgeAloneOnlyTheLastUseCounts) {
  constexpr auto kLru = BudgetMode::kLru;
  EXPECT_GT(WorthOf(kLru, {1, 20}, {1, 1000}, 30), WorthOf(kLru, {100, 19}, {1000, 1}, 30));
  EXPECT_DOUBLE_EQ(WorthOf(kLru, {1, 31}, {1, 1}, 30), 1) << "a second ahead";
  EXPECT_DOUBLE_EQ(WorthOf(BudgetMode::kCoordinated, {3, 10}, {20, 5}, 10), 12);
  EXPECT_TRUE(TakesFromOther(kLru, {90, 60, 5, 1}, {10, 40, 5, 0.5})) << "no targets";
  EXPECT_FALSE(TakesFromOther(kLru, {10, 60, 5, 0.5}, {90, 40, 5, 0.5}));
  EXPECT_FALSE(TakesFromOther(kLru, {95, 60, 5, 1}, {5, 40, 5, 0.5})) << "but floors";
}

TEST(PartLeft, IsLittleSoonAfterALoadHasGone) {
  UseCount count;
  RecentUses recent;
  EXPECT_EQ(PartLeft(count, recent, 0), 0.0F);
  for (std::uint32_t second = 0; second < 300; second++) {
    count = WithUses(count, 10, second);
    recent = WithRecentUses(recent, 10, second);
  }
  EXPECT_GT(PartLeft(count, recent, 299), 0.6F);
  EXPECT_LE(PartLeft(count, recent, 299), 1.0F);
  EXPECT_LT(PartLeft(count, recent, 303), 0.1F);
  EXPECT_LT(PartLeft(count, recent, 304), 0.05F);
  // One that comes every 20 s is still there after half a minute.
  UseCount seldom;
  RecentUses seldom_recent;
  for (std::uint32_t second = 0; second <= 300; second += 20) {
    seldom = WithUses(seldom, 1, second);
    seldom_recent = WithRecentUses(seldom_recent, 1, second);
  }
  EXPECT_EQ(PartLeft(seldom, seldom_recent, 330), 1.0F);
  EXPECT_LT(PartLeft(seldom, seldom_recent, 400), 0.05F);
  // A load that begins is not taken for one that was always there, but all of it is there.
  EXPECT_EQ(PartLeft({5, 10}, {5, 0, 10}, 10), 1.0F);
}

TEST(Admission, WhatIsWorthMoreThanWhatGoes) {
  EXPECT_TRUE(IsAdmitted(BudgetMode::kCoordinated, 2, 1));
  EXPECT_FALSE(IsAdmitted(BudgetMode::kCoordinated, 1, 1)) << "nothing is gained";
  EXPECT_FALSE(IsAdmitted(BudgetMode::kIndependent, 1, 2));
  EXPECT_TRUE(IsAdmitted(BudgetMode::kLru, 1, 2)) << "by age alone";
}

// ---- Two caches ----

constexpr auto kCoordinated = BudgetMode::kCoordinated;
constexpr auto kIndependent = BudgetMode::kIndependent;

TEST(CacheSides, WhoIsBelowItsTargetTakesFromWhoIsAbove) {
  CacheShare poor = {10, 60, 5, 100};
  CacheShare rich = {90, 40, 5, 1000};
  EXPECT_TRUE(TakesFromOther(kCoordinated, poor, rich)) << "a quarter of it, though it is worth less";
  EXPECT_FALSE(TakesFromOther(kCoordinated, rich, {10, 60, 10, 0}));
  poor.frames = 50;
  rich.frames = 50;
  EXPECT_FALSE(TakesFromOther(kCoordinated, poor, rich))
      << "three quarters are lent to what is worth far more";
  EXPECT_TRUE(TakesFromOther(kIndependent, poor, rich)) << "after a change of the mode";
  EXPECT_FALSE(TakesFromOther(kIndependent, {50, 60, 5, 1000}, {40, 40, 5, 0}));
  EXPECT_FALSE(TakesFromOther(kIndependent, {60, 60, 5, 1000}, {41, 40, 5, 0}));
}

TEST(CacheSides, AtTheirTargetsWorthDecidesWithinBounds) {
  const CacheShare dear = {60, 60, 5, 100};
  CacheShare cheap = {40, 40, 5, 20};
  EXPECT_TRUE(TakesFromOther(kCoordinated, dear, cheap));
  EXPECT_FALSE(TakesFromOther(kCoordinated, cheap, dear));
  cheap.least_utility = 60;
  EXPECT_FALSE(TakesFromOther(kCoordinated, dear, cheap)) << "not for a little";
  cheap = {11, 40, 5, 20};
  EXPECT_TRUE(TakesFromOther(kCoordinated, dear, cheap));
  cheap = {10, 40, 5, 20};
  EXPECT_FALSE(TakesFromOther(kCoordinated, dear, cheap)) << "a quarter stays";
}

// As after a load that has gone: sets of filters that nobody asks for any more, however large their target still is.
TEST(CacheSides, WhatIsWorthNextToNothingGoesDownToTheFloor) {
  const CacheShare dear = {90, 60, 5, 100};
  CacheShare worthless = {10, 40, 5, 1};
  EXPECT_TRUE(TakesFromOther(kCoordinated, dear, worthless));
  EXPECT_FALSE(TakesFromOther(kCoordinated, worthless, dear)) << "nor does it take its quarter back";
  worthless.frames = 5;
  EXPECT_FALSE(TakesFromOther(kCoordinated, dear, worthless));
  worthless.frames = 4;
  EXPECT_TRUE(TakesFromOther(kCoordinated, worthless, dear)) << "what begins has something to be worth it";
}

TEST(CacheSides, TheFloorStays) {
  const CacheShare own = {90, 95, 5, 100};
  EXPECT_FALSE(TakesFromOther(kCoordinated, own, {10, 5, 10, 0}));
  EXPECT_TRUE(TakesFromOther(kCoordinated, own, {11, 5, 10, 0}));
}

// What they are worth is measured, and not the same twice: memory that is lent and taken back all the time is of use to nobody.
TEST(CacheSides, WhatIsWorthALittleMoreStaysWhereItIs) {
  const CacheShare lent = {80, 60, 5, 100};
  CacheShare owner = {20, 40, 5, 40};
  EXPECT_TRUE(TakesFromOther(kCoordinated, lent, owner));
  for (const double worth : {50.0, 70.0, 99.0}) {
    owner.least_utility = worth;
    EXPECT_FALSE(TakesFromOther(kCoordinated, lent, owner)) << worth;
    EXPECT_FALSE(TakesFromOther(kCoordinated, owner, lent)) << worth;
  }
  owner.least_utility = 100;
  EXPECT_TRUE(TakesFromOther(kCoordinated, owner, lent));
}

// Taking back and forth would only cost. What one has taken has no smaller utility than what gave way, so that the other does not
// take it back while both remain as they are.
TEST(CacheSides, NobodyTakesBackWhatWasJustTaken) {
  for (std::uint64_t own_frames = 1; own_frames < 100; own_frames++)
    for (const double own_utility : {0.0, 0.01, 0.5, 1.0, 3.0, 10.0})
      for (const double other_utility : {0.0, 0.01, 0.5, 1.0, 3.0, 10.0}) {
        const CacheShare own = {own_frames, 60, 5, own_utility};
        const CacheShare other = {100 - own_frames, 40, 5, other_utility};
        if (!TakesFromOther(kCoordinated, own, other)) continue;
        const CacheShare own_after = {own_frames + 1, 60, 5, own_utility};
        const CacheShare other_after = {100 - own_frames - 1, 40, 5, other_utility};
        EXPECT_FALSE(TakesFromOther(kCoordinated, other_after, own_after)) << own_frames;
      }
}

TEST(CacheSides, NeitherMayHaveMoreThanThereIs) {
  const CacheShare graph = {0, 60, 5, 0};
  const CacheShare filter = {0, 40, 8, 0};
  EXPECT_EQ(MostFrames(kIndependent, CacheSide::kGraph, graph, filter), 60U);
  EXPECT_EQ(MostFrames(kIndependent, CacheSide::kFilter, graph, filter), 40U);
  EXPECT_EQ(MostFrames(kCoordinated, CacheSide::kGraph, graph, filter), 100U);
  EXPECT_EQ(MostFrames(kCoordinated, CacheSide::kFilter, graph, filter), 95U);
}

}  // namespace
}  // namespace tandem::policy
