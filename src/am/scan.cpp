#include "pg/compat.hpp"

#include "am/scan.hpp"

#include "am/callbacks.hpp"
#include "am/operators.hpp"
#include "am/search.hpp"
#include "am/table_page.hpp"
#include "pg/indexed_value.hpp"

extern "C" {
#include "access/relscan.h"
#include "catalog/pg_type.h"
#include "pgstat.h"
#include "utils/float.h"
#include "utils/snapmgr.h"
}

namespace tandem::am {

namespace {

struct ScanState {
  MemoryContext context;
  MemoryContext query_context;  ///< reset with every rescan: a detoasted query
  Search* search;
  bool started;
};

/// The first ORDER BY key that is not NULL, or the number of keys. Distances to NULL are NULL for every row, so rows
/// are in order of the next key.
int LeadingKey(IndexScanDesc scan) {
  int key = 0;
  while (key < scan->numberOfOrderBys && (scan->orderByData[key].sk_flags & SK_ISNULL) != 0) key++;
  return key;
}

/// What rows are ordered by.
struct Query {
  const float* widened =
      nullptr;  ///< in single precision; nullptr: by nothing. Where rows are compared as such, one lies behind
  vec::ForeignOperator foreign;
};

/// In the current memory context.
Query QueryOf(IndexScanDesc scan) {
  const int key = LeadingKey(scan);
  if (key == scan->numberOfOrderBys) return {};
  const storage::DirectoryView& directory = storage::GetIndexCache(scan->indexRelation)->directory;
  // Copies: detoasting may have the relation cache drop the directory.
  const vec::Element element = directory.element;
  const uint32 column_dimensions = directory.column_dimensions;
  const uint32 dimensions = directory.dimensions;
  const pg::IndexedValue value =
      pg::DetoastIndexedValue(scan->orderByData[key].sk_argument, element, column_dimensions);
  const vec::ForeignOperator foreign =
      ForeignOperatorOf(&scan->orderByData[key], value.datum, element, column_dimensions);
  if (element == vec::Element::kFloat32) return {static_cast<const float*>(value.row), foreign};
  const std::size_t row_bytes =
      vec::RowDistance::ComparesRows(element) ? vec::RowBytes(element, column_dimensions, value.row) : 0;
  auto* widened = static_cast<float*>(palloc(dimensions * sizeof(float) + row_bytes));
  vec::Widen(element, value.row, column_dimensions, widened);
  if (row_bytes > 0) std::memcpy(widened + dimensions, value.row, row_bytes);
  return {widened, foreign};
}

void StartScan(IndexScanDesc scan, ScanState* state) {
  // A row's TID may be reused while the scan runs; only a snapshot older than the scan makes that harmless.
  if (!IsMVCCSnapshot(scan->xs_snapshot))
    ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                    errmsg("access method \"tandem\" supports only MVCC snapshots")));
  pg::CountIndexSearch(scan);
  MemoryContextReset(state->query_context);
  const MemoryContext old_context = MemoryContextSwitchTo(state->query_context);
  const Query query = QueryOf(scan);
  SetSearchOperator(state->search, query.foreign);
  StartSearch(state->search, scan->xs_snapshot, query.widened);
  MemoryContextSwitchTo(old_context);
  state->started = true;
}

static_assert(FLOAT8PASSBYVAL, "a distance per row would be allocated and never freed");

void SetOrderByValue(IndexScanDesc scan, const storage::ScanRow& row) {
  // Distances are the operator's own, to the last bit: nothing to reorder by the first key. ORDER BY v <-> a, v <-> b:
  // the planner asks one scan for both. The second distance is not known here; a lower bound makes the executor
  // compute it and sort rows of equal first distance.
  const int leading = LeadingKey(scan);
  for (int i = 0; i < scan->numberOfOrderBys; i++) {
    scan->xs_orderbyvals[i] = Float8GetDatum(i == leading ? row.distance : -get_float8_infinity());
    scan->xs_orderbynulls[i] = i < leading || (i == leading && row.is_null);
  }
  scan->xs_recheckorderby = scan->numberOfOrderBys > leading + 1;
}

}  // namespace

IndexScanDesc BeginScan(Relation index, int nkeys, int norderbys) {
  IndexScanDesc scan = RelationGetIndexScan(index, nkeys, norderbys);
  auto* state = static_cast<ScanState*>(palloc0(sizeof(ScanState)));
  state->context = AllocSetContextCreate(CurrentMemoryContext, "tandem scan", ALLOCSET_DEFAULT_SIZES);
  state->query_context = AllocSetContextCreate(state->context, "tandem query", ALLOCSET_DEFAULT_SIZES);
  const MemoryContext old_context = MemoryContextSwitchTo(state->context);
  state->search = BeginSearch(index);
  MemoryContextSwitchTo(old_context);
  scan->opaque = state;
  if (norderbys > 0) {
    scan->xs_orderbyvals = static_cast<Datum*>(palloc0(sizeof(Datum) * static_cast<Size>(norderbys)));
    scan->xs_orderbynulls = static_cast<bool*>(palloc0(sizeof(bool) * static_cast<Size>(norderbys)));
  }
  return scan;
}

void Rescan(IndexScanDesc scan, ScanKey keys, int /*nkeys*/, ScanKey orderbys, int /*norderbys*/) {
  auto* state = static_cast<ScanState*>(scan->opaque);
  state->started = false;
  if (keys != nullptr && scan->numberOfKeys > 0)
    std::memmove(scan->keyData, keys, static_cast<Size>(scan->numberOfKeys) * sizeof(ScanKeyData));
  if (orderbys != nullptr && scan->numberOfOrderBys > 0)
    std::memmove(scan->orderByData, orderbys,
                 static_cast<Size>(scan->numberOfOrderBys) * sizeof(ScanKeyData));
}

bool GetTuple(IndexScanDesc scan, ScanDirection direction) {
  auto* state = static_cast<ScanState*>(scan->opaque);
  if (!ScanDirectionIsForward(direction))
    ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                    errmsg("access method \"tandem\" does not support backward scans")));
  if (!state->started) StartScan(scan, state);
  storage::ScanRow row;
  if (!NextSearchRow(state->search, &row)) return false;
  scan->xs_heaptid = row.tid;
  scan->xs_recheck = !RowIsCertain(state->search);
  SetOrderByValue(scan, row);
  PinTablePage(scan);
  return true;
}

void SetScanFilter(IndexScanDesc scan, const Filter* filter, uint64 wanted, const policy::AskLater& later) {
  // Any two indexes may have their opaque pointer at the same place: only the callbacks tell whose it is.
  if (scan->indexRelation->rd_indam->ambeginscan != BeginScan)
    elog(ERROR, "index \"%s\" is not of access method \"tandem\"",
         RelationGetRelationName(scan->indexRelation));
  auto* state = static_cast<ScanState*>(scan->opaque);
  state->started = false;
  SetSearchFilter(state->search, filter, wanted, later);
}

void SetScanWanted(IndexScanDesc scan, const policy::Wanted& wanted) {
  SetSearchWanted(static_cast<ScanState*>(scan->opaque)->search, wanted);
}

void SetScanAwaitsAcceptance(IndexScanDesc scan) {
  AwaitAcceptance(static_cast<ScanState*>(scan->opaque)->search);
}

void AcceptScanRow(IndexScanDesc scan) {
  AcceptRow(static_cast<ScanState*>(scan->opaque)->search);
}

SearchReport FinishScan(IndexScanDesc scan) {
  return FinishSearch(static_cast<ScanState*>(scan->opaque)->search);
}

void EndScan(IndexScanDesc scan) {
  auto* state = static_cast<ScanState*>(scan->opaque);
  EndSearch(state->search);
  MemoryContextDelete(state->context);
  pfree(state);
  scan->opaque = nullptr;
}

}  // namespace tandem::am
