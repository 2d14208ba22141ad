// Exact scan of a set of rows. Vectors are read in row order, so that rows of one page share its pin, and asked for some rows
// ahead, since they lie anywhere. Dead rows are found out when they are returned, like those of graphs: to look at the heads of all
// of them would cost as much as their distances.

#include "pg/compat.hpp"

#include "am/set_scan.hpp"

#include <algorithm>

namespace tandem::am {

namespace {

// Vectors that are asked for ahead: what a core can have under way.
constexpr std::size_t kAheadBytes = 8192;
constexpr std::size_t kLeastAhead = 2;

}  // namespace

void OpenSetScan(SetScan* scan, Relation index, const storage::FlatScanView& view,
                 const storage::Manifest* manifest, Snapshot snapshot) {
  *scan = SetScan{};
  scan->index = index;
  scan->snapshot = snapshot;
  scan->distance = view.distance;
  scan->context = CurrentMemoryContext;
  scan->vectors_ahead = Max(kAheadBytes / storage::AverageRowBytes(*view.directory, view.rows), kLeastAhead);
  storage::ReserveRecentBuffers(index, storage::VectorPagesOf(*view.directory, view.rows));
  storage::OpenRows(&scan->vectors, index, view.directory, manifest, storage::NewRowScratch(*view.directory),
                    nullptr);
  scan->vectors.read_ahead = false;
}

void StartSetScan(SetScan* scan, const SetRange& range) {
  scan->range = range;
  scan->rows = 0;
  for (const FilterPart* part : range.parts) scan->rows += part->rows.size();
  scan->batch_size = 0;
  scan->more = scan->rows > 0;
  scan->counts_passed = range.resumed;
}

// ---- One pass ----

/// Memory for a batch of `keep` rows, or of all.
static void ReserveBatch(SetScan* scan, std::size_t keep) {
  const auto room = static_cast<std::size_t>(Min(static_cast<uint64>(2 * keep), scan->rows));
  if (scan->batch_room >= room) return;
  if (scan->batch != nullptr) pfree(scan->batch);
  scan->batch = nullptr;
  scan->batch_room = room;
  scan->batch = static_cast<policy::Candidate*>(
      MemoryContextAllocHuge(scan->context, room * sizeof(policy::Candidate)));
}

/// Rows are asked about in ascending order.
static bool IsExcluded(SetScan* scan, uint64 row) {
  const base::Span<const uint64> excluded = scan->range.excluded;
  while (scan->next_excluded < excluded.size() && excluded[scan->next_excluded] < row) scan->next_excluded++;
  return scan->next_excluded < excluded.size() && excluded[scan->next_excluded] == row;
}

static bool IsDead(const SetScan& scan, uint64 row) {
  const storage::RowHead head =
      storage::ReadRowHead(scan.index, *scan.vectors.view, storage::kHeadStream, row, scan.snapshot);
  return (head.flags & storage::kTombstone) != 0;
}

/// Parts come in any order.
static void ScorePart(SetScan* scan, const FilterPart& part, policy::TopCandidates* top) {
  scan->next_excluded = 0;
  base::OrdinalWalk walk(&part.rows);
  base::OrdinalWalk ahead(&part.rows);
  uint32 ordinal;
  for (std::size_t i = 0; i < scan->vectors_ahead && ahead.Next(&ordinal); i++)
    storage::PrefetchRow(scan->vectors, part.first_row + ordinal);
  while (walk.Next(&ordinal)) {
    const uint64 row = part.first_row + ordinal;
    if (ahead.Next(&ordinal)) storage::PrefetchRow(scan->vectors, part.first_row + ordinal);
    if (!scan->range.excluded.empty() && IsExcluded(scan, row)) continue;
    const void* vector = storage::ReadRow(&scan->vectors, row);
    if (unlikely(vector == nullptr)) continue;  // dead to everybody
    const policy::Candidate candidate = {policy::ToOrderedKey(scan->distance->Key(vector)), base::RowId{row}};
    scan->distances++;
    if (scan->range.resumed && !(scan->range.after < candidate)) {
      if (scan->counts_passed && !IsDead(*scan, row)) scan->passed_over++;
      continue;
    }
    top->Offer(candidate);
  }
}

static void RunPass(SetScan* scan) {
  const auto keep = static_cast<std::size_t>(
      Min(scan->rows, static_cast<uint64>(Max(storage::LargestBatch(), storage::kFirstBatch))));
  ReserveBatch(scan, keep);
  policy::TopCandidates top(scan->batch, keep);
  for (const FilterPart* part : scan->range.parts) ScorePart(scan, *part, &top);
  storage::CloseRows(&scan->vectors);
  scan->batch_size = top.Cut();
  scan->more = top.overflowed();
  scan->counts_passed = false;
  if (scan->more) {
    // The next pass is for what lies beyond this one.
    scan->range.after = *std::max_element(scan->batch, scan->batch + scan->batch_size);
    scan->range.resumed = true;
  }
  std::make_heap(scan->batch, scan->batch + scan->batch_size, policy::IsFarther);
}

bool PeekSetCandidate(SetScan* scan, policy::Candidate* candidate) {
  if (scan->batch_size == 0) {
    if (!scan->more) return false;
    RunPass(scan);
    if (scan->batch_size == 0) return false;
  }
  *candidate = scan->batch[0];
  return true;
}

void TakeSetCandidate(SetScan* scan) {
  std::pop_heap(scan->batch, scan->batch + scan->batch_size, policy::IsFarther);
  scan->batch_size--;
}

}  // namespace tandem::am
