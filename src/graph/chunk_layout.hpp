#pragma once
// A segment as searches have it in memory: arrays of equal elements, cut into chunks of one size, so that element i is found
// by a multiplication and one look at a table of chunks.
//
//   upper nodes    UpperNode
//   upper links    uint32 link[m]                                         one a list
//   row starts     uint32                                                 only if the segment has them
//   rows           uint32
//   codes          walk code (vec/walk_query.hpp)                         one a node
//   links          uint32 link[2 m]                                       one list a node
//
// In this order they are kept: what every search needs, and what every set of a filter is made with, outlasts codes and links, of which
// each search reads some. It reads the codes of some 1,000 nodes and follows the links of some 50: with memory for half of a graph, all
// codes are there, and few pages are read. Both side by side were not measurably faster where all is in memory.
//
// Chunks of an array hold as many whole elements as fit; no element crosses a boundary. All content is derived from the
// frozen segment and, like it, never changes.

#include <cstdint>

#include "graph/segment_layout.hpp"

namespace tandem::graph {

constexpr std::uint32_t kChunkBytes = std::uint32_t{64} << 10;

/// Where element i of an array is: chunk first_chunk + i / per_chunk, at (i % per_chunk) * element_bytes.
struct ChunkArray {
  std::uint64_t reciprocal = 0;  ///< of per_chunk, for PlaceOf()
  std::uint32_t count = 0;
  std::uint32_t element_bytes = 0;
  std::uint32_t per_chunk = 1;
  std::uint32_t first_chunk = 0;
};

struct ChunkPlace {
  std::uint32_t chunk;
  std::uint32_t offset;  ///< bytes
};

/// i / d for all 32-bit i is the high half of (i + 1) * r with r = floor((2^64 - 1) / d): as a fraction of 2^64 that product is
/// less than (i + 1) / d, by no more than 1 / d. (Rounding r up, as is usual, needs a 65th bit for d = 1.)
[[nodiscard]] constexpr std::uint64_t ReciprocalOf(std::uint32_t per_chunk) noexcept {
  return ~std::uint64_t{0} / per_chunk;
}

[[nodiscard]] inline ChunkPlace PlaceOf(const ChunkArray& array, std::uint32_t element) noexcept {
  __extension__ using Wide = unsigned __int128;
  const auto chunk =
      static_cast<std::uint32_t>((Wide{array.reciprocal} * (std::uint64_t{element} + 1)) >> 64);
  return {array.first_chunk + chunk, (element - chunk * array.per_chunk) * array.element_bytes};
}

struct ChunkLayout {
  ChunkArray upper_nodes;
  ChunkArray upper_links;
  ChunkArray row_starts;  ///< count 0: the segment has none
  ChunkArray rows;
  ChunkArray codes;
  ChunkArray links;
  std::uint32_t chunks = 0;  ///< in all
};

/// walk_code_bytes: vec::WalkCodeBytes() of the segment's codec, at most kChunkBytes.
[[nodiscard]] ChunkLayout LayOutChunks(const SegmentHeader& header, std::uint32_t walk_code_bytes) noexcept;

}  // namespace tandem::graph
