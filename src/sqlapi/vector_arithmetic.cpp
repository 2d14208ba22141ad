// Element-wise arithmetic, concatenation and comparison of vectors.

#include "pg/pg.hpp"

#include "sqlapi/vector_args.hpp"

extern "C" {
#include "utils/float.h"
}

namespace tandem::sqlapi {
namespace {

/// Arguments hold only finite numbers, so an infinite sum is an overflow. No early exit: the loop vectorises.
bool AnyInfinite(base::Span<const float> elements) {
  return vec::FindNonFinite(elements) != vec::ElementFault::kNone;
}

/// Applies `operation` to each pair of elements; error on overflow.
template <typename Operation>
VectorDatum* ElementWise(const VectorDatum* a, const VectorDatum* b, Operation operation) {
  CheckSameDimensions(a, b);
  VectorDatum* result = pg::NewVector(a->dimensions);
  for (int i = 0; i < a->dimensions; ++i) result->values[i] = operation(a->values[i], b->values[i]);
  if (AnyInfinite(Elements(result))) float_overflow_error();
  return result;
}

/// Did a product of two non-zero numbers vanish?
bool AnyUnderflow(const VectorDatum* a, const VectorDatum* b, const VectorDatum* product) {
  bool any = false;
  for (int i = 0; i < product->dimensions; ++i) {
    any |= product->values[i] == 0.0F && a->values[i] != 0.0F && b->values[i] != 0.0F;
  }
  return any;
}

}  // namespace

TANDEM_SQL_FUNCTION(tandem_vector_add) {
  PG_RETURN_POINTER(ElementWise(VectorArgument(fcinfo, 0), VectorArgument(fcinfo, 1),
                                [](float a, float b) { return a + b; }));
}

TANDEM_SQL_FUNCTION(tandem_vector_sub) {
  PG_RETURN_POINTER(ElementWise(VectorArgument(fcinfo, 0), VectorArgument(fcinfo, 1),
                                [](float a, float b) { return a - b; }));
}

TANDEM_SQL_FUNCTION(tandem_vector_mul) {
  const VectorDatum* a = VectorArgument(fcinfo, 0);
  const VectorDatum* b = VectorArgument(fcinfo, 1);
  VectorDatum* product = ElementWise(a, b, [](float x, float y) { return x * y; });
  if (AnyUnderflow(a, b, product)) float_underflow_error();
  PG_RETURN_POINTER(product);
}

TANDEM_SQL_FUNCTION(tandem_vector_concat) {
  const VectorDatum* a = VectorArgument(fcinfo, 0);
  const VectorDatum* b = VectorArgument(fcinfo, 1);
  const int dimensions = a->dimensions + b->dimensions;
  CheckDimensions(dimensions);
  VectorDatum* result = pg::NewVector(dimensions);
  std::memcpy(result->values, a->values, sizeof(float) * static_cast<std::size_t>(a->dimensions));
  std::memcpy(result->values + a->dimensions, b->values,
              sizeof(float) * static_cast<std::size_t>(b->dimensions));
  PG_RETURN_POINTER(result);
}

}  // namespace tandem::sqlapi
