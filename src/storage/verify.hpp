#pragma once
// Walks every page of an index and says precisely what is wrong.

#include "storage/directory.hpp"

namespace tandem::storage {

/// Called for each problem, with no lock held. block: where, or InvalidBlockNumber for the index as a whole.
using ProblemSink = void (*)(void* state, BlockNumber block, const char* problem);

/// Checks the meta page, the directory (every block handed out exactly once), every page's trailer and filling,
/// zeroed holes, heap TIDs against the heap's size, finite vector elements, and that no TID lives twice.
/// Runs beside inserts and scans: rows appended after it began are not looked at. Needs AccessShareLock on both.
/// Memory: one byte a block and, for TIDs, at most maintenance_work_mem.
void VerifyPages(Relation index, Relation heap, ProblemSink sink, void* state);

/// Checks that every heap row that a new snapshot sees has exactly one live index row, with bit-equal vector.
/// Memory: 16 bytes a row.
void VerifyAgainstHeap(Relation index, Relation heap, ProblemSink sink, void* state);

}  // namespace tandem::storage
