#pragma once
// Everything that differs between the supported server versions (15 to 18, and 19 as far as it is there). No other file tests
// PG_VERSION_NUM. Guards are written as ">= version", never as lists, so that versions between follow.

#include "pg/pg.hpp"

#if PG_VERSION_NUM < 150000
#error "tandem needs PostgreSQL 15 or later"
#endif

extern "C" {
#include "access/genam.h"
#include "access/relscan.h"
#include "access/tableam.h"
#include "catalog/pg_class.h"
#include "commands/explain.h"
#include "catalog/pg_database.h"
#include "commands/vacuum.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "pgstat.h"
#include "postmaster/autovacuum.h"
#include "nodes/nodeFuncs.h"
#include "nodes/pathnodes.h"
#include "nodes/tidbitmap.h"
#include "storage/buf_internals.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#if PG_VERSION_NUM >= 170000
#include "storage/read_stream.h"
#endif
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#if PG_VERSION_NUM >= 160000
#include "utils/relfilenumbermap.h"
#else
#include "utils/relfilenodemap.h"
#endif
#include "utils/pgstat_internal.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
#include "utils/wait_event.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif
#if PG_VERSION_NUM >= 180000
#include "commands/explain_format.h"
#include "commands/explain_state.h"
#endif
}

#if PG_VERSION_NUM < 170000
struct ReadStream;
#endif

namespace tandem::pg {

/// True if there is a buffer that nobody has used since the server started, or whose relation has gone.
[[nodiscard]] inline bool HasFreeBuffer() {
#if PG_VERSION_NUM >= 190000
  return false;  // nobody keeps a list of them
#else
  return have_free_buffer();
#endif
}

/// How often an index of any database was scanned, as far as the server's statistics know.
[[nodiscard]] inline uint64 IndexScansOf(Oid database, Oid index) {
#if PG_VERSION_NUM >= 190000
  const void* found = pgstat_fetch_entry(PGSTAT_KIND_RELATION, database, index, nullptr);
#else
  const void* found = pgstat_fetch_entry(PGSTAT_KIND_RELATION, database, index);
#endif
  const auto* entry = static_cast<const PgStat_StatTabEntry*>(found);
  return entry == nullptr ? 0 : static_cast<uint64>(entry->numscans);
}

/// Sleeps as cost-based vacuum delay asks; a cancellation point. No buffer lock may be held.
inline void VacuumDelayPoint() {
#if PG_VERSION_NUM >= 180000
  vacuum_delay_point(false);
#else
  vacuum_delay_point();
#endif
}

/// True in a process of autovacuum that vacuums tables.
[[nodiscard]] inline bool IsAutovacuumWorker() {
#if PG_VERSION_NUM >= 170000
  return AmAutoVacuumWorkerProcess();
#else
  return IsAutoVacuumWorkerProcess();
#endif
}

/// Pins `buffer` if it still holds `block`; cheaper than looking the block up. Pinning this way does not raise the
/// buffer's usage count, so a buffer whose count has sunk below `least_usage` is refused: the look-up that follows
/// raises it, and pages that are read all the time are not evicted as if nobody used them.
[[nodiscard]] inline bool ReadRecentPage(Relation relation, BlockNumber block, Buffer buffer,
                                         uint32 least_usage) {
  if (buffer > 0) {
    const BufferDesc* descriptor = GetBufferDescriptor(static_cast<uint32>(buffer) - 1);
#if PG_VERSION_NUM >= 190000
    const uint64 state = pg_atomic_read_u64(const_cast<pg_atomic_uint64*>(&descriptor->state));
#else
    const uint32 state = pg_atomic_read_u32(const_cast<pg_atomic_uint32*>(&descriptor->state));
#endif
    if (BUF_STATE_GET_USAGECOUNT(state) < least_usage) return false;
  }
#if PG_VERSION_NUM >= 160000
  if (!ReadRecentBuffer(relation->rd_locator, MAIN_FORKNUM, block, buffer)) return false;
#else
  if (!ReadRecentBuffer(relation->rd_node, MAIN_FORKNUM, block, buffer)) return false;
#endif
  pgstat_count_buffer_read(relation);
  pgstat_count_buffer_hit(relation);
  return true;
}

/// Tells the next block of a stream; InvalidBlockNumber after the last. Must not wait for anything, nor start another stream.
using NextBlock = BlockNumber (*)(ReadStream* stream, void* state, void* unused);

/// Blocks of the main fork that all will be asked for: the server reads several at a time, and ahead. nullptr before 17, which has no
/// streams. Buffers come pinned; an error lets go of those that were read ahead.
[[nodiscard]] inline ReadStream* BeginBlockStream(Relation relation, BufferAccessStrategy strategy,
                                                  NextBlock next, void* state) {
#if PG_VERSION_NUM >= 180000
  return read_stream_begin_relation(READ_STREAM_FULL | READ_STREAM_USE_BATCHING, strategy, relation,
                                    MAIN_FORKNUM, next, state, 0);
#elif PG_VERSION_NUM >= 170000
  return read_stream_begin_relation(READ_STREAM_FULL, strategy, relation, MAIN_FORKNUM, next, state, 0);
#else
  (void)relation, (void)strategy, (void)next, (void)state;
  return nullptr;
#endif
}
[[nodiscard]] inline Buffer NextOfStream(ReadStream* stream) {
#if PG_VERSION_NUM >= 170000
  return read_stream_next_buffer(stream, nullptr);
#else
  (void)stream;
  return InvalidBuffer;
#endif
}
inline void EndBlockStream(ReadStream* stream) {
#if PG_VERSION_NUM >= 170000
  read_stream_end(stream);
#else
  (void)stream;
#endif
}

/// Where a relation's file is: unlike its OID, another one after every rewrite.
struct RelationFile {
  Oid database;
  Oid tablespace;
  Oid number;  ///< relfilenode
};
[[nodiscard]] inline RelationFile FileOf(Relation relation) {
#if PG_VERSION_NUM >= 160000
  return {relation->rd_locator.dbOid, relation->rd_locator.spcOid, relation->rd_locator.relNumber};
#else
  return {relation->rd_node.dbNode, relation->rd_node.spcNode, relation->rd_node.relNode};
#endif
}

/// True if a permanent or unlogged relation of this database, visible to catalog look-ups now, has its contents in that file.
[[nodiscard]] inline bool FileHasRelation(Oid tablespace, Oid number) {
#if PG_VERSION_NUM >= 160000
  return OidIsValid(RelidByRelfilenumber(tablespace, number));
#else
  return OidIsValid(RelidByRelfilenode(tablespace, number));
#endif
}

/// Raises "snapshot too old" if old_snapshot_threshold (before 17) let VACUUM remove rows that `snapshot` may need.
/// The page must be locked.
inline void CheckSnapshotAge(Snapshot snapshot, Relation relation, Page page) {
#if PG_VERSION_NUM >= 170000
  (void)snapshot, (void)relation, (void)page;
#else
  TestForOldSnapshot(snapshot, relation, page);
#endif
}

/// True if VACUUM may remove rows that a snapshot still sees (old_snapshot_threshold, before 17). Whoever does not read every
/// head page would not meet the error that this is to be answered with (H44).
[[nodiscard]] inline bool SnapshotsGetTooOld() {
#if PG_VERSION_NUM >= 170000
  return false;
#else
  return OldSnapshotThresholdActive();
#endif
}

/// What a node that scans an index counts for EXPLAIN ANALYZE: nothing before 18. Zeroed memory is right to begin with.
struct IndexScanCounts {
#if PG_VERSION_NUM >= 180000
  IndexScanInstrumentation searches;
#endif
};

/// Begins an index scan with one ORDER BY key and no other. `counts` must outlive it.
[[nodiscard]] inline IndexScanDesc BeginOrderedIndexScan(Relation table, Relation index, Snapshot snapshot,
                                                         IndexScanCounts* counts) {
#if PG_VERSION_NUM >= 190000
  return index_beginscan(table, index, snapshot, &counts->searches, 0, 1, 0);
#elif PG_VERSION_NUM >= 180000
  return index_beginscan(table, index, snapshot, &counts->searches, 0, 1);
#else
  (void)counts;
  return index_beginscan(table, index, snapshot, 0, 1);
#endif
}

/// Counts an index search for EXPLAIN (18 and later) and for the statistics views.
inline void CountIndexSearch(IndexScanDesc scan) {
  pgstat_count_index_scan(scan->indexRelation);
#if PG_VERSION_NUM >= 180000
  if (scan->instrument != nullptr) scan->instrument->nsearches++;
#endif
}

/// As EXPLAIN ANALYZE shows it for the server's own index scans, from 18 on.
inline void ShowIndexSearches(const IndexScanCounts& counts, ExplainState* state) {
#if PG_VERSION_NUM >= 180000
  if (state->analyze) ExplainPropertyUInteger("Index Searches", nullptr, counts.searches.nsearches, state);
#else
  (void)counts, (void)state;
#endif
}

/// Fetches a shared buffer's descriptor into the processor's cache, for a pin soon after. always_inline, here and
/// wherever something only prefetches: gcc takes such a function for one without effect and drops its calls.
__attribute__((always_inline)) inline void PrefetchBufferDescriptor(Buffer buffer) {
  if (buffer > 0) __builtin_prefetch(GetBufferDescriptor(static_cast<uint32>(buffer) - 1), 1);
}

/// Extends the main fork with zero pages to at least `blocks` blocks. Takes the relation extension lock: no
/// buffer content lock may be held.
inline void ExtendRelationTo(Relation relation, BlockNumber blocks) {
#if PG_VERSION_NUM >= 160000
  const Buffer buffer = ExtendBufferedRelTo(BMR_REL(relation), MAIN_FORKNUM, nullptr,
                                            EB_CREATE_FORK_IF_NEEDED, blocks, RBM_NORMAL);
  ReleaseBuffer(buffer);
#else
  LockRelationForExtension(relation, ExclusiveLock);
  for (BlockNumber size = RelationGetNumberOfBlocks(relation); size < blocks; size++)
    ReleaseBuffer(ReadBufferExtended(relation, MAIN_FORKNUM, P_NEW, RBM_NORMAL, nullptr));
  UnlockRelationForExtension(relation, ExclusiveLock);
#endif
}

/// Makes the planner take any other path, even one that a setting like enable_seqscan = off speaks against.
/// For amcostestimate, besides an infinite cost.
inline void DisablePath(Path* path) {
#if PG_VERSION_NUM >= 180000
  path->disabled_nodes = 2;
#endif
}

/// Takes back what a setting like enable_indexscan = off speaks against, in a path made from one whose cost is not its own. Before
/// 18 that is in the cost.
inline void EnablePath(Path* path) {
#if PG_VERSION_NUM >= 180000
  path->disabled_nodes = 0;
#endif
}

/// What the planner adds to the cost of a path that a setting like enable_bitmapscan = off speaks against.
#if PG_VERSION_NUM >= 180000
constexpr Cost kDisableCost = 0;
#else
constexpr Cost kDisableCost = 1.0e10;
#endif

/// True if the planner would rather have `one` for all its rows.
[[nodiscard]] inline bool IsCheaper(const Path* one, const Path* other) {
#if PG_VERSION_NUM >= 180000
  if (one->disabled_nodes != other->disabled_nodes) return one->disabled_nodes < other->disabled_nodes;
#endif
  return one->total_cost < other->total_cost;
}

/// True if `role` owns the relation, or is a superuser.
[[nodiscard]] inline bool OwnsRelation(Oid relation, Oid role) {
#if PG_VERSION_NUM >= 160000
  return object_ownercheck(RelationRelationId, relation, role);
#else
  return pg_class_ownercheck(relation, role);
#endif
}

/// This process's place among the server's: 0 to below MaxBackends for backends and background workers.
[[nodiscard]] inline uint32 ProcessNumber() {
#if PG_VERSION_NUM >= 170000
  return static_cast<uint32>(MyProcNumber);
#else
  return static_cast<uint32>(MyProc->pgprocno);
#endif
}

/// The number under which waiting shows as `name` in pg_stat_activity; before 17 every extension's shows as "Extension".
[[nodiscard]] inline uint32 WaitEvent(const char* name) {
#if PG_VERSION_NUM >= 170000
  return WaitEventExtensionNew(name);
#else
  (void)name;
  return PG_WAIT_EXTENSION;
#endif
}

/// True if `role` owns the database, or is a superuser.
[[nodiscard]] inline bool OwnsDatabase(Oid database, Oid role) {
#if PG_VERSION_NUM >= 160000
  return object_ownercheck(DatabaseRelationId, database, role);
#else
  return pg_database_ownercheck(database, role);
#endif
}

/// What ExplainOneQuery_hook replaces. Before 17 the server does not export it: this does the same.
inline void StandardExplainOneQuery(Query* query, int options, IntoClause* into, ExplainState* state,
                                    const char* query_string, ParamListInfo parameters,
                                    QueryEnvironment* environment) {
#if PG_VERSION_NUM >= 170000
  standard_ExplainOneQuery(query, options, into, state, query_string, parameters, environment);
#else
  const BufferUsage usage_before = pgBufferUsage;
  instr_time start;
  instr_time duration;
  INSTR_TIME_SET_CURRENT(start);
  PlannedStmt* plan = pg_plan_query(query, query_string, options, parameters);
  INSTR_TIME_SET_CURRENT(duration);
  INSTR_TIME_SUBTRACT(duration, start);
  BufferUsage usage = {};
  BufferUsageAccumDiff(&usage, &pgBufferUsage, &usage_before);
  ExplainOnePlan(plan, into, state, query_string, parameters, environment, &duration,
                 state->buffers ? &usage : nullptr);
#endif
}

/// True if the server has the setting transaction_timeout (17).
constexpr bool kHasTransactionTimeout = PG_VERSION_NUM >= 170000;

/// When a timeout will cancel the running statement; 0 if none will.
[[nodiscard]] inline TimestampTz StatementDeadline() {
  TimestampTz deadline = 0;
  const auto consider = [&deadline](TimeoutId id) {
    if (!get_timeout_active(id)) return;
    const TimestampTz end = get_timeout_finish_time(id);
    if (deadline == 0 || end < deadline) deadline = end;
  };
  consider(STATEMENT_TIMEOUT);
#if PG_VERSION_NUM >= 170000
  consider(TRANSACTION_TIMEOUT);
#endif
  return deadline;
}

/// expression_tree_mutator(), whose callbacks have no prototype before 16.
[[nodiscard]] inline Node* MutateExpression(Node* expression, Node* (*mutator)(Node*, void*), void* state) {
#if PG_VERSION_NUM >= 160000
  return expression_tree_mutator(expression, mutator, state);
#else
  // By way of the one type that a function's type may be cast to unwarned.
  return expression_tree_mutator(expression,
                                 reinterpret_cast<Node* (*)()>(reinterpret_cast<void (*)()>(mutator)), state);
#endif
}

/// raw_expression_tree_walker(), likewise.
[[nodiscard]] inline bool WalkRawExpression(Node* expression, bool (*walker)(Node*, void*), void* state) {
#if PG_VERSION_NUM >= 160000
  return raw_expression_tree_walker(expression, walker, state);
#else
  return raw_expression_tree_walker(
      expression, reinterpret_cast<bool (*)()>(reinterpret_cast<void (*)()>(walker)), state);
#endif
}

/// expression_tree_walker(), likewise.
[[nodiscard]] inline bool WalkExpression(Node* expression, bool (*walker)(Node*, void*), void* state) {
#if PG_VERSION_NUM >= 160000
  return expression_tree_walker(expression, walker, state);
#else
  return expression_tree_walker(expression,
                                reinterpret_cast<bool (*)()>(reinterpret_cast<void (*)()>(walker)), state);
#endif
}

/// query_tree_walker() with everything that a query has, likewise.
[[nodiscard]] inline bool WalkQuery(Query* query, bool (*walker)(Node*, void*), void* state) {
#if PG_VERSION_NUM >= 160000
  return query_tree_walker(query, walker, state, 0);
#else
  return query_tree_walker(query, reinterpret_cast<bool (*)()>(reinterpret_cast<void (*)()>(walker)), state,
                           0);
#endif
}

/// Begins a scan that fills a bitmap, with `keys` scan keys.
[[nodiscard]] inline IndexScanDesc BeginBitmapIndexScan(Relation index, Snapshot snapshot, int keys) {
#if PG_VERSION_NUM >= 180000
  return index_beginscan_bitmap(index, snapshot, nullptr, keys);
#else
  return index_beginscan_bitmap(index, snapshot, keys);
#endif
}

/// EXPLAIN of a plan; with state->analyze it is executed.
inline void ExplainPlan(PlannedStmt* plan, ExplainState* state, const char* query_string,
                        ParamListInfo parameters) {
#if PG_VERSION_NUM >= 170000
  ExplainOnePlan(plan, nullptr, state, query_string, parameters, nullptr, nullptr, nullptr, nullptr);
#else
  ExplainOnePlan(plan, nullptr, state, query_string, parameters, nullptr, nullptr, nullptr);
#endif
}

/// visit(block, offsets, count) for each page of the bitmap, ascending; offsets is nullptr where it knows only the block.
template <typename Visit>
void VisitBitmap(TIDBitmap* bitmap, const Visit& visit) {
#if PG_VERSION_NUM >= 180000
  TBMPrivateIterator* iterator = tbm_begin_private_iterate(bitmap);
  TBMIterateResult page;
  OffsetNumber offsets[TBM_MAX_TUPLES_PER_PAGE];
  while (tbm_private_iterate(iterator, &page))
    visit(page.blockno, page.lossy ? nullptr : offsets,
          page.lossy ? 0 : tbm_extract_page_tuple(&page, offsets, TBM_MAX_TUPLES_PER_PAGE));
  tbm_end_private_iterate(iterator);
#else
  TBMIterator* iterator = tbm_begin_iterate(bitmap);
  while (const TBMIterateResult* page = tbm_iterate(iterator))
    visit(page->blockno, page->ntuples < 0 ? nullptr : page->offsets, page->ntuples);
  tbm_end_iterate(iterator);
#endif
}

/// Gives a node that scans `table` the slot that the table's rows come in.
inline void InitTableSlot(EState* estate, ScanState* state, Relation table) {
#if PG_VERSION_NUM >= 190000
  ExecInitScanTupleSlot(estate, state, RelationGetDescr(table), table_slot_callbacks(table), 0);
#else
  ExecInitScanTupleSlot(estate, state, RelationGetDescr(table), table_slot_callbacks(table));
#endif
}

/// Prepares a set-returning function's tuplestore in its ReturnSetInfo. flags: MAT_SRF_….
inline void InitMaterializedResult(FunctionCallInfo fcinfo, uint32 flags = 0) {
  InitMaterializedSRF(fcinfo, flags);
}

}  // namespace tandem::pg
