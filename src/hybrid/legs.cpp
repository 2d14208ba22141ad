#include "pg/compat.hpp"

#include "hybrid/legs.hpp"

#include <algorithm>

#include "hybrid/terms.hpp"
#include "hybrid/text_statistics.hpp"
#include "pg/own.hpp"
#include "pg/settings.hpp"
#include "pg/vector_datum.hpp"
#include "planner/set_scan.hpp"

extern "C" {
#include "catalog/pg_type.h"
#include "tsearch/ts_cache.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
}

namespace tandem::hybrid {

namespace {

/// Takes in the rows of a leg. Room for all that may be kept at a time; `finish` cuts it down.
struct LegReceiver {
  DestReceiver pub;
  const Target* target;
  const KeyType* type;
  MemoryContext context;  ///< of keys
  FoundRow* rows;
  uint32 count;
};

void StartReceiving(DestReceiver*, int, TupleDesc) {}
void EndReceiving(DestReceiver*) {}

void InitReceiver(LegReceiver* receiver, bool (*receive)(TupleTableSlot*, DestReceiver*),
                  const Target& target, const KeyType& type, uint32 room) {
  receiver->pub.receiveSlot = receive;
  receiver->pub.rStartup = StartReceiving;
  receiver->pub.rShutdown = EndReceiving;
  receiver->pub.rDestroy = EndReceiving;
  receiver->pub.mydest = DestNone;
  receiver->target = &target;
  receiver->type = &type;
  receiver->context = CurrentMemoryContext;
  receiver->rows = static_cast<FoundRow*>(palloc(sizeof(FoundRow) * room));
}

Datum KeyOf(const LegReceiver* receiver, TupleTableSlot* slot) {
  if (slot->tts_isnull[0])
    ereport(ERROR,
            (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
             errmsg("column \"%s\" has a null value in a row that was found", receiver->target->key_name),
             errhint("Name a column that identifies rows in argument \"key_column\".")));
  return slot->tts_values[0];
}

Datum CopyKey(const LegReceiver* receiver, Datum key) {
  const TypeCacheEntry* type = receiver->type->cache;
  if (type->typbyval) return key;
  const MemoryContext before = MemoryContextSwitchTo(receiver->context);
  // Not toasted: compared many times, and returned.
  const Datum copy =
      type->typlen == -1 ? PointerGetDatum(PG_DETOAST_DATUM_COPY(key)) : datumCopy(key, false, type->typlen);
  MemoryContextSwitchTo(before);
  return copy;
}

void Run(SPIPlanPtr plan, ParamListInfo parameters, LegReceiver* receiver) {
  SPIExecuteOptions options = {};
  options.params = parameters;
  options.read_only = true;  // under the caller's snapshot, and nothing that writes
  options.dest = &receiver->pub;
  const int result = SPI_execute_plan_extended(plan, &options);
  if (result < 0) elog(ERROR, "SPI_execute_plan_extended failed: %s", SPI_result_code_string(result));
}

/// For qsort_arg: better first.
int CompareRows(const void* a, const void* b, void* type) {
  const auto* one = static_cast<const FoundRow*>(a);
  const auto* other = static_cast<const FoundRow*>(b);
  if (one->score != other->score) return one->score > other->score ? -1 : 1;
  return CompareKeys(*static_cast<const KeyType*>(type), one->key, other->key);
}

void SortRows(FoundRow* rows, uint32 count, const KeyType& type) {
  qsort_arg(rows, count, sizeof(FoundRow), CompareRows, const_cast<KeyType*>(&type));
}

/// Rows that come in order but for equals.
void SortEquals(FoundRow* rows, uint32 count, const KeyType& type) {
  for (uint32 begin = 0; begin < count;) {
    uint32 end = begin + 1;
    while (end < count && rows[end].score == rows[begin].score) end++;
    if (end - begin > 1) SortRows(rows + begin, end - begin, type);
    begin = end;
  }
}

// --- by vector ------------------------------------------------------------------------------------------------

bool ReceiveDistance(TupleTableSlot* slot, DestReceiver* self) {
  auto* receiver = reinterpret_cast<LegReceiver*>(self);
  slot_getallattrs(slot);
  // No vector, or one without direction: such rows come last, and have no place in an order.
  if (slot->tts_isnull[1]) return false;
  const double distance = DatumGetFloat8(slot->tts_values[1]);
  if (!std::isfinite(distance)) return true;
  receiver->rows[receiver->count++] = {CopyKey(receiver, KeyOf(receiver, slot)),
                                       ScoreOfDistance(receiver->target->metric, distance), distance};
  return true;
}

void CheckDimensions(const Request& request, const Target& target) {
  const int given = pg::DetoastVector(request.query_vector)->dimensions;
  if (target.dimensions > 0 && given != target.dimensions)
    ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
                    errmsg("argument \"query_vector\" has %d dimensions, column \"%s\" %d", given,
                           target.vector_name, target.dimensions)));
}

// --- by text --------------------------------------------------------------------------------------------------

bool ReceiveRank(TupleTableSlot* slot, DestReceiver* self) {
  auto* receiver = reinterpret_cast<LegReceiver*>(self);
  slot_getallattrs(slot);
  if (slot->tts_isnull[1]) return true;
  receiver->rows[receiver->count++] = {CopyKey(receiver, KeyOf(receiver, slot)),
                                       DatumGetFloat8(slot->tts_values[1]), 0.0};
  return true;
}

/// What BM25 needs of a query.
struct Bm25Query {
  TSQuery query;
  QueryTerms terms;
  double* inverse_frequencies;
  double* frequencies;
  double* bounds;
  CorpusStatistics corpus;
  policy::Bm25Parameters parameters;
};

/// The best `depth` of what came, in a buffer of twice as many that is cut in half when it is full.
struct Bm25Receiver {
  LegReceiver leg;
  const Bm25Query* query;
  MemoryContext scratch;
  uint32 depth;
  bool is_full;     ///< `depth` rows have been kept
  double to_enter;  ///< what the last of them has
};

void CutToDepth(Bm25Receiver* receiver) {
  SortRows(receiver->leg.rows, receiver->leg.count, *receiver->leg.type);
  if (receiver->leg.count < receiver->depth) return;
  receiver->leg.count = receiver->depth;
  receiver->is_full = true;
  receiver->to_enter = receiver->leg.rows[receiver->depth - 1].score;
}

double ScoreOf(const Bm25Query& query, TSVector document) {
  const double length = LengthOf(document);
  double score = 0.0;
  for (uint32 i = 0; i < query.terms.count; i++) {
    const double occurrences = OccurrencesOf(document, query.terms.terms[i]);
    if (occurrences > 0)
      score += policy::TermScore(query.parameters, query.inverse_frequencies[i], occurrences, length,
                                 query.corpus.average_length);
  }
  return score;
}

bool ReceiveDocument(TupleTableSlot* slot, DestReceiver* self) {
  auto* receiver = reinterpret_cast<Bm25Receiver*>(self);
  slot_getallattrs(slot);
  if (slot->tts_isnull[1]) return true;
  const MemoryContext before = MemoryContextSwitchTo(receiver->scratch);
  const double score = ScoreOf(*receiver->query, DatumGetTSVector(slot->tts_values[1]));
  MemoryContextSwitchTo(before);
  MemoryContextReset(receiver->scratch);
  // Equals may enter by their keys.
  if (receiver->is_full && score < receiver->to_enter) return true;
  LegReceiver* leg = &receiver->leg;
  leg->rows[leg->count++] = {CopyKey(leg, KeyOf(leg, slot)), score, 0.0};
  if (leg->count == 2 * receiver->depth) CutToDepth(receiver);
  return true;
}

Bm25Query PrepareBm25(const Request& request, const Target& target, TSQuery query) {
  Bm25Query prepared = {query, TermsOf(query), nullptr, nullptr, nullptr, {}, request.bm25};
  TextStatistics statistics(target);
  const size_t count = prepared.terms.count;
  prepared.corpus = statistics.corpus();
  prepared.frequencies = static_cast<double*>(palloc(sizeof(double) * (count + 1)));
  prepared.inverse_frequencies = static_cast<double*>(palloc(sizeof(double) * (count + 1)));
  prepared.bounds = static_cast<double*>(palloc(sizeof(double) * (count + 1)));
  for (size_t i = 0; i < count; i++) {
    prepared.frequencies[i] = statistics.FrequencyOf(prepared.terms.terms[i]);
    prepared.inverse_frequencies[i] =
        policy::InverseDocumentFrequency(prepared.corpus.documents, prepared.frequencies[i]);
    prepared.bounds[i] = policy::TermBound(request.bm25, prepared.inverse_frequencies[i]);
  }
  return prepared;
}

/// The sum of bounds that `wanted` documents may reach; 0: look at all.
double Threshold(const Bm25Query& query, double wanted) {
  if (!query.terms.has_choice) return 0.0;
  double threshold = 0.0;
  pg::Guard([&] {
    threshold =
        policy::LikelyThreshold({query.bounds, query.terms.count}, {query.frequencies, query.terms.count},
                                query.corpus.documents, wanted);
  });
  return threshold;
}

/// That a document's bounds add up to `least`.
policy::TermCondition* ConditionFor(const Bm25Query& query, double least) {
  // The condition is evaluated for each document that has one of its first terms: larger ones leave out few more.
  constexpr std::size_t kMostNodes = 120;
  auto* condition = pg::Own<policy::TermCondition>(CurrentMemoryContext);
  pg::Guard([&] {
    *condition = policy::DocumentsWithAtLeast({query.bounds, query.terms.count}, least, kMostNodes);
  });
  return condition;
}

/// Documents whose terms could make them good come first; what the last of the best has then bounds the rest (README.md, "BM25").
FoundLeg RunBm25Leg(const Request& request, const Remembered& remembered, const KeyType& type,
                    TSQuery tsquery) {
  const Bm25Query query = PrepareBm25(request, remembered.target, tsquery);
  Bm25Receiver receiver = {};
  InitReceiver(&receiver.leg, ReceiveDocument, remembered.target, type, 2 * request.depth);
  receiver.query = &query;
  receiver.depth = request.depth;
  receiver.scratch = AllocSetContextCreate(CurrentMemoryContext, "tandem document", ALLOCSET_DEFAULT_SIZES);
  double wanted = 2.0 * request.depth;
  double least = Threshold(query, wanted);
  List* known = NIL;  // what documents that have been read fulfil
  for (;;) {
    policy::TermCondition* condition = ConditionFor(query, least);
    TSQuery pass = QueryWith(query.query, query.terms, *condition, known);
    Run(remembered.text_plan, OneParameter(TSQUERYOID, TSQueryGetDatum(pass)), &receiver.leg);
    CutToDepth(&receiver);
    if (condition->nodes.empty() || (receiver.is_full && receiver.to_enter >= least)) break;
    known = lappend(known, condition);
    wanted *= 8.0;  // a filter may have taken most of them
    least = receiver.is_full ? receiver.to_enter : std::min(Threshold(query, wanted), least / 2.0);
  }
  MemoryContextDelete(receiver.scratch);
  return {receiver.leg.rows, receiver.leg.count};
}

FoundLeg RunRankLeg(const Request& request, const Remembered& remembered, const KeyType& type,
                    TSQuery query) {
  LegReceiver receiver = {};
  InitReceiver(&receiver, ReceiveRank, remembered.target, type, request.depth);
  Run(remembered.text_plan, OneParameter(TSQUERYOID, TSQueryGetDatum(query)), &receiver);
  SortEquals(receiver.rows, receiver.count, type);
  return {receiver.rows, receiver.count};
}

using ParseFunction = Datum (*)(PG_FUNCTION_ARGS);

ParseFunction ParserOf(TextSyntax syntax) {
  switch (syntax) {
    case TextSyntax::kWebsearch:
    case TextSyntax::kAny:
      return websearch_to_tsquery_byid;
    case TextSyntax::kPlain:
      return plainto_tsquery_byid;
    case TextSyntax::kPhrase:
      return phraseto_tsquery_byid;
    case TextSyntax::kTsquery:
      return to_tsquery_byid;
  }
  return nullptr;
}

}  // namespace

FoundLeg RunVectorLeg(const Request& request, const Remembered& remembered, const KeyType& type) {
  CheckDimensions(request, remembered.target);
  LegReceiver receiver = {};
  InitReceiver(&receiver, ReceiveDistance, remembered.target, type, request.depth);
  EfSearchScope scope(request.ef_search);
  Run(remembered.vector_plan, OneParameter(request.vector_type, request.query_vector), &receiver);
  scope.End();
  SortEquals(receiver.rows, receiver.count, type);
  return {receiver.rows, receiver.count};
}

FoundLeg RunTextLeg(const Request& request, const Remembered& remembered, const KeyType& type,
                    TSQuery query) {
  AllowSetScans();
  return request.scoring == TextScoring::kBm25 ? RunBm25Leg(request, remembered, type, query)
                                               : RunRankLeg(request, remembered, type, query);
}

void AllowSetScans() {
  (void)pg::Own<planner::SetScanScope>(CurrentMemoryContext);
}

TSQuery ParseText(const Request& request, const Target& target) {
  const Oid config = OidIsValid(target.text_config) ? target.text_config : getTSCurrentConfig(true);
  TSQuery query = DatumGetTSQuery(DirectFunctionCall2(ParserOf(request.syntax), ObjectIdGetDatum(config),
                                                      PointerGetDatum(request.query_text)));
  return request.syntax == TextSyntax::kAny ? AnyOf(query) : query;
}

EfSearchScope::EfSearchScope(int ef_search) {
  if (ef_search == 0) return;
  level_ = NewGUCNestLevel();
  (void)set_config_option("tandem.ef_search", psprintf("%d", ef_search), PGC_USERSET, PGC_S_SESSION,
                          GUC_ACTION_SAVE, true, 0, false);
}

void EfSearchScope::End() {
  if (level_ != 0) AtEOXact_GUC(true, level_);
}

double ScoreOfDistance(Metric metric, double distance) {
  switch (metric) {
    case Metric::kInnerProduct:
      return -distance;
    case Metric::kCosine:
      return 1.0 - distance;
    case Metric::kL2:
    case Metric::kL1:
    case Metric::kOfIndex:
      return 1.0 / (1.0 + distance);
  }
  return 0.0;
}

ParamListInfo OneParameter(Oid type, Datum value) {
  ParamListInfo parameters = makeParamList(1);
  parameters->params[0].value = value;
  parameters->params[0].isnull = false;
  parameters->params[0].pflags = PARAM_FLAG_CONST;
  parameters->params[0].ptype = type;
  return parameters;
}

}  // namespace tandem::hybrid
