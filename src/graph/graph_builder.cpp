// hnswlib (0.6.2 to 0.9) builds, on codes. What its addPoint() needs from us to be safe on threads:
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
#include <limits>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <vector>

// Its hand-written distances are not used here, and define functions that are not inline.
#define NO_MANUAL_VECTORIZATION
#include <hnswlib/hnswlib.h>

#include "graph/base_loader.hpp"
#include "graph/build_queue.hpp"
#include "graph/code_table.hpp"
#include "graph/connect.hpp"
#include "graph/fill_lists.hpp"
#include "graph/hnsw_memory.hpp"
#include "graph/hnswlib_versions.hpp"
#include "graph/node_data.hpp"
#include "graph/segment_image.hpp"
#include "vec/bit_kernels.hpp"
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
// NOLINTNEXTLINE(readability-identifier-naming): hnswlib's name
inline int hnswlib::HierarchicalNSW<tandem::graph::LinkDistance>::getRandomLevel(double /*reverse_size*/) {
  return 0;
}

namespace tandem::graph {
namespace {

/// Tells hnswlib about node data.
class CodeSpace final : public hnswlib::SpaceInterface<LinkDistance> {
 public:
  explicit CodeSpace(const vec::WalkCodec& codec) noexcept
      : code_bytes_(vec::RecordCodeBytes(codec.code, codec.base.dimensions)), metric_(codec.base.metric) {
    if (codec.code == vec::WalkCode::kBit) {
      bits_ = &vec::CountBits();
    } else {
      distance_ = vec::CodeDistance(codec.base);
    }
  }

  std::size_t get_data_size() override { return NodeDataBytes(metric_, code_bytes_); }
  hnswlib::DISTFUNC<LinkDistance> get_dist_func() override {
    if (bits_ != nullptr) return metric_ == vec::Metric::kCosine ? &OfSets : &OfBits;
    return metric_ == vec::Metric::kInnerProduct ? &WithTerms : &WithoutTerms;
  }
  void* get_dist_func_param() override { return this; }

  [[nodiscard]] NodeDistance Distance() const noexcept {
    return {[](const void* self, const char* a, const char* b) {
              return static_cast<const CodeSpace*>(self)->Between(a, b);
            },
            this};
  }

  /// Completes data that holds a code so far.
  void WriteTerm(char* data) const noexcept {
    if (metric_ != vec::Metric::kInnerProduct) return;
    const float term = distance_.CodeTerm(reinterpret_cast<const std::uint8_t*>(data));
    std::memcpy(data + PaddedCodeBytes(code_bytes_), &term, sizeof term);
  }

 private:
  static LinkDistance OfBits(const void* a, const void* b, const void* space) {
    const auto& self = *static_cast<const CodeSpace*>(space);
    return static_cast<float>(self.bits_->hamming(static_cast<const unsigned char*>(a),
                                                  static_cast<const unsigned char*>(b), self.code_bytes_));
  }

  static LinkDistance OfSets(const void* a, const void* b, const void* space) {
    const auto& self = *static_cast<const CodeSpace*>(space);
    return static_cast<float>(vec::JaccardDistance(self.bits_->overlap(
        static_cast<const unsigned char*>(a), static_cast<const unsigned char*>(b), self.code_bytes_)));
  }

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

  [[nodiscard]] float Between(const void* a, const void* b) const {
    if (bits_ != nullptr) return (metric_ == vec::Metric::kCosine ? OfSets : OfBits)(a, b, this).value;
    return (metric_ == vec::Metric::kInnerProduct ? WithTerms(a, b, this) : WithoutTerms(a, b, this)).value;
  }

  [[nodiscard]] float TermOf(const std::uint8_t* code) const noexcept {
    float term;
    std::memcpy(&term, code + PaddedCodeBytes(code_bytes_), sizeof term);
    return term;
  }

  vec::CodeDistance distance_;
  const vec::BitKernels* bits_ = nullptr;  ///< if codes are bits
  std::size_t code_bytes_;
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

void RaiseTo(double error, float* to) noexcept {
  if (error > static_cast<double>(*to)) *to = vec::RoundedUp(error);
}

/// FillParameters::spread, in what codes are compared by: squares under L2 and cosine, as which Hamming and Jaccard distances of bits
/// count, too. Of inner products no share of a
/// distance is to be had.
float SpreadOf(vec::Metric metric) noexcept {
  constexpr float kSpread = 1.2F;
  switch (metric) {
    case vec::Metric::kL2:
    case vec::Metric::kCosine:
      return kSpread * kSpread;
    case vec::Metric::kL1:
      return kSpread;
    case vec::Metric::kInnerProduct:
      break;
  }
  return 1.0F;
}

// Up to one row in so many may be beyond its codec's reach: training leaves out as many for being clipped (TryWalkCode()).
// More of them among the rows that were added raise the segment's error; more of them in all end its growing.
constexpr std::uint64_t kDriftedShare = 64;

constexpr std::uint32_t kNotInserted = ~std::uint32_t{0};

}  // namespace

class GraphBuilder::Impl {
 public:
  explicit Impl(const BuildParameters& parameters);

  std::size_t MaxSamples() const noexcept { return trainer_ ? trainer_->MaxSamples() : 0; }
  void AddSample(const float* vector) {
    if (trainer_) trainer_->Add(vector);
  }
  void FinishTraining() {
    InBackground([](void* self) { static_cast<Impl*>(self)->Train(); });
  }
  bool Busy() const noexcept { return in_background_ && !queue_->Idle(); }

  base::Status BeginBase(SegmentSource* source);
  bool LoadBaseNodes(SegmentSource* source, std::uint32_t max_nodes, base::Status* status);
  void KeepBaseRow(base::RowId row, base::HeapTid tid);

  bool PrepareRows(std::uint32_t max_nodes);
  bool HasRoom() const noexcept { return !queue_ || queue_->HasRoom(); }
  void AddRow(base::RowId row, base::HeapTid tid, const float* vector);
  void EndRows();
  bool Done() const noexcept;
  std::uint64_t RowsDone() const noexcept { return rows_done_.load(std::memory_order_relaxed); }
  void Cancel() noexcept;

  base::Status Finish();
  const SegmentImage& image() const noexcept { return image_; }

 private:
  void InBackground(BuildQueue::Task task);
  [[nodiscard]] bool AwaitBackground();
  void Train();
  void ChooseCodec();
  void WatchDrift(const float* vector);
  void WatchReals(const float* vector);
  vec::WalkCodec CodecWithDrift() const noexcept;
  void MakeGraph(std::uint32_t max_nodes);
  void BeginAdopting();
  bool AdoptNodes(std::uint32_t max_nodes);
  void BeginRows();
  void PrepareAllRows();
  std::uint32_t NodeOfCode();
  const char* DataOfNode(std::uint32_t label) const noexcept;
  void InsertNode(const PendingNode& node);
  void AttachRow(std::uint32_t row, base::HeapTid tid, std::uint32_t node);
  void LayOut();
  HnswMemory Memory() const noexcept;
  std::uint32_t RelativeRow(base::RowId row) const noexcept {
    return static_cast<std::uint32_t>(base::ToIndex(row) - parameters_.first_row);
  }

  const BuildParameters parameters_;
  const std::size_t data_bytes_;
  base::CancelToken cancel_;    ///< the queue's, too
  bool in_background_ = false;  ///< a build thread may still be at what InBackground() gave it

  // The codec.
  std::optional<vec::ScalarQuantizerTrainer> trainer_;
  std::vector<float> offsets_;
  std::vector<float> walk_;  ///< centres, then steps, of 4-bit codes
  vec::WalkCodec codec_;
  vec::WalkReason codec_reason_ = vec::WalkReason::kAsked;
  std::uint64_t beyond_reach_ = 0;  ///< rows
  double farthest_ = 0.0;           ///< WalkResidual(), the largest of these

  // The graph.
  std::optional<CodeSpace> space_;
  std::unique_ptr<Hnsw> hnsw_;
  std::unique_ptr<std::atomic<std::uint32_t>[]> id_of_;  ///< hnswlib's, by label; kNotInserted at first
  std::uint32_t nodes_ = 0;                              ///< labels given out
  int top_level_ = -1;
  BaseLoader base_;
  std::vector<char> data_;  ///< of the row at hand
  std::optional<CodeTable> table_;
  bool base_loaded_ = false;
  std::uint32_t adopted_ = 0;    ///< nodes of the base that hnswlib has in full
  std::uint32_t node_room_ = 0;  ///< nodes of the base and to come
  std::uint32_t prepared_ = 0;   ///< of these, in id_of_ and table_
  bool rows_began_ = false;
  bool rows_ended_ = false;

  // Rows in order of arrival.
  std::vector<TidEntry> tids_;
  std::vector<std::uint32_t> node_of_;
  std::size_t base_rows_ = 0;  ///< of them, those of the base
  std::atomic<std::uint64_t> rows_done_{0};

  SegmentImage image_;
  std::optional<BuildQueue>
      queue_;  ///< absent if the caller's thread computes; last: its threads use the rest
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
bool GraphBuilder::Busy() const noexcept {
  return impl_->Busy();
}
base::Status GraphBuilder::BeginBase(SegmentSource* source) {
  return impl_->BeginBase(source);
}
bool GraphBuilder::LoadBaseNodes(SegmentSource* source, std::uint32_t max_nodes, base::Status* status) {
  return impl_->LoadBaseNodes(source, max_nodes, status);
}
bool GraphBuilder::PrepareRows(std::uint32_t max_nodes) {
  return impl_->PrepareRows(max_nodes);
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
  return impl_->image().header();
}
void GraphBuilder::ReadImage(std::uint64_t offset, std::size_t bytes, char* to) const noexcept {
  impl_->image().Read(offset, bytes, to);
}

// ---- construction, training ----

GraphBuilder::Impl::Impl(const BuildParameters& parameters)
    : parameters_(parameters),
      data_bytes_(NodeDataBytes(parameters.graph.metric, parameters.graph.CodeBytes())),
      data_(data_bytes_) {
  if (parameters_.graph.m > kMaxM) throw std::invalid_argument("m is too large");
  if (parameters_.max_rows >= kMaxNodes) throw std::length_error("too many rows for one segment");
  if (!parameters_.graph.bits) {
    trainer_.emplace(parameters_.graph.metric, parameters_.graph.dimensions);
    offsets_.resize(parameters_.graph.dimensions);
    walk_.resize(2 * std::size_t{parameters_.graph.dimensions});
  }
  if (parameters_.threads == 0) return;
  queue_.emplace(BuildQueue::Parameters{
      data_bytes_, parameters_.threads, parameters_.nice,
      [](void* self, const PendingNode& node) { static_cast<Impl*>(self)->InsertNode(node); },
      [](void* self) { static_cast<Impl*>(self)->LayOut(); }, this, &cancel_});
}

/// Runs the task: on a build thread, if there is one, which it must be waited for with AwaitBackground().
void GraphBuilder::Impl::InBackground(BuildQueue::Task task) {
  if (!queue_) {
    task(this);
    return;
  }
  in_background_ = true;
  queue_->Run(task);
}

/// False if the build was stopped, by the task's failure perhaps: what it was to make is not to be touched then.
bool GraphBuilder::Impl::AwaitBackground() {
  if (in_background_) queue_->AwaitIdle();
  if (cancel_.cancelled()) return false;
  in_background_ = false;
  return true;
}

void GraphBuilder::Impl::Train() {
  codec_.base = {parameters_.graph.metric, parameters_.graph.dimensions, 1.0F, offsets_.data()};
  if (parameters_.graph.bits) {
    codec_.code = vec::WalkCode::kBit;
    codec_reason_ = vec::WalkReason::kBits;
  } else {
    codec_.base.step = trainer_->Train(offsets_.data());
    ChooseCodec();
    trainer_.reset();
  }
  MakeGraph(static_cast<std::uint32_t>(parameters_.max_rows));
}

void GraphBuilder::Impl::ChooseCodec() {
  float* centre = walk_.data();
  float* step = centre + parameters_.graph.dimensions;
  const vec::WalkDecision decision =
      vec::ChooseWalkCode(*trainer_, codec_.base, parameters_.codec, centre, step);
  codec_.code = decision.code;
  codec_.error = decision.trial.error;
  codec_.reach = decision.trial.reach;
  codec_.shared_error = decision.trial.shared_error;
  codec_reason_ = decision.reason;
  if (codec_.code != vec::WalkCode::kSq4) return;
  codec_.centre = centre;
  codec_.step = step;
}

void GraphBuilder::Impl::MakeGraph(std::uint32_t max_nodes) {
  space_.emplace(codec_);
  tids_.reserve(parameters_.max_rows);
  node_of_.reserve(parameters_.max_rows);
  hnsw_ = std::make_unique<Hnsw>(&*space_, std::max(max_nodes, 1U), parameters_.graph.m,
                                 parameters_.graph.ef_construction);
}

// ---- the base ----

base::Status GraphBuilder::Impl::BeginBase(SegmentSource* source) {
  if (base::Status status = base_.Begin(source, parameters_, offsets_.data(), walk_.data()); !status.ok())
    return status;
  trainer_.reset();
  codec_ = WalkCodecOf(base_.header(), offsets_.data(), walk_.data());
  codec_reason_ = static_cast<vec::WalkReason>(base_.header().codec_reason);
  MakeGraph(base_.header().nodes);
  return {};
}

bool GraphBuilder::Impl::LoadBaseNodes(SegmentSource* source, std::uint32_t max_nodes, base::Status* status) {
  // From now on hnswlib frees the lists of nodes that have a level.
  hnsw_->cur_element_count = base_.header().nodes;
  if (base_loaded_) return AdoptNodes(max_nodes);
  if (base_.Load(source, max_nodes, Memory(), status)) return true;
  if (!status->ok()) return false;
  base_loaded_ = true;
  InBackground([](void* self) { static_cast<Impl*>(self)->base_.SortRows(); });
  BeginAdopting();
  return nodes_ > 0;
}

void GraphBuilder::Impl::BeginAdopting() {
  nodes_ = base_.header().nodes;
  if (nodes_ == 0) return;
  top_level_ = static_cast<int>(base_.header().max_level);
  hnsw_->enterpoint_node_ = base_.header().entry_node;
  hnsw_->maxlevel_ = top_level_;
}

/// Gives hnswlib what the base does not bring; true while there is more.
bool GraphBuilder::Impl::AdoptNodes(std::uint32_t max_nodes) {
  const std::uint32_t end = adopted_ + std::min(max_nodes, nodes_ - adopted_);
  for (; adopted_ < end; ++adopted_) {
    space_->WriteTerm(hnsw_->getDataByInternalId(adopted_));
    hnsw_->setExternalLabel(adopted_, adopted_);
  }
  return adopted_ < nodes_;
}

void GraphBuilder::Impl::KeepBaseRow(base::RowId row, base::HeapTid tid) {
  if (!AwaitBackground()) return;
  const std::uint32_t relative = RelativeRow(row);
  const std::uint32_t node = base_.NodeOfRow(relative);
  if (node != BaseLoader::kNone) AttachRow(relative, tid, node);
}

// ---- rows ----

void GraphBuilder::Impl::BeginRows() {
  rows_began_ = true;
  base_.DropRows();
  base_rows_ = tids_.size();
  if (parameters_.max_rows < tids_.size()) throw std::length_error("more rows than announced");
  const std::uint64_t max_nodes = nodes_ + parameters_.max_rows - tids_.size();
  if (max_nodes >= kMaxNodes) throw std::length_error("too many nodes for one segment");
  if (max_nodes > hnsw_->max_elements_) {
    std::vector<std::mutex>().swap(hnsw_->link_list_locks_);  // or resizeIndex() holds two of them
    hnsw_->resizeIndex(max_nodes);
  }
  id_of_.reset(new std::atomic<std::uint32_t>[max_nodes]);
  table_.emplace(max_nodes);
  node_room_ = static_cast<std::uint32_t>(max_nodes);
}

bool GraphBuilder::Impl::PrepareRows(std::uint32_t max_nodes) {
  if (!AwaitBackground()) return false;
  if (!rows_began_) BeginRows();
  const auto never = [](std::uint32_t) { return false; };
  const std::uint32_t end = prepared_ + std::min(max_nodes, node_room_ - prepared_);
  for (; prepared_ < end; ++prepared_) {
    const bool is_of_base = prepared_ < nodes_;
    id_of_[prepared_].store(is_of_base ? prepared_ : kNotInserted, std::memory_order_relaxed);
    if (!is_of_base) continue;
    const auto* code = reinterpret_cast<const std::uint8_t*>(hnsw_->getDataByInternalId(prepared_));
    static_cast<void>(
        table_->FindOrInsert(HashOfCode(code, parameters_.graph.CodeBytes()), prepared_, never));
  }
  return prepared_ < node_room_;
}

void GraphBuilder::Impl::PrepareAllRows() {
  while (PrepareRows(~std::uint32_t{0})) continue;
}

void GraphBuilder::Impl::AddRow(base::RowId row, base::HeapTid tid, const float* vector) {
  if (!rows_began_ || prepared_ < node_room_) PrepareAllRows();
  if (cancel_.cancelled()) return;
  if (!vec::IsCodable(parameters_.graph.metric, vector, parameters_.graph.dimensions)) return;
  if (tids_.size() >= parameters_.max_rows) throw std::length_error("more rows than announced");
  vec::MakeRecordCode(codec_, vector, reinterpret_cast<std::uint8_t*>(data_.data()));
  if (codec_.code != vec::WalkCode::kBit) WatchDrift(vector);
  AttachRow(RelativeRow(row), tid, NodeOfCode());
}

/// Rows unlike those that the codec was trained on.
void GraphBuilder::Impl::WatchDrift(const float* vector) {
  if (vec::IsMadeOfVectors(codec_.code)) {
    WatchReals(vector);
    return;
  }
  const double residual =
      vec::WalkResidual(codec_, vector, reinterpret_cast<const std::uint8_t*>(data_.data()));
  // By the triangle inequality the error holds for a row that is no farther from its code than that.
  if (residual <= static_cast<double>(std::max(codec_.reach, codec_.error))) return;
  ++beyond_reach_;
  farthest_ = std::max(farthest_, residual);
}

/// Codes made of vectors are so near that the farthest one's error is no burden. Any row may come to share its node.
void GraphBuilder::Impl::WatchReals(const float* vector) {
  const auto* code = reinterpret_cast<const std::uint8_t*>(data_.data());
  const double shared = vec::Sq8Residual(codec_, vector, code);
  RaiseTo(vec::WalkResidual(codec_, vector, code), &codec_.error);
  RaiseTo(shared, &codec_.shared_error);
  if (shared > static_cast<double>(codec_.reach)) ++beyond_reach_;
}

/// What is said of the codec's error must hold for the rows that were added, but for as few as training left out: one row
/// far from its code would make every search re-rank all that it finds. With many the next segment is to be trained anew.
vec::WalkCodec GraphBuilder::Impl::CodecWithDrift() const noexcept {
  vec::WalkCodec codec = codec_;
  const std::uint64_t added = tids_.size() - base_rows_;
  if (beyond_reach_ > added / kDriftedShare && !vec::IsMadeOfVectors(codec.code)) {
    const double error = farthest_ + static_cast<double>(codec.error);
    codec.error = std::nextafter(static_cast<float>(error), std::numeric_limits<float>::infinity());
  }
  // A codec that a few vectors have trained must not become that of all that follow.
  if (beyond_reach_ > tids_.size() / kDriftedShare || std::isinf(codec.reach)) codec.reach = kDrifted;
  return codec;
}

std::uint32_t GraphBuilder::Impl::NodeOfCode() {
  const auto* code = reinterpret_cast<const std::uint8_t*>(data_.data());
  const std::size_t bytes = parameters_.graph.CodeBytes();
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
  const std::uint32_t id = id_of_[label].load(std::memory_order_acquire);
  return id == kNotInserted ? queue_->Find(label) : hnsw_->getDataByInternalId(id);
}

void GraphBuilder::Impl::InsertNode(const PendingNode& node) {
  const std::uint32_t id = hnsw_->addPoint(node.data, node.label, node.level);
  id_of_[node.label].store(id, std::memory_order_release);
  const std::lock_guard<std::mutex> lock(LabelLookupLock(*hnsw_, 0));
  hnsw_->label_lookup_.erase(node.label);
}

void GraphBuilder::Impl::AttachRow(std::uint32_t row, base::HeapTid tid, std::uint32_t node) {
  tids_.push_back({tid, static_cast<std::uint16_t>(row), static_cast<std::uint16_t>(row >> 16)});
  node_of_.push_back(node);
  rows_done_.fetch_add(1, std::memory_order_relaxed);
}

void GraphBuilder::Impl::EndRows() {
  PrepareAllRows();
  rows_ended_ = true;
  if (queue_) queue_->End();
}

bool GraphBuilder::Impl::Done() const noexcept {
  return queue_ ? queue_->Done() : rows_ended_ || cancel_.cancelled();
}

void GraphBuilder::Impl::Cancel() noexcept {
  if (queue_) {
    queue_->Cancel();
  } else {
    cancel_.Cancel();
  }
}

// ---- the frozen segment ----

base::Status GraphBuilder::Impl::Finish() {
  if (!rows_ended_) EndRows();
  if (queue_) return queue_->Join();
  if (!cancel_.cancelled()) LayOut();
  if (cancel_.cancelled())
    return base::Status::Error(base::ErrorKind::kCancelled, "graph build was cancelled");
  return {};
}

void GraphBuilder::Impl::LayOut() {
  // What only inserting needs is given back first, so that laying out is not the peak.
  table_.reset();
  std::vector<std::mutex>().swap(hnsw_->link_list_locks_);
  std::vector<std::mutex>().swap(UpdateLocks(*hnsw_, 0));
  FreePool(hnsw_->visited_list_pool_);

  BuiltGraph graph;
  graph.memory = Memory();
  graph.id_of = id_of_.get();
  graph.nodes = nodes_;
  if (nodes_ > 0) {
    graph.entry_id = hnsw_->enterpoint_node_;
    graph.max_level = static_cast<std::uint32_t>(hnsw_->maxlevel_);
    // What stays out of reach is found by exact scan.
    static_cast<void>(ConnectUnreached(graph.memory, nodes_, graph.entry_id, parameters_.graph.m, cancel_));
    FillLists(graph.memory, nodes_,
              {parameters_.graph.m, data_bytes_, space_->Distance(), SpreadOf(parameters_.graph.metric),
               adopted_, parameters_.threads},
              cancel_);
    if (cancel_.cancelled()) return;
  }
  graph.codec = CodecWithDrift();
  graph.walk = walk_.data();
  graph.codec_reason = codec_reason_;
  image_.LayOut(parameters_, graph, std::move(tids_), node_of_);
  std::vector<std::uint32_t>().swap(node_of_);
}

HnswMemory GraphBuilder::Impl::Memory() const noexcept {
  HnswMemory memory;
  memory.level0 = hnsw_->data_level0_memory_;
  memory.stride = hnsw_->size_data_per_element_;
  memory.data_at = hnsw_->offsetData_;
  memory.upper = hnsw_->linkLists_;
  memory.list_bytes = hnsw_->size_links_per_element_;
  memory.levels = hnsw_->element_levels_.data();
  return memory;
}

}  // namespace tandem::graph
