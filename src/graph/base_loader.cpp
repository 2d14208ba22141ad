#include "graph/base_loader.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>

#include "graph/node_data.hpp"

namespace tandem::graph {
base::Status BaseLoader::Begin(SegmentSource* source, const BuildParameters& parameters, float* offsets,
                               float* walk) {
  source->Read(0, sizeof header_, &header_);
  const GraphParameters& graph = parameters.graph;
  const bool ours = header_.metric == static_cast<std::uint8_t>(graph.metric) &&
                    header_.dimensions == graph.dimensions && header_.m == graph.m &&
                    header_.first_row >= parameters.first_row && header_.end_row <= parameters.end_row;
  if (const char* problem = ProblemOf(header_); problem != nullptr) return Error(problem);
  if (!ours) return Error("another shape than this index");
  first_row_ = parameters.first_row;
  if (!vec::Grants(parameters.codec, graph.bits, static_cast<vec::WalkCode>(header_.codec))) {
    return base::Status::Error(base::ErrorKind::kUnsuitable, "its codec is not the one that is wanted");
  }
  // Infinite: of a codec that too few vectors have trained, before that counted as drifted.
  if (header_.walk_reach == kDrifted || std::isinf(header_.walk_reach)) {
    return base::Status::Error(base::ErrorKind::kUnsuitable, "its vectors have drifted from its codec");
  }
  if (OffsetFloats(header_) > 0)
    source->Read(header_.offsets_at, OffsetFloats(header_) * sizeof(float), offsets);
  if (WalkFloats(header_) > 0) source->Read(header_.walk_at, WalkFloats(header_) * sizeof(float), walk);
  stage_ = header_.nodes > 0 ? Stage::kRecords : Stage::kLoaded;
  return {};
}

bool BaseLoader::Load(SegmentSource* source, std::uint32_t max_nodes, const HnswMemory& memory,
                      base::Status* status) {
  *status = {};
  switch (stage_) {
    case Stage::kRecords:
      *status = LoadRecords(source, max_nodes, memory);
      break;
    case Stage::kUpperNodes:
      *status = LoadUpperNodes(source);
      break;
    case Stage::kUpperLinks:
      *status = LoadUpperLinks(source, max_nodes, memory);
      break;
    case Stage::kRowStarts:
      *status = LoadRowStarts(source);
      break;
    case Stage::kRows:
      *status = LoadRows(source, max_nodes);
      break;
    case Stage::kLoaded:
      break;
  }
  return status->ok() && stage_ != Stage::kLoaded;
}

base::Status BaseLoader::LoadRecords(SegmentSource* source, std::uint32_t max_nodes,
                                     const HnswMemory& memory) {
  const std::uint32_t end = next_ + std::min(max_nodes, header_.nodes - next_);
  const auto at_once =
      static_cast<std::uint32_t>(std::max<std::size_t>(kReadBytes / header_.record_bytes, 1));
  buffer_.resize(std::size_t{at_once} * header_.record_bytes);
  while (next_ < end) {
    const std::uint32_t count = std::min(at_once, end - next_);
    source->Read(header_.records_at + std::uint64_t{next_} * header_.record_bytes,
                 std::size_t{count} * header_.record_bytes, buffer_.data());
    for (std::uint32_t i = 0; i < count; ++i, ++next_) {
      const char* record = buffer_.data() + std::size_t{i} * header_.record_bytes;
      if (!LoadRecord(record, next_, memory)) return Error("a link out of range");
    }
  }
  if (next_ == header_.nodes) stage_ = Stage::kUpperNodes;
  return {};
}

bool BaseLoader::LoadRecord(const char* record, std::uint32_t node, const HnswMemory& memory) const noexcept {
  const std::size_t room = 2 * std::size_t{header_.m};
  std::uint32_t* list = memory.List(node);
  std::memset(list, 0, memory.stride);
  std::memcpy(memory.Data(node), record + room * sizeof(std::uint32_t), header_.code_bytes);
  std::size_t count = 0;
  for (; count < room; ++count) {
    std::uint32_t link;
    std::memcpy(&link, record + count * sizeof link, sizeof link);
    if (link == kEndOfLinks) break;
    if (link >= header_.nodes) return false;
    list[1 + count] = link;
  }
  SetCount(list, count);
  return true;
}

base::Status BaseLoader::LoadUpperNodes(SegmentSource* source) {
  upper_nodes_.resize(header_.upper_nodes);
  if (!upper_nodes_.empty()) {
    source->Read(header_.upper_nodes_at, upper_nodes_.size() * sizeof(UpperNode), upper_nodes_.data());
  }
  std::uint64_t lists = 0;
  std::uint64_t next_node = 0;
  for (const UpperNode& upper : upper_nodes_) {
    if (upper.node < next_node || upper.node >= header_.nodes || upper.level == 0 ||
        upper.level > header_.max_level || upper.first_list != lists) {
      return Error("a wrong upper node");
    }
    next_node = std::uint64_t{upper.node} + 1;
    lists += upper.level;
  }
  if (lists != header_.upper_lists) return Error("wrong upper levels");
  if (header_.max_level > 0) {
    const UpperNode& entry = upper_nodes_[header_.entry_upper];
    if (entry.node != header_.entry_node || entry.level != header_.max_level) return Error("a wrong entry");
  }
  next_ = 0;
  stage_ = Stage::kUpperLinks;
  return {};
}

base::Status BaseLoader::LoadUpperLinks(SegmentSource* source, std::uint32_t max_nodes,
                                        const HnswMemory& memory) {
  const std::uint32_t end = next_ + std::min(max_nodes, header_.upper_nodes - next_);
  const std::size_t list_bytes = header_.m * sizeof(std::uint32_t);
  for (; next_ < end; ++next_) {
    const UpperNode& upper = upper_nodes_[next_];
    buffer_.resize(std::max(buffer_.size(), upper.level * list_bytes));
    source->Read(header_.upper_links_at + upper.first_list * list_bytes, upper.level * list_bytes,
                 buffer_.data());
    if (!LoadUpperLists(upper, memory)) return Error("a wrong upper link");
  }
  if (next_ == header_.upper_nodes) {
    next_ = 0;
    stage_ = Stage::kRowStarts;
  }
  return {};
}

bool BaseLoader::LoadUpperLists(const UpperNode& upper, const HnswMemory& memory) {
  // As addPoint() allocates them. The level is what makes hnswlib free them: it is set right behind.
  memory.upper[upper.node] = static_cast<char*>(std::calloc(1, memory.list_bytes * upper.level + 1));
  if (memory.upper[upper.node] == nullptr) throw std::bad_alloc();
  memory.levels[upper.node] = static_cast<int>(upper.level);
  const char* from = buffer_.data();
  for (std::uint32_t level = 1; level <= upper.level; ++level, from += header_.m * sizeof(std::uint32_t)) {
    std::uint32_t* list = memory.UpperList(upper.node, level);
    std::uint32_t count = 0;
    for (; count < header_.m; ++count) {
      std::uint32_t ordinal;
      std::memcpy(&ordinal, from + count * sizeof ordinal, sizeof ordinal);
      if (ordinal == kEndOfLinks) break;
      if (ordinal >= header_.upper_nodes || upper_nodes_[ordinal].level < level) return false;
      list[1 + count] = upper_nodes_[ordinal].node;
    }
    SetCount(list, count);
  }
  return true;
}

base::Status BaseLoader::LoadRowStarts(SegmentSource* source) {
  if (header_.row_starts_at != 0) {
    row_starts_.resize(std::size_t{header_.nodes} + 1);
    source->Read(header_.row_starts_at, row_starts_.size() * sizeof(std::uint32_t), row_starts_.data());
    if (row_starts_.front() != 0 || row_starts_.back() != header_.rows ||
        !std::is_sorted(row_starts_.begin(), row_starts_.end())) {
      return Error("wrong row starts");
    }
  }
  rows_.reserve(header_.rows);
  stage_ = Stage::kRows;
  if (header_.rows == 0) EndLoading();
  return {};
}

base::Status BaseLoader::LoadRows(SegmentSource* source, std::uint32_t max_rows) {
  const std::uint64_t range = header_.end_row - header_.first_row;
  const auto shift = static_cast<std::uint32_t>(header_.first_row - first_row_);
  const std::uint64_t left = header_.rows - next_;
  const auto count =
      static_cast<std::uint32_t>(std::min({left, std::uint64_t{max_rows}, kReadBytes / sizeof(Row)}));
  buffer_.resize(std::max(buffer_.size(), count * sizeof(std::uint32_t)));
  source->Read(header_.rows_at + std::uint64_t{next_} * sizeof(std::uint32_t), count * sizeof(std::uint32_t),
               buffer_.data());
  for (std::uint32_t i = 0; i < count; ++i, ++next_) {
    std::uint32_t row;
    std::memcpy(&row, buffer_.data() + i * sizeof row, sizeof row);
    if (row >= range) return Error("a row out of range");
    while (!row_starts_.empty() && row_starts_[node_ + 1] <= next_) ++node_;
    rows_.push_back({row + shift, row_starts_.empty() ? next_ : node_});
  }
  if (next_ == header_.rows) EndLoading();
  return {};
}

void BaseLoader::SortRows() {
  const auto by_row = [](const Row& a, const Row& b) { return a.row < b.row; };
  if (!std::is_sorted(rows_.begin(), rows_.end(), by_row)) std::sort(rows_.begin(), rows_.end(), by_row);
}

void BaseLoader::EndLoading() {
  stage_ = Stage::kLoaded;
  std::vector<char>().swap(buffer_);
  std::vector<UpperNode>().swap(upper_nodes_);
  std::vector<std::uint32_t>().swap(row_starts_);
}

std::uint32_t BaseLoader::NodeOfRow(std::uint32_t row) noexcept {
  if (hint_ >= rows_.size() || rows_[hint_].row != row) {
    const auto before = [](const Row& entry, std::uint32_t wanted) { return entry.row < wanted; };
    hint_ =
        static_cast<std::size_t>(std::lower_bound(rows_.begin(), rows_.end(), row, before) - rows_.begin());
  }
  if (hint_ >= rows_.size() || rows_[hint_].row != row) return kNone;
  return rows_[hint_++].node;
}

void BaseLoader::DropRows() noexcept {
  std::vector<Row>().swap(rows_);
  hint_ = 0;
}

base::Status BaseLoader::Error(const char* what) const noexcept {
  return base::Status::Error(base::ErrorKind::kCorrupted, "graph segment of rows %llu to %llu has %s",
                             static_cast<unsigned long long>(header_.first_row),
                             static_cast<unsigned long long>(header_.end_row), what);
}

}  // namespace tandem::graph
