#pragma once
// A chunk of codes of rows that are in no segment yet: a frame's 64 KB, which grows in place. Includes no server header, so that
// threads can attack it under a sanitizer (test/unit/shmem).
//
//   header: rows, writer | one bit a row: has no code | bits, in blocks of rows | three runs of floats | codes, at equal distances
//
// Bits and floats (vec/one_bit.hpp) tell most readers that a row's code need not be looked at; layouts without them have neither.
// In a block byte j of row i is byte 16 * j + i: what a row adds are bytes of its own.
//
// Rows are only ever added behind the others, and what was added never changes. A reader takes the number of rows (acquire)
// and looks at nothing beyond; a writer is alone by its mark, writes behind that number, and raises it (release). Between
// taking the mark and giving it back nothing can fail or wait, so nobody ever has to clean it up; who does not get it goes
// without: somebody else is adding the same rows.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "shmem/chunk_directory.hpp"

namespace tandem::shmem {

/// Where what is in a chunk.
struct TailLayout {
  std::uint32_t stride = 4;      ///< bytes from one code to the next
  std::uint32_t per_chunk = 0;   ///< rows
  std::uint32_t bit_bytes = 0;   ///< of a row's bits; 0: codes have none
  std::uint32_t bits_at = 0;     ///< blocks of them
  std::uint32_t factors_at = 0;  ///< run i of the floats begins i * per_chunk floats behind it
  std::uint32_t codes_at = 0;
};

/// Floats that a row with bits has.
constexpr std::uint32_t kTailFactors = 3;
/// Rows whose bits lie in a block.
constexpr std::uint32_t kTailBitsRows = 16;

/// Whole blocks' rows.
[[nodiscard]] constexpr std::uint32_t InWholeBlocks(std::uint32_t rows) noexcept {
  return (rows + kTailBitsRows - 1) / kTailBitsRows * kTailBitsRows;
}

/// Where byte 0 of a row's bits is in blocks; byte j is kTailBitsRows * j behind it.
[[nodiscard]] constexpr std::size_t PlaceOfBits(std::uint32_t row, std::uint32_t bit_bytes) noexcept {
  return std::size_t{row / kTailBitsRows} * kTailBitsRows * bit_bytes + row % kTailBitsRows;
}

/// What is known of rows: as many of each as there are rows.
struct TailRows {
  std::uint8_t* codes;           ///< layout.stride apart
  std::uint8_t* bits;            ///< in blocks, from the first row on; nullptr: the layout has none
  float* factors[kTailFactors];  ///< runs
  std::uint64_t* marks;          ///< bit i of word i / 64: row i has no code
};

struct TailChunkHeader {
  std::atomic<std::uint32_t> rows;
  std::atomic<std::uint32_t> writer;  ///< 1 while one writes
};

/// Rows that share a word of marks.
constexpr std::uint32_t kTailMarksPerWord = 64;

/// Codes of so many bytes begin at cache lines each. Loads of 64 bytes that cross none save a sixth of the time of comparing
/// 388 bytes, for a sixth more memory.
constexpr std::uint32_t kAlignedFrom = 256;
/// Of codes with bits few are looked at: so they only take no more cache lines than they must.
constexpr std::uint32_t kAlignedBehindBits = 16;

[[nodiscard]] constexpr std::uint32_t TailMarkWords(std::uint32_t rows) noexcept {
  return (rows + kTailMarksPerWord - 1) / kTailMarksPerWord;
}

/// How many rows fit into so many bytes beside their bits, which take as much as whole blocks of `in_blocks` rows.
[[nodiscard]] constexpr std::uint32_t RowsBesideBits(std::uint32_t bytes, std::uint32_t in_blocks,
                                                     std::uint32_t bit_bytes,
                                                     std::uint32_t other_bytes) noexcept {
  const std::uint32_t taken = in_blocks * bit_bytes;
  if (taken >= bytes) return 0;
  const std::uint32_t rows = (bytes - taken) * 8 / (other_bytes * 8 + 1);
  return rows < in_blocks ? rows : in_blocks;
}

/// code_bytes: a multiple of 4, small enough for one row at least. bit_bytes: a multiple of 8, or 0; a block of them takes half of a
/// frame at the most.
[[nodiscard]] constexpr TailLayout LayOutTail(std::uint32_t code_bytes, std::uint32_t bit_bytes) noexcept {
  const std::uint32_t alignment = bit_bytes > 0               ? kAlignedBehindBits
                                  : code_bytes < kAlignedFrom ? std::uint32_t{4}
                                                              : std::uint32_t{64};
  const std::uint32_t stride = (code_bytes + alignment - 1) / alignment * alignment;
  const std::uint32_t factor_bytes = bit_bytes > 0 ? kTailFactors * std::uint32_t{sizeof(float)} : 0;
  // Kept back: bits and codes begin at a cache line, and the last word of marks may be filled in part.
  const auto bytes = static_cast<std::uint32_t>(kFrameBytes - sizeof(TailChunkHeader) -
                                                (bit_bytes > 0 ? 2 : 1) * 64 - sizeof(std::uint64_t));
  TailLayout layout;
  layout.stride = stride;
  layout.per_chunk = bytes * 8 / ((stride + bit_bytes + factor_bytes) * 8 + 1);
  if (bit_bytes > 0) {
    // Whole blocks, or besides one that is filled in part: half at least, or it is not worth the look.
    const std::uint32_t whole = layout.per_chunk / kTailBitsRows * kTailBitsRows;
    const std::uint32_t more = RowsBesideBits(bytes, whole + kTailBitsRows, bit_bytes, stride + factor_bytes);
    layout.per_chunk = whole == 0 || more >= whole + kTailBitsRows / 2 ? more : whole;
  }
  const auto marks_end = static_cast<std::uint32_t>(sizeof(TailChunkHeader) +
                                                    TailMarkWords(layout.per_chunk) * sizeof(std::uint64_t));
  layout.bit_bytes = bit_bytes;
  layout.bits_at = (marks_end + 63) / 64 * 64;
  layout.factors_at = layout.bits_at + InWholeBlocks(layout.per_chunk) * bit_bytes;
  layout.codes_at = (layout.factors_at + layout.per_chunk * factor_bytes + 63) / 64 * 64;
  return layout;
}

/// A chunk as those see it who read or extend it. Owns nothing.
class TailChunk {
 public:
  TailChunk(const char* frame, const TailLayout& layout) noexcept
      : frame_(const_cast<char*>(
            frame)),  // chunk tables hand out what readers may have; here a writer may be one
        layout_(layout) {}

  /// Makes it a chunk without rows. The caller alone knows the frame.
  void Init() const noexcept { std::memset(frame_, 0, layout_.bits_at); }

  /// Those below it can be read.
  [[nodiscard]] std::uint32_t rows() const noexcept { return Header()->rows.load(std::memory_order_acquire); }

  [[nodiscard]] const std::uint8_t* codes() const noexcept {
    return reinterpret_cast<const std::uint8_t*>(frame_ + layout_.codes_at);
  }
  [[nodiscard]] const std::uint8_t* bits() const noexcept { return Bits(); }
  [[nodiscard]] const float* Factors(std::uint32_t run) const noexcept { return FactorRun(run); }

  /// Bit i: row 64 * word + i has no code.
  [[nodiscard]] std::uint64_t Marks(std::uint32_t word) const noexcept {
    return MarkWords()[word].load(std::memory_order_relaxed);
  }

  /// Adds rows [first, end). False, with nothing changed, if the chunk has not `first` rows, or somebody else writes.
  bool Append(std::uint32_t first, std::uint32_t end, const TailRows& rows) const noexcept {
    if (Header()->writer.exchange(1, std::memory_order_acquire) != 0) return false;
    const bool fits = Header()->rows.load(std::memory_order_relaxed) == first && end <= layout_.per_chunk;
    if (fits && end > first) {
      const std::size_t count = end - first;
      std::memcpy(frame_ + layout_.codes_at + std::size_t{first} * layout_.stride, rows.codes,
                  count * layout_.stride);
      if (layout_.bit_bytes > 0) {
        AppendBits(first, end, rows.bits);
        for (std::uint32_t run = 0; run < kTailFactors; run++)
          std::memcpy(FactorRun(run) + first, rows.factors[run], count * sizeof(float));
      }
      for (std::uint32_t row = first; row < end; row++)
        if ((rows.marks[(row - first) / kTailMarksPerWord] >> ((row - first) % kTailMarksPerWord) & 1) != 0)
          Mark(row);
      Header()->rows.store(end, std::memory_order_release);
    }
    Header()->writer.store(0, std::memory_order_release);
    return fits;
  }

 private:
  using MarkWord = std::atomic<std::uint64_t>;

  [[nodiscard]] TailChunkHeader* Header() const noexcept {
    return reinterpret_cast<TailChunkHeader*>(frame_);
  }
  [[nodiscard]] std::uint8_t* Bits() const noexcept {
    return reinterpret_cast<std::uint8_t*>(frame_ + layout_.bits_at);
  }
  [[nodiscard]] float* FactorRun(std::uint32_t run) const noexcept {
    return reinterpret_cast<float*>(frame_ + layout_.factors_at) + std::size_t{run} * layout_.per_chunk;
  }
  [[nodiscard]] MarkWord* MarkWords() const noexcept {
    return reinterpret_cast<MarkWord*>(frame_ + sizeof(TailChunkHeader));
  }
  /// Byte by byte: those between are of rows that others are reading.
  void AppendBits(std::uint32_t first, std::uint32_t end, const std::uint8_t* from) const noexcept {
    for (std::uint32_t row = first; row < end; row++) {
      const std::uint8_t* byte = from + PlaceOfBits(row - first, layout_.bit_bytes);
      std::uint8_t* to = Bits() + PlaceOfBits(row, layout_.bit_bytes);
      for (std::uint32_t j = 0; j < layout_.bit_bytes; j++) to[j * kTailBitsRows] = byte[j * kTailBitsRows];
    }
  }
  void Mark(std::uint32_t row) const noexcept {
    // One writer: no read-modify-write. Readers of rows before see the word with or without bits that are not theirs.
    MarkWord& word = MarkWords()[row / kTailMarksPerWord];
    word.store(word.load(std::memory_order_relaxed) | std::uint64_t{1} << (row % kTailMarksPerWord),
               std::memory_order_relaxed);
  }

  char* frame_;
  TailLayout layout_;
};

static_assert(sizeof(TailChunkHeader) % alignof(std::atomic<std::uint64_t>) == 0);
static_assert(std::atomic<std::uint64_t>::is_always_lock_free, "processes share words of marks");

}  // namespace tandem::shmem
