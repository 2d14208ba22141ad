#pragma once
// Where hnswlib keeps a graph (0.6.2, hnswalg.h), so that freezing and rehydrating read and write it without including it.
//
//   level 0     per id: list of up to 2 m links | node data (node_data.hpp) | label
//   upper       per id of level l > 0: l lists of up to m links, and one byte more; malloc'ed
//   a list      uint32 whose low half is the number of links | uint32 ids

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace tandem::graph {

/// Does not own anything.
struct HnswMemory {
  char* level0 = nullptr;
  std::size_t stride = 0;      ///< bytes from one id to the next
  std::size_t data_at = 0;     ///< within it
  char** upper = nullptr;      ///< set for ids of level > 0 only
  std::size_t list_bytes = 0;  ///< of an upper list
  int* levels = nullptr;

  [[nodiscard]] std::uint32_t* List(std::uint32_t id) const noexcept {
    return reinterpret_cast<std::uint32_t*>(level0 + id * stride);
  }
  [[nodiscard]] std::uint32_t* UpperList(std::uint32_t id, std::uint32_t level) const noexcept {
    return reinterpret_cast<std::uint32_t*>(upper[id] + (level - 1) * list_bytes);
  }
  [[nodiscard]] char* Data(std::uint32_t id) const noexcept { return level0 + id * stride + data_at; }
  [[nodiscard]] std::uint32_t Level(std::uint32_t id) const noexcept {
    return static_cast<std::uint32_t>(levels[id]);
  }
};

[[nodiscard]] inline std::size_t CountOf(const std::uint32_t* list) noexcept {
  std::uint16_t count;
  std::memcpy(&count, list, sizeof count);
  return count;
}

inline void SetCount(std::uint32_t* list, std::size_t count) noexcept {
  const auto half = static_cast<std::uint16_t>(count);
  std::memcpy(list, &half, sizeof half);
}

}  // namespace tandem::graph
