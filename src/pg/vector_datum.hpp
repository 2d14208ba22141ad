#pragma once
// The on-disk and in-memory forms of SQL types vector, halfvec and sparsevec: byte for byte those that pgvector made the
// convention.

#include "pg/compat.hpp"

#include "vec/kernels.hpp"

namespace tandem::pg {

constexpr int kMaxVectorDimensions = 16000;

/// Detoasted value of a dense type. Native byte order; `dimensions` elements follow the 8-byte header.
template <typename Element>
struct DenseDatum {
  int32 vl_len_;     ///< varlena header, never touched directly
  int16 dimensions;  ///< 1 to kMaxVectorDimensions
  int16 unused;      ///< zero
  Element values[FLEXIBLE_ARRAY_MEMBER];
};

using VectorDatum = DenseDatum<float>;
using HalfvecDatum = DenseDatum<vec::Half>;
static_assert(offsetof(VectorDatum, values) == 8 && offsetof(HalfvecDatum, values) == 8, "pgvector's layout");

/// The name of the SQL type whose elements are these.
template <typename Element>
inline constexpr const char* kDenseTypeName = nullptr;
template <>
inline constexpr const char* kDenseTypeName<float> = "vector";
template <>
inline constexpr const char* kDenseTypeName<vec::Half> = "halfvec";

template <typename Element = float>
[[nodiscard]] std::size_t VectorDatumBytes(int dimensions) {
  return offsetof(DenseDatum<Element>, values) + sizeof(Element) * static_cast<std::size_t>(dimensions);
}

/// Detoasts into the current memory context if needed; the result may point into the original datum.
template <typename Element = float>
[[nodiscard]] const DenseDatum<Element>* DetoastVector(Datum datum) {
  return reinterpret_cast<const DenseDatum<Element>*>(PG_DETOAST_DATUM(datum));
}

/// DetoastVector() for a value that goes into or is compared with an index of `dimensions` dimensions.
/// Raises ERRCODE_DATA_EXCEPTION if it has another number of them.
template <typename Element = float>
[[nodiscard]] const DenseDatum<Element>* DetoastIndexedVector(Datum datum, int dimensions) {
  const DenseDatum<Element>* vector = DetoastVector<Element>(datum);
  if (vector->dimensions != dimensions)
    ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
                    errmsg("different %s dimensions %d and %d", kDenseTypeName<Element>, dimensions,
                           vector->dimensions)));
  return vector;
}

/// New zeroed-header vector in the current memory context; values are left uninitialised.
template <typename Element = float>
[[nodiscard]] DenseDatum<Element>* NewVector(int dimensions) {
  auto* vector = static_cast<DenseDatum<Element>*>(palloc(VectorDatumBytes<Element>(dimensions)));
  SET_VARSIZE(vector, VectorDatumBytes<Element>(dimensions));
  vector->dimensions = static_cast<int16>(dimensions);
  vector->unused = 0;
  return vector;
}

constexpr int kMaxSparseDimensions = 1000000000;
constexpr int kMaxSparseElements = 16000;

/// Detoasted value of type sparsevec. `count` indices from 0, ascending, follow the 16-byte header, then as many float32
/// values, none of them zero.
struct SparsevecDatum {
  int32 vl_len_;     ///< varlena header, never touched directly
  int32 dimensions;  ///< 1 to kMaxSparseDimensions
  int32 count;       ///< 0 to kMaxSparseElements
  int32 unused;      ///< zero
  int32 indices[FLEXIBLE_ARRAY_MEMBER];
};
static_assert(offsetof(SparsevecDatum, indices) == 16, "pgvector's layout");

[[nodiscard]] inline std::size_t SparsevecDatumBytes(int count) {
  return offsetof(SparsevecDatum, indices) +
         (sizeof(int32) + sizeof(float)) * static_cast<std::size_t>(count);
}

[[nodiscard]] inline const float* SparseValues(const SparsevecDatum* vector) {
  return reinterpret_cast<const float*>(vector->indices + vector->count);
}

[[nodiscard]] inline float* SparseValues(SparsevecDatum* vector) {
  return reinterpret_cast<float*>(vector->indices + vector->count);
}

[[nodiscard]] inline const SparsevecDatum* DetoastSparsevec(Datum datum) {
  return reinterpret_cast<const SparsevecDatum*>(PG_DETOAST_DATUM(datum));
}

/// New zeroed-header vector in the current memory context; indices and values are left uninitialised.
[[nodiscard]] inline SparsevecDatum* NewSparsevec(int dimensions, int count) {
  auto* vector = static_cast<SparsevecDatum*>(palloc(SparsevecDatumBytes(count)));
  SET_VARSIZE(vector, SparsevecDatumBytes(count));
  vector->dimensions = dimensions;
  vector->count = count;
  vector->unused = 0;
  return vector;
}

}  // namespace tandem::pg
