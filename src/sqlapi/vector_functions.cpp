// Functions of one vector: dimensions, norm, normalisation, parts, quantisation.

#include "pg/pg.hpp"

#include "sqlapi/vector_args.hpp"

extern "C" {
#include "utils/float.h"
#include "utils/varbit.h"
}

namespace tandem::sqlapi {
namespace {

/// Summed in double: squares of float32 neither overflow nor vanish there. Four sums at a time, because the additions
/// of a single one wait for each other.
double Norm(const VectorDatum* vector) {
  constexpr int kLanes = 4;
  double sums[kLanes] = {};
  int i = 0;
  for (; i + kLanes <= vector->dimensions; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const double element = vector->values[i + lane];
      sums[lane] += element * element;
    }
  }
  double sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  for (; i < vector->dimensions; ++i) {
    const double element = vector->values[i];
    sum += element * element;
  }
  return std::sqrt(sum);
}

}  // namespace

TANDEM_SQL_FUNCTION(tandem_vector_dims) {
  // The header is at the front: of a value stored out of line only the first chunk is fetched.
  const auto* head = reinterpret_cast<const VectorDatum*>(
      PG_DETOAST_DATUM_SLICE(PG_GETARG_DATUM(0), 0, sizeof(int16) + sizeof(int16)));
  PG_RETURN_INT32(head->dimensions);
}

TANDEM_SQL_FUNCTION(tandem_vector_norm) {
  PG_RETURN_FLOAT8(Norm(VectorArgument(fcinfo, 0)));
}

TANDEM_SQL_FUNCTION(tandem_l2_normalize) {
  const VectorDatum* vector = VectorArgument(fcinfo, 0);
  const double norm = Norm(vector);
  VectorDatum* result = pg::NewVector(vector->dimensions);
  for (int i = 0; i < vector->dimensions; ++i) {
    // The zero vector has no direction and stays as it is.
    result->values[i] = norm > 0.0 ? static_cast<float>(vector->values[i] / norm) : 0.0F;
  }
  if (vec::FindNonFinite(Elements(result)) != vec::ElementFault::kNone) float_overflow_error();
  PG_RETURN_POINTER(result);
}

/// subvector(v, start, count): like substring, counts from 1 and clips what lies outside.
TANDEM_SQL_FUNCTION(tandem_subvector) {
  const VectorDatum* vector = VectorArgument(fcinfo, 0);
  const int64 start = PG_GETARG_INT32(1);
  const int64 count = PG_GETARG_INT32(2);
  if (count < 1) ReportNoDimensions();
  const int64 first = Max(start, INT64CONST(1));
  const int64 past = Min(start + count, static_cast<int64>(vector->dimensions) + 1);
  CheckDimensions(past - first);
  VectorDatum* result = pg::NewVector(static_cast<int>(past - first));
  std::memcpy(result->values, vector->values + (first - 1),
              sizeof(float) * static_cast<std::size_t>(past - first));
  PG_RETURN_POINTER(result);
}

/// One bit per element, the first in the highest bit: is it above zero?
TANDEM_SQL_FUNCTION(tandem_binary_quantize) {
  const VectorDatum* vector = VectorArgument(fcinfo, 0);
  const int bytes = VARBITTOTALLEN(vector->dimensions);
  auto* result = static_cast<VarBit*>(palloc0(bytes));
  SET_VARSIZE(result, bytes);
  VARBITLEN(result) = vector->dimensions;
  bits8* bits = VARBITS(result);
  for (int i = 0; i < vector->dimensions; ++i) {
    bits[i / 8] |= static_cast<bits8>((vector->values[i] > 0.0F) << (7 - i % 8));
  }
  PG_RETURN_VARBIT_P(result);
}

}  // namespace tandem::sqlapi
