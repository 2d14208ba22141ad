#pragma once
// What BM25 has to know of all documents: how many there are, how long they are on average, in how many a term is.

#include "pg/pg.hpp"

#include "hybrid/target.hpp"
#include "hybrid/terms.hpp"

namespace tandem::hybrid {

struct CorpusStatistics {
  double documents;
  double average_length;  ///< above 0
};

/// Of one relation's documents, for this session's user. Both need a connection to SPI, run under the caller's rights and are
/// remembered for a minute at most (README.md, "Statistics of documents").
class TextStatistics {
 public:
  explicit TextStatistics(const Target& target);

  [[nodiscard]] const CorpusStatistics& corpus() const;
  /// In how many documents a term is.
  [[nodiscard]] double FrequencyOf(const QueryTerm& term);

 private:
  const Target& target_;
  struct Corpus* corpus_;
};

}  // namespace tandem::hybrid
