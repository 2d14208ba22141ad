#pragma once
// Checks that a frozen segment keeps its promises; for tandem_verify() and tests.

#include <cstdint>
#include <vector>

#include "graph/segment_layout.hpp"

namespace tandem::graph {

/// Takes one problem. offset: of the wrong bytes in the segment, or ~0 if the problem has no single place.
using SegmentProblemSink = void (*)(void* state, std::uint64_t offset, const char* problem);

/// Header plausible and within `bytes`; offsets, centres and steps finite; links within bounds, no node linked to itself, no repeated link; upper nodes
/// ascending; every node reachable over level 0 from the entry or an upper node (kUnreachableShare may not be: HNSW does not
/// promise all); row starts ascending, each row in range and once; TIDs ascending, with the rows of the row section.
/// After kMaxProblems it stops. Memory: a few bytes a node. Throws std::bad_alloc; source and sink may leave by longjmp, so
/// memory that must be freed then lives in a SegmentChecker that the caller owns.
class SegmentChecker {
 public:
  void Run(SegmentSource* source, std::uint64_t bytes, SegmentProblemSink sink, void* state);

 private:
  [[nodiscard]] bool CheckHeader(std::uint64_t bytes);
  void CheckCodec();
  /// `count` floats at `at`, each finite and at least `least`.
  void CheckFloats(std::uint64_t at, std::uint64_t count, float least, const char* what);
  void CheckRecords();
  void CheckBits(const char* record, std::uint64_t node);
  void CheckUpperNodes();
  void CheckUpperLinks();
  void CheckReachability();
  void CheckRowStarts();
  void CheckRows();
  void CheckTids();
  /// links: `count` of them at `offset` of the segment, pointing from `self` to ordinals below `bound`.
  void CheckLinks(const std::uint32_t* links, std::uint32_t count, std::uint32_t self, std::uint32_t bound,
                  std::uint64_t offset);
  void Reach(std::uint32_t node);

  /// Reads ahead elements [first, …) of a section into section_; returns how many.
  template <typename T>
  [[nodiscard]] std::uint64_t ReadSome(std::uint64_t section_at, std::uint64_t first, std::uint64_t end,
                                       std::size_t element_bytes, const T** elements);
  void Report(std::uint64_t offset, const char* format, ...) __attribute__((format(printf, 3, 4)));
  [[nodiscard]] bool enough() const noexcept;

  SegmentSource* source_ = nullptr;
  SegmentProblemSink sink_ = nullptr;
  void* sink_state_ = nullptr;
  std::uint32_t problems_ = 0;
  SegmentHeader header_{};
  std::vector<UpperNode> upper_;
  std::vector<std::uint32_t> queue_;
  std::vector<std::uint32_t> sorted_;
  std::vector<bool> seen_;
  std::vector<char> section_;
};

/// Nodes that may be unreachable before the checker reports them: max(1, this share of the nodes).
constexpr double kUnreachableShare = 0.001;
constexpr std::uint32_t kMaxProblems = 50;

}  // namespace tandem::graph
