#include "pg/compat.hpp"

#include "worker/native_pages.hpp"

#include <algorithm>

#include "pg/stop_point.hpp"
#include "pg/try_open.hpp"
#include "shmem/search_counts.hpp"
#include "worker/process.hpp"

extern "C" {
#include "access/relation.h"
#include "access/xact.h"
#include "catalog/index.h"
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
// After a start, for one index and its table: folds wait meanwhile.
constexpr int kMostMs = 15 * 1000;

TimestampTz In(int delay_ms) {
  return TimestampTzPlusMilliseconds(GetCurrentTimestamp(), delay_ms);
}

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

bool IsWorthReading(Relation relation) {
  if (relation->rd_rel->relpersistence == RELPERSISTENCE_TEMP) return false;
  const char kind = relation->rd_rel->relkind;
  return kind == RELKIND_INDEX ? relation->rd_index->indisvalid
                               : kind == RELKIND_RELATION || kind == RELKIND_MATVIEW;
}

/// nullptr if it is locked, gone, or its number is something else's by now.
Relation OpenForReading(Oid oid) {
  const Relation relation = pg::TryOpen(oid, AccessShareLock);
  if (relation == nullptr || IsWorthReading(relation)) return relation;
  relation_close(relation, AccessShareLock);
  return nullptr;
}

/// How much may be read, of one relation after the other.
struct Allowance {
  int pages;
  bool only_free_buffers;
  BlockNumber largest;  ///< a relation of more is left out
  TimestampTz until;

  [[nodiscard]] bool IsUsedUp() const { return pages <= 0 || (only_free_buffers && !pg::HasFreeBuffer()); }
};

/// A step: from block *next on. False when there is nothing more to read of this relation.
bool StepReading(Oid oid, BlockNumber* next, Allowance* allowance) {
  BeginStep();
  const Relation relation = OpenForReading(oid);
  bool more = relation != nullptr;
  if (more) {
    BlockNumber blocks = RelationGetNumberOfBlocks(relation);
    if (blocks > allowance->largest) blocks = 0;
    const TimestampTz until = In(kStepMs);
    while (*next < blocks && !allowance->IsUsedUp() && GetCurrentTimestamp() < until) {
      ReleaseBuffer(ReadBuffer(relation, (*next)++));
      allowance->pages--;
    }
    more = *next < blocks && !allowance->IsUsedUp() && GetCurrentTimestamp() < allowance->until;
    relation_close(relation, NoLock);
  }
  CommitTransactionCommand();
  return more;
}

void ReadRelation(Oid oid, Allowance* allowance) {
  const MemoryContext caller = CurrentMemoryContext;
  BlockNumber next = 0;
  while (StepReading(oid, &next, allowance)) {
    ServeInterrupts();
    pg::StopPoint("worker-between-reads");
  }
  MemoryContextSwitchTo(caller);
}

void ReadAll(const Oid* indexes_of_ours, int count) {
  const NativeIndexes scanned = CollectScanned(indexes_of_ours, count);
  // No more than what is read in a moment: folds wait meanwhile.
  Allowance allowance = {Min(NBuffers / kPartOfBuffers, kMostPages), false, MaxBlockNumber, kNever};
  for (int i = 0; i < scanned.count && !allowance.IsUsedUp(); i++)
    ReadRelation(scanned.indexes[i].index, &allowance);
}

/// InvalidOid if the index has gone.
Oid TableOf(Oid index) {
  const MemoryContext caller = CurrentMemoryContext;
  BeginStep();
  const Oid table = IndexGetRelation(index, true);
  CommitTransactionCommand();
  MemoryContextSwitchTo(caller);
  return table;
}

void ReadIndexAndTable(Oid index) {
  Allowance allowance = {NBuffers, true, static_cast<BlockNumber>(NBuffers) / 2, In(pg::TimeLimit(kMostMs))};
  ReadRelation(index, &allowance);
  const Oid table = TableOf(index);
  if (OidIsValid(table)) ReadRelation(table, &allowance);
}

// An error is that of a damaged page, say: whoever needs it will be told.
constexpr char kFailed[] = "could not read pages into shared_buffers ahead";

}  // namespace

void ReadNativePagesIn(const Oid* indexes_of_ours, int count) {
  const MemoryContext caller = CurrentMemoryContext;
  PG_TRY();
  { ReadAll(indexes_of_ours, count); }
  PG_CATCH();
  { LogAndGoOn(caller, kFailed, ErrorDetail::kMessage); }
  PG_END_TRY();
}

void ReadHotPagesIn(Oid index) {
  const MemoryContext caller = CurrentMemoryContext;
  PG_TRY();
  { ReadIndexAndTable(index); }
  PG_CATCH();
  { LogAndGoOn(caller, kFailed, ErrorDetail::kMessage); }
  PG_END_TRY();
}

}  // namespace tandem::worker
