#pragma once
// Pages that searches will want, read into shared_buffers, without looking at what is on them. Those of the native indexes beside ours, for loads
// that are about to ask them: when filters gain memory, sets are made, and that begins with these pages. And those of indexes of
// ours that were hot before the server started, and of their tables: rows are re-ranked and fetched from them.

#include "pg/pg.hpp"

namespace tandem::worker {

/// Reads those into shared_buffers that were ever scanned, the most scanned first, up to a part of the buffers. In steps of a
/// transaction each; indexes that somebody has locked are left out; an error is logged. Serves interrupts.
void ReadNativePagesIn(const Oid* indexes_of_ours, int count);

/// After a start: reads all pages of an index of ours, then those of its table, as long as there are buffers that nobody has used: nothing is
/// pushed out. Neither of what is larger than half of the buffers. Locks, errors and interrupts as above.
void ReadHotPagesIn(Oid index);

}  // namespace tandem::worker
