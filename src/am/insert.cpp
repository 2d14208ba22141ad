#include "pg/compat.hpp"

#include "am/callbacks.hpp"
#include "am/inline_fold.hpp"
#include "am/options.hpp"
#include "pg/indexed_value.hpp"
#include "pg/settings.hpp"
#include "pg/stop_point.hpp"
#include "shmem/mailbox.hpp"
#include "storage/flat_relation.hpp"
#include "storage/manifest.hpp"

namespace tandem::am {

namespace {

// ---- hnsw_batch ----

/// The page of heads that this backend last saw at the end of an index.
struct SeenTail {
  Oid index;
  uint32 page;
};
constexpr Oid kSeenTails = 16;
SeenTail seen_tails[kSeenTails];

/// True with every page of heads that begins, about every thousand rows, whoever appended them.
bool IsOnNewPage(Relation index) {
  const Oid oid = RelationGetRelid(index);
  const uint32 page = storage::GetIndexCache(index)->tail_page[storage::kHeadStream];
  SeenTail& seen = seen_tails[oid % kSeenTails];
  if (seen.index == oid && seen.page == page) return false;
  seen = {oid, page};
  return true;
}

bool TailIsFull(Relation index) {
  const uint64 rows = storage::CountRows(index, storage::kHeadStream);
  const uint64 sealed_rows = storage::ReadManifestRoot(index).sealed_rows;
  return rows >= sealed_rows + static_cast<uint64>(pg::CurrentSettings().seal_rows);
}

/// With every row, since a worker may have looked since the last one; it costs next to nothing if none has.
void TellWorker(Relation index) {
  if (!shmem::MailboxExists() || index->rd_rel->relpersistence == RELPERSISTENCE_TEMP) return;
  shmem::NotifyAppend(RelationGetRelid(index), IsOnNewPage(index) && TailIsFull(index));
}

// ---- hnsw_inline ----

/// Looks at the tail with the first row of a statement, and then every so many.
void FoldNowAndThen(Relation index, IndexInfo* info) {
  constexpr uint32 kLookEveryRows = 64;
  auto* rows = static_cast<uint32*>(info->ii_AmCache);
  if (rows == nullptr)
    info->ii_AmCache = rows = static_cast<uint32*>(MemoryContextAllocZero(info->ii_Context, sizeof(uint32)));
  if ((*rows)++ % kLookEveryRows == 0) FoldInline(index);
}

void AfterAppend(Relation index, IndexInfo* info) {
  switch (StrategyOf(index)) {
    case Strategy::kFlat:
      return;
    case Strategy::kHnswBatch:
      return TellWorker(index);
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
  const storage::DirectoryView& directory = storage::GetIndexCache(index)->directory;
  const pg::IndexedValue value =
      pg::DetoastIndexedValue(values[0], directory.element, directory.column_dimensions);
  storage::AppendRow(index, *tid, value.row);
  // The caller's context may live as long as the statement.
  if (PointerGetDatum(value.datum) != values[0]) pfree(const_cast<void*>(value.datum));
  pg::StopPoint("row-appended");
  AfterAppend(index, info);
  return false;
}

}  // namespace tandem::am
