#pragma once
// How much of the exact answer a result holds, counting rows at equal distance as equally right.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/distance.hpp"
#include "common/vector_file.hpp"

namespace tandem::bench {

/// Verdict on one result list.
struct Score {
  std::size_t hits = 0;    ///< right rows among the first k
  std::size_t wanted = 0;  ///< min(k, rows of the truth)
  bool exact = false;      ///< all wanted rows, none twice, in order of distance
};

/// Scores result lists of row ids against an exact answer. Thread-safe.
///
/// With only `truth_ids`, a row is right when its id is among the first k true ids. With base vectors and
/// queries too, a row is right when its distance, recomputed here in double precision, is not above that of the
/// k-th true row: sets with duplicates have many equally exact answers. The allowance is relative, 1e-6 by
/// default, because the server computes in float32.
class RecallJudge {
 public:
  RecallJudge(const VectorFile<std::int32_t>* truth_ids, const VectorFile<float>* base,
              const VectorFile<float>* queries, Metric metric, std::size_t k, double allowance)
      : truth_(truth_ids), base_(base), queries_(queries), metric_(metric), k_(k), allowance_(allowance) {}

  [[nodiscard]] bool ByDistance() const noexcept { return base_ != nullptr && queries_ != nullptr; }

  [[nodiscard]] Score Judge(std::size_t query, const std::vector<std::int64_t>& ids) const {
    const base::Span<const std::int32_t> truth = truth_->row(query);
    Score score;
    // A filtered truth row that ran out of matches is padded with -1.
    while (score.wanted < std::min(k_, truth.size()) && truth[score.wanted] >= 0) ++score.wanted;
    const std::size_t given = std::min(ids.size(), k_);
    std::vector<std::int64_t> distinct(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(given));
    std::sort(distinct.begin(), distinct.end());
    const bool repeated = std::adjacent_find(distinct.begin(), distinct.end()) != distinct.end();
    distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());

    if (!ByDistance()) {
      for (std::size_t i = 0; i < score.wanted; ++i) {
        score.hits += std::binary_search(distinct.begin(), distinct.end(), truth[i]) ? 1 : 0;
      }
      score.exact = !repeated && score.hits == score.wanted && given == score.wanted;
      return score;
    }

    const auto distance = [&](std::int64_t id) {
      return ReferenceDistance(metric_, queries_->row(query), base_->row(static_cast<std::size_t>(id)));
    };
    const double bound = score.wanted == 0 ? 0 : distance(truth[score.wanted - 1]);
    const double slack = allowance_ * std::max(1e-3, bound < 0 ? -bound : bound);
    for (const std::int64_t id : distinct) {
      if (id >= 0 && static_cast<std::size_t>(id) < base_->rows() && distance(id) <= bound + slack)
        ++score.hits;
    }
    score.hits = std::min(score.hits, score.wanted);
    bool ordered = true;
    for (std::size_t i = 1; i < given; ++i) {
      const bool known = std::min(ids[i - 1], ids[i]) >= 0 &&
                         static_cast<std::size_t>(std::max(ids[i - 1], ids[i])) < base_->rows();
      ordered = ordered && known && distance(ids[i - 1]) <= distance(ids[i]) + slack;
    }
    score.exact = ordered && !repeated && score.hits == score.wanted && given == score.wanted;
    return score;
  }

 private:
  const VectorFile<std::int32_t>* truth_;
  const VectorFile<float>* base_;
  const VectorFile<float>* queries_;
  Metric metric_;
  std::size_t k_;
  double allowance_;
};

}  // namespace tandem::bench
