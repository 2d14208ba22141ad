#pragma once
// How two ranked lists of the same rows become one: reciprocal ranks, or combinations of normalised scores.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/span.hpp"

namespace tandem::policy {

enum class Fusion : std::uint8_t {
  kRrf,  ///< sum of 1 / (constant + rank): Cormack, Clarke, Buettcher, SIGIR 2009, with their constant of 60
  kWeighted,  ///< weighted sum of normalised scores
  kMax,       ///< CombMAX of Fox and Shaw, TREC-2, 1994
  kMin,       ///< CombMIN
  kAverage,   ///< CombSUM / number of lists
};

struct FusionRule {
  Fusion fusion = Fusion::kRrf;
  double rrf_constant = 60.0;  ///< above -1
  double vector_weight = 0.7;  ///< weights: at least 0, of kWeighted only
  double text_weight = 0.3;
};

/// A row that a leg found: `row` counts the rows of both legs, from 0. The greater the score, the better; finite.
struct LegEntry {
  std::uint32_t row;
  double score;
};

/// What one query found, the best first, no row twice. A leg that was not asked is left out of every combination; one that was asked
/// and found nothing counts 0 for every row.
struct Leg {
  base::Span<const LegEntry> entries;
  bool asked = false;
};

/// A row of the answer. Ranks are positions in the legs from 1; 0: the leg did not find it.
struct FusedRow {
  std::uint32_t row;
  std::uint32_t vector_rank;
  std::uint32_t text_rank;
  double combined;
};

/// 1 / (constant + rank); 0 for rank 0, that is for a row that the list lacks.
[[nodiscard]] double ReciprocalRank(std::uint64_t rank, double constant) noexcept;

/// Min-max normalisation (Lee, SIGIR 1997): the best of a list has 1, the last 0. All have 1 where all are equal.
[[nodiscard]] double NormalisedScore(double score, double lowest, double highest) noexcept;

/// Of normalised scores, by any rule but kRrf. Both legs were asked; one that lacks the row has 0 for it.
[[nodiscard]] double CombinedScore(const FusionRule& rule, double vector_score, double text_score) noexcept;

/// The best k rows of both legs, the best first: by combined score; of equals the one that the vector leg has higher up, and of those
/// that it lacks the one that the text leg has higher up. So the order is total, and repeats.
/// rows: how many different rows both legs have, each LegEntry::row is below. O((rows) log k). Throws std::bad_alloc only.
[[nodiscard]] std::vector<FusedRow> FuseLegs(const FusionRule& rule, Leg vector_leg, Leg text_leg,
                                             std::size_t rows, std::size_t k);

/// Candidates of each leg for an answer of k rows: 10 k, at least 100, at most kMostCandidates, never less than k.
[[nodiscard]] std::uint32_t DefaultDepth(std::uint32_t k) noexcept;
constexpr std::uint32_t kMostCandidates = 100'000;  // 5 MB for both legs of integers

}  // namespace tandem::policy
