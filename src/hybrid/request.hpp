#pragma once
// What a caller of tandem_hybrid_search() wants, checked as far as the arguments alone tell. Errors name the argument.

#include "pg/pg.hpp"

#include "policy/bm25.hpp"
#include "policy/fusion.hpp"

extern "C" {
#include "catalog/pg_type_d.h"
}

namespace tandem::hybrid {

/// How query_text is read.
enum class TextSyntax : uint8 {
  kWebsearch,  ///< websearch_to_tsquery()
  kPlain,      ///< plainto_tsquery(): all words
  kPhrase,     ///< phraseto_tsquery()
  kAny,        ///< like kWebsearch, but any of the words will do
  kTsquery,    ///< to_tsquery()
};

enum class TextScoring : uint8 { kRankCd, kBm25 };

/// Keys are what the column has.
constexpr Oid kOwnKeyType = ANYELEMENTOID;

enum class Metric : uint8 { kOfIndex, kL2, kInnerProduct, kCosine, kL1 };

/// Strings and datums live as long as the function's arguments. nullptr and InvalidOid: not given.
struct Request {
  Oid relation;
  bool has_vector;
  Datum query_vector;
  Oid vector_type;  ///< of query_vector: the extension's
  text* query_text;
  uint32 k;
  const char* vector_column;
  const char* text_column;
  const char* key_column;
  policy::FusionRule rule;
  uint32 depth;
  const char* filter;
  Oid text_config;
  TextSyntax syntax;
  TextScoring scoring;
  policy::Bm25Parameters bm25;
  Metric metric;
  int ef_search;  ///< 0: the session's
  Oid key_type;   ///< of the answer; kOwnKeyType; InvalidOid: there is none
};

/// From those arguments that the functions of hybrid search share; `first` is the place of `rel`.
[[nodiscard]] Request ReadRequest(FunctionCallInfo fcinfo, int first, Oid key_type);

/// Of tandem_text_statistics(): no vector, no key.
[[nodiscard]] Request ReadTextRequest(FunctionCallInfo fcinfo);

/// By its name; an error that names the argument and the names there are.
[[nodiscard]] policy::Fusion FusionNamed(const char* name);

/// Errors unless `value` may be a weight (argument `name`).
void CheckWeight(const char* name, double value);
void CheckRrfConstant(double value);
void CheckBm25(const policy::Bm25Parameters& parameters);

/// Errors unless `filter` is one expression and nothing else: no second one, no clause after it, no parameter, no way out of the
/// parentheses that it will stand in.
void CheckFilter(const char* filter);

}  // namespace tandem::hybrid
