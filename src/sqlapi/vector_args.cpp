#include "pg/pg.hpp"

#include "sqlapi/vector_args.hpp"

extern "C" {
#include "common/shortest_dec.h"
#include "utils/array.h"
}

namespace tandem::sqlapi {
namespace {

[[noreturn]] void ReportBeyondHalf(float number) {
  auto* text = static_cast<char*>(palloc(FLOAT_SHORTEST_DECIMAL_LEN));
  float_to_shortest_decimal_buf(number, text);
  ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
                  errmsg("\"%s\" is out of range for type halfvec", text)));
  pg_unreachable();
}

/// Finite numbers must lie in the range of a half; infinities and NaN are another error.
void CheckRange(base::Span<const float> numbers) {
  for (const float number : numbers) {
    if (std::fabs(number) >= vec::kHalfRangeEnd && !std::isinf(number)) ReportBeyondHalf(number);
  }
}

void Store(base::Span<const float> numbers, float* elements) {
  std::memcpy(elements, numbers.data(), numbers.size() * sizeof(float));
}

void Store(base::Span<const float> numbers, Half* elements) {
  vec::Kernels().to_halves(numbers.data(), numbers.size(), elements);
}

}  // namespace

template <typename Element>
void CheckDimensions(int64 dimensions) {
  if (dimensions < 1) ReportNoDimensions(pg::kDenseTypeName<Element>);
  if (dimensions > pg::kMaxVectorDimensions)
    ReportTooManyDimensions(pg::kDenseTypeName<Element>, pg::kMaxVectorDimensions);
}

template void CheckDimensions<float>(int64 dimensions);
template void CheckDimensions<Half>(int64 dimensions);

void CheckExpectedDimensions(int32 typmod, int dimensions) {
  if (typmod == -1 || typmod == dimensions) return;
  ereport(ERROR,
          (errcode(ERRCODE_DATA_EXCEPTION), errmsg("expected %d dimensions, not %d", typmod, dimensions)));
}

template <typename Element>
DenseDatum<Element>* NewVectorOf(base::Span<const float> numbers) {
  if (std::is_same_v<Element, Half>) CheckRange(numbers);
  const vec::ElementFault fault = vec::FindNonFinite(numbers);
  if (fault != vec::ElementFault::kNone) ReportElementFault(pg::kDenseTypeName<Element>, fault);
  DenseDatum<Element>* vector = pg::NewVector<Element>(static_cast<int>(numbers.size()));
  Store(numbers, vector->values);
  return vector;
}

template DenseDatum<float>* NewVectorOf<float>(base::Span<const float> numbers);
template DenseDatum<Half>* NewVectorOf<Half>(base::Span<const float> numbers);

int32 DimensionsTypmod(ArrayType* typmods, const char* type, int32 most) {
  int count = 0;
  const int32* numbers = ArrayGetIntegerTypmods(typmods, &count);
  if (count != 1) {
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid type modifier")));
  }
  if (numbers[0] < 1) {
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("dimensions for type %s must be at least 1", type)));
  }
  if (numbers[0] > most) {
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("dimensions for type %s cannot exceed %d", type, most)));
  }
  return numbers[0];
}

void ReportNoDimensions(const char* type) {
  ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION), errmsg("%s must have at least 1 dimension", type)));
  pg_unreachable();
}

void ReportTooManyDimensions(const char* type, int most) {
  ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                  errmsg("%s cannot have more than %d dimensions", type, most)));
  pg_unreachable();
}

void ReportElementFault(const char* type, vec::ElementFault fault) {
  if (fault == vec::ElementFault::kNotANumber) {
    ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION), errmsg("NaN not allowed in %s", type)));
  }
  ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION), errmsg("infinite value not allowed in %s", type)));
  pg_unreachable();
}

}  // namespace tandem::sqlapi
