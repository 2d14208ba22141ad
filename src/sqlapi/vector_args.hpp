#pragma once
// What the SQL functions on vectors share: argument access and the checks whose messages clients match. Element is float
// for type vector and vec::Half for type halfvec.

#include "pg/pg.hpp"

#include "base/span.hpp"
#include "pg/vector_datum.hpp"
#include "vec/wire.hpp"

// Declares and registers one SQL-callable function; the body follows. The declaration carries the visibility that
// PG_FUNCTION_INFO_V1 lacks on server 15.
#define TANDEM_SQL_FUNCTION(name)                      \
  extern "C" PGDLLEXPORT Datum name(PG_FUNCTION_ARGS); \
  extern "C" {                                         \
  PG_FUNCTION_INFO_V1(name);                           \
  }                                                    \
  Datum name(PG_FUNCTION_ARGS)

namespace tandem::sqlapi {

using pg::DenseDatum;
using pg::HalfvecDatum;
using pg::SparsevecDatum;
using pg::VectorDatum;
using vec::Half;

/// Argument `i`, detoasted; short-header values are copied, so that the struct is aligned.
template <typename Element = float>
[[nodiscard]] const DenseDatum<Element>* VectorArgument(FunctionCallInfo fcinfo, int i) {
  return pg::DetoastVector<Element>(PG_GETARG_DATUM(i));
}

/// Frees the copy that detoasting argument `i` made, if it made one. For functions that btree and hash code call in
/// contexts that live long.
inline void FreeIfCopy(FunctionCallInfo fcinfo, const void* detoasted, int i) {
  if (detoasted != PG_GETARG_POINTER(i)) pfree(const_cast<void*>(detoasted));
}

template <typename Element>
[[nodiscard]] base::Span<const Element> Elements(const DenseDatum<Element>* vector) {
  return {vector->values, static_cast<std::size_t>(vector->dimensions)};
}

template <typename Element>
[[nodiscard]] base::Span<Element> Elements(DenseDatum<Element>* vector) {
  return {vector->values, static_cast<std::size_t>(vector->dimensions)};
}

/// An element as the number that it is.
[[nodiscard]] inline float AsFloat(float element) {
  return element;
}
[[nodiscard]] inline float AsFloat(Half element) {
  return vec::FromHalf(element);
}

/// The element nearest to `x`; infinite where that is beyond the largest one. Not for NaN.
template <typename Element>
[[nodiscard]] Element Nearest(float x);
template <>
[[nodiscard]] inline float Nearest<float>(float x) {
  return x;
}
template <>
[[nodiscard]] inline Half Nearest<Half>(float x) {
  constexpr Half kInfinity = 0x7C00;
  if (std::fabs(x) < vec::kHalfRangeEnd) return vec::ToHalf(x);
  return static_cast<Half>(x < 0.0F ? kInfinity | 0x8000 : kInfinity);
}

/// Error unless 1 <= dimensions <= pg::kMaxVectorDimensions.
template <typename Element = float>
void CheckDimensions(int64 dimensions);

/// Error unless the column or cast that `typmod` comes from allows `dimensions`; -1 allows all.
void CheckExpectedDimensions(int32 typmod, int dimensions);

/// Error unless both vectors have the same number of dimensions.
template <typename Element>
void CheckSameDimensions(const DenseDatum<Element>* a, const DenseDatum<Element>* b) {
  if (a->dimensions == b->dimensions) return;
  ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
                  errmsg("different %s dimensions %d and %d", pg::kDenseTypeName<Element>, a->dimensions,
                         b->dimensions)));
}

/// A new vector of these numbers, each rounded to the nearest element. Error if a number is NaN, infinite or beyond the
/// largest element.
template <typename Element>
[[nodiscard]] DenseDatum<Element>* NewVectorOf(base::Span<const float> numbers);

/// The one number of a type modifier; error unless it is 1 to `most`.
[[nodiscard]] int32 DimensionsTypmod(ArrayType* typmods, const char* type, int32 most);

/// The errors behind the checks, for those who find the fault themselves. `type`: name of the SQL type.
[[noreturn]] void ReportNoDimensions(const char* type);
[[noreturn]] void ReportTooManyDimensions(const char* type, int most);
[[noreturn]] void ReportElementFault(const char* type, vec::ElementFault fault);

}  // namespace tandem::sqlapi
