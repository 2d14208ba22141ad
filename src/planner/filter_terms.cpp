// Why an answer may be kept, and until when, is in am/README.md ("Filter sets that are kept"). What decides here is that the key holds
// everything that the answer depends on:
//
//   index       its OID and its file: another one after REINDEX, TRUNCATE, a rewrite; the same file can go on under another OID
//   scan keys   column, strategy, operator's function, types, collation, NULL or not, the whole value
//
// and that nothing else can change it: operators and the access method's support functions are IMMUTABLE, and the access method is
// one of the server's that give each heap tuple entries of its own. BRIN does not: from PostgreSQL 16 on its columns do
// not keep an update from being HOT.

#include "pg/compat.hpp"

#include "planner/filter_terms.hpp"

#include "pg/own.hpp"
#include "pg/heap_tid.hpp"
#include "pg/stop_point.hpp"

extern "C" {
#include "access/gin.h"
#include "access/hash.h"
#include "access/nbtree.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "lib/stringinfo.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
}

namespace tandem::planner {

namespace {

// ---- What an answer depends on ----

bool IsImmutable(Oid function) {
  return !OidIsValid(function) || func_volatile(function) == PROVOLATILE_IMMUTABLE;
}

/// Support functions that scans call, from 1 on; 0: any. Those of btree beyond are for sorting and for window frames, and
/// in_range() of timestamps is only STABLE.
int SupportFunctionsUsed(Oid handler) {
  switch (handler) {
    case F_BTHANDLER:
      return BTORDER_PROC;
    case F_HASHHANDLER:
      return HASHSTANDARD_PROC;
    default:
      return 0;
  }
}

bool HasImmutableSupport(Relation index) {
  const int support = index->rd_indam->amsupport;
  const int used = SupportFunctionsUsed(index->rd_amhandler);
  for (int column = 0; column < IndexRelationGetNumberOfKeyAttributes(index); column++)
    for (int i = 0; i < (used > 0 ? used : support); i++)
      if (!IsImmutable(index->rd_support[column * support + i])) return false;
  return true;
}

bool GivesEachTupleEntries(Oid handler) {
  return handler == F_BTHANDLER || handler == F_HASHHANDLER || handler == F_GINHANDLER ||
         handler == F_GISTHANDLER || handler == F_SPGHANDLER;
}

/// Of `anyelement` nothing is known but its name: a value may be a pointer.
bool IsOfKnownType(Oid type) {
  return type != ANYELEMENTOID && type != ANYNONARRAYOID && type != ANYCOMPATIBLEOID;
}

bool MayKeep(const ScanKeyData& key) {
  return IsOfKnownType(key.sk_subtype) && (key.sk_flags & SK_ROW_HEADER) == 0 &&
         IsImmutable(key.sk_func.fn_oid);
}

bool MayKeep(const BitmapIndexScanState& scan) {
  const Relation index = scan.biss_RelationDesc;
  if (!GivesEachTupleEntries(index->rd_amhandler) || !HasImmutableSupport(index)) return false;
  // Their keys change from one element to the next while the scan runs.
  if (scan.biss_NumArrayKeys > 0) return false;
  for (int i = 0; i < scan.biss_NumScanKeys; i++)
    if (!MayKeep(scan.biss_ScanKeys[i])) return false;
  return true;
}

// ---- The key ----

template <typename T>
void Append(StringInfo key, const T& value) {
  static_assert(std::has_unique_object_representations_v<T>);
  appendBinaryStringInfo(key, reinterpret_cast<const char*>(&value), sizeof value);
}

void AppendBytes(StringInfo key, const void* bytes, Size size) {
  Append(key, static_cast<uint64>(size));
  appendBinaryStringInfo(key, static_cast<const char*>(bytes), static_cast<int>(size));
}

void AppendVarlena(StringInfo key, Datum value) {
  const auto* plain = reinterpret_cast<struct varlena*>(PG_DETOAST_DATUM_PACKED(value));
  AppendBytes(key, VARDATA_ANY(plain), VARSIZE_ANY_EXHDR(plain));
}

void AppendValue(StringInfo key, const ScanKeyData& scan_key) {
  if ((scan_key.sk_flags & SK_SEARCHARRAY) != 0) {
    AppendVarlena(key, scan_key.sk_argument);
    return;
  }
  int16 length;
  bool by_value;
  get_typlenbyval(scan_key.sk_subtype, &length, &by_value);
  if (by_value)
    Append(key, static_cast<uint64>(scan_key.sk_argument));
  else if (length == -1)
    AppendVarlena(key, scan_key.sk_argument);
  else if (length == -2)
    AppendBytes(key, DatumGetCString(scan_key.sk_argument),
                std::strlen(DatumGetCString(scan_key.sk_argument)));
  else
    AppendBytes(key, DatumGetPointer(scan_key.sk_argument), static_cast<Size>(length));
}

void AppendScanKey(StringInfo key, const ScanKeyData& scan_key) {
  Append(key, scan_key.sk_flags);
  Append(key, scan_key.sk_attno);
  Append(key, scan_key.sk_strategy);
  Append(key, scan_key.sk_subtype);
  Append(key, scan_key.sk_collation);
  Append(key, scan_key.sk_func.fn_oid);
  if ((scan_key.sk_flags & SK_ISNULL) == 0) AppendValue(key, scan_key);
}

/// In the current memory context.
base::Span<const char> KeyOf(const BitmapIndexScanState& scan) {
  const pg::RelationFile file = pg::FileOf(scan.biss_RelationDesc);
  StringInfoData key;
  initStringInfo(&key);
  Append(&key, RelationGetRelid(scan.biss_RelationDesc));
  Append(&key, file.tablespace);
  Append(&key, file.number);
  for (int i = 0; i < scan.biss_NumScanKeys; i++) AppendScanKey(&key, scan.biss_ScanKeys[i]);
  return {key.data, static_cast<std::size_t>(key.len)};
}

// ---- Terms ----

/// What evaluates a term.
struct Source {
  PlanState* plan;
  MemoryContext context;
  TermCounts* counts;
};

/// Of everything that fulfils the condition: gin_fuzzy_search_limit would make a sample of it, and everybody's if it is kept (H10).
TIDBitmap* RunWhole(PlanState* plan) {
  TIDBitmap* volatile bitmap = nullptr;
  const int limit = GinFuzzySearchLimit;
  PG_TRY();
  {
    GinFuzzySearchLimit = 0;
    bitmap = reinterpret_cast<TIDBitmap*>(MultiExecProcNode(plan));
  }
  PG_FINALLY();
  { GinFuzzySearchLimit = limit; }
  PG_END_TRY();
  return bitmap;
}

const base::TidSet* Evaluate(void* arg) {
  const auto* source = static_cast<Source*>(arg);
  // Called in the middle of a scan, in whatever context that is: what the plan leaves behind lives as long as its own state.
  const MemoryContext old_context = MemoryContextSwitchTo(source->plan->state->es_query_cxt);
  TIDBitmap* bitmap = RunWhole(source->plan);
  MemoryContextSwitchTo(old_context);
  if (bitmap == nullptr || !IsA(bitmap, TIDBitmap)) elog(ERROR, "unrecognized result from subplan");
  auto* set = pg::Own<base::TidSet>(source->context);
  pg::VisitBitmap(bitmap, [set](BlockNumber block, const OffsetNumber* offsets, int count) {
    pg::Guard([=] {
      if (offsets == nullptr) set->AddWholeBlock(block);
      for (int i = 0; offsets != nullptr && i < count; i++) set->AddTid(pg::ToHeapTid(block, offsets[i]));
    });
  });
  tbm_free(bitmap);
  pg::Guard([set] { set->Freeze(); });
  source->counts->evaluated++;
  source->counts->blocks += set->whole_blocks();
  pg::StopPoint("filter-made");
  return set;
}

struct PlanSpan {
  PlanState** plans;
  int count;
};

PlanSpan OperandsOf(PlanState* plan) {
  if (IsA(plan, BitmapAndState)) {
    auto* all = castNode(BitmapAndState, plan);
    return {all->bitmapplans, all->nplans};
  }
  if (IsA(plan, BitmapOrState)) {
    auto* any = castNode(BitmapOrState, plan);
    return {any->bitmapplans, any->nplans};
  }
  return {nullptr, 0};
}

/// Has the keys evaluated whose values are not constant, as the scan itself does when it begins.
void PrepareKeys(PlanState* plan) {
  if (plan->chgParam != nullptr) ExecReScan(plan);
  if (IsA(plan, BitmapIndexScanState)) {
    const auto* scan = castNode(BitmapIndexScanState, plan);
    if (scan->biss_NumRuntimeKeys > 0 && !scan->biss_RuntimeKeysReady) ExecReScan(plan);
  }
  const PlanSpan operands = OperandsOf(plan);
  for (int i = 0; i < operands.count; i++) PrepareKeys(operands.plans[i]);
}

/// By the server's own plan nodes, whatever they are of.
bool MayKeep(PlanState* plan) {
  if (IsA(plan, BitmapIndexScanState)) return MayKeep(*castNode(BitmapIndexScanState, plan));
  const PlanSpan operands = OperandsOf(plan);
  for (int i = 0; i < operands.count; i++)
    if (!MayKeep(operands.plans[i])) return false;
  return operands.count > 0;
}

const am::Filter* MakeNode(PlanState* plan, MemoryContext context, TermCounts* counts);

am::Filter* MakeTerm(PlanState* plan, MemoryContext context, TermCounts* counts) {
  auto* filter = static_cast<am::Filter*>(palloc0(sizeof(am::Filter)));
  auto* source = static_cast<Source*>(palloc(sizeof(Source)));
  *source = {plan, context, counts};
  filter->op = am::FilterOp::kTerm;
  filter->term.evaluate = Evaluate;
  filter->term.arg = source;
  return filter;
}

const am::Filter* MakeNode(PlanState* plan, MemoryContext context, TermCounts* counts) {
  const PlanSpan operands = OperandsOf(plan);
  if (operands.count == 0) {
    am::Filter* term = MakeTerm(plan, context, counts);
    term->term.key = KeyOf(*castNode(BitmapIndexScanState, plan));
    return term;
  }
  auto* filter = static_cast<am::Filter*>(palloc0(sizeof(am::Filter)));
  filter->op = IsA(plan, BitmapAndState) ? am::FilterOp::kAnd : am::FilterOp::kOr;
  const auto count = static_cast<std::size_t>(operands.count);
  auto* nodes = static_cast<const am::Filter**>(palloc(count * sizeof(const am::Filter*)));
  for (int i = 0; i < operands.count; i++) nodes[i] = MakeNode(operands.plans[i], context, counts);
  filter->operands = {nodes, count};
  return filter;
}

}  // namespace

const am::Filter* MakeFilter(PlanState* plan, MemoryContext context, TermCounts* counts) {
  PrepareKeys(plan);
  const MemoryContext old_context = MemoryContextSwitchTo(context);
  const am::Filter* filter =
      MayKeep(plan) ? MakeNode(plan, context, counts) : MakeTerm(plan, context, counts);
  MemoryContextSwitchTo(old_context);
  return filter;
}

}  // namespace tandem::planner
