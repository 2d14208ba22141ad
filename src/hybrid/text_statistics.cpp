#include "pg/compat.hpp"

#include "hybrid/text_statistics.hpp"

#include "pg/own.hpp"

extern "C" {
#include "access/genam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "nodes/nodeFuncs.h"
#include "tsearch/ts_utils.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
}

namespace tandem::hybrid {

/// What is remembered of one relation's documents. In a context of its own.
struct Corpus {
  CorpusStatistics statistics;
  Oid relation;
  Oid user;
  const char* document;
  List* relations;
  TimestampTz made_at;
  TransactionId
      made_in;  ///< a transaction that had written, for which alone this is; invalid: for all that have not
  bool is_stale;
  int users;
  HTAB* frequencies;
  MemoryContext context;
};

namespace {

constexpr int kMostCorpora = 16;
constexpr int kKeptMs = 60 * 1000;
// Above it, a sample of as many blocks. The length of 8,000 abstracts differs by half of itself: their average is known to half a
// per cent, and a per cent of it moves scores by less than that.
constexpr uint64 kMostBlocksRead = 1000;
constexpr int kMostRowsOfView = 10'000;
// Of a term of usual length; longer ones are counted anew.
constexpr int kLongestKept = 58;
constexpr long kMostFrequencies = 20'000;  // 2 MB

Corpus* corpora[kMostCorpora];

/// Of the hash table, all bytes set.
struct FrequencyKey {
  uint8 length;
  uint8 weight;
  bool is_prefix;
  char lexeme[kLongestKept];
};

struct Frequency {
  FrequencyKey key;
  double documents;
};

void NoteChange(Datum, Oid relation) {
  for (Corpus* corpus : corpora) {
    if (corpus != nullptr && (!OidIsValid(relation) || list_member_oid(corpus->relations, relation)))
      corpus->is_stale = true;
  }
}

void RegisterOnce() {
  static bool is_registered = false;
  if (is_registered) return;
  CacheRegisterRelcacheCallback(NoteChange, static_cast<Datum>(0));
  is_registered = true;
}

bool IsOutdated(const Corpus* corpus) {
  const bool was_for_another =
      TransactionIdIsValid(corpus->made_in) && corpus->made_in != GetTopTransactionIdIfAny();
  return was_for_another || corpus->is_stale ||
         TimestampDifferenceExceeds(corpus->made_at, GetCurrentStatementStartTimestamp(), kKeptMs);
}

/// A call that reads a corpus, ended by the end of its SPI connection, however that comes about.
class Use {
 public:
  explicit Use(Corpus* corpus) : corpus_(corpus) { corpus_->users++; }
  ~Use() { corpus_->users--; }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;

 private:
  Corpus* corpus_;
};

void ForgetOutdated() {
  for (Corpus*& corpus : corpora) {
    if (corpus == nullptr || corpus->users > 0 || !IsOutdated(corpus)) continue;
    MemoryContextDelete(corpus->context);
    corpus = nullptr;
  }
}

// --- counting documents ---------------------------------------------------------------------------------------

/// Adds up lengths of the documents that a query returns.
struct LengthReceiver {
  DestReceiver pub;
  MemoryContext scratch;
  double rows;
  double documents;
  double length;
};

bool ReceiveDocument(TupleTableSlot* slot, DestReceiver* self) {
  auto* receiver = reinterpret_cast<LengthReceiver*>(self);
  slot_getallattrs(slot);
  receiver->rows++;
  if (slot->tts_isnull[0]) return true;
  const MemoryContext before = MemoryContextSwitchTo(receiver->scratch);
  receiver->documents++;
  receiver->length += LengthOf(DatumGetTSVector(slot->tts_values[0]));
  MemoryContextSwitchTo(before);
  MemoryContextReset(receiver->scratch);
  return true;
}
void StartReceiving(DestReceiver*, int, TupleDesc) {}
void EndReceiving(DestReceiver*) {}

LengthReceiver ReadLengths(const char* sql) {
  LengthReceiver receiver = {};
  receiver.pub.receiveSlot = ReceiveDocument;
  receiver.pub.rStartup = StartReceiving;
  receiver.pub.rShutdown = EndReceiving;
  receiver.pub.rDestroy = EndReceiving;
  receiver.pub.mydest = DestNone;
  receiver.scratch = AllocSetContextCreate(CurrentMemoryContext, "tandem document", ALLOCSET_DEFAULT_SIZES);
  SPIExecuteOptions options = {};
  options.read_only = true;
  options.dest = &receiver.pub;
  const int result = SPI_execute_extended(sql, &options);
  if (result < 0) elog(ERROR, "SPI_execute_extended failed: %s", SPI_result_code_string(result));
  MemoryContextDelete(receiver.scratch);
  return receiver;
}

/// The first column of the only row, a number.
double ReadNumber(const char* sql, Oid type, Datum value) {
  const char nulls[] = {' '};
  const int result = SPI_execute_with_args(sql, 1, &type, &value, nulls, true, 1);
  if (result != SPI_OK_SELECT || SPI_processed != 1)
    elog(ERROR, "SPI_execute_with_args failed: %s", SPI_result_code_string(result));
  bool is_null;
  const Datum count = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null);
  return static_cast<double>(DatumGetInt64(count));
}

struct Size {
  uint64 blocks;
  double rows;  ///< as of the last ANALYZE or VACUUM; less than 0 without one
};

/// With partitions and children.
Size SizeOf(Oid relation_oid) {
  Size size = {};
  ListCell* cell;
  foreach (cell, find_all_inheritors(relation_oid, AccessShareLock, nullptr)) {
    const Relation relation = table_open(lfirst_oid(cell), NoLock);
    const char kind = relation->rd_rel->relkind;
    if (kind == RELKIND_RELATION || kind == RELKIND_MATVIEW) {
      const BlockNumber blocks = RelationGetNumberOfBlocks(relation);
      size.blocks += blocks;
      if (blocks > 0)
        size.rows =
            relation->rd_rel->reltuples < 0 || size.rows < 0 ? -1 : size.rows + relation->rd_rel->reltuples;
    }
    table_close(relation, NoLock);
  }
  return size;
}

bool HasBlocks(char kind) {
  return kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE || kind == RELKIND_MATVIEW;
}

bool HidesRows(Oid relation) {
  return check_enable_rls(relation, InvalidOid, true) != RLS_NONE;
}

CorpusStatistics StatisticsOf(double documents, const LengthReceiver& read) {
  return {documents, read.documents > 0 && read.length > 0 ? read.length / read.documents : 1.0};
}

CorpusStatistics ReadTable(const Target& target) {
  const Size size = SizeOf(target.relation);
  const double percent = 100.0 * static_cast<double>(kMostBlocksRead) / static_cast<double>(size.blocks);
  if (percent >= 100.0 || size.blocks == 0) {
    const LengthReceiver all = ReadLengths(psprintf("SELECT %s FROM %s", target.document, target.from));
    return StatisticsOf(all.documents, all);
  }
  // The same blocks each time, so that scores of the same rows are the same in all sessions.
  const LengthReceiver some =
      ReadLengths(psprintf("SELECT %s FROM %s TABLESAMPLE pg_catalog.system (%.6f) REPEATABLE (0)",
                           target.document, target.from, percent));
  double rows = some.rows * 100.0 / percent;
  if (size.rows > 0 && !HidesRows(target.relation)) rows = size.rows;
  return StatisticsOf(some.rows > 0 ? rows * some.documents / some.rows : 0.0, some);
}

CorpusStatistics ReadView(const Target& target) {
  const LengthReceiver first =
      ReadLengths(psprintf("SELECT %s FROM %s LIMIT %d", target.document, target.from, kMostRowsOfView));
  if (first.rows < kMostRowsOfView) return StatisticsOf(first.documents, first);
  return StatisticsOf(
      ReadNumber(psprintf("SELECT pg_catalog.count(%s) FROM %s WHERE $1", target.document, target.from),
                 BOOLOID, BoolGetDatum(true)),
      first);
}

// --- counting documents with a term ---------------------------------------------------------------------------

/// The number of entries that an index has for a term. Rows that are dead or not yet visible count as well, until VACUUM.
double CountInIndex(Oid index_oid, TSQuery query) {
  const Relation index = index_open(index_oid, AccessShareLock);
  double count = -1;
  if (index->rd_index->indisvalid) {
    ScanKeyData key;
    ScanKeyEntryInitialize(&key, 0, 1, 1, TSQUERYOID, index->rd_indcollation[0], F_TS_MATCH_VQ,
                           TSQueryGetDatum(query));
    IndexScanDesc scan = pg::BeginBitmapIndexScan(index, GetActiveSnapshot(), 1);
    index_rescan(scan, &key, 1, nullptr, 0);
    TIDBitmap* bitmap = tbm_create(static_cast<long>(work_mem) * 1024L, nullptr);
    count = static_cast<double>(index_getbitmap(scan, bitmap));
    tbm_free(bitmap);
    index_endscan(scan);
  }
  index_close(index, AccessShareLock);
  return count;
}

/// In all partitions; less than 0 if an index cannot tell.
double CountInIndexes(Oid index, TSQuery query) {
  double count = 0;
  ListCell* cell;
  foreach (cell, find_all_inheritors(index, AccessShareLock, nullptr)) {
    if (get_rel_relkind(lfirst_oid(cell)) != RELKIND_INDEX) continue;
    const double found = CountInIndex(lfirst_oid(cell), query);
    if (found < 0) return -1;
    count += found;
  }
  return count;
}

/// Numbers about rows that the user cannot see are not the user's: scores would tell them.
bool MayAskIndex(const Target& target) {
  return OidIsValid(target.text_index) && HasBlocks(get_rel_relkind(target.relation)) &&
         !HidesRows(target.relation) &&
         pg_class_aclcheck(target.relation, GetUserId(), ACL_SELECT) == ACLCHECK_OK;
}

double CountDocuments(const Target& target, const QueryTerm& term) {
  TSQuery query = QueryOf(term);
  if (MayAskIndex(target)) {
    const double count = CountInIndexes(target.text_index, query);
    if (count >= 0) return count;
  }
  return ReadNumber(psprintf("SELECT pg_catalog.count(*) FROM %s WHERE %s OPERATOR(pg_catalog.@@) $1",
                             target.from, target.document),
                    TSQUERYOID, TSQueryGetDatum(query));
}

// --- remembering ----------------------------------------------------------------------------------------------

/// True if a function may go by a setting, which another tenant of the same user may change between two searches.
bool GoesBySettings(Oid function, void* /*state*/) {
  return func_volatile(function) != PROVOLATILE_IMMUTABLE && function != F_NOW;
}

/// Keywords that are no functions to the server.
bool IsSetting(const Node* node) {
  if (!IsA(node, SQLValueFunction)) return false;
  const SQLValueFunctionOp op = reinterpret_cast<const SQLValueFunction*>(node)->op;
  return op == SVFOP_CURRENT_SCHEMA || op == SVFOP_SESSION_USER;
}

bool DependsOnSettings(Node* node, void* state) {
  if (node == nullptr) return false;
  // What a subquery says may change with rows of another table, of which nobody tells.
  if (IsSetting(node) || IsA(node, SubLink)) return true;
  if (check_functions_in_node(node, GoesBySettings, state)) return true;
  if (IsA(node, Query)) return pg::WalkQuery(castNode(Query, node), DependsOnSettings, state);
  return pg::WalkExpression(node, DependsOnSettings, state);
}

/// False if which rows the user sees may change with a setting: then what is known of some is nobody else's.
bool SeesTheSame(const Target& target) {
  const bool has_own_rows = HasBlocks(get_rel_relkind(target.relation)) && !HidesRows(target.relation);
  if (has_own_rows) return true;
  SPIPlanPtr plan = SPI_prepare(psprintf("SELECT FROM %s", target.from), 0, nullptr);
  if (plan == nullptr) elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
  const auto* source = static_cast<const CachedPlanSource*>(linitial(SPI_plan_get_plan_sources(plan)));
  const bool is_same = !DependsOnSettings(reinterpret_cast<Node*>(source->query_list), nullptr);
  SPI_freeplan(plan);
  return is_same;
}

Corpus* FindCorpus(const Target& target) {
  for (Corpus* corpus : corpora) {
    if (corpus != nullptr && !IsOutdated(corpus) && corpus->made_in == GetTopTransactionIdIfAny() &&
        corpus->relation == target.relation && corpus->user == GetUserId() &&
        strcmp(corpus->document, target.document) == 0)
      return corpus;
  }
  return nullptr;
}

void MakeFrequencies(Corpus* corpus) {
  HASHCTL control = {};
  control.keysize = sizeof(FrequencyKey);
  control.entrysize = sizeof(Frequency);
  control.hcxt = corpus->context;
  corpus->frequencies =
      hash_create("tandem document frequencies", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

Corpus* MakeCorpus(const Target& target) {
  const CorpusStatistics statistics =
      HasBlocks(get_rel_relkind(target.relation)) ? ReadTable(target) : ReadView(target);
  const MemoryContext context =
      AllocSetContextCreate(CurrentMemoryContext, "tandem text statistics", ALLOCSET_SMALL_SIZES);
  const MemoryContext before = MemoryContextSwitchTo(context);
  auto* corpus = static_cast<Corpus*>(palloc0(sizeof(Corpus)));
  corpus->statistics = statistics;
  corpus->relation = target.relation;
  corpus->user = GetUserId();
  corpus->document = pstrdup(target.document);
  corpus->relations = list_copy(target.relations);
  corpus->made_at = GetCurrentStatementStartTimestamp();
  corpus->made_in = GetTopTransactionIdIfAny();
  corpus->context = context;
  MakeFrequencies(corpus);
  MemoryContextSwitchTo(before);
  return corpus;
}

/// In place of the oldest, if that is possible.
bool Keep(Corpus* corpus) {
  int place = -1;
  for (int i = 0; i < kMostCorpora; i++) {
    if (corpora[i] == nullptr) {
      place = i;
      break;
    }
    if (corpora[i]->users == 0 && (place < 0 || corpora[i]->made_at < corpora[place]->made_at)) place = i;
  }
  if (place < 0) return false;
  if (corpora[place] != nullptr) MemoryContextDelete(corpora[place]->context);
  MemoryContextSetParent(corpus->context, CacheMemoryContext);
  corpora[place] = corpus;
  return true;
}

}  // namespace

TextStatistics::TextStatistics(const Target& target) : target_(target), corpus_(nullptr) {
  RegisterOnce();
  ForgetOutdated();
  const bool may_keep = SeesTheSame(target);
  if (may_keep) corpus_ = FindCorpus(target);
  if (corpus_ == nullptr) {
    corpus_ = MakeCorpus(target);
    // Of this call alone, and gone with it.
    if (!may_keep || !Keep(corpus_)) return;
  }
  (void)pg::Own<Use>(CurrentMemoryContext, corpus_);
}

const CorpusStatistics& TextStatistics::corpus() const {
  return corpus_->statistics;
}

double TextStatistics::FrequencyOf(const QueryTerm& term) {
  if (term.length > kLongestKept) return CountDocuments(target_, term);
  FrequencyKey key = {};
  key.length = static_cast<uint8>(term.length);
  key.weight = term.weight;
  key.is_prefix = term.is_prefix;
  memcpy(key.lexeme, term.lexeme, static_cast<size_t>(term.length));
  const auto* known =
      static_cast<const Frequency*>(hash_search(corpus_->frequencies, &key, HASH_FIND, nullptr));
  if (known != nullptr) return known->documents;
  const double documents = CountDocuments(target_, term);
  if (hash_get_num_entries(corpus_->frequencies) >= kMostFrequencies) return documents;
  bool found;
  static_cast<Frequency*>(hash_search(corpus_->frequencies, &key, HASH_ENTER, &found))->documents = documents;
  return documents;
}

}  // namespace tandem::hybrid
