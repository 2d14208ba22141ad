#pragma once
// tandem.memory_budget in frames, and which parts of it are fixed when the server starts: none but its size.

#include <cstdint>

namespace tandem::shmem {

/// What graphs are kept in, and sets of rows.
constexpr std::uint32_t kFrameBytes = std::uint32_t{64} << 10;

/// With less there is no filter cache: a graph would miss every frame of it.
constexpr std::uint64_t kLeastBudgetForFilters = std::uint64_t{8} << 20;

/// Neither cache is made smaller than this part of the budget.
constexpr std::uint32_t kFloorDivisor = 20;

[[nodiscard]] constexpr std::uint32_t BudgetFrames(std::uint64_t budget_bytes) {
  return static_cast<std::uint32_t>(budget_bytes / kFrameBytes);
}

[[nodiscard]] constexpr bool HasFilterCache(std::uint64_t budget_bytes) {
  return budget_bytes >= kLeastBudgetForFilters;
}

/// Of graphs; the filter cache has the rest.
[[nodiscard]] constexpr std::uint32_t GraphTarget(std::uint64_t budget_bytes, double graph_share) {
  const std::uint32_t frames = BudgetFrames(budget_bytes);
  if (!HasFilterCache(budget_bytes)) return frames;
  return static_cast<std::uint32_t>(static_cast<double>(frames) * graph_share + 0.5);
}

[[nodiscard]] constexpr std::uint32_t FloorFrames(std::uint64_t budget_bytes) {
  return HasFilterCache(budget_bytes) ? BudgetFrames(budget_bytes) / kFloorDivisor : 0;
}

}  // namespace tandem::shmem
