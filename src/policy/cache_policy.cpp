#include "policy/cache_policy.hpp"

#include <algorithm>
#include <cmath>

namespace tandem::policy {
namespace {

// Pieces at their targets change sides only for something worth so many times as much, and go back to who is below its target only for what
// is worth as much: in between they stay where they are. What is worth how much is measured, and is twice as much now and then by chance.
constexpr double kMuchMore = 2;
// And a cache keeps a quarter of its target: what is asked for next is not known yet. But not from what is worth so many times as much:
// then nobody has asked for anything of it for some seconds.
constexpr std::uint64_t kKeptPart = 4;
constexpr double kAllTheMore = 64;

// How many codes or lists are taken to cost as much, read from pages, as loading a chunk: a look each at a page whose buffer is
// remembered, 0.1 us more than in memory (of 256-dimensional codes, by the processor time of searches that find 39 % and 91 % of them), against
// sixteen pages or more and a copy out of all of them, 30 to 50 us.
constexpr float kReadsOfLoad = 384;
// A cost that really is ten times as high shows after some twenty pieces.
constexpr float kCostsAveraged = 16;
constexpr float kMostTimesAverage = 4;
// So many searches tell what searches read of late: another kind of them shows within a second.
constexpr float kSearchesAveraged = 64;

// UseCount::uses for each use in a second, if they always were as many.
constexpr double kUsesPerRate = kUseHalfLifeSeconds / 0.693147;

// A second can have fewer uses than others by chance.
constexpr double kLuckOfSecond = 1.25;

// What is used every 20 s has not gone after 21: so many times the usual time between two uses say so.
constexpr double kGapsTrusted = 3;

// Of a use: two half-lives after the last one of something that was used once.
constexpr float kNextToNothing = 0.25F;

// Uses within fewer seconds may belong together: one query that is asked again.
constexpr std::uint32_t kLeastAge = 5;

double IdleSeconds(const UseCount& count, std::uint32_t now) noexcept {
  return now > count.at ? now - count.at : 0;
}

std::uint64_t LeastKept(const CacheShare& share, const CacheShare& other) noexcept {
  if (other.least_utility > kAllTheMore * share.least_utility) return share.floor;
  return std::max(share.floor, share.target / kKeptPart);
}

}  // namespace

float UsesAt(const UseCount& count, std::uint32_t now) noexcept {
  // Another process may have counted a second ahead.
  if (now <= count.at) return count.uses;
  const float halves = static_cast<float>(now - count.at) / static_cast<float>(kUseHalfLifeSeconds);
  return count.uses * std::exp2(-halves);
}

UseCount WithUses(const UseCount& count, float more, std::uint32_t now) noexcept {
  return {UsesAt(count, now) + more, std::max(count.at, now)};
}

float WithCost(float average_us, float us) noexcept {
  if (average_us == 0) return us;
  return average_us + (std::min(us, kMostTimesAverage * average_us) - average_us) / kCostsAveraged;
}

double UtilityOf(const UseCount& count, const PieceCost& cost, std::uint32_t now) noexcept {
  return static_cast<double>(UsesAt(count, now)) * static_cast<double>(cost.reload_us) /
         static_cast<double>(std::max<std::uint64_t>(cost.bytes, 1));
}

GraphReads WithReads(const GraphReads& of_search, const GraphReads& sum, float uses) noexcept {
  if (!(uses > 0)) return of_search;
  const float weight = std::min(1.0F, uses / kSearchesAveraged);
  return {of_search.codes + (sum.codes / uses - of_search.codes) * weight,
          of_search.lists + (sum.lists / uses - of_search.lists) * weight};
}

float UsesOfChunk(float uses, std::uint32_t chunks, float reads) noexcept {
  const float of_chunk = reads / static_cast<float>(std::max<std::uint32_t>(chunks, 1));
  return uses * std::min(1.0F, of_chunk / kReadsOfLoad);
}

bool AreCodesWorthMore(const GraphReads& of_search, std::uint32_t code_chunks,
                       std::uint32_t link_chunks) noexcept {
  constexpr auto kFactor = static_cast<float>(kMuchMore);
  return UsesOfChunk(1, code_chunks, of_search.codes) >
         kFactor * UsesOfChunk(1, link_chunks, of_search.lists);
}

RecentUses WithRecentUses(const RecentUses& recent, float more, std::uint32_t now) noexcept {
  if (now <= recent.at) return {recent.uses + more, recent.before, recent.at};
  return {more, now == recent.at + 1 ? recent.uses : 0, now};
}

float UsesASecond(const RecentUses& recent, std::uint32_t now) noexcept {
  if (now <= recent.at) return std::max(recent.uses, recent.before);
  const auto idle = static_cast<float>(now - recent.at - 1);  // whole seconds without any
  return idle == 0 ? recent.uses : std::min(recent.uses * std::exp2(-idle), 1 / idle);
}

float UsesNow(const UseCount& count, const RecentUses& recent, std::uint32_t now) noexcept {
  constexpr auto kOfRate = static_cast<float>(kLuckOfSecond * kUsesPerRate);
  return std::min(UsesAt(count, now), UsesASecond(recent, now) * kOfRate);
}

float PartLeft(const UseCount& count, const RecentUses& recent, std::uint32_t now) noexcept {
  const float uses = UsesAt(count, now);
  if (!(uses > 0)) return 0;
  if (IdleSeconds(count, now) * static_cast<double>(count.uses) <= kGapsTrusted * kUsesPerRate) return 1;
  return UsesNow(count, recent, now) / uses;
}

bool IsForgotten(const UseCount& count, std::uint32_t now) noexcept {
  return UsesAt(count, now) < kNextToNothing;
}

UseCount AsAlways(const UseCount& count, std::uint32_t since, std::uint32_t now) noexcept {
  const std::uint32_t age = now > since ? now - since : 0;
  // What is left of the first use: it says nothing of how often others come.
  const float first = UsesAt({1, since}, now);
  const float uses = UsesAt(count, now);
  if (uses <= first) return count;
  const float counted = 1 - UsesAt({1, since}, since + std::max(age, kLeastAge));
  // As of the last use: how long ago that was is for WorthOf().
  return {count.uses * ((uses - first) / counted + first) / uses, count.at};
}

double WorthOf(BudgetMode mode, const UseCount& count, const PieceCost& cost, std::uint32_t now) noexcept {
  const double idle = IdleSeconds(count, now);
  if (mode == BudgetMode::kLru) return 1.0 / (1.0 + idle);
  // What is used once in ten seconds has seldom been idle for much longer; what was used often, and is not any more, soon has.
  if (idle == 0) return UtilityOf(count, cost, now);
  const float uses = std::min(UsesAt(count, now), static_cast<float>(kUsesPerRate / idle));
  return UtilityOf({uses, now}, cost, now);
}

bool IsAdmitted(BudgetMode mode, double newcomer, double victim) noexcept {
  return mode == BudgetMode::kLru || newcomer > victim;
}

std::uint64_t MostFrames(BudgetMode mode, CacheSide side, const CacheShare& graph,
                         const CacheShare& filter) noexcept {
  if (mode == BudgetMode::kIndependent) return side == CacheSide::kGraph ? graph.target : filter.target;
  const std::uint64_t all = graph.target + filter.target;
  return side == CacheSide::kGraph ? all : all - std::min(all, graph.floor);
}

bool TakesFromOther(BudgetMode mode, const CacheShare& own, const CacheShare& other) noexcept {
  if (other.frames <= other.floor) return false;
  if (mode == BudgetMode::kLru) return own.least_utility > other.least_utility;
  // What one has above its share is from before the mode, or the share, was changed.
  if (mode == BudgetMode::kIndependent) return own.frames < own.target && other.frames > other.target;
  // Both branches are each other's opposite, so that nobody takes back what was just taken.
  if (own.frames < own.target)
    return other.frames > other.target &&
           (own.frames < LeastKept(own, other) || other.least_utility <= own.least_utility);
  return other.frames > LeastKept(other, own) && own.least_utility > kMuchMore * other.least_utility;
}

}  // namespace tandem::policy
