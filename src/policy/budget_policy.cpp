#include "policy/budget_policy.hpp"

#include <algorithm>
#include <cmath>

namespace tandem::policy {
namespace {

// Another pattern takes over when it has so much more of the queries than the current one.
constexpr double kClearlyMore = 0.15;

double ShareFor(const PatternCounts& shares, QueryPattern pattern) noexcept {
  switch (pattern) {
    case QueryPattern::kUnknown:
      return 0;
    case QueryPattern::kVectorHeavy:
      return shares.vector_only;
    case QueryPattern::kHybrid:
      return shares.hybrid;
    case QueryPattern::kMetadataHeavy:
      return shares.metadata_only;
  }
  return 0;
}

double AllOf(const PatternCounts& counts) noexcept {
  return counts.vector_only + counts.hybrid + counts.metadata_only;
}

bool AreOfOneIndex(const IndexScans& a, const IndexScans& b) noexcept {
  return a.index == b.index && a.database == b.database;
}

}  // namespace

std::uint64_t ScansBetween(const IndexScans* before, std::size_t before_count, const IndexScans* now,
                           std::size_t now_count) noexcept {
  std::uint64_t sum = 0;
  for (const IndexScans* index = now; index != now + now_count; index++) {
    const IndexScans* last = std::find_if(before, before + before_count, [index](const IndexScans& other) {
      return AreOfOneIndex(other, *index);
    });
    if (last != before + before_count && index->scans > last->scans) sum += index->scans - last->scans;
  }
  return sum;
}

const char* NameOf(QueryPattern pattern) noexcept {
  switch (pattern) {
    case QueryPattern::kUnknown:
      return "unknown";
    case QueryPattern::kVectorHeavy:
      return "vector_heavy";
    case QueryPattern::kHybrid:
      return "hybrid";
    case QueryPattern::kMetadataHeavy:
      return "metadata_heavy";
  }
  return "unknown";
}

PatternCounts AddInterval(const PatternCounts& before, const PatternCounts& interval) noexcept {
  const double past = AllOf(before);
  const double now = AllOf(interval);
  const double weight = now >= kLeastQueries && past > 2 * now ? now / past : 0.5;
  return {before.vector_only * weight + interval.vector_only, before.hybrid * weight + interval.hybrid,
          before.metadata_only * weight + interval.metadata_only};
}

PatternCounts SharesOf(const PatternCounts& counts) noexcept {
  const double all = AllOf(counts);
  if (!(all > 0)) return {};
  return {counts.vector_only / all, counts.hybrid / all, counts.metadata_only / all};
}

QueryPattern Classify(const PatternCounts& counts, QueryPattern current) noexcept {
  if (AllOf(counts) < kLeastQueries) return current;
  const PatternCounts shares = SharesOf(counts);
  QueryPattern most = current;
  double needed = current == QueryPattern::kUnknown ? 0 : ShareFor(shares, current) + kClearlyMore;
  for (const QueryPattern pattern :
       {QueryPattern::kVectorHeavy, QueryPattern::kHybrid, QueryPattern::kMetadataHeavy}) {
    if (ShareFor(shares, pattern) <= needed) continue;
    most = pattern;
    needed = ShareFor(shares, pattern);
  }
  return most;
}

double GraphShareOf(QueryPattern pattern, double otherwise) noexcept {
  switch (pattern) {
    case QueryPattern::kUnknown:
      return otherwise;
    case QueryPattern::kVectorHeavy:
      return 0.8;
    case QueryPattern::kHybrid:
      return 0.5;
    case QueryPattern::kMetadataHeavy:
      return 0.2;
  }
  return otherwise;
}

double StepTowards(double share, double goal) noexcept {
  const double way = goal - share;
  const double length = std::clamp(std::fabs(way) / 3, kLeastStep, kLargestStep);
  if (std::fabs(way) <= length) return goal;
  return way > 0 ? share + length : share - length;
}

}  // namespace tandem::policy
