// A load that shifts, in a model of both caches: searches of a graph, searches by conditions, conditions that leave so few rows that no
// graph is needed, searches again. Each mode serves the same trace; what is compared is the time that queries take.
//
// The model: a graph of codes and of as many bytes of links, which go first; either takes 40 ns from memory and 350 from pages, and a search
// reads many codes and few links; sets of a condition each, which take 25 ms to make again. Figures of 1,000,000 rows x 128; the clock is
// that of the queries.
//
// Seen to fail with: a use of a graph counted as a use of each of its chunks, however many there are; a graph's uses of half a minute counted
// on; what was used often trusted, however long ago; sets that are new taken to be used seldom (AsAlways()).

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <list>
#include <random>
#include <unordered_map>
#include <vector>

#include "policy/budget_policy.hpp"
#include "policy/cache_policy.hpp"

namespace tandem::policy {
namespace {

constexpr std::uint64_t kFrames = 4'800;
constexpr std::uint64_t kChunks = 7'200;  // half as many again
constexpr std::uint64_t kFramesOfSet = 4;
constexpr std::uint32_t kWalked = 900;  // conditions; 75 % of the frames
constexpr std::uint32_t kListed = 900;
constexpr double kFrameBytes = 65'536;
constexpr float kChunkLoadUs = 40;
constexpr float kSetUs = 25'000;
constexpr double kClients = 2;
constexpr double kSearchUs = 150;  // beside the codes
constexpr GraphReads kPlainReads = {1'000, 50};
constexpr GraphReads kFilteredReads = {1'400, 850};
constexpr std::uint64_t kCodeChunks = kChunks / 2;
constexpr std::uint64_t kLinkChunks = kChunks - kCodeChunks;

class Model {
 public:
  explicit Model(BudgetMode mode) : mode_(mode) {}

  /// Returns the queries that `seconds` had time for.
  double Serve(double vector_only, double walked, double listed, double seconds) {
    const double end = clock_ + seconds;
    double queries = 0;
    while (clock_ < end) {
      const double kind = std::uniform_real_distribution<double>(0, vector_only + walked + listed)(random_);
      double us;
      if (kind < vector_only) {
        interval_.vector_only++;
        us = Search(kPlainReads);
      } else if (kind < vector_only + walked) {
        interval_.hybrid++;
        us = Ask(static_cast<std::uint32_t>(random_()) % kWalked) + Search(kFilteredReads);
      } else {
        interval_.metadata_only += 1.5;
        interval_.hybrid++;
        us = Ask(kWalked + static_cast<std::uint32_t>(random_()) % kListed) + kSearchUs;
      }
      clock_ += us / 1e6 / kClients;
      queries++;
      RebalanceIfDue();
    }
    return queries;
  }

  [[nodiscard]] std::uint64_t graph_frames() const { return graph_frames_; }

 private:
  struct Set {
    std::uint32_t id;
    UseCount count;
    std::uint32_t since;
  };

  [[nodiscard]] std::uint32_t Now() const { return static_cast<std::uint32_t>(clock_); }
  [[nodiscard]] std::uint64_t Free() const { return kFrames - graph_frames_ - sets_.size() * kFramesOfSet; }

  [[nodiscard]] double GraphWorth() const {
    const float all = UsesNow(AsAlways(graph_uses_, 100, Now()), recent_uses_, Now());
    const float uses = graph_frames_ > kCodeChunks ? UsesOfChunk(all, kLinkChunks, reads_.lists)
                                                   : UsesOfChunk(all, kCodeChunks, reads_.codes);
    return WorthOf(mode_, {uses, mode_ == BudgetMode::kLru ? graph_uses_.at : Now()},
                   {kChunkLoadUs, static_cast<std::uint64_t>(kFrameBytes)}, Now());
  }
  [[nodiscard]] double WorthOfSet(const Set& set) const {
    return WorthOf(mode_, AsAlways(set.count, set.since, Now()),
                   {kSetUs, static_cast<std::uint64_t>(kFramesOfSet * kFrameBytes)}, Now());
  }

  [[nodiscard]] CacheShare GraphShare() const {
    const auto target = static_cast<std::uint64_t>(share_ * kFrames);
    return {graph_frames_, target, kFrames / 20, GraphWorth()};
  }
  [[nodiscard]] CacheShare FilterShare() {
    const auto target = kFrames - static_cast<std::uint64_t>(share_ * kFrames);
    double worth = sets_.empty() ? 0 : WorthOfSet(*Worst());
    if (mode_ == BudgetMode::kCoordinated)
      worth *= static_cast<double>(PartLeft(asked_, recently_asked_, Now()));
    return {sets_.size() * kFramesOfSet, target, kFrames / 20, worth};
  }

  /// Of the next few at the hand.
  std::list<Set>::iterator Worst() {
    auto worst = sets_.begin();
    auto set = sets_.begin();
    for (int i = 0; i < 64 && set != sets_.end(); i++, ++set)
      if (WorthOfSet(*set) < WorthOfSet(*worst)) worst = set;
    return worst;
  }

  void GiveSetUp() {
    const auto worst = Worst();
    places_.erase(worst->id);
    absent_[worst->id] = *worst;
    // The hand goes on.
    for (int i = 0; i < 32 && sets_.begin() != worst; i++) sets_.splice(sets_.end(), sets_, sets_.begin());
    sets_.erase(worst);
  }

  static double UsForEach(std::uint64_t there, std::uint64_t all) {
    const double missing = 1 - static_cast<double>(there) / static_cast<double>(all);
    return 0.35 * missing + 0.04 * (1 - missing);
  }

  double Search(const GraphReads& reads) {
    graph_uses_ = WithUses(graph_uses_, 1, Now());
    recent_uses_ = WithRecentUses(recent_uses_, 1, Now());
    reads_ = WithReads(reads_, reads, 1);
    double us = kSearchUs + reads.codes * UsForEach(std::min(graph_frames_, kCodeChunks), kCodeChunks) +
                reads.lists * UsForEach(graph_frames_ - std::min(graph_frames_, kCodeChunks), kLinkChunks);
    // A search loads a few of those that it missed.
    for (int i = 0; i < 8 && graph_frames_ < kChunks; i++) {
      if (graph_frames_ >= MostFrames(mode_, CacheSide::kGraph, GraphShare(), FilterShare())) break;
      if (Free() == 0) {
        if (sets_.empty() || !TakesFromOther(mode_, GraphShare(), FilterShare())) break;
        GiveSetUp();
      }
      graph_frames_++;
      us += kChunkLoadUs;
    }
    return us;
  }

  double Ask(std::uint32_t id) {
    asked_ = WithUses(asked_, 1, Now());
    recently_asked_ = WithRecentUses(recently_asked_, 1, Now());
    const auto found = places_.find(id);
    if (found != places_.end()) {
      found->second->count = WithUses(found->second->count, 1, Now());
      return 0;
    }
    Set set = {id, {1, Now()}, Now()};
    const auto before = absent_.find(id);
    if (before != absent_.end()) set = {id, WithUses(before->second.count, 1, Now()), before->second.since};
    absent_[id] = set;
    if (MakeRoomForSet()) {
      absent_.erase(id);
      sets_.push_back(set);
      places_[id] = std::prev(sets_.end());
    }
    return kSetUs;
  }

  bool MakeRoomForSet() {
    const std::uint64_t most = MostFrames(mode_, CacheSide::kFilter, GraphShare(), FilterShare());
    const bool may_grow = (sets_.size() + 1) * kFramesOfSet <= most;
    if (may_grow && Free() >= kFramesOfSet) return true;
    if (may_grow && TakesFromOther(mode_, FilterShare(), GraphShare())) {
      graph_frames_ -= std::min(kFramesOfSet, graph_frames_);
      return Free() >= kFramesOfSet;
    }
    if (sets_.empty()) return false;
    GiveSetUp();
    return true;
  }

  void RebalanceIfDue() {
    if (clock_ < next_round_) return;
    next_round_ = clock_ + 2;
    counts_ = AddInterval(counts_, interval_);
    interval_ = {};
    pattern_ = Classify(counts_, pattern_);
    if (mode_ == BudgetMode::kCoordinated) share_ = StepTowards(share_, GraphShareOf(pattern_, 0.6));
  }

  const BudgetMode mode_;
  std::mt19937 random_{11};
  double clock_ = 100;
  double next_round_ = 102;
  double share_ = 0.6;
  QueryPattern pattern_ = QueryPattern::kUnknown;
  PatternCounts counts_;
  PatternCounts interval_;
  std::uint64_t graph_frames_ = 0;
  UseCount graph_uses_;
  GraphReads reads_ = kUsualReads;
  RecentUses recent_uses_;
  UseCount asked_;
  RecentUses recently_asked_;
  std::list<Set> sets_;
  std::unordered_map<std::uint32_t, std::list<Set>::iterator> places_;
  std::unordered_map<std::uint32_t, Set> absent_;  ///< what is known of sets that are not kept
};

std::vector<double> Phases(BudgetMode mode) {
  constexpr double kSeconds = 28;
  Model model(mode);
  (void)model.Serve(1, 0, 0, 10);  // the graph is loaded
  return {model.Serve(1, 0, 0, kSeconds), model.Serve(1, 9, 0, kSeconds), model.Serve(0, 0, 1, kSeconds),
          model.Serve(1, 0, 0, kSeconds)};
}

double Sum(const std::vector<double>& rates) {
  double sum = 0;
  for (const double rate : rates) sum += rate;
  return sum;
}

/// Phases count alike, however many queries there are in one.
double MeanRatio(const std::vector<double>& a, const std::vector<double>& b) {
  double logs = 0;
  for (std::size_t i = 0; i < a.size(); i++) logs += std::log(a[i] / b[i]);
  return std::exp(logs / static_cast<double>(a.size()));
}

TEST(ShiftingLoad, CoordinationServesMoreQueries) {
  const std::vector<double> coordinated = Phases(BudgetMode::kCoordinated);
  const std::vector<double> independent = Phases(BudgetMode::kIndependent);
  const std::vector<double> by_age = Phases(BudgetMode::kLru);
  EXPECT_GE(Sum(coordinated), 1.5 * Sum(independent));
  EXPECT_GE(MeanRatio(coordinated, independent), 1.5);
  EXPECT_GE(MeanRatio(coordinated, by_age), 1.2);
  for (std::size_t i = 0; i < coordinated.size(); i++) {
    EXPECT_GE(coordinated[i], 0.95 * independent[i]) << "phase " << i;
    RecordProperty("queries" + std::to_string(i), std::to_string(coordinated[i]) + " " +
                                                      std::to_string(independent[i]) + " " +
                                                      std::to_string(by_age[i]));
  }
}

}  // namespace
}  // namespace tandem::policy
