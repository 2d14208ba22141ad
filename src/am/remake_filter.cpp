#include "pg/compat.hpp"

#include "am/remake_filter.hpp"

#include "am/filter_key.hpp"
#include "am/search.hpp"
#include "am/term_scan.hpp"
#include "pg/own.hpp"
#include "pg/stop_point.hpp"
#include "pg/try_open.hpp"
#include "shmem/search_counts.hpp"

extern "C" {
#include "access/genam.h"
#include "access/relation.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
}

namespace tandem::am {

namespace {

/// What evaluates the term.
struct Source {
  Oid index_of_ours;
  Relation index;
  ScanKeys keys;
  MemoryContext context;
};

const base::TidSet* Evaluate(void* arg) {
  const auto* source = static_cast<Source*>(arg);
  const MemoryContext old_context = MemoryContextSwitchTo(source->context);
  IndexScanDesc scan = pg::BeginBitmapIndexScan(source->index, GetActiveSnapshot(), source->keys.count);
  index_rescan(scan, source->keys.keys, source->keys.count, nullptr, 0);
  // What is not known TID by TID is not kept: as much memory as other maintenance has.
  TIDBitmap* bitmap = tbm_create(Max(work_mem, maintenance_work_mem) * INT64CONST(1024), nullptr);
  index_getbitmap(scan, bitmap);
  index_endscan(scan);
  auto* set = pg::Own<base::TidSet>(source->context);
  AddBitmap(bitmap, set);
  tbm_free(bitmap);
  pg::Guard([set] { set->Freeze(); });
  // Else it would look like a query by the condition alone.
  shmem::CountFilterAsked(source->index_of_ours);
  pg::StopPoint("filter-made");
  MemoryContextSwitchTo(old_context);
  return set;
}

/// As the planner has it: rows of a transaction that began before the index was finished may be missing there.
bool IsForQueries(Relation index) {
  const FormData_pg_index& row = *index->rd_index;
  if (!row.indislive || !row.indisready || !row.indisvalid) return false;
  return !row.indcheckxmin ||
         TransactionIdPrecedes(HeapTupleHeaderGetXmin(index->rd_indextuple->t_data), TransactionXmin);
}

bool IsIndexOf(Relation index, Relation table) {
  return index->rd_rel->relkind == RELKIND_INDEX && index->rd_index->indrelid == RelationGetRelid(table);
}

/// nullptr if it is locked, gone, or something else.
Relation OpenAtOnce(Oid oid, Relation table) {
  const Relation relation = pg::TryOpen(oid, AccessShareLock);
  if (relation == nullptr || IsIndexOf(relation, table)) return relation;
  relation_close(relation, AccessShareLock);
  return nullptr;
}

/// A search by the filter alone looks for all its sets, and keeps what it has found out.
void RunSearch(Relation index, Relation native, base::Span<const char> term) {
  Source source = {RelationGetRelid(index), native, {}, CurrentMemoryContext};
  if (!ReadTermKey(term, native, &source.keys) || !KeysSayAll(native, source.keys.keys, source.keys.count))
    return;
  Filter filter = {};
  filter.op = FilterOp::kTerm;
  filter.term = {term, Evaluate, &source};
  Search* search = BeginSearch(index);
  SetSearchFilter(search, &filter, 0, policy::AskLater{});
  StartSearch(search, GetActiveSnapshot(), nullptr);
  EndSearch(search);
}

/// After an error the end of the transaction puts the user back.
void RunAsOwner(Relation index, Relation native, Oid owner, base::Span<const char> term) {
  Oid caller;
  int security_context;
  GetUserIdAndSecContext(&caller, &security_context);
  SetUserIdAndSecContext(owner, security_context | SECURITY_RESTRICTED_OPERATION);
  const int settings = NewGUCNestLevel();
  (void)set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
                          true, 0, false);
  // Else a GIN index gives a sample, which would be everybody's (H10).
  (void)set_config_option("gin_fuzzy_search_limit", "0", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
                          false);
  RunSearch(index, native, term);
  AtEOXact_GUC(false, settings);
  SetUserIdAndSecContext(caller, security_context);
}

}  // namespace

pg::RelationFile IndexFileOfKey(base::Span<const char> key) {
  const FilterKeyParts parts = SplitFilterKey(key);
  return {MyDatabaseId, parts.index.tablespace, parts.index.file};
}

void RemakeFilterSets(Relation index, Relation table, base::Span<const char> key) {
  const pg::RelationFile file = pg::FileOf(index);
  const pg::RelationFile wanted = IndexFileOfKey(key);
  if (file.tablespace != wanted.tablespace || file.number != wanted.number || pg::SnapshotsGetTooOld())
    return;
  const base::Span<const char> term = SplitFilterKey(key).term;
  const Relation native = OpenAtOnce(IndexOfTermKey(term), table);
  if (native == nullptr) return;
  PushActiveSnapshot(GetTransactionSnapshot());
  if (IsForQueries(index) && IsForQueries(native)) {
    const MemoryContext context =
        AllocSetContextCreate(CurrentMemoryContext, "tandem filter made again", ALLOCSET_DEFAULT_SIZES);
    const MemoryContext old_context = MemoryContextSwitchTo(context);
    RunAsOwner(index, native, table->rd_rel->relowner, term);
    MemoryContextSwitchTo(old_context);
    MemoryContextDelete(context);
  }
  PopActiveSnapshot();
  relation_close(native, NoLock);
}

}  // namespace tandem::am
