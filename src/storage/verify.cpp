#include "pg/compat.hpp"

#include "storage/verify.hpp"

#include <algorithm>

#include "pg/indexed_value.hpp"
#include "pg/reserve.hpp"
#include "storage/flat_relation.hpp"
#include "storage/row_access.hpp"
#include "storage/verify_report.hpp"

extern "C" {
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/tableam.h"
#include "catalog/index.h"
#include "nodes/execnodes.h"
#include "utils/snapmgr.h"
}

namespace tandem::storage {

bool CopyBlock(Relation index, BlockNumber block, BlockNumber file_blocks, char* image) {
  if (block >= file_blocks) return false;
  const Buffer buffer = ReadPage(index, block);
  LockBuffer(buffer, BUFFER_LOCK_SHARE);
  std::memcpy(image, BufferGetPage(buffer), BLCKSZ);
  UnlockReleaseBuffer(buffer);
  return true;
}

bool CheckFrame(const Reporter& report, BlockNumber block, char* image, PageKind kind, uint32 ordinal,
                uint64 incarnation) {
  const auto* header = reinterpret_cast<PageHeader>(image);
  const PageTrailer* trailer = Trailer(image);
  if (header->pd_special != BLCKSZ - sizeof(PageTrailer) || header->pd_upper != header->pd_special ||
      header->pd_lower < kPayloadOffset || header->pd_lower > header->pd_upper) {
    report.Say(block, "page header is damaged: lower %u, upper %u, special %u", header->pd_lower,
               header->pd_upper, header->pd_special);
    return false;
  }
  if (trailer->page_id != kPageId) {
    report.Say(block, "page id is %04X, not %04X", trailer->page_id, kPageId);
    return false;
  }
  if (trailer->incarnation != incarnation) {
    report.Say(block, "page belongs to an earlier build of the index");
    return false;
  }
  if (trailer->kind != static_cast<uint16>(kind) || trailer->ordinal != ordinal) {
    report.Say(block, "page is number %u of kind %u, the directory says number %u of kind %u",
               trailer->ordinal, trailer->kind, ordinal, static_cast<unsigned>(kind));
    return false;
  }
  for (uint32 at = header->pd_lower; at < header->pd_upper; at++) {
    if (image[at] == 0) continue;
    report.Say(block, "byte %u between lower %u and upper %u is not zero", at, header->pd_lower,
               header->pd_upper);
    break;
  }
  return true;
}

namespace {

/// Who owns each block below the high-water mark.
struct BlockMap {
  BlockOwner* owner;
  BlockNumber blocks;
  Reporter report;
};

void ClaimBlocks(void* state, BlockOwner owner, BlockNumber first, uint32 count) {
  const auto* map = static_cast<const BlockMap*>(state);
  for (uint32 i = 0; i < count; i++) {
    const BlockNumber block = first + i;
    if (block >= map->blocks || block < first) {
      map->report.Say(block, "%s lies outside of the blocks handed out (%u)", NameOfOwner(owner),
                      map->blocks);
      return;
    }
    if (map->owner[block] != BlockOwner::kNobody) {
      map->report.Say(block, "%s and %s share a block", NameOfOwner(owner), NameOfOwner(map->owner[block]));
      return;
    }
    map->owner[block] = owner;
  }
}

/// Every block belongs to one owner at most. Blocks of nobody are free, or being written by a build.
void CheckClaims(const IndexLayout& layout, const Reporter& report) {
  const BlockNumber blocks = layout.meta.high_water;
  BlockMap map = {static_cast<BlockOwner*>(MemoryContextAllocExtended(
                      CurrentMemoryContext, blocks * sizeof(BlockOwner), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO)),
                  blocks, report};
  VisitClaims(layout, ClaimBlocks, &map);
  pfree(map.owner);
}

/// True if `block` still is in an extent that is held for streams.
bool IsReserved(Relation index, BlockNumber block) {
  auto* meta = static_cast<MetaPage*>(palloc(sizeof(MetaPage)));
  ReadMeta(index, meta);
  bool found = false;
  for (const BlankRun& run : meta->blank_run)
    found = found || (block >= run.first && block - run.first < run.extents * kExtentPages);
  pfree(meta);
  return found;
}

/// Free extents held for streams are blank.
void CheckReserved(Relation index, const MetaPage& meta, char* image, const Reporter& report) {
  const BlockNumber file_blocks = RelationGetNumberOfBlocks(index);
  for (const BlankRun& run : meta.blank_run) {
    for (uint32 i = 0; i < run.extents * kExtentPages; i++) {
      CHECK_FOR_INTERRUPTS();
      const BlockNumber block = run.first + i;
      if (!CopyBlock(index, block, file_blocks, image)) continue;
      if (IsBlank(image) && (PageIsNew(image) || Trailer(image)->incarnation == meta.incarnation)) continue;
      // A stream may have taken the extent since the meta page was copied.
      if (IsReserved(index, block)) report.Say(block, "page of a free extent is not blank");
    }
  }
}

/// One heads stream: every page before the last is full, TIDs make sense.
uint64 CheckHeadStream(Relation index, Relation heap, const DirectoryView& view, Stream stream, uint64 rows,
                       char* image, const Reporter& report) {
  const BlockNumber heap_blocks = RelationGetNumberOfBlocks(heap);
  const BlockNumber file_blocks = RelationGetNumberOfBlocks(index);
  uint64 dead = 0;
  for (uint64 first = 0; first < rows; first += kHeadsPerPage) {
    CHECK_FOR_INTERRUPTS();
    const auto page = static_cast<uint32>(first / kHeadsPerPage);
    const BlockNumber block = view.BlockOf(stream, page);
    if (!CopyBlock(index, block, file_blocks, image)) {
      report.Say(block, "page %u of the row heads is missing from the file", page);
      continue;
    }
    if (!CheckFrame(report, block, image, KindOfStream(stream), page, view.incarnation)) continue;
    const auto expected = static_cast<uint32>(Min(rows - first, static_cast<uint64>(kHeadsPerPage)));
    if (UsedPayload(image) % sizeof(RowHead) != 0 || HeadCount(image) < expected) {
      report.Say(block, "page holds %u bytes of row heads, %u rows were expected", UsedPayload(image),
                 expected);
      continue;
    }
    for (uint32 slot = 0; slot < expected; slot++) {
      const RowHead& head = Heads(image)[slot];
      const auto row = static_cast<unsigned long long>(first + slot);
      if ((head.flags & ~kKnownHeadFlags) != 0)
        report.Say(block, "row %llu has unknown flags %04X", row, head.flags);
      if ((head.flags & kTombstone) != 0) {
        dead++;
        continue;
      }
      if (!ItemPointerIsValid(&head.tid) ||
          ItemPointerGetOffsetNumberNoCheck(&head.tid) > MaxHeapTuplesPerPage)
        report.Say(block, "row %llu has an impossible heap TID", row);
      else if (ItemPointerGetBlockNumber(&head.tid) >= heap_blocks)
        report.Say(block, "row %llu points to heap block %u, the heap has %u", row,
                   ItemPointerGetBlockNumber(&head.tid), heap_blocks);
    }
  }
  return dead;
}

/// Extents that packed ranges replace are nobody's any more. Where nothing keeps the others either, on a standby, `may_tell` says
/// whether what was found means anything.
template <typename MayTell>
void CheckVectorStream(Relation index, const IndexLayout& layout, uint64 rows, char* image,
                       const Reporter& report, MayTell may_tell) {
  const DirectoryView& view = *layout.directory;
  const BlockNumber file_blocks = RelationGetNumberOfBlocks(index);
  const uint64 end = rows * view.row_bytes;
  for (uint64 first = 0; first < end; first += kPayloadBytes) {
    CHECK_FOR_INTERRUPTS();
    const auto page = static_cast<uint32>(first / kPayloadBytes);
    if (layout.manifest != nullptr && IsPackedExtent(*layout.manifest, PlaceOfPage(page).extent)) continue;
    const BlockNumber block = view.BlockOf(kVectorStream, page);
    const bool is_there = block != InvalidBlockNumber && CopyBlock(index, block, file_blocks, image);
    const PageTrailer* trailer = Trailer(image);
    const bool is_another = !is_there || trailer->kind != static_cast<uint16>(PageKind::kVectors) ||
                            trailer->ordinal != page || trailer->incarnation != view.incarnation;
    if (is_another && !may_tell()) return;
    if (block == InvalidBlockNumber) {
      report.Say(block, "page %u of the vectors lies in a hole, and its rows are not packed", page);
      continue;
    }
    if (!is_there) {
      report.Say(block, "page %u of the vectors is missing from the file", page);
      continue;
    }
    if (!CheckFrame(report, block, image, PageKind::kVectors, page, view.incarnation)) continue;
    const auto expected = static_cast<uint32>(Min(end - first, static_cast<uint64>(kPayloadBytes)));
    if (UsedPayload(image) < expected) {
      report.Say(block, "page holds %u bytes of vectors, %u were expected", UsedPayload(image), expected);
      continue;
    }
    if (view.element == vec::Element::kBit || view.IsSparse())
      continue;  // whatever they are; CheckSparseRows()
    const auto element_bytes = static_cast<uint32>(vec::BytesOf(view.element, 1));
    for (uint32 at = 0; at < expected; at += element_bytes) {
      if (vec::AllFinite(view.element, Payload(image) + at, 1)) continue;
      report.Say(block, "row %llu has an element that is not a finite number",
                 static_cast<unsigned long long>((first + at) / view.row_bytes));
      break;
    }
  }
}

// ---- Duplicate TIDs ----

uint64 TidKey(const ItemPointerData& tid) {
  return (static_cast<uint64>(ItemPointerGetBlockNumberNoCheck(&tid)) << 16) |
         ItemPointerGetOffsetNumberNoCheck(&tid);
}

/// A live row's TID and where the row is.
struct SeenTid {
  uint64 key;
  uint64 row;
  Stream stream;
};

/// TIDs of live rows whose heap block falls into one share of the heap.
struct TidShare {
  SeenTid* seen;
  uint64 count;
  uint64 room;
  uint64 share;
  uint64 shares;
  Stream stream;  ///< being visited
};

void CollectTid(void* state, uint64 row, const RowHead& head) {
  auto* share = static_cast<TidShare*>(state);
  if ((head.flags & kTombstone) != 0) return;
  if (ItemPointerGetBlockNumberNoCheck(&head.tid) % share->shares != share->share) return;
  if (share->count < share->room) share->seen[share->count] = {TidKey(head.tid), row, share->stream};
  share->count++;
}

bool IsLive(Relation index, const SeenTid& seen) {
  const DirectoryView& view = GetIndexCache(index)->directory;
  const auto page = static_cast<uint32>(seen.row / kHeadsPerPage);
  const Buffer buffer = ReadPage(index, view.BlockOf(seen.stream, page));
  LockBuffer(buffer, BUFFER_LOCK_SHARE);
  const RowHead head = Heads(BufferGetPage(buffer))[seen.row % kHeadsPerPage];
  UnlockReleaseBuffer(buffer);
  return (head.flags & kTombstone) == 0;
}

/// Reports TIDs that two live rows have. A row seen live may have been marked by VACUUM since, and its TID have
/// gone to another row that was seen as well: VACUUM marks before a TID is free, so a second look tells.
void ReportTwins(Relation index, const SeenTid* seen, uint64 count, const Reporter& report) {
  for (uint64 i = 1; i < count; i++) {
    if (seen[i].key != seen[i - 1].key || !IsLive(index, seen[i]) || !IsLive(index, seen[i - 1])) continue;
    report.Say(InvalidBlockNumber, "heap TID (%llu,%llu) is indexed by more than one live row",
               static_cast<unsigned long long>(seen[i].key >> 16),
               static_cast<unsigned long long>(seen[i].key & 0xFFFF));
  }
}

void CheckTidsUnique(Relation index, uint64 rows, const Reporter& report) {
  if (rows == 0) return;
  const uint64 most =
      Max(static_cast<uint64>(maintenance_work_mem) * 1024 / sizeof(SeenTid), static_cast<uint64>(1024));
  // Twice the even share: blocks are not equally full.
  TidShare share = {};
  share.shares = (2 * rows + most - 1) / most;
  share.room = share.shares == 1 ? rows + rows / 8 + 1024 : most;
  share.seen =
      static_cast<SeenTid*>(MemoryContextAllocHuge(CurrentMemoryContext, share.room * sizeof(SeenTid)));
  for (share.share = 0; share.share < share.shares; share.share++) {
    share.count = 0;
    for (const Stream stream : {kHeadStream, kNullHeadStream}) {
      share.stream = stream;
      VisitHeads(index, stream, CollectTid, &share);
    }
    const uint64 count = Min(share.count, share.room);
    std::sort(share.seen, share.seen + count,
              [](const SeenTid& a, const SeenTid& b) { return a.key < b.key; });
    ReportTwins(index, share.seen, count, report);
  }
  pfree(share.seen);
}

}  // namespace

void VerifyPages(Relation index, Relation heap, ProblemSink sink, void* state) {
  const Reporter report = {sink, state};
  auto* meta = static_cast<MetaPage*>(palloc(sizeof(MetaPage)));
  auto* image = static_cast<char*>(palloc(BLCKSZ));
  // VACUUM's count first: what it counted lies among the rows that are counted after it.
  ReadMeta(index, meta);
  const uint64 counted_dead = meta->dead_rows + meta->dead_null_rows;
  pfree(meta);
  const uint64 rows = CountRows(index, kHeadStream);
  const uint64 null_rows = CountRows(index, kNullHeadStream);
  // The layout after them: it reaches all these rows. What comes later is the next caller's to check.
  const char* problem = nullptr;
  const IndexLayout* layout = ReadLayoutAnyway(index, &problem);
  const DirectoryView& view = *layout->directory;
  VerifyManifest(index, *layout, problem, report);

  CopyBlock(index, 0, RelationGetNumberOfBlocks(index), image);
  CheckFrame(report, 0, image, PageKind::kMeta, 0, view.incarnation);
  CheckClaims(*layout, report);
  CheckReserved(index, layout->meta, image, report);

  uint64 dead = CheckHeadStream(index, heap, view, kHeadStream, rows, image, report);
  dead += CheckHeadStream(index, heap, view, kNullHeadStream, null_rows, image, report);
  if (dead < counted_dead)
    report.Say(0, "VACUUM counted %llu dead rows, %llu are marked",
               static_cast<unsigned long long>(counted_dead), static_cast<unsigned long long>(dead));
  CheckVectorStream(index, *layout, rows, image, report, [index, layout] {
    const bool is_kept = !RecoveryInProgress() && !TransactionStartedDuringRecovery();
    return is_kept || HasManifest(index, layout->meta.root);
  });
  if (view.IsSparse()) VerifySparseRows(index, view, rows, report);
  CheckTidsUnique(index, rows + null_rows, report);
  // Rows may have been appended and sealed between the count and the layout.
  if (layout->manifest != nullptr) {
    const uint64 rows_now = CountRows(index, kHeadStream);
    VerifyPacked(index, *layout, rows_now, report);
    VerifySegments(index, *layout, rows_now, report);
  }
  pfree(image);
}

// ---- Against the heap ----

namespace {

struct IndexedRow {
  uint64 tid;
  uint64 row;  ///< kNullRow for a row without vector
};
constexpr uint64 kNullRow = ~static_cast<uint64>(0);

struct HeapCheck {
  Relation index;
  const DirectoryView* view;
  IndexedRow* rows;
  uint64 count;
  uint64 room;
  bool nulls;
  RowReader vectors;
  Reporter report;
  MemoryContext row_context;
};

void CollectRow(void* state, uint64 row, const RowHead& head) {
  auto* check = static_cast<HeapCheck*>(state);
  if ((head.flags & kTombstone) != 0) return;
  pg::ReserveOneMore(&check->rows, check->count, &check->room);
  check->rows[check->count++] = {TidKey(head.tid), check->nulls ? kNullRow : row};
}

bool IsSameRow(const DirectoryView& view, const void* value, const void* indexed) {
  // The first bytes of a sparse row are its length.
  if (view.IsSparse() && vec::SparseRowBytes(value) != vec::SparseRowBytes(indexed)) return false;
  return std::memcmp(value, indexed, view.IsSparse() ? vec::SparseRowBytes(value) : view.row_bytes) == 0;
}

void CheckHeapRow(Relation /*index*/, ItemPointer tid, Datum* values, bool* isnull, bool /*tuple_is_alive*/,
                  void* state) {
  auto* check = static_cast<HeapCheck*>(state);
  const MemoryContext old_context = MemoryContextSwitchTo(check->row_context);
  const IndexedRow wanted = {TidKey(*tid), 0};
  const auto less = [](const IndexedRow& a, const IndexedRow& b) { return a.tid < b.tid; };
  const auto found = std::equal_range(check->rows, check->rows + check->count, wanted, less);
  const auto block = ItemPointerGetBlockNumber(tid);
  const auto offset = ItemPointerGetOffsetNumber(tid);
  if (found.second - found.first != 1) {
    check->report.Say(InvalidBlockNumber, "heap row (%u,%u) has %d live index rows", block, offset,
                      static_cast<int>(found.second - found.first));
  } else if (isnull[0] != (found.first->row == kNullRow)) {
    check->report.Say(InvalidBlockNumber, "heap row (%u,%u) is %s, the index disagrees", block, offset,
                      isnull[0] ? "NULL" : "not NULL");
  } else if (!isnull[0]) {
    const pg::IndexedValue value =
        pg::DetoastIndexedValue(values[0], check->view->element, check->view->column_dimensions);
    const void* indexed = ReadRow(&check->vectors, found.first->row);
    if (indexed == nullptr)
      check->report.Say(InvalidBlockNumber, "heap row (%u,%u) has a vector, which index row %llu lacks",
                        block, offset, static_cast<unsigned long long>(found.first->row));
    else if (!IsSameRow(*check->view, value.row, indexed))
      check->report.Say(InvalidBlockNumber, "heap row (%u,%u) has another vector than index row %llu", block,
                        offset, static_cast<unsigned long long>(found.first->row));
  }
  MemoryContextSwitchTo(old_context);
  MemoryContextReset(check->row_context);
}

}  // namespace

void VerifyAgainstHeap(Relation index, Relation heap, ProblemSink sink, void* state) {
  // The snapshot first: every row it sees was appended before its inserter ended.
  const Snapshot snapshot = RegisterSnapshot(GetTransactionSnapshot());
  HeapCheck check = {};
  check.index = index;
  check.report = {sink, state};
  check.room = 1024;
  check.rows = static_cast<IndexedRow*>(palloc(check.room * sizeof(IndexedRow)));
  VisitHeads(index, kHeadStream, CollectRow, &check);
  check.nulls = true;
  VisitHeads(index, kNullHeadStream, CollectRow, &check);
  std::sort(check.rows, check.rows + check.count,
            [](const IndexedRow& a, const IndexedRow& b) { return a.tid < b.tid; });
  // A manifest that cannot be read has been told of; without it nobody knows where rows have their vectors.
  const char* problem = nullptr;
  const IndexLayout* layout = ReadLayoutAnyway(index, &problem);
  if (layout->manifest == nullptr) {
    UnregisterSnapshot(snapshot);
    return;
  }
  check.view = layout->directory;
  OpenRows(&check.vectors, index, check.view, layout->manifest, NewRowScratch(*check.view),
           GetAccessStrategy(BAS_BULKREAD));
  check.vectors.read_ahead = false;
  check.row_context =
      AllocSetContextCreate(CurrentMemoryContext, "tandem verify row", ALLOCSET_DEFAULT_SIZES);

  // As CREATE INDEX CONCURRENTLY scans: only rows visible to the snapshot, TIDs of their HOT roots.
  IndexInfo* info = BuildIndexInfo(index);
  info->ii_Concurrent = true;
  info->ii_Unique = false;
  info->ii_ExclusionOps = nullptr;
  const TableScanDesc scan = table_beginscan_strat(heap, snapshot, 0, nullptr, true, true);
  table_index_build_scan(heap, index, info, true, false, CheckHeapRow, &check, scan);
  CloseRows(&check.vectors);
  MemoryContextDelete(check.row_context);
  UnregisterSnapshot(snapshot);
}

}  // namespace tandem::storage
