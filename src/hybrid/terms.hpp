#pragma once
// Terms of queries and documents, as types tsquery and tsvector have them.

#include "pg/pg.hpp"

#include "policy/bm25.hpp"

extern "C" {
#include "nodes/pg_list.h"
#include "tsearch/ts_type.h"
}

namespace tandem::hybrid {

/// An operand that a document may have: its lexeme, or what begins like it.
struct QueryTerm {
  const char* lexeme;
  int length;
  uint8 weight;  ///< mask of weights that count; 0: all
  bool is_prefix;
};

struct QueryTerms {
  QueryTerm* terms;
  uint32 count;
  bool has_choice;  ///< documents with different terms fulfil the query: there is an OR in it
};

/// Operands not below NOT, each once. Points into the query.
[[nodiscard]] QueryTerms TermsOf(TSQuery query);

/// Positions of a document's terms; a term without positions (strip()) counts once.
[[nodiscard]] double LengthOf(TSVector document);
/// Likewise, of one term of a query.
[[nodiscard]] double OccurrencesOf(TSVector document, const QueryTerm& term);

/// The term alone.
[[nodiscard]] TSQuery QueryOf(const QueryTerm& term);
/// `query`, and `condition` on its terms, but none of `known`, a list of conditions. The query itself if there is neither.
[[nodiscard]] TSQuery QueryWith(TSQuery query, const QueryTerms& terms,
                                const policy::TermCondition& condition, const List* known);

/// Any of what `query` asks for all of, and still nothing that it excludes: a & b & "c d" & !e becomes (a | b | "c d") & !e.
[[nodiscard]] TSQuery AnyOf(TSQuery query);

}  // namespace tandem::hybrid
