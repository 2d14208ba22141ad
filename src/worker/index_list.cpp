#include "pg/compat.hpp"

#include "am/chunk_load.hpp"
#include "am/options.hpp"
#include "shmem/heat.hpp"
#include "worker/index_list.hpp"
#include "worker/process.hpp"

extern "C" {
#include "access/amapi.h"
#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_proc.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/syscache.h"
}

namespace tandem::worker {

namespace {

/// Access methods of ours; more than one only if somebody made one with our handler by hand.
struct AccessMethods {
  Oid oid[8];
  int count;

  [[nodiscard]] bool Contains(Oid method) const {
    for (int i = 0; i < count; i++)
      if (oid[i] == method) return true;
    return false;
  }
};

/// True if the function's C name is our handler's. The name and OID of an access method are not ours to rely on: the extension
/// may be dropped and created again under this process (H37).
bool IsOurHandler(Oid function) {
  const HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
  if (!HeapTupleIsValid(tuple)) return false;
  bool is_null;
  const Datum symbol = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &is_null);
  const bool ours = !is_null && std::strcmp(TextDatumGetCString(symbol), "tandem_handler") == 0;
  ReleaseSysCache(tuple);
  return ours;
}

AccessMethods OurAccessMethods() {
  AccessMethods methods = {};
  const Relation relation = table_open(AccessMethodRelationId, AccessShareLock);
  const TableScanDesc scan = table_beginscan_catalog(relation, 0, nullptr);
  for (;;) {
    const HeapTuple tuple = heap_getnext(scan, ForwardScanDirection);
    if (tuple == nullptr) break;
    const auto* row = reinterpret_cast<Form_pg_am>(GETSTRUCT(tuple));
    if (row->amtype == AMTYPE_INDEX && methods.count < static_cast<int>(lengthof(methods.oid)) &&
        IsOurHandler(row->amhandler))
      methods.oid[methods.count++] = row->oid;
  }
  table_endscan(scan);
  table_close(relation, AccessShareLock);
  return methods;
}

Oid TablespaceOf(const FormData_pg_class& relation) {
  return OidIsValid(relation.reltablespace) ? relation.reltablespace : MyDatabaseTableSpace;
}

/// True if somebody holds the lock of a command like CREATE INDEX CONCURRENTLY on the table.
bool TableIsWorkedOn(Oid table) {
  if (!ConditionalLockRelationOid(table, ShareUpdateExclusiveLock)) return true;
  UnlockRelationOid(table, ShareUpdateExclusiveLock);
  return false;
}

/// Takes the index onto the list if it is finished. One that is not may be CREATE INDEX CONCURRENTLY's, which tells nobody
/// when it is done, or what is left of a failed one.
void Consider(IndexList* list, const FormData_pg_class& relation) {
  const Oid index = relation.oid;
  const HeapTuple tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
  if (!HeapTupleIsValid(tuple)) return;
  const auto* row = reinterpret_cast<Form_pg_index>(GETSTRUCT(tuple));
  const bool finished = row->indislive && row->indisready && row->indisvalid;
  const Oid table = row->indrelid;
  ReleaseSysCache(tuple);
  if (finished)
    list->indexes[list->count++] = {index, shmem::PastHeatOf(TablespaceOf(relation), relation.relfilenode)};
  else if (TableIsWorkedOn(table))
    list->more_soon = true;
}

/// OIDs of all permanent and unlogged indexes of these methods, in the memory context `result`.
IndexList ScanIndexes(const AccessMethods& methods, MemoryContext result) {
  IndexList list = {};
  int capacity = 64;
  list.indexes = static_cast<ListedIndex*>(MemoryContextAlloc(result, sizeof(ListedIndex) * capacity));
  const Relation relation = table_open(RelationRelationId, AccessShareLock);
  const TableScanDesc scan = table_beginscan_catalog(relation, 0, nullptr);
  for (;;) {
    const HeapTuple tuple = heap_getnext(scan, ForwardScanDirection);
    if (tuple == nullptr) break;
    const auto* row = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple));
    if (row->relkind != RELKIND_INDEX || row->relpersistence == RELPERSISTENCE_TEMP ||
        !methods.Contains(row->relam))
      continue;
    if (list.count == capacity) {
      capacity *= 2;
      list.indexes = static_cast<ListedIndex*>(repalloc(list.indexes, sizeof(ListedIndex) * capacity));
    }
    Consider(&list, *row);
  }
  table_endscan(scan);
  table_close(relation, AccessShareLock);
  return list;
}

/// True for an index of ours that is finished, by what the open relation says.
bool IsFinishedIndex(Relation relation) {
  return relation->rd_rel->relkind == RELKIND_INDEX && relation->rd_indam != nullptr &&
         relation->rd_indam->amoptions == am::ParseIndexOptions &&
         relation->rd_rel->relpersistence != RELPERSISTENCE_TEMP && relation->rd_index->indislive &&
         relation->rd_index->indisready && relation->rd_index->indisvalid;
}

}  // namespace

IndexList ListIndexes() {
  const MemoryContext caller = CurrentMemoryContext;
  BeginStep();
  const AccessMethods methods = OurAccessMethods();
  IndexList list = {};
  if (methods.count > 0) list = ScanIndexes(methods, caller);
  CommitTransactionCommand();
  MemoryContextSwitchTo(caller);
  return list;
}

void ForgetLostGraphs() {
  const MemoryContext caller = CurrentMemoryContext;
  BeginStep();
  am::ForgetLostSegments();
  CommitTransactionCommand();
  MemoryContextSwitchTo(caller);
}

Relation OpenIndexAtOnce(Oid index, bool* gone) {
  *gone = false;
  if (!ConditionalLockRelationOid(index, RowExclusiveLock)) return nullptr;
  const Relation relation = try_relation_open(index, NoLock);
  if (relation == nullptr) {
    UnlockRelationOid(index, RowExclusiveLock);
    *gone = true;
    return nullptr;
  }
  if (IsFinishedIndex(relation)) return relation;
  relation_close(relation, RowExclusiveLock);
  *gone = true;
  return nullptr;
}

}  // namespace tandem::worker
