#pragma once
// Search of one frozen graph on codes, resumable: batches of nodes in about ascending distance, none twice.
//
// Malkov and Yashunin 2018, algorithms 2 and 5, changed in one thing: nodes that fall out of the pool are kept, so that
// the search can go on where it stopped when more nodes are asked for.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "graph/segment_layout.hpp"
#include "vec/scalar_quantizer.hpp"

namespace tandem::graph {

struct FoundNode {
  float key;  ///< of CodeQuery
  std::uint32_t node;
};

/// What a search did; only ever grows.
struct SearchCounters {
  std::uint64_t distances = 0;  ///< codes compared with the query
  std::uint64_t expanded = 0;   ///< nodes whose links were followed
};

/// Reader: gives access to the segment's parts. Pointers stay valid until the next call of the same Reader.
///   const std::uint32_t* Links(std::uint32_t node)       2 m links, kEndOfLinks ends
///   const std::uint8_t* Code(std::uint32_t node)
///   UpperNode Upper(std::uint32_t ordinal)
///   const std::uint32_t* UpperLinks(std::uint32_t list)  m links, kEndOfLinks ends
/// A Reader may leave by longjmp: no object with a destructor lives on the stack of these functions. One that cannot read
/// any more (the segment was recycled) returns lists that are empty, and says so itself.
template <typename Reader>
class GraphSearch {
 public:
  /// Prepares for a new query, keeping memory from the last one. header must outlive the search. ef >= 1.
  /// Throws std::bad_alloc.
  void Start(const SegmentHeader* header, const vec::CodeQuery& query, std::uint32_t ef);

  /// The next up to `ef` nodes, ascending by key, as if the pool were ef nodes larger each time. Empty: the whole
  /// reachable graph was returned. Valid until the next call.
  [[nodiscard]] base::Span<const FoundNode> NextBatch(Reader* reader);

  [[nodiscard]] const SearchCounters& counters() const noexcept;
  [[nodiscard]] std::size_t MemoryBytes() const noexcept;
};

}  // namespace tandem::graph
