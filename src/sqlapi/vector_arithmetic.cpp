// Element-wise arithmetic and concatenation of dense vectors. Halves are computed in single precision and rounded once,
// which gives what half-precision arithmetic gives.

#include "pg/pg.hpp"

#include "sqlapi/vector_args.hpp"

extern "C" {
#include "utils/float.h"
}

namespace tandem::sqlapi {
namespace {

/// Applies `operation` to each pair of elements; error on overflow: arguments hold only finite numbers. No early exit:
/// the loop vectorises.
template <typename Element, typename Operation>
DenseDatum<Element>* ElementWise(const DenseDatum<Element>* a, const DenseDatum<Element>* b,
                                 Operation operation) {
  CheckSameDimensions(a, b);
  DenseDatum<Element>* result = pg::NewVector<Element>(a->dimensions);
  for (int i = 0; i < a->dimensions; ++i) {
    result->values[i] = Nearest<Element>(operation(AsFloat(a->values[i]), AsFloat(b->values[i])));
  }
  const base::Span<const Element> elements = Elements(result);
  if (vec::FindNonFinite(elements) != vec::ElementFault::kNone) float_overflow_error();
  return result;
}

template <typename Element, typename Operation>
Datum Combine(FunctionCallInfo fcinfo, Operation operation) {
  PG_RETURN_POINTER(
      ElementWise(VectorArgument<Element>(fcinfo, 0), VectorArgument<Element>(fcinfo, 1), operation));
}

/// Did a product of two non-zero numbers vanish?
template <typename Element>
bool AnyUnderflow(const DenseDatum<Element>* a, const DenseDatum<Element>* b,
                  const DenseDatum<Element>* product) {
  bool any = false;
  for (int i = 0; i < product->dimensions; ++i) {
    any |=
        AsFloat(product->values[i]) == 0.0F && AsFloat(a->values[i]) != 0.0F && AsFloat(b->values[i]) != 0.0F;
  }
  return any;
}

template <typename Element>
Datum Multiply(FunctionCallInfo fcinfo) {
  const DenseDatum<Element>* a = VectorArgument<Element>(fcinfo, 0);
  const DenseDatum<Element>* b = VectorArgument<Element>(fcinfo, 1);
  DenseDatum<Element>* product = ElementWise(a, b, [](float x, float y) { return x * y; });
  if (AnyUnderflow<Element>(a, b, product)) float_underflow_error();
  PG_RETURN_POINTER(product);
}

template <typename Element>
Datum Concatenate(FunctionCallInfo fcinfo) {
  const DenseDatum<Element>* a = VectorArgument<Element>(fcinfo, 0);
  const DenseDatum<Element>* b = VectorArgument<Element>(fcinfo, 1);
  const int dimensions = a->dimensions + b->dimensions;
  CheckDimensions<Element>(dimensions);
  DenseDatum<Element>* result = pg::NewVector<Element>(dimensions);
  std::memcpy(result->values, a->values, sizeof(Element) * static_cast<std::size_t>(a->dimensions));
  std::memcpy(result->values + a->dimensions, b->values,
              sizeof(Element) * static_cast<std::size_t>(b->dimensions));
  PG_RETURN_POINTER(result);
}

}  // namespace

TANDEM_SQL_FUNCTION(tandem_vector_add) {
  return Combine<float>(fcinfo, [](float a, float b) { return a + b; });
}

TANDEM_SQL_FUNCTION(tandem_vector_sub) {
  return Combine<float>(fcinfo, [](float a, float b) { return a - b; });
}

TANDEM_SQL_FUNCTION(tandem_vector_mul) {
  return Multiply<float>(fcinfo);
}

TANDEM_SQL_FUNCTION(tandem_vector_concat) {
  return Concatenate<float>(fcinfo);
}

TANDEM_SQL_FUNCTION(tandem_halfvec_add) {
  return Combine<Half>(fcinfo, [](float a, float b) { return a + b; });
}

TANDEM_SQL_FUNCTION(tandem_halfvec_sub) {
  return Combine<Half>(fcinfo, [](float a, float b) { return a - b; });
}

TANDEM_SQL_FUNCTION(tandem_halfvec_mul) {
  return Multiply<Half>(fcinfo);
}

TANDEM_SQL_FUNCTION(tandem_halfvec_concat) {
  return Concatenate<Half>(fcinfo);
}

}  // namespace tandem::sqlapi
