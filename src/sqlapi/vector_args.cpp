#include "pg/pg.hpp"

#include "sqlapi/vector_args.hpp"

namespace tandem::sqlapi {

void CheckDimensions(int64 dimensions) {
  if (dimensions < 1) ReportNoDimensions();
  if (dimensions > pg::kMaxVectorDimensions) ReportTooManyDimensions();
}

void CheckExpectedDimensions(int32 typmod, int dimensions) {
  if (typmod == -1 || typmod == dimensions) return;
  ereport(ERROR,
          (errcode(ERRCODE_DATA_EXCEPTION), errmsg("expected %d dimensions, not %d", typmod, dimensions)));
}

void CheckSameDimensions(const VectorDatum* a, const VectorDatum* b) {
  if (a->dimensions == b->dimensions) return;
  ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
                  errmsg("different vector dimensions %d and %d", a->dimensions, b->dimensions)));
}

void CheckFinite(base::Span<const float> elements) {
  const vec::ElementFault fault = vec::FindNonFinite(elements);
  if (fault != vec::ElementFault::kNone) ReportElementFault(fault);
}

void ReportNoDimensions() {
  ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION), errmsg("vector must have at least 1 dimension")));
  pg_unreachable();
}

void ReportTooManyDimensions() {
  ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                  errmsg("vector cannot have more than %d dimensions", pg::kMaxVectorDimensions)));
  pg_unreachable();
}

void ReportElementFault(vec::ElementFault fault) {
  if (fault == vec::ElementFault::kNotANumber) {
    ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION), errmsg("NaN not allowed in vector")));
  }
  ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION), errmsg("infinite value not allowed in vector")));
  pg_unreachable();
}

}  // namespace tandem::sqlapi
