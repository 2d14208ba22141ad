#pragma once
// What the SQL functions on type vector share: argument access and the checks whose messages clients match.

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

using pg::VectorDatum;

/// Argument `i`, detoasted; short-header values are copied, so that the struct is aligned.
[[nodiscard]] inline const VectorDatum* VectorArgument(FunctionCallInfo fcinfo, int i) {
  return pg::DetoastVector(PG_GETARG_DATUM(i));
}

/// Frees the copy that VectorArgument made, if it made one. For functions that btree and hash code call in contexts
/// that live long.
inline void FreeIfCopy(FunctionCallInfo fcinfo, const VectorDatum* vector, int i) {
  if (reinterpret_cast<const void*>(vector) != PG_GETARG_POINTER(i)) pfree(const_cast<VectorDatum*>(vector));
}

[[nodiscard]] inline base::Span<const float> Elements(const VectorDatum* vector) {
  return {vector->values, static_cast<std::size_t>(vector->dimensions)};
}

[[nodiscard]] inline base::Span<float> Elements(VectorDatum* vector) {
  return {vector->values, static_cast<std::size_t>(vector->dimensions)};
}

/// Error unless 1 <= dimensions <= pg::kMaxVectorDimensions.
void CheckDimensions(int64 dimensions);

/// Error unless the column or cast that `typmod` comes from allows `dimensions`; -1 allows all.
void CheckExpectedDimensions(int32 typmod, int dimensions);

/// Error unless both vectors have the same number of dimensions.
void CheckSameDimensions(const VectorDatum* a, const VectorDatum* b);

/// Error if an element is NaN or infinite.
void CheckFinite(base::Span<const float> elements);

/// The errors behind the checks, for those who find the fault themselves.
[[noreturn]] void ReportNoDimensions();
[[noreturn]] void ReportTooManyDimensions();
[[noreturn]] void ReportElementFault(vec::ElementFault fault);

}  // namespace tandem::sqlapi
