// CALL tandem_build(index): graphs of all rows, now, by this session. CALL tandem_wait(index): until the background worker has
// made them.
//
// Procedures, not functions: a build takes minutes, and a snapshot held for so long would keep VACUUM from removing rows
// everywhere in the database. Where the caller allows it (no transaction block, nothing written yet), they end the transaction
// that the call began in and go on in one without a snapshot.

#include "pg/compat.hpp"

#include "am/fold_now.hpp"
#include "am/options.hpp"
#include "pg/settings.hpp"
#include "pg/try_open.hpp"
#include "shmem/mailbox.hpp"
#include "sqlapi/index_access.hpp"
#include "storage/manifest.hpp"
#include "storage/row_access.hpp"

extern "C" {
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "executor/spi.h"
#include "nodes/parsenodes.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

PGDLLEXPORT Datum tandem_build(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum tandem_wait(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(tandem_build);
PG_FUNCTION_INFO_V1(tandem_wait);
}

namespace tandem::sqlapi {

namespace {

constexpr long kLookEveryMs = 50;
/// A worker that is being started, or started again after a failure, is not there for a moment.
constexpr int kWorkerGraceMs = 10'000;

// ---- Arguments and checks that both share ----

/// True if the call may end its transaction: CALL by itself, or in a procedure or DO block that may COMMIT. Not if something
/// was written in it: committing that is not ours to decide.
bool MayCommit(FunctionCallInfo fcinfo) {
  return fcinfo->context != nullptr && IsA(fcinfo->context, CallContext) &&
         !castNode(CallContext, fcinfo->context)->atomic && !IsSubTransaction() &&
         !TransactionIdIsValid(GetTopTransactionIdIfAny());
}

/// Procedures cannot be STRICT.
Oid IndexArgument(FunctionCallInfo fcinfo) {
  if (PG_ARGISNULL(0))
    ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("index must not be null")));
  return PG_GETARG_OID(0);
}

void RejectInRecovery(const char* procedure) {
  if (!RecoveryInProgress()) return;
  ereport(ERROR, (errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
                  errmsg("cannot execute %s() during recovery", procedure),
                  errhint("Graphs are built on the primary and arrive with its write-ahead log.")));
}

/// Errors unless graphs can be built of the index.
void RequireGraphs(Relation index) {
  if (!index->rd_index->indisvalid)
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("index \"%s\" is not valid", RelationGetRelationName(index)),
                    errhint("Drop it or rebuild it with REINDEX.")));
  if (am::StrategyOf(index) == am::Strategy::kFlat)
    ereport(ERROR,
            (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
             errmsg("index \"%s\" has no graphs: its strategy is \"flat\"", RelationGetRelationName(index)),
             errhint("Use ALTER INDEX ... SET (strategy = 'hnsw_batch') first.")));
}

void RequireGraphs(const List* indexes) {
  const ListCell* cell;
  foreach (cell, indexes) {
    const OpenIndex open = OpenOwnedIndex(lfirst_oid(cell), AccessShareLock);
    RequireGraphs(open.index);
    CloseIndex(open);
  }
}

/// name: what it was called before.
void RejectDropped(Oid index, const char* name) {
  if (get_rel_relkind(index) != '\0') return;
  ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("index \"%s\" was dropped meanwhile",
                                                            name != nullptr ? name : psprintf("%u", index))));
}

// ---- tandem_wait ----

/// What is waited for. The name is kept for messages: the index may be gone by then.
struct Awaited {
  Oid index;
  const char* name;
  uint64 incarnation;
  uint64 rows;    ///< row ids below this
  uint64 sealed;  ///< row ids below this are in graphs, as of the last look
  bool done;
};

struct WaitLimits {
  TimestampTz called_at;
  TimestampTz deadline;        ///< DT_NOEND: none
  TimestampTz worker_seen_at;  ///< last time that a worker could be expected
};

TimestampTz DeadlineArgument(FunctionCallInfo fcinfo, TimestampTz called_at) {
  if (PG_ARGISNULL(1)) return DT_NOEND;
  const TimestampTz deadline = DatumGetTimestampTz(
      DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(called_at), PG_GETARG_DATUM(1)));
  if (deadline < called_at)
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("timeout must not be negative")));
  return deadline;
}

/// The rows that the index has now. Again when it was rebuilt meanwhile: row ids started anew.
void CountAwaited(Awaited* awaited, Relation index) {
  awaited->incarnation = storage::GetIndexCache(index)->directory.incarnation;
  awaited->rows = storage::CountRows(index, storage::kHeadStream);
}

/// True if some row in [first, end) is not marked dead. Stops at the first, so that it costs next to nothing where it is
/// asked again and again.
bool HasLiveRow(Relation index, uint64 first, uint64 end) {
  storage::DirectoryView* view = storage::CopyDirectory(storage::GetIndexCache(index)->directory);
  auto* heads = static_cast<storage::RowHead*>(palloc(sizeof(storage::RowHead) * storage::kHeadsPerPage));
  bool live = false;
  for (uint64 row = first; row < end && !live;) {
    CHECK_FOR_INTERRUPTS();
    const auto page = static_cast<uint32>(row / storage::kHeadsPerPage);
    const uint32 count = storage::ReadHeadPage(index, *view, storage::kHeadStream, page, end, nullptr, heads);
    if (count == 0) break;
    for (uint32 slot = static_cast<uint32>(row % storage::kHeadsPerPage); slot < count && !live; slot++)
      live = (heads[slot].flags & storage::kTombstone) == 0;
    row = static_cast<uint64>(page + 1) * storage::kHeadsPerPage;
  }
  pfree(heads);
  pfree(view);
  return live;
}

/// True if every awaited row is in a graph, or dead: those need none.
bool AllSealed(Awaited* awaited, Relation index) {
  if (storage::GetIndexCache(index)->directory.incarnation != awaited->incarnation)
    CountAwaited(awaited, index);
  awaited->sealed = storage::ReadManifestRoot(index).sealed_rows;
  return awaited->sealed >= awaited->rows || !HasLiveRow(index, awaited->sealed, awaited->rows);
}

/// True if the index's catalog entry is this transaction's: the worker sees no index, another file, or another strategy.
bool IsChangedByUs(Oid index) {
  const HeapTuple entry = SearchSysCache1(RELOID, ObjectIdGetDatum(index));
  if (!HeapTupleIsValid(entry)) return false;
  const bool is_ours = TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(entry->t_data));
  ReleaseSysCache(entry);
  return is_ours;
}

/// What the background worker can never do: see rows that only this transaction sees, get a lock that this transaction
/// keeps from it, reach this session's temporary tables.
void RequireReachable(const OpenIndex& open) {
  const char* name = RelationGetRelationName(open.index);
  if (open.index->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("index \"%s\" is temporary: no background worker builds its graphs", name),
                    errhint("Use CALL tandem_build(...).")));
  if (IsChangedByUs(RelationGetRelid(open.index)))
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("index \"%s\" was created, altered or rebuilt in this transaction", name),
                    errdetail("The background worker cannot see that before the transaction is committed."),
                    errhint("Commit first, or use CALL tandem_build(...).")));
  if (CheckRelationLockedByMe(open.index, ShareLock, true) ||
      CheckRelationLockedByMe(open.heap, AccessExclusiveLock, true))
    ereport(ERROR,
            (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
             errmsg("index \"%s\" is locked by this transaction", name),
             errdetail("The background worker would wait for this transaction, and it for the worker."),
             errhint("Commit first, or use CALL tandem_build(...).")));
}

struct Obstacle {
  int sqlstate;
  const char* detail;  ///< nullptr: the hint says it all
  const char* hint;
};

Obstacle ObstacleOf(shmem::WorkerPresence presence) {
  constexpr int kState = ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
  switch (presence) {
    case shmem::WorkerPresence::kNotPreloaded:
      return {kState, nullptr,
              "Add \"tandem\" to shared_preload_libraries and restart the server, or use CALL "
              "tandem_build(...)."};
    case shmem::WorkerPresence::kNotAdmitted:
      return {kState, "Workers do not connect to templates and databases that allow no connections.",
              "Use CALL tandem_build(...)."};
    case shmem::WorkerPresence::kNoProcess:
      return {ERRCODE_CONFIGURATION_LIMIT_EXCEEDED, "No process is left for it.",
              "Raise max_worker_processes, or use CALL tandem_build(...)."};
    case shmem::WorkerPresence::kFailing:
      return {kState, "Workers for this database were started and failed.",
              "See the server log, or use CALL tandem_build(...)."};
    case shmem::WorkerPresence::kNoLauncher:
    case shmem::WorkerPresence::kInRecovery:
    case shmem::WorkerPresence::kExpected:
      break;
  }
  return {kState, "The process that starts workers is not running.",
          "See the server log and max_worker_processes, or use CALL tandem_build(...)."};
}

void RejectWithoutWorker(const Awaited& awaited, shmem::WorkerPresence presence) {
  const Obstacle obstacle = ObstacleOf(presence);
  ereport(ERROR, (errcode(obstacle.sqlstate),
                  errmsg("there is no background worker to build the graphs of index \"%s\"", awaited.name),
                  obstacle.detail != nullptr ? errdetail_internal("%s", obstacle.detail) : 0,
                  errhint("%s", obstacle.hint)));
}

void RequireWorker(const Awaited& awaited, WaitLimits* limits) {
  const shmem::WorkerPresence presence = shmem::ExpectWorker();
  const TimestampTz now = GetCurrentTimestamp();
  if (presence == shmem::WorkerPresence::kExpected) limits->worker_seen_at = now;
  const bool is_final =
      presence == shmem::WorkerPresence::kNotPreloaded || presence == shmem::WorkerPresence::kNotAdmitted;
  if (is_final || TimestampDifferenceExceeds(limits->worker_seen_at, now, kWorkerGraceMs))
    RejectWithoutWorker(awaited, presence);
}

/// A build that failed since the call is going to fail again.
void RejectFailingBuild(const Awaited& awaited, const WaitLimits& limits) {
  shmem::BuildStatus status;
  if (!shmem::ReadBuildStatus(awaited.index, &status) || status.error_at <= limits.called_at) return;
  ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                  errmsg("could not build the graphs of index \"%s\"", awaited.name),
                  errdetail("The background worker reported: %s", status.error),
                  errhint("It tries again from time to time; tandem_build_progress shows its last error.")));
}

void RejectTimeout(const Awaited& awaited, const WaitLimits& limits) {
  if (limits.deadline == DT_NOEND || GetCurrentTimestamp() < limits.deadline) return;
  ereport(ERROR,
          (errcode(ERRCODE_QUERY_CANCELED),
           errmsg("timed out while waiting for the graphs of index \"%s\"", awaited.name),
           errdetail("%llu of %llu rows are in graphs.", static_cast<unsigned long long>(awaited.sealed),
                     static_cast<unsigned long long>(awaited.rows)),
           errhint("The background worker goes on; see tandem_build_progress.")));
}

/// One look at an index, under a lock of its own that lasts no longer: DROP must not wait for us. A look that would have to
/// wait for a lock is left out.
void LookAgain(Awaited* awaited) {
  const Relation index = pg::TryOpen(awaited->index, AccessShareLock);
  if (index == nullptr) return RejectDropped(awaited->index, awaited->name);
  RequireTandemIndex(index);
  RequireGraphs(index);
  awaited->done = AllSealed(awaited, index);
  relation_close(index, AccessShareLock);
}

void SleepUntil(TimestampTz deadline) {
  // A snapshot for catalog look-ups is a snapshot, too.
  InvalidateCatalogSnapshot();
  const long left_ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);
  (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, Min(kLookEveryMs, left_ms),
                  pg::WaitEvent("TandemWait"));
  ResetLatch(MyLatch);
  CHECK_FOR_INTERRUPTS();
}

/// Counts what is there to wait for, and refuses what no worker could ever do.
Awaited BeginWait(Oid index) {
  const OpenIndex open = OpenOwnedIndex(index, AccessShareLock);
  Awaited awaited = {};
  awaited.index = index;
  awaited.name = pstrdup(RelationGetRelationName(open.index));
  CountAwaited(&awaited, open.index);
  awaited.done = AllSealed(&awaited, open.index);
  if (!awaited.done) RequireReachable(open);
  CloseIndex(open);
  return awaited;
}

void WaitFor(Awaited* awaited, WaitLimits* limits) {
  while (!awaited->done) {
    RequireWorker(*awaited, limits);
    // Again and again: a worker that was restarted remembers nothing.
    if (shmem::RequestedFold(awaited->index) < awaited->rows)
      shmem::RequestFold(awaited->index, awaited->rows);
    RejectTimeout(*awaited, *limits);
    SleepUntil(limits->deadline);
    LookAgain(awaited);
    if (!awaited->done) RejectFailingBuild(*awaited, *limits);
  }
}

/// Rows that come after the call are not waited for, so all are counted first: steady inserts do not prolong it.
void WaitForAll(const List* indexes, WaitLimits* limits) {
  auto* awaited =
      static_cast<Awaited*>(palloc(sizeof(Awaited) * static_cast<Size>(Max(1, list_length(indexes)))));
  const ListCell* cell;
  foreach (cell, indexes) awaited[foreach_current_index(cell)] = BeginWait(lfirst_oid(cell));
  for (int i = 0; i < list_length(indexes); i++) WaitFor(&awaited[i], limits);
}

// ---- tandem_build ----

/// Everything, on as many threads as the settings allow, after whoever builds now.
am::FoldRequest BuildRequest() {
  am::FoldRequest request = {};
  request.everything = true;
  request.wait_for_builder = true;
  request.threads = pg::BuildThreads();
  return request;
}

/// An index that was rebuilt meanwhile is begun again; one that is gone, or has become flat, is an error.
void BuildIndex(Oid index, bool may_commit) {
  const char* name = get_rel_name(index);
  for (;;) {
    if (may_commit) SPI_commit();
    const am::FoldReport report = am::FoldIndexInSteps(index, BuildRequest(), may_commit);
    if (report.outcome != am::FoldOutcome::kGone) return;
    CHECK_FOR_INTERRUPTS();
    RejectDropped(index, name);
    RequireGraphs(list_make1_oid(index));
  }
}

}  // namespace

}  // namespace tandem::sqlapi

using namespace tandem;

Datum tandem_build(PG_FUNCTION_ARGS) {
  const Oid index = sqlapi::IndexArgument(fcinfo);
  const bool may_commit = sqlapi::MayCommit(fcinfo);
  sqlapi::RejectInRecovery("tandem_build");
  // SPI is how a procedure ends transactions; what is allocated from here on outlives them.
  SPI_connect_ext(may_commit ? SPI_OPT_NONATOMIC : 0);
  const List* indexes = sqlapi::OwnedIndexesOf(index);
  sqlapi::RequireGraphs(indexes);
  const ListCell* cell;
  foreach (cell, indexes) sqlapi::BuildIndex(lfirst_oid(cell), may_commit);
  SPI_finish();
  return static_cast<Datum>(0);
}

Datum tandem_wait(PG_FUNCTION_ARGS) {
  const Oid index = sqlapi::IndexArgument(fcinfo);
  const bool may_commit = sqlapi::MayCommit(fcinfo);
  sqlapi::WaitLimits limits;
  limits.called_at = limits.worker_seen_at = GetCurrentTimestamp();
  limits.deadline = sqlapi::DeadlineArgument(fcinfo, limits.called_at);
  sqlapi::RejectInRecovery("tandem_wait");
  SPI_connect_ext(may_commit ? SPI_OPT_NONATOMIC : 0);
  const List* indexes = sqlapi::OwnedIndexesOf(index);
  sqlapi::RequireGraphs(indexes);
  if (may_commit) SPI_commit();
  sqlapi::WaitForAll(indexes, &limits);
  SPI_finish();
  return static_cast<Datum>(0);
}
