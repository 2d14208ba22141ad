// avg of dense vectors. The state is float8[] {count, sum of element 1, sum of element 2, ...}, "{0}" before the first row.

#include "pg/pg.hpp"

#include "sqlapi/vector_args.hpp"

extern "C" {
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/float.h"
}

namespace tandem::sqlapi {
namespace {

struct State {
  ArrayType* array;
  float8* values;  ///< [0] is the count, the sums follow
  int dimensions;  ///< 0 before the first row
};

/// Anyone can call the support functions with an array of their own, so the shape is checked each time.
State CheckState(ArrayType* array, const char* caller) {
  if (ARR_NDIM(array) != 1 || ARR_DIMS(array)[0] < 1 || ARR_HASNULL(array) ||
      ARR_ELEMTYPE(array) != FLOAT8OID) {
    elog(ERROR, "%s: expected state array", caller);
  }
  return {array, reinterpret_cast<float8*>(ARR_DATA_PTR(array)), ARR_DIMS(array)[0] - 1};
}

State NewState(int dimensions) {
  const std::size_t bytes =
      ARR_OVERHEAD_NONULLS(1) + sizeof(float8) * (static_cast<std::size_t>(dimensions) + 1);
  auto* array = static_cast<ArrayType*>(palloc0(bytes));
  SET_VARSIZE(array, bytes);
  array->ndim = 1;
  array->dataoffset = 0;  // no NULL bitmap
  array->elemtype = FLOAT8OID;
  ARR_DIMS(array)[0] = dimensions + 1;
  ARR_LBOUND(array)[0] = 1;
  return {array, reinterpret_cast<float8*>(ARR_DATA_PTR(array)), dimensions};
}

/// A state that may be written: inside an aggregate the executor owns the old one and lets us change it, which saves
/// an allocation and a copy per row; called as a plain function the argument is not ours.
State WritableState(FunctionCallInfo fcinfo, const State& state) {
  if (AggCheckCallContext(fcinfo, nullptr) != 0) return state;
  const State copy = NewState(state.dimensions);
  std::memcpy(copy.values, state.values, sizeof(float8) * (static_cast<std::size_t>(state.dimensions) + 1));
  return copy;
}

double AsDouble(double number) {
  return number;
}
double AsDouble(float element) {
  return element;
}
double AsDouble(Half element) {
  return AsFloat(element);
}

/// Adds `addends` to the sums of `state`; error on overflow, after which the state is abandoned.
template <typename Number>
void AddToSums(const State& state, const Number* addends) {
  bool overflow = false;
  for (int i = 0; i < state.dimensions; ++i) {
    const double sum = state.values[i + 1] + AsDouble(addends[i]);
    overflow |= std::isinf(sum);
    state.values[i + 1] = sum;
  }
  if (overflow) float_overflow_error();
}

template <typename Element>
Datum Accumulate(FunctionCallInfo fcinfo, const char* caller) {
  const State old_state = CheckState(PG_GETARG_ARRAYTYPE_P(0), caller);
  const DenseDatum<Element>* vector = VectorArgument<Element>(fcinfo, 1);
  const bool first = old_state.dimensions == 0;
  if (!first) CheckExpectedDimensions(old_state.dimensions, vector->dimensions);
  const State state = first ? NewState(vector->dimensions) : WritableState(fcinfo, old_state);
  state.values[0] = old_state.values[0] + 1.0;
  if (first) {
    // Not added to zeros: that would lose -0.
    for (int i = 0; i < vector->dimensions; ++i) state.values[i + 1] = AsDouble(vector->values[i]);
  } else {
    AddToSums(state, vector->values);
  }
  PG_RETURN_ARRAYTYPE_P(state.array);
}

template <typename Element>
Datum Average(FunctionCallInfo fcinfo, const char* caller) {
  const State state = CheckState(PG_GETARG_ARRAYTYPE_P(0), caller);
  const double count = state.values[0];
  if (count == 0.0) PG_RETURN_NULL();  // SQL: the average of no rows
  CheckDimensions<Element>(state.dimensions);
  float averages[pg::kMaxVectorDimensions];
  for (int i = 0; i < state.dimensions; ++i) {
    averages[i] = static_cast<float>(state.values[i + 1] / count);
  }
  PG_RETURN_POINTER(NewVectorOf<Element>({averages, static_cast<std::size_t>(state.dimensions)}));
}

}  // namespace

TANDEM_SQL_FUNCTION(tandem_vector_accum) {
  return Accumulate<float>(fcinfo, "vector_accum");
}

TANDEM_SQL_FUNCTION(tandem_halfvec_accum) {
  return Accumulate<Half>(fcinfo, "halfvec_accum");
}

/// States do not depend on the type, so halfvec_combine() is this function, too.
TANDEM_SQL_FUNCTION(tandem_vector_combine) {
  const State a = CheckState(PG_GETARG_ARRAYTYPE_P(0), "vector_combine");
  const State b = CheckState(PG_GETARG_ARRAYTYPE_P(1), "vector_combine");
  const State& longer = a.dimensions != 0 ? a : b;
  if (longer.dimensions != 0) CheckDimensions<float>(longer.dimensions);
  if (a.dimensions != 0 && b.dimensions != 0) CheckExpectedDimensions(a.dimensions, b.dimensions);
  const State result = NewState(longer.dimensions);
  result.values[0] = a.values[0] + b.values[0];
  std::memcpy(result.values + 1, longer.values + 1,
              sizeof(float8) * static_cast<std::size_t>(longer.dimensions));
  if (a.dimensions != 0 && b.dimensions != 0) AddToSums(result, b.values + 1);
  PG_RETURN_ARRAYTYPE_P(result.array);
}

TANDEM_SQL_FUNCTION(tandem_vector_avg) {
  return Average<float>(fcinfo, "vector_avg");
}

TANDEM_SQL_FUNCTION(tandem_halfvec_avg) {
  return Average<Half>(fcinfo, "halfvec_avg");
}

}  // namespace tandem::sqlapi
