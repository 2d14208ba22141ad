// hnswlib 0.6.2 builds, on codes. What its addPoint() needs from us to be safe on threads:
//
//   its generator of levels is shared without a lock        we choose the levels; the generator is taken out below
//   it reads the entry point outside the lock that          a node that raises the top level is inserted while no other
//   guards it                                               is (BuildQueue)
//   label_lookup_ grows by 40 bytes a node                  labels are unique: each is taken out again
//
// The rest of it is guarded by a lock per node. hnswlib's ids are in the order in which threads got there; the frozen graph is
// in the order of labels, which is that of the rows.

#include "graph/graph_builder.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <vector>

// Its hand-written distances are not used here, and define functions that are not inline.
#define NO_MANUAL_VECTORIZATION
#include <hnswlib/hnswlib.h>

#include "graph/build_queue.hpp"
#include "graph/code_table.hpp"
#include "graph/node_data.hpp"
#include "vec/scalar_quantizer.hpp"

namespace tandem::graph {
namespace {

/// What hnswlib compares. A type of our own, so that its templates, changed below, are nobody else's.
struct LinkDistance {
  float value;
  LinkDistance() noexcept = default;
  LinkDistance(float from) noexcept
      : value(from) {}  // NOLINT(google-explicit-constructor): as hnswlib uses numbers
  LinkDistance operator-() const noexcept { return -value; }
  bool operator<(LinkDistance other) const noexcept { return value < other.value; }
  bool operator>(LinkDistance other) const noexcept { return value > other.value; }
};

using Hnsw = hnswlib::HierarchicalNSW<LinkDistance>;

}  // namespace
}  // namespace tandem::graph

/// Called by addPoint() for nodes of level 0, which is what it has to answer.
template <>
inline int hnswlib::HierarchicalNSW<tandem::graph::LinkDistance>::getRandomLevel(double /*reverse_size*/) {
  return 0;
}

namespace tandem::graph {
namespace {

/// Tells hnswlib about node data.
class CodeSpace final : public hnswlib::SpaceInterface<LinkDistance> {
 public:
  explicit CodeSpace(const vec::ScalarQuantizer& quantizer) noexcept
      : distance_(quantizer), dimensions_(quantizer.dimensions), metric_(quantizer.metric) {}

  std::size_t get_data_size() override { return NodeDataBytes(metric_, dimensions_); }
  hnswlib::DISTFUNC<LinkDistance> get_dist_func() override {
    return metric_ == vec::Metric::kInnerProduct ? &WithTerms : &WithoutTerms;
  }
  void* get_dist_func_param() override { return this; }

  /// Completes data that holds a code so far.
  void WriteTerm(char* data) const noexcept {
    if (metric_ != vec::Metric::kInnerProduct) return;
    const float term = distance_.CodeTerm(reinterpret_cast<const std::uint8_t*>(data));
    std::memcpy(data + PaddedCodeBytes(dimensions_), &term, sizeof term);
  }

 private:
  static LinkDistance WithoutTerms(const void* a, const void* b, const void* space) {
    const auto& self = *static_cast<const CodeSpace*>(space);
    return self.distance_(static_cast<const std::uint8_t*>(a), 0.0F, static_cast<const std::uint8_t*>(b),
                          0.0F);
  }

  static LinkDistance WithTerms(const void* a, const void* b, const void* space) {
    const auto& self = *static_cast<const CodeSpace*>(space);
    const auto* a_code = static_cast<const std::uint8_t*>(a);
    const auto* b_code = static_cast<const std::uint8_t*>(b);
    return self.distance_(a_code, self.TermOf(a_code), b_code, self.TermOf(b_code));
  }

  [[nodiscard]] float TermOf(const std::uint8_t* code) const noexcept {
    float term;
    std::memcpy(&term, code + PaddedCodeBytes(dimensions_), sizeof term);
    return term;
  }

  vec::CodeDistance distance_;
  std::size_t dimensions_;
  vec::Metric metric_;
};

/// Level of a node: geometric with ratio 1 / m (Malkov and Yashunin 2018, section 4.1), the same in every build.
int LevelOf(std::uint32_t label, std::uint32_t m) noexcept {
  // SplitMix64 of Steele, Lea and Flood 2014: a good hash of consecutive numbers.
  std::uint64_t bits = (label + std::uint64_t{1}) * 0x9E3779B97F4A7C15;
  bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9;
  bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB;
  bits ^= bits >> 31;
  const double uniform = static_cast<double>((bits >> 11) + 1) * 0x1.0p-53;  // in (0, 1]
  return static_cast<int>(-std::log(uniform) / std::log(static_cast<double>(m)));
}

constexpr std::uint32_t kNoNode = ~std::uint32_t{0};
constexpr std::size_t kLoadBytes = std::size_t{256} << 10;  // of the base, read at once

template <typename T>
void Free(std::vector<T>* values) noexcept {
  std::vector<T>().swap(*values);
}

/// A row and the node that stands for it, while the base's rows are being kept.
struct BaseRow {
  std::uint32_t row;  ///< minus our first row
  std::uint32_t node;
};

/// Where LoadBaseNodes() stands.
enum class LoadStage { kNothing, kRecords, kUpperNodes, kUpperLinks, kRows, kLoaded };

}  // namespace

class GraphBuilder::Impl {
 public:
  explicit Impl(const BuildParameters& parameters);
  ~Impl();

  std::size_t MaxSamples() const noexcept { return trainer_->MaxSamples(); }
  void AddSample(const float* vector) { trainer_->Add(vector); }
  void FinishTraining();

  base::Status BeginBase(SegmentSource* source);
  bool LoadBaseNodes(SegmentSource* source, std::uint32_t max_nodes, base::Status* status);
  void KeepBaseRow(base::RowId row, base::HeapTid tid);

  bool HasRoom() const noexcept { return !queue_ || queue_->HasRoom(); }
  void AddRow(base::RowId row, base::HeapTid tid, const float* vector);
  void EndRows();
  bool Done() const noexcept;
  std::uint64_t RowsDone() const noexcept { return rows_done_.load(std::memory_order_relaxed); }
  void Cancel() noexcept;

  base::Status Finish();
  const SegmentHeader& header() const noexcept { return header_; }
  void ReadImage(std::uint64_t offset, std::size_t bytes, char* to) const noexcept;

 private:
  // Before rows.
  void MakeGraph(std::uint32_t max_nodes);
  base::Status CheckBase() const;
  base::Status LoadRecords(SegmentSource* source, std::uint32_t max_nodes);
  bool LoadRecord(std::uint32_t node, const char* record);
  base::Status LoadUpperNodes(SegmentSource* source);
  base::Status LoadUpperLinks(SegmentSource* source, std::uint32_t max_nodes);
  bool LoadUpperLists(const UpperNode& upper);
  base::Status LoadRows(SegmentSource* source, std::uint32_t max_rows);
  base::Status BaseError(const char* what) const;
  void EndLoading();
  void BeginRows();

  // Rows.
  std::uint32_t NodeOfCode();
  const char* DataOfNode(std::uint32_t label) const noexcept;
  void InsertNode(const PendingNode& node);
  void AttachRow(std::uint32_t row, base::HeapTid tid, std::uint32_t node);
  std::uint32_t RelativeRow(base::RowId row) const noexcept {
    return static_cast<std::uint32_t>(base::ToIndex(row) - parameters_.first_row);
  }

  // Laying out.
  void DropBuildMemory();
  void OrderLabels();
  void ListUpperNodes();
  void OrderRows();
  void FillHeader();
  std::uint32_t LabelOf(std::uint32_t internal) const noexcept {
    return label_of_.empty() ? internal : label_of_[internal];
  }
  std::uint32_t InternalOf(std::uint32_t label) const noexcept {
    return internal_of_[label].load(std::memory_order_acquire);
  }
  std::uint32_t OrdinalOf(std::uint32_t node) const noexcept;
  void ReadRecords(std::uint64_t at, std::size_t bytes, char* to) const noexcept;
  void ReadUpperLinks(std::uint64_t at, std::size_t bytes, char* to) const noexcept;
  void CopyLinks(const std::uint32_t* list, std::size_t room, std::uint32_t* to) const noexcept;

  const BuildParameters parameters_;
  const std::size_t data_bytes_;
  base::CancelToken cancel_;  ///< for builds without threads

  // The quantiser.
  std::optional<vec::ScalarQuantizerTrainer> trainer_;
  std::vector<float> offsets_;
  vec::ScalarQuantizer quantizer_;

  // The graph.
  std::optional<CodeSpace> space_;
  std::unique_ptr<Hnsw> hnsw_;
  std::unique_ptr<std::atomic<std::uint32_t>[]> internal_of_;  ///< by label; kNoNode while not inserted
  std::uint32_t nodes_ = 0;                                    ///< labels given out
  std::uint32_t max_nodes_ = 0;
  int top_level_ = -1;
  std::vector<char> data_;  ///< the row at hand
  std::optional<CodeTable> table_;
  std::optional<BuildQueue> queue_;  ///< absent if the caller's thread computes
  bool rows_began_ = false;
  bool rows_ended_ = false;

  // Rows in order of arrival; Finish() sorts them.
  std::vector<TidEntry> tids_;
  std::vector<std::uint32_t> node_of_;
  std::atomic<std::uint64_t> rows_done_{0};

  // The base while it is being loaded.
  SegmentHeader base_{};
  LoadStage load_stage_ = LoadStage::kNothing;
  std::uint32_t load_next_ = 0;
  std::uint32_t load_node_ = 0;
  std::vector<char> load_buffer_;
  std::vector<BaseRow> base_rows_;
  std::size_t base_row_hint_ = 0;

  // The frozen segment, as far as it is not in hnsw_.
  SegmentHeader header_{};
  std::vector<std::uint32_t> label_of_;  ///< by internal id; empty if they are the same
  std::vector<UpperNode> upper_nodes_;
  std::vector<std::uint32_t> row_starts_;  ///< empty if the section is left out
  std::vector<std::uint32_t> rows_;
};

// ---- the public face ----

GraphBuilder::GraphBuilder(const BuildParameters& parameters) : impl_(std::make_unique<Impl>(parameters)) {}
GraphBuilder::~GraphBuilder() = default;
std::size_t GraphBuilder::MaxSamples() const noexcept {
  return impl_->MaxSamples();
}
void GraphBuilder::AddSample(const float* vector) {
  impl_->AddSample(vector);
}
void GraphBuilder::FinishTraining() {
  impl_->FinishTraining();
}
base::Status GraphBuilder::BeginBase(SegmentSource* source) {
  return impl_->BeginBase(source);
}
bool GraphBuilder::LoadBaseNodes(SegmentSource* source, std::uint32_t max_nodes, base::Status* status) {
  return impl_->LoadBaseNodes(source, max_nodes, status);
}
void GraphBuilder::KeepBaseRow(base::RowId row, base::HeapTid tid) {
  impl_->KeepBaseRow(row, tid);
}
bool GraphBuilder::HasRoom() const noexcept {
  return impl_->HasRoom();
}
void GraphBuilder::AddRow(base::RowId row, base::HeapTid tid, const float* vector) {
  impl_->AddRow(row, tid, vector);
}
void GraphBuilder::EndRows() {
  impl_->EndRows();
}
bool GraphBuilder::Done() const noexcept {
  return impl_->Done();
}
std::uint64_t GraphBuilder::RowsDone() const noexcept {
  return impl_->RowsDone();
}
void GraphBuilder::Cancel() noexcept {
  impl_->Cancel();
}
base::Status GraphBuilder::Finish() {
  return impl_->Finish();
}
const SegmentHeader& GraphBuilder::header() const noexcept {
  return impl_->header();
}
void GraphBuilder::ReadImage(std::uint64_t offset, std::size_t bytes, char* to) const noexcept {
  impl_->ReadImage(offset, bytes, to);
}

// ---- construction, training ----

GraphBuilder::Impl::Impl(const BuildParameters& parameters)
    : parameters_(parameters),
      data_bytes_(NodeDataBytes(parameters.graph.metric, parameters.graph.dimensions)),
      trainer_(std::in_place, parameters.graph.metric, parameters.graph.dimensions),
      offsets_(parameters.graph.dimensions),
      data_(data_bytes_) {
  if (parameters_.graph.m > kMaxM) throw std::invalid_argument("m is too large");
  if (parameters_.max_rows >= kMaxNodes) throw std::length_error("too many rows for one segment");
  if (parameters_.threads == 0) return;
  queue_.emplace(BuildQueue::Parameters{
      data_bytes_, parameters_.threads, parameters_.nice,
      [](void* self, const PendingNode& node) { static_cast<Impl*>(self)->InsertNode(node); }, this});
}

GraphBuilder::Impl::~Impl() {
  queue_.reset();  // the threads use everything else
}

void GraphBuilder::Impl::FinishTraining() {
  quantizer_ = {parameters_.graph.metric, parameters_.graph.dimensions, 1.0F, offsets_.data()};
  quantizer_.step = trainer_->Train(offsets_.data());
  trainer_.reset();
  MakeGraph(static_cast<std::uint32_t>(parameters_.max_rows));
}

void GraphBuilder::Impl::MakeGraph(std::uint32_t max_nodes) {
  space_.emplace(quantizer_);
  max_nodes_ = max_nodes;
  tids_.reserve(parameters_.max_rows);
  node_of_.reserve(parameters_.max_rows);
  hnsw_ = std::make_unique<Hnsw>(&*space_, std::max(max_nodes, 1U), parameters_.graph.m,
                                 parameters_.graph.ef_construction);
}

// ---- the base ----

base::Status GraphBuilder::Impl::BeginBase(SegmentSource* source) {
  source->Read(0, sizeof base_, &base_);
  if (base::Status status = CheckBase(); !status.ok()) return status;
  source->Read(base_.offsets_at, offsets_.size() * sizeof(float), offsets_.data());
  trainer_.reset();
  quantizer_ = {parameters_.graph.metric, parameters_.graph.dimensions, base_.step, offsets_.data()};
  MakeGraph(base_.nodes);
  internal_of_.reset(new std::atomic<std::uint32_t>[std::max(base_.nodes, 1U)]);
  load_stage_ = base_.nodes > 0 ? LoadStage::kRecords : LoadStage::kLoaded;
  return {};
}

base::Status GraphBuilder::Impl::CheckBase() const {
  const bool ours = base_.metric == static_cast<std::uint8_t>(parameters_.graph.metric) &&
                    base_.dimensions == parameters_.graph.dimensions && base_.m == parameters_.graph.m &&
                    base_.first_row >= parameters_.first_row && base_.end_row <= parameters_.end_row;
  return ours && ProblemOf(base_) == nullptr ? base::Status() : BaseError("a wrong header");
}

base::Status GraphBuilder::Impl::BaseError(const char* what) const {
  return base::Status::Error(base::ErrorKind::kCorrupted, "graph segment of rows %llu to %llu has %s",
                             static_cast<unsigned long long>(base_.first_row),
                             static_cast<unsigned long long>(base_.end_row), what);
}

bool GraphBuilder::Impl::LoadBaseNodes(SegmentSource* source, std::uint32_t max_nodes, base::Status* status) {
  switch (load_stage_) {
    case LoadStage::kNothing:
    case LoadStage::kLoaded:
      return false;
    case LoadStage::kRecords:
      *status = LoadRecords(source, max_nodes);
      break;
    case LoadStage::kUpperNodes:
      *status = LoadUpperNodes(source);
      break;
    case LoadStage::kUpperLinks:
      *status = LoadUpperLinks(source, max_nodes);
      break;
    case LoadStage::kRows:
      *status = LoadRows(source, max_nodes);
      break;
  }
  return status->ok() && load_stage_ != LoadStage::kLoaded;
}

base::Status GraphBuilder::Impl::LoadRecords(SegmentSource* source, std::uint32_t max_nodes) {
  const std::uint32_t end = load_next_ + std::min(max_nodes, base_.nodes - load_next_);
  const auto at_once = static_cast<std::uint32_t>(std::max<std::size_t>(kLoadBytes / base_.record_bytes, 1));
  load_buffer_.resize(std::size_t{at_once} * base_.record_bytes);
  while (load_next_ < end) {
    const std::uint32_t count = std::min(at_once, end - load_next_);
    source->Read(base_.records_at + std::uint64_t{load_next_} * base_.record_bytes,
                 std::size_t{count} * base_.record_bytes, load_buffer_.data());
    for (std::uint32_t i = 0; i < count; ++i, ++load_next_) {
      if (!LoadRecord(load_next_, load_buffer_.data() + std::size_t{i} * base_.record_bytes)) {
        return BaseError("a link out of range");
      }
    }
  }
  if (load_next_ == base_.nodes) {
    hnsw_->cur_element_count = base_.nodes;
    hnsw_->enterpoint_node_ = base_.entry_node;
    hnsw_->maxlevel_ = static_cast<int>(base_.max_level);
    load_stage_ = LoadStage::kUpperNodes;
  }
  return {};
}

bool GraphBuilder::Impl::LoadRecord(std::uint32_t node, const char* record) {
  const std::size_t links = 2 * std::size_t{base_.m};
  std::uint32_t* list = hnsw_->get_linklist0(node);
  std::memset(list, 0, hnsw_->size_data_per_element_);
  std::memcpy(list + 1, record, links * sizeof(std::uint32_t));
  std::size_t count = 0;
  for (; count < links && list[1 + count] != kEndOfLinks; ++count) {
    if (list[1 + count] >= base_.nodes) return false;
  }
  std::memset(list + 1 + count, 0, (links - count) * sizeof(std::uint32_t));
  hnsw_->setListCount(list, static_cast<unsigned short>(count));
  char* data = hnsw_->getDataByInternalId(node);
  std::memcpy(data, record + links * sizeof(std::uint32_t), base_.code_bytes);
  space_->WriteTerm(data);
  hnsw_->setExternalLabel(node, node);
  internal_of_[node].store(node, std::memory_order_relaxed);
  return true;
}

base::Status GraphBuilder::Impl::LoadUpperNodes(SegmentSource* source) {
  upper_nodes_.resize(base_.upper_nodes);
  source->Read(base_.upper_nodes_at, upper_nodes_.size() * sizeof(UpperNode), upper_nodes_.data());
  std::uint64_t lists = 0;
  std::uint64_t next_node = 0;
  for (const UpperNode& upper : upper_nodes_) {
    if (upper.node < next_node || upper.node >= base_.nodes || upper.level == 0 ||
        upper.level > base_.max_level || upper.first_list != lists) {
      return BaseError("a wrong upper node");
    }
    next_node = std::uint64_t{upper.node} + 1;
    lists += upper.level;
  }
  if (lists != base_.upper_lists) return BaseError("wrong upper levels");
  if (base_.max_level > 0) {
    const UpperNode& entry = upper_nodes_[base_.entry_upper];
    if (entry.node != base_.entry_node || entry.level != base_.max_level) return BaseError("a wrong entry");
  }
  load_next_ = 0;
  load_stage_ = LoadStage::kUpperLinks;
  return {};
}

base::Status GraphBuilder::Impl::LoadUpperLinks(SegmentSource* source, std::uint32_t max_nodes) {
  const std::uint32_t end = load_next_ + std::min(max_nodes, base_.upper_nodes - load_next_);
  for (; load_next_ < end; ++load_next_) {
    const UpperNode& upper = upper_nodes_[load_next_];
    const std::size_t bytes = std::size_t{upper.level} * base_.m * sizeof(std::uint32_t);
    load_buffer_.resize(std::max(load_buffer_.size(), bytes));
    source->Read(base_.upper_links_at + std::uint64_t{upper.first_list} * base_.m * sizeof(std::uint32_t),
                 bytes, load_buffer_.data());
    if (!LoadUpperLists(upper)) return BaseError("a wrong upper link");
  }
  if (load_next_ == base_.upper_nodes) {
    load_next_ = 0;
    load_stage_ = LoadStage::kRows;
  }
  return {};
}

bool GraphBuilder::Impl::LoadUpperLists(const UpperNode& upper) {
  const std::size_t bytes = hnsw_->size_links_per_element_ * upper.level + 1;  // as addPoint() allocates them
  char* lists = static_cast<char*>(std::calloc(1, bytes));
  if (lists == nullptr) throw std::bad_alloc();
  hnsw_->linkLists_[upper.node] = lists;
  hnsw_->element_levels_[upper.node] = static_cast<int>(upper.level);  // from here on hnsw_ frees the lists
  const char* from = load_buffer_.data();
  for (std::uint32_t level = 1; level <= upper.level; ++level, from += base_.m * sizeof(std::uint32_t)) {
    std::uint32_t* list = hnsw_->get_linklist(upper.node, static_cast<int>(level));
    std::uint32_t count = 0;
    for (; count < base_.m; ++count) {
      std::uint32_t ordinal;
      std::memcpy(&ordinal, from + count * sizeof ordinal, sizeof ordinal);
      if (ordinal == kEndOfLinks) break;
      if (ordinal >= base_.upper_nodes || upper_nodes_[ordinal].level < level) return false;
      list[1 + count] = upper_nodes_[ordinal].node;
    }
    hnsw_->setListCount(list, static_cast<unsigned short>(count));
  }
  return true;
}

base::Status GraphBuilder::Impl::LoadRows(SegmentSource* source, std::uint32_t max_rows) {
  const std::uint64_t last_row = base_.end_row - base_.first_row;
  if (load_next_ == 0 && base_.row_starts_at != 0) {
    row_starts_.resize(std::size_t{base_.nodes} + 1);
    source->Read(base_.row_starts_at, row_starts_.size() * sizeof(std::uint32_t), row_starts_.data());
    if (row_starts_.front() != 0 || row_starts_.back() != base_.rows ||
        !std::is_sorted(row_starts_.begin(), row_starts_.end())) {
      return BaseError("wrong row starts");
    }
    load_node_ = 0;
  }
  base_rows_.reserve(base_.rows);
  const auto shift = static_cast<std::uint32_t>(base_.first_row - parameters_.first_row);
  const std::uint32_t end =
      load_next_ + std::min(max_rows, static_cast<std::uint32_t>(base_.rows) - load_next_);
  while (load_next_ < end) {
    const auto count = static_cast<std::uint32_t>(
        std::min<std::size_t>(end - load_next_, kLoadBytes / sizeof(std::uint32_t)));
    load_buffer_.resize(std::max(load_buffer_.size(), count * sizeof(std::uint32_t)));
    source->Read(base_.rows_at + std::uint64_t{load_next_} * sizeof(std::uint32_t),
                 count * sizeof(std::uint32_t), load_buffer_.data());
    for (std::uint32_t i = 0; i < count; ++i, ++load_next_) {
      std::uint32_t row;
      std::memcpy(&row, load_buffer_.data() + i * sizeof row, sizeof row);
      if (row >= last_row) return BaseError("a row out of range");
      std::uint32_t node = load_next_;
      if (!row_starts_.empty()) {
        while (row_starts_[load_node_ + 1] <= load_next_) ++load_node_;
        node = load_node_;
      }
      base_rows_.push_back({row + shift, node});
    }
  }
  if (load_next_ == base_.rows) EndLoading();
  return {};
}

void GraphBuilder::Impl::EndLoading() {
  const auto by_row = [](const BaseRow& a, const BaseRow& b) { return a.row < b.row; };
  if (!std::is_sorted(base_rows_.begin(), base_rows_.end(), by_row)) {
    std::sort(base_rows_.begin(), base_rows_.end(), by_row);
  }
  nodes_ = base_.nodes;
  top_level_ = static_cast<int>(base_.max_level);
  load_stage_ = LoadStage::kLoaded;
  Free(&load_buffer_);
  Free(&upper_nodes_);
  Free(&row_starts_);
}

void GraphBuilder::Impl::KeepBaseRow(base::RowId row, base::HeapTid tid) {
  const std::uint32_t relative = RelativeRow(row);
  // Rows come in ascending order, as a rule: then the one wanted is at the hint or a little behind it.
  const auto before = [](const BaseRow& entry, std::uint32_t wanted) { return entry.row < wanted; };
  auto at = base_rows_.begin() + static_cast<std::ptrdiff_t>(base_row_hint_);
  if (at == base_rows_.end() || at->row != relative) {
    at = std::lower_bound(base_rows_.begin(), base_rows_.end(), relative, before);
  }
  if (at == base_rows_.end() || at->row != relative) return;
  base_row_hint_ = static_cast<std::size_t>(at - base_rows_.begin()) + 1;
  AttachRow(relative, tid, at->node);
}

// ---- rows ----

void GraphBuilder::Impl::BeginRows() {
  rows_began_ = true;
  Free(&base_rows_);
  if (parameters_.max_rows < tids_.size()) throw std::length_error("more rows than announced");
  const std::uint64_t capacity = nodes_ + parameters_.max_rows - tids_.size();
  if (capacity >= kMaxNodes) throw std::length_error("too many nodes for one segment");
  if (nodes_ > 0) {
    std::vector<std::mutex>().swap(hnsw_->link_list_locks_);  // or resizeIndex() holds two of them
    hnsw_->resizeIndex(capacity);
  }
  max_nodes_ = static_cast<std::uint32_t>(capacity);
  internal_of_.reset(new std::atomic<std::uint32_t>[capacity]);
  for (std::uint32_t i = 0; i < max_nodes_; ++i) {
    internal_of_[i].store(i < nodes_ ? i : kNoNode, std::memory_order_relaxed);
  }
  table_.emplace(max_nodes_);
  for (std::uint32_t node = 0; node < nodes_; ++node) {
    const auto* code = reinterpret_cast<const std::uint8_t*>(hnsw_->getDataByInternalId(node));
    const auto never = [](std::uint32_t) { return false; };
    static_cast<void>(table_->FindOrInsert(HashOfCode(code, parameters_.graph.dimensions), node, never));
  }
}

void GraphBuilder::Impl::AddRow(base::RowId row, base::HeapTid tid, const float* vector) {
  if (!rows_began_) BeginRows();
  if (cancel_.cancelled() || (queue_ && queue_->stopped())) return;
  if (!vec::IsCodable(parameters_.graph.metric, vector, parameters_.graph.dimensions)) return;
  if (tids_.size() >= parameters_.max_rows) throw std::length_error("more rows than announced");
  vec::EncodeVector(quantizer_, vector, reinterpret_cast<std::uint8_t*>(data_.data()));
  AttachRow(RelativeRow(row), tid, NodeOfCode());
}

std::uint32_t GraphBuilder::Impl::NodeOfCode() {
  const auto* code = reinterpret_cast<const std::uint8_t*>(data_.data());
  const std::size_t bytes = parameters_.graph.dimensions;
  const std::uint32_t known = table_->FindOrInsert(HashOfCode(code, bytes), nodes_, [&](std::uint32_t node) {
    return std::memcmp(DataOfNode(node), code, bytes) == 0;
  });
  if (known != CodeTable::kNone) return known;
  space_->WriteTerm(data_.data());
  const PendingNode node{data_.data(), nodes_, LevelOf(nodes_, parameters_.graph.m)};
  ++nodes_;
  const bool raises = node.level > top_level_;
  top_level_ = std::max(top_level_, node.level);
  if (queue_) {
    queue_->Add(node, raises);
  } else {
    InsertNode(node);
  }
  return node.label;
}

const char* GraphBuilder::Impl::DataOfNode(std::uint32_t label) const noexcept {
  const std::uint32_t internal = InternalOf(label);
  return internal == kNoNode ? queue_->Find(label) : hnsw_->getDataByInternalId(internal);
}

void GraphBuilder::Impl::InsertNode(const PendingNode& node) {
  const std::uint32_t internal = hnsw_->addPoint(node.data, node.label, node.level);
  internal_of_[node.label].store(internal, std::memory_order_release);
  const std::lock_guard<std::mutex> lock(hnsw_->cur_element_count_guard_);
  hnsw_->label_lookup_.erase(node.label);
}

void GraphBuilder::Impl::AttachRow(std::uint32_t row, base::HeapTid tid, std::uint32_t node) {
  tids_.push_back({tid, static_cast<std::uint16_t>(row), static_cast<std::uint16_t>(row >> 16)});
  node_of_.push_back(node);
  rows_done_.fetch_add(1, std::memory_order_relaxed);
}

void GraphBuilder::Impl::EndRows() {
  if (!rows_began_) BeginRows();
  rows_ended_ = true;
  if (queue_) queue_->End();
}

bool GraphBuilder::Impl::Done() const noexcept {
  return queue_ ? queue_->Done() : rows_ended_ || cancel_.cancelled();
}

void GraphBuilder::Impl::Cancel() noexcept {
  cancel_.Cancel();
  if (queue_) queue_->Cancel();
}

// ---- laying out ----

base::Status GraphBuilder::Impl::Finish() {
  if (!rows_ended_) EndRows();
  if (queue_) {
    if (base::Status status = queue_->Join(); !status.ok()) return status;
  } else if (cancel_.cancelled()) {
    return base::Status::Error(base::ErrorKind::kCancelled, "graph build was cancelled");
  }
  DropBuildMemory();
  OrderLabels();
  ListUpperNodes();
  OrderRows();
  FillHeader();
  return {};
}

void GraphBuilder::Impl::DropBuildMemory() {
  table_.reset();
  std::vector<std::mutex>().swap(hnsw_->link_list_locks_);
  std::vector<std::mutex>().swap(hnsw_->link_list_update_locks_);
  delete hnsw_->visited_list_pool_;
  hnsw_->visited_list_pool_ = nullptr;
}

void GraphBuilder::Impl::OrderLabels() {
  bool same = true;
  for (std::uint32_t label = 0; label < nodes_; ++label) same = same && InternalOf(label) == label;
  if (same) return;
  label_of_.resize(nodes_);
  for (std::uint32_t label = 0; label < nodes_; ++label) label_of_[InternalOf(label)] = label;
}

void GraphBuilder::Impl::ListUpperNodes() {
  const auto level_of = [this](std::uint32_t label) { return hnsw_->element_levels_[InternalOf(label)]; };
  std::size_t count = 0;
  for (std::uint32_t label = 0; label < nodes_; ++label) count += level_of(label) > 0 ? 1 : 0;
  upper_nodes_.reserve(count);
  std::uint32_t lists = 0;
  for (std::uint32_t label = 0; label < nodes_; ++label) {
    const auto level = static_cast<std::uint32_t>(level_of(label));
    if (level == 0) continue;
    upper_nodes_.push_back({label, level, lists});
    lists += level;
  }
  header_.upper_nodes = static_cast<std::uint32_t>(count);
  header_.upper_lists = lists;
}

void GraphBuilder::Impl::OrderRows() {
  // Counting sort by node. Counts become ends, and ends, row by row from the last one, starts.
  row_starts_.assign(std::size_t{nodes_} + 1, 0);
  for (const std::uint32_t node : node_of_) ++row_starts_[node];
  std::uint32_t end = 0;
  for (std::uint32_t& start : row_starts_) start = end += start;
  rows_.resize(tids_.size());
  bool one_each = tids_.size() == nodes_;
  for (std::size_t i = tids_.size(); i-- > 0;) rows_[--row_starts_[node_of_[i]]] = tids_[i].Row();
  for (std::uint32_t node = 0; node < nodes_ && one_each; ++node) one_each = row_starts_[node] == node;
  if (one_each) Free(&row_starts_);
  Free(&node_of_);
  const auto by_tid = [](const TidEntry& a, const TidEntry& b) { return a.tid.Key() < b.tid.Key(); };
  if (!std::is_sorted(tids_.begin(), tids_.end(), by_tid)) std::sort(tids_.begin(), tids_.end(), by_tid);
}

void GraphBuilder::Impl::FillHeader() {
  const GraphParameters& graph = parameters_.graph;
  header_.magic = kSegmentMagic;
  header_.version = kSegmentVersion;
  header_.metric = static_cast<std::uint8_t>(graph.metric);
  header_.codec = static_cast<std::uint8_t>(Codec::kSq8);
  header_.dimensions = graph.dimensions;
  header_.m = graph.m;
  header_.ef_construction = graph.ef_construction;
  header_.code_bytes = graph.dimensions;
  header_.record_bytes = RecordBytes(graph.m, graph.dimensions);
  header_.step = quantizer_.step;
  header_.nodes = nodes_;
  header_.entry_node = nodes_ > 0 ? LabelOf(hnsw_->enterpoint_node_) : kEndOfLinks;
  header_.max_level = nodes_ > 0 ? static_cast<std::uint32_t>(hnsw_->maxlevel_) : 0;
  header_.entry_upper = header_.max_level > 0 ? OrdinalOf(header_.entry_node) : kEndOfLinks;
  header_.first_row = parameters_.first_row;
  header_.end_row = parameters_.end_row;
  header_.rows = tids_.size();
  PlaceSections(&header_, !row_starts_.empty());
}

std::uint32_t GraphBuilder::Impl::OrdinalOf(std::uint32_t node) const noexcept {
  const auto at =
      std::lower_bound(upper_nodes_.begin(), upper_nodes_.end(), node,
                       [](const UpperNode& upper, std::uint32_t wanted) { return upper.node < wanted; });
  return static_cast<std::uint32_t>(at - upper_nodes_.begin());
}

// ---- the image ----

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
  [[nodiscard]] bool empty() const noexcept { return offset == end; }
};

void CopySection(const Wanted& wanted, std::uint64_t at, const void* section, std::uint64_t bytes) noexcept {
  const Wanted part = wanted.Within(at, bytes);
  if (!part.empty()) {
    std::memcpy(part.to, static_cast<const char*>(section) + part.offset, part.end - part.offset);
  }
}

}  // namespace

void GraphBuilder::Impl::ReadImage(std::uint64_t offset, std::size_t bytes, char* to) const noexcept {
  std::memset(to, 0, bytes);  // what lies between sections
  const Wanted wanted{offset, offset + bytes, to};
  CopySection(wanted, 0, &header_, sizeof header_);
  CopySection(wanted, header_.offsets_at, offsets_.data(), offsets_.size() * sizeof(float));
  CopySection(wanted, header_.upper_nodes_at, upper_nodes_.data(), upper_nodes_.size() * sizeof(UpperNode));
  CopySection(wanted, header_.row_starts_at, row_starts_.data(), row_starts_.size() * sizeof(std::uint32_t));
  CopySection(wanted, header_.rows_at, rows_.data(), rows_.size() * sizeof(std::uint32_t));
  CopySection(wanted, header_.tids_at, tids_.data(), tids_.size() * sizeof(TidEntry));
  const Wanted records =
      wanted.Within(header_.records_at, std::uint64_t{header_.nodes} * header_.record_bytes);
  ReadRecords(records.offset, records.end - records.offset, records.to);
  const Wanted lists = wanted.Within(header_.upper_links_at,
                                     std::uint64_t{header_.upper_lists} * header_.m * sizeof(std::uint32_t));
  ReadUpperLinks(lists.offset, lists.end - lists.offset, lists.to);
}

void GraphBuilder::Impl::ReadRecords(std::uint64_t at, std::size_t bytes, char* to) const noexcept {
  const Wanted wanted{at, at + bytes, to};
  const std::size_t link_bytes = 2 * std::size_t{header_.m} * sizeof(std::uint32_t);
  while (bytes > 0) {
    const auto node = static_cast<std::uint32_t>(at / header_.record_bytes);
    const std::uint64_t start = std::uint64_t{node} * header_.record_bytes;
    const std::uint32_t internal = InternalOf(node);
    const Wanted in_links = wanted.Within(start, link_bytes);
    if (!in_links.empty()) {
      std::uint32_t links[2 * kMaxM];
      CopyLinks(hnsw_->get_linklist0(internal), 2 * header_.m, links);
      CopySection(wanted, start, links, link_bytes);
    }
    CopySection(wanted, start + link_bytes, hnsw_->getDataByInternalId(internal),
                header_.record_bytes - link_bytes);
    const std::uint64_t next = std::min<std::uint64_t>(start + header_.record_bytes, at + bytes);
    bytes -= static_cast<std::size_t>(next - at);
    at = next;
  }
}

void GraphBuilder::Impl::ReadUpperLinks(std::uint64_t at, std::size_t bytes, char* to) const noexcept {
  const Wanted wanted{at, at + bytes, to};
  if (wanted.empty()) return;
  const std::size_t list_bytes = std::size_t{header_.m} * sizeof(std::uint32_t);
  const auto first = static_cast<std::uint32_t>(at / list_bytes);
  auto upper =
      std::upper_bound(upper_nodes_.begin(), upper_nodes_.end(), first,
                       [](std::uint32_t list, const UpperNode& node) { return list < node.first_list; });
  --upper;
  for (std::uint32_t list = first; std::uint64_t{list} * list_bytes < wanted.end; ++list) {
    if (list == upper->first_list + upper->level) ++upper;
    std::uint32_t links[kMaxM];
    const auto level = static_cast<int>(list - upper->first_list + 1);
    CopyLinks(hnsw_->get_linklist(InternalOf(upper->node), level), header_.m, links);
    for (std::uint32_t i = 0; i < header_.m && links[i] != kEndOfLinks; ++i) links[i] = OrdinalOf(links[i]);
    CopySection(wanted, std::uint64_t{list} * list_bytes, links, list_bytes);
  }
}

void GraphBuilder::Impl::CopyLinks(const std::uint32_t* list, std::size_t room,
                                   std::uint32_t* to) const noexcept {
  std::uint16_t count;
  std::memcpy(&count, list, sizeof count);
  for (std::size_t i = 0; i < room; ++i) to[i] = i < count ? LabelOf(list[1 + i]) : kEndOfLinks;
}

}  // namespace tandem::graph
