#pragma once
// Row heads of a range of rows, page by page; what folding counts and keeps.

#include "storage/row_access.hpp"

namespace tandem::storage {

/// Calls visit(row, head) for the rows of [first, end) that lie on the page of row `first`, with no lock held. Returns the
/// first row that it did not visit. heads: room for kHeadsPerPage. Rows below `end` exist.
template <typename Visit>
[[nodiscard]] uint64 VisitPageOfHeads(Relation index, const DirectoryView& view, uint64 first, uint64 end,
                                      RowHead* heads, Visit visit) {
  const uint64 page_start = first / kHeadsPerPage * kHeadsPerPage;
  const uint64 stop = Min(end, page_start + kHeadsPerPage);
  const uint32 count = ReadHeadPage(index, view, kHeadStream, static_cast<uint32>(first / kHeadsPerPage),
                                    stop - page_start, nullptr, heads);
  for (uint64 row = first; row < page_start + count; row++) visit(row, heads[row - page_start]);
  return stop;
}

/// The same for all rows of [first, end).
template <typename Visit>
void VisitHeadRange(Relation index, const DirectoryView& view, uint64 first, uint64 end, Visit visit) {
  auto* heads = static_cast<RowHead*>(palloc(kHeadsPerPage * sizeof(RowHead)));
  for (uint64 row = first; row < end;) row = VisitPageOfHeads(index, view, row, end, heads, visit);
  pfree(heads);
}

[[nodiscard]] inline bool IsAlive(const RowHead& head) {
  return (head.flags & kTombstone) == 0;
}

}  // namespace tandem::storage
