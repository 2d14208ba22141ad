// The total orders of vectors, dense and sparse, behind < <= = <> >= > and the btree operator classes.

#include "pg/pg.hpp"

#include "sqlapi/vector_args.hpp"

namespace tandem::sqlapi {
namespace {

int Sign(int a, int b) {
  return (a > b) - (a < b);
}

/// -1, 0 or 1. Element by element, then the shorter first, as for SQL arrays; -0 equals 0. Elements are finite, so
/// the order is total.
template <typename Element>
int Compare(const DenseDatum<Element>* a, const DenseDatum<Element>* b) {
  const int common = Min(a->dimensions, b->dimensions);
  for (int i = 0; i < common; ++i) {
    const float x = AsFloat(a->values[i]);
    const float y = AsFloat(b->values[i]);
    if (x < y) return -1;
    if (x > y) return 1;
  }
  return Sign(a->dimensions, b->dimensions);
}

/// The order that the vectors would have with their zeros.
int Compare(const SparsevecDatum* a, const SparsevecDatum* b) {
  const float* const a_values = pg::SparseValues(a);
  const float* const b_values = pg::SparseValues(b);
  int i = 0;
  while (i < a->count && i < b->count && a->indices[i] == b->indices[i]) {
    if (a_values[i] < b_values[i]) return -1;
    if (a_values[i] > b_values[i]) return 1;
    ++i;
  }
  // Where they part, the first element that is left stands against a zero, unless it lies past the other's end.
  const int common = Min(a->dimensions, b->dimensions);
  const int a_index = i < a->count ? Min(a->indices[i], common) : common;
  const int b_index = i < b->count ? Min(b->indices[i], common) : common;
  if (a_index < b_index) return a_values[i] < 0.0F ? -1 : 1;
  if (a_index > b_index) return b_values[i] < 0.0F ? 1 : -1;
  return Sign(a->dimensions, b->dimensions);
}

/// Compares the two arguments and frees what detoasting them allocated: an index build calls this millions of times
/// in one memory context. Value: a detoasted datum.
template <typename Value>
int CompareArguments(FunctionCallInfo fcinfo) {
  const auto* a = reinterpret_cast<const Value*>(PG_DETOAST_DATUM(PG_GETARG_DATUM(0)));
  const auto* b = reinterpret_cast<const Value*>(PG_DETOAST_DATUM(PG_GETARG_DATUM(1)));
  const int order = Compare(a, b);
  FreeIfCopy(fcinfo, a, 0);
  FreeIfCopy(fcinfo, b, 1);
  return order;
}

}  // namespace

TANDEM_SQL_FUNCTION(tandem_vector_lt) {
  PG_RETURN_BOOL(CompareArguments<VectorDatum>(fcinfo) < 0);
}

TANDEM_SQL_FUNCTION(tandem_vector_le) {
  PG_RETURN_BOOL(CompareArguments<VectorDatum>(fcinfo) <= 0);
}

TANDEM_SQL_FUNCTION(tandem_vector_eq) {
  PG_RETURN_BOOL(CompareArguments<VectorDatum>(fcinfo) == 0);
}

TANDEM_SQL_FUNCTION(tandem_vector_ne) {
  PG_RETURN_BOOL(CompareArguments<VectorDatum>(fcinfo) != 0);
}

TANDEM_SQL_FUNCTION(tandem_vector_ge) {
  PG_RETURN_BOOL(CompareArguments<VectorDatum>(fcinfo) >= 0);
}

TANDEM_SQL_FUNCTION(tandem_vector_gt) {
  PG_RETURN_BOOL(CompareArguments<VectorDatum>(fcinfo) > 0);
}

TANDEM_SQL_FUNCTION(tandem_vector_cmp) {
  PG_RETURN_INT32(CompareArguments<VectorDatum>(fcinfo));
}

TANDEM_SQL_FUNCTION(tandem_halfvec_lt) {
  PG_RETURN_BOOL(CompareArguments<HalfvecDatum>(fcinfo) < 0);
}

TANDEM_SQL_FUNCTION(tandem_halfvec_le) {
  PG_RETURN_BOOL(CompareArguments<HalfvecDatum>(fcinfo) <= 0);
}

TANDEM_SQL_FUNCTION(tandem_halfvec_eq) {
  PG_RETURN_BOOL(CompareArguments<HalfvecDatum>(fcinfo) == 0);
}

TANDEM_SQL_FUNCTION(tandem_halfvec_ne) {
  PG_RETURN_BOOL(CompareArguments<HalfvecDatum>(fcinfo) != 0);
}

TANDEM_SQL_FUNCTION(tandem_halfvec_ge) {
  PG_RETURN_BOOL(CompareArguments<HalfvecDatum>(fcinfo) >= 0);
}

TANDEM_SQL_FUNCTION(tandem_halfvec_gt) {
  PG_RETURN_BOOL(CompareArguments<HalfvecDatum>(fcinfo) > 0);
}

TANDEM_SQL_FUNCTION(tandem_halfvec_cmp) {
  PG_RETURN_INT32(CompareArguments<HalfvecDatum>(fcinfo));
}

TANDEM_SQL_FUNCTION(tandem_sparsevec_lt) {
  PG_RETURN_BOOL(CompareArguments<SparsevecDatum>(fcinfo) < 0);
}

TANDEM_SQL_FUNCTION(tandem_sparsevec_le) {
  PG_RETURN_BOOL(CompareArguments<SparsevecDatum>(fcinfo) <= 0);
}

TANDEM_SQL_FUNCTION(tandem_sparsevec_eq) {
  PG_RETURN_BOOL(CompareArguments<SparsevecDatum>(fcinfo) == 0);
}

TANDEM_SQL_FUNCTION(tandem_sparsevec_ne) {
  PG_RETURN_BOOL(CompareArguments<SparsevecDatum>(fcinfo) != 0);
}

TANDEM_SQL_FUNCTION(tandem_sparsevec_ge) {
  PG_RETURN_BOOL(CompareArguments<SparsevecDatum>(fcinfo) >= 0);
}

TANDEM_SQL_FUNCTION(tandem_sparsevec_gt) {
  PG_RETURN_BOOL(CompareArguments<SparsevecDatum>(fcinfo) > 0);
}

TANDEM_SQL_FUNCTION(tandem_sparsevec_cmp) {
  PG_RETURN_INT32(CompareArguments<SparsevecDatum>(fcinfo));
}

}  // namespace tandem::sqlapi
