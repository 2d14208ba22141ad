#pragma once
// Compaction: what is alive of a stretch of the flat relation that is mostly dead goes to a packed blob, and the stretch's extents
// are retired; and streams are given blocks that became free. README.md says why nobody misses a row.
//
// A job goes on in steps, as folds do, and its caller may let go of the relation in between. It holds the builder lock from
// beginning to end.
//
//   kCounting ─► kListing ─► kWriting ─► kPublishing ─► kGiving ─► kDone
//        └──────── nothing is worth it ──────────────────┘
//
//   kCounting    how many rows are alive in each group of extents and each packed range: all row heads are read
//   kListing     which rows those are, in the stretch that policy/pack_policy.hpp chose
//   kWriting     their vectors are written over free blocks; nobody knows them yet
//   kPublishing  one record makes readers look there
//   kGiving      free blocks are held ready for streams

#include "pg/pg.hpp"

extern "C" {
#include "utils/relcache.h"
}

namespace tandem::storage {

struct Compaction;

enum class CompactionStep {
  kContinue,   ///< call again
  kDone,       ///< nothing is left to do for this job
  kAbandoned,  ///< the index is not what it was when the job began
};

/// A job in a context of its own under `parent`; nullptr if there is nothing to do, which costs a look at the meta page and the
/// manifest. Builder lock required until EndCompaction().
[[nodiscard]] Compaction* BeginCompaction(MemoryContext parent, Relation index);
/// Does about `budget_ms` of work. `index` may be another opening of the same index, locked RowExclusive or more. An ERROR leaves
/// the job to be ended; nothing is half-published.
[[nodiscard]] CompactionStep StepCompaction(Compaction* job, Relation index, int budget_ms);
/// True if the job has packed something, so that another one may find more to do.
[[nodiscard]] bool HasPacked(const Compaction* job);
void EndCompaction(Compaction* job);

/// All of it at once, for whoever holds the relation anyway: jobs until nothing is worth it, or the deadline is past (0: none).
void CompactNow(Relation index, int64 deadline);

}  // namespace tandem::storage
