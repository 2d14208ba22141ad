#pragma once
// Which rows nobody can still be inserting, as far as a snapshot knows.

#include "storage/directory.hpp"

extern "C" {
#include "utils/snapshot.h"
}

namespace tandem::storage {

/// The row id, at most `rows`, before which all rows were inserted by transactions that had ended when `snapshot` (of an MVCC kind) was
/// taken: whatever else those did to the table and its indexes is done, too. By pages of row heads, so that up to a page of rows
/// that are settled may not count. The backend remembers how far it got. rows: ids below it were seen to be there.
[[nodiscard]] uint64 CountSettledRows(Relation index, const DirectoryView& view, uint64 rows,
                                      Snapshot snapshot);

}  // namespace tandem::storage
