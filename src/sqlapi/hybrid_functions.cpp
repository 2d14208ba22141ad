// Hybrid search as SQL calls it: tandem_hybrid_search() and its kin, tandem_hybrid_explain(), tandem_text_statistics().

#include "pg/compat.hpp"

#include "hybrid/search.hpp"

#include "sqlapi/vector_args.hpp"

extern "C" {
#include "catalog/pg_type_d.h"
}

namespace tandem::sqlapi {

static Datum ReturnSearch(FunctionCallInfo fcinfo, int first, Oid key_type) {
  const hybrid::Request request = hybrid::ReadRequest(fcinfo, first, key_type);
  pg::InitMaterializedResult(fcinfo);
  hybrid::Search(request, reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo));
  return static_cast<Datum>(0);
}

}  // namespace tandem::sqlapi

using namespace tandem;

/// Arguments: hybrid/request.cpp.
TANDEM_SQL_FUNCTION(tandem_hybrid_search) {
  return sqlapi::ReturnSearch(fcinfo, 0, INT8OID);
}

/// The same after one of the type that keys shall have.
TANDEM_SQL_FUNCTION(tandem_hybrid_search_as) {
  const Oid key_type = get_fn_expr_argtype(fcinfo->flinfo, 0);
  if (!OidIsValid(key_type)) elog(ERROR, "could not determine the type of argument \"key_type\"");
  return sqlapi::ReturnSearch(fcinfo, 1, key_type);
}

/// Those of tandem_hybrid_search(), then `analyze` and `costs`.
TANDEM_SQL_FUNCTION(tandem_hybrid_explain) {
  const hybrid::Request request = hybrid::ReadRequest(fcinfo, 0, hybrid::kOwnKeyType);
  const int first = PG_NARGS() - 2;
  const hybrid::ExplainOptions options = {!PG_ARGISNULL(first) && PG_GETARG_BOOL(first),
                                          !PG_ARGISNULL(first + 1) && PG_GETARG_BOOL(first + 1)};
  pg::InitMaterializedResult(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
  hybrid::Explain(request, options, reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo));
  return static_cast<Datum>(0);
}

/// (rel, query_text, text_column, text_config, text_syntax): one row.
TANDEM_SQL_FUNCTION(tandem_text_statistics) {
  const hybrid::Request request = hybrid::ReadTextRequest(fcinfo);
  pg::InitMaterializedResult(fcinfo);
  hybrid::ReadStatistics(request, reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo));
  return static_cast<Datum>(0);
}
