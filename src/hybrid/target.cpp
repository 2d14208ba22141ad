#include "pg/compat.hpp"

#include "hybrid/target.hpp"

#include "am/options.hpp"

extern "C" {
#include "access/amapi.h"
#include "access/genam.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "parser/parse_coerce.h"
#include "parser/parse_oper.h"
#include "parser/parse_relation.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteHandler.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/ruleutils.h"
#include "utils/syscache.h"
#include "tsearch/ts_cache.h"
}

namespace tandem::hybrid {

namespace {

/// A column of the relation, and the table's column that it shows if the relation is a view.
struct Column {
  AttrNumber number;
  const char* name;
  Oid type;  ///< domains looked through
  int32 typmod;
  Oid base;
  AttrNumber base_number;
};

/// While a target is put together.
struct Finder {
  const Request* request;
  Relation relation;
  Target* target;
};

char* QualifiedColumn(const Finder& finder, const char* name) {
  return psprintf("%s.%s", quote_identifier(RelationGetRelationName(finder.relation)),
                  quote_identifier(name));
}

/// The table's column that a view's column is, through any number of views; the column itself where it is an expression.
void FollowViews(Oid* relation_oid, AttrNumber* number, List** relations) {
  for (;;) {
    check_stack_depth();
    *relations = list_append_unique_oid(*relations, *relation_oid);
    if (get_rel_relkind(*relation_oid) != RELKIND_VIEW) return;
    const Relation view = table_open(*relation_oid, AccessShareLock);
    const Query* query = get_view_query(view);
    const TargetEntry* entry =
        query->setOperations != nullptr ? nullptr : get_tle_by_resno(query->targetList, *number);
    const auto* var = entry == nullptr ? nullptr : reinterpret_cast<const Var*>(entry->expr);
    const RangeTblEntry* source = nullptr;
    if (var != nullptr && IsA(var, Var) && var->varattno > 0) source = rt_fetch(var->varno, query->rtable);
    const bool goes_on = source != nullptr && source->rtekind == RTE_RELATION;
    if (goes_on) {
      *relation_oid = source->relid;
      *number = var->varattno;
    }
    table_close(view, AccessShareLock);
    if (!goes_on) return;
  }
}

Column ColumnAt(const Finder& finder, AttrNumber number) {
  const Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(finder.relation), number - 1);
  Column column = {number,
                   pstrdup(NameStr(attribute->attname)),
                   InvalidOid,
                   attribute->atttypmod,
                   RelationGetRelid(finder.relation),
                   number};
  column.type = getBaseTypeAndTypmod(attribute->atttypid, &column.typmod);
  FollowViews(&column.base, &column.base_number, &finder.target->relations);
  return column;
}

Column ColumnNamed(const Finder& finder, const char* argument, const char* name) {
  const AttrNumber number = get_attnum(RelationGetRelid(finder.relation), name);
  if (number <= 0)
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
                    errmsg("argument \"%s\": column \"%s\" of relation \"%s\" does not exist", argument, name,
                           RelationGetRelationName(finder.relation))));
  return ColumnAt(finder, number);
}

/// All columns for which `accept` says true.
template <typename Accept>
List* ColumnsThat(const Finder& finder, const Accept& accept) {
  List* found = NIL;
  const TupleDesc descriptor = RelationGetDescr(finder.relation);
  for (int i = 0; i < descriptor->natts; i++) {
    if (TupleDescAttr(descriptor, i)->attisdropped) continue;
    const Column column = ColumnAt(finder, static_cast<AttrNumber>(i + 1));
    if (!accept(column)) continue;
    auto* kept = static_cast<Column*>(palloc(sizeof(Column)));
    *kept = column;
    found = lappend(found, kept);
  }
  return found;
}

[[noreturn]] void ReportNotOne(const Finder& finder, const char* argument, const char* what, List* found) {
  if (found == NIL)
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
                    errmsg("relation \"%s\" has no %s", RelationGetRelationName(finder.relation), what),
                    errhint("Name a column in argument \"%s\".", argument)));
  StringInfoData names;
  initStringInfo(&names);
  ListCell* cell;
  foreach (cell, found)
    appendStringInfo(&names, "%s\"%s\"", names.len == 0 ? "" : ", ",
                     static_cast<const Column*>(lfirst(cell))->name);
  ereport(ERROR,
          (errcode(ERRCODE_AMBIGUOUS_COLUMN),
           errmsg("relation \"%s\" has more than one %s", RelationGetRelationName(finder.relation), what),
           errdetail("There are %s.", names.data), errhint("Name one in argument \"%s\".", argument)));
  pg_unreachable();
}

/// Calls visit(index) for every valid index of a table, until that says true.
template <typename Visit>
void VisitIndexes(Oid table_oid, const Visit& visit) {
  const char kind = get_rel_relkind(table_oid);
  if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE && kind != RELKIND_MATVIEW) return;
  const Relation table = table_open(table_oid, AccessShareLock);
  List* indexes = RelationGetIndexList(table);
  ListCell* cell;
  bool is_done = false;
  foreach (cell, indexes) {
    const Relation index = index_open(lfirst_oid(cell), AccessShareLock);
    if (index->rd_index->indisvalid) is_done = visit(index);
    index_close(index, AccessShareLock);
    if (is_done) break;
  }
  list_free(indexes);
  table_close(table, AccessShareLock);
}

// --- the vector -----------------------------------------------------------------------------------------------

/// An operator that orders by distance, and what it measures.
struct DistanceOperator {
  Oid id = InvalidOid;
  Metric metric = Metric::kOfIndex;
};

constexpr struct {
  const char* name;
  Metric metric;
} kOperators[] = {
    {"<->", Metric::kL2}, {"<#>", Metric::kInnerProduct}, {"<=>", Metric::kCosine}, {"<+>", Metric::kL1}};

Metric MetricOfOperator(Oid id) {
  const char* name = get_opname(id);
  for (const auto& entry : kOperators) {
    if (name != nullptr && strcmp(name, entry.name) == 0) return entry.metric;
  }
  return Metric::kOfIndex;
}

/// What a tandem index on the column orders by.
DistanceOperator IndexedDistance(const Column& column) {
  DistanceOperator found;
  VisitIndexes(column.base, [&](Relation index) {
    if (index->rd_indam->amoptions != am::ParseIndexOptions ||
        index->rd_index->indkey.values[0] != column.base_number)
      return false;
    const Oid type = index->rd_opcintype[0];
    found.id = get_opfamily_member(index->rd_opfamily[0], type, type, 1);
    found.metric = MetricOfOperator(found.id);
    if (found.metric == Metric::kOfIndex) found.id = InvalidOid;
    return OidIsValid(found.id);
  });
  return found;
}

Oid DistanceOf(Oid extension_schema, Oid type, Metric metric) {
  for (const auto& entry : kOperators) {
    if (entry.metric != metric) continue;
    char* schema = get_namespace_name(extension_schema);
    return OpernameGetOprid(list_make2(makeString(schema), makeString(pstrdup(entry.name))), type, type);
  }
  return InvalidOid;
}

Oid SchemaOfType(Oid type) {
  const HeapTuple tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
  if (!HeapTupleIsValid(tuple)) elog(ERROR, "cache lookup failed for type %u", type);
  const Oid schema = reinterpret_cast<const FormData_pg_type*>(GETSTRUCT(tuple))->typnamespace;
  ReleaseSysCache(tuple);
  return schema;
}

/// Complete, with its schema.
char* OperatorText(Oid id) {
  const HeapTuple tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(id));
  if (!HeapTupleIsValid(tuple)) elog(ERROR, "cache lookup failed for operator %u", id);
  const auto* form = reinterpret_cast<const FormData_pg_operator*>(GETSTRUCT(tuple));
  char* name = psprintf("OPERATOR(%s.%s)", quote_identifier(get_namespace_name(form->oprnamespace)),
                        NameStr(form->oprname));
  ReleaseSysCache(tuple);
  return name;
}

/// True for the type of the query, and for pgvector's type of the same form.
bool IsVector(const Finder& finder, Oid type) {
  return IsBinaryCoercible(type, finder.request->vector_type);
}

DistanceOperator DistanceFor(const Finder& finder, const Column& column) {
  const Metric asked = finder.request->metric;
  DistanceOperator found = IndexedDistance(column);
  if (OidIsValid(found.id) && (asked == Metric::kOfIndex || asked == found.metric)) return found;
  found.metric = asked == Metric::kOfIndex ? Metric::kCosine : asked;
  const Oid type = IsVector(finder, column.type) ? column.type : finder.request->vector_type;
  found.id = DistanceOf(SchemaOfType(type), column.type, found.metric);
  if (!OidIsValid(found.id))
    ereport(ERROR,
            (errcode(ERRCODE_DATATYPE_MISMATCH),
             errmsg("argument \"vector_column\": column \"%s\" is of type %s, which has no such distance",
                    column.name, format_type_be(column.type))));
  return found;
}

Column VectorColumn(const Finder& finder) {
  if (finder.request->vector_column != nullptr)
    return ColumnNamed(finder, "vector_column", finder.request->vector_column);
  List* found =
      ColumnsThat(finder, [](const Column& column) { return OidIsValid(IndexedDistance(column).id); });
  if (found == NIL)
    found = ColumnsThat(finder, [&](const Column& column) { return IsVector(finder, column.type); });
  if (list_length(found) != 1) ReportNotOne(finder, "vector_column", "vector column", found);
  return *static_cast<const Column*>(linitial(found));
}

void FindVector(const Finder& finder) {
  const Column column = VectorColumn(finder);
  const DistanceOperator distance = DistanceFor(finder, column);
  Oid left;
  Oid right;
  op_input_types(distance.id, &left, &right);
  const char* query =
      right == finder.request->vector_type ? "$1" : psprintf("$1::%s", format_type_be_qualified(right));
  finder.target->distance =
      psprintf("%s %s %s", QualifiedColumn(finder, column.name), OperatorText(distance.id), query);
  finder.target->metric = distance.metric;
  finder.target->dimensions = column.typmod;
  finder.target->vector_name = column.name;
}

// --- the text -------------------------------------------------------------------------------------------------

/// The first constant of type regconfig: what to_tsvector() is given.
bool FindConfig(Node* node, void* state) {
  if (node == nullptr) return false;
  if (IsA(node, Const)) {
    const auto* constant = reinterpret_cast<const Const*>(node);
    if (constant->consttype == REGCONFIGOID && !constant->constisnull) {
      *static_cast<Oid*>(state) = DatumGetObjectId(constant->constvalue);
      return true;
    }
  }
  return pg::WalkExpression(node, FindConfig, state);
}

Oid ConfigIn(Node* expression) {
  Oid config = InvalidOid;
  (void)FindConfig(expression, &config);
  return config;
}

bool SearchesText(Relation index, int key) {
  const Oid member = get_opfamily_member(index->rd_opfamily[key], TSVECTOROID, TSQUERYOID, 1);
  return index->rd_opcintype[key] == TSVECTOROID && OidIsValid(member) && get_opcode(member) == F_TS_MATCH_VQ;
}

/// A GIN index on all rows, for text search, whose only key is `column` or an expression of it.
struct TextIndex {
  Oid id = InvalidOid;
  Node* expression = nullptr;  ///< nullptr: the column itself
  Oid config = InvalidOid;     ///< of the expression
};

/// True if there are several columns in the expression; *state is an AttrNumber, which becomes the first.
bool UsesSeveral(Node* node, void* state) {
  if (node == nullptr) return false;
  auto* first = static_cast<AttrNumber*>(state);
  if (IsA(node, Var)) {
    if (*first == InvalidAttrNumber) *first = reinterpret_cast<const Var*>(node)->varattno;
    return reinterpret_cast<const Var*>(node)->varattno != *first;
  }
  return pg::WalkExpression(node, UsesSeveral, state);
}

/// The column that an index's only key is about; InvalidAttrNumber if there are more, or if it is no such index.
AttrNumber TextKeyColumn(Relation index, TextIndex* found) {
  if (index->rd_index->indnatts != 1 || !SearchesText(index, 0) || RelationGetIndexPredicate(index) != NIL)
    return InvalidAttrNumber;
  found->id = RelationGetRelid(index);
  if (index->rd_index->indkey.values[0] != 0) return index->rd_index->indkey.values[0];
  found->expression = static_cast<Node*>(linitial(RelationGetIndexExpressions(index)));
  found->config = ConfigIn(found->expression);
  AttrNumber number = InvalidAttrNumber;
  return UsesSeveral(found->expression, &number) ? InvalidAttrNumber : number;
}

TextIndex TextIndexOf(const Finder& finder, const Column& column) {
  TextIndex found;
  const Oid wanted = finder.request->text_config;
  VisitIndexes(column.base, [&](Relation index) {
    TextIndex one;
    if (TextKeyColumn(index, &one) != column.base_number) return false;
    if (one.expression != nullptr && OidIsValid(wanted) && OidIsValid(one.config) && one.config != wanted)
      return false;
    found = one;
    return true;
  });
  return found;
}

/// Of a tsvector that is generated from text.
Oid GeneratingConfig(const Column& column) {
  const Relation table = table_open(column.base, AccessShareLock);
  Oid config = InvalidOid;
  const TupleDesc descriptor = RelationGetDescr(table);
  if (table->rd_rel->relkind != RELKIND_VIEW &&
      TupleDescAttr(descriptor, column.base_number - 1)->attgenerated != '\0')
    config = ConfigIn(build_column_default(table, column.base_number));
  table_close(table, AccessShareLock);
  return config;
}

bool IsText(Oid type) {
  return type == TEXTOID || type == VARCHAROID || type == BPCHAROID;
}

Column TextColumn(const Finder& finder) {
  const char* name = finder.request->text_column;
  if (name != nullptr) {
    const Column column = ColumnNamed(finder, "text_column", name);
    if (column.type != TSVECTOROID && !IsText(column.type))
      ereport(ERROR,
              (errcode(ERRCODE_DATATYPE_MISMATCH),
               errmsg("argument \"text_column\": column \"%s\" is of type %s, neither tsvector nor text",
                      column.name, format_type_be(column.type))));
    return column;
  }
  const auto is_indexed = [&](const Column& column) { return OidIsValid(TextIndexOf(finder, column).id); };
  List* found = ColumnsThat(finder, [](const Column& column) { return column.type == TSVECTOROID; });
  if (list_length(found) > 1)
    found = ColumnsThat(
        finder, [&](const Column& column) { return column.type == TSVECTOROID && is_indexed(column); });
  if (found == NIL)
    found =
        ColumnsThat(finder, [&](const Column& column) { return IsText(column.type) && is_indexed(column); });
  if (list_length(found) != 1)
    ReportNotOne(finder, "text_column", "tsvector column or text column with a GIN index", found);
  return *static_cast<const Column*>(linitial(found));
}

/// The index's expression with the relation's column in place of the table's.
Node* RenumberColumns(Node* node, void* number) {
  if (node == nullptr) return nullptr;
  if (IsA(node, Var)) {
    auto* var = static_cast<Var*>(copyObjectImpl(node));
    var->varattno = *static_cast<const AttrNumber*>(number);
    return reinterpret_cast<Node*>(var);
  }
  return pg::MutateExpression(node, RenumberColumns, number);
}

char* ExpressionText(const Finder& finder, const Column& column, Node* expression) {
  AttrNumber number = column.number;
  Node* renumbered = RenumberColumns(expression, &number);
  List* context =
      deparse_context_for(RelationGetRelationName(finder.relation), RelationGetRelid(finder.relation));
  return deparse_expression(renumbered, context, true, false);
}

Oid ConfigOr(Oid one, Oid other) {
  return OidIsValid(one) ? one : other;
}

void FindText(const Finder& finder) {
  const Column column = TextColumn(finder);
  const TextIndex index = TextIndexOf(finder, column);
  const Oid asked = finder.request->text_config;
  Target* target = finder.target;
  target->text_name = column.name;
  target->text_index = index.id;
  if (column.type == TSVECTOROID) {
    target->document = QualifiedColumn(finder, column.name);
    target->text_config = ConfigOr(asked, GeneratingConfig(column));
  } else if (index.expression != nullptr) {
    target->document = ExpressionText(finder, column, index.expression);
    target->text_config = ConfigOr(asked, index.config);
  } else {
    target->text_config = ConfigOr(asked, getTSCurrentConfig(true));
    target->document = psprintf("pg_catalog.to_tsvector(%u::pg_catalog.regconfig, %s)", target->text_config,
                                QualifiedColumn(finder, column.name));
  }
}

// --- the key --------------------------------------------------------------------------------------------------

/// The only column of the primary key of a table; InvalidAttrNumber without one.
AttrNumber PrimaryKeyOf(Oid table) {
  AttrNumber number = InvalidAttrNumber;
  VisitIndexes(table, [&](Relation index) {
    if (!index->rd_index->indisprimary) return false;
    if (index->rd_index->indnkeyatts == 1) number = index->rd_index->indkey.values[0];
    return true;
  });
  return number;
}

Column KeyColumn(const Finder& finder) {
  if (finder.request->key_column != nullptr)
    return ColumnNamed(finder, "key_column", finder.request->key_column);
  List* found = ColumnsThat(
      finder, [](const Column& column) { return PrimaryKeyOf(column.base) == column.base_number; });
  if (list_length(found) != 1) ReportNotOne(finder, "key_column", "primary key of one column", found);
  return *static_cast<const Column*>(linitial(found));
}

void FindKey(const Finder& finder) {
  const Column column = KeyColumn(finder);
  Oid type = column.type;
  Oid wanted = finder.request->key_type == kOwnKeyType ? type : finder.request->key_type;
  if (!can_coerce_type(1, &type, &wanted, COERCION_IMPLICIT))
    ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
                    errmsg("column \"%s\" is of type %s, but keys are returned as %s", column.name,
                           format_type_be(type), format_type_be(wanted)),
                    errhint("Call tandem_hybrid_search_as(NULL::%s, …) instead.", format_type_be(type))));
  finder.target->key_name = column.name;
  finder.target->key = QualifiedColumn(finder, column.name);
  if (type != wanted)
    finder.target->key = psprintf("%s::%s", finder.target->key, format_type_be_qualified(wanted));
}

void CheckKind(Relation relation) {
  switch (relation->rd_rel->relkind) {
    case RELKIND_RELATION:
    case RELKIND_PARTITIONED_TABLE:
    case RELKIND_MATVIEW:
    case RELKIND_VIEW:
    case RELKIND_FOREIGN_TABLE:
      return;
    default:
      ereport(ERROR,
              (errcode(ERRCODE_WRONG_OBJECT_TYPE),
               errmsg("argument \"rel\": \"%s\" is not a table or view", RelationGetRelationName(relation))));
  }
}

/// Deparsed expressions name what is not in the search path with its schema; the path of later calls may be another.
int BeginWithoutSearchPath() {
  const int level = NewGUCNestLevel();
  (void)set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
                          true, 0, false);
  return level;
}

}  // namespace

Target FindTarget(const Request& request) {
  Target target = {};
  target.relation = request.relation;
  target.text_config = request.text_config;
  const Relation relation = try_relation_open(request.relation, AccessShareLock);
  if (relation == nullptr)
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
                    errmsg("argument \"rel\": there is no relation with OID %u", request.relation)));
  CheckKind(relation);
  const char* name = RelationGetRelationName(relation);
  target.from = psprintf("%s AS %s",
                         quote_qualified_identifier(get_namespace_name(RelationGetNamespace(relation)), name),
                         quote_identifier(name));
  target.relations = list_make1_oid(request.relation);
  const Finder finder = {&request, relation, &target};
  const int level = BeginWithoutSearchPath();
  if (OidIsValid(request.key_type)) FindKey(finder);
  if (request.has_vector) FindVector(finder);
  if (request.query_text != nullptr) FindText(finder);
  AtEOXact_GUC(true, level);
  relation_close(relation, AccessShareLock);
  return target;
}

}  // namespace tandem::hybrid
