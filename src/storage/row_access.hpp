#pragma once
// Rows of the flat relation by row id: heads and vectors, one at a time or in order.

#include "storage/directory.hpp"

#include "base/ids.hpp"

namespace tandem::storage {

/// Walks rows, forwards fastest. Bytes of a row that was counted never change, so a pin on the vector page is enough (in
/// recovery its lock is taken for a moment). Plain data.
struct RowReader {
  Relation index;
  const DirectoryView* view;
  BufferAccessStrategy strategy;
  Buffer buffer;  ///< pinned vector page
  uint32 page;
  const char* payload;
  const char* ahead;
  float* scratch;  ///< one row, for rows that cross a page boundary
};

/// scratch: row_bytes bytes. view and scratch must outlive the reader.
void OpenRows(RowReader* reader, Relation index, const DirectoryView* view, float* scratch,
              BufferAccessStrategy strategy);
/// Valid until the next call.
[[nodiscard]] const float* ReadVector(RowReader* reader, uint64 row);
void CloseRows(RowReader* reader);

/// The head of one row; a look at its page under its lock.
[[nodiscard]] RowHead ReadRowHead(Relation index, const DirectoryView& view, Stream stream, uint64 row);
/// Copies the heads of page `page`, at most `bound`, to `heads` (room for kHeadsPerPage). Returns how many.
[[nodiscard]] uint32 ReadHeadPage(Relation index, const DirectoryView& view, Stream stream, uint32 page,
                                  uint64 bound, BufferAccessStrategy strategy, RowHead* heads);

}  // namespace tandem::storage
