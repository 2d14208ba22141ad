#include "graph/chunk_layout.hpp"

namespace tandem::graph {
namespace {

/// Puts an array behind the chunks that there are.
ChunkArray Append(ChunkLayout* layout, std::uint32_t count, std::uint32_t element_bytes) noexcept {
  ChunkArray array;
  array.count = count;
  array.element_bytes = element_bytes;
  array.per_chunk = kChunkBytes / element_bytes;
  array.reciprocal = ReciprocalOf(array.per_chunk);
  array.first_chunk = layout->chunks;
  if (count > 0) layout->chunks += (count - 1) / array.per_chunk + 1;
  return array;
}

}  // namespace

ChunkLayout LayOutChunks(const SegmentHeader& header, std::uint32_t walk_code_bytes) noexcept {
  constexpr auto kWord = static_cast<std::uint32_t>(sizeof(std::uint32_t));
  const std::uint32_t row_starts = header.row_starts_at != 0 ? header.nodes + 1 : 0;
  ChunkLayout layout;
  layout.upper_nodes = Append(&layout, header.upper_nodes, sizeof(UpperNode));
  layout.upper_links = Append(&layout, header.upper_lists, header.m * kWord);
  layout.row_starts = Append(&layout, row_starts, kWord);
  layout.rows = Append(&layout, static_cast<std::uint32_t>(header.rows), kWord);
  layout.codes = Append(&layout, header.nodes, walk_code_bytes);
  layout.links = Append(&layout, header.nodes, 2 * header.m * kWord);
  return layout;
}

}  // namespace tandem::graph
