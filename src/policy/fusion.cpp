// Ranks and scores of two legs, and the order of what comes of them.

#include "policy/fusion.hpp"

#include <algorithm>

namespace tandem::policy {
namespace {

/// Lowest and highest score of a leg.
struct ScoreRange {
  double lowest = 0.0;
  double highest = 0.0;
};

ScoreRange RangeOf(const Leg& leg) noexcept {
  // Ordered, but what an index returns may be out of order, and a caller's lists as well.
  ScoreRange range;
  if (leg.entries.empty()) return range;
  range.lowest = range.highest = leg.entries[0].score;
  for (const LegEntry& entry : leg.entries) {
    range.lowest = std::min(range.lowest, entry.score);
    range.highest = std::max(range.highest, entry.score);
  }
  return range;
}

double ScoreAt(const Leg& leg, const ScoreRange& range, std::uint32_t rank) noexcept {
  return rank == 0 ? 0.0 : NormalisedScore(leg.entries[rank - 1].score, range.lowest, range.highest);
}

/// Combined scores of single rows.
class Combination {
 public:
  Combination(const FusionRule& rule, const Leg& vector_leg, const Leg& text_leg) noexcept
      : rule_(rule),
        vector_leg_(vector_leg),
        text_leg_(text_leg),
        vector_range_(RangeOf(vector_leg)),
        text_range_(RangeOf(text_leg)) {}

  [[nodiscard]] double Of(const FusedRow& row) const noexcept {
    if (rule_.fusion == Fusion::kRrf)
      return ReciprocalRank(row.vector_rank, rule_.rrf_constant) +
             ReciprocalRank(row.text_rank, rule_.rrf_constant);
    const double vector_score = ScoreAt(vector_leg_, vector_range_, row.vector_rank);
    const double text_score = ScoreAt(text_leg_, text_range_, row.text_rank);
    if (!text_leg_.asked) return vector_score;
    if (!vector_leg_.asked) return text_score;
    return CombinedScore(rule_, vector_score, text_score);
  }

 private:
  const FusionRule& rule_;
  const Leg& vector_leg_;
  const Leg& text_leg_;
  ScoreRange vector_range_;
  ScoreRange text_range_;
};

/// Better first. A rank of 0 wraps around and comes last.
bool ComesBefore(const FusedRow& a, const FusedRow& b) noexcept {
  if (a.combined != b.combined) return a.combined > b.combined;
  if (a.vector_rank != b.vector_rank) return a.vector_rank - 1 < b.vector_rank - 1;
  return a.text_rank - 1 < b.text_rank - 1;
}

}  // namespace

double ReciprocalRank(std::uint64_t rank, double constant) noexcept {
  return rank == 0 ? 0.0 : 1.0 / (constant + static_cast<double>(rank));
}

double NormalisedScore(double score, double lowest, double highest) noexcept {
  // Halves, because the difference of two finite numbers may not be one.
  const double width = highest / 2.0 - lowest / 2.0;
  return width > 0.0 ? (score / 2.0 - lowest / 2.0) / width : 1.0;
}

double CombinedScore(const FusionRule& rule, double vector_score, double text_score) noexcept {
  switch (rule.fusion) {
    case Fusion::kRrf:
      break;
    case Fusion::kWeighted:
      return rule.vector_weight * vector_score + rule.text_weight * text_score;
    case Fusion::kMax:
      return std::max(vector_score, text_score);
    case Fusion::kMin:
      return std::min(vector_score, text_score);
    case Fusion::kAverage:
      return (vector_score + text_score) / 2.0;
  }
  return 0.0;
}

std::vector<FusedRow> FuseLegs(const FusionRule& rule, Leg vector_leg, Leg text_leg, std::size_t rows,
                               std::size_t k) {
  std::vector<FusedRow> fused(rows);
  for (std::size_t i = 0; i < rows; i++) fused[i] = {static_cast<std::uint32_t>(i), 0, 0, 0.0};
  for (std::size_t i = 0; i < vector_leg.entries.size(); i++)
    fused[vector_leg.entries[i].row].vector_rank = static_cast<std::uint32_t>(i + 1);
  for (std::size_t i = 0; i < text_leg.entries.size(); i++)
    fused[text_leg.entries[i].row].text_rank = static_cast<std::uint32_t>(i + 1);
  const Combination combination(rule, vector_leg, text_leg);
  for (FusedRow& row : fused) row.combined = combination.Of(row);
  const std::size_t kept = std::min(k, rows);
  std::partial_sort(fused.begin(), fused.begin() + static_cast<std::ptrdiff_t>(kept), fused.end(),
                    ComesBefore);
  fused.resize(kept);
  return fused;
}

std::uint32_t DefaultDepth(std::uint32_t k) noexcept {
  constexpr std::uint32_t kPerRow = 10;
  constexpr std::uint32_t kLeast = 100;
  const std::uint32_t wanted = k > kMostCandidates / kPerRow ? kMostCandidates : k * kPerRow;
  return std::max({wanted, kLeast, k});
}

}  // namespace tandem::policy
