#include "pg/compat.hpp"

#include "hybrid/plan_cache.hpp"

#include "pg/own.hpp"

extern "C" {
#include "catalog/pg_type.h"
#include "tsearch/ts_cache.h"
#include "utils/inval.h"
}

namespace tandem::hybrid {

namespace {

// Filters written with their values make one each; a plan takes some tens of KB.
constexpr int kMostRemembered = 64;

Remembered* remembered[kMostRemembered];  // gaps are nullptr
uint64 uses = 0;

/// A call that uses an entry, ended by the end of its SPI connection, however that comes about.
class Use {
 public:
  explicit Use(Remembered* entry) : entry_(entry) { entry_->users++; }
  ~Use() { entry_->users--; }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;

 private:
  Remembered* entry_;
};

void NoteChange(Datum, Oid relation) {
  for (Remembered* entry : remembered) {
    if (entry != nullptr && (!OidIsValid(relation) || list_member_oid(entry->target.relations, relation)))
      entry->is_stale = true;
  }
}

void RegisterOnce() {
  static bool is_registered = false;
  if (is_registered) return;
  CacheRegisterRelcacheCallback(NoteChange, static_cast<Datum>(0));
  is_registered = true;
}

/// Two arguments never read as another two: strings go with their lengths.
void AppendArgument(StringInfo arguments, const char* value) {
  if (value == nullptr)
    appendStringInfoString(arguments, "-;");
  else
    appendStringInfo(arguments, "%zu:%s;", strlen(value), value);
}

/// Everything that Target and the legs' SQL depend on.
char* ArgumentsOf(const Request& request) {
  StringInfoData arguments;
  initStringInfo(&arguments);
  appendStringInfo(&arguments, "%u %u %u %u %d %d %d %d %u;", request.relation, request.key_type,
                   request.depth, request.text_config, static_cast<int>(request.scoring),
                   static_cast<int>(request.metric), request.has_vector ? 1 : 0,
                   request.query_text != nullptr ? 1 : 0, getTSCurrentConfig(false));
  AppendArgument(&arguments, request.vector_column);
  AppendArgument(&arguments, request.text_column);
  AppendArgument(&arguments, request.key_column);
  AppendArgument(&arguments, request.filter);
  return arguments.data;
}

void Forget(int place) {
  Remembered* entry = remembered[place];
  remembered[place] = nullptr;
  if (entry->vector_plan != nullptr) SPI_freeplan(entry->vector_plan);
  if (entry->text_plan != nullptr) SPI_freeplan(entry->text_plan);
  MemoryContextDelete(entry->context);
}

/// A place for a new entry: free, or of the entry unused for longest. -1 if all are in use, by calls within calls.
int FreePlace() {
  int oldest = -1;
  for (int i = 0; i < kMostRemembered; i++) {
    const Remembered* entry = remembered[i];
    if (entry == nullptr) return i;
    if (entry->users == 0 && (oldest < 0 || entry->last_use < remembered[oldest]->last_use)) oldest = i;
  }
  if (oldest >= 0) Forget(oldest);
  return oldest;
}

void ForgetStale() {
  for (int i = 0; i < kMostRemembered; i++) {
    if (remembered[i] != nullptr && remembered[i]->is_stale && remembered[i]->users == 0) Forget(i);
  }
}

Remembered* Find(const char* arguments) {
  for (Remembered* entry : remembered) {
    if (entry != nullptr && !entry->is_stale && strcmp(entry->arguments, arguments) == 0) return entry;
  }
  return nullptr;
}

// --- SQL ------------------------------------------------------------------------------------------------------

/// A line of its own, so that a comment at the filter's end ends there.
const char* FilterText(const Request& request, const char* before) {
  return request.filter == nullptr ? "" : psprintf("%s(\n%s\n)", before, request.filter);
}

char* VectorSql(const Request& request, const Target& target) {
  return psprintf("SELECT %s, %s FROM %s%s ORDER BY %s LIMIT %u", target.key, target.distance, target.from,
                  FilterText(request, " WHERE "), target.distance, request.depth);
}

char* TextSql(const Request& request, const Target& target) {
  const char* where =
      psprintf("WHERE %s OPERATOR(pg_catalog.@@) $1%s", target.document, FilterText(request, " AND "));
  if (request.scoring == TextScoring::kBm25)
    return psprintf("SELECT %s, %s FROM %s %s", target.key, target.document, target.from, where);
  return psprintf(
      "SELECT %s, pg_catalog.ts_rank_cd(%s, $1)::pg_catalog.float8 FROM %s %s ORDER BY 2 DESC, 1 LIMIT %u",
      target.key, target.document, target.from, where, request.depth);
}

/// One plan for all queries: which plan is best does not depend on the vector, and of a text's words nothing is known that would
/// take less time to find out than it saves.
SPIPlanPtr Plan(const char* sql, Oid type) {
  SPIPlanPtr plan = SPI_prepare_cursor(sql, 1, &type, CURSOR_OPT_GENERIC_PLAN | CURSOR_OPT_PARALLEL_OK);
  if (plan == nullptr) elog(ERROR, "SPI_prepare_cursor failed: %s", SPI_result_code_string(SPI_result));
  return plan;
}

Remembered* MakeEntry(const Request& request, const char* arguments) {
  // Where an error takes it away, until all is there.
  const MemoryContext context =
      AllocSetContextCreate(CurrentMemoryContext, "tandem hybrid search", ALLOCSET_SMALL_SIZES);
  const MemoryContext before = MemoryContextSwitchTo(context);
  auto* entry = static_cast<Remembered*>(palloc0(sizeof(Remembered)));
  entry->context = context;
  entry->arguments = pstrdup(arguments);
  entry->target = FindTarget(request);
  if (request.has_vector) entry->vector_sql = VectorSql(request, entry->target);
  if (request.query_text != nullptr) entry->text_sql = TextSql(request, entry->target);
  MemoryContextSwitchTo(before);
  if (entry->vector_sql != nullptr) entry->vector_plan = Plan(entry->vector_sql, request.vector_type);
  if (entry->text_sql != nullptr) entry->text_plan = Plan(entry->text_sql, TSQUERYOID);
  return entry;
}

/// Past the end of the call. Nothing here fails.
void Keep(Remembered* entry, int place) {
  if (entry->vector_plan != nullptr) SPI_keepplan(entry->vector_plan);
  if (entry->text_plan != nullptr) SPI_keepplan(entry->text_plan);
  MemoryContextSetParent(entry->context, CacheMemoryContext);
  remembered[place] = entry;
}

}  // namespace

Remembered* Remember(const Request& request) {
  RegisterOnce();
  ForgetStale();
  const char* arguments = ArgumentsOf(request);
  Remembered* entry = Find(arguments);
  if (entry == nullptr) {
    entry = MakeEntry(request, arguments);
    const int place = FreePlace();
    // Of this call alone, and gone with it: then nobody else can take it away.
    if (place < 0) return entry;
    Keep(entry, place);
  }
  entry->last_use = ++uses;
  (void)pg::Own<Use>(CurrentMemoryContext, entry);
  return entry;
}

}  // namespace tandem::hybrid
