#pragma once
// A column's value as an index stores it.

#include "pg/vector_datum.hpp"

#include "vec/element.hpp"

extern "C" {
#include "utils/varbit.h"
}

namespace tandem::pg {

struct IndexedValue {
  const void* datum;  ///< detoasted: the datum itself, or a copy in the current memory context
  const void* row;    ///< within it: the elements, end to end
};

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
  }
  pg_unreachable();
}

/// A value of the type, in the current memory context, whose row is yet to be filled in.
struct NewIndexedValue {
  void* datum;
  void* row;              ///< within it
  std::size_t row_bytes;  ///< room for it
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
  }
  pg_unreachable();
}

}  // namespace tandem::pg
