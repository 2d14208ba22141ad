#pragma once
// Checks that a frozen segment keeps its promises; for tandem_verify() and tests.

#include <cstdint>
#include <vector>

#include "graph/segment_layout.hpp"

namespace tandem::graph {

/// Takes one problem. offset: of the wrong bytes in the segment, or ~0 if the problem has no single place.
using SegmentProblemSink = void (*)(void* state, std::uint64_t offset, const char* problem);

/// Header plausible and within `bytes`; links within bounds, no node linked to itself, no repeated link; upper nodes
/// ascending; every node reachable from the entry over level 0 (kUnreachableShare may not be: HNSW does not promise
/// all); row starts ascending, each row in range and once; TIDs ascending, with the rows of the row section.
/// Memory: a few bytes a node. Throws std::bad_alloc; source may leave by longjmp, so memory that must be freed then lives
/// in a SegmentChecker that the caller owns.
class SegmentChecker {
 public:
  void Run(SegmentSource* source, std::uint64_t bytes, SegmentProblemSink sink, void* state);

 private:
  std::vector<std::uint32_t> queue_;
  std::vector<bool> seen_;
  std::vector<char> section_;
};

/// Nodes that may be unreachable before the checker reports them: max(1, this share of the nodes).
constexpr double kUnreachableShare = 0.001;

}  // namespace tandem::graph
