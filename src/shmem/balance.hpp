#pragma once
// Where the border between the two caches is: their shares of tandem.memory_budget, which tandem.mode, tandem.graph_share and the
// launcher's rebalancing set.

#include "pg/pg.hpp"

#include "policy/budget_policy.hpp"
#include "policy/cache_policy.hpp"

extern "C" {
#include "datatype/timestamp.h"
}

namespace tandem::shmem {

/// In frames. What each would give up first is left to be filled in.
struct BudgetShares {
  policy::BudgetMode mode;
  policy::CacheShare graph;
  policy::CacheShare filter;
};

[[nodiscard]] policy::BudgetMode ModeOfBudget();

/// graph_frames, filter_frames: what they have now. Touches no lock.
[[nodiscard]] BudgetShares SharesOfBudget(uint64 graph_frames, uint64 filter_frames);

/// The part of the budget that graphs are to have, 0 to 1.
[[nodiscard]] double CurrentGraphShare();

// ---- Rebalancing ----

/// What was decided last, and what from.
struct BalanceStatus {
  policy::PatternCounts counts;  ///< decayed
  policy::QueryPattern pattern;
  double share;          ///< what graphs are to have now
  double goal;           ///< what it goes towards
  uint64 rounds;         ///< since the server started
  uint64 moves;          ///< of them, that changed the share
  TimestampTz round_at;  ///< 0: none yet
  TimestampTz moved_at;  ///< 0: never
  double moved_from;
  policy::QueryPattern moved_for;
};

/// One interval is over, in which queries were counted. Moves the border, if the settings say so.
[[nodiscard]] BalanceStatus Rebalance(const policy::PatternCounts& interval);
[[nodiscard]] BalanceStatus ReadBalance();

/// Graphs are to be loaded into what they have gained. Workers compare the number of wishes with that they last saw. What was wished for
/// filters is not wished any more.
void WishForGraphs();
[[nodiscard]] uint32 WishesForGraphs();
/// Filters are about to gain: their sets are to be there, and pages of the native indexes that sets are made from. When that was last
/// wished; 0: it is not.
void WishForFilters();
[[nodiscard]] TimestampTz LastWishForFilters();

}  // namespace tandem::shmem
