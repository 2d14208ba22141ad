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
  /// Nodes in its graph. More than `rows` if it grew from another graph whose dead rows still route; fewer if rows
  /// share nodes. 0: as many as rows.
  std::uint64_t nodes = 0;
};

struct FoldSettings {
  std::uint64_t seal_rows;      ///< a tail of so many rows is folded at once; at most capacity_rows count
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
/// their place. Starts from the graph of segment `base`, counted like `first`, unless that is kNoBase. Segments that are
/// all dead may come alone: then the new one is empty.
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

/// A fold rewrites the segments before the tail only where the result is so many times as large as each of them: the
/// bytes written per row stay near 1 + log to this base of (rows / seal_rows).
constexpr std::uint64_t kFoldGrowth = 4;
/// At rest a segment has at least so many times the rows of all later ones together.
constexpr std::uint64_t kRestRatio = 8;
/// A segment of which more nodes are dead is built anew.
constexpr std::uint64_t kRebuildDeadPercent = 25;
/// A graph of which more nodes are dead is not the base of another.
constexpr std::uint64_t kBaseDeadPercent = 15;

/// How far a fold of a tail has come.
struct FoldReading {
  std::uint64_t absorbed_rows = 0;  ///< of the segments that it replaces
  std::uint64_t read_rows = 0;      ///< of the tail, so far
  std::uint64_t arrived_rows = 0;   ///< appended since it began
};
/// So many times seal_rows must have been read, and have arrived, before a fold is cut.
constexpr std::uint64_t kCutTails = 4;
/// True if the fold had better end with what it has read: where rows come as fast as they are folded, each would take longer
/// than the one before, and none of its rows would be in a graph before its end. The result still is kFoldGrowth times as large
/// as what it replaces.
[[nodiscard]] bool IsWorthCutting(const FoldReading& reading, std::uint64_t seal_rows) noexcept;

/// The next thing to do, most urgent first: fold the tail, merge at rest, rebuild. Carried out again and again it ends
/// with worth_it = false. README.md has the rules and what they cost.
[[nodiscard]] FoldPlan PlanFold(const FoldSituation& situation, const FoldSettings& settings) noexcept;

}  // namespace tandem::policy
