// An index of pgvector's types is ordered by pgvector's operators. They compute what ours compute, but add up in another order, so
// that the last bits differ: a search that ranked rows by our numbers would return some of them out of the order that the query sees, and
// end at a bound that a row is just within. So where the operator is not ours its own function is called for each row whose exact distance
// counts: those found by code, and all rows of exact scans.

#include "pg/pg.hpp"

#include "am/operators.hpp"

#include <algorithm>
#include <cstring>

#include "pg/indexed_value.hpp"

namespace tandem::am {

namespace {

base::Span<const PGFunction> own_operators;

/// What a call of the function needs.
struct Call {
  FmgrInfo* function;
  Oid collation;
  Datum query;
  pg::NewIndexedValue value;  ///< each row in turn
};

double ValueOf(void* state, const void* row) {
  const auto* call = static_cast<const Call*>(state);
  pg::FillIndexedValue(call->value, row);
  return DatumGetFloat8(
      FunctionCall2Coll(call->function, call->collation, PointerGetDatum(call->value.datum), call->query));
}

}  // namespace

void RegisterOwnOperators(base::Span<const PGFunction> functions) {
  own_operators = functions;
}

vec::ForeignOperator ForeignOperatorOf(ScanKey key, const void* query, vec::Element element,
                                       uint32 dimensions) {
  if (std::find(own_operators.begin(), own_operators.end(), key->sk_func.fn_addr) != own_operators.end())
    return {};
  auto* call = static_cast<Call*>(palloc(sizeof(Call)));
  *call = {&key->sk_func, key->sk_collation, PointerGetDatum(query),
           pg::MakeIndexedValue(element, dimensions)};
  return {ValueOf, call};
}

}  // namespace tandem::am
