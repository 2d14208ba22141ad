// Costs of the ways to search by a filter. Measured with bench/inprocess/filtered_curve.cpp; README.md has the figures.

#include "policy/filter_policy.hpp"

#include <algorithm>
#include <cmath>

#include "policy/search_policy.hpp"

namespace tandem::policy {
namespace {

// Nanoseconds, warm, beside those in search_policy.cpp.
constexpr double kNsPerByte = 0.05;
constexpr double kNsPerVector =
    150.0;  // a pin of a remembered buffer, the first lines of a vector that lies anywhere, the heap
constexpr double kNsPerCode = 40.0;  // in a walk
// Of a list: nothing has to be known before the next ones are asked for. What counts is how fast they come from a far cache.
constexpr double kNsPerListedCode = 8.0;
constexpr double kNsPerListedByte = 0.085;
constexpr double kNsPerPagedCode = 350.0;
constexpr double kNsPerBridge = 65.0;
constexpr double kNsPerUnit = 10.0 + 128.0 * sizeof(float) * kNsPerByte;

constexpr double kExactNs = 100'000.0;
// Codes of the short walk before a filtered one.
constexpr double kSeedCodes = 500.0;
// Of a node's neighbours and theirs, so many are new: a quarter in a graph of 200,000 nodes, nearly all in one of 1,000,000. No more
// at a time than some lists.
constexpr double kDifferent = 0.5;
constexpr double kMostLists = 3.0;
// A pool for a graph this sparse finds 0.93 where one for the whole graph finds 0.98; twice as large, it does, too.
constexpr double kSparseShare = 0.05;
// In between, a node is expanded over two lists: a smaller pool finds as much as the plain walk of the whole one does. But there is less
// of it than was asked for, and who goes on after the first batch finds rows late.
constexpr double kTwoListsShare = 0.075;
constexpr double kDenseShare = 0.25;
constexpr double kTwoListsPool = 0.6;
// To look at everything is worth so much: the answer has all there is, in order, and the search need not go on.
constexpr double kWorthOfAll = 1.5;
constexpr double kBatchesWorthAll = 8.0;

double Share(const FilterSituation& situation) noexcept {
  if (situation.rows == 0) return 1.0;
  return std::min(1.0, static_cast<double>(situation.admitted) / static_cast<double>(situation.rows));
}

/// With room for all rows that are known to be wanted, as that of a search without a filter (PoolFor()).
std::uint32_t PoolOf(const FilterSituation& situation) noexcept {
  const auto wanted = static_cast<std::uint32_t>(std::min<std::uint64_t>(situation.wanted, kMostWanted));
  return std::max(situation.ef_search, wanted);
}

std::uint32_t EfOfWalk(const FilterSituation& situation, double share) noexcept {
  if (share < kSparseShare) return 2 * PoolOf(situation);
  const auto smaller = static_cast<std::uint32_t>(kTwoListsPool * situation.ef_search);
  const bool is_enough = situation.wanted > 0 && kPoolPerWanted * situation.wanted <= smaller;
  return is_enough && share >= kTwoListsShare && share <= kDenseShare ? smaller : PoolOf(situation);
}

/// In a walk.
double CodeNs(const FilterSituation& situation) noexcept {
  return (situation.in_memory ? kNsPerCode : kNsPerPagedCode) + situation.code_bytes * kNsPerByte;
}

double ListedCodeNs(const FilterSituation& situation) noexcept {
  if (!situation.in_memory) return CodeNs(situation);
  return kNsPerListedCode + situation.code_bytes * kNsPerListedByte;
}

double VectorNs(std::uint32_t row_bytes) noexcept {
  return kNsPerVector + static_cast<double>(row_bytes) * kNsPerByte;
}

double WalkNs(const FilterSituation& situation) noexcept {
  const double list = 2.0 * situation.m;
  const double reach = kDifferent * list * list * Share(situation);
  const double fresh = reach / (1.0 + reach / (kMostLists * list));
  const double ef = EfOfTactic(FilterTactic::kWalk, situation);
  const double bridges = list * (1.0 - Share(situation));
  const double bridge = situation.in_memory ? kNsPerBridge : kNsPerPagedCode;
  return (kSeedCodes + ef * fresh) * CodeNs(situation) + ef * bridges * bridge;
}

double StreamCost(const FilterSituation& situation) noexcept {
  SearchSituation whole;
  whole.rows = situation.rows;
  whole.segments = 1;
  whole.code_bytes = situation.code_bytes;
  whole.row_bytes = situation.row_bytes;
  whole.m = situation.m;
  whole.in_memory = situation.in_memory;
  whole.is_exact = situation.is_exact;
  whole.re_ranks_all = !situation.has_bounds;
  whole.ef_search = EfOfTactic(FilterTactic::kStream, situation);
  return CostOfGraphSearch(whole);
}

}  // namespace

std::uint64_t LargestExactSet(std::uint32_t row_bytes) noexcept {
  return static_cast<std::uint64_t>(kExactNs / VectorNs(row_bytes));
}

double CostOfTactic(FilterTactic tactic, const FilterSituation& situation) noexcept {
  const auto admitted = static_cast<double>(situation.admitted);
  switch (tactic) {
    case FilterTactic::kVectors:
      return admitted * VectorNs(situation.row_bytes) / kNsPerUnit;
    case FilterTactic::kCodes:
      return admitted * ListedCodeNs(situation) / kNsPerUnit;
    case FilterTactic::kWalk:
      return WalkNs(situation) / kNsPerUnit;
    case FilterTactic::kStream:
      return StreamCost(situation);
  }
  return 0.0;
}

bool PrefersVectors(const FilterSituation& situation) noexcept {
  return !situation.has_bounds ||
         CostOfTactic(FilterTactic::kVectors, situation) <= CostOfTactic(FilterTactic::kCodes, situation);
}

double CostOfAll(const FilterSituation& situation) noexcept {
  return CostOfTactic(PrefersVectors(situation) ? FilterTactic::kVectors : FilterTactic::kCodes, situation);
}

FilterTactic ChooseTactic(const FilterSituation& situation) noexcept {
  const double walk = CostOfTactic(FilterTactic::kWalk, situation);
  const double stream = CostOfTactic(FilterTactic::kStream, situation);
  if (CostOfAll(situation) <= kWorthOfAll * std::min(walk, stream))
    return PrefersVectors(situation) ? FilterTactic::kVectors : FilterTactic::kCodes;
  return walk <= stream ? FilterTactic::kWalk : FilterTactic::kStream;
}

std::uint32_t EfOfTactic(FilterTactic tactic, const FilterSituation& situation) noexcept {
  const double share = Share(situation);
  if (tactic == FilterTactic::kWalk) return EfOfWalk(situation, share);
  if (tactic != FilterTactic::kStream || share <= 0.0) return PoolOf(situation);
  return static_cast<std::uint32_t>(std::min(std::ceil(PoolOf(situation) / share), 1e6));
}

std::uint32_t NodesUntilEnough(std::uint64_t found, std::uint64_t admitted,
                               const FilterSituation& situation) noexcept {
  const std::uint64_t enough = PoolOf(situation);
  if (admitted >= enough) return 0;
  // Some are as good as none at a time.
  constexpr double kLeastNodes = 16.0;
  const double missing = static_cast<double>(enough - admitted) * static_cast<double>(found) /
                         static_cast<double>(std::max<std::uint64_t>(admitted, 1));
  const double most = std::max(static_cast<double>(found), kLeastNodes);
  return static_cast<std::uint32_t>(std::clamp(std::ceil(missing), kLeastNodes, most));
}

std::uint32_t WidestWalk(const FilterSituation& situation) noexcept {
  const double widenings = CostOfAll(situation) / CostOfTactic(FilterTactic::kWalk, situation);
  return static_cast<std::uint32_t>(std::clamp(widenings, 1.0, 1e6));
}

bool IsWorthScoring(FilterTactic tactic, const FilterSituation& situation) noexcept {
  return CostOfAll(situation) <= kBatchesWorthAll * CostOfTactic(tactic, situation);
}

bool LiesNear(std::uint64_t found, std::uint64_t admitted, const FilterSituation& situation) noexcept {
  return static_cast<double>(admitted) * 2.0 >= Share(situation) * static_cast<double>(found);
}

bool FewUnsettledRows(std::uint64_t unsettled, std::uint64_t known) noexcept {
  // Making a set anew costs, for each of its rows, about a quarter of what looking at an unsettled one in vain does, and something in
  // any case: the descent of the native index.
  constexpr std::uint64_t kAlwaysFew = 128;
  return unsettled <= kAlwaysFew + known / 4;
}

}  // namespace tandem::policy
