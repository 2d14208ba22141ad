// What an index scan costs.
//
// An exact scan reads every vector before it returns its first row, so nearly all of its cost is start-up cost: it wins
// against a sort by reading vectors in long runs, without heap tuples and TOAST, and loses where a native index leaves
// few rows to sort. A search through graphs has its first rows for a small part of that; drained, it has gone through
// graphs for as much as an exact pass costs and then makes that pass (am/search_streams.cpp), which is what a LIMIT pays its
// share of.

#include "pg/compat.hpp"

#include "am/callbacks.hpp"
#include "am/options.hpp"
#include "am/scan.hpp"
#include "am/search.hpp"
#include "policy/filter_policy.hpp"
#include "policy/search_policy.hpp"
#include "shmem/filter_cache.hpp"
#include "shmem/frame_pool.hpp"
#include "storage/flat_relation.hpp"
#include "storage/row_access.hpp"

extern "C" {
#include "access/genam.h"
#include "nodes/pathnodes.h"
#include "optimizer/optimizer.h"
#include "utils/float.h"
#include "utils/spccache.h"
}

namespace tandem::am {

namespace {

// In units of cpu_operator_cost, about 6 ns (sqlapi/vector_support.cpp measures by the same unit): the row's head
// and the selection, and the kernel, which waits for memory at about 20 GB/s.
constexpr double kOperatorsPerRow = 1.0;
constexpr double kOperatorsPerKilobyte = 8.0;
// Vector pages are read in runs of 512 KB, and a sort's sequential scan is charged nothing for the TOAST pages that
// it visits: charging whole pages here would make the planner choose a plan that is 8 times slower.
constexpr double kPageFraction = 0.25;
// A filtered search, everything at hand, 6 to 30,000 TIDs of 60,000 and 200,000 rows. Taking the view of the index, opening its
// segments, the node's set: 35 us. Of a page that TIDs are on: an entry of the server's bitmap, which it charges nothing for, and
// one of the node's set, 0.2 us. Of a TID: finding its row, its bits, 50 ns. Of a row whose vector is read alone: its pin, and memory
// that no cache of the processor has, 0.25 us. Of a row that no segment holds: its head, 20 ns.
constexpr double kOperatorsToFilter = 6'000.0;
constexpr double kOperatorsPerTidPage = 32.0;
constexpr double kOperatorsPerTid = 8.0;
// The same of TIDs that are collected in an array and sorted: 0.13 us for each page that any are on, 15 ns for each.
constexpr double kOperatorsPerCollectedPage = 22.0;
constexpr double kOperatorsPerCollectedTid = 2.5;
constexpr double kOperatorsPerScatteredRow = 40.0;
constexpr double kOperatorsPerHead = 3.0;
// The policy's unit, an exactly scanned row of 128 dimensions, is what the two constants above make of it.
constexpr double kOperatorsPerUnit = kOperatorsPerRow + kOperatorsPerKilobyte * 0.5;

/// Of something that costs so many of the policy's units.
Cost InCost(double units) {
  return units * kOperatorsPerUnit * cpu_operator_cost;
}

/// How wide rows are: by the column's type, or as built if the type lost its dimensions since, or does not tell.
void MeasureRows(Relation index, policy::SearchSituation* situation) {
  auto [metric, element] = DistanceOf(index);
  const int dimensions = ColumnDimensions(index);
  auto given = static_cast<uint32>(Max(dimensions, 0));
  if (dimensions > 0 && element != vec::Element::kSparse) {
    situation->row_bytes = storage::RowBytesOf(element, given);
  } else {
    // Elements are those of all rows that there were, and of pages that this session may not know yet.
    const uint64 rows = storage::CountRows(index, storage::kHeadStream);
    const storage::DirectoryView& directory = storage::DirectoryWith(index, rows);
    situation->row_bytes = storage::ComparedRowBytes(directory, rows);
    metric = directory.metric;
    element = directory.element;
    given = directory.column_dimensions;
  }
  const GraphCodes codes = GraphCodesOf(index, element, given);
  situation->is_exact = codes.are_exact;
  situation->code_bytes = codes.bytes;
  situation->re_ranks_all = vec::IsSketched(element, given);
  situation->has_bounds = vec::HoldsBound(element, given, metric);
}

/// The index's sizes, with no segments where a search would not use them.
policy::SearchSituation SituationOf(const IndexOptInfo* info) {
  policy::SearchSituation situation;
  situation.rows = situation.tail_rows = static_cast<uint64>(Max(info->tuples, 1.0));
  if (info->hypothetical) return situation;
  const Relation index = index_open(info->indexoid, NoLock);
  MeasureRows(index, &situation);
  if (StrategyOf(index) != Strategy::kFlat) {
    storage::Manifest* manifest = storage::ReadManifest(index);
    situation.segments = manifest->segment_count;
    situation.tail_rows = situation.rows - Min(situation.rows, manifest->root.sealed_rows);
    situation.ef_search = PoolOf(index);
    if (manifest->segment_count > 0) situation.m = manifest->segments[0].m;
    situation.in_memory = shmem::FramesExist();
    pfree(manifest);
  }
  index_close(index, NoLock);
  if (policy::PrefersExactScan(situation)) situation.segments = 0;
  return situation;
}

/// Passes over the vectors that a scan makes if it is drained; a LIMIT pays its share of the ones after the first.
double PassesOf(double rows) {
  double passes = 1;
  double batch = storage::kFirstBatch;
  const double largest = static_cast<double>(storage::LargestBatch());
  for (double fetched = Min(batch, largest); fetched < rows; passes++) {
    if (batch >= largest) return passes + ceil((rows - fetched) / largest);
    batch = Min(batch * storage::kBatchGrowth, largest);
    fetched += batch;
  }
  return passes;
}

struct ScanCost {
  Cost startup;
  Cost total;
  double pages;  ///< read before the first row
};

/// Every row, in row order without a query, else by distance.
ScanCost CostExactScan(const policy::SearchSituation& situation, bool is_ordered,
                       double sequential_page_cost) {
  const auto rows = static_cast<double>(situation.rows);
  const double row_bytes = static_cast<double>(situation.row_bytes);
  const double head_pages = ceil(rows / storage::kHeadsPerPage);
  const Cost per_row = rows * cpu_index_tuple_cost;
  if (!is_ordered) return {0, head_pages * sequential_page_cost + per_row, head_pages};
  const double pages = head_pages + ceil(rows * row_bytes / storage::kPayloadBytes);
  const Cost pass =
      rows * cpu_operator_cost * (kOperatorsPerRow + kOperatorsPerKilobyte * row_bytes / 1024.0) +
      pages * sequential_page_cost * kPageFraction;
  return {pass, pass * PassesOf(rows) + per_row, pages};
}

/// Through the segments, the tail beside them.
ScanCost CostGraphSearch(const policy::SearchSituation& situation, const ScanCost& exact,
                         double random_page_cost) {
  // On pages a visited node is one; of a node's links about half are new. Then two pages for each row found.
  const double visited = situation.in_memory ? 0.0
                                             : static_cast<double>(situation.segments) * situation.ef_search *
                                                   (situation.m + 2.0);
  const auto rows = static_cast<double>(situation.rows);
  const double tail_share = static_cast<double>(situation.tail_rows) / rows;
  const double graph_pages = Min(visited, exact.pages * (1.0 - tail_share));
  const Cost startup =
      InCost(policy::CostOfGraphSearch(situation)) + graph_pages * random_page_cost * kPageFraction;
  const Cost first = Min(startup, exact.startup);
  // What a LIMIT pays its share of: a condition that leaves few rows makes it pay for many.
  const Cost next_rows = rows * InCost(policy::CostOfNextRow(situation));
  return {first, first + exact.startup + exact.total + next_rows, graph_pages + tail_share * exact.pages};
}

/// Of all rows, as the planner asks for it.
ScanCost CostOfScan(const IndexOptInfo* info, const policy::SearchSituation& situation, bool is_ordered) {
  double random_page_cost;
  double sequential_page_cost;
  get_tablespace_page_costs(info->reltablespace, &random_page_cost, &sequential_page_cost);
  const ScanCost exact = CostExactScan(situation, is_ordered, sequential_page_cost);
  if (!is_ordered || situation.segments == 0) return exact;
  return CostGraphSearch(situation, exact, random_page_cost);
}

/// Of a relation's pages, those that so many of its rows are on, wherever they lie (as the server estimates it for bitmaps: Mackert
/// and Lohman 1989).
double PagesOfRows(const RelOptInfo* relation, double rows) {
  const double pages = Max(static_cast<double>(relation->pages), 1.0);
  return Min(2.0 * pages * rows / (2.0 * pages + rows), pages);
}

/// One of the index's segments, of which a filter admits a share.
policy::FilterSituation SegmentSituationOf(const policy::SearchSituation& index, double share,
                                           double wanted) {
  policy::FilterSituation segment;
  segment.rows = (index.rows - Min(index.tail_rows, index.rows)) / index.segments;
  segment.admitted = static_cast<uint64>(share * static_cast<double>(segment.rows));
  segment.code_bytes = index.code_bytes;
  segment.row_bytes = index.row_bytes;
  segment.m = index.m;
  segment.ef_search = index.ef_search;
  segment.wanted = static_cast<uint64>(wanted);
  segment.in_memory = index.in_memory;
  segment.is_exact = index.is_exact;
  segment.has_bounds = index.has_bounds;
  return segment;
}

/// The planner believes that any index without a condition can count rows without visiting the heap. This one
/// holds no pin on what it returns, so VACUUM may have made a page all-visible over a TID already read: only the
/// heap tells.
void RefuseIndexOnlyScan(IndexPath* path, Cost* startup_cost, Cost* total_cost) {
  if (path->path.pathtype != T_IndexOnlyScan) return;
  *startup_cost = *total_cost = get_float8_infinity();
  pg::DisablePath(&path->path);
}

}  // namespace

bool IsTandemIndex(const IndexOptInfo* index) {
  // The type of that member differs between server versions, and is none that can be compared in some.
  using Untyped = void (*)();
  return reinterpret_cast<Untyped>(index->amcostestimate) == reinterpret_cast<Untyped>(CostEstimate);
}

double PolicyUnitsOf(Cost cost) {
  return cost / (kOperatorsPerUnit * cpu_operator_cost);
}

PoolCost CostOfPool(const IndexOptInfo* index, const policy::Wanted& wanted) {
  policy::SearchSituation situation = SituationOf(index);
  if (situation.segments == 0) return {0.0, 0.0};
  const Cost startup = CostOfScan(index, situation, true).startup;
  PoolCost cost = {0.0, 0.0};
  // Who wants more than there is room for gets it from later batches, whatever the first one has.
  const bool has_room = wanted.rows > 0 && wanted.rows <= policy::kMostWanted;
  if (has_room)
    cost.saved = static_cast<double>(situation.rows) * InCost(policy::CostOfLaterBatches(situation));
  situation.ef_search =
      policy::PoolFor(situation.ef_search, {wanted.found_per_row, has_room ? wanted.rows : 0.0});
  if (policy::PrefersExactScan(situation)) situation.segments = 0;
  cost.startup = CostOfScan(index, situation, true).startup - startup;
  return cost;
}

FilteredSearchCost CostOfFilteredSearch(const IndexOptInfo* index, const FilterEstimate& filter) {
  const policy::SearchSituation situation = SituationOf(index);
  const auto rows = static_cast<double>(situation.rows);
  const double share = Min(1.0, filter.rows / rows);
  const auto loose_rows = static_cast<double>(situation.tail_rows);
  const double map = kOperatorsToFilter + filter.looked_up * kOperatorsPerTid +
                     PagesOfRows(index->rel, filter.looked_up) * kOperatorsPerTidPage +
                     filter.collected * kOperatorsPerCollectedTid +
                     PagesOfRows(index->rel, filter.collected) * kOperatorsPerCollectedPage +
                     loose_rows * kOperatorsPerHead;
  const double row_bytes = static_cast<double>(situation.row_bytes);
  const double vector = kOperatorsPerScatteredRow + kOperatorsPerKilobyte * row_bytes / 1024.0;
  // What others have asked is known, where it can be kept: half of the filters, for want of something better.
  const double asked = shmem::FilterCacheExists() ? 0.5 : 1.0;
  const Cost look_up = map * cpu_operator_cost;
  FilteredSearchCost cost = {asked * look_up, 0.0, look_up, asked * look_up, true, rows};
  if (situation.segments > 0) cost.first_rows = situation.ef_search;
  if (situation.segments == 0 ||
      filter.rows <= static_cast<double>(policy::LargestExactSet(situation.row_bytes))) {
    cost.startup += filter.rows * vector * cpu_operator_cost;
    return cost;
  }
  cost.is_exact = false;
  const policy::FilterSituation segment = SegmentSituationOf(situation, share, filter.wanted);
  const policy::FilterTactic tactic = policy::ChooseTactic(segment);
  cost.startup += situation.segments * InCost(policy::CostOfTactic(tactic, segment)) +
                  share * loose_rows * vector * cpu_operator_cost;
  // Who wants all of it has everything compared, and the true distance of each.
  cost.run =
      situation.segments * InCost(policy::CostOfAll(segment)) + filter.rows * vector * cpu_operator_cost;
  return cost;
}

void CostEstimate(PlannerInfo* /*root*/, IndexPath* path, double /*loop_count*/, Cost* startup_cost,
                  Cost* total_cost, Selectivity* selectivity, double* correlation, double* pages) {
  const IndexOptInfo* info = path->indexinfo;
  const bool is_ordered = path->indexorderbys != NIL;
  const ScanCost cost = CostOfScan(info, SituationOf(info), is_ordered);
  *startup_cost = cost.startup;
  *total_cost = cost.total;
  *pages = cost.pages;
  // No condition is ever checked in the index; a partial one holds its share of the table.
  *selectivity = info->rel->tuples > 0 ? Min(1.0, info->tuples / info->rel->tuples) : 1.0;
  // In distance order rows come from anywhere in the heap.
  *correlation = is_ordered ? 0.0 : 1.0;
  RefuseIndexOnlyScan(path, startup_cost, total_cost);
}

}  // namespace tandem::am
