#pragma once
// The frozen form of a graph, version 2: one run of bytes, laid over pages by storage/. Little-endian, as built.
//
//   SegmentHeader
//   offsets of the quantiser      float32[dimensions], unless the walk codec is kBit
//   centres and steps             float32[dimensions] each, only if the walk codec is kSq4
//   records                       nodes * record_bytes:  uint32 link[2 m], ended by kNoNode if fewer | code | padding to 4
//   upper nodes                   UpperNode[upper_nodes], ascending by node
//   upper links                   uint32[m] a level: ordinals into the upper nodes, ended by kNoNode if fewer
//   row starts                    uint32[nodes + 1], only if rows != nodes or some node has no row
//   rows                          uint32[rows]: row id - first_row, node after node
//   TIDs                          TidEntry[rows], ascending by TID
//
// Codes here have 8 bits a dimension, whatever the walk codec: graphs grow on them, and walk codes are made of them, or of vectors, when
// a segment is brought into memory. But those of kBit are the bits, for both. Sections start at multiples of 8. Full-precision vectors are not repeated here: they stay in the flat relation.
// A node without rows is one whose rows all died: it keeps the graph connected until the next rebuild.

#include <cstdint>

#include "base/ids.hpp"
#include "vec/metric.hpp"
#include "vec/walk_query.hpp"
#include "vec/walk_training.hpp"

namespace tandem::graph {

constexpr std::uint32_t kSegmentMagic = 0x47455354;  // "TSEG"
constexpr std::uint16_t kSegmentVersion = 2;
constexpr std::uint32_t kEndOfLinks = ~std::uint32_t{0};
constexpr std::uint32_t kMaxM = 100;
/// SegmentHeader::walk_reach of a segment that no other may grow from: too many of its vectors are unlike those that its
/// codec was trained on, or these were too few.
constexpr float kDrifted = -1.0F;
constexpr std::uint32_t kMaxNodes = std::uint32_t{1} << 31;  // searches keep a mark in the highest bit

struct SegmentHeader {
  std::uint32_t magic;
  std::uint16_t version;
  std::uint8_t metric;  ///< vec::Metric
  std::uint8_t codec;   ///< vec::WalkCode
  std::uint32_t dimensions;
  std::uint32_t m;
  std::uint32_t ef_construction;
  std::uint32_t code_bytes;
  std::uint32_t record_bytes;
  float step;  ///< of the quantiser; kBit: 1
  std::uint32_t nodes;
  std::uint32_t upper_nodes;  ///< nodes of level 1 or more
  std::uint32_t upper_lists;  ///< sum of their levels
  std::uint32_t entry_node;   ///< kEndOfLinks if nodes == 0
  std::uint32_t entry_upper;  ///< its ordinal among the upper nodes; kEndOfLinks if it has level 0
  std::uint32_t max_level;
  float walk_error;            ///< vec::WalkCodec::error
  std::uint32_t codec_reason;  ///< vec::WalkReason
  std::uint64_t first_row;     ///< row ids [first_row, end_row) are this segment's
  std::uint64_t end_row;
  std::uint64_t rows;  ///< rows in the graph: those that were alive and codable when it was built
  std::uint64_t offsets_at;
  std::uint64_t walk_at;  ///< centres, then steps; 0 if the walk codec has none
  std::uint64_t records_at;
  std::uint64_t upper_nodes_at;
  std::uint64_t upper_links_at;
  std::uint64_t row_starts_at;  ///< 0 if node n's only row is rows[n]
  std::uint64_t rows_at;
  std::uint64_t tids_at;
  std::uint64_t bytes;  ///< of the whole segment
  float walk_reach;     ///< vec::WalkCodec::reach, or kDrifted
  float shared_error;   ///< vec::WalkCodec::shared_error; 0 with walk codes that are not made of vectors
};
static_assert(sizeof(SegmentHeader) == 168, "on-disk format");

/// Levels 1 … level of a node: lists first_list … first_list + level - 1.
struct UpperNode {
  std::uint32_t node;
  std::uint32_t level;
  std::uint32_t first_list;
};
static_assert(sizeof(UpperNode) == 12, "on-disk format");

struct TidEntry {
  base::HeapTid tid;
  std::uint16_t row_low;
  std::uint16_t row_high;  ///< row id - first_row = row_high << 16 | row_low

  [[nodiscard]] constexpr std::uint32_t Row() const noexcept {
    return (std::uint32_t{row_high} << 16) | row_low;
  }
};
static_assert(sizeof(TidEntry) == 10, "on-disk format");

/// Reads bytes of a frozen segment; implemented over pages by storage/, over memory by tests.
/// Read() may leave by longjmp (a server error): callers keep no object with a destructor on their stack.
class SegmentSource {
 public:
  virtual void Read(std::uint64_t offset, std::size_t bytes, void* to) = 0;

 protected:
  ~SegmentSource() = default;
};

/// Bytes of a node's record: 2 m links and the code, padded.
[[nodiscard]] constexpr std::uint32_t RecordBytes(std::uint32_t m, std::uint32_t code_bytes) noexcept {
  return 2 * m * static_cast<std::uint32_t>(sizeof(std::uint32_t)) + (code_bytes + 3) / 4 * 4;
}

/// Floats of the section of offsets.
[[nodiscard]] constexpr std::uint32_t OffsetFloats(const SegmentHeader& header) noexcept {
  return header.codec == static_cast<std::uint8_t>(vec::WalkCode::kBit) ? 0 : header.dimensions;
}

/// Floats of the section of centres and steps.
[[nodiscard]] constexpr std::uint32_t WalkFloats(const SegmentHeader& header) noexcept {
  return header.codec == static_cast<std::uint8_t>(vec::WalkCode::kSq4) ? 2 * header.dimensions : 0;
}

/// Of a segment whose header has been checked. offsets: OffsetFloats() floats; walk: WalkFloats() floats. Both must outlive it.
[[nodiscard]] vec::WalkCodec WalkCodecOf(const SegmentHeader& header, const float* offsets,
                                         const float* walk) noexcept;

/// Fills in every *_at and `bytes` from the counts. row_starts: whether that section exists.
void PlaceSections(SegmentHeader* header, bool row_starts) noexcept;

/// What is wrong with a header in itself, e.g. "wrong magic number"; nullptr if nothing is. One that passes cannot make a
/// reader look outside its `bytes` bytes, as long as the reader checks node ordinals.
[[nodiscard]] const char* ProblemOf(const SegmentHeader& header) noexcept;

}  // namespace tandem::graph
