// Casts between vectors of different types, and between them and SQL arrays.

#include "pg/pg.hpp"

#include "sqlapi/sparsevec_args.hpp"
#include "sqlapi/vector_args.hpp"

extern "C" {
#include "catalog/pg_type.h"
#include "utils/array.h"
}

namespace tandem::sqlapi {
namespace {

// Arrays of these element types lie end to end, aligned, in ARR_DATA_PTR when no element is NULL.
template <typename Number>
void CopyNumbers(ArrayType* array, base::Span<float> numbers) {
  const auto* source = reinterpret_cast<const Number*>(ARR_DATA_PTR(array));
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<float>(source[i]);
}

void CopyNumerics(ArrayType* array, base::Span<float> numbers) {
  Datum* numerics = nullptr;
  int count = 0;
  deconstruct_array(array, NUMERICOID, -1, false, TYPALIGN_INT, &numerics, nullptr, &count);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    numbers[i] = DatumGetFloat4(DirectFunctionCall1(numeric_float4, numerics[i]));
  }
  pfree(numerics);
}

/// The number of elements of an array that can become a vector.
int ArrayElements(ArrayType* array) {
  if (ARR_NDIM(array) > 1) {
    ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION), errmsg("array must be 1-D")));
  }
  if (array_contains_nulls(array)) {
    ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("array must not contain nulls")));
  }
  return ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
}

/// Elements of integer[], real[], double precision[] or numeric[] in single precision, allocated.
base::Span<const float> ArrayNumbers(ArrayType* array, int count) {
  const base::Span<float> numbers(
      static_cast<float*>(palloc(sizeof(float) * static_cast<std::size_t>(count))),
      static_cast<std::size_t>(count));
  switch (ARR_ELEMTYPE(array)) {
    case INT4OID:
      CopyNumbers<int32>(array, numbers);
      break;
    case FLOAT4OID:
      CopyNumbers<float4>(array, numbers);
      break;
    case FLOAT8OID:
      CopyNumbers<float8>(array, numbers);
      break;
    case NUMERICOID:
      CopyNumerics(array, numbers);
      break;
    default:
      ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION), errmsg("unsupported array type")));
  }
  return {numbers.data(), numbers.size()};
}

/// array_to_vector(array, typmod, explicit) and its like.
template <typename Element>
Datum ArrayToVector(FunctionCallInfo fcinfo) {
  ArrayType* array = PG_GETARG_ARRAYTYPE_P(0);
  const int count = ArrayElements(array);
  CheckDimensions<Element>(count);
  CheckExpectedDimensions(PG_GETARG_INT32(1), count);
  const base::Span<const float> numbers = ArrayNumbers(array, count);
  DenseDatum<Element>* vector = NewVectorOf<Element>(numbers);
  pfree(const_cast<float*>(numbers.data()));
  PG_RETURN_POINTER(vector);
}

void CopyFloats(const VectorDatum* vector, float* to) {
  std::memcpy(to, vector->values, sizeof(float) * static_cast<std::size_t>(vector->dimensions));
}

void CopyFloats(const HalfvecDatum* vector, float* to) {
  vec::Kernels().to_floats(vector->values, static_cast<std::size_t>(vector->dimensions), to);
}

/// vector_to_float4(vector, typmod, explicit) and its like: a one-dimensional real[] counted from 1.
template <typename Element>
Datum ToArray(FunctionCallInfo fcinfo) {
  const DenseDatum<Element>* vector = VectorArgument<Element>(fcinfo, 0);
  const std::size_t bytes =
      ARR_OVERHEAD_NONULLS(1) + sizeof(float4) * static_cast<std::size_t>(vector->dimensions);
  auto* array = static_cast<ArrayType*>(palloc0(bytes));
  SET_VARSIZE(array, bytes);
  array->ndim = 1;
  array->dataoffset = 0;  // no NULL bitmap
  array->elemtype = FLOAT4OID;
  ARR_DIMS(array)[0] = vector->dimensions;
  ARR_LBOUND(array)[0] = 1;
  CopyFloats(vector, reinterpret_cast<float*>(ARR_DATA_PTR(array)));
  PG_RETURN_ARRAYTYPE_P(array);
}

/// A sparse vector of those numbers that are not zero. Error if one is NaN or infinite, or if they are too many.
SparsevecDatum* SparseOf(base::Span<const float> numbers) {
  int count = 0;
  for (const float number : numbers) count += number != 0.0F ? 1 : 0;
  const int dimensions = static_cast<int>(numbers.size());
  CheckSparseCount(count, dimensions);
  const vec::ElementFault fault = vec::FindNonFinite(numbers);
  if (fault != vec::ElementFault::kNone) ReportElementFault(kSparsevec, fault);
  SparsevecDatum* vector = pg::NewSparsevec(dimensions, count);
  float* const values = pg::SparseValues(vector);
  int at = 0;
  for (int i = 0; i < dimensions; ++i) {
    if (numbers[static_cast<std::size_t>(i)] == 0.0F) continue;
    vector->indices[at] = i;
    values[at++] = numbers[static_cast<std::size_t>(i)];
  }
  return vector;
}

template <typename Element>
Datum DenseToSparse(FunctionCallInfo fcinfo) {
  const DenseDatum<Element>* vector = VectorArgument<Element>(fcinfo, 0);
  CheckExpectedDimensions(PG_GETARG_INT32(1), vector->dimensions);
  float numbers[pg::kMaxVectorDimensions];
  CopyFloats(vector, numbers);
  PG_RETURN_POINTER(SparseOf({numbers, static_cast<std::size_t>(vector->dimensions)}));
}

template <typename Element>
Datum SparseToDense(FunctionCallInfo fcinfo) {
  const SparsevecDatum* sparse = SparseArgument(fcinfo, 0);
  CheckDimensions<Element>(sparse->dimensions);
  CheckExpectedDimensions(PG_GETARG_INT32(1), sparse->dimensions);
  float numbers[pg::kMaxVectorDimensions] = {};
  const float* const values = pg::SparseValues(sparse);
  for (int i = 0; i < sparse->count; ++i) {
    CheckSparseIndex(sparse, i);
    numbers[sparse->indices[i]] = values[i];
  }
  PG_RETURN_POINTER(NewVectorOf<Element>({numbers, static_cast<std::size_t>(sparse->dimensions)}));
}

}  // namespace

TANDEM_SQL_FUNCTION(tandem_array_to_vector) {
  return ArrayToVector<float>(fcinfo);
}

TANDEM_SQL_FUNCTION(tandem_array_to_halfvec) {
  return ArrayToVector<Half>(fcinfo);
}

TANDEM_SQL_FUNCTION(tandem_array_to_sparsevec) {
  ArrayType* array = PG_GETARG_ARRAYTYPE_P(0);
  const int count = ArrayElements(array);
  CheckSparseDimensions(count);
  CheckExpectedDimensions(PG_GETARG_INT32(1), count);
  PG_RETURN_POINTER(SparseOf(ArrayNumbers(array, count)));
}

TANDEM_SQL_FUNCTION(tandem_vector_to_float4) {
  return ToArray<float>(fcinfo);
}

TANDEM_SQL_FUNCTION(tandem_halfvec_to_float4) {
  return ToArray<Half>(fcinfo);
}

TANDEM_SQL_FUNCTION(tandem_vector_to_halfvec) {
  const VectorDatum* vector = VectorArgument(fcinfo, 0);
  CheckExpectedDimensions(PG_GETARG_INT32(1), vector->dimensions);
  PG_RETURN_POINTER(NewVectorOf<Half>(Elements(vector)));
}

TANDEM_SQL_FUNCTION(tandem_halfvec_to_vector) {
  const HalfvecDatum* halves = VectorArgument<Half>(fcinfo, 0);
  CheckExpectedDimensions(PG_GETARG_INT32(1), halves->dimensions);
  VectorDatum* vector = pg::NewVector(halves->dimensions);
  CopyFloats(halves, vector->values);
  PG_RETURN_POINTER(vector);
}

TANDEM_SQL_FUNCTION(tandem_vector_to_sparsevec) {
  return DenseToSparse<float>(fcinfo);
}

TANDEM_SQL_FUNCTION(tandem_halfvec_to_sparsevec) {
  return DenseToSparse<Half>(fcinfo);
}

TANDEM_SQL_FUNCTION(tandem_sparsevec_to_vector) {
  return SparseToDense<float>(fcinfo);
}

TANDEM_SQL_FUNCTION(tandem_sparsevec_to_halfvec) {
  return SparseToDense<Half>(fcinfo);
}

}  // namespace tandem::sqlapi
