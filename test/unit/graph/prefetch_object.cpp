// Not a test: the search as it is compiled, for graph.prefetch_instructions (cmake/UnitTests.cmake) to look at.

#include "graph/graph_search.hpp"

namespace tandem::graph {

class SomeReader {
 public:
  const std::uint32_t* LinkRecord(std::uint32_t node);
  const std::uint8_t* CodeRecord(std::uint32_t node);
  const UpperNode* UpperRecord(std::uint32_t ordinal);
  const std::uint32_t* UpperList(std::uint32_t list);
  const std::uint32_t* Links(std::uint32_t node);
  const std::uint8_t* Code(std::uint32_t node);
  UpperNode Upper(std::uint32_t ordinal);
  const std::uint32_t* UpperLinks(std::uint32_t list);
};

template class GraphSearch<SomeReader>;

}  // namespace tandem::graph
