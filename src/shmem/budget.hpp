#pragma once
// How tandem.memory_budget is shared out between the caches: fixed when the server starts.

#include <cstdint>

namespace tandem::shmem {

/// What graphs are kept in.
constexpr std::uint32_t kFrameBytes = std::uint32_t{64} << 10;

/// Sets of rows are bits where graphs are codes and links, some hundred bytes a row: an eighth holds those of dozens of filters of
/// every row that the other seven eighths hold the graph of.
constexpr std::uint64_t kFilterCacheDivisor = 8;

/// With less there is no filter cache: the allocator's own needs would take much of it.
constexpr std::uint64_t kLeastFilterCacheBytes = std::uint64_t{1} << 20;

/// Whole frames.
[[nodiscard]] constexpr std::uint64_t FilterCacheBytes(std::uint64_t budget_bytes) {
  const std::uint64_t bytes = budget_bytes / kFilterCacheDivisor / kFrameBytes * kFrameBytes;
  return bytes < kLeastFilterCacheBytes ? 0 : bytes;
}

/// Those of graphs: the rest.
[[nodiscard]] constexpr std::uint64_t GraphFrames(std::uint64_t budget_bytes) {
  return (budget_bytes - FilterCacheBytes(budget_bytes)) / kFrameBytes;
}

}  // namespace tandem::shmem
