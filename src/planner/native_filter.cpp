// The planner itself chooses indexes, and combines them by And and Or: it is shown a copy of the relation whose indexes can deliver
// nothing but bitmaps.

#include "pg/compat.hpp"

#include "planner/native_filter.hpp"

#include "planner/relation_copy.hpp"

extern "C" {
#include "catalog/pg_am.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
}

namespace tandem::planner {

namespace {

/// Indexes that deliver bitmaps and can do nothing else. They keep naming the original relation, as paths made from them take
/// parent, target and parameters from it.
List* BitmapIndexesOf(const RelOptInfo* relation) {
  List* indexes = NIL;
  ListCell* cell;
  foreach (cell, relation->indexlist) {
    const auto* index = lfirst_node(IndexOptInfo, cell);
    // A hypothetical index has no file to read.
    if (!index->amhasgetbitmap || index->hypothetical) continue;
    auto* copy = makeNode(IndexOptInfo);
    *copy = *index;
    copy->amhasgettuple = copy->amcanparallel = false;
    indexes = lappend(indexes, copy);
  }
  return indexes;
}

/// Of And and Or; NIL of what is neither.
const List* OperandsOf(const Path* path) {
  if (IsA(path, BitmapAndPath)) return reinterpret_cast<const BitmapAndPath*>(path)->bitmapquals;
  if (IsA(path, BitmapOrPath)) return reinterpret_cast<const BitmapOrPath*>(path)->bitmapquals;
  return NIL;
}

/// True if every index in the tree filters at all. One that has all the columns a query needs is offered without a condition, for
/// the sake of an index-only scan that we do not want.
bool Filters(const Path* path) {
  if (IsA(path, IndexPath)) {
    const auto* index_path = reinterpret_cast<const IndexPath*>(path);
    return index_path->indexclauses != NIL || index_path->indexinfo->indpred != NIL;
  }
  const List* operands = OperandsOf(path);
  ListCell* cell;
  foreach (cell, operands)
    if (!Filters(static_cast<const Path*>(lfirst(cell)))) return false;
  return operands != NIL;
}

/// True of a scan that MayCollectTids(), as far as its path tells.
bool DeliversTids(const IndexPath* path) {
  if (path->indexinfo->relam != BTREE_AM_OID) return false;
  ListCell* cell;
  foreach (cell, path->indexclauses)
    if (IsA(lfirst_node(IndexClause, cell)->rinfo->clause, ScalarArrayOpExpr)) return false;
  return true;
}

void AddRowsOfScans(const RelOptInfo* relation, const Path* path, NativeFilterCost* sum) {
  if (IsA(path, IndexPath)) {
    const auto* index_path = reinterpret_cast<const IndexPath*>(path);
    const double rows = clamp_row_est(relation->tuples * index_path->indexselectivity);
    (DeliversTids(index_path) ? sum->collected : sum->looked_up) += rows;
    return;
  }
  ListCell* cell;
  foreach (cell, OperandsOf(path)) AddRowsOfScans(relation, static_cast<const Path*>(lfirst(cell)), sum);
}

}  // namespace

BitmapHeapPath* FindNativeFilter(PlannerInfo* root, RelOptInfo* relation) {
  if (relation->baserestrictinfo == NIL) return nullptr;
  List* indexes = BitmapIndexesOf(relation);
  if (indexes == NIL) return nullptr;
  RelOptInfo* copy = CopyWithIndexes(relation, indexes);
  create_index_paths(root, copy);
  BitmapHeapPath* cheapest = nullptr;
  ListCell* cell;
  foreach (cell, copy->pathlist) {
    auto* path = static_cast<Path*>(lfirst(cell));
    if (!IsA(path, BitmapHeapPath) || path->param_info != nullptr) continue;
    auto* bitmap = reinterpret_cast<BitmapHeapPath*>(path);
    if (!Filters(bitmap->bitmapqual)) continue;
    if (cheapest == nullptr || pg::IsCheaper(path, &cheapest->path)) cheapest = bitmap;
  }
  if (cheapest != nullptr) {
    cheapest->path.parent = relation;
    cheapest->path.parallel_safe = relation->consider_parallel;
  }
  return cheapest;
}

List* PartsOfNativeFilter(PlannerInfo* root, RelOptInfo* relation, const BitmapHeapPath* filter) {
  if (!IsA(filter->bitmapqual, BitmapAndPath)) return NIL;
  List* parts = NIL;
  ListCell* cell;
  foreach (cell, OperandsOf(filter->bitmapqual))
    parts = lappend(
        parts, create_bitmap_heap_path(root, relation, static_cast<Path*>(lfirst(cell)), nullptr, 1.0, 0));
  return parts;
}

NativeFilterCost CostOfNativeFilter(const RelOptInfo* relation, const BitmapHeapPath* filter) {
  Selectivity selectivity;
  NativeFilterCost result = {};
  cost_bitmap_tree_node(filter->bitmapqual, &result.bitmap, &selectivity);
  result.heap = filter->path.total_cost - result.bitmap - (enable_bitmapscan ? 0 : pg::kDisableCost);
  result.rows = clamp_row_est(relation->tuples * selectivity);
  AddRowsOfScans(relation, filter->bitmapqual, &result);
  return result;
}

Plan* BitmapPlanOf(Plan* plan) {
  // A condition that needs no row puts a Result above, which the server repeats above our node.
  while (!IsA(plan, BitmapHeapScan)) plan = outerPlan(plan);
  return outerPlan(plan);
}

}  // namespace tandem::planner
