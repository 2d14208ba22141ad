#pragma once
// Running the two queries of a hybrid search.

#include "pg/pg.hpp"

#include "hybrid/key_table.hpp"
#include "hybrid/plan_cache.hpp"
#include "hybrid/request.hpp"

extern "C" {
#include "tsearch/ts_type.h"
}

namespace tandem::hybrid {

/// A row that a leg found. score: the greater, the better.
struct FoundRow {
  Datum key;
  double score;
  double distance;  ///< of the vector leg
};

/// The best first; of equal scores the lesser key. Keys and rows live in the context that was current.
struct FoundLeg {
  FoundRow* rows;
  uint32 count;
};

/// Both need a connection to SPI, and read under the snapshot that is active.
[[nodiscard]] FoundLeg RunVectorLeg(const Request& request, const Remembered& remembered,
                                    const KeyType& type);
[[nodiscard]] FoundLeg RunTextLeg(const Request& request, const Remembered& remembered, const KeyType& type,
                                  TSQuery query);

/// From here to the end of the SPI connection the text leg may take its rows from what is known of its words.
void AllowSetScans();

/// query_text, read as the request says. Empty if it has no words to look for.
[[nodiscard]] TSQuery ParseText(const Request& request, const Target& target);

/// While it exists, searches of this session look at as many candidates as the request says. An error ends it as well.
class EfSearchScope {
 public:
  explicit EfSearchScope(int ef_search);
  /// To be called at the end.
  void End();

 private:
  int level_ = 0;
};

/// What a distance is worth as a score: 1 - d for cosine distances, -d for inner products, else 1 / (1 + d).
[[nodiscard]] double ScoreOfDistance(Metric metric, double distance);

[[nodiscard]] ParamListInfo OneParameter(Oid type, Datum value);

}  // namespace tandem::hybrid
