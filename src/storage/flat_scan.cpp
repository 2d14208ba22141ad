// Exact scans. A pass reads row heads and vectors in row order and keeps the nearest rows beyond the last one
// returned, at first about a thousand; only a caller that wants more pays for another pass, each over a larger
// batch, up to work_mem. The head is read again when a row is returned: it is the authority on whether the row
// is still there and under which TID.

#include "pg/compat.hpp"

#include "storage/flat_relation.hpp"

extern "C" {
#include "access/xlog.h"
}

namespace tandem::storage {

namespace {

// Processor time of a scan against no prefetch, all pages in shared_buffers, 60,000 x 784 and 300,000 x 128: 0.81 and
// 0.87 where the buffers lie in page order, 0.52 and 0.56 in descending order, 0.69 and 0.62 in random order. Into
// the first level it is slower than none; 1, 3 and 4 pages ahead are a little slower than 2.
constexpr uint32 kPrefetchDistance = 2;

enum class Phase : unsigned char {
  kOrdered,  ///< rows with a vector, by distance
  kHeads,    ///< rows with a vector, in row order: the query is NULL
  kNulls,    ///< rows without a vector
  kDone,
};

/// Walks the vector stream forwards. Bytes of a row that was counted never change, so a pin is enough: no
/// content lock is held (in recovery one is taken for a moment, see PinVectorPage).
struct VectorReader {
  Buffer buffer;  ///< holds `page`; InvalidBuffer if none
  uint32 page;
  const char* payload;
  const char* ahead;  ///< payload of the page kPrefetchDistance later, as a hint; nullptr if not known
  float* scratch;     ///< one row, for rows that cross a page boundary
};

/// A private copy of one head page's rows.
struct HeadPage {
  RowHead* heads;  ///< room for kHeadsPerPage
  uint32 count;
};

}  // namespace

struct FlatScan {
  Relation index;
  MemoryContext context;
  Snapshot snapshot;
  DirectoryView* view;
  vec::QueryDistance distance;
  float* query;
  uint64 rows;  ///< bound: row ids below it belong to this scan
  uint64 null_rows;
  Phase phase;

  policy::Candidate* batch;
  std::size_t batch_room;  ///< candidates that `batch` has memory for
  std::size_t keep;        ///< the current pass keeps so many
  std::size_t batch_size;
  std::size_t batch_next;
  bool more;               ///< the pass threw candidates away
  bool resumed;            ///< `last` is set
  policy::Candidate last;  ///< largest candidate of the previous batch

  HeadPage heads;
  uint64 next_row;  ///< kHeads, kNulls
  VectorReader vectors;
};

// ---- Reading pages ----

/// Pins a vector page and checks that it is the one asked for.
static Buffer PinVectorPage(const FlatScan* scan, uint32 page, BufferAccessStrategy strategy) {
  const Relation index = scan->index;
  const BlockNumber block = scan->view->BlockOf(kVectorStream, page);
  Buffer* recent = RecentVectorBuffer(index, page);
  const Buffer buffer = ReadPage(index, block, recent != nullptr ? *recent : InvalidBuffer, strategy);
  recent = RecentVectorBuffer(index, page);
  if (recent != nullptr) *recent = buffer;
  // Recovery makes room for a logged page image by zeroing a buffer that others can pin already, under its content
  // lock: on a standby a pin alone may see the zeros.
  if (RecoveryInProgress()) {
    LockBuffer(buffer, BUFFER_LOCK_SHARE);
    LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
  }
  CheckPage(index, block, BufferGetPage(buffer), PageKind::kVectors, page, scan->view->incarnation);
  return buffer;
}

static void ReleaseVectors(VectorReader* reader) {
  if (BufferIsValid(reader->buffer)) ReleaseBuffer(reader->buffer);
  reader->buffer = InvalidBuffer;
}

/// Makes `page` current.
static void TurnTo(FlatScan* scan, uint32 page, BufferAccessStrategy strategy) {
  VectorReader* reader = &scan->vectors;
  CHECK_FOR_INTERRUPTS();
  ReleaseVectors(reader);
  reader->buffer = PinVectorPage(scan, page, strategy);
  reader->page = page;
  reader->payload = Payload(BufferGetPage(reader->buffer));
  const Buffer* ahead = RecentVectorBuffer(scan->index, page + kPrefetchDistance);
  reader->ahead = nullptr;
  if (ahead != nullptr && *ahead > 0) {
    pg::PrefetchBufferDescriptor(*ahead);
    reader->ahead = Payload(BufferGetPage(*ahead));
  }
}

/// Asks for that part of a later page which lies where [offset, offset + bytes) lies in the current one, into the
/// second-level cache. The buffer may hold another page by now: then the hint was for nothing.
__attribute__((always_inline)) static inline void PrefetchAhead(const VectorReader& reader, uint32 offset,
                                                                uint32 bytes) {
  if (reader.ahead == nullptr) return;
  const char* start = reader.ahead + offset;
  const uint32 length = Min(bytes, kPayloadBytes - offset);
  for (uint32 line = 0; line < length; line += 64) __builtin_prefetch(start + line, 0, 2);
}

/// The vector of `row`; valid until the next call. Rows must be asked for in ascending order.
static const float* VectorOf(FlatScan* scan, uint64 row, BufferAccessStrategy strategy) {
  VectorReader* reader = &scan->vectors;
  const uint32 row_bytes = scan->view->row_bytes;
  const uint64 first = row * row_bytes;
  const auto page = static_cast<uint32>(first / kPayloadBytes);
  const auto offset = static_cast<uint32>(first % kPayloadBytes);
  if (!BufferIsValid(reader->buffer) || page != reader->page) TurnTo(scan, page, strategy);
  PrefetchAhead(*reader, offset, row_bytes);
  if (likely(offset + row_bytes <= kPayloadBytes))
    return reinterpret_cast<const float*>(reader->payload + offset);
  auto* copy = reinterpret_cast<char*>(reader->scratch);
  uint32 copied = kPayloadBytes - offset;
  // memmove, not memcpy: gcc expands the latter into "rep movs", whose start-up costs more than the copy.
  std::memmove(copy, reader->payload + offset, copied);
  while (copied < row_bytes) {
    TurnTo(scan, reader->page + 1, strategy);
    const uint32 part = Min(row_bytes - copied, kPayloadBytes);
    PrefetchAhead(*reader, 0, part);
    std::memmove(copy + copied, reader->payload, part);
    copied += part;
  }
  return reader->scratch;
}

/// Copies the heads of page `page`, at most `bound` of them.
static void ReadHeads(FlatScan* scan, Stream stream, uint32 page, uint64 bound,
                      BufferAccessStrategy strategy) {
  CHECK_FOR_INTERRUPTS();
  HeadPage* out = &scan->heads;
  const BlockNumber block = scan->view->BlockOf(stream, page);
  const Buffer buffer = ReadPage(scan->index, block, InvalidBuffer, strategy);
  LockBuffer(buffer, BUFFER_LOCK_SHARE);
  const Page head_page = BufferGetPage(buffer);
  CheckPage(scan->index, block, head_page, KindOfStream(stream), page, scan->view->incarnation);
  pg::CheckSnapshotAge(scan->snapshot, scan->index, head_page);
  out->count = static_cast<uint32>(Min(static_cast<uint64>(HeadCount(head_page)), bound));
  std::memcpy(out->heads, Heads(head_page), out->count * sizeof(RowHead));
  UnlockReleaseBuffer(buffer);
}

static RowHead ReadHead(const FlatScan* scan, base::RowId row) {
  const auto page = static_cast<uint32>(base::ToIndex(row) / kHeadsPerPage);
  const auto slot = static_cast<uint32>(base::ToIndex(row) % kHeadsPerPage);
  const BlockNumber block = scan->view->BlockOf(kHeadStream, page);
  const Buffer buffer = ReadPage(scan->index, block);
  LockBuffer(buffer, BUFFER_LOCK_SHARE);
  const Page head_page = BufferGetPage(buffer);
  CheckPage(scan->index, block, head_page, PageKind::kHeads, page, scan->view->incarnation);
  pg::CheckSnapshotAge(scan->snapshot, scan->index, head_page);
  const RowHead head = Heads(head_page)[slot];
  UnlockReleaseBuffer(buffer);
  return head;
}

// ---- One pass ----

/// Pages that the vectors of `rows` rows take.
static uint32 VectorPagesOf(const DirectoryView& directory, uint64 rows) {
  return static_cast<uint32>((rows * directory.row_bytes + kPayloadBytes - 1) / kPayloadBytes);
}

/// Offers every live row of head page `page` that comes after the last one returned.
static void ScanHeadPage(FlatScan* scan, uint32 page, policy::TopCandidates* top,
                         BufferAccessStrategy strategy) {
  const uint64 first_row = static_cast<uint64>(page) * kHeadsPerPage;
  ReadHeads(scan, kHeadStream, page, scan->rows - first_row, strategy);
  for (uint32 slot = 0; slot < scan->heads.count; slot++) {
    if ((scan->heads.heads[slot].flags & kTombstone) != 0) continue;
    const uint64 row = first_row + slot;
    const double key = scan->distance.Key(VectorOf(scan, row, strategy));
    const policy::Candidate candidate = {policy::ToOrderedKey(key), base::RowId{row}};
    if (scan->resumed && !(scan->last < candidate)) continue;
    top->Offer(candidate);
  }
}

static void RunPass(FlatScan* scan) {
  const uint32 vector_pages = VectorPagesOf(*scan->view, scan->rows);
  // A scan of more than a quarter of shared_buffers uses a ring, as sequential scans do.
  BufferAccessStrategy strategy = nullptr;
  if (vector_pages > static_cast<uint32>(NBuffers) / 4) strategy = GetAccessStrategy(BAS_BULKREAD);

  ReserveRecentBuffers(scan->index, vector_pages);

  policy::TopCandidates top(scan->batch, scan->keep);
  const auto head_pages = static_cast<uint32>((scan->rows + kHeadsPerPage - 1) / kHeadsPerPage);
  for (uint32 page = 0; page < head_pages; page++) ScanHeadPage(scan, page, &top, strategy);
  ReleaseVectors(&scan->vectors);
  if (strategy != nullptr) FreeAccessStrategy(strategy);

  scan->batch_size = top.Finish();
  scan->batch_next = 0;
  scan->more = top.overflowed();
}

std::size_t LargestBatch() {
  return static_cast<std::size_t>(work_mem) * 1024 / (2 * sizeof(policy::Candidate));
}

/// Memory for a batch that keeps `keep` rows; a batch is as large as work_mem at most.
static void ReserveBatch(FlatScan* scan, std::size_t keep) {
  scan->keep = Min(keep, LargestBatch());
  if (scan->batch_room >= 2 * scan->keep) return;
  if (scan->batch != nullptr) pfree(scan->batch);
  scan->batch = nullptr;
  scan->batch_room = 2 * scan->keep;
  scan->batch = static_cast<policy::Candidate*>(
      MemoryContextAllocHuge(scan->context, scan->batch_room * sizeof(policy::Candidate)));
}

// ---- The scan ----

/// The backend's directory, read again if it does not reach the vectors of `rows` rows.
static const DirectoryView& DirectoryWith(Relation index, uint64 rows) {
  const IndexCache* cache = GetIndexCache(index);
  if (cache->directory.PagesKnown(kVectorStream) < VectorPagesOf(cache->directory, rows))
    cache = ReloadIndexCache(index);
  return cache->directory;
}

FlatScan* BeginFlatScan(Relation index) {
  auto* scan = static_cast<FlatScan*>(palloc0(sizeof(FlatScan)));
  scan->index = index;
  scan->context = CurrentMemoryContext;
  scan->heads.heads = static_cast<RowHead*>(palloc(kHeadsPerPage * sizeof(RowHead)));
  scan->phase = Phase::kDone;
  return scan;
}

void StartFlatScan(FlatScan* scan, Snapshot snapshot, const float* query) {
  scan->snapshot = snapshot;
  const MemoryContext old_context = MemoryContextSwitchTo(scan->context);
  // The bound first: extents that the view lacks can only hold rows appended later.
  scan->rows = CountRows(scan->index, kHeadStream);
  scan->null_rows = CountRows(scan->index, kNullHeadStream);
  if (scan->view != nullptr) pfree(scan->view);
  scan->view = CopyDirectory(DirectoryWith(scan->index, scan->rows));

  scan->phase = query != nullptr ? Phase::kOrdered : Phase::kHeads;
  scan->next_row = 0;
  scan->heads.count = 0;
  if (query != nullptr) {
    if (scan->query == nullptr) {
      // Stored vectors lie anywhere; the query at least should not straddle cache lines in every load.
      scan->query = reinterpret_cast<float*>(
          TYPEALIGN(PG_CACHE_LINE_SIZE, palloc(scan->view->row_bytes + PG_CACHE_LINE_SIZE)));
      scan->vectors.scratch = static_cast<float*>(palloc(scan->view->row_bytes));
    }
    std::memcpy(scan->query, query, scan->view->row_bytes);
    scan->distance = vec::QueryDistance(scan->view->metric, scan->query, scan->view->dimensions);
    scan->resumed = false;
    scan->batch_size = scan->batch_next = 0;
    scan->more = true;
    ReserveBatch(scan, kFirstBatch);
  }
  MemoryContextSwitchTo(old_context);
}

static bool NextOrdered(FlatScan* scan, ScanRow* row) {
  for (;;) {
    if (scan->batch_next == scan->batch_size) {
      if (!scan->more || scan->rows == 0) return false;
      if (scan->resumed) ReserveBatch(scan, scan->keep * kBatchGrowth);
      RunPass(scan);
      if (scan->batch_size == 0) return false;
      scan->last = scan->batch[scan->batch_size - 1];
      scan->resumed = true;
    }
    const policy::Candidate candidate = scan->batch[scan->batch_next++];
    CHECK_FOR_INTERRUPTS();
    const RowHead head = ReadHead(scan, candidate.row);
    if ((head.flags & kTombstone) != 0) continue;
    row->tid = head.tid;
    row->distance = scan->distance.Distance(policy::FromOrderedKey(candidate.key));
    row->is_null = false;
    return true;
  }
}

/// Rows of a heads stream one after the other.
static bool NextInRowOrder(FlatScan* scan, Stream stream, uint64 rows, ScanRow* row) {
  while (scan->next_row < rows) {
    const auto page = static_cast<uint32>(scan->next_row / kHeadsPerPage);
    const auto slot = static_cast<uint32>(scan->next_row % kHeadsPerPage);
    if (slot == 0) ReadHeads(scan, stream, page, rows - scan->next_row, nullptr);
    scan->next_row++;
    const RowHead& head = scan->heads.heads[slot];
    if ((head.flags & kTombstone) != 0) continue;
    row->tid = head.tid;
    row->distance = 0;
    row->is_null = true;
    return true;
  }
  return false;
}

bool NextFlatRow(FlatScan* scan, ScanRow* row) {
  switch (scan->phase) {
    case Phase::kOrdered:
      if (NextOrdered(scan, row)) return true;
      scan->phase = Phase::kNulls;
      scan->next_row = 0;
      return NextFlatRow(scan, row);
    case Phase::kHeads:
      if (NextInRowOrder(scan, kHeadStream, scan->rows, row)) return true;
      scan->phase = Phase::kNulls;
      scan->next_row = 0;
      return NextFlatRow(scan, row);
    case Phase::kNulls:
      if (NextInRowOrder(scan, kNullHeadStream, scan->null_rows, row)) return true;
      scan->phase = Phase::kDone;
      return false;
    case Phase::kDone:
      return false;
  }
  return false;
}

void EndFlatScan(FlatScan* scan) {
  ReleaseVectors(&scan->vectors);
}

}  // namespace tandem::storage
