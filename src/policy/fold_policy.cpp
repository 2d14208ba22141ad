// Which rows become the next segment.

#include "policy/fold_policy.hpp"

#include <algorithm>

namespace tandem::policy {
namespace {

// Row ids of one segment lie within 2^32 - 2 of each other; a quarter of that leaves room for dead rows in the tail.
constexpr std::uint64_t kLargestSpan = std::uint64_t{1} << 30;

std::uint64_t LiveRows(const SegmentWeight& segment) noexcept {
  return segment.rows - std::min(segment.dead, segment.rows);
}

/// Empty segments count as well: they, too, are listed and looked at.
std::uint64_t RestWeight(const SegmentWeight& segment) noexcept {
  return std::max<std::uint64_t>(LiveRows(segment), 1);
}

/// Nodes that only route, or belong to dead rows. Rows that share nodes hide some.
std::uint64_t WastedNodes(const SegmentWeight& segment) noexcept {
  return std::max(segment.rows, segment.nodes) - LiveRows(segment);
}

bool WastesMoreThan(const SegmentWeight& segment, std::uint64_t percent) noexcept {
  return WastedNodes(segment) * 100 > std::max(segment.rows, segment.nodes) * percent;
}

/// Adds up the inputs of a plan, within the bounds of one segment.
class Inputs {
 public:
  explicit Inputs(std::uint64_t capacity) noexcept : capacity_(capacity) {}

  /// False, with nothing changed, if the segment does not fit.
  bool Add(const SegmentWeight& segment) noexcept {
    const std::uint64_t live = LiveRows(segment);
    if (live > room() || segment.span > kLargestSpan - std::min(span_, kLargestSpan)) return false;
    live_ += live;
    span_ += segment.span;
    largest_ = std::max(largest_, live);
    return true;
  }

  [[nodiscard]] std::uint64_t live() const noexcept { return live_; }
  [[nodiscard]] std::uint64_t largest() const noexcept { return largest_; }
  [[nodiscard]] std::uint64_t room() const noexcept { return capacity_ - live_; }

 private:
  std::uint64_t capacity_;
  std::uint64_t live_ = 0;
  std::uint64_t span_ = 0;
  std::uint64_t largest_ = 0;
};

bool WantsTail(const FoldSituation& situation, std::uint64_t seal_rows) noexcept {
  if (situation.tail_rows == 0) return false;
  return situation.everything || situation.tail_rows >= seal_rows ||
         (situation.tail_is_old && situation.tail_rows >= kWorthwhileTail);
}

bool IsAtRest(const FoldSituation& situation) noexcept {
  return situation.at_rest || situation.everything;
}

/// The largest input, if it saves half of the insertions or more: the new segment takes over its quantiser, which was
/// trained on its rows alone. Dead nodes need memory too.
std::uint32_t ChooseBase(const FoldSituation& situation, const FoldPlan& plan,
                         std::uint64_t capacity) noexcept {
  std::uint64_t live = plan.tail_rows;
  std::uint32_t base = FoldPlan::kNoBase;
  for (std::uint32_t i = plan.first; i < plan.end; ++i) {
    live += LiveRows(situation.segments[i]);
    if (base == FoldPlan::kNoBase || LiveRows(situation.segments[i]) > LiveRows(situation.segments[base])) {
      base = i;
    }
  }
  if (base == FoldPlan::kNoBase) return base;
  const SegmentWeight& largest = situation.segments[base];
  const bool saves_half = LiveRows(largest) != 0 && 2 * LiveRows(largest) >= live;
  const bool fits = live + WastedNodes(largest) <= capacity;
  return saves_half && fits && !WastesMoreThan(largest, kBaseDeadPercent) ? base : FoldPlan::kNoBase;
}

/// The tail, cut to what fits, and the longest run of segments before it that is worth writing again.
FoldPlan PlanTail(const FoldSituation& situation, std::uint64_t capacity) noexcept {
  const auto count = static_cast<std::uint32_t>(situation.segments.size());
  FoldPlan plan;
  plan.worth_it = true;
  plan.tail = true;
  plan.first = plan.end = count;
  plan.tail_rows = std::min(situation.tail_rows, capacity);
  Inputs absorbed(capacity);
  for (std::uint32_t i = count; i-- > 0;) {
    const SegmentWeight& segment = situation.segments[i];
    const std::uint64_t later = absorbed.live() + situation.tail_rows;
    if (!absorbed.Add(segment)) break;
    const std::uint64_t tail_rows = std::min(situation.tail_rows, absorbed.room());
    // A tail that is cut leaves a full segment, which will not grow any more: it shall consist of new rows mostly.
    const bool is_cut = tail_rows < situation.tail_rows;
    const bool grows = is_cut ? absorbed.live() * kFoldGrowth <= capacity
                              : absorbed.live() + tail_rows >= kFoldGrowth * absorbed.largest();
    const bool disturbs_rest = IsAtRest(situation) && !is_cut && LiveRows(segment) < kRestRatio * later;
    if (!grows && !disturbs_rest) continue;
    plan.first = i;
    plan.tail_rows = tail_rows;
  }
  plan.base = ChooseBase(situation, plan, capacity);
  return plan;
}

/// The first segment that is small against what follows it, with as many of its followers as fit.
FoldPlan PlanMerge(const FoldSituation& situation, std::uint64_t capacity) noexcept {
  const auto count = static_cast<std::uint32_t>(situation.segments.size());
  std::uint64_t later = 0;
  for (const SegmentWeight& segment : situation.segments) later += RestWeight(segment);
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint64_t weight = RestWeight(situation.segments[i]);
    later -= weight;
    if (weight >= kRestRatio * later) continue;
    Inputs merged(capacity);
    std::uint32_t end = i;
    while (end < count && merged.Add(situation.segments[end])) ++end;
    if (end < i + 2) continue;
    FoldPlan plan;
    plan.worth_it = true;
    plan.first = i;
    plan.end = end;
    plan.base = ChooseBase(situation, plan, capacity);
    return plan;
  }
  return {};
}

/// The segment that wastes most, of those that waste too much.
FoldPlan PlanRebuild(const FoldSituation& situation, std::uint64_t capacity) noexcept {
  FoldPlan plan;
  std::uint64_t most_wasted = 0;
  for (std::uint32_t i = 0; i < situation.segments.size(); ++i) {
    const SegmentWeight& segment = situation.segments[i];
    if (!WastesMoreThan(segment, kRebuildDeadPercent) || WastedNodes(segment) <= most_wasted) continue;
    if (LiveRows(segment) > capacity) continue;
    most_wasted = WastedNodes(segment);
    plan.worth_it = true;
    plan.first = i;
    plan.end = i + 1;
  }
  return plan;
}

}  // namespace

FoldPlan PlanFold(const FoldSituation& situation, const FoldSettings& settings) noexcept {
  const std::uint64_t capacity = std::max<std::uint64_t>(settings.capacity_rows, 1);
  if (WantsTail(situation, std::min(settings.seal_rows, capacity))) return PlanTail(situation, capacity);
  if (IsAtRest(situation)) {
    const FoldPlan merge = PlanMerge(situation, capacity);
    if (merge.worth_it) return merge;
  }
  return PlanRebuild(situation, capacity);
}

bool IsWorthCutting(const FoldReading& reading, std::uint64_t seal_rows) noexcept {
  const std::uint64_t enough = kCutTails * std::max<std::uint64_t>(seal_rows, 1);
  return reading.arrived_rows >= enough &&
         reading.read_rows >= std::max(enough, (kFoldGrowth - 1) * reading.absorbed_rows);
}

}  // namespace tandem::policy
