// Deleting rows: tombstones on row heads, logged before VACUUM lets a TID be reused. Vectors are never read.

#include "pg/compat.hpp"

#include "storage/flat_relation.hpp"

#include "pg/stop_point.hpp"
#include "storage/wal.hpp"

namespace tandem::storage {

namespace {

/// Copies a head page's rows to `heads`; returns how many.
uint32 CopyHeads(Relation index, const DirectoryView& view, Stream stream, uint32 page,
                 BufferAccessStrategy strategy, RowHead* heads, Buffer* pinned) {
  const BlockNumber block = view.BlockOf(stream, page);
  *pinned = ReadPage(index, block, InvalidBuffer, strategy);
  LockBuffer(*pinned, BUFFER_LOCK_SHARE);
  const Page head_page = BufferGetPage(*pinned);
  uint32 count = 0;
  if (!IsBlank(head_page)) {
    CheckPage(index, block, head_page, KindOfStream(stream), page, view.incarnation);
    count = HeadCount(head_page);
    std::memcpy(heads, Heads(head_page), count * sizeof(RowHead));
  }
  LockBuffer(*pinned, BUFFER_LOCK_UNLOCK);
  return count;
}

/// Sets the tombstone of every slot marked in `dead`, in one record.
/// Before it: the rows are returned by scans and rejected in the heap. After it: they are skipped.
void SetTombstones(Relation index, Buffer buffer, const bool* dead, uint32 first, uint32 last) {
  LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
  const Page page = BufferGetPage(buffer);
  PageChanges changes(index);
  START_CRIT_SECTION();
  for (uint32 slot = first; slot <= last; slot++)
    if (dead[slot]) Heads(page)[slot].flags |= kTombstone;
  const int number = changes.AddPage(buffer, PageChanges::ImageMode::kDelta);
  changes.Touch(number, kPayloadOffset + first * static_cast<uint32>(sizeof(RowHead)),
                (last - first + 1) * static_cast<uint32>(sizeof(RowHead)));
  changes.Log();
  END_CRIT_SECTION();
  LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
}

/// The directory, read again whenever the pages asked for go beyond it.
struct StreamWalk {
  Relation index;
  Stream stream;
  DirectoryView* view;
};

bool PageExists(StreamWalk* walk, uint32 page) {
  const auto reaches = [&] {
    const BlockNumber block = walk->view->BlockOf(walk->stream, page);
    return block != InvalidBlockNumber && block < RelationGetNumberOfBlocks(walk->index);
  };
  if (reaches()) return true;
  pfree(walk->view);
  walk->view = CopyDirectory(ReloadIndexCache(walk->index)->directory);
  return reaches();
}

/// Tombstones set, and live and dead rows seen, in one stream.
struct DeadCounts {
  double removed;
  double live;
  uint64 dead;
};

DeadCounts MarkDeadInStream(Relation index, Stream stream, BufferAccessStrategy strategy,
                            IndexBulkDeleteCallback callback, void* callback_state) {
  DeadCounts counts = {};
  auto* heads = static_cast<RowHead*>(palloc(kHeadsPerPage * sizeof(RowHead)));
  auto* dead = static_cast<bool*>(palloc(kHeadsPerPage * sizeof(bool)));
  StreamWalk walk = {index, stream, CopyDirectory(GetIndexCache(index)->directory)};
  // The end is looked at again with every page: rows appended meanwhile are visited too.
  for (uint32 page = 0; PageExists(&walk, page); page++) {
    pg::VacuumDelayPoint();
    Buffer buffer;
    const uint32 count = CopyHeads(index, *walk.view, stream, page, strategy, heads, &buffer);
    uint32 first = count;
    uint32 last = 0;
    for (uint32 slot = 0; slot < count; slot++) {
      dead[slot] = false;
      if ((heads[slot].flags & kTombstone) != 0) {
        counts.dead++;
      } else if (callback(&heads[slot].tid, callback_state)) {
        dead[slot] = true;
        first = Min(first, slot);
        last = slot;
        counts.removed++;
        counts.dead++;
      } else {
        counts.live++;
      }
    }
    pg::StopPoint("vacuum-before-tombstones");
    if (first < count) SetTombstones(index, buffer, dead, first, last);
    ReleaseBuffer(buffer);
    if (count < kHeadsPerPage) break;  // the tail, as of now
  }
  pfree(walk.view);
  pfree(dead);
  pfree(heads);
  return counts;
}

void StoreDeadCounts(Relation index, uint64 dead_rows, uint64 dead_null_rows) {
  const Buffer buffer = ReadPage(index, 0);
  LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
  MetaPage* meta = Meta(BufferGetPage(buffer));
  if (meta->dead_rows != dead_rows || meta->dead_null_rows != dead_null_rows) {
    static_assert(offsetof(MetaPage, dead_null_rows) == offsetof(MetaPage, dead_rows) + sizeof(uint64),
                  "logged as one range");
    const uint64 counts[2] = {dead_rows, dead_null_rows};
    WriteMeta(index, buffer, &meta->dead_rows, counts, sizeof counts);
  }
  UnlockReleaseBuffer(buffer);
}

}  // namespace

void MarkDeadRows(Relation index, BufferAccessStrategy strategy, IndexBulkDeleteResult* stats,
                  IndexBulkDeleteCallback callback, void* callback_state) {
  const DeadCounts rows = MarkDeadInStream(index, kHeadStream, strategy, callback, callback_state);
  const DeadCounts nulls = MarkDeadInStream(index, kNullHeadStream, strategy, callback, callback_state);
  pg::StopPoint("vacuum-before-counts");
  StoreDeadCounts(index, rows.dead, nulls.dead);
  stats->tuples_removed += rows.removed + nulls.removed;
  stats->num_index_tuples = rows.live + nulls.live;
}

void VisitHeads(Relation index, Stream stream, HeadVisitor visit, void* state) {
  auto* heads = static_cast<RowHead*>(palloc(kHeadsPerPage * sizeof(RowHead)));
  StreamWalk walk = {index, stream, CopyDirectory(GetIndexCache(index)->directory)};
  for (uint32 page = 0; PageExists(&walk, page); page++) {
    CHECK_FOR_INTERRUPTS();
    Buffer buffer;
    const uint32 count = CopyHeads(index, *walk.view, stream, page, nullptr, heads, &buffer);
    ReleaseBuffer(buffer);
    for (uint32 slot = 0; slot < count; slot++)
      visit(state, static_cast<uint64>(page) * kHeadsPerPage + slot, heads[slot]);
    if (count < kHeadsPerPage) break;
  }
  pfree(walk.view);
  pfree(heads);
}

}  // namespace tandem::storage
