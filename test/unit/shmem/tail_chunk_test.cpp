#include "shmem/tail_chunk.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

namespace tandem::shmem {
namespace {

/// Memory as a frame's.
struct alignas(64) TestFrame {
  char bytes[kFrameBytes];
};

/// What a row's code consists of, and whether it is marked: follows from the row alone.
std::uint8_t ByteOf(std::uint32_t row, std::uint32_t at) {
  return static_cast<std::uint8_t>(row * 31 + at * 7 + 1);
}

bool IsMarked(std::uint32_t row) {
  return row % 5 == 3;
}

float FactorOf(std::uint32_t row, std::uint32_t run) {
  return static_cast<float>(row * 3 + run);
}

struct Rows {
  Rows(const TailLayout& layout, std::uint32_t first, std::uint32_t end)
      : codes(std::size_t{end - first} * layout.stride),
        bits(std::size_t{InWholeBlocks(end - first)} * layout.bit_bytes),
        marks(TailMarkWords(end - first)) {
    for (std::uint32_t row = first; row < end; row++) {
      for (std::uint32_t at = 0; at < layout.stride; at++)
        codes[std::size_t{row - first} * layout.stride + at] = ByteOf(row, at);
      for (std::uint32_t at = 0; at < layout.bit_bytes; at++)
        bits[PlaceOfBits(row - first, layout.bit_bytes) + std::size_t{at} * 16] = ByteOf(row + 1, at);
      for (std::uint32_t run = 0; run < kTailFactors; run++) factors[run].push_back(FactorOf(row, run));
      if (IsMarked(row)) marks[(row - first) / 64] |= std::uint64_t{1} << ((row - first) % 64);
    }
  }
  [[nodiscard]] TailRows View() {
    return {
        codes.data(), bits.data(), {factors[0].data(), factors[1].data(), factors[2].data()}, marks.data()};
  }
  std::vector<std::uint8_t> codes;
  std::vector<std::uint8_t> bits;
  std::vector<float> factors[kTailFactors];
  std::vector<std::uint64_t> marks;
};

bool Append(const TailChunk& chunk, const TailLayout& layout, std::uint32_t first, std::uint32_t end) {
  Rows rows(layout, first, end);
  return chunk.Append(first, end, rows.View());
}

/// Rows [0, end) that are not as they should be.
std::uint32_t WrongRows(const TailChunk& chunk, const TailLayout& layout, std::uint32_t end) {
  std::uint32_t wrong = 0;
  for (std::uint32_t row = 0; row < end; row++) {
    bool is_right = (chunk.Marks(row / 64) >> (row % 64) & 1) == (IsMarked(row) ? 1U : 0U);
    for (std::uint32_t at = 0; at < layout.stride; at++)
      is_right = is_right && chunk.codes()[std::size_t{row} * layout.stride + at] == ByteOf(row, at);
    for (std::uint32_t at = 0; at < layout.bit_bytes; at++)
      is_right = is_right && chunk.bits()[PlaceOfBits(row, layout.bit_bytes) + std::size_t{at} * 16] ==
                                 ByteOf(row + 1, at);
    for (std::uint32_t run = 0; run < kTailFactors && layout.bit_bytes > 0; run++)
      is_right = is_right && chunk.Factors(run)[row] == FactorOf(row, run);
    wrong += is_right ? 0 : 1;
  }
  return wrong;
}

void CheckLayout(std::uint32_t code_bytes, std::uint32_t bit_bytes) {
  const TailLayout layout = LayOutTail(code_bytes, bit_bytes);
  ASSERT_GE(layout.per_chunk, 1U) << code_bytes;
  EXPECT_GE(layout.stride, code_bytes);
  EXPECT_LE(layout.stride, code_bytes + code_bytes / 4 + (bit_bytes > 0 ? 12 : 0));
  EXPECT_TRUE(bit_bytes > 0 || code_bytes < kAlignedFrom || layout.stride % 64 == 0) << code_bytes;
  const std::size_t factor_bytes = bit_bytes > 0 ? kTailFactors * sizeof(float) : 0;
  EXPECT_EQ(layout.bit_bytes, bit_bytes);
  EXPECT_GE(layout.bits_at,
            sizeof(TailChunkHeader) + TailMarkWords(layout.per_chunk) * sizeof(std::uint64_t));
  EXPECT_EQ(layout.bits_at % 64, 0U);
  EXPECT_EQ(layout.factors_at, layout.bits_at + (layout.per_chunk + 15) / 16 * 16 * bit_bytes);
  EXPECT_GE(layout.codes_at, layout.factors_at + layout.per_chunk * factor_bytes);
  EXPECT_EQ(layout.codes_at % 64, 0U);
  const std::size_t end = layout.codes_at + std::size_t{layout.per_chunk} * layout.stride;
  EXPECT_LE(end, kFrameBytes) << code_bytes;
  // No row more would fit, but for what ends are rounded up to; with bits not half a block.
  const std::size_t rounded = 32 + 64 + (bit_bytes > 0 ? 64 : 0);
  const std::size_t more = bit_bytes > 0 && layout.per_chunk >= 16 ? 8 : 1;
  const std::size_t block_bytes =
      bit_bytes > 0 && layout.per_chunk % 16 == 0 ? 16 * std::size_t{bit_bytes} : 0;
  EXPECT_GT(end + more * (layout.stride + factor_bytes) + block_bytes + rounded, kFrameBytes) << code_bytes;
}

TEST(TailLayout, FitsIntoAFrame) {
  for (std::uint32_t code_bytes = 4; code_bytes <= 16'000; code_bytes += 4) {
    CheckLayout(code_bytes, 0);
    if (code_bytes <= 4'100) CheckLayout(code_bytes, (code_bytes / 4 + 7) / 8 * 8);
  }
}

TEST(TailChunk, HasNoRowsAtFirstWhateverTheMemoryHeld) {
  TestFrame frame;
  std::memset(&frame, 0xFF, sizeof frame);
  const TailLayout layout = LayOutTail(388, 96);
  const TailChunk chunk(frame.bytes, layout);
  chunk.Init();
  EXPECT_EQ(chunk.rows(), 0U);
  for (std::uint32_t word = 0; word < TailMarkWords(layout.per_chunk); word++)
    EXPECT_EQ(chunk.Marks(word), 0U);
}

TEST(TailChunk, GrowsInPlaceUntilItIsFull) {
  for (const std::uint32_t code_bytes : {4U, 12U, 128U, 388U, 768U, 1'536U, 4'096U, 16'000U}) {
    TestFrame frame;
    std::memset(&frame, 0xFF, sizeof frame);
    const TailLayout layout = LayOutTail(code_bytes, code_bytes % 256 == 0 ? code_bytes / 4 : 0);
    const TailChunk chunk(frame.bytes, layout);
    chunk.Init();
    std::uint32_t rows = 0;
    for (std::uint32_t more = 1; rows < layout.per_chunk; more = more % 70 + 3) {
      const std::uint32_t end = rows + more < layout.per_chunk ? rows + more : layout.per_chunk;
      ASSERT_TRUE(Append(chunk, layout, rows, end));
      rows = end;
      ASSERT_EQ(chunk.rows(), rows);
    }
    EXPECT_EQ(WrongRows(chunk, layout, rows), 0U) << code_bytes;
    EXPECT_FALSE(Append(chunk, layout, rows, rows + 1)) << "beyond its end";
  }
}

TEST(TailChunk, TakesRowsOnlyBehindThoseItHas) {
  TestFrame frame;
  const TailLayout layout = LayOutTail(20, 0);
  const TailChunk chunk(frame.bytes, layout);
  chunk.Init();
  ASSERT_TRUE(Append(chunk, layout, 0, 10));
  EXPECT_FALSE(Append(chunk, layout, 9, 12)) << "somebody else has added row 9";
  EXPECT_FALSE(Append(chunk, layout, 11, 12)) << "a gap";
  EXPECT_EQ(chunk.rows(), 10U);
  EXPECT_TRUE(Append(chunk, layout, 10, 12)) << "a refusal leaves it open to others";
  EXPECT_EQ(WrongRows(chunk, layout, 12), 0U);
}

TEST(TailChunk, ManyMayAddAndReadAtATime) {
  TestFrame frame;
  const TailLayout layout = LayOutTail(40, 16);
  const TailChunk chunk(frame.bytes, layout);
  chunk.Init();
  constexpr std::uint32_t kThreads = 4;
  std::atomic<std::uint32_t> wrong = {0};
  std::atomic<std::uint32_t> begun = {0};
  std::vector<std::thread> threads;
  for (std::uint32_t number = 0; number < kThreads; number++) {
    threads.emplace_back([&, number] {
      begun++;
      while (begun < kThreads) std::this_thread::yield();
      while (chunk.rows() < layout.per_chunk) {
        // Taking turns: one thread alone would be done before the others look.
        std::this_thread::yield();
        const std::uint32_t first = chunk.rows();
        const std::uint32_t end = first + 1 + (first + number) % 9;
        // The others only read: what they see of a writer they see by the number of rows.
        if (number < kThreads / 2)
          (void)Append(chunk, layout, first, end < layout.per_chunk ? end : layout.per_chunk);
        wrong += WrongRows(chunk, layout, chunk.rows());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0U);
  EXPECT_EQ(chunk.rows(), layout.per_chunk);
}

}  // namespace
}  // namespace tandem::shmem
