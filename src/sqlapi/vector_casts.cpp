// Casts between type vector and SQL arrays.

#include "pg/pg.hpp"

#include "sqlapi/vector_args.hpp"

extern "C" {
#include "catalog/pg_type.h"
#include "utils/array.h"
}

namespace tandem::sqlapi {
namespace {

// Arrays of these element types lie end to end, aligned, in ARR_DATA_PTR when no element is NULL.
template <typename Element>
void CopyElements(ArrayType* array, base::Span<float> elements) {
  const auto* source = reinterpret_cast<const Element*>(ARR_DATA_PTR(array));
  for (std::size_t i = 0; i < elements.size(); ++i) elements[i] = static_cast<float>(source[i]);
}

void CopyNumerics(ArrayType* array, base::Span<float> elements) {
  Datum* numerics = nullptr;
  int count = 0;
  deconstruct_array(array, NUMERICOID, -1, false, TYPALIGN_INT, &numerics, nullptr, &count);
  for (std::size_t i = 0; i < elements.size(); ++i) {
    elements[i] = DatumGetFloat4(DirectFunctionCall1(numeric_float4, numerics[i]));
  }
  pfree(numerics);
}

}  // namespace

/// array_to_vector(array, typmod, explicit) for integer[], real[], double precision[] and numeric[].
TANDEM_SQL_FUNCTION(tandem_array_to_vector) {
  ArrayType* array = PG_GETARG_ARRAYTYPE_P(0);
  const int32 typmod = PG_GETARG_INT32(1);
  if (ARR_NDIM(array) > 1) {
    ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION), errmsg("array must be 1-D")));
  }
  if (array_contains_nulls(array)) {
    ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("array must not contain nulls")));
  }
  const int count = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
  CheckDimensions(count);
  CheckExpectedDimensions(typmod, count);
  VectorDatum* vector = pg::NewVector(count);
  switch (ARR_ELEMTYPE(array)) {
    case INT4OID:
      CopyElements<int32>(array, Elements(vector));
      break;
    case FLOAT4OID:
      CopyElements<float4>(array, Elements(vector));
      break;
    case FLOAT8OID:
      CopyElements<float8>(array, Elements(vector));
      break;
    case NUMERICOID:
      CopyNumerics(array, Elements(vector));
      break;
    default:
      ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION), errmsg("unsupported array type")));
  }
  CheckFinite(Elements(static_cast<const VectorDatum*>(vector)));
  PG_RETURN_POINTER(vector);
}

/// vector_to_float4(vector, typmod, explicit): a one-dimensional real[] counted from 1.
TANDEM_SQL_FUNCTION(tandem_vector_to_float4) {
  const VectorDatum* vector = VectorArgument(fcinfo, 0);
  const std::size_t data_bytes = sizeof(float4) * static_cast<std::size_t>(vector->dimensions);
  const std::size_t bytes = ARR_OVERHEAD_NONULLS(1) + data_bytes;
  auto* array = static_cast<ArrayType*>(palloc0(bytes));
  SET_VARSIZE(array, bytes);
  array->ndim = 1;
  array->dataoffset = 0;  // no NULL bitmap
  array->elemtype = FLOAT4OID;
  ARR_DIMS(array)[0] = vector->dimensions;
  ARR_LBOUND(array)[0] = 1;
  std::memcpy(ARR_DATA_PTR(array), vector->values, data_bytes);
  PG_RETURN_ARRAYTYPE_P(array);
}

}  // namespace tandem::sqlapi
