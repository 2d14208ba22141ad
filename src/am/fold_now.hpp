#pragma once
// Folding in a session: what tandem_build(), VACUUM, CREATE INDEX and the inserts of strategy hnsw_inline share. The background
// worker has a loop of its own, which lets go of everything between steps.

#include "pg/pg.hpp"

extern "C" {
#include "datatype/timestamp.h"
}

namespace tandem::am {

struct FoldRequest {
  bool everything;         ///< fold however few rows there are, and merge as if at rest
  bool wait_for_builder;   ///< wait while somebody else builds, else give up at once
  bool early_publication;  ///< at the deadline, publish what has been built so far instead of losing it
  unsigned threads;        ///< 0: compute on this very process
  uint64 largest_segment;  ///< rows; 0: as build_memory allows
  TimestampTz deadline;    ///< begin no new work after it, and soon give up or finish; 0: none
  /// Shows progress to pg_stat_progress_create_index.
  bool shows_create_index;
};

enum class FoldOutcome {
  kUpToDate,   ///< nothing is left that would be worth it
  kOutOfTime,  ///< the deadline came first; what was published stays
  kBusy,       ///< somebody else builds
  kGone,       ///< the index was dropped, rebuilt, or is no hnsw index (any more)
};

struct FoldReport {
  FoldOutcome outcome;
  uint32 published;  ///< segments
};

/// Folds and merges an open index of an hnsw strategy until nothing is left to do. Rows that arrive meanwhile are left for the next
/// time. `index`: locked RowExclusiveLock or more. Takes the builder lock and gives it back, also on ERROR.
[[nodiscard]] FoldReport FoldIndex(Relation index, const FoldRequest& request);

/// The same by name, for procedures: opens the index itself, step by step. If `may_commit` (a CALL outside a transaction block:
/// the CallContext is not atomic), ends the transaction between steps, so that no lock and no snapshot is held while graphs are
/// computed; nothing that belongs to the transaction may be in use by the caller. The caller has checked privileges.
[[nodiscard]] FoldReport FoldIndexInSteps(Oid index, const FoldRequest& request, bool may_commit);

}  // namespace tandem::am
