#pragma once
// Folding in a session: what tandem_build(), VACUUM, CREATE INDEX and the inserts of strategy hnsw_inline share. The background
// worker has a loop of its own, which gives way to everybody.

#include "pg/pg.hpp"

extern "C" {
#include "datatype/timestamp.h"
}

namespace tandem::am {

struct FoldRequest {
  bool is_new;              ///< made by this very command and nobody else's yet: no builder lock is taken
  bool everything;          ///< fold however few rows there are, and merge as if at rest
  bool at_rest;             ///< merge segments, and rebuild those of many dead rows, as far as it is worth it
  bool wait_for_builder;    ///< wait while somebody else builds; else give up at once
  bool shows_create_index;  ///< report to pg_stat_progress_create_index
  bool gives_up;            ///< at the deadline, lose a build that cannot be cut; else finish it
  unsigned threads;         ///< 0: compute on this very process
  uint64 most_rows;         ///< no segment gets more; 0: as many as build_memory holds
  TimestampTz deadline;     ///< begin nothing after it, and cut a build there to what it has; 0: none
};

enum class FoldOutcome {
  kUpToDate,   ///< nothing is left that would be worth it
  kOutOfTime,  ///< the deadline came first; what was published stays
  kBusy,       ///< somebody else builds
  kGone,       ///< the index was dropped, rebuilt, or is no valid index of an hnsw strategy (any more)
  kFailed,     ///< FoldIndexOrWarn() alone
};

struct FoldReport {
  FoldOutcome outcome;
  uint32 published;  ///< segments
};

/// Rows of which one thread builds a graph in that time, with a good margin: a segment of more may have to be given up.
[[nodiscard]] uint64 RowsInTime(Relation index, long time_ms);

/// Folds and merges an open index until nothing is left to do. Rows that arrive meanwhile are left for the next time. `index`:
/// locked RowExclusiveLock or more, and of an hnsw strategy. Takes the builder lock and gives it back, also on ERROR.
/// An index that is being rebuilt (is_new) has no use for it: whoever holds it builds for the old file, and would have to wait for
/// the rebuild as the rebuild for him.
[[nodiscard]] FoldReport FoldIndex(Relation index, const FoldRequest& request);

/// Runs `work` in a subtransaction, so not in parallel mode: an ERROR of it is rolled back and becomes a WARNING, and false is
/// returned; only a cancelled query is still an ERROR. For those who have something better to do than to fail.
bool TryOrWarn(Relation index, void (*work)(Relation index, void* state), void* state);

/// FoldIndex() by TryOrWarn().
[[nodiscard]] FoldReport FoldIndexOrWarn(Relation index, const FoldRequest& request);

/// The same by name, for procedures: opens the index itself, step by step. may_commit: connected to SPI and allowed to commit; then
/// each step is a transaction of its own, so that no lock and no snapshot is held while graphs are computed. The caller has
/// checked privileges.
[[nodiscard]] FoldReport FoldIndexInSteps(Oid index, const FoldRequest& request, bool may_commit);

}  // namespace tandem::am
