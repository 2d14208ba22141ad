#pragma once
// The front door of the room: one hybrid search, and what it would do.

#include "pg/pg.hpp"

#include "hybrid/key_table.hpp"
#include "hybrid/legs.hpp"
#include "hybrid/request.hpp"
#include "hybrid/terms.hpp"
#include "policy/fusion.hpp"

extern "C" {
#include "nodes/execnodes.h"
}

namespace tandem::hybrid {

/// Both legs, and their fusion, row by row into `result`: key, vector_score, text_score, combined_score, vector_rank, text_rank,
/// distance.
void Search(const Request& request, ReturnSetInfo* result);

struct ExplainOptions {
  bool analyze;  ///< executes the legs
  bool costs;
};

/// The plans of both legs as EXPLAIN shows them, line by line into `result`.
void Explain(const Request& request, const ExplainOptions& options, ReturnSetInfo* result);

/// What BM25 knows of all documents, one row into `result`: documents, average_length, query, terms, frequencies.
void ReadStatistics(const Request& request, ReturnSetInfo* result);

/// Of type tsquery[], a term each.
[[nodiscard]] Datum TermArray(const QueryTerms& terms);

/// Two legs as they are, in order: fused rows, and the keys that they stand for. Of a key that comes twice in a leg the first counts.
/// In the current context.
struct FusedKeys {
  KeyTable* keys;
  const policy::FusedRow* rows;
  size_t count;
};
struct AskedLeg {
  FoundLeg* found;  ///< what comes twice is taken out; nullptr: not asked
};
[[nodiscard]] FusedKeys Fuse(const policy::FusionRule& rule, const KeyType& type, AskedLeg by_vector,
                             AskedLeg by_text, uint32 k);

}  // namespace tandem::hybrid
