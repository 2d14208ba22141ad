#pragma once
// What the SQL functions on type sparsevec share beyond vector_args.hpp.

#include "pg/pg.hpp"

#include "sqlapi/vector_args.hpp"
#include "vec/sparse.hpp"

namespace tandem::sqlapi {

constexpr const char* kSparsevec = "sparsevec";

[[nodiscard]] inline const SparsevecDatum* SparseArgument(FunctionCallInfo fcinfo, int i) {
  return pg::DetoastSparsevec(PG_GETARG_DATUM(i));
}

[[nodiscard]] inline vec::SparseView View(const SparsevecDatum* vector) {
  return {vector->indices, pg::SparseValues(vector), static_cast<std::size_t>(vector->count)};
}

/// Error unless 1 <= dimensions <= pg::kMaxSparseDimensions.
void CheckSparseDimensions(int64 dimensions);

/// Error unless `count` elements are allowed in a vector of `dimensions`.
void CheckSparseCount(int64 count, int dimensions);

/// Error unless index i of `vector` lies within it and above the one before.
void CheckSparseIndex(const SparsevecDatum* vector, int i);

}  // namespace tandem::sqlapi
