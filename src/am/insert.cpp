#include "pg/compat.hpp"

#include "am/callbacks.hpp"
#include "am/inline_fold.hpp"
#include "am/options.hpp"
#include "pg/settings.hpp"
#include "pg/vector_datum.hpp"
#include "shmem/mailbox.hpp"
#include "storage/flat_relation.hpp"
#include "storage/manifest.hpp"

namespace tandem::am {

namespace {

/// What a statement remembers of the index it inserts into.
struct InsertState {
  uint32 tail_page;  ///< the page of heads that was appended to last
  uint32 rows;       ///< appended since the tail was last looked at
};

/// The statement's state; nullptr with its first row, for which one is made.
InsertState* RecallState(Relation index, IndexInfo* info) {
  if (info->ii_AmCache != nullptr) return static_cast<InsertState*>(info->ii_AmCache);
  auto* state = static_cast<InsertState*>(MemoryContextAllocZero(info->ii_Context, sizeof(InsertState)));
  state->tail_page = storage::GetIndexCache(index)->tail_page[storage::kHeadStream];
  info->ii_AmCache = state;
  return nullptr;
}

bool TailIsFull(Relation index) {
  const uint64 rows = storage::CountRows(index, storage::kHeadStream);
  const uint64 sealed_rows = storage::ReadManifestRoot(index).sealed_rows;
  return rows >= sealed_rows + static_cast<uint64>(pg::CurrentSettings().seal_rows);
}

/// Tells the worker with the first row of a statement, and about every thousand rows, when a page of heads is full.
void TellWorker(Relation index, IndexInfo* info) {
  if (!shmem::MailboxExists()) return;
  InsertState* state = RecallState(index, info);
  if (state == nullptr) {
    shmem::NotifyAppend(RelationGetRelid(index), false);
    return;
  }
  const uint32 tail_page = storage::GetIndexCache(index)->tail_page[storage::kHeadStream];
  if (tail_page == state->tail_page) return;
  state->tail_page = tail_page;
  shmem::NotifyAppend(RelationGetRelid(index), TailIsFull(index));
}

/// Looks at the tail with the first row of a statement, and then every so many.
void FoldNowAndThen(Relation index, IndexInfo* info) {
  constexpr uint32 kLookEveryRows = 64;
  InsertState* state = RecallState(index, info);
  if (state != nullptr && ++state->rows < kLookEveryRows) return;
  if (state != nullptr) state->rows = 0;
  FoldInline(index);
}

void AfterAppend(Relation index, IndexInfo* info) {
  switch (StrategyOf(index)) {
    case Strategy::kFlat:
      return;
    case Strategy::kHnswBatch:
      return TellWorker(index, info);
    case Strategy::kHnswInline:
      return FoldNowAndThen(index, info);
  }
}

}  // namespace

/// Appends at once, whatever the statement is: no row waits in memory for the end of a statement, where an
/// ON CONFLICT retry, a utility command or a subtransaction's end could lose or falsify it (H6 to H8).
bool Insert(Relation index, Datum* values, bool* isnull, ItemPointer tid, Relation /*heap*/,
            IndexUniqueCheck /*check_unique*/, bool /*index_unchanged*/, IndexInfo* info) {
  if (isnull[0]) {
    storage::AppendRow(index, *tid, nullptr);
    return false;
  }
  const auto dimensions = static_cast<int>(storage::GetIndexCache(index)->directory.dimensions);
  const pg::VectorDatum* vector = pg::DetoastIndexedVector(values[0], dimensions);
  storage::AppendRow(index, *tid, vector->values);
  // The caller's context may live as long as the statement.
  if (PointerGetDatum(vector) != values[0]) pfree(const_cast<pg::VectorDatum*>(vector));
  AfterAppend(index, info);
  return false;
}

}  // namespace tandem::am
