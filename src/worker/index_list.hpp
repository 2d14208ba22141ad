#pragma once
// Which indexes of the database are ours.

#include "pg/pg.hpp"

namespace tandem::worker {

struct ListedIndex {
  Oid index;
  float past_heat;  ///< what it was worth in memory before the server started
};

struct IndexList {
  ListedIndex* indexes;  ///< palloc'd
  int count;
  bool more_soon;  ///< some index is being made by a command that is still at work
};

/// The tandem indexes of this database that are ready and valid, temporary ones left out. A transaction of its own;
/// the result is in the current memory context.
[[nodiscard]] IndexList ListIndexes();

/// Gives back the shared memory of graphs whose index was dropped, rebuilt or moved. A transaction of its own.
void ForgetLostGraphs();

/// Opens an index that ListIndexes() named, if no lock is in the way; it never waits (invariant 5). RowExclusiveLock, held until
/// the end of the transaction: what steps that write pages need, and no stronger against DDL than a reader's lock.
/// nullptr: *gone tells whether it is no index of ours any more, or else locked by somebody.
[[nodiscard]] Relation OpenIndexAtOnce(Oid index, bool* gone);

}  // namespace tandem::worker
