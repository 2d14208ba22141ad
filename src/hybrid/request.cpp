#include "pg/compat.hpp"

#include "hybrid/request.hpp"

#include "pg/vector_datum.hpp"

extern "C" {
#include "nodes/parsenodes.h"
#include "parser/parser.h"
#include "utils/lsyscache.h"
}

namespace tandem::hybrid {

namespace {

/// Places of the arguments in the SQL declarations, from `first` on.
enum Argument {
  kRelation,
  kQueryVector,
  kQueryText,
  kK,
  kVectorColumn,
  kTextColumn,
  kKeyColumn,
  kFusion,
  kRrfConstant,
  kVectorWeight,
  kTextWeight,
  kDepth,
  kFilter,
  kTextConfig,
  kTextSyntax,
  kTextScoring,
  kBm25K1,
  kBm25B,
  kMetric,
  kEfSearch,
};

template <typename Value>
struct Named {
  const char* name;
  Value value;
};

constexpr Named<policy::Fusion> kFusions[] = {{"rrf", policy::Fusion::kRrf},
                                              {"weighted", policy::Fusion::kWeighted},
                                              {"max", policy::Fusion::kMax},
                                              {"min", policy::Fusion::kMin},
                                              {"average", policy::Fusion::kAverage}};
constexpr Named<TextSyntax> kSyntaxes[] = {{"websearch", TextSyntax::kWebsearch},
                                           {"plain", TextSyntax::kPlain},
                                           {"phrase", TextSyntax::kPhrase},
                                           {"any", TextSyntax::kAny},
                                           {"tsquery", TextSyntax::kTsquery}};
constexpr Named<TextScoring> kScorings[] = {{"bm25", TextScoring::kBm25},
                                            {"ts_rank_cd", TextScoring::kRankCd}};
constexpr Named<Metric> kMetrics[] = {{"l2", Metric::kL2},
                                      {"inner_product", Metric::kInnerProduct},
                                      {"cosine", Metric::kCosine},
                                      {"l1", Metric::kL1}};

template <typename Value, std::size_t N>
Value ValueNamed(const char* argument, const char* name, const Named<Value> (&table)[N]) {
  for (const Named<Value>& entry : table) {
    if (pg_strcasecmp(name, entry.name) == 0) return entry.value;
  }
  StringInfoData names;
  initStringInfo(&names);
  for (const Named<Value>& entry : table)
    appendStringInfo(&names, "%s\"%s\"", names.len == 0 ? "" : ", ", entry.name);
  ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                  errmsg("invalid value for argument \"%s\": \"%s\"", argument, name),
                  errhint("Available values: %s.", names.data)));
  pg_unreachable();
}

const char* TextArgument(FunctionCallInfo fcinfo, int i) {
  return PG_ARGISNULL(i) ? nullptr : text_to_cstring(PG_GETARG_TEXT_PP(i));
}

void RequireGiven(FunctionCallInfo fcinfo, int i, const char* name) {
  if (PG_ARGISNULL(i))
    ereport(ERROR,
            (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"%s\" must not be null", name)));
}

double NumberArgument(FunctionCallInfo fcinfo, int i, const char* name) {
  RequireGiven(fcinfo, i, name);
  return PG_GETARG_FLOAT8(i);
}

uint32 CountArgument(FunctionCallInfo fcinfo, int i, const char* name, uint32 least, uint32 most) {
  RequireGiven(fcinfo, i, name);
  const int32 value = PG_GETARG_INT32(i);
  if (value < static_cast<int32>(least) || value > static_cast<int32>(most))
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("argument \"%s\" must be between %u and %u, not %d", name, least, most, value)));
  return static_cast<uint32>(value);
}

template <typename Value, std::size_t N>
Value NamedArgument(FunctionCallInfo fcinfo, int i, const char* argument, const Named<Value> (&table)[N]) {
  RequireGiven(fcinfo, i, argument);
  return ValueNamed(argument, TextArgument(fcinfo, i), table);
}

void ReadQueries(FunctionCallInfo fcinfo, int first, Request* request) {
  request->has_vector = !PG_ARGISNULL(first + kQueryVector);
  if (request->has_vector) request->query_vector = PG_GETARG_DATUM(first + kQueryVector);
  Oid* types;
  int count;
  (void)get_func_signature(fcinfo->flinfo->fn_oid, &types, &count);
  request->vector_type = types[first + kQueryVector];
  request->query_text = PG_ARGISNULL(first + kQueryText) ? nullptr : PG_GETARG_TEXT_PP(first + kQueryText);
  if (!request->has_vector && request->query_text == nullptr)
    ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
                    errmsg("arguments \"query_vector\" and \"query_text\" must not both be null")));
}

void ReadFusion(FunctionCallInfo fcinfo, int first, Request* request) {
  policy::FusionRule* rule = &request->rule;
  rule->fusion = NamedArgument(fcinfo, first + kFusion, "fusion", kFusions);
  rule->rrf_constant = NumberArgument(fcinfo, first + kRrfConstant, "rrf_constant");
  rule->vector_weight = NumberArgument(fcinfo, first + kVectorWeight, "vector_weight");
  rule->text_weight = NumberArgument(fcinfo, first + kTextWeight, "text_weight");
  CheckRrfConstant(rule->rrf_constant);
  CheckWeight("vector_weight", rule->vector_weight);
  CheckWeight("text_weight", rule->text_weight);
}

void ReadText(FunctionCallInfo fcinfo, int first, Request* request) {
  request->text_config = PG_ARGISNULL(first + kTextConfig) ? InvalidOid : PG_GETARG_OID(first + kTextConfig);
  request->syntax = NamedArgument(fcinfo, first + kTextSyntax, "text_syntax", kSyntaxes);
  request->scoring = NamedArgument(fcinfo, first + kTextScoring, "text_scoring", kScorings);
  request->bm25.k1 = NumberArgument(fcinfo, first + kBm25K1, "bm25_k1");
  request->bm25.b = NumberArgument(fcinfo, first + kBm25B, "bm25_b");
  CheckBm25(request->bm25);
}

// --- the filter -----------------------------------------------------------------------------------------------

[[noreturn]] void ReportNoCondition(const char* detail) {
  ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR), errmsg("argument \"filter\" must be one condition"),
                  errdetail("%s", detail),
                  errhint("Write what would stand after WHERE, such as category = 7 AND price < 10.")));
  pg_unreachable();
}

/// Syntax errors are in the filter, not in the query that calls.
void PointIntoFilter(void* filter) {
  const int position = geterrposition();
  if (position > 0) {
    errposition(0);
    internalerrposition(position);
    internalerrquery(static_cast<const char*>(filter));
  }
  errcontext("argument \"filter\"");
}

List* ParseExpression(const char* filter) {
  ErrorContextCallback callback;
  callback.callback = PointIntoFilter;
  callback.arg = const_cast<char*>(filter);
  callback.previous = error_context_stack;
  error_context_stack = &callback;
  List* statements = raw_parser(filter, RAW_PARSE_PLPGSQL_EXPR);
  error_context_stack = callback.previous;
  return statements;
}

bool HasParameter(Node* node, void* state) {
  if (node == nullptr) return false;
  if (IsA(node, ParamRef)) return true;
  return pg::WalkRawExpression(node, HasParameter, state);
}

bool HasOtherClauses(const SelectStmt* select) {
  return select->distinctClause != NIL || select->intoClause != nullptr || select->fromClause != NIL ||
         select->whereClause != nullptr || select->groupClause != NIL || select->havingClause != nullptr ||
         select->windowClause != NIL || select->valuesLists != NIL || select->sortClause != NIL ||
         select->limitOffset != nullptr || select->limitCount != nullptr || select->lockingClause != NIL ||
         select->withClause != nullptr || select->op != SETOP_NONE;
}

}  // namespace

policy::Fusion FusionNamed(const char* name) {
  return ValueNamed("fusion", name, kFusions);
}

void CheckWeight(const char* name, double value) {
  if (!(value >= 0.0) || !std::isfinite(value))
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("argument \"%s\" must be a number from 0 on, not %g", name, value)));
}

void CheckRrfConstant(double value) {
  CheckWeight("rrf_constant", value);
}

void CheckBm25(const policy::Bm25Parameters& parameters) {
  CheckWeight("bm25_k1", parameters.k1);
  if (!(parameters.b >= 0.0 && parameters.b <= 1.0))
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("argument \"bm25_b\" must be between 0 and 1, not %g", parameters.b)));
}

void CheckFilter(const char* filter) {
  List* statements = ParseExpression(filter);
  if (list_length(statements) != 1) ReportNoCondition("It is empty.");
  auto* select = reinterpret_cast<SelectStmt*>(linitial_node(RawStmt, statements)->stmt);
  if (!IsA(select, SelectStmt)) ReportNoCondition("It is no expression.");
  if (HasOtherClauses(select)) ReportNoCondition("There are clauses after the expression.");
  if (select->targetList == NIL) ReportNoCondition("It is empty.");
  if (list_length(select->targetList) > 1) ReportNoCondition("There is more than one expression.");
  auto* target = linitial_node(ResTarget, select->targetList);
  // Also what was to be the next operator: `a = 1 AND` ends in a name.
  if (target->name != nullptr)
    ReportNoCondition(psprintf("The expression is followed by \"%s\".", target->name));
  if (HasParameter(target->val, nullptr))
    ReportNoCondition("It refers to a parameter, but has none of its own.");
}

Request ReadRequest(FunctionCallInfo fcinfo, int first, Oid key_type) {
  Request request = {};
  RequireGiven(fcinfo, first + kRelation, "rel");
  request.relation = PG_GETARG_OID(first + kRelation);
  ReadQueries(fcinfo, first, &request);
  request.k = CountArgument(fcinfo, first + kK, "k", 1, policy::kMostCandidates);
  request.vector_column = TextArgument(fcinfo, first + kVectorColumn);
  request.text_column = TextArgument(fcinfo, first + kTextColumn);
  request.key_column = TextArgument(fcinfo, first + kKeyColumn);
  ReadFusion(fcinfo, first, &request);
  request.depth = PG_ARGISNULL(first + kDepth)
                      ? policy::DefaultDepth(request.k)
                      : CountArgument(fcinfo, first + kDepth, "depth", 1, policy::kMostCandidates);
  request.filter = TextArgument(fcinfo, first + kFilter);
  if (request.filter != nullptr) CheckFilter(request.filter);
  ReadText(fcinfo, first, &request);
  request.metric = PG_ARGISNULL(first + kMetric) ? Metric::kOfIndex
                                                 : NamedArgument(fcinfo, first + kMetric, "metric", kMetrics);
  request.ef_search = PG_ARGISNULL(first + kEfSearch)
                          ? 0
                          : static_cast<int>(CountArgument(fcinfo, first + kEfSearch, "ef_search", 1, 1000));
  request.key_type = key_type;
  return request;
}

Request ReadTextRequest(FunctionCallInfo fcinfo) {
  Request request = {};
  RequireGiven(fcinfo, 0, "rel");
  RequireGiven(fcinfo, 1, "query_text");
  request.relation = PG_GETARG_OID(0);
  request.query_text = PG_GETARG_TEXT_PP(1);
  request.text_column = TextArgument(fcinfo, 2);
  request.text_config = PG_ARGISNULL(3) ? InvalidOid : PG_GETARG_OID(3);
  request.syntax = NamedArgument(fcinfo, 4, "text_syntax", kSyntaxes);
  return request;
}

}  // namespace tandem::hybrid
