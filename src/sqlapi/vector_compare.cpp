// The total order of vectors behind < <= = <> >= > and the btree operator class.

#include "pg/pg.hpp"

#include "sqlapi/vector_args.hpp"

namespace tandem::sqlapi {
namespace {

/// -1, 0 or 1. Element by element, then the shorter first, as for SQL arrays; -0 equals 0. Elements are finite, so
/// the order is total.
int Compare(const VectorDatum* a, const VectorDatum* b) {
  const int common = Min(a->dimensions, b->dimensions);
  for (int i = 0; i < common; ++i) {
    if (a->values[i] < b->values[i]) return -1;
    if (a->values[i] > b->values[i]) return 1;
  }
  return (a->dimensions > b->dimensions) - (a->dimensions < b->dimensions);
}

/// Compares the two arguments and frees what detoasting them allocated: an index build calls this millions of times
/// in one memory context.
int CompareArguments(FunctionCallInfo fcinfo) {
  const VectorDatum* a = VectorArgument(fcinfo, 0);
  const VectorDatum* b = VectorArgument(fcinfo, 1);
  const int order = Compare(a, b);
  FreeIfCopy(fcinfo, a, 0);
  FreeIfCopy(fcinfo, b, 1);
  return order;
}

}  // namespace

TANDEM_SQL_FUNCTION(tandem_vector_lt) {
  PG_RETURN_BOOL(CompareArguments(fcinfo) < 0);
}

TANDEM_SQL_FUNCTION(tandem_vector_le) {
  PG_RETURN_BOOL(CompareArguments(fcinfo) <= 0);
}

TANDEM_SQL_FUNCTION(tandem_vector_eq) {
  PG_RETURN_BOOL(CompareArguments(fcinfo) == 0);
}

TANDEM_SQL_FUNCTION(tandem_vector_ne) {
  PG_RETURN_BOOL(CompareArguments(fcinfo) != 0);
}

TANDEM_SQL_FUNCTION(tandem_vector_ge) {
  PG_RETURN_BOOL(CompareArguments(fcinfo) >= 0);
}

TANDEM_SQL_FUNCTION(tandem_vector_gt) {
  PG_RETURN_BOOL(CompareArguments(fcinfo) > 0);
}

TANDEM_SQL_FUNCTION(tandem_vector_cmp) {
  PG_RETURN_INT32(CompareArguments(fcinfo));
}

}  // namespace tandem::sqlapi
