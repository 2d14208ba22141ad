// Text and binary input and output of types vector and halfvec, and their type modifiers.

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

/// Turns a parse fault into the error that clients know. `literal` is the whole text, `type` the name of the SQL type.
[[noreturn]] void ReportTextFault(const vec::TextResult& result, const char* literal, const char* type) {
  switch (result.fault) {
    case vec::TextFault::kNone:
      break;
    case vec::TextFault::kNoOpeningBracket:
      ereport(ERROR, (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
                      errmsg("invalid input syntax for type %s: \"%s\"", type, literal),
                      errdetail("Vector contents must start with \"[\".")));
      break;
    case vec::TextFault::kSyntax:
      ereport(ERROR, (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
                      errmsg("invalid input syntax for type %s: \"%s\"", type, literal)));
      break;
    case vec::TextFault::kJunkAfterEnd:
      ereport(ERROR, (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
                      errmsg("invalid input syntax for type %s: \"%s\"", type, literal),
                      errdetail("Junk after closing right brace.")));
      break;
    case vec::TextFault::kEmpty:
      ReportNoDimensions(type);
    case vec::TextFault::kTooManyElements:
      ReportTooManyDimensions(type, pg::kMaxVectorDimensions);
    case vec::TextFault::kElementOutOfRange:
      ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
                      errmsg("\"%s\" is out of range for type %s",
                             pnstrdup(literal + result.offset, result.length), type)));
      break;
    case vec::TextFault::kElementNotANumber:
      ReportElementFault(type, vec::ElementFault::kNotANumber);
    case vec::TextFault::kElementInfinite:
      ReportElementFault(type, vec::ElementFault::kInfinite);
  }
  elog(ERROR, "unexpected fault %d in vector text", static_cast<int>(result.fault));
  pg_unreachable();
}

template <typename Element>
constexpr float kRangeEnd = std::is_same_v<Element, Half> ? vec::kHalfRangeEnd
                                                          : std::numeric_limits<float>::infinity();

template <typename Element>
Datum In(FunctionCallInfo fcinfo) {
  const char* literal = PG_GETARG_CSTRING(0);
  const int32 typmod = PG_GETARG_INT32(2);
  // 64 kB of stack, as much as a deep expression takes: cheaper than counting the commas first.
  float elements[pg::kMaxVectorDimensions];
  const vec::TextResult parsed = vec::ParseVector({literal, std::strlen(literal)},
                                                  {elements, pg::kMaxVectorDimensions}, kRangeEnd<Element>);
  if (parsed.fault != vec::TextFault::kNone) ReportTextFault(parsed, literal, pg::kDenseTypeName<Element>);
  CheckExpectedDimensions(typmod, static_cast<int>(parsed.dimensions));
  PG_RETURN_POINTER(NewVectorOf<Element>({elements, parsed.dimensions}));
}

/// A half is written as the single-precision number that it is.
template <typename Element>
Datum Out(FunctionCallInfo fcinfo) {
  const DenseDatum<Element>* vector = VectorArgument<Element>(fcinfo, 0);
  const base::Span<const Element> elements = Elements(vector);
  // A number takes at most FLOAT_SHORTEST_DECIMAL_LEN - 1 characters, a separator or bracket follows each.
  auto* text = static_cast<char*>(palloc(FLOAT_SHORTEST_DECIMAL_LEN * elements.size() + 2));
  char* at = text;
  *at++ = '[';
  for (std::size_t i = 0; i < elements.size(); ++i) {
    if (i > 0) *at++ = ',';
    at += float_to_shortest_decimal_bufn(AsFloat(elements[i]), at);
  }
  *at++ = ']';
  *at = '\0';
  FreeIfCopy(fcinfo, vector, 0);
  PG_RETURN_CSTRING(text);
}

template <typename Element>
Datum Receive(FunctionCallInfo fcinfo) {
  auto* message = reinterpret_cast<StringInfo>(PG_GETARG_POINTER(0));
  const int32 typmod = PG_GETARG_INT32(2);
  // pq_getmsgbytes refuses to go past the end of the message; a message that is longer is refused by the caller.
  const auto* header_bytes =
      reinterpret_cast<const unsigned char*>(pq_getmsgbytes(message, vec::kWireHeaderBytes));
  const vec::WireHeader header = vec::DecodeWireHeader({header_bytes, vec::kWireHeaderBytes});
  CheckDimensions<Element>(header.dimensions);
  CheckExpectedDimensions(typmod, header.dimensions);
  if (header.reserved != 0) {
    ereport(ERROR,
            (errcode(ERRCODE_DATA_EXCEPTION), errmsg("expected unused to be 0, not %d", header.reserved)));
  }
  const std::size_t body_bytes = sizeof(Element) * header.dimensions;
  const auto* body =
      reinterpret_cast<const unsigned char*>(pq_getmsgbytes(message, static_cast<int>(body_bytes)));
  DenseDatum<Element>* vector = pg::NewVector<Element>(header.dimensions);
  const vec::ElementFault fault = vec::DecodeWireElements({body, body_bytes}, Elements(vector));
  if (fault != vec::ElementFault::kNone) ReportElementFault(pg::kDenseTypeName<Element>, fault);
  PG_RETURN_POINTER(vector);
}

template <typename Element>
Datum Send(FunctionCallInfo fcinfo) {
  const DenseDatum<Element>* vector = VectorArgument<Element>(fcinfo, 0);
  const base::Span<const Element> elements = Elements(vector);
  const std::size_t bytes = VARHDRSZ + vec::WireBytes<Element>(elements.size());
  auto* result = static_cast<bytea*>(palloc(bytes));
  SET_VARSIZE(result, bytes);
  vec::EncodeWire(elements, reinterpret_cast<unsigned char*>(VARDATA(result)));
  FreeIfCopy(fcinfo, vector, 0);
  PG_RETURN_BYTEA_P(result);
}

/// vector(vector, typmod, explicit) and its like: the length coercion cast.
template <typename Element>
Datum Coerce(FunctionCallInfo fcinfo) {
  const DenseDatum<Element>* vector = VectorArgument<Element>(fcinfo, 0);
  CheckExpectedDimensions(PG_GETARG_INT32(1), vector->dimensions);
  PG_RETURN_POINTER(vector);
}

}  // namespace

TANDEM_SQL_FUNCTION(tandem_vector_in) {
  return In<float>(fcinfo);
}

TANDEM_SQL_FUNCTION(tandem_vector_out) {
  return Out<float>(fcinfo);
}

TANDEM_SQL_FUNCTION(tandem_vector_typmod_in) {
  PG_RETURN_INT32(DimensionsTypmod(PG_GETARG_ARRAYTYPE_P(0), "vector", pg::kMaxVectorDimensions));
}

TANDEM_SQL_FUNCTION(tandem_vector_recv) {
  return Receive<float>(fcinfo);
}

TANDEM_SQL_FUNCTION(tandem_vector_send) {
  return Send<float>(fcinfo);
}

TANDEM_SQL_FUNCTION(tandem_vector) {
  return Coerce<float>(fcinfo);
}

TANDEM_SQL_FUNCTION(tandem_halfvec_in) {
  return In<Half>(fcinfo);
}

TANDEM_SQL_FUNCTION(tandem_halfvec_out) {
  return Out<Half>(fcinfo);
}

TANDEM_SQL_FUNCTION(tandem_halfvec_typmod_in) {
  PG_RETURN_INT32(DimensionsTypmod(PG_GETARG_ARRAYTYPE_P(0), "halfvec", pg::kMaxVectorDimensions));
}

TANDEM_SQL_FUNCTION(tandem_halfvec_recv) {
  return Receive<Half>(fcinfo);
}

TANDEM_SQL_FUNCTION(tandem_halfvec_send) {
  return Send<Half>(fcinfo);
}

TANDEM_SQL_FUNCTION(tandem_halfvec) {
  return Coerce<Half>(fcinfo);
}

}  // namespace tandem::sqlapi
