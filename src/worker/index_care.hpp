#pragma once
// What a worker knows of one index, and how it looks after it: folds, merges, retires, recycles, compacts.

#include "pg/pg.hpp"

#include "worker/process.hpp"

namespace tandem::worker {

/// Remembered between looks. Times are the worker's own observations: what happened before it came, it takes for recent.
struct WatchedIndex {
  Oid index;  ///< first: the hash key
  bool listed;
  bool settled;  ///< nothing is left to do until somebody flags the index
  bool gone;
  bool surveyed;
  float past_heat;   ///< see ListedIndex
  bool loaded;       ///< its graphs were copied into shared memory, as far as there was room
  bool is_cold;      ///< they were, for the first time since the server started, and its pages are to follow
  bool is_warmed;    ///< those were read
  uint64 row_bound;  ///< row ids seen at the last look
  uint64 dead_rows;  ///< as the meta page said at the last look …
  uint64 settled_dead_rows;  ///< … and when the index was last settled
  uint64 packed_dead_rows;   ///< … and when there was last nothing to compact
  TimestampTz changed_at;    ///< rows were appended
  TimestampTz folded_at;
  TimestampTz look_at;  ///< no look before
};

/// Takes notice of what sessions have flagged.
void NoticeFlags(WatchedIndex* watched);

/// Time to look?
[[nodiscard]] bool IsDue(const WatchedIndex& watched);

/// Looks at an index that is due, and builds what is most worth building. Afterwards the index is settled, gone, not due for a
/// while (locked, too young, failed), or due again. True if a segment was published. Errors are reported and logged, not
/// raised; SIGTERM and evictions end the process.
bool LookAfter(WatchedIndex* watched);

/// To be called before shared memory is let go: stops the threads of a build that is under way, and gives up its lock.
void StopBuilding();

}  // namespace tandem::worker
