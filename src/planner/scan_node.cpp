// A Tandem Scan returns rows of one table in order of distance, out of one tandem index.
//
// What it does that the server's index scan does not: it has the distances that the index computed, so that a query which
// returns or sorts by them does not compute them again. The column's vector would have to be fetched for that, from TOAST if it is a
// large one: for ten rows of 784 dimensions that took longer than finding them among 60,000.
//
// Wherever the target list or a condition has the expression that the rows are ordered by, the node's copy has a CoerceToDomainValue
// in its place, if the distance is from a column. That is an expression which reads a field of the expression context, the only such one that neither needs a
// place among the plan's parameters nor is taken over by an expression around it. The plan itself stays as it is.
//
// With a filter, native indexes have said which rows may fulfil the conditions: a bitmap of TIDs, delivered by the plan below the node.
//
// Conditions are checked on the heap tuple, all of them and in the planner's order. Where one bounds the distance, the scan ends at the
// first row that is too far, if rows come in order.

#include "pg/compat.hpp"

#include "planner/scan_node.hpp"

#include <cmath>
#include <utility>

#include "am/scan.hpp"
#include "pg/settings.hpp"
#include "planner/distance_bound.hpp"
#include "planner/filter_terms.hpp"
#include "planner/scan_plan.hpp"

extern "C" {
#include "access/tableam.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/nodeCustom.h"
#include "nodes/nodeFuncs.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/ruleutils.h"
}

namespace tandem::planner {

namespace {

/// CustomScanState comes first: the server knows no more of it.
struct ScanNode {
  CustomScanState custom;
  ScanPlan plan;
  Relation index;  ///< nullptr under EXPLAIN without ANALYZE
  IndexScanDesc scan;
  pg::IndexScanCounts counts;
  AttrNumber column;  ///< of the table, that distances are from; 0: they are from an expression
  FmgrInfo function;  ///< the distance's
  ExprState* query;   ///< the distance's second argument
  bool has_query;     ///< the next two are its value
  bool query_is_null;
  Datum query_value;
  bool has_filter;               ///< the scan was told its filter
  MemoryContext filter_context;  ///< of the filter
  MemoryContext query_context;   ///< of its value, which the scan needs as long as it is not rescanned
  uint64 filters_made;           ///< over all rescans
  TermCounts terms;              ///< of these
  bool is_positioned;            ///< the scan has its query
  ExprState* of_words;  ///< conditions that are asked only of rows of which the filter is not certain
  DistanceBounds bounds;
  bool stops;  ///< at the first row that is too far: rows come in order
};

ScanNode* NodeOf(CustomScanState* state) {
  return reinterpret_cast<ScanNode*>(state);
}
ScanNode* NodeOf(ScanState* state) {
  return reinterpret_cast<ScanNode*>(state);
}

// ---- The distance as a value that is known ----

Node* ReplaceDistance(Node* expression, void* distance) {
  if (expression == nullptr) return nullptr;
  if (!IsDistance(expression, static_cast<const OpExpr*>(distance)))
    return pg::MutateExpression(expression, ReplaceDistance, distance);
  auto* known = makeNode(CoerceToDomainValue);
  known->typeId = FLOAT8OID;
  known->typeMod = -1;
  known->location = -1;
  return reinterpret_cast<Node*>(known);
}

void SetDistance(ExprContext* context, Datum value, bool is_null) {
  context->domainValue_datum = value;
  context->domainValue_isNull = is_null;
}

// ---- Rows ----

/// Evaluates the query, once until the next rescan.
void EvaluateQuery(ScanNode* node) {
  if (node->has_query) return;
  MemoryContextReset(node->query_context);
  Datum value =
      ExecEvalExprSwitchContext(node->query, node->custom.ss.ps.ps_ExprContext, &node->query_is_null);
  // Out of the memory of one row.
  const MemoryContext old_context = MemoryContextSwitchTo(node->query_context);
  if (!node->query_is_null) value = datumCopy(value, false, -1);
  MemoryContextSwitchTo(old_context);
  node->query_value = value;
  node->has_query = true;
}

/// Begins the index scan, or begins it anew.
void Position(ScanNode* node) {
  EvaluateQuery(node);
  const OpExpr* distance = node->plan.distance;
  ScanKeyData key;
  ScanKeyEntryInitialize(&key, SK_ORDER_BY | (node->query_is_null ? SK_ISNULL : 0), node->plan.column,
                         am::kDistanceStrategy, exprType(static_cast<Node*>(lsecond(distance->args))),
                         distance->inputcollid, distance->opfuncid, node->query_value);
  index_rescan(node->scan, nullptr, 0, &key, 1);
  node->is_positioned = true;
  ForgetBounds(node->bounds);
  node->stops =
      node->bounds.bounds != NIL && pg::CurrentSettings().iterative_scan != pg::IterativeScan::kRelaxedOrder;
}

// ---- The filter ----

PlanState* FilterPlanOf(const ScanNode* node) {
  return node->custom.custom_ps == NIL ? nullptr : static_cast<PlanState*>(linitial(node->custom.custom_ps));
}

void ForgetFilter(ScanNode* node) {
  am::SetScanFilter(node->scan, nullptr, 0, policy::AskLater{});
  node->has_filter = false;
  MemoryContextReset(node->filter_context);
}

/// What the plan below says comes into the search as its terms, one by one, and only if they are asked.
void SetFilter(ScanNode* node) {
  const TextTerms text = node->plan.has_order ? TextTerms::kWhole : TextTerms::kByWord;
  am::SetScanFilter(
      node->scan, MakeFilter(FilterPlanOf(node), text, node->filter_context, &node->terms),
      static_cast<uint64>(node->plan.wanted),
      {node->plan.found_per_row / 100.0, static_cast<double>(node->plan.later_rows),
       static_cast<double>(node->plan.later_cost), static_cast<double>(node->plan.later_budget)});
  node->has_filter = true;
  node->filters_made++;
}

void BeginIndexScan(ScanNode* node) {
  const EState* estate = node->custom.ss.ps.state;
  node->scan = pg::BeginOrderedIndexScan(node->custom.ss.ss_currentRelation, node->index, estate->es_snapshot,
                                         &node->counts);
  am::SetScanAwaitsAcceptance(node->scan);
  if (FilterPlanOf(node) == nullptr)
    am::SetScanWanted(node->scan, {node->plan.found_per_row / 100.0, static_cast<double>(node->plan.wanted)});
}

/// Computes the distance of the row in the slot. Nothing that a user wrote is evaluated for it: conditions of row security may not
/// have been checked yet.
void ComputeDistance(ScanNode* node, TupleTableSlot* slot) {
  ExprContext* context = node->custom.ss.ps.ps_ExprContext;
  bool is_null;
  const Datum vector = slot_getattr(slot, node->column, &is_null);
  is_null = is_null || node->query_is_null;
  Datum distance = 0;
  if (!is_null) {
    const MemoryContext old_context = MemoryContextSwitchTo(context->ecxt_per_tuple_memory);
    distance =
        FunctionCall2Coll(&node->function, node->plan.distance->inputcollid, vector, node->query_value);
    MemoryContextSwitchTo(old_context);
  }
  SetDistance(context, distance, is_null);
}

/// Zero comes with two signs and NaN in many forms, which the index, sorting by them, does not tell apart.
bool IsExact(double distance) {
  return distance != 0 && !std::isnan(distance);
}

/// True if the row in the slot fulfils the conditions that the filter may know all of.
bool HasWords(ScanNode* node, TupleTableSlot* slot) {
  ExprContext* context = node->custom.ss.ps.ps_ExprContext;
  context->ecxt_scantuple = slot;
  return ExecQual(node->of_words, context);
}

/// The next row in no order. Its text is read for a condition only if the filter is not certain of it: it may be long, and far away.
TupleTableSlot* NextUnordered(ScanNode* node, TupleTableSlot* slot) {
  while (index_getnext_slot(node->scan, ForwardScanDirection, slot)) {
    const bool is_certain = !node->scan->xs_recheck && !node->terms.has_more;
    if (node->of_words == nullptr || is_certain || HasWords(node, slot)) return slot;
    InstrCountFiltered2(&node->custom.ss.ps, 1);
    ResetExprContext(node->custom.ss.ps.ps_ExprContext);
  }
  return ExecClearTuple(slot);
}

/// ExecScan's access method.
TupleTableSlot* NextRow(ScanState* state) {
  ScanNode* node = NodeOf(state);
  TupleTableSlot* slot = state->ss_ScanTupleSlot;
  if (node->scan == nullptr) BeginIndexScan(node);
  if (FilterPlanOf(node) != nullptr && !node->has_filter) SetFilter(node);
  if (!node->is_positioned) Position(node);
  if (!node->plan.has_order) return NextUnordered(node, slot);
  if (!index_getnext_slot(node->scan, ForwardScanDirection, slot)) return ExecClearTuple(slot);
  const bool is_null = node->scan->xs_orderbynulls[0];
  const Datum distance = node->scan->xs_orderbyvals[0];
  if (node->stops &&
      IsTooFar(node->bounds, DatumGetFloat8(distance), is_null, node->custom.ss.ps.ps_ExprContext))
    return ExecClearTuple(slot);
  if (node->column == 0) return slot;
  if (is_null || IsExact(DatumGetFloat8(distance)))
    SetDistance(state->ps.ps_ExprContext, distance, is_null);
  else
    ComputeDistance(node, slot);
  return slot;
}

/// ExecScan's other way to a row: the new version of one that was locked. It need not be nearest to anything.
bool RecheckRow(ScanState* state, TupleTableSlot* slot) {
  ScanNode* node = NodeOf(state);
  if (node->of_words != nullptr && !HasWords(node, slot)) return false;
  if (node->column == 0) return true;
  EvaluateQuery(node);
  ComputeDistance(node, slot);
  return true;
}

// ---- Callbacks ----

Node* CreateScanNode(CustomScan* plan);

/// The table's column whose distances rows are ordered by; 0 if it is an expression. An expression may be a user's function, which row
/// security keeps away from rows until its conditions hold: such distances are computed where they stand.
AttrNumber ColumnOf(const OpExpr* distance) {
  const auto* argument = static_cast<const Node*>(linitial(distance->args));
  while (IsA(argument, RelabelType))
    argument = reinterpret_cast<const Node*>(reinterpret_cast<const RelabelType*>(argument)->arg);
  return IsA(argument, Var) ? reinterpret_cast<const Var*>(argument)->varattno : 0;
}

/// The server prepared the node for virtual tuples of the plan's own expressions: once more, for the table's tuples.
void PrepareRows(ScanNode* node, EState* estate) {
  ScanState* state = &node->custom.ss;
  const Relation table = state->ss_currentRelation;
  pg::InitTableSlot(estate, state, table);
  ExecAssignScanProjectionInfo(state);
  const Plan* plan = state->ps.plan;
  if (node->column == 0) {
    state->ps.qual = ExecInitQual(plan->qual, &state->ps);
    return;
  }
  auto* target =
      castNode(List, ReplaceDistance(reinterpret_cast<Node*>(plan->targetlist), node->plan.distance));
  auto* conditions =
      castNode(List, ReplaceDistance(reinterpret_cast<Node*>(plan->qual), node->plan.distance));
  if (state->ps.ps_ProjInfo != nullptr)
    state->ps.ps_ProjInfo = ExecBuildProjectionInfo(
        target, state->ps.ps_ExprContext, state->ps.ps_ResultTupleSlot, &state->ps, RelationGetDescr(table));
  state->ps.qual = ExecInitQual(conditions, &state->ps);
}

/// Takes conditions that the filter may know all of away from those that are asked of each row.
void SplitConditions(ScanNode* node) {
  ScanState* state = &node->custom.ss;
  List* of_words = list_intersection(state->ps.plan->qual, TextConditions(FilterPlanOf(node)));
  if (of_words == NIL) return;
  node->of_words = ExecInitQual(of_words, &state->ps);
  state->ps.qual = ExecInitQual(list_difference(state->ps.plan->qual, of_words), &state->ps);
}

void BeginScanNode(CustomScanState* state, EState* estate, int flags) {
  ScanNode* node = NodeOf(state);
  node->plan = ScanPlanOf(castNode(CustomScan, state->ss.ps.plan));
  node->column = ColumnOf(node->plan.distance);
  PrepareRows(node, estate);
  const auto* plan = castNode(CustomScan, state->ss.ps.plan);
  // Bitmaps have no direction and no marks.
  const int filter_flags = flags & ~(EXEC_FLAG_BACKWARD | EXEC_FLAG_MARK);
  if (plan->custom_plans != NIL)
    state->custom_ps =
        list_make1(ExecInitNode(static_cast<Plan*>(linitial(plan->custom_plans)), estate, filter_flags));
  if ((flags & EXEC_FLAG_EXPLAIN_ONLY) != 0) return;
  if (!node->plan.has_order) SplitConditions(node);
  node->index = index_open(node->plan.index, exec_rt_fetch(plan->scan.scanrelid, estate)->rellockmode);
  fmgr_info_cxt(node->plan.distance->opfuncid, &node->function, estate->es_query_cxt);
  node->query = ExecInitExpr(static_cast<Expr*>(lsecond(node->plan.distance->args)), &state->ss.ps);
  node->bounds = PrepareBounds(plan->scan.plan.qual, node->plan.distance, &state->ss.ps);
  node->filter_context = AllocSetContextCreate(estate->es_query_cxt, "tandem filter", ALLOCSET_DEFAULT_SIZES);
  node->query_context =
      AllocSetContextCreate(estate->es_query_cxt, "tandem query value", ALLOCSET_DEFAULT_SIZES);
}

/// What comes out of ExecScan() fulfils the conditions; it asks for row after row until one does.
TupleTableSlot* ExecScanNode(CustomScanState* state) {
  TupleTableSlot* slot = ExecScan(&state->ss, NextRow, RecheckRow);
  const ScanNode* node = NodeOf(state);
  if (!TupIsNull(slot) && node->scan != nullptr) am::AcceptScanRow(node->scan);
  return slot;
}

void RescanNode(CustomScanState* state) {
  ScanNode* node = NodeOf(state);
  node->is_positioned = false;
  node->has_query = false;
  if (PlanState* filter = FilterPlanOf(node); filter != nullptr) {
    // The server tells the plan's own children only. A bitmap that depends on nothing that has changed stays as it is.
    if (state->ss.ps.chgParam != nullptr) UpdateChangedParamSet(filter, state->ss.ps.chgParam);
    if (filter->chgParam != nullptr && node->has_filter) ForgetFilter(node);
  }
  ExecScanReScan(&state->ss);
}

void EndScanNode(CustomScanState* state) {
  ScanNode* node = NodeOf(state);
  ExecClearTuple(state->ss.ss_ScanTupleSlot);
  if (node->scan != nullptr) index_endscan(node->scan);
  if (node->index != nullptr) index_close(node->index, NoLock);
  if (PlanState* filter = FilterPlanOf(node); filter != nullptr) ExecEndNode(filter);
  node->scan = nullptr;
  node->index = nullptr;
}

void ShowCount(const char* label, uint64 count, ExplainState* explain) {
  ExplainPropertyInteger(label, nullptr, static_cast<int64>(count), explain);
}

/// What was found in the order of distance, and how; segments and rescans may each have gone their own way.
void ShowTactics(const am::SearchReport& did, ExplainState* explain) {
  const std::pair<const char*, uint64> tactics[] = {
      {"plain walk", did.by_stream + (did.filtered == 0 ? did.graph_scans : 0)},
      {"filtered walk", did.by_walk},
      {"codes of the set", did.by_codes},
      {"vectors of the set", did.by_vectors},
      {"exact", did.filtered == 0 ? did.exact_scans : 0}};
  StringInfoData text;
  initStringInfo(&text);
  for (const auto& [name, count] : tactics)
    if (count > 0) appendStringInfo(&text, "%s%s", text.len > 0 ? ", " : "", name);
  ExplainPropertyText("Tactic", text.len > 0 ? text.data : "nothing to search", explain);
  pfree(text.data);
}

/// Rows and computations are averages, as the server shows those of loops.
void ShowFilter(const ScanNode& node, const am::SearchReport& did, ExplainState* explain) {
  ShowCount("Filter Sets", node.filters_made, explain);
  ShowCount("Filter Cache Hits", did.filter_hits, explain);
  ShowCount("Filter Cache Misses", node.terms.evaluated, explain);
  ShowCount("Rows in Filter Set", did.filter_rows / Max(did.filtered, 1), explain);
  if (node.terms.blocks > 0)
    ShowCount("Lossy Blocks in Filter Set", node.terms.blocks / Max(node.terms.evaluated, 1), explain);
}

void ShowSearches(ScanNode* node, ExplainState* explain) {
  const am::SearchReport did = node->scan != nullptr ? am::FinishScan(node->scan) : am::SearchReport{};
  if (FilterPlanOf(node) != nullptr) ShowFilter(*node, did, explain);
  if (did.scans == 0 || !node->plan.has_order) return;
  ShowTactics(did, explain);
  ShowCount("Distance Computations", did.distances / did.scans, explain);
  ShowCount("Re-ranked Rows", did.re_ranked / did.scans, explain);
  if (did.late > 0) ShowCount("Late Rows Dropped", did.late, explain);
}

void ExplainScanNode(CustomScanState* state, List* ancestors, ExplainState* explain) {
  const ScanPlan plan = ScanPlanOf(castNode(CustomScan, state->ss.ps.plan));
  List* context = set_deparse_context_plan(explain->deparse_cxt, state->ss.ps.plan, ancestors);
  const char* name = get_rel_name(plan.index);
  ExplainPropertyText("Index Name", name != nullptr ? name : "?", explain);
  if (plan.has_order)
    ExplainPropertyText(
        "Order By",
        deparse_expression(reinterpret_cast<Node*>(plan.distance), context, explain->verbose, false),
        explain);
  pg::ShowIndexSearches(NodeOf(state)->counts, explain);
  if (explain->analyze) ShowSearches(NodeOf(state), explain);
}

const CustomExecMethods kScanNodeMethods = {
    .CustomName = kScanNodeName,
    .BeginCustomScan = BeginScanNode,
    .ExecCustomScan = ExecScanNode,
    .EndCustomScan = EndScanNode,
    .ReScanCustomScan = RescanNode,
    .ExplainCustomScan = ExplainScanNode,
};

Node* CreateScanNode(CustomScan* /*plan*/) {
  auto* node = static_cast<ScanNode*>(palloc0(sizeof(ScanNode)));
  NodeSetTag(&node->custom, T_CustomScanState);
  node->custom.methods = &kScanNodeMethods;
  return reinterpret_cast<Node*>(node);
}

}  // namespace

const CustomScanMethods kScanPlanMethods = {kScanNodeName, CreateScanNode};

void RegisterScanNode() {
  RegisterCustomScanMethods(&kScanPlanMethods);
}

}  // namespace tandem::planner
