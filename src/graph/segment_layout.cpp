#include "graph/segment_layout.hpp"

namespace tandem::graph {
namespace {

constexpr std::uint64_t kSectionAlignment = 8;

}  // namespace

void PlaceSections(SegmentHeader* header, bool row_starts) noexcept {
  std::uint64_t end = sizeof(SegmentHeader);
  const auto place = [&end](std::uint64_t bytes) {
    const std::uint64_t at = end;
    end = (at + bytes + kSectionAlignment - 1) / kSectionAlignment * kSectionAlignment;
    return at;
  };
  const std::uint64_t nodes = header->nodes;
  header->offsets_at = place(header->dimensions * sizeof(float));
  header->records_at = place(nodes * header->record_bytes);
  header->upper_nodes_at = place(header->upper_nodes * sizeof(UpperNode));
  header->upper_links_at = place(std::uint64_t{header->upper_lists} * header->m * sizeof(std::uint32_t));
  header->row_starts_at = row_starts ? place((nodes + 1) * sizeof(std::uint32_t)) : 0;
  header->rows_at = place(header->rows * sizeof(std::uint32_t));
  header->tids_at = place(header->rows * sizeof(TidEntry));
  header->bytes = end;
}

}  // namespace tandem::graph
