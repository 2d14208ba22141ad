#include "graph/chunk_layout.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

namespace tandem::graph {
namespace {

constexpr std::uint32_t kLast = std::numeric_limits<std::uint32_t>::max();

SegmentHeader HeaderOf(std::uint32_t m, std::uint32_t nodes, std::uint32_t upper_nodes, bool row_starts) {
  SegmentHeader header{};
  header.m = m;
  header.nodes = nodes;
  header.upper_nodes = upper_nodes;
  header.upper_lists = upper_nodes + upper_nodes / 7;
  header.rows = nodes + nodes / 3;
  header.row_starts_at = row_starts ? 1 : 0;
  return header;
}

/// A chunk's bytes: 0 or, where an element is, 1.
using Marks = std::vector<char>;

/// Marks the bytes of every element; fails if one was marked before or lies across the end of a chunk.
void MarkElements(const ChunkArray& array, std::vector<Marks>* used) {
  for (std::uint32_t i = 0; i < array.count; ++i) {
    const ChunkPlace place = PlaceOf(array, i);
    ASSERT_LT(place.chunk, used->size());
    ASSERT_LE(place.offset, kChunkBytes - array.element_bytes);
    char* const bytes = (*used)[place.chunk].data() + place.offset;
    ASSERT_EQ(std::memchr(bytes, 1, array.element_bytes), nullptr) << "element " << i;
    std::memset(bytes, 1, array.element_bytes);
  }
}

TEST(ChunkLayout, EveryElementHasAPlaceOfItsOwnInOneChunk) {
  for (const std::uint32_t m : {2U, 16U, 100U}) {
    for (const std::uint32_t code_bytes : {4U, 128U, 388U, 16'004U}) {
      for (const std::uint32_t nodes : {1U, 255U, 256U, 257U, 1'700U}) {
        for (const bool row_starts : {false, true}) {
          const SegmentHeader header = HeaderOf(m, nodes, nodes / 5, row_starts);
          const ChunkLayout layout = LayOutChunks(header, code_bytes);
          EXPECT_EQ(layout.codes.count, nodes);
          EXPECT_EQ(layout.codes.element_bytes, code_bytes);
          EXPECT_EQ(layout.links.count, nodes);
          EXPECT_EQ(layout.links.element_bytes, 8 * m);
          EXPECT_EQ(layout.upper_nodes.count, header.upper_nodes);
          EXPECT_EQ(layout.upper_links.count, header.upper_lists);
          EXPECT_EQ(layout.upper_links.element_bytes, 4 * m);
          EXPECT_EQ(layout.row_starts.count, row_starts ? nodes + 1 : 0);
          EXPECT_EQ(layout.rows.count, header.rows);
          std::vector<Marks> used(layout.chunks, Marks(kChunkBytes, 0));
          for (const ChunkArray& array : {layout.upper_nodes, layout.upper_links, layout.row_starts,
                                          layout.rows, layout.codes, layout.links}) {
            MarkElements(array, &used);
          }
          for (const Marks& chunk : used) EXPECT_EQ(chunk[0], 1) << "an empty chunk";
        }
      }
    }
  }
}

TEST(ChunkLayout, WhatEverySearchNeedsComesFirst) {
  const ChunkLayout layout = LayOutChunks(HeaderOf(16, 1'000'000, 62'500, false), 128);
  EXPECT_EQ(layout.upper_nodes.first_chunk, 0U);
  EXPECT_LT(layout.upper_links.first_chunk, layout.rows.first_chunk);
  EXPECT_LT(layout.rows.first_chunk, layout.codes.first_chunk);
  // 512 codes of 128 bytes, and as many lists of links.
  EXPECT_EQ(layout.links.first_chunk - layout.codes.first_chunk, 1'000'000U / 512 + 1);
  EXPECT_EQ(layout.chunks - layout.links.first_chunk, 1'000'000U / 512 + 1);
  const ChunkLayout shared = LayOutChunks(HeaderOf(16, 1'000'000, 62'500, true), 128);
  EXPECT_LT(shared.row_starts.first_chunk, shared.codes.first_chunk);
}

TEST(ChunkLayout, AnEmptySegmentHasNoChunks) {
  EXPECT_EQ(LayOutChunks(HeaderOf(16, 0, 0, false), 128).chunks, 0U);
}

// Broken once by rounding the reciprocal up, as for other divisors: one element a chunk comes out wrong.
TEST(ChunkLayout, DividesEvery32BitNumberExactly) {
  std::vector<std::uint32_t> divisors{1, 2, 3, 4, 5, 7, 3'855, 5'461, 16'384, 65'535, 65'536};
  for (std::uint32_t bytes = 4; bytes <= kChunkBytes; bytes += 4) divisors.push_back(kChunkBytes / bytes);
  for (const std::uint32_t per_chunk : divisors) {
    ChunkArray array;
    array.per_chunk = per_chunk;
    array.reciprocal = ReciprocalOf(per_chunk);
    array.element_bytes = 1;
    const std::uint32_t multiple = kLast / per_chunk;
    std::vector<std::uint32_t> elements{0, 1, kLast - 1, kLast};
    for (const std::uint32_t quotient : {1U, 2U, 1'000U, multiple / 2, multiple - 1, multiple}) {
      if (quotient > multiple) continue;
      const std::uint32_t element = quotient * per_chunk;
      elements.insert(elements.end(), {element - 1, element, element < kLast ? element + 1 : element});
    }
    for (const std::uint32_t element : elements) {
      const ChunkPlace place = PlaceOf(array, element);
      ASSERT_EQ(place.chunk, element / per_chunk) << element << " / " << per_chunk;
      ASSERT_EQ(place.offset, element % per_chunk) << element << " / " << per_chunk;
    }
  }
}

}  // namespace
}  // namespace tandem::graph
