// What an index scan costs. The scan reads every vector before it returns its first row, so nearly all of its
// cost is start-up cost: it wins against a sort by reading vectors in long runs, without heap tuples and TOAST,
// and loses where a native index leaves few rows to sort.

#include "pg/compat.hpp"

#include "am/callbacks.hpp"
#include "storage/page_format.hpp"

extern "C" {
#include "access/genam.h"
#include "nodes/pathnodes.h"
#include "optimizer/optimizer.h"
#include "utils/float.h"
#include "utils/spccache.h"
}

namespace tandem::am {

namespace {

// A row's distance, in units of cpu_operator_cost: a constant part for the head and the selection, and the
// kernel, which streams memory. Measured against count(*) over a narrow table: see bench/README.md, "Costs".
constexpr double kOperatorsPerRow = 1.0;
constexpr double kOperatorsPerKilobyte = 2.0;
// Vector pages are read in runs of 512 KB and never looked at tuple by tuple; a sequential heap scan is charged
// a whole page each, and nothing at all for the TOAST pages it visits.
constexpr double kPageFraction = 0.5;

/// Row size in the vector stream, from the index column's type modifier.
double RowBytes(const IndexOptInfo* info) {
  if (info->hypothetical) return 0;
  const Relation index = index_open(info->indexoid, NoLock);
  const int dimensions = ColumnDimensions(index);
  index_close(index, NoLock);
  return dimensions * static_cast<double>(sizeof(float));
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
  *total_cost = startup + rows * cpu_index_tuple_cost;
  if (path->indexorderbys == NIL) *total_cost += head_pages * sequential_page_cost;
  // No condition is ever checked in the index.
  *selectivity = 1.0;
  // In distance order rows come from anywhere in the heap.
  *correlation = path->indexorderbys == NIL ? 1.0 : 0.0;
  *pages = pages_read;
  RefuseIndexOnlyScan(path, startup_cost, total_cost);
}

}  // namespace tandem::am
