#pragma once
// A set as tandem's segments in memory, laid out as searches behind SQL find them: chunks in frames of 64 KB, in no order,
// on 4 KB pages.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/distance.hpp"
#include "common/vector_file.hpp"
#include "graph/chunk_layout.hpp"
#include "graph/graph_builder.hpp"
#include "graph/graph_search.hpp"

namespace tandem::bench {

struct SegmentParameters {
  graph::BuildParameters build;
  std::string
      cache;  ///< the segment is read from this file when it is there and written to it otherwise; "" for none
};

[[nodiscard]] vec::Metric MetricOf(Metric metric);

/// Memory of one set's segments.
class Frames {
 public:
  /// Room for `frames` of them, on pages of 4 KB, or of 2 MB where the system gives them to who asks. Throws std::bad_alloc.
  explicit Frames(std::size_t frames, bool on_huge_pages = false);
  ~Frames();
  Frames(const Frames&) = delete;
  Frames& operator=(const Frames&) = delete;

  [[nodiscard]] char* base() const { return base_; }
  /// The next of them, in random order.
  [[nodiscard]] std::uint32_t Take() { return order_[taken_++]; }

 private:
  void* memory_ = nullptr;
  char* base_ = nullptr;
  std::size_t bytes_;
  std::vector<std::uint32_t> order_;
  std::size_t taken_ = 0;
};

/// One frozen segment: its bytes while it is made, then its chunks.
class MemoryGraph {
 public:
  /// Builds it from rows [build.first_row, build.end_row) of `base`, which must outlive it, or reads it.
  MemoryGraph(const VectorFile<float>& base, const SegmentParameters& parameters);

  [[nodiscard]] bool from_cache() const { return from_cache_; }
  [[nodiscard]] const graph::SegmentHeader& header() const { return header_; }
  [[nodiscard]] vec::WalkCodec Codec() const {
    return graph::WalkCodecOf(header_, offsets_.data(), walk_.data());
  }
  [[nodiscard]] std::uint32_t Chunks() const { return layout_.chunks; }

  /// Fills frames; the bytes are given back.
  void LayOut(Frames* frames);

  /// nullptr if it were not in memory: asked as in the server, though here everything is.
  [[nodiscard]] const char* Element(const graph::ChunkArray& array, std::uint32_t element) const {
    const graph::ChunkPlace place = graph::PlaceOf(array, element);
    const std::uint32_t frame = frame_of_[place.chunk];
    if (frame == kNoFrame) return nullptr;
    return base_ + std::size_t{frame} * graph::kChunkBytes + place.offset;
  }
  [[nodiscard]] const graph::ChunkLayout& layout() const { return layout_; }
  /// The first row at a node.
  [[nodiscard]] std::uint64_t RowOf(std::uint32_t node) const;
  [[nodiscard]] bool HasOneRow(std::uint32_t node) const;

 private:
  static constexpr std::uint32_t kNoFrame = ~std::uint32_t{0};

  void Build(const VectorFile<float>& base, const SegmentParameters& parameters);
  [[nodiscard]] bool ReadCache(const SegmentParameters& parameters);
  void CopyArray(const graph::ChunkArray& array, std::uint64_t at);
  void MakeNodes();

  const VectorFile<float>* vectors_ = nullptr;
  bool from_cache_ = false;
  std::vector<char> bytes_;
  graph::SegmentHeader header_{};
  std::vector<float> offsets_;
  std::vector<float> walk_;
  graph::ChunkLayout layout_;
  std::vector<std::uint32_t> frame_of_;
  char* base_ = nullptr;
};

/// The Reader of graph::GraphSearch.
class MemoryReader {
 public:
  explicit MemoryReader(const MemoryGraph* graph) : graph_(graph) {}

  [[nodiscard]] const std::uint32_t* LinkRecord(std::uint32_t node) const {
    return reinterpret_cast<const std::uint32_t*>(graph_->Element(graph_->layout().links, node));
  }
  [[nodiscard]] const std::uint8_t* CodeRecord(std::uint32_t node) const {
    return reinterpret_cast<const std::uint8_t*>(graph_->Element(graph_->layout().codes, node));
  }
  [[nodiscard]] const graph::UpperNode* UpperRecord(std::uint32_t ordinal) const {
    return reinterpret_cast<const graph::UpperNode*>(graph_->Element(graph_->layout().upper_nodes, ordinal));
  }
  [[nodiscard]] const std::uint32_t* UpperList(std::uint32_t list) const {
    return reinterpret_cast<const std::uint32_t*>(graph_->Element(graph_->layout().upper_links, list));
  }
  // Never asked.
  [[nodiscard]] static const std::uint32_t* Links(std::uint32_t /*node*/) { std::abort(); }
  [[nodiscard]] static const std::uint8_t* Code(std::uint32_t /*node*/) { std::abort(); }
  [[nodiscard]] static graph::UpperNode Upper(std::uint32_t /*ordinal*/) { std::abort(); }
  [[nodiscard]] static const std::uint32_t* UpperLinks(std::uint32_t /*list*/) { std::abort(); }

 private:
  const MemoryGraph* graph_;
};

}  // namespace tandem::bench
