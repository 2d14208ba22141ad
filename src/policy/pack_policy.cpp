#include "policy/pack_policy.hpp"

#include <algorithm>

namespace tandem::policy {
namespace {

// Places in a packed blob have 32 bits; a quarter of that, so that ranges can still be joined.
constexpr std::uint64_t kLargestSpan = std::uint64_t{1} << 30;

bool IsPoor(const PackItem& item, std::uint64_t row_bytes) noexcept {
  return item.slots > 0 && item.live * 100 <= item.slots * kPoorPercent &&
         item.live * (row_bytes + kPackedRowBytes) * 100 <= item.slots * row_bytes * (100 - kLeastHadPercent);
}

/// A packed range without rows: it costs nothing to take along.
bool IsEmpty(const PackItem& item) noexcept {
  return item.packed && item.slots == 0;
}

/// Neighbouring items being chosen.
struct Window {
  std::uint32_t first;
  std::uint32_t end;
  std::uint64_t slots = 0;
  std::uint64_t live = 0;
  std::uint64_t span = 0;

  /// The first item always fits: an item that nothing can be done about would be planned for again and again.
  [[nodiscard]] bool Fits(const PackItem& item, std::uint64_t capacity) const noexcept {
    return first == end || (live + item.live <= capacity && span + item.span <= kLargestSpan);
  }
  void Add(const PackItem& item) noexcept {
    slots += item.slots;
    live += item.live;
    span += item.span;
  }
  [[nodiscard]] std::uint64_t freed() const noexcept { return slots - live; }
};

bool IsAbsorbed(const PackItem& item, const Window& window, std::uint64_t capacity) noexcept {
  return item.packed && item.live <= kAbsorbedTimes * window.live && window.Fits(item, capacity);
}

/// Poor items from `first` on, and packed ranges on both sides that are small against them.
Window WindowAt(base::Span<const PackItem> items, std::uint32_t first,
                const PackSettings& settings) noexcept {
  const std::uint64_t capacity = settings.capacity_rows;
  const auto count = static_cast<std::uint32_t>(items.size());
  Window window{first, first};
  while (window.end < count &&
         (IsPoor(items[window.end], settings.row_bytes) || IsEmpty(items[window.end])) &&
         window.Fits(items[window.end], capacity)) {
    window.Add(items[window.end++]);
  }
  for (bool grows = true; grows;) {
    grows = false;
    if (window.first > 0 && IsAbsorbed(items[window.first - 1], window, capacity)) {
      window.Add(items[--window.first]);
      grows = true;
    }
    if (window.end < count && IsAbsorbed(items[window.end], window, capacity)) {
      window.Add(items[window.end++]);
      grows = true;
    }
  }
  return window;
}

}  // namespace

std::uint32_t ExtentsPerGroup(std::uint32_t extents) noexcept {
  std::uint32_t group = 1;
  while (extents / group > kMostGroups) group *= 2;
  return group;
}

PackPlan PlanPack(base::Span<const PackItem> items, const PackSettings& settings) noexcept {
  PackPlan plan;
  std::uint64_t most_freed = std::max<std::uint64_t>(settings.least_freed, 1) - 1;
  for (std::uint32_t i = 0; i < items.size();) {
    if (!IsPoor(items[i], settings.row_bytes)) {
      ++i;
      continue;
    }
    const Window window = WindowAt(items, i, settings);
    if (window.freed() > most_freed) {
      most_freed = window.freed();
      plan = {true, window.first, window.end};
    }
    i = std::max(window.end, i + 1);
  }
  return plan;
}

}  // namespace tandem::policy
