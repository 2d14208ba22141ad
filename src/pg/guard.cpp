#include "pg/guard.hpp"

namespace tandem::pg {

void ReportCaught(const CaughtException& caught) {
  ereport(ERROR, (errcode(caught.sqlstate), errmsg("%s", caught.message)));
  pg_unreachable();
}

static int SqlState(base::ErrorKind kind) {
  switch (kind) {
    case base::ErrorKind::kOk:
      break;
    case base::ErrorKind::kInvalidText:
      return ERRCODE_INVALID_TEXT_REPRESENTATION;
    case base::ErrorKind::kOutOfRange:
      return ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE;
    case base::ErrorKind::kDataException:
      return ERRCODE_DATA_EXCEPTION;
    case base::ErrorKind::kLimitExceeded:
      return ERRCODE_PROGRAM_LIMIT_EXCEEDED;
    case base::ErrorKind::kCorrupted:
      return ERRCODE_INDEX_CORRUPTED;
    case base::ErrorKind::kUnsuitable:
      return ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
    case base::ErrorKind::kCancelled:
      return ERRCODE_QUERY_CANCELED;
  }
  return ERRCODE_INTERNAL_ERROR;
}

void ReportStatus(const base::Status& status) {
  // `status` may live in a caller's frame that the jump discards; errmsg copies its text first.
  ereport(ERROR, (errcode(SqlState(status.kind())), errmsg("%s", status.message())));
  pg_unreachable();
}

}  // namespace tandem::pg
