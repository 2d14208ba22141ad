#pragma once
// What a caller that knows it has a scan of ours may do to it, beyond what any index scan can.

#include "pg/pg.hpp"

extern "C" {
#include "access/relscan.h"
#include "nodes/pathnodes.h"
}

#include "am/filter.hpp"

namespace tandem::am {

/// The only strategy number: the distance operator, FOR ORDER BY.
constexpr uint16 kDistanceStrategy = 1;

/// True for an index of this access method.
[[nodiscard]] bool IsTandemIndex(const IndexOptInfo* index);

/// What a search costs whose filter admits `filter_rows` rows, in the planner's units, beside what delivers the filter and what is done
/// with rows found. startup: until the first rows. run: for all others.
struct FilteredSearchCost {
  Cost startup;
  Cost run;
  double
      first_rows;  ///< so many a search without the filter finds as well as it ever does: later ones, in strict order, with gaps
};
/// looked_up: TIDs of all its terms.
[[nodiscard]] FilteredSearchCost CostOfFilteredSearch(const IndexOptInfo* index, double filter_rows,
                                                      double looked_up);

/// From the next rescan on, the scan returns rows that `filter` admits: all of them before it ends, rows with a NULL vector
/// last. In strict order those that graphs find late are dropped, as without a filter. Others may be among them: the caller checks
/// rows anyway. nullptr: no filter. The filter is the caller's, and outlives the scan or the next call. To be called again when
/// its terms would say something else; rescans without a call keep what was made of it. Raises an error if the scan is of
/// another access method.
void SetScanFilter(IndexScanDesc scan, const Filter* filter);

/// What the scan's filters have been so far.
struct FilterUse {
  uint64 starts;  ///< of searches
  uint64 hits;    ///< terms of which a start found something in the cache
  uint64 rows;    ///< of the index that filters admitted, dead ones among them, over all starts
};
[[nodiscard]] FilterUse FilterUseOf(IndexScanDesc scan);

}  // namespace tandem::am
