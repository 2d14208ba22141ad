#include "graph/segment_layout.hpp"

#include <cmath>
#include <cstring>

namespace tandem::graph {
namespace {

constexpr std::uint64_t kSectionAlignment = 8;

/// Codes that are the rows have nothing else to tell.
const char* ProblemOfBits(const SegmentHeader& header) noexcept {
  const auto metric = static_cast<vec::Metric>(header.metric);
  if (metric != vec::Metric::kL2 && metric != vec::Metric::kCosine) return "bit codec for another metric";
  if (header.walk_error != 0.0F || header.walk_reach != 0.0F || header.shared_error != 0.0F)
    return "wrong error of codes";
  if (header.step != 1.0F) return "wrong step";
  if (header.codec_reason >= vec::kWalkReasons) return "unknown reason for the codec";
  return nullptr;
}

const char* ProblemOfCodec(const SegmentHeader& header) noexcept {
  const auto code = static_cast<vec::WalkCode>(header.codec);
  const bool four_bits = code == vec::WalkCode::kSq4;
  if (code < vec::WalkCode::kSq8 || code > vec::WalkCode::kBit) return "unknown codec";
  if (code == vec::WalkCode::kBit) return ProblemOfBits(header);
  if (four_bits && static_cast<vec::Metric>(header.metric) == vec::Metric::kL1) return "4-bit codec for L1";
  if (!(header.walk_error >= 0.0F)) return "wrong error of codes";  // infinity: not known
  if (!(header.walk_reach >= 0.0F) && header.walk_reach != kDrifted) return "wrong reach of codes";
  const bool may_share =
      vec::IsMadeOfVectors(code) ? header.shared_error >= 0.0F : header.shared_error == 0.0F;
  if (!may_share) return "wrong error of shared nodes";
  if (header.codec_reason >= vec::kWalkReasons) return "unknown reason for the codec";
  return nullptr;
}

}  // namespace

vec::WalkCodec WalkCodecOf(const SegmentHeader& header, const float* offsets, const float* walk) noexcept {
  vec::WalkCodec codec;
  codec.code = static_cast<vec::WalkCode>(header.codec);
  codec.base = {static_cast<vec::Metric>(header.metric), header.dimensions, header.step, offsets};
  codec.error = header.walk_error;
  codec.reach = header.walk_reach;
  codec.shared_error = header.shared_error;
  if (codec.code == vec::WalkCode::kSq4) {
    codec.centre = walk;
    codec.step = walk + header.dimensions;
  }
  return codec;
}

void PlaceSections(SegmentHeader* header, bool row_starts) noexcept {
  std::uint64_t end = sizeof(SegmentHeader);
  const auto place = [&end](std::uint64_t bytes) {
    const std::uint64_t at = end;
    end = (at + bytes + kSectionAlignment - 1) / kSectionAlignment * kSectionAlignment;
    return at;
  };
  const std::uint64_t nodes = header->nodes;
  header->offsets_at = place(OffsetFloats(*header) * sizeof(float));
  header->walk_at = WalkFloats(*header) > 0 ? place(WalkFloats(*header) * sizeof(float)) : 0;
  header->records_at = place(nodes * header->record_bytes);
  header->upper_nodes_at = place(header->upper_nodes * sizeof(UpperNode));
  header->upper_links_at = place(std::uint64_t{header->upper_lists} * header->m * sizeof(std::uint32_t));
  header->row_starts_at = row_starts ? place((nodes + 1) * sizeof(std::uint32_t)) : 0;
  header->rows_at = place(header->rows * sizeof(std::uint32_t));
  header->tids_at = place(header->rows * sizeof(TidEntry));
  header->bytes = end;
}

const char* ProblemOf(const SegmentHeader& header) noexcept {
  if (header.magic != kSegmentMagic) return "wrong magic number";
  if (header.version != kSegmentVersion) return "unknown version";
  if (header.metric < 1 || header.metric > 4) return "unknown metric";
  if (const char* problem = ProblemOfCodec(header); problem != nullptr) return problem;
  if (header.m < 2 || header.m > kMaxM) return "m out of range";
  const auto code = static_cast<vec::WalkCode>(header.codec);
  if (header.dimensions == 0 || header.code_bytes != vec::RecordCodeBytes(code, header.dimensions) ||
      header.record_bytes != RecordBytes(header.m, header.code_bytes)) {
    return "wrong size of records";
  }
  if (!(header.step > 0.0F) || !std::isfinite(header.step)) return "wrong step";
  if (header.first_row > header.end_row || header.end_row - header.first_row >= kEndOfLinks ||
      header.rows > header.end_row - header.first_row) {
    return "wrong rows";
  }
  if (header.nodes >= kMaxNodes || header.upper_nodes > header.nodes ||
      header.upper_lists < header.upper_nodes || header.max_level > header.upper_lists ||
      header.upper_lists > std::uint64_t{header.upper_nodes} * header.max_level) {
    return "wrong counts of nodes";
  }
  const bool upper_entry = header.max_level > 0
                               ? header.entry_upper < header.upper_nodes
                               : header.entry_upper == kEndOfLinks && header.upper_nodes == 0;
  const bool entry = header.nodes > 0 ? header.entry_node < header.nodes
                                      : header.entry_node == kEndOfLinks && header.rows == 0;
  if (!entry || !upper_entry) return "wrong entry";
  SegmentHeader expected = header;
  PlaceSections(&expected, header.row_starts_at != 0);
  // There is no padding, and the step is the same float. NOLINTNEXTLINE(bugprone-suspicious-memory-comparison)
  if (std::memcmp(&expected, &header, sizeof header) != 0) return "wrong places of sections";
  if (header.row_starts_at == 0 && header.rows != header.nodes) return "no row starts";
  return nullptr;
}

}  // namespace tandem::graph
