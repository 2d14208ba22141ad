#include "pg/compat.hpp"

#include "am/callbacks.hpp"
#include "am/fold_now.hpp"
#include "am/options.hpp"
#include "pg/settings.hpp"
#include "shmem/mailbox.hpp"
#include "storage/compaction.hpp"
#include "storage/flat_relation.hpp"
#include "storage/fold.hpp"

extern "C" {
#include "access/xact.h"
#include "storage/proc.h"
#include "utils/timestamp.h"
}

namespace tandem::am {

namespace {

// VACUUM folds where no worker does. autovacuum: not so long that a lock request in the meantime, which cancels it, makes it
// start over again and again (H28), and no merge that would not be finished. By hand: as long as somebody will wait.
constexpr int kAutovacuumFoldMs = 10 * 1000;
constexpr int kVacuumFoldMs = 60 * 1000;

IndexBulkDeleteResult* NewStats() {
  return static_cast<IndexBulkDeleteResult*>(palloc0(sizeof(IndexBulkDeleteResult)));
}

/// What the last VACUUM counted still holds for the rows it saw.
IndexBulkDeleteResult* EstimateStats(Relation index) {
  IndexBulkDeleteResult* stats = NewStats();
  storage::MetaPage meta;
  storage::ReadMeta(index, &meta);
  const uint64 rows =
      storage::CountRows(index, storage::kHeadStream) + storage::CountRows(index, storage::kNullHeadStream);
  stats->num_index_tuples = static_cast<double>(rows - Min(rows, meta.dead_rows + meta.dead_null_rows));
  stats->estimated_count = true;
  return stats;
}

// ---- Graphs ----

/// A table that must be frozen has no time for graphs. (When it is later still, indexes are not cleaned up at all.)
bool PreventsWraparound() {
  return (MyProc->statusFlags & PROC_VACUUM_FOR_WRAPAROUND) != 0;
}

bool HasWorker(Relation index) {
  return index->rd_rel->relpersistence != RELPERSISTENCE_TEMP && shmem::WorkerAvailable();
}

void FoldInVacuum(Relation index) {
  const bool automatic = pg::IsAutovacuumWorker();
  FoldRequest request = {};
  request.at_rest = true;
  request.gives_up = automatic;
  request.most_rows = automatic ? RowsInTime(index, kAutovacuumFoldMs) : 0;
  request.threads = pg::BuildThreads();
  request.deadline =
      TimestampTzPlusMilliseconds(GetCurrentTimestamp(), automatic ? kAutovacuumFoldMs : kVacuumFoldMs);
  // With parallel workers, which autovacuum never has, nothing can be rolled back: a failure is one of the whole VACUUM.
  if (IsInParallelMode())
    (void)FoldIndex(index, request);
  else
    (void)FoldIndexOrWarn(index, request);
}

/// Under the builder lock.
void TidyFlat(Relation index, void* /*unused*/) {
  const int limit_ms = pg::IsAutovacuumWorker() ? kAutovacuumFoldMs : kVacuumFoldMs;
  storage::RetireSegments(index);
  (void)storage::RecycleRetired(index);
  storage::CompactNow(index, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), limit_ms));
}

/// Strategy flat uses no segments: what another strategy left goes. What is dead takes room with it, too.
void TendFlat(Relation index) {
  const Oid oid = RelationGetRelid(index);
  if (!storage::TryLockBuilder(oid)) return;
  PG_TRY();
  {
    if (IsInParallelMode())
      TidyFlat(index, nullptr);
    else
      (void)TryOrWarn(index, TidyFlat, nullptr);
  }
  PG_FINALLY();
  { storage::UnlockBuilder(oid); }
  PG_END_TRY();
}

void TendGraphs(Relation index) {
  // An index that CREATE INDEX CONCURRENTLY has given up is not worth the work, and one that it makes is its own (H13).
  if (PreventsWraparound() || !index->rd_index->indisvalid) return;
  if (!HasGraphs(StrategyOf(index)))
    TendFlat(index);
  else if (HasWorker(index))
    shmem::NotifyWork(MyDatabaseId);
  else
    FoldInVacuum(index);
}

}  // namespace

IndexBulkDeleteResult* BulkDelete(IndexVacuumInfo* info, IndexBulkDeleteResult* stats,
                                  IndexBulkDeleteCallback callback, void* callback_state) {
  if (stats == nullptr) stats = NewStats();
  storage::MarkDeadRows(info->index, info->strategy, stats, callback, callback_state);
  return stats;
}

IndexBulkDeleteResult* VacuumCleanup(IndexVacuumInfo* info, IndexBulkDeleteResult* stats) {
  if (info->analyze_only) return stats;
  if (stats == nullptr) stats = EstimateStats(info->index);
  TendGraphs(info->index);
  stats->num_pages = RelationGetNumberOfBlocks(info->index);
  return stats;
}

}  // namespace tandem::am
