#pragma once
// What a caller that knows it has a scan of ours may do to it, beyond what any index scan can.

#include "pg/pg.hpp"

extern "C" {
#include "access/relscan.h"
#include "nodes/pathnodes.h"
}

#include "am/filter.hpp"
#include "am/search.hpp"

namespace tandem::am {

/// The only strategy number: the distance operator, FOR ORDER BY.
constexpr uint16 kDistanceStrategy = 1;

/// True for an index of this access method.
[[nodiscard]] bool IsTandemIndex(const IndexOptInfo* index);

/// What a search by a filter costs, in the planner's units, beside what delivers the filter and what is done
/// with rows found. startup: until the first rows. run: for all others.
struct FilteredSearchCost {
  Cost startup;
  Cost run;
  Cost look_up;   ///< of the rows of the filter's TIDs, if nothing of them is known
  Cost expected;  ///< of that, what startup has: it may be known
  bool is_exact;  ///< all that the filter admits will be compared by full vectors
  double
      first_rows;  ///< so many a search without the filter finds as well as it ever does: later ones, in strict order, with gaps
};
struct FilterEstimate {
  double rows;       ///< that it admits
  double collected;  ///< TIDs of its terms that come one by one
  double looked_up;  ///< TIDs of its other terms, from bitmaps
  double wanted;     ///< as of SetScanFilter()
};
[[nodiscard]] FilteredSearchCost CostOfFilteredSearch(const IndexOptInfo* index,
                                                      const FilterEstimate& filter);

/// In the units of policy::AskLater.
[[nodiscard]] double PolicyUnitsOf(Cost cost);

/// How a search without a filter whose pool is made for what is wanted (policy::PoolFor()) differs from what the planner was told of
/// the index. startup: more, until the first row. saved: less, of all other rows, as those that are wanted are in the first batch.
struct PoolCost {
  Cost startup;
  Cost saved;
};
[[nodiscard]] PoolCost CostOfPool(const IndexOptInfo* index, const policy::Wanted& wanted);

/// From the next rescan on, the scan returns rows that `filter` admits: all of them before it ends, rows with a NULL vector
/// last. In strict order those that graphs find late are dropped, as without a filter. Others may be among them: the caller checks
/// rows anyway. nullptr: no filter. The filter is the caller's, and outlives the scan or the next call. To be called again when
/// its terms would say something else; rescans without a call keep what was made of it. Raises an error if the scan is of
/// another access method.
/// wanted: rows of the filter that will probably be asked for, 0 if nobody knows; a hint.
/// later: when the search may begin without its filter, if that is not known from the cache. Rows are told apart then.
void SetScanFilter(IndexScanDesc scan, const Filter* filter, uint64 wanted, const policy::AskLater& later);

/// From the next rescan on: what is wanted of the rows of a scan without a filter, of which conditions are asked later.
void SetScanWanted(IndexScanDesc scan, const policy::Wanted& wanted);

/// From the next rescan on, rows are told apart: what graphs find late is dropped in strict order only where it is nearer than a row that
/// was accepted. Others were left out by conditions, and take part in no order.
void SetScanAwaitsAcceptance(IndexScanDesc scan);
/// The row returned last fulfils the conditions.
void AcceptScanRow(IndexScanDesc scan);

/// Ends the scan's search, if one is running: no more rows come before the next rescan. Returns what all of its searches did. The
/// scan must be one of ours.
[[nodiscard]] SearchReport FinishScan(IndexScanDesc scan);

}  // namespace tandem::am
