// What the views tandem_memory and tandem_filter_cache show of shared memory, and tandem_memory_status(). Numbers only, which
// are for everybody.

#include "pg/compat.hpp"

#include "shmem/filter_cache.hpp"
#include "shmem/graph_cache.hpp"

extern "C" {
#include "access/htup_details.h"
#include "funcapi.h"

PGDLLEXPORT Datum tandem_cached_segments(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum tandem_filter_cache_status(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum tandem_memory_status(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(tandem_cached_segments);
PG_FUNCTION_INFO_V1(tandem_filter_cache_status);
PG_FUNCTION_INFO_V1(tandem_memory_status);
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
  };
  bool nulls[lengthof(values)] = {};
  tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/// Of a function that returns one row of OUT arguments.
Datum RowOf(FunctionCallInfo fcinfo, Datum* values) {
  constexpr int kMostColumns = 16;
  bool nulls[kMostColumns] = {};
  TupleDesc descriptor;
  if (get_call_result_type(fcinfo, nullptr, &descriptor) != TYPEFUNC_COMPOSITE)
    elog(ERROR, "return type must be a row type");
  return HeapTupleGetDatum(heap_form_tuple(descriptor, values, nulls));
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
  };
  return sqlapi::RowOf(fcinfo, values);
}
