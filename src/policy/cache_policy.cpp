#include "policy/cache_policy.hpp"

#include <algorithm>
#include <cmath>

namespace tandem::policy {
namespace {

// Pieces at their targets change sides only for something worth so many times as much: what has just been taken is not taken back.
constexpr double kMuchMore = 4;
// And a cache loses no more than a fifth of its target by that.
constexpr std::uint64_t kLentPart = 5;

std::uint64_t LeastKept(const CacheShare& share) noexcept {
  return std::max(share.floor, share.target - share.target / kLentPart);
}

}  // namespace

float UsesAt(const UseCount& count, std::uint32_t now) noexcept {
  // Another process may have counted a second ahead.
  if (now <= count.at) return count.uses;
  const float halves = static_cast<float>(now - count.at) / kUseHalfLifeSeconds;
  return count.uses * std::exp2(-halves);
}

UseCount WithUses(const UseCount& count, float more, std::uint32_t now) noexcept {
  return {UsesAt(count, now) + more, std::max(count.at, now)};
}

double UtilityOf(const UseCount& count, const PieceCost& cost, std::uint32_t now) noexcept {
  return static_cast<double>(UsesAt(count, now)) * static_cast<double>(cost.reload_us) /
         static_cast<double>(std::max<std::uint64_t>(cost.bytes, 1));
}

std::uint64_t MostFrames(BudgetMode mode, CacheSide side, const CacheShare& graph,
                         const CacheShare& filter) noexcept {
  if (mode == BudgetMode::kIndependent) return side == CacheSide::kGraph ? graph.target : filter.target;
  const std::uint64_t all = graph.target + filter.target;
  return side == CacheSide::kGraph ? all : all - std::min(all, graph.floor);
}

bool TakesFromOther(BudgetMode mode, const CacheShare& own, const CacheShare& other) noexcept {
  if (other.frames <= other.floor) return false;
  // What one has above its share is from before the mode, or the share, was changed.
  if (mode == BudgetMode::kIndependent) return own.frames < own.target && other.frames > other.target;
  // Both branches are each other's opposite, so that nobody takes back what was just taken.
  if (own.frames < own.target)
    return other.frames > other.target &&
           (own.frames < LeastKept(own) || other.least_utility <= kMuchMore * own.least_utility);
  return other.frames > LeastKept(other) && own.least_utility > kMuchMore * other.least_utility;
}

}  // namespace tandem::policy
