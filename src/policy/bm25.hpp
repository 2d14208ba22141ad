#pragma once
// BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009), and which documents need not be
// looked at because their terms alone cannot make them good enough.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/span.hpp"

namespace tandem::policy {

struct Bm25Parameters {
  double k1 = 1.2;  ///< at least 0: how much a term's further occurrences count
  double b = 0.75;  ///< 0 to 1: how much long documents are held back
};

/// ln(1 + (documents - frequency + 0.5) / (frequency + 0.5)), which is never negative.
/// frequency: of how many documents; more than there are counts as all of them.
[[nodiscard]] double InverseDocumentFrequency(double documents, double frequency) noexcept;

/// What one term adds to a document's score. occurrences >= 1; length and average_length in terms, average_length > 0.
[[nodiscard]] double TermScore(const Bm25Parameters& parameters, double inverse_frequency, double occurrences,
                               double length, double average_length) noexcept;

/// No document gets more for a term, whatever its length.
[[nodiscard]] double TermBound(const Bm25Parameters& parameters, double inverse_frequency) noexcept;

/// A condition on the terms of a document: a tree of "and" and "or", children before parents, the root last.
struct TermCondition {
  enum class Kind : std::uint8_t { kTerm, kAnd, kOr };
  struct Node {
    Kind kind;
    std::uint32_t left;  ///< of kTerm: which term; else nodes
    std::uint32_t right;
  };
  std::vector<Node> nodes;  ///< none: every document fulfils it
};

/// The documents whose terms' bounds add up to at least `least`, or some more of them where the condition would have more than
/// about `most_nodes` nodes. A document beyond it scores less than `least`. This is the pruning of MaxScore (Turtle and Flood,
/// 1995), written as a condition that an inverted index answers before any document is read.
/// Empty where `least` <= 0; a condition that none fulfils is never asked for: `least` is at most the sum of bounds.
[[nodiscard]] TermCondition DocumentsWithAtLeast(base::Span<const double> bounds, double least,
                                                 std::size_t most_nodes);

/// The largest sum of bounds that some `wanted` documents can be expected to reach, were terms independent; 0 where all documents with
/// a term are too few. Frequencies in documents.
[[nodiscard]] double LikelyThreshold(base::Span<const double> bounds, base::Span<const double> frequencies,
                                     double documents, double wanted);

}  // namespace tandem::policy
