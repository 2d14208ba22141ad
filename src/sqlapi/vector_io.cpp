// Text and binary input and output of type vector, and its type modifier.

#include "pg/pg.hpp"

#include "sqlapi/vector_args.hpp"

#include "vec/text.hpp"
#include "vec/wire.hpp"

extern "C" {
#include "common/shortest_dec.h"
#include "libpq/pqformat.h"
#include "utils/array.h"
}

namespace tandem::sqlapi {
namespace {

/// Turns a parse fault into the error that clients know. `literal` is the whole text.
[[noreturn]] void ReportTextFault(const vec::TextResult& result, const char* literal) {
  switch (result.fault) {
    case vec::TextFault::kNone:
      break;
    case vec::TextFault::kNoOpeningBracket:
      ereport(ERROR, (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
                      errmsg("invalid input syntax for type vector: \"%s\"", literal),
                      errdetail("Vector contents must start with \"[\".")));
      break;
    case vec::TextFault::kSyntax:
      ereport(ERROR, (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
                      errmsg("invalid input syntax for type vector: \"%s\"", literal)));
      break;
    case vec::TextFault::kJunkAfterEnd:
      ereport(ERROR, (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
                      errmsg("invalid input syntax for type vector: \"%s\"", literal),
                      errdetail("Junk after closing right brace.")));
      break;
    case vec::TextFault::kEmpty:
      ReportNoDimensions();
    case vec::TextFault::kTooManyElements:
      ReportTooManyDimensions();
    case vec::TextFault::kElementOutOfRange:
      ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
                      errmsg("\"%s\" is out of range for type vector",
                             pnstrdup(literal + result.offset, result.length))));
      break;
    case vec::TextFault::kElementNotANumber:
      ReportElementFault(vec::ElementFault::kNotANumber);
    case vec::TextFault::kElementInfinite:
      ReportElementFault(vec::ElementFault::kInfinite);
  }
  elog(ERROR, "unexpected fault %d in vector text", static_cast<int>(result.fault));
  pg_unreachable();
}

}  // namespace

TANDEM_SQL_FUNCTION(tandem_vector_in) {
  const char* literal = PG_GETARG_CSTRING(0);
  const int32 typmod = PG_GETARG_INT32(2);
  // 64 kB of stack, as much as a deep expression takes: cheaper than counting the commas first.
  float elements[pg::kMaxVectorDimensions];
  const vec::TextResult parsed =
      vec::ParseVector({literal, std::strlen(literal)}, {elements, pg::kMaxVectorDimensions});
  if (parsed.fault != vec::TextFault::kNone) ReportTextFault(parsed, literal);
  const int dimensions = static_cast<int>(parsed.dimensions);
  CheckExpectedDimensions(typmod, dimensions);
  VectorDatum* vector = pg::NewVector(dimensions);
  std::memcpy(vector->values, elements, sizeof(float) * parsed.dimensions);
  PG_RETURN_POINTER(vector);
}

TANDEM_SQL_FUNCTION(tandem_vector_out) {
  const VectorDatum* vector = VectorArgument(fcinfo, 0);
  const base::Span<const float> elements = Elements(vector);
  // A number takes at most FLOAT_SHORTEST_DECIMAL_LEN - 1 characters, a separator or bracket follows each.
  auto* text = static_cast<char*>(palloc(FLOAT_SHORTEST_DECIMAL_LEN * elements.size() + 2));
  char* at = text;
  *at++ = '[';
  for (std::size_t i = 0; i < elements.size(); ++i) {
    if (i > 0) *at++ = ',';
    at += float_to_shortest_decimal_bufn(elements[i], at);
  }
  *at++ = ']';
  *at = '\0';
  FreeIfCopy(fcinfo, vector, 0);
  PG_RETURN_CSTRING(text);
}

TANDEM_SQL_FUNCTION(tandem_vector_typmod_in) {
  int count = 0;
  const int32* typmods = ArrayGetIntegerTypmods(PG_GETARG_ARRAYTYPE_P(0), &count);
  if (count != 1) {
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid type modifier")));
  }
  if (typmods[0] < 1) {
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("dimensions for type vector must be at least 1")));
  }
  if (typmods[0] > pg::kMaxVectorDimensions) {
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("dimensions for type vector cannot exceed %d", pg::kMaxVectorDimensions)));
  }
  PG_RETURN_INT32(typmods[0]);
}

TANDEM_SQL_FUNCTION(tandem_vector_recv) {
  auto* message = reinterpret_cast<StringInfo>(PG_GETARG_POINTER(0));
  const int32 typmod = PG_GETARG_INT32(2);
  // pq_getmsgbytes refuses to go past the end of the message; a message that is longer is refused by the caller.
  const auto* header_bytes =
      reinterpret_cast<const unsigned char*>(pq_getmsgbytes(message, vec::kWireHeaderBytes));
  const vec::WireHeader header = vec::DecodeWireHeader({header_bytes, vec::kWireHeaderBytes});
  CheckDimensions(header.dimensions);
  CheckExpectedDimensions(typmod, header.dimensions);
  if (header.reserved != 0) {
    ereport(ERROR,
            (errcode(ERRCODE_DATA_EXCEPTION), errmsg("expected unused to be 0, not %d", header.reserved)));
  }
  const std::size_t body_bytes = sizeof(float) * header.dimensions;
  const auto* body =
      reinterpret_cast<const unsigned char*>(pq_getmsgbytes(message, static_cast<int>(body_bytes)));
  VectorDatum* vector = pg::NewVector(header.dimensions);
  const vec::ElementFault fault = vec::DecodeWireElements({body, body_bytes}, Elements(vector));
  if (fault != vec::ElementFault::kNone) ReportElementFault(fault);
  PG_RETURN_POINTER(vector);
}

TANDEM_SQL_FUNCTION(tandem_vector_send) {
  const VectorDatum* vector = VectorArgument(fcinfo, 0);
  const base::Span<const float> elements = Elements(vector);
  const std::size_t bytes = VARHDRSZ + vec::WireBytes(elements.size());
  auto* result = static_cast<bytea*>(palloc(bytes));
  SET_VARSIZE(result, bytes);
  vec::EncodeWire(elements, reinterpret_cast<unsigned char*>(VARDATA(result)));
  FreeIfCopy(fcinfo, vector, 0);
  PG_RETURN_BYTEA_P(result);
}

/// vector(vector, typmod, explicit): the length coercion cast.
TANDEM_SQL_FUNCTION(tandem_vector) {
  const VectorDatum* vector = VectorArgument(fcinfo, 0);
  CheckExpectedDimensions(PG_GETARG_INT32(1), vector->dimensions);
  PG_RETURN_POINTER(vector);
}

}  // namespace tandem::sqlapi
