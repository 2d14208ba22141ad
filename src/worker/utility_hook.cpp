#include "pg/compat.hpp"

#include "pg/stop_point.hpp"
#include "shmem/filter_cache.hpp"
#include "shmem/graph_cache.hpp"
#include "shmem/mailbox.hpp"
#include "shmem/search_counts.hpp"
#include "worker/utility_hook.hpp"

extern "C" {
#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/syscache.h"
}

namespace tandem::worker {

namespace {

ProcessUtility_hook_type next_hook;

const char* TextOption(List* options, const char* name) {
  ListCell* cell;
  foreach (cell, options) {
    auto* option = static_cast<DefElem*>(lfirst(cell));
    if (std::strcmp(option->defname, name) == 0 && option->arg != nullptr) return defGetString(option);
  }
  return nullptr;
}

/// Whether workers may connect to the database is about to change: WorkersMayConnect().
bool SetsAdmission(const AlterDatabaseStmt& alter) {
  return TextOption(alter.options, "is_template") != nullptr ||
         TextOption(alter.options, "allow_connections") != nullptr;
}

/// The database that must be left for this command, or that closes to workers; nullptr if none.
const char* DatabaseToLeave(Node* statement) {
  switch (nodeTag(statement)) {
    case T_DropdbStmt:
      return reinterpret_cast<DropdbStmt*>(statement)->dbname;
    case T_CreatedbStmt: {
      const char* name = TextOption(reinterpret_cast<CreatedbStmt*>(statement)->options, "template");
      return name != nullptr ? name : "template1";
    }
    case T_AlterDatabaseStmt: {
      auto* alter = reinterpret_cast<AlterDatabaseStmt*>(statement);
      return TextOption(alter->options, "tablespace") != nullptr || SetsAdmission(*alter) ? alter->dbname
                                                                                          : nullptr;
    }
    case T_RenameStmt: {
      auto* rename = reinterpret_cast<RenameStmt*>(statement);
      return rename->renameType == OBJECT_DATABASE ? rename->subname : nullptr;
    }
    default:
      return nullptr;
  }
}

bool IsTemplate(Oid database) {
  const HeapTuple tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
  if (!HeapTupleIsValid(tuple)) return false;
  const bool is_template = reinterpret_cast<Form_pg_database>(GETSTRUCT(tuple))->datistemplate;
  ReleaseSysCache(tuple);
  return is_template;
}

bool MayCreateDatabases() {
  if (superuser()) return true;
  const HeapTuple tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
  if (!HeapTupleIsValid(tuple)) return false;
  const bool may_create = reinterpret_cast<Form_pg_authid>(GETSTRUCT(tuple))->rolcreatedb;
  ReleaseSysCache(tuple);
  return may_create;
}

/// True if the command will not be refused: a worker sent away loses the graph it is building. A session's own database can be
/// copied and closed, but not dropped, renamed or moved.
bool MayRun(Node* statement, Oid database) {
  const bool owns = pg::OwnsDatabase(database, GetUserId());
  if (IsA(statement, CreatedbStmt)) return MayCreateDatabases() && (owns || IsTemplate(database));
  const bool closes =
      IsA(statement, AlterDatabaseStmt) && SetsAdmission(*castNode(AlterDatabaseStmt, statement));
  return owns && (closes || database != MyDatabaseId);
}

void EvictFor(Node* statement, const char* name) {
  const Oid database = get_database_oid(name, true);
  if (!OidIsValid(database) || !MayRun(statement, database)) return;
  shmem::EvictWorkers(database);
  pg::StopPoint("worker-evicted");
}

bool ChangesIndexes(const AlterTableStmt& alter) {
  ListCell* cell;
  foreach (cell, alter.cmds) {
    const AlterTableType type = static_cast<AlterTableCmd*>(lfirst(cell))->subtype;
    if (type == AT_SetRelOptions || type == AT_ResetRelOptions || type == AT_ReplaceRelOptions ||
        type == AT_AlterColumnType)
      return true;
  }
  return false;
}

/// True if workers are to look afterwards: an index's strategy may be another one, or its file go on under another OID, as that of
/// a column whose type changes without a rewrite; what a transaction created becomes visible, which the session that prepared it
/// could not tell; or an index built CONCURRENTLY becomes valid, for the worker to see at this last of the command's commits only.
bool MakesWork(Node* statement) {
  if (IsA(statement, AlterTableStmt)) return ChangesIndexes(*reinterpret_cast<AlterTableStmt*>(statement));
  if (IsA(statement, IndexStmt)) return reinterpret_cast<IndexStmt*>(statement)->concurrent;
  if (IsA(statement, ReindexStmt)) return true;
  return IsA(statement, TransactionStmt) &&
         reinterpret_cast<TransactionStmt*>(statement)->kind == TRANS_STMT_COMMIT_PREPARED;
}

/// The database that may have indexes that no worker has seen: a copy, or one that admits workers again. nullptr if none.
const char* DatabaseToVisit(Node* statement) {
  if (IsA(statement, CreatedbStmt)) return castNode(CreatedbStmt, statement)->dbname;
  if (IsA(statement, AlterDatabaseStmt)) {
    auto* alter = castNode(AlterDatabaseStmt, statement);
    return SetsAdmission(*alter) ? alter->dbname : nullptr;
  }
  return nullptr;
}

/// Whose shared memory is nobody's once the command is through; InvalidOid if none's.
Oid DatabaseToForget(Node* statement) {
  return IsA(statement, DropdbStmt) ? get_database_oid(castNode(DropdbStmt, statement)->dbname, true)
                                    : InvalidOid;
}

/// At the end of the transaction.
void TellDatabase(const char* name) {
  CommandCounterIncrement();  // a database just created is not to be seen before
  const Oid database = get_database_oid(name, true);
  if (OidIsValid(database)) shmem::NotifyWork(database);
}

void CallNext(PlannedStmt* statement, const char* text, bool read_only_tree, ProcessUtilityContext context,
              ParamListInfo parameters, QueryEnvironment* environment, DestReceiver* receiver,
              QueryCompletion* completion) {
  const ProcessUtility_hook_type next = next_hook != nullptr ? next_hook : standard_ProcessUtility;
  next(statement, text, read_only_tree, context, parameters, environment, receiver, completion);
}

void OnUtility(PlannedStmt* statement, const char* text, bool read_only_tree, ProcessUtilityContext context,
               ParamListInfo parameters, QueryEnvironment* environment, DestReceiver* receiver,
               QueryCompletion* completion) {
  Node* command = statement->utilityStmt;
  const char* name = DatabaseToLeave(command);
  if (name != nullptr) EvictFor(command, name);
  const bool makes_work = MakesWork(command);
  const char* to_visit = DatabaseToVisit(command);
  const Oid to_forget = DatabaseToForget(command);
  CallNext(statement, text, read_only_tree, context, parameters, environment, receiver, completion);
  if (makes_work) shmem::NotifyWork(MyDatabaseId);
  if (to_visit != nullptr) TellDatabase(to_visit);
  if (OidIsValid(to_forget)) {
    shmem::ForgetSegmentsOf(to_forget);
    shmem::ForgetFilterSetsOf(to_forget);
    shmem::ForgetSearchCounts(to_forget);
  }
}

}  // namespace

void InstallUtilityHook() {
  next_hook = ProcessUtility_hook;
  ProcessUtility_hook = OnUtility;
}

}  // namespace tandem::worker
