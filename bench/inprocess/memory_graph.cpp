#include "inprocess/memory_graph.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <new>
#include <numeric>
#include <random>
#include <stdexcept>

namespace tandem::bench {
namespace {

constexpr std::size_t kHugePageBytes = std::size_t{2} << 20;

void AddSamples(graph::GraphBuilder* builder, const VectorFile<float>& base,
                const graph::BuildParameters& build) {
  std::mt19937_64 random(1);
  const std::uint64_t rows = build.end_row - build.first_row;
  const std::size_t samples = std::min<std::uint64_t>(builder->MaxSamples(), rows);
  for (std::size_t i = 0; i < samples; ++i) {
    const std::uint64_t begin = rows * i / samples;
    const std::uint64_t end = rows * (i + 1) / samples;
    builder->AddSample(base.row(build.first_row + begin + random() % (end - begin)).data());
  }
}

}  // namespace

vec::Metric MetricOf(Metric metric) {
  switch (metric) {
    case Metric::kL2:
      return vec::Metric::kL2;
    case Metric::kInnerProduct:
      return vec::Metric::kInnerProduct;
    case Metric::kCosine:
      return vec::Metric::kCosine;
    case Metric::kL1:
      return vec::Metric::kL1;
  }
  throw std::invalid_argument("unknown metric");
}

Frames::Frames(std::size_t frames, bool on_huge_pages)
    : bytes_(frames * graph::kChunkBytes + kHugePageBytes), order_(frames) {
  memory_ = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory_ == MAP_FAILED) throw std::bad_alloc();
  madvise(memory_, bytes_, on_huge_pages ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  const auto address = reinterpret_cast<std::uintptr_t>(memory_);
  base_ = static_cast<char*>(memory_) + (kHugePageBytes - address % kHugePageBytes) % kHugePageBytes;
  std::iota(order_.begin(), order_.end(), 0U);
  std::shuffle(order_.begin(), order_.end(), std::mt19937(1));
}

Frames::~Frames() {
  munmap(memory_, bytes_);
}

MemoryGraph::MemoryGraph(const VectorFile<float>& base, const SegmentParameters& parameters) {
  from_cache_ = ReadCache(parameters);
  if (!from_cache_) Build(base, parameters);
  vectors_ = &base;
  std::memcpy(&header_, bytes_.data(), sizeof header_);
  if (const char* problem = graph::ProblemOf(header_); problem != nullptr) throw std::runtime_error(problem);
  offsets_.resize(graph::OffsetFloats(header_));
  if (!offsets_.empty())
    std::memcpy(offsets_.data(), bytes_.data() + header_.offsets_at, offsets_.size() * sizeof(float));
  walk_.resize(graph::WalkFloats(header_));
  if (!walk_.empty())
    std::memcpy(walk_.data(), bytes_.data() + header_.walk_at, walk_.size() * sizeof(float));
  const std::size_t walk_bytes = vec::WalkCodeBytes(Codec().code, header_.dimensions);
  layout_ = graph::LayOutChunks(header_, static_cast<std::uint32_t>(walk_bytes));
}

bool MemoryGraph::ReadCache(const SegmentParameters& parameters) {
  if (parameters.cache.empty()) return false;
  std::ifstream file(parameters.cache, std::ios::binary | std::ios::ate);
  if (!file.good()) return false;
  bytes_.resize(static_cast<std::size_t>(file.tellg()));
  file.seekg(0);
  file.read(bytes_.data(), static_cast<std::streamsize>(bytes_.size()));
  if (bytes_.size() < sizeof header_ || !file.good()) return false;
  std::memcpy(&header_, bytes_.data(), sizeof header_);
  return graph::ProblemOf(header_) == nullptr && header_.bytes == bytes_.size() &&
         header_.first_row == parameters.build.first_row && header_.end_row == parameters.build.end_row;
}

void MemoryGraph::Build(const VectorFile<float>& base, const SegmentParameters& parameters) {
  graph::GraphBuilder builder(parameters.build);
  AddSamples(&builder, base, parameters.build);
  builder.FinishTraining();
  for (std::uint64_t row = parameters.build.first_row; row < parameters.build.end_row; ++row) {
    const base::HeapTid tid{static_cast<std::uint16_t>(row >> 24), static_cast<std::uint16_t>(row >> 8),
                            static_cast<std::uint16_t>((row & 0xFF) + 1)};
    builder.AddRow(base::RowId{row}, tid, base.row(row).data());
  }
  builder.EndRows();
  if (const base::Status status = builder.Finish(); !status.ok()) throw std::runtime_error(status.message());
  bytes_.resize(builder.header().bytes);
  builder.ReadImage(0, bytes_.size(), bytes_.data());
  if (parameters.cache.empty()) return;
  std::ofstream(parameters.cache, std::ios::binary)
      .write(bytes_.data(), static_cast<std::streamsize>(bytes_.size()));
}

void MemoryGraph::LayOut(Frames* frames) {
  base_ = frames->base();
  frame_of_.resize(layout_.chunks);
  for (std::uint32_t& frame : frame_of_) frame = frames->Take();
  CopyArray(layout_.upper_nodes, header_.upper_nodes_at);
  CopyArray(layout_.upper_links, header_.upper_links_at);
  CopyArray(layout_.row_starts, header_.row_starts_at);
  CopyArray(layout_.rows, header_.rows_at);
  MakeNodes();
  std::vector<char>().swap(bytes_);
}

void MemoryGraph::CopyArray(const graph::ChunkArray& array, std::uint64_t at) {
  for (std::uint32_t i = 0; i < array.count; ++i) {
    std::memcpy(const_cast<char*>(Element(array, i)),
                bytes_.data() + at + std::uint64_t{i} * array.element_bytes, array.element_bytes);
  }
}

void MemoryGraph::MakeNodes() {
  const vec::WalkCodec codec = Codec();
  const std::size_t link_bytes = 2 * sizeof(std::uint32_t) * header_.m;
  for (std::uint32_t node = 0; node < header_.nodes; ++node) {
    const char* from = bytes_.data() + header_.records_at + std::uint64_t{node} * header_.record_bytes;
    std::memcpy(const_cast<char*>(Element(layout_.links, node)), from, link_bytes);
    const auto* code = reinterpret_cast<const std::uint8_t*>(from + link_bytes);
    auto* walk_code = reinterpret_cast<std::uint8_t*>(const_cast<char*>(Element(layout_.codes, node)));
    if (vec::IsMadeOfVectors(codec.code) && HasOneRow(node)) {
      vec::MakeWalkCode(codec, vectors_->row(RowOf(node)).data(), walk_code);
    } else {
      vec::MakeWalkCode(codec, code, walk_code);
    }
  }
}

bool MemoryGraph::HasOneRow(std::uint32_t node) const {
  if (header_.row_starts_at == 0) return true;
  std::uint32_t first;
  std::uint32_t end;
  std::memcpy(&first, Element(layout_.row_starts, node), sizeof first);
  std::memcpy(&end, Element(layout_.row_starts, node + 1), sizeof end);
  return end - first == 1;
}

std::uint64_t MemoryGraph::RowOf(std::uint32_t node) const {
  std::uint32_t at = node;
  if (header_.row_starts_at != 0) std::memcpy(&at, Element(layout_.row_starts, node), sizeof at);
  std::uint32_t row;
  std::memcpy(&row, Element(layout_.rows, at), sizeof row);
  return header_.first_row + row;
}

}  // namespace tandem::bench
