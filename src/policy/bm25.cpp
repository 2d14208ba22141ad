// Scores of terms, bounds, and conditions that follow from them.

#include "policy/bm25.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace tandem::policy {
namespace {

using Node = TermCondition::Node;
using Kind = TermCondition::Kind;

/// Writes DocumentsWithAtLeast(). Terms are taken in descending order of their bounds.
class ConditionWriter {
  // Each term may leave one branch that is still to be written when there are nodes enough.
  static constexpr std::size_t kMostBranched = 20;

 public:
  ConditionWriter(base::Span<const double> bounds, std::size_t most_nodes)
      : bounds_(bounds), most_nodes_(most_nodes) {
    order_.resize(bounds.size());
    std::iota(order_.begin(), order_.end(), 0U);
    std::sort(order_.begin(), order_.end(), [&](std::uint32_t a, std::uint32_t b) {
      return bounds_[a] != bounds_[b] ? bounds_[a] > bounds_[b] : a < b;
    });
    left_.resize(bounds.size() + 1);
    for (std::size_t i = bounds.size(); i-- > 0;) left_[i] = left_[i + 1] + Bound(i);
  }

  /// Of the terms from `first` on: those documents whose bounds reach `least`, which is above 0 and at most left_[first].
  /// Returns the node that says so.
  std::uint32_t Write(std::size_t first, double least) {
    const std::size_t last = bounds_.size() - 1;
    if (Slack(first, least) < Bound(last)) return Join(Kind::kAnd, first, last);  // none can be missing
    const bool is_too_much = nodes_.size() >= most_nodes_ || last - first >= kMostBranched;
    if (Bound(last) >= least || is_too_much) return Join(Kind::kOr, first, LastEssential(first, least));
    const double rest = least - Bound(first);
    std::uint32_t with = Term(first);
    if (rest > 0.0) with = Pair(Kind::kAnd, with, Write(first + 1, rest));
    if (left_[first + 1] < least) return with;
    return Pair(Kind::kOr, with, Write(first + 1, least));
  }

  std::vector<Node> Take() { return std::move(nodes_); }

 private:
  [[nodiscard]] double Bound(std::size_t i) const { return bounds_[order_[i]]; }
  [[nodiscard]] double Slack(std::size_t first, double least) const { return left_[first] - least; }

  /// A document that reaches `least` has one of the terms up to this one: those behind it are too little all together.
  [[nodiscard]] std::size_t LastEssential(std::size_t first, double least) const {
    std::size_t last = first;
    while (last + 1 < bounds_.size() && left_[last + 1] >= least) last++;
    return last;
  }

  std::uint32_t Add(Node node) {
    nodes_.push_back(node);
    return static_cast<std::uint32_t>(nodes_.size() - 1);
  }
  std::uint32_t Term(std::size_t i) { return Add({Kind::kTerm, order_[i], 0}); }
  std::uint32_t Pair(Kind kind, std::uint32_t left, std::uint32_t right) { return Add({kind, left, right}); }

  std::uint32_t Join(Kind kind, std::size_t first, std::size_t last) {
    std::uint32_t joined = Term(first);
    for (std::size_t i = first + 1; i <= last; i++) joined = Pair(kind, joined, Term(i));
    return joined;
  }

  base::Span<const double> bounds_;
  std::size_t most_nodes_;
  std::vector<std::uint32_t> order_;
  std::vector<double> left_;  ///< the bounds from the i-th term on, added up
  std::vector<Node> nodes_;
};

}  // namespace

double InverseDocumentFrequency(double documents, double frequency) noexcept {
  const double known = std::min(frequency, documents);
  return std::log1p((documents - known + 0.5) / (known + 0.5));
}

double TermScore(const Bm25Parameters& parameters, double inverse_frequency, double occurrences,
                 double length, double average_length) noexcept {
  const double held_back = parameters.k1 * (1.0 - parameters.b + parameters.b * length / average_length);
  return inverse_frequency * occurrences * (parameters.k1 + 1.0) / (occurrences + held_back);
}

double TermBound(const Bm25Parameters& parameters, double inverse_frequency) noexcept {
  return inverse_frequency * (parameters.k1 + 1.0);
}

TermCondition DocumentsWithAtLeast(base::Span<const double> bounds, double least, std::size_t most_nodes) {
  // Sums of bounds are rounded, and in another order than a score is added up: what is only just too little stays in.
  constexpr double kRounding = 1e-9;
  const double total = std::accumulate(bounds.begin(), bounds.end(), 0.0);
  const double wanted = std::min(least, total) * (1.0 - kRounding);
  TermCondition condition;
  if (bounds.empty() || !(wanted > 0.0)) return condition;
  ConditionWriter writer(bounds, most_nodes);
  (void)writer.Write(0, wanted);
  condition.nodes = writer.Take();
  return condition;
}

double LikelyThreshold(base::Span<const double> bounds, base::Span<const double> frequencies,
                       double documents, double wanted) {
  // How many documents have which sum of bounds, in steps of a 256th of all of them.
  constexpr std::size_t kSteps = 256;
  const double total = std::accumulate(bounds.begin(), bounds.end(), 0.0);
  if (!(total > 0.0) || !(documents > 0.0)) return 0.0;
  std::vector<double> share(kSteps + 1, 0.0);
  std::vector<double> next(kSteps + 1);
  share[0] = 1.0;
  for (std::size_t term = 0; term < bounds.size(); term++) {
    const double has = std::min(1.0, frequencies[term] / documents);
    // Downwards, so that who expects too few begins with too many.
    const auto step = static_cast<std::size_t>(bounds[term] / total * kSteps);
    for (std::size_t i = 0; i <= kSteps; i++)
      next[i] = share[i] * (1.0 - has) + (i >= step ? share[i - step] * has : 0.0);
    share.swap(next);
  }
  double expected = 0.0;
  for (std::size_t i = kSteps; i > 0; i--) {
    expected += share[i] * documents;
    if (expected >= wanted) return static_cast<double>(i) / kSteps * total;
  }
  return 0.0;
}

}  // namespace tandem::policy
