#pragma once
// Rows of the flat relation by row id: heads and vectors, one at a time or in order.

#include "storage/packed_reader.hpp"
#include "storage/page_sweep.hpp"

#include "base/ids.hpp"

extern "C" {
#include "utils/snapshot.h"
}

namespace tandem::storage {

/// Pages that the vectors of `rows` rows take.
[[nodiscard]] inline uint32 VectorPagesOf(const DirectoryView& directory, uint64 rows) {
  return static_cast<uint32>((rows * directory.row_bytes + kPayloadBytes - 1) / kPayloadBytes);
}

/// The backend's directory, read again if it does not reach the vectors of `rows` rows. Valid until the relation's next
/// use: CopyDirectory() it.
[[nodiscard]] const DirectoryView& DirectoryWith(Relation index, uint64 rows);

/// Bytes that a row's elements take, on average of `rows` rows where they have no common length.
[[nodiscard]] inline uint32 AverageRowBytes(const DirectoryView& directory, uint64 rows) {
  if (!directory.IsSparse()) return directory.row_bytes;
  const uint64 bytes = static_cast<uint64>(directory.PagesKnown(kElementStream)) * kPayloadBytes;
  const uint64 longest = vec::LongestSparseRow(directory.column_dimensions);
  return static_cast<uint32>(Max(Min(bytes / Max(rows, uint64{1}), longest), sizeof(vec::SparseRow)));
}

/// Bytes of a dense row that takes as long to compare: a sparse one is gone through element by element.
[[nodiscard]] inline uint32 ComparedRowBytes(const DirectoryView& directory, uint64 rows) {
  constexpr uint32 kSparseFactor = 4;  // src/vec/README.md, "Sketches"
  return AverageRowBytes(directory, rows) * (directory.IsSparse() ? kSparseFactor : 1);
}

/// Memory that a reader of rows needs: for one row that crosses a page boundary and, if it is not stored as float32, for
/// it as float32. In the current memory context.
[[nodiscard]] inline void* NewRowScratch(const DirectoryView& directory) {
  const std::size_t widened =
      directory.element == vec::Element::kFloat32 ? 0 : directory.dimensions * sizeof(float);
  const std::size_t row =
      directory.IsSparse() ? vec::LongestSparseRow(directory.column_dimensions) : directory.row_bytes;
  return palloc(widened + row);
}

/// Walks rows, forwards fastest. Bytes of a row that was counted never change, and a snapshot, or the builder lock, keeps the
/// extents that its manifest does not say to be packed: so a pin on the vector page is enough. In recovery nothing keeps them:
/// vectors are copied under their page's lock, and one whose page is another's by now is looked for in a newer manifest's
/// packed ranges. Plain data.
struct RowReader {
  Relation index;
  const DirectoryView* view;
  BufferAccessStrategy strategy;
  Buffer buffer;  ///< pinned vector page; InvalidBuffer if none
  uint32 page;
  bool read_ahead;  ///< rows are asked for in ascending order: prefetch what follows. OpenRows() says so
  const char* payload;
  const char* ahead;      ///< payload of a page that will be needed soon, as a hint; nullptr if not known
  float* widened;         ///< one row as float32; nullptr if rows are stored so
  char* scratch;          ///< one row, for rows that cross a page boundary
  Buffer element_buffer;  ///< sparse rows: pinned page with elements; InvalidBuffer if none
  uint32 element_page;
  bool takes_detour;      ///< there are packed ranges, or nothing keeps the pages, or rows are sparse
  bool unprotected;       ///< nothing keeps the pages: in recovery, or in a transaction that began there
  PageSweep sweep;        ///< of vector pages
  MemoryContext context;  ///< for newer manifests
  PackedReader packed;    ///< if takes_detour
};

/// manifest: read under the snapshot, or builder lock, that the reader is used under. scratch: NewRowScratch(). Both, view, and
/// the current memory context must outlive the reader. Remembers buffers if there is room for them (ReserveRecentBuffers()).
void OpenRows(RowReader* reader, Relation index, const DirectoryView* view, const Manifest* manifest,
              void* scratch, BufferAccessStrategy strategy);
/// The row as it is stored, a sparse one as a vec::SparseRow, aligned to 4. Valid until the next call. Checks for interrupts at every page. nullptr: the row is dead to everybody,
/// and its vector is gone.
[[nodiscard]] const void* ReadRow(RowReader* reader, uint64 row);
/// ReadRow(), as float32: the one place where stored elements become what codes are made of. (Distances: vec::RowDistance.)
[[nodiscard]] const float* ReadVector(RowReader* reader, uint64 row);
/// All rows of [first, end) will be read, in ascending order and mostly from disk: a sweep of their pages, until EndSweep(). Does
/// nothing for a reader that takes detours.
void SweepRows(RowReader* reader, uint64 first, uint64 end);
/// Asks for a row's vector, and what has to be looked at to pin it, in memory: a hint, for rows that are read soon and in no
/// order. Does nothing for a page whose buffer is not remembered.
void PrefetchRow(const RowReader& reader, uint64 row);
/// Rows of [first, end) that have a vector: all but those that were dead when their range was packed. For the holder of the
/// builder lock.
[[nodiscard]] uint64 CountRowsWithVector(RowReader* reader, uint64 first, uint64 end);
/// The n-th of these rows from `first` on, counted from 0.
[[nodiscard]] uint64 NthRow(RowReader* reader, uint64 first, uint64 n);
/// Lets go of the page; the reader can be used again.
void CloseRows(RowReader* reader);

/// The head of one row; a look at its page under its lock. snapshot: raise "snapshot too old" where it may be
/// (old_snapshot_threshold); nullptr for callers without one.
[[nodiscard]] RowHead ReadRowHead(Relation index, const DirectoryView& view, Stream stream, uint64 row,
                                  Snapshot snapshot = nullptr);
/// Asks for what ReadRowHead() will look at in memory: a hint.
void PrefetchRowHead(Relation index, uint64 row);
/// Asks for what the server will look at to find the row's tuple in the table: a hint. Reads the row's head, which had better been
/// asked for before. Does nothing for a page whose buffer is not remembered (RecentTableBuffer()).
void PrefetchTableRow(Relation index, uint64 row);
/// Copies the heads of page `page`, at most `bound`, to `heads` (room for kHeadsPerPage). Returns how many. snapshot:
/// as ReadRowHead(). Checks for interrupts.
[[nodiscard]] uint32 ReadHeadPage(Relation index, const DirectoryView& view, Stream stream, uint32 page,
                                  uint64 bound, BufferAccessStrategy strategy, RowHead* heads,
                                  Snapshot snapshot = nullptr);

/// How many rows are on a page of the heads of rows with a vector, and the newest transaction that inserted one, as of one moment.
struct HeadPageSummary {
  uint32 heads;
  uint64 newest_xid;
};
[[nodiscard]] HeadPageSummary SummarizeHeadPage(Relation index, const DirectoryView& view, uint32 page);

}  // namespace tandem::storage
