#include "graph/segment_image.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace tandem::graph {
namespace {

/// The part of an image that is asked for, and where it goes.
struct Wanted {
  std::uint64_t offset;
  std::uint64_t end;
  char* to;

  /// What falls into [at, at + bytes), with its offset from `at` instead.
  [[nodiscard]] Wanted Within(std::uint64_t at, std::uint64_t bytes) const noexcept {
    const std::uint64_t from = std::max(offset, at);
    const std::uint64_t until = std::max(std::min(end, at + bytes), from);
    return {from - at, until - at, to + (from - offset)};
  }
  [[nodiscard]] std::uint64_t size() const noexcept { return end - offset; }
};

void CopySection(const Wanted& wanted, std::uint64_t at, const void* section, std::uint64_t bytes) noexcept {
  const Wanted part = wanted.Within(at, bytes);
  if (part.size() > 0) std::memcpy(part.to, static_cast<const char*>(section) + part.offset, part.size());
}

}  // namespace

void SegmentImage::LayOut(const BuildParameters& parameters, const BuiltGraph& graph,
                          std::vector<TidEntry> tids, const std::vector<std::uint32_t>& node_of) {
  graph_ = graph;
  tids_ = std::move(tids);
  NameNodes();
  ListUpperNodes();
  OrderRows(node_of);
  FillHeader(parameters);
}

void SegmentImage::NameNodes() {
  bool same = true;
  for (std::uint32_t node = 0; node < graph_.nodes && same; ++node) same = IdOf(node) == node;
  if (same) return;
  node_of_id_.resize(graph_.nodes);
  for (std::uint32_t node = 0; node < graph_.nodes; ++node) node_of_id_[IdOf(node)] = node;
}

void SegmentImage::ListUpperNodes() {
  const auto level_of = [this](std::uint32_t node) { return graph_.memory.Level(IdOf(node)); };
  std::size_t count = 0;
  for (std::uint32_t node = 0; node < graph_.nodes; ++node) count += level_of(node) > 0 ? 1 : 0;
  upper_nodes_.reserve(count);
  std::uint32_t lists = 0;
  for (std::uint32_t node = 0; node < graph_.nodes; ++node) {
    if (level_of(node) == 0) continue;
    upper_nodes_.push_back({node, level_of(node), lists});
    lists += level_of(node);
  }
  header_.upper_nodes = static_cast<std::uint32_t>(count);
  header_.upper_lists = lists;
}

void SegmentImage::OrderRows(const std::vector<std::uint32_t>& node_of) {
  // Counting sort by node. Counts become ends, and ends, row by row from the last one, starts.
  row_starts_.assign(std::size_t{graph_.nodes} + 1, 0);
  for (const std::uint32_t node : node_of) ++row_starts_[node];
  std::uint32_t end = 0;
  for (std::uint32_t& start : row_starts_) start = end += start;
  rows_.resize(tids_.size());
  for (std::size_t i = tids_.size(); i-- > 0;) rows_[--row_starts_[node_of[i]]] = tids_[i].Row();

  bool one_each = tids_.size() == graph_.nodes;
  for (std::uint32_t node = 0; node < graph_.nodes && one_each; ++node) one_each = row_starts_[node] == node;
  if (one_each) std::vector<std::uint32_t>().swap(row_starts_);

  // The heap is mostly filled in the order of row ids: then there is nothing to sort.
  const auto by_tid = [](const TidEntry& a, const TidEntry& b) { return a.tid.Key() < b.tid.Key(); };
  if (!std::is_sorted(tids_.begin(), tids_.end(), by_tid)) std::sort(tids_.begin(), tids_.end(), by_tid);
}

void SegmentImage::FillHeader(const BuildParameters& parameters) {
  const GraphParameters& shape = parameters.graph;
  header_.magic = kSegmentMagic;
  header_.version = kSegmentVersion;
  header_.metric = static_cast<std::uint8_t>(shape.metric);
  header_.codec = static_cast<std::uint8_t>(graph_.codec.code);
  header_.dimensions = shape.dimensions;
  header_.m = shape.m;
  header_.ef_construction = shape.ef_construction;
  header_.code_bytes = static_cast<std::uint32_t>(shape.CodeBytes());
  header_.record_bytes = RecordBytes(shape.m, header_.code_bytes);
  header_.step = graph_.codec.base.step;
  header_.walk_error = graph_.codec.error;
  header_.walk_reach = graph_.codec.reach;
  header_.shared_error = graph_.codec.shared_error;
  header_.codec_reason = static_cast<std::uint32_t>(graph_.codec_reason);
  header_.nodes = graph_.nodes;
  header_.entry_node = graph_.nodes > 0 ? NodeOf(graph_.entry_id) : kEndOfLinks;
  header_.max_level = graph_.max_level;
  header_.entry_upper = graph_.max_level > 0 ? OrdinalOf(header_.entry_node) : kEndOfLinks;
  header_.first_row = parameters.first_row;
  header_.end_row = parameters.end_row;
  header_.rows = tids_.size();
  PlaceSections(&header_, !row_starts_.empty());
}

std::uint32_t SegmentImage::OrdinalOf(std::uint32_t node) const noexcept {
  const auto before = [](const UpperNode& upper, std::uint32_t wanted) { return upper.node < wanted; };
  const auto at = std::lower_bound(upper_nodes_.begin(), upper_nodes_.end(), node, before);
  return static_cast<std::uint32_t>(at - upper_nodes_.begin());
}

void SegmentImage::Read(std::uint64_t offset, std::size_t bytes, char* to) const noexcept {
  std::memset(to, 0, bytes);  // what lies between sections
  const Wanted wanted{offset, offset + bytes, to};
  const auto copy = [&wanted](std::uint64_t at, const auto& section) {
    CopySection(wanted, at, section.data(), section.size() * sizeof section[0]);
  };
  CopySection(wanted, 0, &header_, sizeof header_);
  CopySection(wanted, header_.offsets_at, graph_.codec.base.offset, OffsetFloats(header_) * sizeof(float));
  CopySection(wanted, header_.walk_at, graph_.walk, WalkFloats(header_) * sizeof(float));
  copy(header_.upper_nodes_at, upper_nodes_);
  copy(header_.row_starts_at, row_starts_);
  copy(header_.rows_at, rows_);
  copy(header_.tids_at, tids_);
  const std::uint64_t record_bytes = std::uint64_t{header_.nodes} * header_.record_bytes;
  const Wanted records = wanted.Within(header_.records_at, record_bytes);
  ReadRecords(records.offset, records.size(), records.to);
  const std::uint64_t list_bytes = std::uint64_t{header_.upper_lists} * header_.m * sizeof(std::uint32_t);
  const Wanted lists = wanted.Within(header_.upper_links_at, list_bytes);
  ReadUpperLinks(lists.offset, lists.size(), lists.to);
}

void SegmentImage::ReadRecords(std::uint64_t at, std::size_t bytes, char* to) const noexcept {
  if (bytes == 0) return;
  const Wanted wanted{at, at + bytes, to};
  const std::size_t link_bytes = 2 * std::size_t{header_.m} * sizeof(std::uint32_t);
  for (auto node = static_cast<std::uint32_t>(at / header_.record_bytes);; ++node) {
    const std::uint64_t start = std::uint64_t{node} * header_.record_bytes;
    if (start >= wanted.end) return;
    const std::uint32_t id = IdOf(node);
    if (wanted.Within(start, link_bytes).size() > 0) {
      std::uint32_t links[2 * kMaxM];
      CopyLinks(graph_.memory.List(id), 2 * std::size_t{header_.m}, links);
      CopySection(wanted, start, links, link_bytes);
    }
    CopySection(wanted, start + link_bytes, graph_.memory.Data(id), header_.record_bytes - link_bytes);
  }
}

void SegmentImage::ReadUpperLinks(std::uint64_t at, std::size_t bytes, char* to) const noexcept {
  if (bytes == 0) return;
  const Wanted wanted{at, at + bytes, to};
  const std::size_t list_bytes = header_.m * sizeof(std::uint32_t);
  auto list = static_cast<std::uint32_t>(at / list_bytes);
  const auto behind = [](std::uint32_t wanted_list, const UpperNode& upper) {
    return wanted_list < upper.first_list;
  };
  auto upper = std::upper_bound(upper_nodes_.begin(), upper_nodes_.end(), list, behind) - 1;
  for (; list * std::uint64_t{list_bytes} < wanted.end; ++list) {
    if (list == upper->first_list + upper->level) ++upper;
    std::uint32_t links[kMaxM];
    CopyLinks(graph_.memory.UpperList(IdOf(upper->node), list - upper->first_list + 1), header_.m, links);
    for (std::uint32_t i = 0; i < header_.m && links[i] != kEndOfLinks; ++i) links[i] = OrdinalOf(links[i]);
    CopySection(wanted, list * std::uint64_t{list_bytes}, links, list_bytes);
  }
}

/// From hnswlib's form and ids to ours.
void SegmentImage::CopyLinks(const std::uint32_t* list, std::size_t room, std::uint32_t* to) const noexcept {
  const std::size_t count = CountOf(list);
  for (std::size_t i = 0; i < room; ++i) to[i] = i < count ? NodeOf(list[1 + i]) : kEndOfLinks;
}

}  // namespace tandem::graph
