#pragma once
// More links on level 0, where HNSW's choice of them left room.

#include <cstdint>

#include "base/cancel.hpp"
#include "graph/hnsw_memory.hpp"

namespace tandem::graph {

/// Distance between two nodes' data, ascending = farther. Called by several threads.
struct NodeDistance {
  float (*between)(const void* self, const char* a, const char* b);
  const void* self;
};

struct FillParameters {
  std::uint32_t m = 16;
  std::size_t data_bytes = 0;  ///< of a node
  NodeDistance distance;
  /// A link is added if that times the distance from each node that is linked already is no less than its own. 1 is HNSW's
  /// rule, by which there is nothing to add; 1.2 (for squared distances 1.44) lets nodes in that are about as near.
  float spread = 1.0F;
  std::uint32_t first = 0;  ///< nodes before it keep their lists: those of a base, filled when it was built
  unsigned threads = 0;     ///< 0: the caller's alone
};

/// HNSW's choice fills two thirds of a list; a search that finds as much with a smaller pool takes fewer steps. Gives
/// each node links to neighbours of its nearest neighbours, nearest first, by the rule of Subramanya et al. 2019 (Vamana,
/// algorithm 2), up to 2 m. What is added does not depend on `threads`. Links are only appended. Memory: a byte a node.
/// Throws std::bad_alloc. When cancelled it ends soon, the work half done.
void FillLists(const HnswMemory& graph, std::uint32_t nodes, const FillParameters& parameters,
               const base::CancelToken& cancel);

}  // namespace tandem::graph
