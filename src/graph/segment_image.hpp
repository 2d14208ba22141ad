#pragma once
// A built graph as the bytes of a frozen segment, without a second copy of it.

#include <atomic>
#include <cstdint>
#include <vector>

#include "graph/graph_builder.hpp"
#include "graph/hnsw_memory.hpp"

namespace tandem::graph {

/// What a segment is made from. Does not own anything; all of it must stay while the image is read.
struct BuiltGraph {
  HnswMemory memory;
  const std::atomic<std::uint32_t>* id_of;  ///< by node ordinal: hnswlib's id
  std::uint32_t nodes = 0;
  std::uint32_t entry_id = 0;  ///< if nodes > 0
  std::uint32_t max_level = 0;
  vec::WalkCodec codec;
  const float* walk = nullptr;  ///< for kSq4: codec.centre, and behind it codec.step
  vec::WalkReason codec_reason = vec::WalkReason::kAsked;
};

class SegmentImage {
 public:
  /// tids and node_of: for each row, in order of arrival, its TID and its node. parameters: for the header.
  /// Throws std::bad_alloc.
  void LayOut(const BuildParameters& parameters, const BuiltGraph& graph, std::vector<TidEntry> tids,
              const std::vector<std::uint32_t>& node_of);

  [[nodiscard]] const SegmentHeader& header() const noexcept { return header_; }
  /// Copies bytes [offset, offset + bytes). Thread-safe.
  void Read(std::uint64_t offset, std::size_t bytes, char* to) const noexcept;

 private:
  void NameNodes();
  void ListUpperNodes();
  void OrderRows(const std::vector<std::uint32_t>& node_of);
  void FillHeader(const BuildParameters& parameters);

  [[nodiscard]] std::uint32_t IdOf(std::uint32_t node) const noexcept {
    return graph_.id_of[node].load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint32_t NodeOf(std::uint32_t id) const noexcept {
    return node_of_id_.empty() ? id : node_of_id_[id];
  }
  [[nodiscard]] std::uint32_t OrdinalOf(std::uint32_t node) const noexcept;
  void CopyLinks(const std::uint32_t* list, std::size_t room, std::uint32_t* to) const noexcept;
  void ReadRecords(std::uint64_t at, std::size_t bytes, char* to) const noexcept;
  void ReadUpperLinks(std::uint64_t at, std::size_t bytes, char* to) const noexcept;

  BuiltGraph graph_{};
  SegmentHeader header_{};
  std::vector<std::uint32_t> node_of_id_;  ///< empty if ids and ordinals are the same
  std::vector<UpperNode> upper_nodes_;
  std::vector<std::uint32_t> row_starts_;  ///< empty if the section is left out
  std::vector<std::uint32_t> rows_;
  std::vector<TidEntry> tids_;
};

}  // namespace tandem::graph
