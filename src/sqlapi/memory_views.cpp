// What the views tandem_memory, tandem_filter_cache, tandem_coordination and tandem_index_stats show of shared memory, and
// tandem_memory_status(). Numbers only, which are for everybody; but how an index is searched, for its owner and for those who may
// read all statistics.

#include "pg/compat.hpp"

#include "pg/settings.hpp"
#include "shmem/balance.hpp"
#include "shmem/filter_cache.hpp"
#include "shmem/graph_cache.hpp"
#include "shmem/search_counts.hpp"
#include "sqlapi/index_access.hpp"

extern "C" {
#include "access/htup_details.h"
#include "catalog/pg_authid.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/syscache.h"

PGDLLEXPORT Datum tandem_cached_segments(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum tandem_filter_cache_status(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum tandem_coordination_status(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum tandem_memory_status(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum tandem_reset_stats(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum tandem_search_counts(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(tandem_cached_segments);
PG_FUNCTION_INFO_V1(tandem_filter_cache_status);
PG_FUNCTION_INFO_V1(tandem_coordination_status);
PG_FUNCTION_INFO_V1(tandem_memory_status);
PG_FUNCTION_INFO_V1(tandem_reset_stats);
PG_FUNCTION_INFO_V1(tandem_search_counts);
}

namespace tandem::sqlapi {

namespace {

int64 BytesOfFrames(uint64 frames) {
  return static_cast<int64>(frames * shmem::kFrameBytes);
}

void ReturnCachedSegment(ReturnSetInfo* result, const shmem::CachedSegmentStatus& segment) {
  // A tail's chunks are made as rows come: there are no others.
  const bool is_tail = segment.key.part == shmem::SegmentPart::kTail;
  const uint32 chunks = is_tail ? segment.cached_chunks : segment.chunks;
  Datum values[] = {
      CStringGetTextDatum(is_tail ? "tail" : "graph"),
      ObjectIdGetDatum(segment.key.database),
      ObjectIdGetDatum(segment.key.tablespace),
      ObjectIdGetDatum(segment.key.file_node),
      Int64GetDatum(segment.key.segment),
      Int64GetDatum(chunks),
      Int64GetDatum(segment.cached_chunks),
      Int64GetDatum(BytesOfFrames(uint64{chunks} + segment.table_frames)),
      Int64GetDatum(BytesOfFrames(uint64{segment.cached_chunks} + segment.table_frames)),
      Int64GetDatum(static_cast<int64>(segment.loads)),
      Int64GetDatum(static_cast<int64>(segment.evictions)),
      Int64GetDatum(segment.idle_seconds),
      Float8GetDatum(segment.load_us),
      Float8GetDatum(segment.uses),
  };
  bool nulls[lengthof(values)] = {};
  tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/// Of a function that returns one row of OUT arguments. nulls: nullptr: none.
Datum RowOf(FunctionCallInfo fcinfo, Datum* values, bool* nulls = nullptr) {
  constexpr int kMostColumns = 16;
  bool no_nulls[kMostColumns] = {};
  if (nulls == nullptr) nulls = no_nulls;
  TupleDesc descriptor;
  if (get_call_result_type(fcinfo, nullptr, &descriptor) != TYPEFUNC_COMPOSITE)
    elog(ERROR, "return type must be a row type");
  return HeapTupleGetDatum(heap_form_tuple(descriptor, values, nulls));
}

/// How an index is searched tells what its users do. Indexes of other databases have no owner here.
bool MayReadCounts(const shmem::SearchCounts& counts) {
  if (has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS)) return true;
  return counts.database == MyDatabaseId && SearchSysCacheExists1(RELOID, ObjectIdGetDatum(counts.index)) &&
         pg::OwnsRelation(counts.index, GetUserId());
}

void ReturnSearchCounts(ReturnSetInfo* result, const shmem::SearchCounts& counts) {
  constexpr double kMicrosecondsPerMillisecond = 1000;
  Datum values[] = {
      ObjectIdGetDatum(counts.database),
      ObjectIdGetDatum(counts.index),
      Int64GetDatum(static_cast<int64>(counts.searches)),
      Int64GetDatum(static_cast<int64>(counts.filtered)),
      Int64GetDatum(static_cast<int64>(counts.filters_asked)),
      Int64GetDatum(static_cast<int64>(counts.reads)),
      Int64GetDatum(static_cast<int64>(Min(counts.reads_from_pages, counts.reads))),
      Float8GetDatum(counts.mean_us / kMicrosecondsPerMillisecond),
      Float8GetDatum(counts.p99_us / kMicrosecondsPerMillisecond),
  };
  bool nulls[lengthof(values)] = {};
  nulls[7] = nulls[8] = counts.timed == 0;
  tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

const char* ModeName(pg::CacheMode mode) {
  switch (mode) {
    case pg::CacheMode::kCoordinated:
      return "coordinated";
    case pg::CacheMode::kIndependent:
      return "independent";
    case pg::CacheMode::kLru:
      return "lru";
  }
  return "unknown";
}

}  // namespace

}  // namespace tandem::sqlapi

using namespace tandem;

/// One row for each segment of any database that has a place in shared memory.
Datum tandem_cached_segments(PG_FUNCTION_ARGS) {
  pg::InitMaterializedResult(fcinfo);
  auto* segments = static_cast<shmem::CachedSegmentStatus*>(
      palloc(sizeof(shmem::CachedSegmentStatus) * shmem::kMostCachedSegments));
  const uint32 count = shmem::ReadGraphCacheStatus(segments, shmem::kMostCachedSegments);
  for (uint32 i = 0; i < count; i++)
    sqlapi::ReturnCachedSegment(reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo), segments[i]);
  return static_cast<Datum>(0);
}

/// Where the frames are; zeros without any.
Datum tandem_memory_status(PG_FUNCTION_ARGS) {
  const shmem::FramePoolStatus status = shmem::ReadFramePoolStatus();
  // What waits for readers is not used any more.
  Datum values[] = {
      Int64GetDatum(sqlapi::BytesOfFrames(status.frames)),
      Int64GetDatum(sqlapi::BytesOfFrames(status.frames - status.free - status.retired)),
      Int64GetDatum(sqlapi::BytesOfFrames(status.free)),
      Int64GetDatum(sqlapi::BytesOfFrames(status.retired)),
  };
  return sqlapi::RowOf(fcinfo, values);
}

/// What the filter cache holds and has done; zeros without one.
Datum tandem_filter_cache_status(PG_FUNCTION_ARGS) {
  const shmem::FilterCacheStatus status = shmem::ReadFilterCacheStatus();
  Datum values[] = {
      Int64GetDatum(static_cast<int64>(status.bytes_total)),
      Int64GetDatum(static_cast<int64>(status.bytes_used)),
      Int64GetDatum(static_cast<int64>(status.keys)),
      Int64GetDatum(static_cast<int64>(status.sets)),
      Int64GetDatum(static_cast<int64>(status.pinned)),
      Int64GetDatum(static_cast<int64>(status.hits)),
      Int64GetDatum(static_cast<int64>(status.misses)),
      Int64GetDatum(static_cast<int64>(status.evictions)),
      Float8GetDatum(
          status.sets == 0 ? 0 : static_cast<double>(status.cost_us) / static_cast<double>(status.sets)),
  };
  return sqlapi::RowOf(fcinfo, values);
}

/// One row for each index that was searched, if the user may see it.
Datum tandem_search_counts(PG_FUNCTION_ARGS) {
  pg::InitMaterializedResult(fcinfo);
  auto* all = static_cast<shmem::SearchCounts*>(palloc(sizeof(shmem::SearchCounts) * shmem::kMostCounted));
  const int count = shmem::ReadAllSearchCounts(all);
  for (int i = 0; i < count; i++)
    if (sqlapi::MayReadCounts(all[i]))
      sqlapi::ReturnSearchCounts(reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo), all[i]);
  return static_cast<Datum>(0);
}

/// Who may call it was decided by GRANT; of one index, its owner only.
Datum tandem_reset_stats(PG_FUNCTION_ARGS) {
  if (PG_ARGISNULL(0)) {
    shmem::ResetSearchCounts(InvalidOid);
    shmem::ResetFilterCacheCounts();
    PG_RETURN_VOID();
  }
  const List* indexes = sqlapi::OwnedIndexesOf(PG_GETARG_OID(0));
  const ListCell* cell;
  foreach (cell, indexes) shmem::ResetSearchCounts(lfirst_oid(cell));
  PG_RETURN_VOID();
}

/// How the budget is shared, and why.
Datum tandem_coordination_status(PG_FUNCTION_ARGS) {
  const shmem::BalanceStatus balance = shmem::ReadBalance();
  const shmem::BudgetShares shares = shmem::ReadShares();
  const policy::PatternCounts parts = policy::SharesOf(balance.counts);
  Datum values[] = {
      CStringGetTextDatum(sqlapi::ModeName(pg::CurrentSettings().mode)),
      BoolGetDatum(pg::CurrentSettings().auto_balance),
      Float8GetDatum(balance.share),
      Float8GetDatum(balance.goal),
      CStringGetTextDatum(policy::NameOf(balance.pattern)),
      Float8GetDatum(parts.vector_only),
      Float8GetDatum(parts.hybrid),
      Float8GetDatum(parts.metadata_only),
      Int64GetDatum(static_cast<int64>(balance.rounds)),
      Int64GetDatum(static_cast<int64>(balance.moves)),
      TimestampTzGetDatum(balance.round_at),
      TimestampTzGetDatum(balance.moved_at),
      Float8GetDatum(balance.moved_from),
      CStringGetTextDatum(policy::NameOf(balance.moved_for)),
      Int64GetDatum(sqlapi::BytesOfFrames(shares.graph.target + shares.filter.target)),
      Int64GetDatum(sqlapi::BytesOfFrames(shares.graph.frames)),
      Int64GetDatum(sqlapi::BytesOfFrames(shares.graph.target)),
      Int64GetDatum(sqlapi::BytesOfFrames(shares.filter.frames)),
      Int64GetDatum(sqlapi::BytesOfFrames(shares.filter.target)),
  };
  bool nulls[lengthof(values)] = {};
  nulls[10] = balance.round_at == 0;
  nulls[11] = nulls[12] = nulls[13] = balance.moved_at == 0;
  return sqlapi::RowOf(fcinfo, values, nulls);
}
