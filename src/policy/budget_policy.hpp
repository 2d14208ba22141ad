#pragma once
// Where the border between the two caches should be: what the load of the last minutes is like, and how far to go towards what suits it.

#include <cstddef>
#include <cstdint>

namespace tandem::policy {

/// A native index's scans so far, as the server counts them: on over restarts, unless somebody resets them.
struct IndexScans {
  std::uint32_t database;
  std::uint32_t index;
  std::uint64_t scans;
};

/// Scans between two looks, each of which has an index once. One that the look before did not have adds nothing, however many it
/// has had in its life; nor does one whose count went down.
[[nodiscard]] std::uint64_t ScansBetween(const IndexScans* before, std::size_t before_count,
                                         const IndexScans* now, std::size_t now_count) noexcept;

/// Queries by what they need, decayed.
struct PatternCounts {
  double vector_only = 0;    ///< searches without a filter
  double hybrid = 0;         ///< searches with one
  double metadata_only = 0;  ///< scans of native indexes beside ours
};

enum class QueryPattern : std::uint8_t { kUnknown, kVectorHeavy, kHybrid, kMetadataHeavy };

[[nodiscard]] const char* NameOf(QueryPattern pattern) noexcept;

/// Counts of a finished interval count half in the next one, a quarter in the one after that …; and never more than those of the new one
/// in all, if these are enough to say something: queries that take longer come less often, and are not outnumbered by past ones.
[[nodiscard]] PatternCounts AddInterval(const PatternCounts& before, const PatternCounts& interval) noexcept;

/// Of all counted queries, 0 to 1; all 0 where there are none.
[[nodiscard]] PatternCounts SharesOf(const PatternCounts& counts) noexcept;

/// Fewer queries than this say nothing.
constexpr double kLeastQueries = 20;

/// The pattern that has most of the queries. `current` stays until another has clearly more: mixed loads do not flap.
[[nodiscard]] QueryPattern Classify(const PatternCounts& counts, QueryPattern current) noexcept;

/// The part of the budget that graphs get with this pattern; `otherwise` if it is not known.
[[nodiscard]] double GraphShareOf(QueryPattern pattern, double otherwise) noexcept;

/// One interval's step from `share` towards `goal`: a third of the way, at least kLeastStep, at most kLargestStep.
[[nodiscard]] double StepTowards(double share, double goal) noexcept;
constexpr double kLeastStep = 0.02;
constexpr double kLargestStep = 0.1;

/// The larger of the two has at most kMostShare, the smaller one the rest: its floor is half of that.
constexpr double kMostShare = 0.9;
constexpr double kLeastShare = 1 - kMostShare;

}  // namespace tandem::policy
