#include "pg/compat.hpp"

#include "sqlapi/index_access.hpp"

#include "am/options.hpp"

extern "C" {
#include "access/amapi.h"
#include "access/genam.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xlog.h"
#include "catalog/index.h"
#include "catalog/pg_inherits.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
}

namespace tandem::sqlapi {

namespace {

/// True for a partitioned index, too.
bool HasOurMethod(Relation relation) {
  return relation->rd_indam != nullptr && relation->rd_indam->amoptions == am::ParseIndexOptions;
}

bool IsOutOfReach(Relation relation) {
  return RecoveryInProgress() && relation->rd_rel->relpersistence == RELPERSISTENCE_UNLOGGED;
}

[[noreturn]] void ReportNoSuchIndex(Oid index) {
  ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("there is no index with OID %u", index)));
  pg_unreachable();
}

void RequireOwner(Oid index) {
  if (!pg::OwnsRelation(index, GetUserId()))
    aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_INDEX, get_rel_name(index));
}

/// The table of an index, whatever its method. Before any lock: the answer may be old by the time of one.
Oid TableOf(Oid index) {
  const char kind = get_rel_relkind(index);
  if (kind == '\0') ReportNoSuchIndex(index);
  if (kind != RELKIND_INDEX && kind != RELKIND_PARTITIONED_INDEX)
    ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
                    errmsg("\"%s\" is not a tandem index", get_rel_name(index))));
  const Oid table = IndexGetRelation(index, true);
  if (!OidIsValid(table)) ReportNoSuchIndex(index);
  return table;
}

/// The indexes of all partitions, partitioned ones left out.
List* LeavesOf(Oid parent) {
  List* leaves = NIL;
  ListCell* cell;
  foreach (cell, find_all_inheritors(parent, NoLock, nullptr)) {
    const Oid member = lfirst_oid(cell);
    if (get_rel_relkind(member) == RELKIND_INDEX) leaves = lappend_oid(leaves, member);
  }
  return leaves;
}

}  // namespace

bool IsTandemIndex(Relation relation) {
  return relation->rd_rel->relkind == RELKIND_INDEX && HasOurMethod(relation);
}

void RequireTandemIndex(Relation relation) {
  if (!IsTandemIndex(relation))
    ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
                    errmsg("\"%s\" is not a tandem index", RelationGetRelationName(relation)),
                    relation->rd_rel->relkind == RELKIND_PARTITIONED_INDEX && HasOurMethod(relation)
                        ? errhint("Name the index of a partition.")
                        : 0));
  if (RELATION_IS_OTHER_TEMP(relation))
    ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                    errmsg("cannot access temporary indexes of other sessions")));
  if (IsOutOfReach(relation))
    ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                    errmsg("cannot access unlogged index \"%s\" during recovery",
                           RelationGetRelationName(relation))));
  if (!relation->rd_index->indisready)
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("index \"%s\" is not ready", RelationGetRelationName(relation)),
                    errhint("Drop it or rebuild it with REINDEX.")));
}

bool IsReadable(Relation index) {
  // A file without even a meta page: its CREATE INDEX is in its first moments.
  return index->rd_index->indisready && !RELATION_IS_OTHER_TEMP(index) && !IsOutOfReach(index) &&
         RelationGetNumberOfBlocks(index) > 0;
}

OpenIndex OpenOwnedIndex(Oid index_oid, LOCKMODE lock) {
  const Oid heap_oid = TableOf(index_oid);
  RequireOwner(index_oid);
  const Relation heap = try_table_open(heap_oid, lock);
  const Relation index = heap == nullptr ? nullptr : try_relation_open(index_oid, lock);
  if (index == nullptr) ReportNoSuchIndex(index_oid);
  RequireTandemIndex(index);
  return {heap, index, lock};
}

void CloseIndex(const OpenIndex& open) {
  relation_close(open.index, open.lock);
  table_close(open.heap, open.lock);
}

List* OwnedIndexesOf(Oid index_oid) {
  (void)TableOf(index_oid);
  RequireOwner(index_oid);
  const Relation index = try_relation_open(index_oid, AccessShareLock);
  if (index == nullptr) ReportNoSuchIndex(index_oid);
  const bool is_parent = index->rd_rel->relkind == RELKIND_PARTITIONED_INDEX && HasOurMethod(index);
  if (!is_parent) RequireTandemIndex(index);
  relation_close(index, AccessShareLock);
  return is_parent ? LeavesOf(index_oid) : list_make1_oid(index_oid);
}

}  // namespace tandem::sqlapi
