#include "pg/compat.hpp"

#include "worker/native_pages.hpp"

#include <algorithm>

#include "pg/stop_point.hpp"
#include "shmem/search_counts.hpp"
#include "worker/process.hpp"

extern "C" {
#include "access/relation.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/timestamp.h"
}

namespace tandem::worker {

namespace {

// What is read in may push out what others read: no more than a quarter of the buffers.
constexpr int kPartOfBuffers = 4;
constexpr int kMostPages = 16384;
// As the steps of a build: long enough to be worth a transaction, short for whoever wants a lock.
constexpr int kStepMs = 20;

struct NativeIndex {
  Oid index;
  uint64 scans;
};

struct NativeIndexes {
  static constexpr int kMost = 64;
  NativeIndex indexes[kMost];
  int count;
};

bool Contains(const NativeIndexes& all, Oid index) {
  return std::any_of(all.indexes, all.indexes + all.count,
                     [index](const NativeIndex& one) { return one.index == index; });
}

/// Those that were ever scanned, the most scanned first. Indexes of ours on one table have the same ones beside them.
NativeIndexes CollectScanned(const Oid* ours, int count) {
  NativeIndexes all = {};
  for (int i = 0; i < count; i++) {
    shmem::Siblings siblings;
    if (!shmem::ReadSiblings(MyDatabaseId, ours[i], &siblings)) continue;
    for (int j = 0; j < siblings.count && all.count < NativeIndexes::kMost; j++) {
      const Oid index = siblings.indexes[j];
      const uint64 scans = pg::IndexScansOf(MyDatabaseId, index);
      if (scans > 0 && !Contains(all, index)) all.indexes[all.count++] = {index, scans};
    }
  }
  std::sort(all.indexes, all.indexes + all.count,
            [](const NativeIndex& a, const NativeIndex& b) { return a.scans > b.scans; });
  // What the statistics said is kept by the process until then.
  pgstat_clear_snapshot();
  return all;
}

/// nullptr if it is locked, gone, or its number is something else's by now.
Relation OpenForReading(Oid index) {
  if (!ConditionalLockRelationOid(index, AccessShareLock)) return nullptr;
  const Relation relation = try_relation_open(index, NoLock);
  if (relation == nullptr) {
    UnlockRelationOid(index, AccessShareLock);
    return nullptr;
  }
  if (relation->rd_rel->relkind == RELKIND_INDEX && relation->rd_rel->relpersistence != RELPERSISTENCE_TEMP &&
      relation->rd_index->indisvalid)
    return relation;
  relation_close(relation, AccessShareLock);
  return nullptr;
}

/// A step: from block *next on, at most *budget of them. False when there is nothing more to read of this index.
bool StepReading(Oid index, BlockNumber* next, int* budget) {
  SetCurrentStatementStartTimestamp();
  StartTransactionCommand();
  const Relation relation = OpenForReading(index);
  bool more = relation != nullptr;
  if (more) {
    const BlockNumber blocks = RelationGetNumberOfBlocks(relation);
    const TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), kStepMs);
    while (*next<blocks&& * budget> 0 && GetCurrentTimestamp() < until) {
      ReleaseBuffer(ReadBuffer(relation, (*next)++));
      --*budget;
    }
    more = *next<blocks&& * budget> 0;
    relation_close(relation, NoLock);
  }
  CommitTransactionCommand();
  return more;
}

void ReadAll(const Oid* indexes_of_ours, int count) {
  const MemoryContext caller = CurrentMemoryContext;
  const NativeIndexes scanned = CollectScanned(indexes_of_ours, count);
  // No more than what is read in a moment: folds wait meanwhile.
  int budget = Min(NBuffers / kPartOfBuffers, kMostPages);
  for (int i = 0; i < scanned.count && budget > 0; i++) {
    BlockNumber next = 0;
    while (StepReading(scanned.indexes[i].index, &next, &budget)) {
      ServeInterrupts();
      pg::StopPoint("worker-between-reads");
    }
    MemoryContextSwitchTo(caller);
  }
}

/// A damaged page, say. Whoever needs it will be told.
void TellError(MemoryContext caller) {
  HOLD_INTERRUPTS();
  MemoryContextSwitchTo(caller);
  ErrorData* error = CopyErrorData();
  FlushErrorState();
  AbortOutOfAnyTransaction();
  MemoryContextSwitchTo(caller);
  ereport(LOG, (errcode(error->sqlerrcode),
                errmsg("could not read pages of native indexes ahead: %s", error->message)));
  FreeErrorData(error);
  HOLD_CANCEL_INTERRUPTS();  // as the worker's main function did: an error has set the count to 0
  RESUME_INTERRUPTS();
}

}  // namespace

void ReadNativePagesIn(const Oid* indexes_of_ours, int count) {
  const MemoryContext caller = CurrentMemoryContext;
  PG_TRY();
  { ReadAll(indexes_of_ours, count); }
  PG_CATCH();
  { TellError(caller); }
  PG_END_TRY();
}

}  // namespace tandem::worker
