// CREATE INDEX and REINDEX: copies the heap's vectors into a new flat relation. Strategy hnsw_inline builds graphs at once;
// hnsw_batch leaves them to the background worker, which hears of the index when it is committed.

#include "pg/compat.hpp"

#include "am/callbacks.hpp"
#include "am/fold_now.hpp"
#include "am/options.hpp"
#include "pg/indexed_value.hpp"
#include "pg/settings.hpp"
#include "shmem/mailbox.hpp"
#include "storage/flat_relation.hpp"

extern "C" {
#include "access/tableam.h"
#include "access/xloginsert.h"
#include "catalog/index.h"
#include "catalog/pg_type.h"
#include "commands/progress.h"
#include "utils/backend_progress.h"
#include "utils/lsyscache.h"
}

namespace tandem::am {

namespace {

/// Sub-phases of pg_stat_progress_create_index; 1 is the server's "initializing".
constexpr int64 kPhaseLoad = 2;
constexpr int64 kPhaseWrite = 3;
constexpr int64 kPhaseGraph = 4;

struct BuildState {
  storage::FlatBuilder* builder;
  MemoryContext row_context;
  storage::IndexShape shape;
  int64 rows;
};

storage::IndexShape ShapeOf(Relation index) {
  constexpr int kMaxIndexedBits = 64000;  // as pgvector's
  if (getBaseType(TupleDescAttr(RelationGetDescr(index), 0)->atttypid) == VARBITOID)
    ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                    errmsg("access method \"tandem\" does not index type bit varying"),
                    errhint("Index an expression that casts to bit(n).")));
  const int dimensions = ColumnDimensions(index);
  if (dimensions == 0)
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("column does not have dimensions"),
                    errhint("Give the column's type its number of dimensions, as in vector(3), or index an "
                            "expression that casts to one.")));
  const Distance distance = DistanceOf(index);
  if (distance.element == vec::Element::kBit && dimensions > kMaxIndexedBits)
    ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                    errmsg("an index cannot have more than %d bits", kMaxIndexedBits)));
  if (!IsElementOf(index->rd_opcintype[0], distance.element))
    ereport(ERROR, (errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
                    errmsg("support function %d of the operator class is for vectors of another type",
                           kMetricProc)));
  CheckOptionsWithMetric(index, distance.metric);
  return {distance.metric, distance.element, static_cast<uint32>(dimensions)};
}

void AddHeapRow(Relation index, ItemPointer tid, Datum* values, bool* isnull, bool /*tuple_is_alive*/,
                void* state) {
  auto* build = static_cast<BuildState*>(state);
  const MemoryContext old_context = MemoryContextSwitchTo(build->row_context);
  const storage::IndexShape& shape = build->shape;
  const void* row = nullptr;
  if (!isnull[0]) row = pg::DetoastIndexedValue(values[0], shape.element, shape.dimensions).row;
  storage::AddToFlatBuild(build->builder, *tid, row);
  build->rows++;
  pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, build->rows);
  MemoryContextSwitchTo(old_context);
  MemoryContextReset(build->row_context);
}

// ---- Graphs ----

/// Says once per session that there is no worker; a dump that is restored creates many indexes.
void HintAtPreload(Relation index) {
  static bool said = false;
  if (said) return;
  said = true;
  ereport(NOTICE,
          (errmsg("no background worker builds graphs of index \"%s\"", RelationGetRelationName(index)),
           errdetail("The library \"tandem\" was not preloaded at server start."),
           errhint("Add \"tandem\" to shared_preload_libraries, or have graphs built by VACUUM or CALL "
                   "tandem_build(...). Until then, searches are exact.")));
}

/// Once for an index, when it is made: ON COMMIT DELETE ROWS builds it anew with every transaction.
void HintAtTemporary(Relation index) {
  static Oid said_of = InvalidOid;
  const bool is_new = index->rd_createSubid != InvalidSubTransactionId;
  if (!is_new || said_of == RelationGetRelid(index)) return;
  said_of = RelationGetRelid(index);
  ereport(
      NOTICE,
      (errmsg("no background worker builds graphs of temporary index \"%s\"", RelationGetRelationName(index)),
       errhint("Use strategy = 'hnsw_inline', or have graphs built by VACUUM or CALL tandem_build(...).")));
}

/// hnsw_batch: the index is complete and correct now, and becomes fast when the worker has come.
void LeaveToWorker(Relation index) {
  if (index->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
    HintAtTemporary(index);
  else if (!shmem::MailboxExists())
    HintAtPreload(index);
  else
    shmem::NotifyWork(MyDatabaseId);
}

void BuildGraphs(Relation index) {
  pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, kPhaseGraph);
  FoldRequest request = {};
  request.is_new = true;
  request.everything = true;
  request.shows_create_index = true;
  request.threads = pg::BuildThreads();
  const FoldReport report = FoldIndex(index, request);
  Assert(report.outcome == FoldOutcome::kUpToDate);
  (void)report;
}

void BuildByStrategy(Relation index) {
  switch (StrategyOf(index)) {
    case Strategy::kFlat:
      return;
    case Strategy::kHnswBatch:
      return LeaveToWorker(index);
    case Strategy::kHnswInline:
      return BuildGraphs(index);
  }
}

}  // namespace

int ColumnDimensions(Relation index) {
  const Form_pg_attribute column = TupleDescAttr(RelationGetDescr(index), 0);
  int32 typmod = column->atttypmod;
  getBaseTypeAndTypmod(column->atttypid, &typmod);
  return Max(typmod, 0);
}

IndexBuildResult* Build(Relation heap, Relation index, IndexInfo* info) {
  const storage::IndexShape shape = ShapeOf(index);
  BuildState build = {};
  build.builder = storage::BeginFlatBuild(index, shape);
  build.shape = shape;
  build.row_context = AllocSetContextCreate(CurrentMemoryContext, "tandem build row", ALLOCSET_DEFAULT_SIZES);

  pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, kPhaseLoad);
  const double heap_rows = table_index_build_scan(heap, index, info, true, true, AddHeapRow, &build, nullptr);
  pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, kPhaseWrite);
  storage::FinishFlatBuild(build.builder);
  MemoryContextDelete(build.row_context);
  BuildByStrategy(index);

  auto* result = static_cast<IndexBuildResult*>(palloc(sizeof(IndexBuildResult)));
  result->heap_tuples = heap_rows;
  result->index_tuples = static_cast<double>(build.rows);
  return result;
}

/// Writes the init fork of an unlogged index: an empty index, copied over the main fork after a crash. Logged
/// here, since nothing else logs an unlogged relation's pages (H22).
void BuildEmpty(Relation index) {
  const storage::IndexShape shape = ShapeOf(index);
  const uint64 incarnation = storage::NewIncarnation();
  const Buffer buffer = ReadBufferExtended(index, INIT_FORKNUM, P_NEW, RBM_NORMAL, nullptr);
  LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
  START_CRIT_SECTION();
  storage::InitMetaPage(BufferGetPage(buffer), shape, incarnation);
  MarkBufferDirty(buffer);
  log_newpage_buffer(buffer, true);
  END_CRIT_SECTION();
  UnlockReleaseBuffer(buffer);
}

char* BuildPhaseName(int64 phase) {
  switch (phase) {
    case PROGRESS_CREATEIDX_SUBPHASE_INITIALIZE:
      return pstrdup("initializing");
    case kPhaseLoad:
      return pstrdup("loading tuples");
    case kPhaseWrite:
      return pstrdup("writing index");
    case kPhaseGraph:
      return pstrdup("building graph");
    default:
      return nullptr;
  }
}

}  // namespace tandem::am
