// Functions of one dense vector: dimensions, norm, normalisation, parts, quantisation.

#include "pg/pg.hpp"

#include "sqlapi/vector_args.hpp"

extern "C" {
#include "utils/float.h"
#include "utils/varbit.h"
}

namespace tandem::sqlapi {
namespace {

Datum Dimensions(FunctionCallInfo fcinfo) {
  // The header is at the front: of a value stored out of line only the first chunk is fetched.
  const auto* head = reinterpret_cast<const VectorDatum*>(
      PG_DETOAST_DATUM_SLICE(PG_GETARG_DATUM(0), 0, sizeof(int16) + sizeof(int16)));
  PG_RETURN_INT32(head->dimensions);
}

/// Summed in double: squares of float32 neither overflow nor vanish there. Four sums at a time, because the additions
/// of a single one wait for each other.
template <typename Element>
double NormOf(const DenseDatum<Element>* vector) {
  constexpr int kLanes = 4;
  double sums[kLanes] = {};
  int i = 0;
  for (; i + kLanes <= vector->dimensions; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const double element = AsFloat(vector->values[i + lane]);
      sums[lane] += element * element;
    }
  }
  double sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  for (; i < vector->dimensions; ++i) {
    const double element = AsFloat(vector->values[i]);
    sum += element * element;
  }
  return std::sqrt(sum);
}

template <typename Element>
Datum Norm(FunctionCallInfo fcinfo) {
  PG_RETURN_FLOAT8(NormOf(VectorArgument<Element>(fcinfo, 0)));
}

template <typename Element>
Datum Normalize(FunctionCallInfo fcinfo) {
  const DenseDatum<Element>* vector = VectorArgument<Element>(fcinfo, 0);
  const double norm = NormOf(vector);
  DenseDatum<Element>* result = pg::NewVector<Element>(vector->dimensions);
  for (int i = 0; i < vector->dimensions; ++i) {
    // The zero vector has no direction and stays as it is.
    const float element = norm > 0.0 ? static_cast<float>(AsFloat(vector->values[i]) / norm) : 0.0F;
    result->values[i] = Nearest<Element>(element);
  }
  if (vec::FindNonFinite(Elements<Element>(static_cast<const DenseDatum<Element>*>(result))) !=
      vec::ElementFault::kNone)
    float_overflow_error();
  PG_RETURN_POINTER(result);
}

/// subvector(v, start, count): like substring, counts from 1 and clips what lies outside.
template <typename Element>
Datum Subvector(FunctionCallInfo fcinfo) {
  const DenseDatum<Element>* vector = VectorArgument<Element>(fcinfo, 0);
  const int64 start = PG_GETARG_INT32(1);
  const int64 count = PG_GETARG_INT32(2);
  if (count < 1) ReportNoDimensions(pg::kDenseTypeName<Element>);
  const int64 first = Max(start, INT64CONST(1));
  const int64 past = Min(start + count, static_cast<int64>(vector->dimensions) + 1);
  CheckDimensions<Element>(past - first);
  DenseDatum<Element>* result = pg::NewVector<Element>(static_cast<int>(past - first));
  std::memcpy(result->values, vector->values + (first - 1),
              sizeof(Element) * static_cast<std::size_t>(past - first));
  PG_RETURN_POINTER(result);
}

/// One bit per element, the first in the highest bit: is it above zero?
template <typename Element>
Datum BinaryQuantize(FunctionCallInfo fcinfo) {
  const DenseDatum<Element>* vector = VectorArgument<Element>(fcinfo, 0);
  const int bytes = VARBITTOTALLEN(vector->dimensions);
  auto* result = static_cast<VarBit*>(palloc0(bytes));
  SET_VARSIZE(result, bytes);
  VARBITLEN(result) = vector->dimensions;
  bits8* bits = VARBITS(result);
  for (int i = 0; i < vector->dimensions; ++i) {
    bits[i / 8] |= static_cast<bits8>((AsFloat(vector->values[i]) > 0.0F) << (7 - i % 8));
  }
  PG_RETURN_VARBIT_P(result);
}

}  // namespace

TANDEM_SQL_FUNCTION(tandem_vector_dims) {
  return Dimensions(fcinfo);
}

TANDEM_SQL_FUNCTION(tandem_vector_norm) {
  return Norm<float>(fcinfo);
}

TANDEM_SQL_FUNCTION(tandem_l2_normalize) {
  return Normalize<float>(fcinfo);
}

TANDEM_SQL_FUNCTION(tandem_subvector) {
  return Subvector<float>(fcinfo);
}

TANDEM_SQL_FUNCTION(tandem_binary_quantize) {
  return BinaryQuantize<float>(fcinfo);
}

TANDEM_SQL_FUNCTION(tandem_halfvec_dims) {
  return Dimensions(fcinfo);
}

TANDEM_SQL_FUNCTION(tandem_halfvec_norm) {
  return Norm<Half>(fcinfo);
}

TANDEM_SQL_FUNCTION(tandem_halfvec_l2_normalize) {
  return Normalize<Half>(fcinfo);
}

TANDEM_SQL_FUNCTION(tandem_halfvec_subvector) {
  return Subvector<Half>(fcinfo);
}

TANDEM_SQL_FUNCTION(tandem_halfvec_binary_quantize) {
  return BinaryQuantize<Half>(fcinfo);
}

}  // namespace tandem::sqlapi
