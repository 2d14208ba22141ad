#pragma once
// Exact ordered scan of given rows: what a flat scan is for all rows.

#include "am/row_filter.hpp"
#include "storage/flat_relation.hpp"
#include "storage/row_access.hpp"

namespace tandem::am {

/// Rows to be scanned: of parts, all of `rows` or none.
struct SetRange {
  base::Span<const FilterPart* const> parts;
  bool resumed = false;  ///< only rows that sort after `after`
  policy::Candidate after = {};
  base::Span<const uint64> excluded;  ///< not these row ids; ascending
};

/// Scores rows by their full vectors in row order, and delivers them in ascending order of distance, NaN last. All at once if
/// work_mem has room for them, else by passes that keep as many as it has room for. Plain data; holds no pin between calls.
struct SetScan {
  Relation index;
  Snapshot snapshot;
  const vec::RowDistance* distance;
  MemoryContext context;
  storage::RowReader vectors;
  std::size_t vectors_ahead;  ///< so many are asked for before one is compared
  SetRange range;
  std::size_t next_excluded;
  policy::Candidate* batch;  ///< a heap, the nearest on top
  std::size_t batch_room;
  std::size_t batch_size;
  bool more;           ///< there may be rows beyond the batch
  uint64 rows;         ///< in the range
  uint64 distances;    ///< computed since OpenSetScan()
  bool counts_passed;  ///< the next pass is the first of a range that is resumed
  uint64 passed_over;  ///< rows that did not sort after SetRange::after, and are not dead
};

/// Everything named must outlive the scan; memory comes from the current memory context.
void OpenSetScan(SetScan* scan, Relation index, const storage::FlatScanView& view,
                 const storage::Manifest* manifest, Snapshot snapshot);
/// Starts it (over) with these rows. What the range points to must outlive it.
void StartSetScan(SetScan* scan, const SetRange& range);
/// The next candidate, without going on; false at the end. Its row may be dead.
[[nodiscard]] bool PeekSetCandidate(SetScan* scan, policy::Candidate* candidate);
void TakeSetCandidate(SetScan* scan);

}  // namespace tandem::am
