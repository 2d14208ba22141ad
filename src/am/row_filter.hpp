#pragma once
// What a filter of TIDs is in an index: which rows, and which nodes of its graphs, it admits.

#include <memory>
#include <vector>

#include "am/segment_scan.hpp"
#include "base/ordinal_set.hpp"
#include "base/tid_set.hpp"
#include "shmem/filter_cache.hpp"

namespace tandem::am {

/// Lets a set of the cache go when it goes itself.
class SetPin {
 public:
  SetPin() noexcept = default;
  explicit SetPin(uint64 pin) noexcept : pin_(pin) {}
  SetPin(SetPin&& other) noexcept : pin_(other.pin_) { other.pin_ = shmem::kNoPin; }
  SetPin& operator=(SetPin&& other) noexcept {
    std::swap(pin_, other.pin_);
    return *this;
  }
  SetPin(const SetPin&) = delete;
  SetPin& operator=(const SetPin&) = delete;
  ~SetPin() {
    if (pin_ != shmem::kNoPin) shmem::UnpinFilterSet(pin_);
  }

 private:
  uint64 pin_ = shmem::kNoPin;
};

/// Which rows of its range a part was made from.
enum class PartKind : unsigned char {
  kAll,    ///< by their heads: all
  kGraph,  ///< by the TIDs of a segment: those in its graph
  kRest,   ///< by their heads: those that are not in its graph
};

/// A filter in one segment, or in the rows behind them all. Whatever it is made of never changes: a segment is immutable, and
/// the TID of a row id is fixed. So it holds for as long as the filter does, whichever view of the index is searched.
struct FilterPart {
  PartKind kind;
  uint32 segment;    ///< its id; kNoSegment: of rows that no segment holds
  uint64 first_row;  ///< row ids [first_row, end_row)
  uint64 end_row;
  base::OrdinalSet rows;  ///< row id - first_row; dead ones may be among them
  bool has_nodes;
  base::OrdinalSet nodes;  ///< of the segment, at which such rows are; once MapNodes() has made it
  bool is_kept;            ///< `rows` was put into the cache, or came from there
  bool nodes_are_kept;
  float map_us;    ///< what looking `rows` up took; 0: not known
  float nodes_us;  ///< what `nodes` took beyond that
  SetPin row_pin;  ///< if `rows` is the cache's
  SetPin node_pin;

  /// row: of the part's range.
  [[nodiscard]] bool Admits(base::RowId row) const noexcept {
    return rows.Contains(static_cast<uint32>(base::ToIndex(row) - first_row));
  }
};
constexpr uint32 kNoSegment = ~uint32{0};

/// The parts that were made of one filter. Owned by a memory context; contains no server memory.
using FilterParts = std::vector<std::unique_ptr<FilterPart>>;

/// Where a search looks. What it refers to lives until the search starts anew.
struct FilterView {
  Relation index;
  const storage::Manifest* manifest;
  const storage::DirectoryView* directory;
  Snapshot snapshot;
  uint64 sealed_rows;  ///< row ids before it are the segments'
  uint64 rows;         ///< row ids before it belong to the search
  /// Opens the i-th segment; nullptr if it cannot be read.
  SegmentScan* (*open_segment)(void* arg, uint32 i);
  void* arg;
};

/// The part of that kind of a segment, or of rows that no segment holds; nullptr if there is none.
[[nodiscard]] FilterPart* FindPart(const FilterParts& parts, PartKind kind, uint32 segment);
/// Adds one that admits nothing yet.
FilterPart* AddPart(FilterParts* parts, PartKind kind, uint32 segment, uint64 first_row, uint64 end_row);
/// Takes the last one that was added away.
void DropLastPart(FilterParts* parts);
/// Lets go of parts of segments that the manifest no longer lists, and of other tails than this one.
void ForgetOtherParts(FilterParts* parts, const storage::Manifest& manifest, uint64 first_row,
                      uint64 end_row);

/// Adds the part of one segment, by its sorted TIDs. nullptr if the segment cannot be read.
FilterPart* MapSegment(FilterParts* parts, const FilterView& view, const storage::SegmentInfo& segment,
                       SegmentScan* scan, const base::TidSet& filter);
/// Adds the part of row ids [first_row, end_row), by their heads.
FilterPart* MapRows(FilterParts* parts, const FilterView& view, uint32 segment, uint64 first_row,
                    uint64 end_row, const base::TidSet& filter);
/// Adds what `part`, of kind kGraph, lacks.
FilterPart* MapRest(FilterParts* parts, const FilterView& view, const FilterPart& part,
                    const base::TidSet& filter);
/// Finds the nodes of the part's rows. Between EnterSegments() and LeaveSegments(), which it may do in between; adds to *chunks_loaded
/// what that loaded. False if the segment cannot be read.
[[nodiscard]] bool MapNodes(FilterPart* part, SegmentScan* scan, uint64* chunks_loaded);

}  // namespace tandem::am
