#include "pg/compat.hpp"

#include "storage/settled_rows.hpp"

#include "pg/stop_point.hpp"
#include "storage/row_access.hpp"

extern "C" {
#include "access/transam.h"
}

namespace tandem::storage {

namespace {

/// How far an index was found settled. Transactions that have ended do not begin again, so for a snapshot whose xmin is greater than
/// newest_xid these pages need no second look.
struct Progress {
  uint64 incarnation;  ///< 0: none
  uint32 pages;
  uint64 newest_xid;  ///< on these pages
};

constexpr uint32 kIndexes = 8;
Progress known[kIndexes];
uint32 next_place = 0;

Progress* ProgressOf(uint64 incarnation) {
  for (Progress& progress : known)
    if (progress.incarnation == incarnation) return &progress;
  Progress* progress = &known[next_place];
  next_place = (next_place + 1) % kIndexes;
  *progress = {incarnation, 0, 0};
  return progress;
}

uint64 RowsOfPages(uint32 pages) {
  return static_cast<uint64>(pages) * kHeadsPerPage;
}

/// All transactions before it had ended when the snapshot was taken.
uint64 FullXmin(Snapshot snapshot) {
  const FullTransactionId next = ReadNextFullTransactionId();
  const uint32 age = XidFromFullTransactionId(next) - snapshot->xmin;
  return U64FromFullTransactionId(next) - age;
}

}  // namespace

uint64 CountSettledRows(Relation index, const DirectoryView& view, uint64 rows, Snapshot snapshot) {
  Assert(IsMVCCSnapshot(snapshot));
  if (pg::IsSwitchedOn("all-rows-settled")) return rows;
  const uint64 xmin = FullXmin(snapshot);
  Progress* progress = ProgressOf(view.incarnation);
  if (progress->newest_xid >= xmin) *progress = {view.incarnation, 0, 0};
  for (uint64 settled = RowsOfPages(progress->pages); settled < rows;) {
    const HeadPageSummary page = SummarizeHeadPage(index, view, progress->pages);
    if (page.newest_xid >= xmin) return settled;
    settled += page.heads;
    if (page.heads < kHeadsPerPage) return Min(settled, rows);
    progress->newest_xid = Max(progress->newest_xid, page.newest_xid);
    progress->pages++;
  }
  return rows;
}

}  // namespace tandem::storage
