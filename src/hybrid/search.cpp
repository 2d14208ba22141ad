#include "pg/compat.hpp"

#include "hybrid/search.hpp"

#include <vector>

#include "hybrid/text_statistics.hpp"
#include "pg/own.hpp"
#include "pg/stop_point.hpp"

extern "C" {
#include "commands/explain.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/plancache.h"
#include "utils/tuplestore.h"
}

namespace tandem::hybrid {

namespace {

/// Numbers the keys of a leg and takes out those that have been there before.
policy::LegEntry* NumberRows(FoundLeg* leg, KeyTable* keys, uint32 known) {
  auto* entries = static_cast<policy::LegEntry*>(palloc(sizeof(policy::LegEntry) * (leg->count + 1)));
  auto* is_there = static_cast<bool*>(palloc0(known + leg->count + 1));
  uint32 kept = 0;
  for (uint32 i = 0; i < leg->count; i++) {
    const uint32 number = keys->NumberOf(leg->rows[i].key);
    if (is_there[number]) continue;
    is_there[number] = true;
    leg->rows[kept] = leg->rows[i];
    entries[kept++] = {number, leg->rows[i].score};
  }
  leg->count = kept;
  return entries;
}

policy::Leg LegOf(AskedLeg asked, KeyTable* keys) {
  if (asked.found == nullptr) return {};
  const policy::LegEntry* entries = NumberRows(asked.found, keys, keys->size());
  return {{entries, asked.found->count}, true};
}

/// Of the answer's columns.
enum Column { kKey, kVectorScore, kTextScore, kCombinedScore, kVectorRank, kTextRank, kDistance, kColumns };

void ReturnRow(const FusedKeys& fused, const policy::FusedRow& row, const FoundLeg& by_vector,
               const FoundLeg& by_text, ReturnSetInfo* result) {
  Datum values[kColumns] = {};
  bool nulls[kColumns] = {};
  values[kKey] = fused.keys->KeyAt(row.row);
  values[kCombinedScore] = Float8GetDatum(row.combined);
  nulls[kVectorScore] = nulls[kVectorRank] = nulls[kDistance] = row.vector_rank == 0;
  nulls[kTextScore] = nulls[kTextRank] = row.text_rank == 0;
  if (row.vector_rank != 0) {
    values[kVectorScore] = Float8GetDatum(by_vector.rows[row.vector_rank - 1].score);
    values[kVectorRank] = Int64GetDatum(row.vector_rank);
    values[kDistance] = Float8GetDatum(by_vector.rows[row.vector_rank - 1].distance);
  }
  if (row.text_rank != 0) {
    values[kTextScore] = Float8GetDatum(by_text.rows[row.text_rank - 1].score);
    values[kTextRank] = Int64GetDatum(row.text_rank);
  }
  tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

void Connect() {
  const int result = SPI_connect();
  if (result != SPI_OK_CONNECT) elog(ERROR, "SPI_connect failed: %s", SPI_result_code_string(result));
}

void Disconnect() {
  const int result = SPI_finish();
  if (result != SPI_OK_FINISH) elog(ERROR, "SPI_finish failed: %s", SPI_result_code_string(result));
}

// --- EXPLAIN --------------------------------------------------------------------------------------------------

void ReturnLine(const char* line, size_t length, ReturnSetInfo* result) {
  Datum value = PointerGetDatum(cstring_to_text_with_len(line, static_cast<int>(length)));
  bool is_null = false;
  tuplestore_putvalues(result->setResult, result->setDesc, &value, &is_null);
}

void ReturnLines(const char* text, ReturnSetInfo* result) {
  while (*text != '\0') {
    const char* end = strchrnul(text, '\n');
    ReturnLine(text, static_cast<size_t>(end - text), result);
    text = *end == '\0' ? end : end + 1;
  }
}

void ExplainLeg(const char* name, SPIPlanPtr plan, ParamListInfo parameters, const ExplainOptions& options,
                ReturnSetInfo* result) {
  CachedPlan* cached = SPI_plan_get_cached_plan(plan);
  if (cached == nullptr) elog(ERROR, "a leg has no plan");
  ExplainState* state = NewExplainState();
  state->analyze = options.analyze;
  state->costs = options.costs;
  state->timing = false;
  ExplainBeginOutput(state);
  pg::ExplainPlan(linitial_node(PlannedStmt, cached->stmt_list), state, name, parameters);
  ExplainEndOutput(state);
  ReleaseCachedPlan(cached, CurrentResourceOwner);
  ReturnLines(psprintf("%s:", name), result);
  ReturnLines(state->str->data, result);
}

Datum NumberArray(const double* numbers, uint32 count) {
  auto* values = static_cast<Datum*>(palloc(sizeof(Datum) * (count + 1)));
  for (uint32 i = 0; i < count; i++) values[i] = Float8GetDatum(numbers[i]);
  return PointerGetDatum(construct_array(values, static_cast<int>(count), FLOAT8OID, sizeof(float8),
                                         FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

}  // namespace

Datum TermArray(const QueryTerms& terms) {
  auto* values = static_cast<Datum*>(palloc(sizeof(Datum) * (terms.count + 1)));
  for (uint32 i = 0; i < terms.count; i++) values[i] = TSQueryGetDatum(QueryOf(terms.terms[i]));
  return PointerGetDatum(
      construct_array(values, static_cast<int>(terms.count), TSQUERYOID, -1, false, TYPALIGN_INT));
}

FusedKeys Fuse(const policy::FusionRule& rule, const KeyType& type, AskedLeg by_vector, AskedLeg by_text,
               uint32 k) {
  const uint32 most = (by_vector.found == nullptr ? 0 : by_vector.found->count) +
                      (by_text.found == nullptr ? 0 : by_text.found->count);
  auto* keys = static_cast<KeyTable*>(palloc(sizeof(KeyTable)));
  *keys = KeyTable(type, most);
  const policy::Leg vector_leg = LegOf(by_vector, keys);
  const policy::Leg text_leg = LegOf(by_text, keys);
  auto* rows = pg::Own<std::vector<policy::FusedRow>>(CurrentMemoryContext);
  pg::Guard([&] { *rows = policy::FuseLegs(rule, vector_leg, text_leg, keys->size(), k); });
  return {keys, rows->data(), rows->size()};
}

void Search(const Request& request, ReturnSetInfo* result) {
  Connect();
  const KeyType type = KeyTypeOf(request.key_type);
  const Remembered& remembered = *Remember(request);
  FoundLeg by_vector = {};
  FoundLeg by_text = {};
  if (request.has_vector) by_vector = RunVectorLeg(request, remembered, type);
  pg::StopPoint("hybrid-between-legs");
  bool asks_text = false;
  if (request.query_text != nullptr) {
    TSQuery query = ParseText(request, remembered.target);
    asks_text = query->size > 0;  // stop words alone ask for nothing
    if (asks_text) by_text = RunTextLeg(request, remembered, type, query);
  }
  const FusedKeys fused = Fuse(request.rule, type, {request.has_vector ? &by_vector : nullptr},
                               {asks_text ? &by_text : nullptr}, request.k);
  for (size_t i = 0; i < fused.count; i++) ReturnRow(fused, fused.rows[i], by_vector, by_text, result);
  Disconnect();
}

void ReadStatistics(const Request& request, ReturnSetInfo* result) {
  Connect();
  const Target target = FindTarget(request);
  TSQuery query = ParseText(request, target);
  const QueryTerms terms = TermsOf(query);
  TextStatistics statistics(target);
  auto* frequencies = static_cast<double*>(palloc(sizeof(double) * (terms.count + 1)));
  for (uint32 i = 0; i < terms.count; i++) frequencies[i] = statistics.FrequencyOf(terms.terms[i]);
  Datum values[] = {Float8GetDatum(statistics.corpus().documents),
                    Float8GetDatum(statistics.corpus().average_length), TSQueryGetDatum(query),
                    TermArray(terms), NumberArray(frequencies, terms.count)};
  bool nulls[lengthof(values)] = {};
  tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
  Disconnect();
}

void Explain(const Request& request, const ExplainOptions& options, ReturnSetInfo* result) {
  Connect();
  const Remembered& remembered = *Remember(request);
  if (request.has_vector) {
    EfSearchScope scope(request.ef_search);
    ExplainLeg("Vector Leg", remembered.vector_plan, OneParameter(request.vector_type, request.query_vector),
               options, result);
    scope.End();
  }
  if (request.query_text != nullptr) {
    TSQuery query = ParseText(request, remembered.target);
    AllowSetScans();
    ExplainLeg("Text Leg", remembered.text_plan, OneParameter(TSQUERYOID, TSQueryGetDatum(query)), options,
               result);
  }
  Disconnect();
}

}  // namespace tandem::hybrid
