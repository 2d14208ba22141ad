#pragma once
// Builds one segment with hnswlib, on 8-bit codes or on bits, in private memory, on threads of its own or on the caller's.

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/ids.hpp"
#include "base/status.hpp"
#include "graph/segment_layout.hpp"

namespace tandem::graph {

struct GraphParameters {
  vec::Metric metric = vec::Metric::kL2;
  std::uint32_t dimensions = 0;
  std::uint32_t m = 16;
  std::uint32_t ef_construction = 128;
  bool bits = false;  ///< vectors are zeros and ones, and codes their bits (vec::AreWalkedOnBits())

  /// Of the code that the graph is built on.
  [[nodiscard]] std::size_t CodeBytes() const noexcept {
    return vec::RecordCodeBytes(bits ? vec::WalkCode::kBit : vec::WalkCode::kSq8, dimensions);
  }
};

struct BuildParameters {
  GraphParameters graph;
  vec::WalkWish codec = vec::WalkWish::
      kAuto;  ///< what searches will walk the graph on; L1 has 8 bits only; kAuto if `graph.bits`
  std::uint64_t first_row = 0;  ///< the segment's row ids, all within 2^32 - 2 of each other
  std::uint64_t end_row = 0;
  std::uint64_t max_rows = 0;  ///< at most so many rows will be added, those of the base included
  unsigned threads = 0;        ///< 0: AddRow() itself computes
  int nice = 0;                ///< added to the threads' niceness, so that they give way to sessions
};

/// Bytes of private memory that a build of `rows` rows takes at its peak, freezing included.
[[nodiscard]] std::size_t BuildBytes(const GraphParameters& graph, std::uint64_t rows,
                                     unsigned threads) noexcept;
/// The largest number of rows for which BuildBytes() is within `budget_bytes`, but at least kLeastRows: with segments of a few rows
/// each an index would be of no use, so a budget that is eaten up by many threads' needs is exceeded.
constexpr std::uint64_t kLeastRows = 1'000;
[[nodiscard]] std::uint64_t RowsForBytes(const GraphParameters& graph, std::size_t budget_bytes,
                                         unsigned threads) noexcept;

/// Order of calls, all from one thread (except where noted):
///   AddSample()* FinishTraining()             a new graph, or
///   BeginBase() LoadBaseNodes()… KeepBaseRow()*   one that starts from a frozen graph
///   poll Busy(); PrepareRows()…               if it must not take long: else the first AddRow() does it all
///   AddRow()* while HasRoom()
///   EndRows(); poll Done(); Finish()
///   header(), ReadImage()                     the frozen segment, byte for byte
/// Throws std::bad_alloc and std::runtime_error (hnswlib). Failures on build threads end the build; Finish() returns them.
/// Rows with equal codes share a node (so do rows with equal vectors). Rows that are not codable are left out.
/// The destructor cancels and joins within one insertion's time, a few milliseconds; while the segment is being laid out, within
/// 0.3 s a million rows; while the codec is being trained, within half a second. Threads run with all signals blocked.
class GraphBuilder {
 public:
  explicit GraphBuilder(const BuildParameters& parameters);
  ~GraphBuilder();
  GraphBuilder(const GraphBuilder&) = delete;
  GraphBuilder& operator=(const GraphBuilder&) = delete;

  [[nodiscard]] std::size_t MaxSamples() const noexcept;  ///< of bits none: there is nothing to train
  void AddSample(const float* vector);
  /// Trains the codec: some tenths of a second at many dimensions. On a build thread if there are any, see Busy().
  void FinishTraining();
  /// True while a build thread is at what FinishTraining() or the last LoadBaseNodes() left to it. KeepBaseRow(), PrepareRows()
  /// and AddRow() wait for that.
  [[nodiscard]] bool Busy() const noexcept;

  /// Takes the base's quantiser, walk codec and graph shape. base_first_row etc. come from its header; its row ids lie within
  /// ours. Returns kCorrupted if header and parameters contradict each other, kUnsuitable if it is sound but has
  /// another codec than the one asked for by name, or rows that have drifted from it.
  [[nodiscard]] base::Status BeginBase(SegmentSource* source);
  /// Loads up to `max_nodes` more nodes, or parts of them; true while there are more. `source` is used during the call only. At
  /// the end rows are sorted at once, 0.1 s a million: on a build thread if there are any, see Busy().
  [[nodiscard]] bool LoadBaseNodes(SegmentSource* source, std::uint32_t max_nodes, base::Status* status);
  /// After loading, for every live row of the base's range: it stays in the graph, under this TID. Rows that the base
  /// does not hold are ignored; rows of the base that are not named are dropped, their nodes only route.
  void KeepBaseRow(base::RowId row, base::HeapTid tid);

  /// Gets ready for rows: looks at up to `max_nodes` nodes, of the base and to come; true while there are more.
  [[nodiscard]] bool PrepareRows(std::uint32_t max_nodes);
  /// True if AddRow() will not have to wait for the threads.
  [[nodiscard]] bool HasRoom() const noexcept;
  /// vector: full precision, copied as code. Rows must be new to this segment. Blocks while the queue is full.
  void AddRow(base::RowId row, base::HeapTid tid, const float* vector);
  void EndRows();
  [[nodiscard]] bool Done() const noexcept;
  /// Rows whose nodes are in the graph by now; any thread.
  [[nodiscard]] std::uint64_t RowsDone() const noexcept;
  /// Tells the threads to stop soon; any thread.
  void Cancel() noexcept;

  /// After EndRows(). Joins the threads, which have laid the segment out when Done() says so; without threads it does that
  /// itself, half a second a million rows.
  [[nodiscard]] base::Status Finish();
  [[nodiscard]] const SegmentHeader& header() const noexcept;
  /// Copies bytes [offset, offset + bytes) of the frozen segment. Ascending reads are fastest. Never throws.
  void ReadImage(std::uint64_t offset, std::size_t bytes, char* to) const noexcept;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tandem::graph
