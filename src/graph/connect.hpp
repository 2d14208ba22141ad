#pragma once
// Links that make every node reachable.

#include <cstdint>

#include "base/cancel.hpp"
#include "graph/hnsw_memory.hpp"

namespace tandem::graph {

/// HNSW's choice of links can leave a node without any link to it, in clustered data about one in a thousand. Gives each
/// node that level 0 does not reach from `entry` a link from a reached node near it that has room for one, if there is any.
/// Returns how many nodes stay out of reach. Memory: 4 1/8 bytes a node. Throws std::bad_alloc. When
/// cancelled it ends soon, the work half done.
[[nodiscard]] std::uint32_t ConnectUnreached(const HnswMemory& graph, std::uint32_t nodes,
                                             std::uint32_t entry, std::uint32_t m,
                                             const base::CancelToken& cancel);

}  // namespace tandem::graph
