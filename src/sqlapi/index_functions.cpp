// What SQL can ask about an index: tandem_verify(), tandem_rows(), and what the view tandem_index_stats shows.

#include "pg/compat.hpp"

#include "am/options.hpp"
#include "storage/flat_relation.hpp"
#include "storage/verify.hpp"

extern "C" {
#include "access/htup_details.h"
#include "access/amapi.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xlog.h"
#include "catalog/index.h"
#include "catalog/pg_am.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

PGDLLEXPORT Datum tandem_verify(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum tandem_rows(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum tandem_index_info(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(tandem_verify);
PG_FUNCTION_INFO_V1(tandem_rows);
PG_FUNCTION_INFO_V1(tandem_index_info);
}

namespace tandem::sqlapi {

namespace {

/// True for an index of ours, whatever its access method is called (H37): told by the handler's callbacks.
bool IsTandemIndex(Relation relation) {
  return relation->rd_rel->relkind == RELKIND_INDEX && relation->rd_indam != nullptr &&
         relation->rd_indam->amoptions == am::ParseIndexOptions;
}

void RequireTandemIndex(Relation relation) {
  if (!IsTandemIndex(relation))
    ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
                    errmsg("\"%s\" is not a tandem index", RelationGetRelationName(relation)),
                    relation->rd_rel->relkind == RELKIND_PARTITIONED_INDEX
                        ? errhint("Name the index of a partition.")
                        : 0));
  if (RELATION_IS_OTHER_TEMP(relation))
    ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                    errmsg("cannot access temporary indexes of other sessions")));
  if (RecoveryInProgress() && relation->rd_rel->relpersistence == RELPERSISTENCE_UNLOGGED)
    ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                    errmsg("cannot access unlogged index \"%s\" during recovery",
                           RelationGetRelationName(relation))));
  if (!relation->rd_index->indisready)
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("index \"%s\" is not ready", RelationGetRelationName(relation)),
                    errhint("Drop it or rebuild it with REINDEX.")));
}

/// False while an index is being built, and for those whose contents are elsewhere: another session's temporary ones,
/// and unlogged ones on a standby.
bool IsReadable(Relation index) {
  return index->rd_index->indisready && !RELATION_IS_OTHER_TEMP(index) &&
         !(RecoveryInProgress() && index->rd_rel->relpersistence == RELPERSISTENCE_UNLOGGED);
}

/// Index and table, table locked first as everywhere in the server. The caller must own the index.
struct OpenIndex {
  Relation heap;
  Relation index;
};

OpenIndex OpenOwnedIndex(Oid index_oid) {
  const char kind = get_rel_relkind(index_oid);
  if (kind == '\0')
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("there is no index with OID %u", index_oid)));
  if (kind != RELKIND_INDEX && kind != RELKIND_PARTITIONED_INDEX)
    ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
                    errmsg("\"%s\" is not a tandem index", get_rel_name(index_oid))));
  const Oid heap_oid = IndexGetRelation(index_oid, true);
  if (!OidIsValid(heap_oid))
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("there is no index with OID %u", index_oid)));
  const Relation heap = table_open(heap_oid, AccessShareLock);
  const Relation index = index_open(index_oid, AccessShareLock);
  if (!pg::OwnsRelation(index_oid, GetUserId()))
    aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_INDEX, RelationGetRelationName(index));
  RequireTandemIndex(index);
  return {heap, index};
}

void CloseIndex(const OpenIndex& open) {
  index_close(open.index, AccessShareLock);
  table_close(open.heap, AccessShareLock);
}

void ReportProblem(void* state, BlockNumber block, const char* problem) {
  auto* result = static_cast<ReturnSetInfo*>(state);
  Datum values[2] = {Int64GetDatum(block), CStringGetTextDatum(problem)};
  bool nulls[2] = {block == InvalidBlockNumber, false};
  tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/// Compares with the heap as the table's owner, in a restricted context, as VACUUM and REINDEX work: the index's
/// expressions and predicate are functions that the owner chose, and the caller may be a superuser (H34).
/// After an error the end of the transaction puts the user back.
void VerifyAgainstHeapAsOwner(const OpenIndex& open, void* result) {
  Oid caller;
  int security_context;
  GetUserIdAndSecContext(&caller, &security_context);
  SetUserIdAndSecContext(open.heap->rd_rel->relowner, security_context | SECURITY_RESTRICTED_OPERATION);
  const int settings = NewGUCNestLevel();
  storage::VerifyAgainstHeap(open.index, open.heap, ReportProblem, result);
  AtEOXact_GUC(false, settings);
  SetUserIdAndSecContext(caller, security_context);
}

/// One stream being returned by tandem_rows().
struct RowsOutput {
  ReturnSetInfo* result;
  bool has_vector;
};

void ReportRow(void* state, uint64 row, const storage::RowHead& head) {
  const auto* output = static_cast<const RowsOutput*>(state);
  ItemPointerData tid = head.tid;
  Datum values[4] = {Int64GetDatum(static_cast<int64>(row)), PointerGetDatum(&tid),
                     BoolGetDatum((head.flags & storage::kTombstone) != 0), BoolGetDatum(output->has_vector)};
  bool nulls[4] = {!output->has_vector, false, false, false};
  tuplestore_putvalues(output->result->setResult, output->result->setDesc, values, nulls);
}

const char* MetricName(vec::Metric metric) {
  switch (metric) {
    case vec::Metric::kL2:
      return "l2";
    case vec::Metric::kInnerProduct:
      return "inner_product";
    case vec::Metric::kCosine:
      return "cosine";
    case vec::Metric::kL1:
      return "l1";
  }
  return "unknown";
}

int64 StreamBytes(const storage::MetaPage& meta, storage::Stream stream) {
  return static_cast<int64>(storage::FirstPageOfExtent(meta.streams[stream].extents)) * BLCKSZ;
}

}  // namespace

}  // namespace tandem::sqlapi

using namespace tandem;

Datum tandem_verify(PG_FUNCTION_ARGS) {
  const Oid index_oid = PG_GETARG_OID(0);
  const bool heap_check = PG_GETARG_BOOL(1);
  pg::InitMaterializedResult(fcinfo);
  const sqlapi::OpenIndex open = sqlapi::OpenOwnedIndex(index_oid);
  storage::VerifyPages(open.index, open.heap, sqlapi::ReportProblem, fcinfo->resultinfo);
  if (heap_check) sqlapi::VerifyAgainstHeapAsOwner(open, fcinfo->resultinfo);
  sqlapi::CloseIndex(open);
  return static_cast<Datum>(0);
}

Datum tandem_rows(PG_FUNCTION_ARGS) {
  const Oid index_oid = PG_GETARG_OID(0);
  pg::InitMaterializedResult(fcinfo);
  const sqlapi::OpenIndex open = sqlapi::OpenOwnedIndex(index_oid);
  sqlapi::RowsOutput output = {reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo), true};
  storage::VisitHeads(open.index, storage::kHeadStream, sqlapi::ReportRow, &output);
  output.has_vector = false;
  storage::VisitHeads(open.index, storage::kNullHeadStream, sqlapi::ReportRow, &output);
  sqlapi::CloseIndex(open);
  return static_cast<Datum>(0);
}

/// One row about an index; all NULL if it is locked exclusively, gone, or not ours: a statistics view must not
/// wait, nor fail because something was dropped meanwhile.
Datum tandem_index_info(PG_FUNCTION_ARGS) {
  const Oid index_oid = PG_GETARG_OID(0);
  TupleDesc descriptor;
  if (get_call_result_type(fcinfo, nullptr, &descriptor) != TYPEFUNC_COMPOSITE)
    elog(ERROR, "return type must be a row type");
  constexpr int kColumns = 9;
  Datum values[kColumns] = {};
  bool nulls[kColumns];
  std::memset(nulls, true, sizeof nulls);

  Relation index = nullptr;
  if (ConditionalLockRelationOid(index_oid, AccessShareLock)) {
    index = try_relation_open(index_oid, NoLock);
    if (index == nullptr) UnlockRelationOid(index_oid, AccessShareLock);
  }
  if (index != nullptr && sqlapi::IsTandemIndex(index) && sqlapi::IsReadable(index) &&
      RelationGetNumberOfBlocks(index) > 0) {
    auto* meta = static_cast<storage::MetaPage*>(palloc(sizeof(storage::MetaPage)));
    storage::ReadMeta(index, meta);
    const uint64 rows = storage::CountRows(index, storage::kHeadStream);
    const uint64 null_rows = storage::CountRows(index, storage::kNullHeadStream);
    values[0] = CStringGetTextDatum(am::StrategyName(am::StrategyOf(index)));
    values[1] = CStringGetTextDatum(sqlapi::MetricName(static_cast<vec::Metric>(meta->metric)));
    values[2] = Int32GetDatum(static_cast<int32>(meta->dimensions));
    values[3] = Int64GetDatum(static_cast<int64>(rows));
    values[4] = Int64GetDatum(static_cast<int64>(null_rows));
    values[5] = Int64GetDatum(static_cast<int64>(meta->dead_rows + meta->dead_null_rows));
    values[6] = Int64GetDatum(sqlapi::StreamBytes(*meta, storage::kHeadStream) +
                              sqlapi::StreamBytes(*meta, storage::kNullHeadStream));
    values[7] = Int64GetDatum(sqlapi::StreamBytes(*meta, storage::kVectorStream));
    values[8] = Int64GetDatum(static_cast<int64>(RelationGetNumberOfBlocks(index)) * BLCKSZ);
    std::memset(nulls, false, sizeof nulls);
  }
  if (index != nullptr) relation_close(index, AccessShareLock);
  PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(descriptor, values, nulls)));
}
