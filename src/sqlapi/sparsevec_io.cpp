// Text and binary input and output of type sparsevec, its type modifier and the checks of its parts.

#include "pg/pg.hpp"

#include "sqlapi/sparsevec_args.hpp"

#include "vec/text.hpp"
#include "vec/wire.hpp"

extern "C" {
#include "common/shortest_dec.h"
#include "libpq/pqformat.h"
#include "utils/builtins.h"
}

namespace tandem::sqlapi {
namespace {

constexpr int kWireNumberBytes = 4;

[[noreturn]] void ReportTooManyElements() {
  ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                  errmsg("sparsevec cannot have more than %d non-zero elements", pg::kMaxSparseElements)));
  pg_unreachable();
}

/// `detail`: may be null.
[[noreturn]] void ReportSyntax(const char* literal, const char* detail) {
  ereport(ERROR, (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
                  errmsg("invalid input syntax for type sparsevec: \"%s\"", literal),
                  detail != nullptr ? errdetail("%s", detail) : 0));
  pg_unreachable();
}

/// Turns a parse fault into the error that clients know. `literal` is the whole text.
[[noreturn]] void ReportTextFault(const vec::SparseTextResult& result, const char* literal) {
  switch (result.fault) {
    case vec::SparseTextFault::kNone:
      break;
    case vec::SparseTextFault::kNoOpeningBrace:
      ReportSyntax(literal, "Vector contents must start with \"{\".");
    case vec::SparseTextFault::kSyntax:
      ReportSyntax(literal, nullptr);
    case vec::SparseTextFault::kNoDimensions:
      ReportSyntax(literal, "Unexpected end of input.");
    case vec::SparseTextFault::kJunkAfterEnd:
      ReportSyntax(literal, "Junk after closing.");
    case vec::SparseTextFault::kTooManyElements:
      ReportTooManyElements();
    case vec::SparseTextFault::kElementOutOfRange:
      ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
                      errmsg("\"%s\" is out of range for type sparsevec",
                             pnstrdup(literal + result.offset, result.length))));
      break;
    case vec::SparseTextFault::kElementNotANumber:
      ReportElementFault(kSparsevec, vec::ElementFault::kNotANumber);
    case vec::SparseTextFault::kElementInfinite:
      ReportElementFault(kSparsevec, vec::ElementFault::kInfinite);
  }
  elog(ERROR, "unexpected fault %d in sparsevec text", static_cast<int>(result.fault));
  pg_unreachable();
}

/// Room for the elements of `literal`: one more than it has commas. Too many are an error whatever else is wrong.
base::Span<vec::SparseElement> NewElements(const char* literal) {
  std::size_t count = 1;
  for (const char* at = literal; *at != '\0'; ++at) count += *at == ',' ? 1 : 0;
  if (count > pg::kMaxSparseElements) ReportTooManyElements();
  return {static_cast<vec::SparseElement*>(palloc(sizeof(vec::SparseElement) * count)), count};
}

const unsigned char* MessageBytes(StringInfo message, int bytes) {
  return reinterpret_cast<const unsigned char*>(pq_getmsgbytes(message, bytes));
}

void ReceiveElements(StringInfo message, SparsevecDatum* vector) {
  const int bytes = vector->count * kWireNumberBytes;
  const unsigned char* indices = MessageBytes(message, bytes);
  const unsigned char* numbers = MessageBytes(message, bytes);
  float* const values = pg::SparseValues(vector);
  const auto count = static_cast<std::size_t>(vector->count);
  for (int i = 0; i < vector->count; ++i) {
    vector->indices[i] = static_cast<int32>(vec::LoadWire32(indices + i * kWireNumberBytes));
    CheckSparseIndex(vector, i);
  }
  const vec::ElementFault fault =
      vec::DecodeWireElements({numbers, static_cast<std::size_t>(bytes)}, base::Span<float>(values, count));
  if (fault != vec::ElementFault::kNone) ReportElementFault(kSparsevec, fault);
  for (int i = 0; i < vector->count; ++i) {
    if (values[i] == 0.0F) {
      ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
                      errmsg("binary representation of sparsevec cannot contain zero values")));
    }
  }
}

}  // namespace

void CheckSparseDimensions(int64 dimensions) {
  if (dimensions < 1) ReportNoDimensions(kSparsevec);
  if (dimensions > pg::kMaxSparseDimensions) ReportTooManyDimensions(kSparsevec, pg::kMaxSparseDimensions);
}

void CheckSparseCount(int64 count, int dimensions) {
  if (count < 0) {
    ereport(ERROR,
            (errcode(ERRCODE_DATA_EXCEPTION), errmsg("sparsevec cannot have negative number of elements")));
  }
  if (count > pg::kMaxSparseElements) ReportTooManyElements();
  if (count > dimensions) {
    ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                    errmsg("sparsevec cannot have more elements than dimensions")));
  }
}

void CheckSparseIndex(const SparsevecDatum* vector, int i) {
  const int32 index = vector->indices[i];
  if (index < 0 || index >= vector->dimensions) {
    ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION), errmsg("sparsevec index out of bounds")));
  }
  if (i == 0) return;
  if (index < vector->indices[i - 1]) {
    ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION), errmsg("sparsevec indices must be in ascending order")));
  }
  if (index == vector->indices[i - 1]) {
    ereport(ERROR,
            (errcode(ERRCODE_DATA_EXCEPTION), errmsg("sparsevec indices must not contain duplicates")));
  }
}

TANDEM_SQL_FUNCTION(tandem_sparsevec_in) {
  const char* literal = PG_GETARG_CSTRING(0);
  const base::Span<vec::SparseElement> elements = NewElements(literal);
  const vec::SparseTextResult parsed = vec::ParseSparseVector({literal, std::strlen(literal)}, elements);
  if (parsed.fault != vec::SparseTextFault::kNone) ReportTextFault(parsed, literal);
  CheckSparseDimensions(parsed.dimensions);
  CheckExpectedDimensions(PG_GETARG_INT32(2), parsed.dimensions);
  SparsevecDatum* vector = pg::NewSparsevec(parsed.dimensions, static_cast<int>(parsed.elements));
  float* const values = pg::SparseValues(vector);
  for (int i = 0; i < vector->count; ++i) {
    vector->indices[i] = elements[static_cast<std::size_t>(i)].index;
    values[i] = elements[static_cast<std::size_t>(i)].value;
    CheckSparseIndex(vector, i);
  }
  pfree(elements.data());
  PG_RETURN_POINTER(vector);
}

TANDEM_SQL_FUNCTION(tandem_sparsevec_out) {
  constexpr std::size_t kIntegerLength = 11;
  const SparsevecDatum* vector = SparseArgument(fcinfo, 0);
  const float* const values = pg::SparseValues(vector);
  // An element takes an index, a colon, a number and a comma or brace; around them "{", "/", the dimensions and the end.
  auto* text = static_cast<char*>(
      palloc((kIntegerLength + 1 + FLOAT_SHORTEST_DECIMAL_LEN) * static_cast<std::size_t>(vector->count) +
             kIntegerLength + 4));
  char* at = text;
  *at++ = '{';
  for (int i = 0; i < vector->count; ++i) {
    if (i > 0) *at++ = ',';
    at += pg_ltoa(vector->indices[i] + 1, at);
    *at++ = ':';
    at += float_to_shortest_decimal_bufn(values[i], at);
  }
  *at++ = '}';
  *at++ = '/';
  at += pg_ltoa(vector->dimensions, at);
  FreeIfCopy(fcinfo, vector, 0);
  PG_RETURN_CSTRING(text);
}

TANDEM_SQL_FUNCTION(tandem_sparsevec_typmod_in) {
  PG_RETURN_INT32(DimensionsTypmod(PG_GETARG_ARRAYTYPE_P(0), kSparsevec, pg::kMaxSparseDimensions));
}

TANDEM_SQL_FUNCTION(tandem_sparsevec_recv) {
  auto* message = reinterpret_cast<StringInfo>(PG_GETARG_POINTER(0));
  const unsigned char* header = MessageBytes(message, 3 * kWireNumberBytes);
  const auto dimensions = static_cast<int32>(vec::LoadWire32(header));
  const auto count = static_cast<int32>(vec::LoadWire32(header + kWireNumberBytes));
  const auto unused = static_cast<int32>(vec::LoadWire32(header + 2 * kWireNumberBytes));
  CheckSparseDimensions(dimensions);
  CheckSparseCount(count, dimensions);
  CheckExpectedDimensions(PG_GETARG_INT32(2), dimensions);
  if (unused != 0) {
    ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION), errmsg("expected unused to be 0, not %d", unused)));
  }
  SparsevecDatum* vector = pg::NewSparsevec(dimensions, count);
  ReceiveElements(message, vector);
  PG_RETURN_POINTER(vector);
}

/// Indices count from 0 on the wire.
TANDEM_SQL_FUNCTION(tandem_sparsevec_send) {
  const SparsevecDatum* vector = SparseArgument(fcinfo, 0);
  const std::size_t bytes =
      pg::SparsevecDatumBytes(vector->count);  // on the wire as in memory: all fields have 4 bytes
  auto* result = static_cast<bytea*>(palloc(bytes));
  SET_VARSIZE(result, bytes);
  auto* at = reinterpret_cast<unsigned char*>(VARDATA(result));
  const auto put = [&at](uint32 number) {
    vec::StoreWire32(number, at);
    at += kWireNumberBytes;
  };
  put(static_cast<uint32>(vector->dimensions));
  put(static_cast<uint32>(vector->count));
  put(0);
  for (int i = 0; i < vector->count; ++i) put(static_cast<uint32>(vector->indices[i]));
  for (int i = 0; i < vector->count; ++i) {
    uint32 bits;
    std::memcpy(&bits, pg::SparseValues(vector) + i, sizeof bits);
    put(bits);
  }
  FreeIfCopy(fcinfo, vector, 0);
  PG_RETURN_BYTEA_P(result);
}

/// sparsevec(sparsevec, typmod, explicit): the length coercion cast.
TANDEM_SQL_FUNCTION(tandem_sparsevec) {
  const SparsevecDatum* vector = SparseArgument(fcinfo, 0);
  CheckExpectedDimensions(PG_GETARG_INT32(1), vector->dimensions);
  PG_RETURN_POINTER(vector);
}

}  // namespace tandem::sqlapi
