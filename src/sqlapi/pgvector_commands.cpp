// Frameworks write "USING hnsw" into their migrations, and dumps of databases with pgvector have it. Where no access method of that
// name exists such a command could only fail; with tandem.redirect_hnsw it makes an index of ours with the same operator class, m and
// ef_construction. Partitions' indexes follow the parent's, so nothing else needs to be looked at.

#include "pg/pg.hpp"

#include "sqlapi/pgvector_commands.hpp"

#include "am/options.hpp"
#include "pg/settings.hpp"
#include "sqlapi/vector_args.hpp"

extern "C" {
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
}

namespace tandem::sqlapi {

namespace {

constexpr const char* kOurMethod = "tandem";
constexpr const char* kTheirMethod = "hnsw";
constexpr const char* kTheirExtension = "vector";

ProcessUtility_hook_type next_hook;

// ---- CREATE INDEX … USING hnsw ----

bool IsToBeRedirected(const Node* command) {
  if (!IsA(command, IndexStmt) || !pg::CurrentSettings().redirect_hnsw) return false;
  const auto* create = reinterpret_cast<const IndexStmt*>(command);
  return create->accessMethod != nullptr && std::strcmp(create->accessMethod, kTheirMethod) == 0 &&
         !OidIsValid(get_index_am_oid(kTheirMethod, true)) && OidIsValid(get_index_am_oid(kOurMethod, true));
}

bool HasOption(List* options, const char* name) {
  ListCell* cell;
  foreach (cell, options)
    if (std::strcmp(lfirst_node(DefElem, cell)->defname, name) == 0) return true;
  return false;
}

void Redirect(IndexStmt* create) {
  const char* strategy = am::StrategyName(am::Strategy::kHnswBatch);
  create->accessMethod = pstrdup(kOurMethod);
  if (!HasOption(create->options, "strategy"))
    create->options =
        lappend(create->options,
                makeDefElem(pstrdup("strategy"), reinterpret_cast<Node*>(makeString(pstrdup(strategy))), -1));
  // To whoever sent it, and to whoever wonders later where the index came from.
  for (const int level : {NOTICE, LOG_SERVER_ONLY})
    ereport(level, (errmsg("creating an index of access method \"%s\" on \"%s\" instead of \"%s\"",
                           kOurMethod, create->relation->relname, kTheirMethod),
                    errdetail("Setting \"tandem.redirect_hnsw\" is on, and there is no access method \"%s\".",
                              kTheirMethod)));
}

// ---- Two types of one name ----

/// The extension that type "vector" in the schema belongs to; InvalidOid if there is none.
Oid ExtensionOfVectorIn(Oid schema) {
  const Oid type =
      GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, PointerGetDatum("vector"), ObjectIdGetDatum(schema));
  return OidIsValid(type) ? getExtensionOfObject(TypeRelationId, type) : InvalidOid;
}

/// Where CREATE EXTENSION without SCHEMA, and CREATE without a schema, put things; InvalidOid if there is no such place.
Oid CreationSchema() {
  List* schemas = fetch_search_path(false);
  return schemas == NIL ? InvalidOid : linitial_oid(schemas);
}

Oid SchemaToInstallIn(const CreateExtensionStmt* create) {
  ListCell* cell;
  foreach (cell, create->options) {
    auto* option = lfirst_node(DefElem, cell);
    if (std::strcmp(option->defname, "schema") == 0) return get_namespace_oid(defGetString(option), true);
  }
  return CreationSchema();
}

/// Before the command's own script finds that a type exists.
void CheckBesidePgvector(const CreateExtensionStmt* create) {
  if (std::strcmp(create->extname, kTheirExtension) != 0 ||
      OidIsValid(get_extension_oid(kTheirExtension, true)))
    return;
  const Oid ours = get_extension_oid("tandem", true);
  const Oid schema = SchemaToInstallIn(create);
  if (!OidIsValid(ours) || !OidIsValid(schema) || ExtensionOfVectorIn(schema) != ours) return;
  ereport(ERROR,
          (errcode(ERRCODE_DUPLICATE_OBJECT),
           errmsg("extension \"%s\" cannot be installed in schema \"%s\", where extension \"tandem\" is",
                  kTheirExtension, get_namespace_name(schema)),
           errdetail("Both have types \"vector\", \"halfvec\" and \"sparsevec\"."),
           errhint("Make room with CREATE SCHEMA tandem and ALTER EXTENSION tandem SET SCHEMA tandem, and "
                   "install extension \"tandem_pgvector\" afterwards.")));
}

// ---- The hook ----

void OnUtility(PlannedStmt* statement, const char* text, bool read_only_tree, ProcessUtilityContext context,
               ParamListInfo parameters, QueryEnvironment* environment, DestReceiver* receiver,
               QueryCompletion* completion) {
  if (IsToBeRedirected(statement->utilityStmt)) {
    // A function's command is kept for its next call.
    statement = static_cast<PlannedStmt*>(copyObjectImpl(statement));
    read_only_tree = false;
    Redirect(castNode(IndexStmt, statement->utilityStmt));
  } else if (IsA(statement->utilityStmt, CreateExtensionStmt)) {
    CheckBesidePgvector(castNode(CreateExtensionStmt, statement->utilityStmt));
  }
  const ProcessUtility_hook_type next = next_hook != nullptr ? next_hook : standard_ProcessUtility;
  next(statement, text, read_only_tree, context, parameters, environment, receiver, completion);
}

}  // namespace

void InstallPgvectorCommands() {
  next_hook = ProcessUtility_hook;
  ProcessUtility_hook = OnUtility;
}

// The first thing that our extension script calls.
TANDEM_SQL_FUNCTION(tandem_check_schema) {
  const Oid schema = CreationSchema();
  const Oid theirs = get_extension_oid(kTheirExtension, true);
  if (OidIsValid(schema) && OidIsValid(theirs) && ExtensionOfVectorIn(schema) == theirs)
    ereport(
        ERROR,
        (errcode(ERRCODE_DUPLICATE_OBJECT),
         errmsg("extension \"tandem\" cannot be installed in schema \"%s\", where extension \"%s\" is",
                get_namespace_name(schema), kTheirExtension),
         errdetail("Both have types \"vector\", \"halfvec\" and \"sparsevec\"."),
         errhint("Use CREATE SCHEMA tandem and CREATE EXTENSION tandem SCHEMA tandem, and install extension "
                 "\"tandem_pgvector\" for indexes on columns of pgvector's types.")));
  PG_RETURN_VOID();
}

}  // namespace tandem::sqlapi
