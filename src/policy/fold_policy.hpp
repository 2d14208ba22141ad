#pragma once
// Which rows become the next segment: the tail alone, the tail with small segments before it, or a segment that has too
// many dead rows. Segments partition the row ids [0, sealed) in order, so only neighbours are ever merged.

#include <cstdint>

#include "base/span.hpp"

namespace tandem::policy {

/// A segment as the policy sees it, in the order of row ids.
struct SegmentWeight {
  std::uint64_t rows;  ///< rows in its graph, dead ones included
  std::uint64_t dead;  ///< of these, rows that VACUUM has marked since
  std::uint64_t span;  ///< row ids it covers
};

struct FoldSettings {
  std::uint64_t seal_rows;      ///< a tail of so many rows is folded at once
  std::uint64_t capacity_rows;  ///< no segment gets more live rows than fit into build_memory
};

/// What the caller knows beside the segments.
struct FoldSituation {
  base::Span<const SegmentWeight> segments;
  std::uint64_t tail_rows = 0;  ///< live rows not in a segment
  bool tail_is_old = false;     ///< nothing was appended for a while
  bool at_rest = false;         ///< nothing was folded for a while either: time to merge further
  bool everything = false;      ///< asked for by name: fold any tail, merge as if at rest
};

/// Build one segment from segments [first, end) and, if `tail`, the first `tail_rows` rows of the tail; it takes
/// their place. Starts from the graph of segment `base` unless that is kNoBase.
struct FoldPlan {
  static constexpr std::uint32_t kNoBase = ~std::uint32_t{0};
  bool worth_it = false;
  std::uint32_t first = 0;
  std::uint32_t end = 0;
  bool tail = false;
  std::uint64_t tail_rows = 0;
  std::uint32_t base = kNoBase;
};

/// Fewer rows than this are not folded unless asked for by name: scanning them exactly takes no longer than
/// searching one more graph.
constexpr std::uint64_t kWorthwhileTail = 1000;

[[nodiscard]] FoldPlan PlanFold(const FoldSituation& situation, const FoldSettings& settings) noexcept;

}  // namespace tandem::policy
