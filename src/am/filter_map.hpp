#pragma once
// A filter in one index: its parts, segment by segment, from the cache or by evaluating the filter's terms.

#include "am/filter.hpp"
#include "am/row_filter.hpp"

namespace tandem::am {

/// What is known of a filter in an index. Survives the starts of a search; a start says what it looks at by EnterFilterMap().
struct FilterMap;

/// Since BeginFilterMap(), over all terms and starts.
struct FilterCounts {
  uint64 hits;       ///< terms of which a start found something in the cache
  uint64 evaluated;  ///< terms that had to be asked
  uint64 tids;       ///< that these admit
  uint64 mapped;     ///< rows found by these
};

/// In the current memory context. The filter must outlive it.
[[nodiscard]] FilterMap* BeginFilterMap(const Filter* filter);
[[nodiscard]] const FilterCounts& CountsOf(const FilterMap* map);

/// What distinguishes it from other filters of this index, and is the same whenever it is used; 0 if nothing of it can be kept. After
/// EnterFilterMap().
[[nodiscard]] uint64 HashOf(const FilterMap* map);
/// True if no term need be asked for what it admits: all of it is known, but for a few rows behind the segments.
[[nodiscard]] bool IsFilterKnown(FilterMap* map);

/// For a start: lets go of parts that it has no use for.
void EnterFilterMap(FilterMap* map, const FilterView& view);
/// Puts what was found out since into the cache, as far as others can use it.
void KeepFilterSets(FilterMap* map);
/// TIDs that are all that parts may have: the filter is one term, asked by this very map, and knows single TIDs. nullptr if there are
/// none.
[[nodiscard]] const base::TidSet* OnlyTidsOf(const FilterMap* map);

// Parts may admit more than the filter does: rows that were, or may be, still being inserted when what is known of
// them was found out.

/// False if parts of segments may, too: of some blocks nothing more is known.
[[nodiscard]] bool KnowsRows(const FilterMap* map);

/// The rows of the i-th segment's graph (kGraph), or, if that cannot be read, of its range (kAll).
[[nodiscard]] FilterPart* MapSegmentRows(FilterMap* map, uint32 i);
/// The rows behind all segments.
[[nodiscard]] FilterPart* MapTailRows(FilterMap* map);
/// The rows of the i-th segment's range that are not in its graph. The segment's part is of kind kGraph.
[[nodiscard]] FilterPart* MapRestRows(FilterMap* map, uint32 i);
/// Has the nodes of the i-th segment's part, of kind kGraph. Between EnterSegments() and LeaveSegments(), which it may do in between;
/// adds to *chunks_loaded what that loaded. False if the segment cannot be read.
[[nodiscard]] bool MapSegmentNodes(FilterMap* map, uint32 i, SegmentScan* scan, uint64* chunks_loaded);
/// Asks the terms themselves, which then are evaluated.
[[nodiscard]] bool FilterAdmits(FilterMap* map, base::HeapTid tid);

}  // namespace tandem::am
