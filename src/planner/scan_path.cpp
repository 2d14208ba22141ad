// Offers a Tandem Scan wherever the planner would offer a scan of a tandem index in order of distance.
//
// The planner is asked itself: create_index_paths() on a copy of the relation that has nothing but tandem indexes. What comes back
// is cheaper than the server's own index scan by what the node saves: see scan_node.cpp. And once more with a filter, where native
// indexes serve conditions.

#include "pg/compat.hpp"

#include "planner/scan_path.hpp"

#include <cmath>

#include "am/scan.hpp"
#include "pg/settings.hpp"
#include "planner/distance_bound.hpp"
#include "planner/native_filter.hpp"
#include "planner/relation_copy.hpp"
#include "planner/scan_node.hpp"
#include "planner/scan_plan.hpp"
#include "planner/set_scan.hpp"
#include "policy/search_policy.hpp"
#include "shmem/filter_cache.hpp"

extern "C" {
#include "nodes/makefuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/restrictinfo.h"
#include "catalog/pg_type_d.h"
#include "utils/lsyscache.h"
}

namespace tandem::planner {

namespace {

set_rel_pathlist_hook_type next_set_rel_pathlist = nullptr;

Plan* PlanScanPath(PlannerInfo* root, RelOptInfo* relation, CustomPath* path, List* target, List* clauses,
                   List* custom_plans);

const CustomPathMethods kScanPathMethods = {kScanNodeName, PlanScanPath, nullptr};

List* IndexesOfOurs(const RelOptInfo* relation) {
  List* indexes = NIL;
  ListCell* cell;
  foreach (cell, relation->indexlist)
    if (am::IsTandemIndex(lfirst_node(IndexOptInfo, cell))) indexes = lappend(indexes, lfirst(cell));
  return indexes;
}

/// True if the path's order is that of one distance. Of two the index knows only the first.
bool IsOrderedByDistance(const Path* path) {
  if (path->pathtype != T_IndexScan || path->param_info != nullptr) return false;
  const auto* index_path = reinterpret_cast<const IndexPath*>(path);
  if (list_length(index_path->indexorderbys) != 1 || !IsA(linitial(index_path->indexorderbys), OpExpr))
    return false;
  // A condition can be served by none of our operators; one that holds for the whole index asks nothing of the scan.
  return index_path->indexclauses == NIL;
}

/// Workers are not told values of an outer query's row, of which the server asks only where conditions and the columns that are wanted have
/// them: not in an order (LATERAL, below a Gather that an Append of tables may have).
bool MayRunInWorkers(PlannerInfo* root, const RelOptInfo* relation, const IndexPath* path) {
  return relation->consider_parallel && is_parallel_safe(root, reinterpret_cast<Node*>(path->indexorderbys));
}

/// Of the server's own scans of indexes of ours.
void KeepFromWorkers(PlannerInfo* root, const RelOptInfo* relation) {
  ListCell* cell;
  foreach (cell, relation->pathlist) {
    if (!IsA(lfirst(cell), IndexPath)) continue;
    auto* path = lfirst_node(IndexPath, cell);
    if (am::IsTandemIndex(path->indexinfo) && !MayRunInWorkers(root, relation, path))
      path->path.parallel_safe = false;
  }
}

/// The cheapest way of a tandem index to the order that the query wants; nullptr if there is none.
IndexPath* FindOrderedPath(PlannerInfo* root, const RelOptInfo* relation) {
  List* indexes = IndexesOfOurs(relation);
  if (indexes == NIL) return nullptr;
  RelOptInfo* copy = CopyWithIndexes(relation, indexes);
  create_index_paths(root, copy);
  Path* cheapest = nullptr;
  ListCell* cell;
  foreach (cell, copy->pathlist) {
    auto* path = static_cast<Path*>(lfirst(cell));
    if (!IsOrderedByDistance(path)) continue;
    if (cheapest == nullptr || pg::IsCheaper(path, cheapest)) cheapest = path;
  }
  auto* found = reinterpret_cast<IndexPath*>(cheapest);
  if (found != nullptr) found->path.parallel_safe = MayRunInWorkers(root, relation, found);
  return found;
}

/// Of the cost of all rows what the node saves, since it has their distances: whoever returns or sorts by them is charged for
/// computing each once more.
Cost SavedByNode(const IndexPath* path, Cost run_cost) {
  QualCost cost;
  cost_qual_eval(&cost, path->indexorderbys, nullptr);
  return Min(cost.per_tuple * path->path.rows, run_cost / 2);
}

/// The share of a scan that there is up to where conditions that bound the distance end it.
Selectivity ShareWithinBounds(PlannerInfo* root, const RelOptInfo* relation, const IndexPath* path) {
  const auto* distance = linitial_node(OpExpr, path->indexorderbys);
  List* bounds = NIL;
  ListCell* cell;
  foreach (cell, relation->baserestrictinfo) {
    auto* condition = lfirst_node(RestrictInfo, cell);
    if (BoundsDistance(reinterpret_cast<const Node*>(condition->clause), distance))
      bounds = lappend(bounds, condition);
  }
  return clauselist_selectivity(root, bounds, 0, JOIN_INNER, nullptr);
}

/// By the distance to NULL, which is that of all rows.
OpExpr* NoDistance(const IndexOptInfo* index) {
  const Oid type = index->opcintype[0];
  const Oid distance = get_opfamily_member(index->opfamily[0], type, type, am::kDistanceStrategy);
  auto* vector = static_cast<Expr*>(copyObjectImpl(linitial_node(TargetEntry, index->indextlist)->expr));
  auto* query = reinterpret_cast<Expr*>(makeNullConst(type, -1, InvalidOid));
  auto* order = castNode(OpExpr, make_opclause(distance, FLOAT8OID, false, vector, query, InvalidOid,
                                               index->indexcollations[0]));
  set_opfuncid(order);
  return order;
}

/// What a scan of the index by a filter alone is, but for the filter; nullptr if the index does not have all rows.
IndexPath* UnorderedPath(RelOptInfo* relation, IndexOptInfo* index) {
  if (index->indpred != NIL || index->hypothetical) return nullptr;
  auto* path = makeNode(IndexPath);
  path->path.pathtype = T_IndexScan;
  path->path.parent = relation;
  path->path.pathtarget = relation->reltarget;
  path->path.parallel_safe = relation->consider_parallel;
  path->path.rows = relation->rows;
  path->indexinfo = index;
  path->indexorderbys = list_make1(NoDistance(index));
  path->indexorderbycols = list_make1_int(0);
  return path;
}

/// What a path says of what is wanted, to its plan.
struct WantedRows {
  double wanted = 0;         ///< of the rows that the filter admits, or else of all; 0: nobody knows
  double found_per_row = 1;  ///< policy::Wanted
  double later_rows = 0;     ///< policy::AskLater
  double later_cost = 0;     ///< the same
  double later_budget = 0;   ///< the same
};

int InInteger(double number) {
  return static_cast<int>(Min(number, PG_INT32_MAX));
}

/// filter: nullptr if none.
void AddScanPath(RelOptInfo* relation, const IndexPath* index_path, Cost startup_cost, Cost run_cost,
                 BitmapHeapPath* filter, const WantedRows& wanted) {
  auto* path = makeNode(CustomPath);
  path->path = index_path->path;
  path->path.type = T_CustomPath;
  path->path.pathtype = T_CustomScan;
  path->path.parent = relation;
  path->path.pathtarget = relation->reltarget;
  path->path.startup_cost = startup_cost;
  path->path.total_cost = startup_cost + run_cost;
  // The costs are ours then, and with them no setting of the server's scans counts.
  if (filter != nullptr) pg::EnablePath(&path->path);
  path->flags = CUSTOMPATH_SUPPORT_PROJECTION;
  path->custom_paths = filter != nullptr ? list_make1(filter) : NIL;
  List* numbers = list_make5_int(InInteger(wanted.wanted), InInteger(100 * wanted.found_per_row),
                                 InInteger(wanted.later_rows), InInteger(wanted.later_cost),
                                 InInteger(wanted.later_budget));
  path->custom_private = list_make2(const_cast<IndexPath*>(index_path), numbers);
  path->methods = &kScanPathMethods;
  add_path(relation, &path->path);
}

/// Rows in order of distance until as many fulfil the conditions as are asked for. Nobody knows how many that are of one table of several.
double RowsUntilEnough(const PlannerInfo* root, const RelOptInfo* relation) {
  if (bms_membership(root->all_baserels) != BMS_SINGLETON) return 0.0;
  const double rows = Max(relation->rows, 1.0);
  const double wanted = root->limit_tuples > 0 ? Min(root->limit_tuples, rows) : rows;
  return wanted * Max(relation->tuples, rows) / rows;
}

/// What is wanted of all rows by a scan without a filter. share: of the scan, that is run.
policy::Wanted WantedOfAll(const PlannerInfo* root, const RelOptInfo* relation, Selectivity share) {
  const bool is_known = root->limit_tuples > 0;
  // A LIMIT that is a parameter as well: a statement finds no less once its plan is generic.
  const bool is_limited =
      bms_membership(root->all_baserels) == BMS_SINGLETON && (is_known || root->parse->limitCount != nullptr);
  if (!is_limited) return {};
  const double within = Max(relation->tuples, relation->rows) * share;
  policy::Wanted wanted;
  wanted.found_per_row = Min(Max(within / Max(relation->rows, 1.0), 1.0), policy::kMostWidened);
  if (is_known) wanted.rows = std::ceil(wanted.found_per_row * root->limit_tuples);
  return wanted;
}

/// Rows that the filter admits until as many fulfil all conditions as are asked for; 0 if nobody knows.
double RowsOfFilterUntilEnough(const PlannerInfo* root, const RelOptInfo* relation,
                               const NativeFilterCost& filter) {
  if (bms_membership(root->all_baserels) != BMS_SINGLETON || root->limit_tuples <= 0) return 0.0;
  return std::ceil(root->limit_tuples * Max(filter.rows / Max(relation->rows, 1.0), 1.0));
}

/// Takes the server's own scans in order of distance away from what the relation can be scanned by. Before ours are added, which would
/// not be kept beside cheaper ones of the same order.
void RemoveOrderedScans(RelOptInfo* relation) {
  ListCell* cell;
  foreach (cell, relation->pathlist) {
    const auto* path = static_cast<const Path*>(lfirst(cell));
    if (IsOrderedByDistance(path) && am::IsTandemIndex(reinterpret_cast<const IndexPath*>(path)->indexinfo))
      relation->pathlist = foreach_delete_current(relation->pathlist, cell);
  }
}

/// A scan that visits only rows which a filter admits.
struct FilteredScan {
  BitmapHeapPath* filter;
  double wanted;      ///< as of AddScanPath()
  double first_rows;  ///< as of am::FilteredSearchCost
  Cost startup;
  Cost run;
  Cost ask;       ///< native indexes, and look up what they say
  Cost expected;  ///< of that, what `startup` has
  bool is_exact;  ///< as of am::FilteredSearchCost
};

FilteredScan CostFilteredScan(const PlannerInfo* root, const RelOptInfo* relation,
                              const IndexPath* index_path, BitmapHeapPath* filter, Selectivity share) {
  const NativeFilterCost cost = CostOfNativeFilter(relation, filter);
  FilteredScan scan = {filter, RowsOfFilterUntilEnough(root, relation, cost), 0.0, 0.0, 0.0, 0.0, 0.0, false};
  const am::FilteredSearchCost search = am::CostOfFilteredSearch(
      index_path->indexinfo, {cost.rows, cost.collected, cost.looked_up, scan.wanted});
  scan.first_rows = search.first_rows;
  scan.startup = cost.bitmap + search.startup;
  scan.run = (search.run + cost.heap) * share;
  scan.ask = cost.bitmap + search.look_up;
  scan.expected = cost.bitmap + search.expected;
  scan.is_exact = search.is_exact;
  return scan;
}

/// For as many rows as are asked for.
template <typename Scan>
Cost CostForLimit(const PlannerInfo* root, const RelOptInfo* relation, const Scan& scan) {
  const double share = root->limit_tuples > 0 ? Min(root->limit_tuples / Max(relation->rows, 1.0), 1.0) : 1.0;
  return scan.startup + share * scan.run;
}

/// By the planner's filter, or by a part of it, where looking up what another part says would cost more than the rows that it leaves out.
FilteredScan BestFilteredScan(PlannerInfo* root, RelOptInfo* relation, const IndexPath* index_path,
                              BitmapHeapPath* filter, Selectivity share) {
  FilteredScan best = CostFilteredScan(root, relation, index_path, filter, share);
  ListCell* cell;
  foreach (cell, PartsOfNativeFilter(root, relation, filter)) {
    auto* part = static_cast<BitmapHeapPath*>(lfirst(cell));
    const FilteredScan scan = CostFilteredScan(root, relation, index_path, part, share);
    if (CostForLimit(root, relation, scan) < CostForLimit(root, relation, best)) best = scan;
  }
  return best;
}

/// What the scan without a filter costs.
struct PlainScan {
  Cost startup;
  Cost run;
};

PlainScan CostPlainScan(const IndexPath* index_path, const policy::Wanted& wanted, Selectivity share) {
  const am::PoolCost pool = am::CostOfPool(index_path->indexinfo, wanted);
  return {index_path->path.startup_cost + pool.startup,
          (index_path->path.total_cost - index_path->path.startup_cost - pool.saved) * share};
}

/// Rows in order of distance, of each of which conditions are asked, can be had for less than native indexes say which rows fulfil
/// them: then the scan begins so, and asks only when that turns out otherwise.
WantedRows PutOffAsking(const PlannerInfo* root, const RelOptInfo* relation, const IndexPath* index_path,
                        Selectivity share, FilteredScan* scan) {
  WantedRows wanted;
  wanted.wanted = scan->wanted;
  const double rows = std::ceil(RowsUntilEnough(root, relation));
  // Of few rows the answer is to be exact; and where the search asks at once (am/filtered_search.cpp), so it costs.
  const pg::Settings& settings = pg::CurrentSettings();
  if (scan->is_exact || root->limit_tuples <= 0 || rows > policy::kMostWanted ||
      settings.iterative_scan == pg::IterativeScan::kRelaxedOrder || settings.max_scan_tuples != 0)
    return wanted;
  const double per_row = Max(rows / root->limit_tuples, 1.0);
  const PlainScan plain = CostPlainScan(index_path, {per_row, rows}, share);
  // Settings of the server's scans do not count, as in AddScanPath().
  const Cost cost = plain.startup - (enable_indexscan ? 0 : pg::kDisableCost) +
                    plain.run * Min(rows / Max(relation->tuples, rows), 1.0);
  if (cost >= scan->ask) return wanted;
  wanted.found_per_row = per_row;
  wanted.later_rows = rows;
  wanted.later_cost = wanted.later_budget = am::PolicyUnitsOf(scan->ask);
  scan->startup = Min(scan->startup, cost);
  return wanted;
}

/// True if a scan without the filter would return farther rows for nearer ones.
bool IsFilterNeeded(const PlannerInfo* root, const RelOptInfo* relation, const FilteredScan& scan) {
  // The pool is made for a LIMIT. But what fulfils conditions may lie farther away than their selectivity tells: only where most does,
  // none of it will be missed.
  constexpr double kMostLookedAt = 2.5;
  const double room = Min(kMostLookedAt * Max(root->limit_tuples, 0.0), policy::kMostWanted);
  return RowsUntilEnough(root, relation) > Max(scan.first_rows, room);
}

/// A scan that visits only rows which the filter admits, once it has asked for them.
void AddFilteredScan(RelOptInfo* relation, const IndexPath* index_path, const FilteredScan& scan,
                     const WantedRows& wanted) {
  AddScanPath(relation, index_path, scan.startup, scan.run - SavedByNode(index_path, scan.run), scan.filter,
              wanted);
}

/// What visits the same rows as the server's scan of that bitmap does, and may know some of it already.
void AddSetScan(PlannerInfo* root, RelOptInfo* relation, const RangeTblEntry* entry) {
  // Where nothing is kept, words one by one cost more than the query whole.
  if (!shmem::FilterCacheExists() || get_rel_persistence(entry->relid) == RELPERSISTENCE_TEMP) return;
  BitmapHeapPath* bitmap = FindNativeFilter(root, relation);
  if (bitmap == nullptr) return;
  ListCell* cell;
  foreach (cell, IndexesOfOurs(relation)) {
    const IndexPath* path = UnorderedPath(relation, lfirst_node(IndexOptInfo, cell));
    if (path == nullptr) continue;
    constexpr double kShare = 0.9;  // of the server's scan: of two that read the same, this one
    const Cost startup = bitmap->path.startup_cost * kShare;
    AddScanPath(relation, path, startup, bitmap->path.total_cost * kShare - startup, bitmap, WantedRows{});
    return;
  }
}

// Found for each row that fulfils the conditions: fewer are not worth taking a path away.
constexpr double kClearlyMore = 1.05;

/// A filter that is not worth asking once may be known, or be worth it when searches are repeated; and what fulfils conditions may lie
/// elsewhere. Nothing if there is no need to know when a scan is to go by it.
WantedRows TakeFilterAlong(const PlannerInfo* root, const RelOptInfo* relation, const PlainScan& plain,
                           const policy::Wanted& wanted, const FilteredScan& filtered) {
  const pg::Settings& settings = pg::CurrentSettings();
  // As the search has it (am/filtered_search.cpp), which else would ask at once; without graphs it would, too.
  const bool may_put_off = settings.iterative_scan == pg::IterativeScan::kStrictOrder &&
                           settings.max_scan_tuples == 0 && enable_indexscan &&
                           filtered.first_rows < relation->tuples && shmem::FilterCacheExists();
  WantedRows along;
  if (!may_put_off || wanted.rows <= 0) return along;
  const Cost without = CostForLimit(root, relation, plain);
  const Cost known = CostForLimit(root, relation, filtered) - filtered.expected;
  along.wanted = filtered.wanted;
  // Not as far as the pool is widened, but as many as are expected: fewer tell that they lie elsewhere.
  along.found_per_row = Max(wanted.found_per_row, RowsUntilEnough(root, relation) / root->limit_tuples);
  along.later_rows = wanted.rows;
  along.later_cost = am::PolicyUnitsOf(filtered.ask);
  along.later_budget = policy::BudgetUnasked(along.later_cost, without, known);
  return along;
}

/// With conditions, other than on the distance, the pool is made larger by as much as they leave out, where there is a LIMIT: the server's
/// own scan would find less, and is not to be cheaper for it. filtered: nullptr if there is no filter.
void AddPlainScan(const PlannerInfo* root, RelOptInfo* relation, const IndexPath* index_path,
                  Selectivity share, const FilteredScan* filtered) {
  const policy::Wanted wanted = WantedOfAll(root, relation, share);
  const PlainScan plain = CostPlainScan(index_path, wanted, share);
  if (wanted.found_per_row > kClearlyMore) RemoveOrderedScans(relation);
  WantedRows along;
  if (filtered != nullptr) along = TakeFilterAlong(root, relation, plain, wanted, *filtered);
  const bool goes_along = along.later_cost > 0;
  if (!goes_along) along = {wanted.rows, wanted.found_per_row};
  AddScanPath(relation, index_path, plain.startup, plain.run - SavedByNode(index_path, plain.run),
              goes_along ? filtered->filter : nullptr, along);
}

bool CanScan(RelOptInfo* relation, const RangeTblEntry* entry) {
  return entry->rtekind == RTE_RELATION && !entry->inh && entry->tablesample == nullptr &&
         !IS_DUMMY_REL(relation) && bms_is_empty(relation->lateral_relids);
}

void SetRelPathlist(PlannerInfo* root, RelOptInfo* relation, Index number, RangeTblEntry* entry) {
  if (next_set_rel_pathlist != nullptr) next_set_rel_pathlist(root, relation, number, entry);
  KeepFromWorkers(root, relation);
  if (!pg::CurrentSettings().enable_custom_scan || !CanScan(relation, entry)) return;
  if (SetScanScope::IsOpen() && pg::CurrentSettings().enable_filtered_scan) AddSetScan(root, relation, entry);
  if (root->query_pathkeys == NIL) return;
  const IndexPath* path = FindOrderedPath(root, relation);
  if (path == nullptr) return;
  BitmapHeapPath* filter =
      pg::CurrentSettings().enable_filtered_scan ? FindNativeFilter(root, relation) : nullptr;
  const Selectivity share = ShareWithinBounds(root, relation, path);
  if (filter == nullptr) {
    AddPlainScan(root, relation, path, share, nullptr);
    return;
  }
  FilteredScan filtered = BestFilteredScan(root, relation, path, filter, share);
  if (!IsFilterNeeded(root, relation, filtered)) {
    AddFilteredScan(relation, path, filtered, {filtered.wanted});
    AddPlainScan(root, relation, path, share, &filtered);
    return;
  }
  RemoveOrderedScans(relation);
  const WantedRows wanted = PutOffAsking(root, relation, path, share, &filtered);
  AddFilteredScan(relation, path, filtered, wanted);
}

Plan* PlanScanPath(PlannerInfo* /*root*/, RelOptInfo* relation, CustomPath* path, List* target, List* clauses,
                   List* custom_plans) {
  const auto* index_path = linitial_node(IndexPath, path->custom_private);
  auto* node = makeNode(CustomScan);
  node->scan.plan.targetlist = target;
  // Whole and in the given order: conditions of the user's wait for those of row security.
  node->scan.plan.qual = extract_actual_clauses(clauses, false);
  node->scan.scanrelid = relation->relid;
  node->flags = path->flags;
  if (custom_plans != NIL)
    node->custom_plans = list_make1(BitmapPlanOf(static_cast<Plan*>(linitial(custom_plans))));
  node->methods = &kScanPlanMethods;
  const auto column = static_cast<AttrNumber>(linitial_int(index_path->indexorderbycols) + 1);
  auto* distance = static_cast<OpExpr*>(copyObjectImpl(linitial(index_path->indexorderbys)));
  const auto* numbers = static_cast<const List*>(lsecond(path->custom_private));
  // A query that happens to be NULL is an order as well.
  const bool has_order = path->path.pathkeys != NIL;
  StoreScanPlan({index_path->indexinfo->indexoid, column, linitial_int(numbers), lsecond_int(numbers),
                 has_order, lthird_int(numbers), lfourth_int(numbers), list_nth_int(numbers, 4), distance},
                node);
  return &node->scan.plan;
}

}  // namespace

void RegisterScanPaths() {
  RegisterScanNode();
  next_set_rel_pathlist = set_rel_pathlist_hook;
  set_rel_pathlist_hook = SetRelPathlist;
}

}  // namespace tandem::planner
