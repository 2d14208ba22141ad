#pragma once
// A column's value as an index stores it.

#include "pg/vector_datum.hpp"

#include "vec/element.hpp"
#include "vec/sparse.hpp"

extern "C" {
#include "utils/varbit.h"
}

namespace tandem::pg {

struct IndexedValue {
  const void* datum;  ///< detoasted: the datum itself, or a copy in the current memory context
  const void* row;    ///< within it: the elements, end to end; sparse: a vec::SparseRow
};

static_assert(offsetof(SparsevecDatum, count) + sizeof(vec::SparseRow) == offsetof(SparsevecDatum, indices) &&
                  vec::kMostSparseElements == kMaxSparseElements,
              "a sparsevec ends in the row that an index stores");

/// Raises ERRCODE_DATA_EXCEPTION if the vector has another number of dimensions, ERRCODE_PROGRAM_LIMIT_EXCEEDED if it has more
/// elements than the type allows, which only another extension's functions can have made.
[[nodiscard]] inline IndexedValue DetoastIndexedSparsevec(Datum datum, int dimensions) {
  const SparsevecDatum* vector = DetoastSparsevec(datum);
  if (vector->dimensions != dimensions)
    ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
                    errmsg("different sparsevec dimensions %d and %d", dimensions, vector->dimensions)));
  // Memory is sized by the number of dimensions, and elements are copied by their number.
  if (vector->count < 0 || vector->count > Min(dimensions, kMaxSparseElements) ||
      VARSIZE(vector) < SparsevecDatumBytes(vector->count))
    ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                    errmsg("an index cannot hold a sparsevec with %d non-zero elements", vector->count),
                    errhint("The most are %d.", Min(dimensions, kMaxSparseElements))));
  return {vector, &vector->count};
}

/// Raises ERRCODE_DATA_EXCEPTION if the value has another number of dimensions.
[[nodiscard]] inline IndexedValue DetoastIndexedValue(Datum datum, vec::Element element, uint32 dimensions) {
  const auto expected = static_cast<int>(dimensions);
  switch (element) {
    case vec::Element::kFloat32: {
      const VectorDatum* vector = DetoastIndexedVector(datum, expected);
      return {vector, vector->values};
    }
    case vec::Element::kFloat16: {
      const HalfvecDatum* vector = DetoastIndexedVector<vec::Half>(datum, expected);
      return {vector, vector->values};
    }
    case vec::Element::kBit: {
      VarBit* bits = DatumGetVarBitP(datum);
      if (VARBITLEN(bits) != expected)
        ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
                        errmsg("different bit lengths %d and %d", expected, VARBITLEN(bits))));
      return {bits, VARBITS(bits)};
    }
    case vec::Element::kSparse:
      return DetoastIndexedSparsevec(datum, expected);
  }
  pg_unreachable();
}

/// A value of the type, in the current memory context, whose row is yet to be filled in.
struct NewIndexedValue {
  void* datum;
  void* row;              ///< within it
  std::size_t row_bytes;  ///< of it; 0: of any length up to the type's limit
};
[[nodiscard]] inline NewIndexedValue MakeIndexedValue(vec::Element element, uint32 dimensions) {
  const auto count = static_cast<int>(dimensions);
  const std::size_t row_bytes = vec::BytesOf(element, dimensions);
  switch (element) {
    case vec::Element::kFloat32: {
      VectorDatum* vector = NewVector(count);
      return {vector, vector->values, row_bytes};
    }
    case vec::Element::kFloat16: {
      HalfvecDatum* vector = NewVector<vec::Half>(count);
      return {vector, vector->values, row_bytes};
    }
    case vec::Element::kBit: {
      auto* bits = static_cast<VarBit*>(palloc0(VARBITTOTALLEN(count)));
      SET_VARSIZE(bits, VARBITTOTALLEN(count));
      VARBITLEN(bits) = count;
      return {bits, VARBITS(bits), row_bytes};
    }
    case vec::Element::kSparse: {
      SparsevecDatum* vector = NewSparsevec(count, Min(count, kMaxSparseElements));
      return {vector, &vector->count, 0};
    }
  }
  pg_unreachable();
}

/// row: as an index stores it.
inline void FillIndexedValue(const NewIndexedValue& value, const void* row) {
  if (likely(value.row_bytes > 0)) {
    std::memcpy(value.row, row, value.row_bytes);
    return;
  }
  std::memcpy(value.row, row, vec::SparseRowBytes(row));
  SET_VARSIZE(value.datum, offsetof(SparsevecDatum, count) + vec::SparseRowBytes(row));
}

}  // namespace tandem::pg
