#pragma once
// The flat relation: an append-only sequence of rows, exact by nature. Row id = ordinal.

#include "storage/directory.hpp"

#include "base/span.hpp"
#include "policy/top_candidates.hpp"
#include "vec/row_distance.hpp"

extern "C" {
#include "access/genam.h"
#include "utils/snapshot.h"
}

namespace tandem::storage {

// ---- Creating ----

/// What an index is, fixed at build.
struct IndexShape {
  vec::Metric metric;
  vec::Element element;
  uint32 dimensions;  ///< of the column's type
};

/// Formats `page` as the meta page of an empty index.
void InitMetaPage(Page page, const IndexShape& shape, uint64 incarnation);

/// A random number that no earlier life of any index file has had (H11).
[[nodiscard]] uint64 NewIncarnation();

/// Writes a whole new index through the buffer manager, without WAL until Finish() logs every page at once.
/// The index must be new and invisible to everybody else.
class FlatBuilder;

[[nodiscard]] FlatBuilder* BeginFlatBuild(Relation index, const IndexShape& shape);
/// row: `dimensions` elements as they are stored, a vec::SparseRow, or nullptr for a NULL vector.
void AddToFlatBuild(FlatBuilder* builder, const ItemPointerData& tid, const void* row);
/// Writes what is left, the directory and the meta page; logs all pages if the relation needs WAL.
void FinishFlatBuild(FlatBuilder* builder);

// ---- Appending ----

/// Appends one row; returns once it is logged, so that the caller's commit makes it durable.
/// row: as many elements as the index has dimensions, as they are stored, a vec::SparseRow, or nullptr for a NULL vector. The row
/// becomes visible to scans in the order of row ids; a failed append consumes no row id.
void AppendRow(Relation index, const ItemPointerData& tid, const void* row);

// ---- Scanning ----

/// Rows that the first pass of an ordered scan keeps: the LIMITs people use; keeping 1,024 instead of 10 costs under
/// 1 %. Each further pass keeps this times more, up to LargestBatch().
constexpr std::size_t kFirstBatch = 1024;
constexpr std::size_t kBatchGrowth = 8;

/// Rows that work_mem has room for.
[[nodiscard]] std::size_t LargestBatch();

/// Exact ordered scan, resumable: rows come in ascending distance, each exactly once, NaN distances after all
/// others and rows without a vector last. Reads all vectors once for the first rows; every further pass, over
/// growing batches bounded by work_mem, only when the caller asks for more than the batch before held.
struct FlatScan;

/// One row from a scan. `distance` is the operator's own value, NaN or, if `is_null`, meaningless.
struct ScanRow {
  ItemPointerData tid;
  double distance;
  bool is_null;
};

/// Allocates scan state in the current memory context, which must outlive the scan.
[[nodiscard]] FlatScan* BeginFlatScan(Relation index);

/// (Re)starts the scan: takes a view of the index as of now, which must be no older than `snapshot`. query:
/// `dimensions` floats, copied, and behind them, where vec::RowDistance::ComparesRows(), the row that they were made of; nullptr means no order (every
/// row with a NULL distance).
void StartFlatScan(FlatScan* scan, Snapshot snapshot, const float* query);

/// From the next start on, distances are computed by this operator.
void SetFlatOperator(FlatScan* scan, const vec::ForeignOperator& foreign);

/// Fetches the next row; false at the end.
[[nodiscard]] bool NextFlatRow(FlatScan* scan, ScanRow* row);

void EndFlatScan(FlatScan* scan);

// What a scan that merges flat rows with others needs beside.

/// What a started scan looks at; valid until it is started again.
struct FlatScanView {
  const DirectoryView* directory;
  uint64 rows;  ///< row ids below it belong to the scan
  const vec::RowDistance* distance;
  uint64 distances;    ///< computed so far
  uint64 passed_over;  ///< rows that a resumed range left out, being none `after`
};
[[nodiscard]] FlatScanView ViewOf(const FlatScan* scan);

/// Row ids [first, end).
struct RowRange {
  uint64 first;
  uint64 end;
};

/// Which rows the ordered part of a scan returns: everything, by default.
struct FlatRange {
  uint64 first_row = 0;
  bool is_listed = false;             ///< only rows in `ranges`
  base::Span<const RowRange> ranges;  ///< ascending, apart from each other; outlives the scan
  bool resumed = false;               ///< only rows that sort after `after`
  policy::Candidate after = {};
  base::Span<const uint64> excluded;      ///< not these row ids; ascending, outlives the scan
  std::size_t first_batch = kFirstBatch;  ///< rows that the first pass keeps
};

/// Starts the ordered part over with another range, which is empty if there is no query. Rows without a vector are none of it; they
/// follow as ever.
void ScanFlatRange(FlatScan* scan, const FlatRange& range);

/// The next candidate of the ordered part, without going on; false at its end. Its row may be dead.
[[nodiscard]] bool PeekFlatCandidate(FlatScan* scan, policy::Candidate* candidate);
void TakeFlatCandidate(FlatScan* scan);

/// Looks the candidate's row up, wherever the candidate comes from; false if it is dead.
[[nodiscard]] bool ReadFlatRow(const FlatScan* scan, const policy::Candidate& candidate, ScanRow* row);

// ---- Vacuuming ----

/// Marks every row that `callback` says is dead; WAL-logged before it returns. Reads row heads only.
/// Adds to stats: tuples_removed, num_index_tuples.
void MarkDeadRows(Relation index, BufferAccessStrategy strategy, IndexBulkDeleteResult* stats,
                  IndexBulkDeleteCallback callback, void* callback_state);

// ---- Looking ----

/// Calls `visit` for each row head of `stream` in row-id order, with no lock held.
using HeadVisitor = void (*)(void* state, uint64 row, const RowHead& head);
void VisitHeads(Relation index, Stream stream, HeadVisitor visit, void* state);

}  // namespace tandem::storage
