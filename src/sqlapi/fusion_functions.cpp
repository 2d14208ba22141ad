// The pieces of hybrid search by themselves, for queries that people write on their own: ranks and scores, their fusion, BM25.

#include "pg/compat.hpp"

#include "hybrid/search.hpp"

#include "hybrid/terms.hpp"
#include "policy/bm25.hpp"
#include "policy/fusion.hpp"
#include "sqlapi/vector_args.hpp"

extern "C" {
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/tuplestore.h"
}

namespace tandem::sqlapi {

namespace {

double NumberOr(FunctionCallInfo fcinfo, int i, double otherwise) {
  return PG_ARGISNULL(i) ? otherwise : PG_GETARG_FLOAT8(i);
}

double RrfConstant(FunctionCallInfo fcinfo, int i) {
  if (PG_NARGS() <= i) return policy::FusionRule().rrf_constant;
  const double constant = NumberOr(fcinfo, i, policy::FusionRule().rrf_constant);
  hybrid::CheckRrfConstant(constant);
  return constant;
}

/// Of the row with rank argument `i`; NULL: the leg lacks it.
double ReciprocalRankArgument(FunctionCallInfo fcinfo, int i, double constant) {
  if (PG_ARGISNULL(i)) return 0.0;
  const int64 rank = PG_GETARG_INT64(i);
  if (rank < 1)
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("a rank is 1 or more, not " INT64_FORMAT, rank)));
  return policy::ReciprocalRank(static_cast<uint64>(rank), constant);
}

/// fusion, rrf_constant, vector_weight, text_weight from argument `first` on.
policy::FusionRule RuleArguments(FunctionCallInfo fcinfo, int first) {
  policy::FusionRule rule;
  if (!PG_ARGISNULL(first)) rule.fusion = hybrid::FusionNamed(text_to_cstring(PG_GETARG_TEXT_PP(first)));
  rule.rrf_constant = NumberOr(fcinfo, first + 1, rule.rrf_constant);
  rule.vector_weight = NumberOr(fcinfo, first + 2, rule.vector_weight);
  rule.text_weight = NumberOr(fcinfo, first + 3, rule.text_weight);
  hybrid::CheckRrfConstant(rule.rrf_constant);
  hybrid::CheckWeight("vector_weight", rule.vector_weight);
  hybrid::CheckWeight("text_weight", rule.text_weight);
  return rule;
}

struct ArrayElements {
  Datum* values;
  bool* nulls;
  int count;
};

ArrayElements ElementsOf(FunctionCallInfo fcinfo, int i) {
  ArrayType* array = PG_GETARG_ARRAYTYPE_P(i);
  int16 length;
  bool is_by_value;
  char alignment;
  get_typlenbyvalalign(ARR_ELEMTYPE(array), &length, &is_by_value, &alignment);
  ArrayElements elements;
  deconstruct_array(array, ARR_ELEMTYPE(array), length, is_by_value, alignment, &elements.values,
                    &elements.nulls, &elements.count);
  return elements;
}

/// Of arguments `i` (keys) and `i` + 1 (scores). `asked` tells whether there are any.
hybrid::FoundLeg LegArguments(FunctionCallInfo fcinfo, int i, bool* asked) {
  *asked = !PG_ARGISNULL(i) && !PG_ARGISNULL(i + 1);
  if (!*asked) return {};
  const ArrayElements keys = ElementsOf(fcinfo, i);
  const ArrayElements scores = ElementsOf(fcinfo, i + 1);
  if (keys.count != scores.count)
    ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
                    errmsg("there are %d keys, but %d scores", keys.count, scores.count)));
  hybrid::FoundLeg leg = {static_cast<hybrid::FoundRow*>(
                              palloc(sizeof(hybrid::FoundRow) * (static_cast<size_t>(keys.count) + 1))),
                          0};
  for (int row = 0; row < keys.count; row++) {
    const double score = scores.nulls[row] ? std::nan("") : DatumGetFloat8(scores.values[row]);
    if (keys.nulls[row] || !std::isfinite(score))
      ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
                      errmsg("keys must not be null, and scores must be finite numbers")));
    leg.rows[leg.count++] = {keys.values[row], score, 0.0};
  }
  return leg;
}

/// Columns: key, vector_score, text_score, combined_score, vector_rank, text_rank.
void ReturnFused(const hybrid::FusedKeys& fused, const policy::FusedRow& row,
                 const hybrid::FoundLeg& by_vector, const hybrid::FoundLeg& by_text, ReturnSetInfo* result) {
  const bool in_vector = row.vector_rank != 0;
  const bool in_text = row.text_rank != 0;
  Datum values[] = {fused.keys->KeyAt(row.row),
                    in_vector ? Float8GetDatum(by_vector.rows[row.vector_rank - 1].score) : 0,
                    in_text ? Float8GetDatum(by_text.rows[row.text_rank - 1].score) : 0,
                    Float8GetDatum(row.combined),
                    Int64GetDatum(row.vector_rank),
                    Int64GetDatum(row.text_rank)};
  bool nulls[] = {false, !in_vector, !in_text, false, !in_vector, !in_text};
  tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

policy::Bm25Parameters Bm25Arguments(FunctionCallInfo fcinfo, int first) {
  const policy::Bm25Parameters parameters = {PG_GETARG_FLOAT8(first), PG_GETARG_FLOAT8(first + 1)};
  hybrid::CheckBm25(parameters);
  return parameters;
}

}  // namespace

}  // namespace tandem::sqlapi

using namespace tandem;

/// (rank bigint, rrf_constant float8)
TANDEM_SQL_FUNCTION(tandem_rrf_score) {
  PG_RETURN_FLOAT8(sqlapi::ReciprocalRankArgument(fcinfo, 0, sqlapi::RrfConstant(fcinfo, 1)));
}

/// Transition function of tandem_rrf(): (sum float8, rank bigint [, rrf_constant float8])
TANDEM_SQL_FUNCTION(tandem_rrf_add) {
  PG_RETURN_FLOAT8(PG_GETARG_FLOAT8(0) +
                   sqlapi::ReciprocalRankArgument(fcinfo, 1, sqlapi::RrfConstant(fcinfo, 2)));
}

/// (score, lowest, highest)
TANDEM_SQL_FUNCTION(tandem_normalised_score) {
  PG_RETURN_FLOAT8(policy::NormalisedScore(PG_GETARG_FLOAT8(0), PG_GETARG_FLOAT8(1), PG_GETARG_FLOAT8(2)));
}

/// (fusion, vector_score, text_score, vector_weight, text_weight); scores are normalised, NULL where the leg lacks the row.
TANDEM_SQL_FUNCTION(tandem_combined_score) {
  policy::FusionRule rule;
  rule.fusion = hybrid::FusionNamed(text_to_cstring(PG_GETARG_TEXT_PP(0)));
  if (rule.fusion == policy::Fusion::kRrf)
    ereport(ERROR,
            (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("fusion \"rrf\" combines ranks, not scores"),
             errhint("Use tandem_rrf_score() or the aggregate tandem_rrf().")));
  rule.vector_weight = sqlapi::NumberOr(fcinfo, 3, rule.vector_weight);
  rule.text_weight = sqlapi::NumberOr(fcinfo, 4, rule.text_weight);
  hybrid::CheckWeight("vector_weight", rule.vector_weight);
  hybrid::CheckWeight("text_weight", rule.text_weight);
  PG_RETURN_FLOAT8(
      policy::CombinedScore(rule, sqlapi::NumberOr(fcinfo, 1, 0.0), sqlapi::NumberOr(fcinfo, 2, 0.0)));
}

/// (vector_keys, vector_scores, text_keys, text_scores, k, fusion, rrf_constant, vector_weight, text_weight); the best first.
TANDEM_SQL_FUNCTION(tandem_fuse) {
  const policy::FusionRule rule = sqlapi::RuleArguments(fcinfo, 5);
  const int32 k = PG_ARGISNULL(4) ? -1 : PG_GETARG_INT32(4);
  if (k < 1)
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("argument \"k\" must be 1 or more")));
  bool asks_vector;
  bool asks_text;
  hybrid::FoundLeg by_vector = sqlapi::LegArguments(fcinfo, 0, &asks_vector);
  hybrid::FoundLeg by_text = sqlapi::LegArguments(fcinfo, 2, &asks_text);
  pg::InitMaterializedResult(fcinfo);
  auto* result = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
  const hybrid::KeyType type = hybrid::KeyTypeOf(TupleDescAttr(result->setDesc, 0)->atttypid);
  const hybrid::FusedKeys fused = hybrid::Fuse(rule, type, {asks_vector ? &by_vector : nullptr},
                                               {asks_text ? &by_text : nullptr}, static_cast<uint32>(k));
  for (size_t i = 0; i < fused.count; i++)
    sqlapi::ReturnFused(fused, fused.rows[i], by_vector, by_text, result);
  return static_cast<Datum>(0);
}

TANDEM_SQL_FUNCTION(tandem_text_length) {
  PG_RETURN_FLOAT8(hybrid::LengthOf(PG_GETARG_TSVECTOR(0)));
}

TANDEM_SQL_FUNCTION(tandem_text_terms) {
  PG_RETURN_DATUM(hybrid::TermArray(hybrid::TermsOf(PG_GETARG_TSQUERY(0))));
}

/// (document, query, documents, average_length, frequencies, k1, b)
TANDEM_SQL_FUNCTION(tandem_bm25_score) {
  TSVector document = PG_GETARG_TSVECTOR(0);
  const hybrid::QueryTerms terms = hybrid::TermsOf(PG_GETARG_TSQUERY(1));
  const sqlapi::ArrayElements frequencies = sqlapi::ElementsOf(fcinfo, 4);
  const policy::Bm25Parameters parameters = sqlapi::Bm25Arguments(fcinfo, 5);
  const double average_length = PG_GETARG_FLOAT8(3);
  if (static_cast<uint32>(frequencies.count) != terms.count)
    ereport(ERROR,
            (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
             errmsg("the query has %u terms, but there are %d frequencies", terms.count, frequencies.count)));
  if (!(average_length > 0))
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("argument \"average_length\" must be above 0")));
  const double length = hybrid::LengthOf(document);
  double score = 0.0;
  for (uint32 i = 0; i < terms.count; i++) {
    const double occurrences = hybrid::OccurrencesOf(document, terms.terms[i]);
    if (occurrences <= 0 || frequencies.nulls[i]) continue;
    const double inverse =
        policy::InverseDocumentFrequency(PG_GETARG_FLOAT8(2), DatumGetFloat8(frequencies.values[i]));
    score += policy::TermScore(parameters, inverse, occurrences, length, average_length);
  }
  PG_RETURN_FLOAT8(score);
}
