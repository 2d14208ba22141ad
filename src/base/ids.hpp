#pragma once
// Strong identifiers: mixing them up must not compile.

#include <cstdint>

namespace tandem::base {

/// Ordinal of a row in the flat relation: 0, 1, 2 … in the order of insertion, never reused.
enum class RowId : std::uint64_t {};

/// Ordinal of a node in one segment's graph. Nodes and rows differ: rows with equal codes share a node.
enum class NodeId : std::uint32_t {};
constexpr NodeId kNoNode{~std::uint32_t{0}};

[[nodiscard]] constexpr std::uint64_t ToIndex(RowId id) noexcept {
  return static_cast<std::uint64_t>(id);
}

[[nodiscard]] constexpr std::uint32_t ToIndex(NodeId id) noexcept {
  return static_cast<std::uint32_t>(id);
}

/// A heap TID as six bytes, the same as the server's ItemPointerData; the core only compares and stores it.
struct HeapTid {
  std::uint16_t block_high;
  std::uint16_t block_low;
  std::uint16_t offset;

  [[nodiscard]] constexpr std::uint64_t Key() const noexcept {
    return (std::uint64_t{block_high} << 32) | (std::uint64_t{block_low} << 16) | offset;
  }
  [[nodiscard]] constexpr std::uint32_t Block() const noexcept {
    return (std::uint32_t{block_high} << 16) | block_low;
  }
};
static_assert(sizeof(HeapTid) == 6, "on-disk format");

}  // namespace tandem::base
