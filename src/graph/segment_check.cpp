#include "graph/segment_check.hpp"

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <limits>

namespace tandem::graph {
namespace {

constexpr std::uint64_t kNoPlace = ~std::uint64_t{0};
constexpr std::size_t kReadBytes = std::size_t{64} << 10;

}  // namespace

void SegmentChecker::Run(SegmentSource* source, std::uint64_t bytes, SegmentProblemSink sink, void* state) {
  source_ = source;
  sink_ = sink;
  sink_state_ = state;
  problems_ = 0;
  if (!CheckHeader(bytes)) return;
  CheckCodec();
  CheckRecords();
  CheckUpperNodes();
  CheckUpperLinks();
  CheckReachability();
  CheckRowStarts();
  CheckRows();
  CheckTids();
}

bool SegmentChecker::CheckHeader(std::uint64_t bytes) {
  if (bytes < sizeof header_) {
    Report(0, "segment of %llu bytes has no header", static_cast<unsigned long long>(bytes));
    return false;
  }
  source_->Read(0, sizeof header_, &header_);
  if (const char* problem = ProblemOf(header_); problem != nullptr) {
    Report(0, "segment header: %s", problem);
    return false;
  }
  if (header_.bytes != bytes) {
    Report(0, "segment header: %llu bytes, but there are %llu",
           static_cast<unsigned long long>(header_.bytes), static_cast<unsigned long long>(bytes));
    return false;
  }
  return true;
}

void SegmentChecker::CheckCodec() {
  constexpr float kAny = std::numeric_limits<float>::lowest();
  CheckFloats(header_.offsets_at, OffsetFloats(header_), kAny, "offset");
  if (header_.walk_at == 0) return;
  CheckFloats(header_.walk_at, header_.dimensions, kAny, "centre");
  CheckFloats(header_.walk_at + header_.dimensions * sizeof(float), header_.dimensions,
              std::numeric_limits<float>::min(), "step");
}

void SegmentChecker::CheckFloats(std::uint64_t at, std::uint64_t count, float least, const char* what) {
  const float* floats = nullptr;
  for (std::uint64_t first = 0; first < count && !enough();) {
    const std::uint64_t read = ReadSome(at, first, count, sizeof(float), &floats);
    for (std::uint64_t i = 0; i < read; ++i) {
      if (std::isfinite(floats[i]) && floats[i] >= least) continue;
      Report(at + (first + i) * sizeof(float), "%s of dimension %llu is out of range", what,
             static_cast<unsigned long long>(first + i + 1));
    }
    first += read;
  }
}

void SegmentChecker::CheckRecords() {
  const char* records = nullptr;
  for (std::uint64_t first = 0; first < header_.nodes && !enough();) {
    const std::uint64_t count =
        ReadSome(header_.records_at, first, header_.nodes, header_.record_bytes, &records);
    for (std::uint64_t i = 0; i < count; ++i) {
      // Records begin at multiples of 4.
      CheckLinks(reinterpret_cast<const std::uint32_t*>(records + i * header_.record_bytes), 2 * header_.m,
                 static_cast<std::uint32_t>(first + i), header_.nodes,
                 header_.records_at + (first + i) * header_.record_bytes);
      CheckBits(records + i * header_.record_bytes, first + i);
    }
    first += count;
  }
}

/// Distances count what lies behind a string's last bit, which is nothing.
void SegmentChecker::CheckBits(const char* record, std::uint64_t node) {
  if (static_cast<vec::WalkCode>(header_.codec) != vec::WalkCode::kBit) return;
  const std::uint64_t link_bytes = 2 * std::uint64_t{header_.m} * sizeof(std::uint32_t);
  const auto* code = reinterpret_cast<const unsigned char*>(record + link_bytes);
  const std::uint32_t whole = header_.dimensions / 8;
  unsigned behind = 0;
  for (std::uint32_t byte = whole; byte < header_.code_bytes; ++byte)
    behind |= code[byte] & (byte == whole ? 0xFFU >> header_.dimensions % 8 : 0xFFU);
  if (behind != 0)
    Report(header_.records_at + node * header_.record_bytes + link_bytes, "bits behind the last one");
}

void SegmentChecker::CheckLinks(const std::uint32_t* links, std::uint32_t count, std::uint32_t self,
                                std::uint32_t bound, std::uint64_t offset) {
  std::uint32_t used = 0;
  while (used < count && links[used] != kEndOfLinks) ++used;
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint64_t at = offset + i * sizeof(std::uint32_t);
    if (i >= used && links[i] != kEndOfLinks) Report(at, "a link behind the end of the list");
    if (i < used && links[i] >= bound) {
      Report(at, "link to %u, but there are only %u", links[i], bound);
    } else if (i < used && links[i] == self) {
      Report(at, "%u is linked to itself", self);
    }
  }
  sorted_.assign(links, links + used);
  std::sort(sorted_.begin(), sorted_.end());
  const auto twice = std::adjacent_find(sorted_.begin(), sorted_.end());
  if (twice != sorted_.end()) Report(offset, "%u is linked to %u twice", self, *twice);
}

void SegmentChecker::CheckUpperNodes() {
  upper_.resize(header_.upper_nodes);
  if (!upper_.empty()) {
    source_->Read(header_.upper_nodes_at, upper_.size() * sizeof(UpperNode), upper_.data());
  }
  std::uint64_t lists = 0;
  std::uint64_t next_node = 0;
  std::uint32_t max_level = 0;
  for (std::size_t i = 0; i < upper_.size() && !enough(); ++i) {
    const std::uint64_t at = header_.upper_nodes_at + i * sizeof(UpperNode);
    if (upper_[i].node < next_node) Report(at, "upper node %zu does not ascend", i);
    if (upper_[i].node >= header_.nodes) Report(at, "upper node %zu is node %u", i, upper_[i].node);
    if (upper_[i].level == 0 || upper_[i].level > header_.max_level) {
      Report(at, "upper node %zu has level %u of %u", i, upper_[i].level, header_.max_level);
    }
    if (upper_[i].first_list != lists) Report(at, "upper node %zu has its lists in a wrong place", i);
    next_node = std::uint64_t{upper_[i].node} + 1;
    lists += upper_[i].level;
    max_level = std::max(max_level, upper_[i].level);
  }
  if (enough() || upper_.empty()) return;
  if (lists != header_.upper_lists)
    Report(header_.upper_nodes_at, "upper nodes have too many or too few levels");
  const UpperNode& entry = upper_[header_.entry_upper];
  if (entry.node != header_.entry_node || entry.level != max_level) {
    Report(0, "segment header: the entry is not the top of the graph");
  }
}

void SegmentChecker::CheckUpperLinks() {
  const std::size_t list_bytes = header_.m * sizeof(std::uint32_t);
  const std::uint32_t* links = nullptr;
  std::size_t owner = 0;
  for (std::uint64_t first = 0; first < header_.upper_lists && !enough();) {
    const std::uint64_t count =
        ReadSome(header_.upper_links_at, first, header_.upper_lists, list_bytes, &links);
    for (std::uint64_t i = 0; i < count; ++i, links += header_.m) {
      while (owner + 1 < upper_.size() && first + i >= upper_[owner + 1].first_list) ++owner;
      const std::uint64_t at = header_.upper_links_at + (first + i) * list_bytes;
      const auto level = static_cast<std::uint32_t>(first + i - upper_[owner].first_list + 1);
      CheckLinks(links, header_.m, static_cast<std::uint32_t>(owner), header_.upper_nodes, at);
      for (std::uint32_t k = 0; k < header_.m && links[k] < header_.upper_nodes; ++k) {
        if (upper_[links[k]].level < level) {
          Report(at + k * sizeof(std::uint32_t), "link on level %u to a node of level %u", level,
                 upper_[links[k]].level);
        }
      }
    }
    first += count;
  }
}

void SegmentChecker::CheckReachability() {
  if (header_.nodes == 0 || enough()) return;
  seen_.assign(header_.nodes, false);
  queue_.clear();
  queue_.reserve(header_.nodes);
  section_.resize(std::max(section_.size(), std::size_t{header_.record_bytes}));
  Reach(header_.entry_node);
  for (const UpperNode& upper : upper_) Reach(upper.node);
  const auto* links = reinterpret_cast<const std::uint32_t*>(section_.data());
  for (std::size_t i = 0; i < queue_.size(); ++i) {
    source_->Read(header_.records_at + std::uint64_t{queue_[i]} * header_.record_bytes,
                  2 * std::size_t{header_.m} * sizeof(std::uint32_t), section_.data());
    for (std::uint32_t k = 0; k < 2 * header_.m && links[k] != kEndOfLinks; ++k) Reach(links[k]);
  }
  const auto unreachable = header_.nodes - static_cast<std::uint32_t>(queue_.size());
  if (unreachable > std::max(1.0, kUnreachableShare * header_.nodes)) {
    Report(kNoPlace, "%u of %u nodes cannot be reached", unreachable, header_.nodes);
  }
}

void SegmentChecker::Reach(std::uint32_t node) {
  if (node >= header_.nodes || seen_[node]) return;
  seen_[node] = true;
  queue_.push_back(node);
}

void SegmentChecker::CheckRowStarts() {
  if (header_.row_starts_at == 0) return;
  const std::uint64_t entries = std::uint64_t{header_.nodes} + 1;
  const std::uint32_t* starts = nullptr;
  std::uint32_t last = 0;
  for (std::uint64_t first = 0; first < entries && !enough();) {
    const std::uint64_t count =
        ReadSome(header_.row_starts_at, first, entries, sizeof(std::uint32_t), &starts);
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t at = header_.row_starts_at + (first + i) * sizeof(std::uint32_t);
      if (first + i == 0 && starts[i] != 0) Report(at, "rows of node 0 start at %u", starts[i]);
      if (starts[i] < last || starts[i] > header_.rows) {
        Report(at, "rows of node %llu start at %u", static_cast<unsigned long long>(first + i), starts[i]);
      }
      last = starts[i];
    }
    first += count;
  }
  if (last != header_.rows) {
    Report(header_.row_starts_at + (entries - 1) * sizeof(std::uint32_t), "rows of the last node end at %u",
           last);
  }
}

void SegmentChecker::CheckRows() {
  const std::uint64_t range = header_.end_row - header_.first_row;
  seen_.assign(range, false);
  const std::uint32_t* rows = nullptr;
  for (std::uint64_t first = 0; first < header_.rows && !enough();) {
    const std::uint64_t count = ReadSome(header_.rows_at, first, header_.rows, sizeof(std::uint32_t), &rows);
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t at = header_.rows_at + (first + i) * sizeof(std::uint32_t);
      if (rows[i] >= range) {
        Report(at, "row %u is out of range", rows[i]);
      } else if (seen_[rows[i]]) {
        Report(at, "row %u comes twice", rows[i]);
      } else {
        seen_[rows[i]] = true;
      }
    }
    first += count;
  }
}

/// seen_ holds the rows of the row section: each TID crosses its row out.
void SegmentChecker::CheckTids() {
  const TidEntry* tids = nullptr;
  std::uint64_t last = 0;
  for (std::uint64_t first = 0; first < header_.rows && !enough();) {
    const std::uint64_t count = ReadSome(header_.tids_at, first, header_.rows, sizeof(TidEntry), &tids);
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t at = header_.tids_at + (first + i) * sizeof(TidEntry);
      const std::uint32_t row = tids[i].Row();
      if (tids[i].tid.Key() < last) Report(at, "TIDs do not ascend");
      if (row >= seen_.size() || !seen_[row]) {
        Report(at, "the TID of row %u, which is not in the graph or has another one", row);
      } else {
        seen_[row] = false;
      }
      last = tids[i].tid.Key();
    }
    first += count;
  }
}

template <typename T>
std::uint64_t SegmentChecker::ReadSome(std::uint64_t section_at, std::uint64_t first, std::uint64_t end,
                                       std::size_t element_bytes, const T** elements) {
  const std::uint64_t fitting = std::max<std::uint64_t>(kReadBytes / element_bytes, 1);
  const std::uint64_t count = std::min(fitting, end - first);
  section_.resize(std::max(section_.size(), count * element_bytes));
  source_->Read(section_at + first * element_bytes, count * element_bytes, section_.data());
  *elements = reinterpret_cast<const T*>(section_.data());
  return count;
}

void SegmentChecker::Report(std::uint64_t offset, const char* format, ...) {
  if (enough()) return;
  ++problems_;
  char problem[160];
  va_list args;
  va_start(args, format);
  (std::vsnprintf)(problem, sizeof problem, format, args);
  va_end(args);
  sink_(sink_state_, offset, problem);
}

bool SegmentChecker::enough() const noexcept {
  return problems_ >= kMaxProblems;
}

}  // namespace tandem::graph
