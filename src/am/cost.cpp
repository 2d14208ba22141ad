// What an index scan costs. The scan reads every vector before it returns its first row, so nearly all of its
// cost is start-up cost: it wins against a sort by reading vectors in long runs, without heap tuples and TOAST,
// and loses where a native index leaves few rows to sort.

#include "pg/compat.hpp"

#include "am/callbacks.hpp"
#include "storage/flat_relation.hpp"

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

/// Row size in the vector stream: from the column's type, or as built if the type lost its dimensions since.
double RowBytes(const IndexOptInfo* info) {
  if (info->hypothetical) return 0;
  const Relation index = index_open(info->indexoid, NoLock);
  const int dimensions = ColumnDimensions(index);
  const double bytes = dimensions > 0
                           ? dimensions * static_cast<double>(sizeof(float))
                           : static_cast<double>(storage::GetIndexCache(index)->directory.row_bytes);
  index_close(index, NoLock);
  return bytes;
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

/// The planner believes that any index without a condition can count rows without visiting the heap. This one
/// holds no pin on what it returns, so VACUUM may have made a page all-visible over a TID already read: only the
/// heap tells.
void RefuseIndexOnlyScan(IndexPath* path, Cost* startup_cost, Cost* total_cost) {
  if (path->path.pathtype != T_IndexOnlyScan) return;
  *startup_cost = *total_cost = get_float8_infinity();
  pg::DisablePath(&path->path);
}

}  // namespace

void CostEstimate(PlannerInfo* /*root*/, IndexPath* path, double /*loop_count*/, Cost* startup_cost,
                  Cost* total_cost, Selectivity* selectivity, double* correlation, double* pages) {
  const IndexOptInfo* info = path->indexinfo;
  double random_page_cost;
  double sequential_page_cost;
  get_tablespace_page_costs(info->reltablespace, &random_page_cost, &sequential_page_cost);

  const double rows = Max(info->tuples, 1.0);
  const double row_bytes = RowBytes(info);
  const double head_pages = ceil(rows / storage::kHeadsPerPage);
  const double vector_pages = ceil(rows * row_bytes / storage::kPayloadBytes);

  Cost startup = 0;
  double pages_read = head_pages;
  if (path->indexorderbys != NIL) {
    pages_read += vector_pages;
    startup += rows * cpu_operator_cost * (kOperatorsPerRow + kOperatorsPerKilobyte * row_bytes / 1024.0);
    startup += pages_read * sequential_page_cost * kPageFraction;
  }
  *startup_cost = startup;
  *total_cost = startup * PassesOf(rows) + rows * cpu_index_tuple_cost;
  if (path->indexorderbys == NIL) *total_cost += head_pages * sequential_page_cost;
  // No condition is ever checked in the index; a partial one holds its share of the table.
  *selectivity = info->rel->tuples > 0 ? Min(1.0, info->tuples / info->rel->tuples) : 1.0;
  // In distance order rows come from anywhere in the heap.
  *correlation = path->indexorderbys == NIL ? 1.0 : 0.0;
  *pages = pages_read;
  RefuseIndexOnlyScan(path, startup_cost, total_cost);
}

}  // namespace tandem::am
