#include "pg/compat.hpp"

#include "pg/stop_point.hpp"
#include "shmem/mailbox.hpp"
#include "worker/utility_hook.hpp"

extern "C" {
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
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

/// The database that must be left for this command; nullptr if none.
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
      return TextOption(alter->options, "tablespace") != nullptr ? alter->dbname : nullptr;
    }
    case T_RenameStmt: {
      auto* rename = reinterpret_cast<RenameStmt*>(statement);
      return rename->renameType == OBJECT_DATABASE ? rename->subname : nullptr;
    }
    default:
      return nullptr;
  }
}

/// Only for those whom the command will not be refused: a worker sent away loses the graph it is building.
void EvictFor(const char* name) {
  const Oid database = get_database_oid(name, true);
  if (!OidIsValid(database) || database == MyDatabaseId || !pg::OwnsDatabase(database, GetUserId())) return;
  shmem::EvictWorkers(database);
  pg::StopPoint("worker-evicted");
}

bool SetsOptions(const AlterTableStmt& alter) {
  ListCell* cell;
  foreach (cell, alter.cmds) {
    const AlterTableType type = static_cast<AlterTableCmd*>(lfirst(cell))->subtype;
    if (type == AT_SetRelOptions || type == AT_ResetRelOptions || type == AT_ReplaceRelOptions) return true;
  }
  return false;
}

/// True if workers are to look afterwards: an index's strategy may be another one; what a transaction created becomes
/// visible, which the session that prepared it could not tell; or an index built CONCURRENTLY becomes valid, for the worker to
/// see at this last of the command's commits only.
bool MakesWork(Node* statement) {
  if (IsA(statement, AlterTableStmt)) return SetsOptions(*reinterpret_cast<AlterTableStmt*>(statement));
  if (IsA(statement, IndexStmt)) return reinterpret_cast<IndexStmt*>(statement)->concurrent;
  if (IsA(statement, ReindexStmt)) return true;
  return IsA(statement, TransactionStmt) &&
         reinterpret_cast<TransactionStmt*>(statement)->kind == TRANS_STMT_COMMIT_PREPARED;
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
  if (name != nullptr) EvictFor(name);
  const bool makes_work = MakesWork(command);
  CallNext(statement, text, read_only_tree, context, parameters, environment, receiver, completion);
  if (makes_work) shmem::NotifyWork(MyDatabaseId);
}

}  // namespace

void InstallUtilityHook() {
  next_hook = ProcessUtility_hook;
  ProcessUtility_hook = OnUtility;
}

}  // namespace tandem::worker
