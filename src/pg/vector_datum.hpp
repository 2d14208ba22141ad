#pragma once
// The on-disk and in-memory form of SQL type vector: byte for byte the one that pgvector made the convention.

#include "pg/compat.hpp"

namespace tandem::pg {

constexpr int kMaxVectorDimensions = 16000;

/// Detoasted vector value. Native byte order; `dimensions` float32 follow the 8-byte header.
struct VectorDatum {
  int32 vl_len_;     ///< varlena header, never touched directly
  int16 dimensions;  ///< 1 to kMaxVectorDimensions
  int16 unused;      ///< zero
  float values[FLEXIBLE_ARRAY_MEMBER];
};
static_assert(offsetof(VectorDatum, values) == 8, "pgvector's layout");

[[nodiscard]] inline std::size_t VectorDatumBytes(int dimensions) {
  return offsetof(VectorDatum, values) + sizeof(float) * static_cast<std::size_t>(dimensions);
}

/// Detoasts into the current memory context if needed; the result may point into the original datum.
[[nodiscard]] inline const VectorDatum* DetoastVector(Datum datum) {
  return reinterpret_cast<const VectorDatum*>(PG_DETOAST_DATUM(datum));
}

/// DetoastVector() for a value that goes into or is compared with an index of `dimensions` dimensions.
/// Raises ERRCODE_DATA_EXCEPTION if it has another number of them.
[[nodiscard]] inline const VectorDatum* DetoastIndexedVector(Datum datum, int dimensions) {
  const VectorDatum* vector = DetoastVector(datum);
  if (vector->dimensions != dimensions)
    ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
                    errmsg("different vector dimensions %d and %d", dimensions, vector->dimensions)));
  return vector;
}

/// New zeroed-header vector in the current memory context; values are left uninitialised.
[[nodiscard]] inline VectorDatum* NewVector(int dimensions) {
  auto* vector = static_cast<VectorDatum*>(palloc(VectorDatumBytes(dimensions)));
  SET_VARSIZE(vector, VectorDatumBytes(dimensions));
  vector->dimensions = static_cast<int16>(dimensions);
  vector->unused = 0;
  return vector;
}

}  // namespace tandem::pg
