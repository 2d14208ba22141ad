#pragma once
// Rehydration: a frozen segment becomes hnswlib's graph again, without computing a distance.

#include <cstdint>
#include <vector>

#include "base/status.hpp"
#include "graph/graph_builder.hpp"
#include "graph/hnsw_memory.hpp"

namespace tandem::graph {

/// Order of calls: Begin(), then Load() until it returns false, SortRows(). Node ordinals become hnswlib's ids. Reads may leave by longjmp:
/// no object with a destructor is on the stack then, and the memory given to Load() can be freed by hnswlib at any time.
class BaseLoader {
 public:
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};
  static constexpr std::size_t kReadBytes = std::size_t{256} << 10;  ///< read at once

  /// Reads header, offsets (dimensions floats), and centres and steps (`walk`: room for 2 * dimensions floats); kCorrupted if they
  /// contradict themselves or `parameters`.
  [[nodiscard]] base::Status Begin(SegmentSource* source, const BuildParameters& parameters, float* offsets,
                                   float* walk);
  [[nodiscard]] const SegmentHeader& header() const noexcept { return header_; }

  /// Loads up to `max_nodes` nodes, upper nodes or rows more into memory for header().nodes ids. True while there are more.
  /// Nodes get data without terms, and no labels.
  [[nodiscard]] bool Load(SegmentSource* source, std::uint32_t max_nodes, const HnswMemory& memory,
                          base::Status* status);

  /// 0.1 s a million rows; on any thread.
  void SortRows();
  /// The node of a row, by its distance from the first row of `parameters`; kNone if the base does not have it. Ascending
  /// calls are fastest.
  [[nodiscard]] std::uint32_t NodeOfRow(std::uint32_t row) noexcept;
  /// Memory is given back; NodeOfRow() finds nothing any more.
  void DropRows() noexcept;

 private:
  enum class Stage { kRecords, kUpperNodes, kUpperLinks, kRowStarts, kRows, kLoaded };
  struct Row {
    std::uint32_t row;
    std::uint32_t node;
  };

  [[nodiscard]] base::Status LoadRecords(SegmentSource* source, std::uint32_t max_nodes,
                                         const HnswMemory& memory);
  [[nodiscard]] bool LoadRecord(const char* record, std::uint32_t node,
                                const HnswMemory& memory) const noexcept;
  [[nodiscard]] base::Status LoadUpperNodes(SegmentSource* source);
  [[nodiscard]] base::Status LoadUpperLinks(SegmentSource* source, std::uint32_t max_nodes,
                                            const HnswMemory& memory);
  [[nodiscard]] bool LoadUpperLists(const UpperNode& upper, const HnswMemory& memory);
  [[nodiscard]] base::Status LoadRowStarts(SegmentSource* source);
  [[nodiscard]] base::Status LoadRows(SegmentSource* source, std::uint32_t max_rows);
  void EndLoading();
  [[nodiscard]] base::Status Error(const char* what) const noexcept;

  SegmentHeader header_{};
  std::uint64_t first_row_ = 0;
  Stage stage_ = Stage::kRecords;
  std::uint32_t next_ = 0;  ///< of the stage: node, upper node, row
  std::uint32_t node_ = 0;  ///< whose rows are being read
  std::vector<char> buffer_;
  std::vector<UpperNode> upper_nodes_;
  std::vector<std::uint32_t> row_starts_;
  std::vector<Row> rows_;  ///< ascending by row once sorted
  std::size_t hint_ = 0;
};

}  // namespace tandem::graph
