// Exact scans. A pass reads row heads and vectors in row order and keeps the nearest rows beyond the last one
// returned, at first about a thousand; only a caller that wants more pays for another pass, each over a larger
// batch, up to work_mem. The head is read again when a row is returned: it is the authority on whether the row
// is still there and under which TID.

#include "storage/flat_relation.hpp"
#include "storage/row_access.hpp"

extern "C" {
#include "storage/bufmgr.h"
}

namespace tandem::storage {

namespace {

enum class Phase : unsigned char {
  kOrdered,  ///< rows with a vector, by distance
  kHeads,    ///< rows with a vector, in row order: the query is NULL
  kNulls,    ///< rows without a vector
  kDone,
};

/// A private copy of one head page's rows.
struct HeadPage {
  RowHead* heads;  ///< room for kHeadsPerPage; nullptr until it is needed
  uint32 count;
};

}  // namespace

struct FlatScan {
  Relation index;
  MemoryContext context;
  Snapshot snapshot;
  DirectoryView* view;
  Manifest* manifest;  ///< for its packed ranges
  vec::RowDistance distance;
  vec::ForeignOperator foreign;
  float* query;
  void* row_scratch;  ///< for `vectors`
  uint64 rows;        ///< bound: row ids below it belong to this scan
  uint64 null_rows;   ///< kNulls: as `rows`, for rows without a vector
  Phase phase;

  base::Span<const RowRange> ranges;  ///< the ordered part is of these
  RowRange whole;                     ///< what `ranges` is if it was not asked for others
  base::Span<const uint64> excluded;  ///< it leaves these row ids out, ascending
  std::size_t next_excluded;          ///< the first that the pass has not come to
  policy::Candidate* batch;
  std::size_t batch_room;  ///< candidates that `batch` has memory for
  std::size_t keep;        ///< the next pass keeps so many
  std::size_t batch_size;
  std::size_t batch_next;
  bool more;               ///< there may be rows beyond the batch
  bool resumed;            ///< `last` is set
  bool counts_passed;      ///< the next pass is the first of a range that is resumed
  policy::Candidate last;  ///< the next pass is for candidates beyond this one
  uint64 distances;        ///< computed since StartFlatScan()
  uint64 passed_over;      ///< live rows that did not sort after FlatRange::after

  HeadPage heads;
  uint64 next_row;  ///< kHeads, kNulls
  RowReader vectors;
};

// ---- One pass ----

/// Copies the heads of page `page`, at most `bound` of them.
static void ReadHeads(FlatScan* scan, Stream stream, uint32 page, uint64 bound,
                      BufferAccessStrategy strategy) {
  if (scan->heads.heads == nullptr)
    scan->heads.heads =
        static_cast<RowHead*>(MemoryContextAlloc(scan->context, kHeadsPerPage * sizeof(RowHead)));
  scan->heads.count = ReadHeadPage(scan->index, *scan->view, stream, page, bound, strategy, scan->heads.heads,
                                   scan->snapshot);
}

/// True if `row` was excluded. Rows are asked about in ascending order.
static bool IsExcluded(FlatScan* scan, uint64 row) {
  while (scan->next_excluded < scan->excluded.size() && scan->excluded[scan->next_excluded] < row)
    scan->next_excluded++;
  return scan->next_excluded < scan->excluded.size() && scan->excluded[scan->next_excluded] == row;
}

/// Offers every live row of `range` that comes after the last one returned. The range lies on one head page, which was read.
static void ScanRange(FlatScan* scan, const RowRange& range, policy::TopCandidates* top) {
  for (uint64 row = range.first; row < range.end; row++) {
    if ((scan->heads.heads[row % kHeadsPerPage].flags & kTombstone) != 0) continue;
    if (!scan->excluded.empty() && IsExcluded(scan, row)) continue;
    const void* vector = ReadRow(&scan->vectors, row);
    if (unlikely(vector == nullptr)) continue;
    const double key = scan->distance.Key(vector);
    scan->distances++;
    const policy::Candidate candidate = {policy::ToOrderedKey(key), base::RowId{row}};
    if (scan->resumed && !(scan->last < candidate)) {
      scan->passed_over += scan->counts_passed ? 1 : 0;
      continue;
    }
    top->Offer(candidate);
  }
}

static void ScanRanges(FlatScan* scan, policy::TopCandidates* top) {
  uint32 read_page = ~uint32{0};
  for (const RowRange& range : scan->ranges) {
    for (uint64 row = range.first; row < range.end;) {
      const auto page = static_cast<uint32>(row / kHeadsPerPage);
      const uint64 page_row = static_cast<uint64>(page) * kHeadsPerPage;
      if (page != read_page)
        ReadHeads(scan, kHeadStream, page, scan->rows - page_row, scan->vectors.strategy);
      read_page = page;
      const uint64 end = Min(range.end, page_row + kHeadsPerPage);
      ScanRange(scan, {row, Min(end, page_row + scan->heads.count)}, top);
      row = end;
    }
  }
}

std::size_t LargestBatch() {
  return static_cast<std::size_t>(work_mem) * 1024 / (2 * sizeof(policy::Candidate));
}

/// Memory for a batch that keeps scan->keep rows.
static void ReserveBatch(FlatScan* scan) {
  if (scan->batch_room >= 2 * scan->keep) return;
  if (scan->batch != nullptr) pfree(scan->batch);
  scan->batch = nullptr;
  scan->batch_room = 2 * scan->keep;
  scan->batch = static_cast<policy::Candidate*>(
      MemoryContextAllocHuge(scan->context, scan->batch_room * sizeof(policy::Candidate)));
}

/// Any manifest that is read under the scan's snapshot serves: many a scan of a tail comes to no pass.
static void OpenVectors(FlatScan* scan, BufferAccessStrategy strategy) {
  const MemoryContext old_context = MemoryContextSwitchTo(scan->context);
  if (scan->manifest != nullptr) pfree(scan->manifest);
  scan->manifest = nullptr;
  scan->manifest = ReadManifest(scan->index);
  OpenRows(&scan->vectors, scan->index, scan->view, scan->manifest, scan->row_scratch, strategy);
  MemoryContextSwitchTo(old_context);
}

static void RunPass(FlatScan* scan) {
  const uint32 vector_pages = VectorPagesOf(*scan->view, scan->rows);
  uint64 rows_to_read = 0;
  for (const RowRange& range : scan->ranges) rows_to_read += range.end - range.first;
  const uint64 pages_to_read = rows_to_read * AverageRowBytes(*scan->view, scan->rows) / kPayloadBytes;
  ReserveBatch(scan);
  ReserveRecentBuffers(scan->index, vector_pages);
  // A scan of more than a quarter of shared_buffers uses a ring, as sequential scans do.
  BufferAccessStrategy strategy = nullptr;
  if (pages_to_read > static_cast<uint64>(NBuffers) / 4) strategy = GetAccessStrategy(BAS_BULKREAD);
  OpenVectors(scan, strategy);
  // A few ranges of many rows would be read ahead of for nothing.
  if (strategy != nullptr && scan->ranges.size() == 1)
    SweepRows(&scan->vectors, scan->ranges[0].first, scan->ranges[0].end);

  policy::TopCandidates top(scan->batch, scan->keep);
  scan->next_excluded = 0;
  ScanRanges(scan, &top);
  CloseRows(&scan->vectors);
  EndSweep(&scan->vectors.sweep);
  if (strategy != nullptr) FreeAccessStrategy(strategy);

  scan->batch_size = top.Finish();
  scan->batch_next = 0;
  scan->more = top.overflowed();
  // A batch is as large as work_mem at most.
  scan->keep = Min(scan->keep * kBatchGrowth, LargestBatch());
}

// ---- The scan ----

FlatScan* BeginFlatScan(Relation index) {
  auto* scan = static_cast<FlatScan*>(palloc0(sizeof(FlatScan)));
  scan->index = index;
  scan->context = CurrentMemoryContext;
  scan->phase = Phase::kDone;
  return scan;
}

void SetFlatOperator(FlatScan* scan, const vec::ForeignOperator& foreign) {
  scan->foreign = foreign;
}

void StartFlatScan(FlatScan* scan, Snapshot snapshot, const float* query) {
  scan->snapshot = snapshot;
  const MemoryContext old_context = MemoryContextSwitchTo(scan->context);
  // The bound first: extents that the view lacks can only hold rows appended later.
  scan->rows = CountRows(scan->index, kHeadStream);
  if (scan->view != nullptr) pfree(scan->view);
  scan->view = CopyDirectory(DirectoryWith(scan->index, scan->rows));

  scan->phase = query != nullptr ? Phase::kOrdered : Phase::kHeads;
  scan->next_row = 0;
  scan->heads.count = 0;
  scan->distances = 0;
  scan->passed_over = 0;
  if (query != nullptr) {
    const DirectoryView& view = *scan->view;
    const std::size_t query_bytes = view.dimensions * sizeof(float);
    const std::size_t room_at = MAXALIGN(query_bytes);
    if (scan->query == nullptr) {
      // Stored vectors lie anywhere; the query at least should not straddle cache lines in every load.
      const std::size_t room_bytes = vec::RowDistance::RoomBytes(view.element, view.column_dimensions);
      scan->query = reinterpret_cast<float*>(
          TYPEALIGN(PG_CACHE_LINE_SIZE, palloc(room_at + room_bytes + PG_CACHE_LINE_SIZE)));
      scan->row_scratch = NewRowScratch(view);
    }
    std::memcpy(scan->query, query, query_bytes);
    void* room = reinterpret_cast<char*>(scan->query) + room_at;
    if (vec::RowDistance::ComparesRows(view.element)) {
      const float* row = query + view.dimensions;
      std::memcpy(room, row, vec::RowBytes(view.element, view.column_dimensions, row));
    }
    scan->distance =
        vec::RowDistance(view.metric, view.element, scan->query, view.column_dimensions, room, scan->foreign);
    ScanFlatRange(scan, FlatRange{});
  }
  MemoryContextSwitchTo(old_context);
}

void ScanFlatRange(FlatScan* scan, const FlatRange& range) {
  scan->phase = Phase::kOrdered;
  scan->whole = {Min(range.first_row, scan->rows), scan->rows};
  scan->ranges = range.is_listed ? range.ranges : base::Span<const RowRange>(&scan->whole, 1);
  scan->excluded = range.excluded;
  scan->resumed = range.resumed;
  scan->last = range.after;
  scan->counts_passed = range.resumed;
  scan->keep = Min(range.first_batch, LargestBatch());
  scan->batch_size = scan->batch_next = 0;
  scan->more = range.is_listed ? !range.ranges.empty() : scan->whole.first < scan->whole.end;
}

FlatScanView ViewOf(const FlatScan* scan) {
  return {scan->view, scan->rows, &scan->distance, scan->distances, scan->passed_over};
}

bool PeekFlatCandidate(FlatScan* scan, policy::Candidate* candidate) {
  if (scan->batch_next == scan->batch_size) {
    if (!scan->more) return false;
    RunPass(scan);
    scan->counts_passed = false;
    if (scan->batch_size == 0) return false;
    scan->last = scan->batch[scan->batch_size - 1];
    scan->resumed = true;
  }
  *candidate = scan->batch[scan->batch_next];
  return true;
}

void TakeFlatCandidate(FlatScan* scan) {
  scan->batch_next++;
}

bool ReadFlatRow(const FlatScan* scan, const policy::Candidate& candidate, ScanRow* row) {
  CHECK_FOR_INTERRUPTS();
  const RowHead head =
      ReadRowHead(scan->index, *scan->view, kHeadStream, base::ToIndex(candidate.row), scan->snapshot);
  if ((head.flags & kTombstone) != 0) return false;
  row->tid = head.tid;
  row->distance = scan->distance.Distance(policy::FromOrderedKey(candidate.key));
  row->is_null = false;
  return true;
}

static bool NextOrdered(FlatScan* scan, ScanRow* row) {
  policy::Candidate candidate;
  while (PeekFlatCandidate(scan, &candidate)) {
    TakeFlatCandidate(scan);
    if (ReadFlatRow(scan, candidate, row)) return true;
  }
  return false;
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

/// Few scans come to the rows without a vector, so these are counted only then. Rows that came since the scan started are
/// for its snapshot to refuse.
static void StartNulls(FlatScan* scan) {
  scan->phase = Phase::kNulls;
  scan->next_row = 0;
  scan->null_rows = CountRows(scan->index, kNullHeadStream);
  const DirectoryView& directory = GetIndexCache(scan->index)->directory;
  if (scan->view->PagesKnown(kNullHeadStream) < directory.PagesKnown(kNullHeadStream)) {
    const MemoryContext old_context = MemoryContextSwitchTo(scan->context);
    pfree(scan->view);
    scan->vectors.view = scan->view = CopyDirectory(directory);
    MemoryContextSwitchTo(old_context);
  }
}

bool NextFlatRow(FlatScan* scan, ScanRow* row) {
  switch (scan->phase) {
    case Phase::kOrdered:
      if (NextOrdered(scan, row)) return true;
      StartNulls(scan);
      return NextFlatRow(scan, row);
    case Phase::kHeads:
      if (NextInRowOrder(scan, kHeadStream, scan->rows, row)) return true;
      StartNulls(scan);
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
  CloseRows(&scan->vectors);
}

}  // namespace tandem::storage
