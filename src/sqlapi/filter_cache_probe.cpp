// The filter cache by itself, for tests of what the ends of queries, transactions and sessions leave of it. Only in modules with
// stop points: nothing else may fill the cache with what somebody made up.

#include "pg/pg.hpp"

#include "pg/stop_point.hpp"

#ifdef TANDEM_STOP_POINTS

#include "pg/guard.hpp"
#include "pg/own.hpp"
#include "shmem/filter_cache.hpp"

extern "C" {
#include "funcapi.h"

PGDLLEXPORT Datum tandem_probe_publish(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum tandem_probe_scan(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(tandem_probe_publish);
PG_FUNCTION_INFO_V1(tandem_probe_scan);
}

namespace tandem::sqlapi {

namespace {

/// A search that goes through one set.
struct ProbeScan {
  shmem::PinnedSet pinned;
  base::OrdinalWalk walk;
};

/// Of the function's first two arguments.
shmem::FilterKey KeyOf(FunctionCallInfo fcinfo) {
  text* key = PG_GETARG_TEXT_PP(0);
  return shmem::MakeFilterKey(VARDATA_ANY(key), static_cast<uint32>(VARSIZE_ANY_EXHDR(key)));
}
shmem::FilterSetId IdOf(FunctionCallInfo fcinfo) {
  return {static_cast<uint32>(PG_GETARG_INT32(1)), 0, 0};
}

void FillWithMultiples(base::OrdinalSet* set, int step) {
  for (uint32 i = 0; i < set->bound(); i += static_cast<uint32>(step)) set->Add(i);
  set->Freeze();
}

}  // namespace

}  // namespace tandem::sqlapi

using namespace tandem;

/// (key text, segment int, age bigint, bound int, step int): publishes the multiples of `step` below `bound`.
Datum tandem_probe_publish(PG_FUNCTION_ARGS) {
  auto* set = pg::Own<base::OrdinalSet>(CurrentMemoryContext, static_cast<uint32>(PG_GETARG_INT32(3)));
  pg::Guard([&] { sqlapi::FillWithMultiples(set, PG_GETARG_INT32(4)); });
  const shmem::FilterSetAge age = {static_cast<uint64>(PG_GETARG_INT64(2)), set->bound()};
  shmem::PublishFilterSet(sqlapi::KeyOf(fcinfo), sqlapi::IdOf(fcinfo), age, *set);
  PG_RETURN_VOID();
}

/// (key text, segment int) returns setof int: the ordinals of a set, which stays pinned from the first one to the end.
Datum tandem_probe_scan(PG_FUNCTION_ARGS) {
  if (SRF_IS_FIRSTCALL()) {
    FuncCallContext* context = SRF_FIRSTCALL_INIT();
    auto* scan = pg::Own<sqlapi::ProbeScan>(context->multi_call_memory_ctx);
    context->user_fctx = scan;
    if (shmem::PinFilterSet(sqlapi::KeyOf(fcinfo), sqlapi::IdOf(fcinfo), &scan->pinned))
      scan->walk = base::OrdinalWalk(&scan->pinned.set);
  }
  FuncCallContext* context = SRF_PERCALL_SETUP();
  auto* scan = static_cast<sqlapi::ProbeScan*>(context->user_fctx);
  if (scan->pinned.pin != shmem::kNoPin) {
    uint32 ordinal;
    if (scan->walk.Next(&ordinal)) SRF_RETURN_NEXT(context, Int32GetDatum(static_cast<int32>(ordinal)));
    shmem::UnpinFilterSet(scan->pinned.pin);
  }
  SRF_RETURN_DONE(context);
}

#endif
