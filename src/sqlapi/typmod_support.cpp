// Planner support for the casts of a type to itself, (value, type modifier, explicit), and between types of the same form: calls that
// would only check what is known already become a change of name. That is what tells ALTER TABLE … TYPE that no row has to be
// rewritten and no index to be built anew.

#include "pg/pg.hpp"

#include "sqlapi/vector_args.hpp"

extern "C" {
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "nodes/supportnodes.h"
#include "utils/syscache.h"
}

namespace tandem::sqlapi {
namespace {

NameData NameOfType(Oid type) {
  NameData name = {};
  const HeapTuple tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
  if (!HeapTupleIsValid(tuple)) return name;
  name = reinterpret_cast<const FormData_pg_type*>(GETSTRUCT(tuple))->typname;
  ReleaseSysCache(tuple);
  return name;
}

/// The number of dimensions that every value of the expression has; -1 if it is not known. Looks through changes of name between
/// types whose names and modifiers mean the same: "vector" of two extensions.
int32 KnownTypmod(const Node* expression) {
  const NameData name = NameOfType(exprType(expression));
  while (exprTypmod(expression) < 0 && IsA(expression, RelabelType)) {
    expression = reinterpret_cast<const Node*>(reinterpret_cast<const RelabelType*>(expression)->arg);
    const NameData inner = NameOfType(exprType(expression));
    if (std::strcmp(NameStr(inner), NameStr(name)) != 0) return -1;
  }
  return exprTypmod(expression);
}

/// The call without the function; nullptr if it has something to check.
Node* WithoutCheck(const FuncExpr* call) {
  if (list_length(call->args) < 2) return nullptr;
  auto* value = static_cast<Node*>(linitial(call->args));
  const auto* typmod = static_cast<const Node*>(lsecond(call->args));
  if (!IsA(typmod, Const) || reinterpret_cast<const Const*>(typmod)->constisnull) return nullptr;
  const int32 wanted = DatumGetInt32(reinterpret_cast<const Const*>(typmod)->constvalue);
  if (wanted >= 0 && wanted != KnownTypmod(value)) return nullptr;
  return applyRelabelType(value, call->funcresulttype, wanted, InvalidOid, call->funcformat, call->location,
                          false);
}

}  // namespace

TANDEM_SQL_FUNCTION(tandem_typmod_support) {
  auto* request = reinterpret_cast<Node*>(PG_GETARG_POINTER(0));
  if (!IsA(request, SupportRequestSimplify)) PG_RETURN_POINTER(nullptr);
  PG_RETURN_POINTER(WithoutCheck(reinterpret_cast<SupportRequestSimplify*>(request)->fcall));
}

}  // namespace tandem::sqlapi
