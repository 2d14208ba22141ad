// What the views tandem_index_stats and tandem_build_progress show of an index, and tandem_segments().

#include "pg/compat.hpp"

#include "am/chunk_load.hpp"
#include "am/options.hpp"
#include "graph/segment_layout.hpp"
#include "pg/try_open.hpp"
#include "shmem/mailbox.hpp"
#include "sqlapi/index_access.hpp"
#include "storage/claims.hpp"
#include "storage/fold.hpp"
#include "vec/row_distance.hpp"

extern "C" {
#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/pg_authid.h"
#include "funcapi.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

PGDLLEXPORT Datum tandem_index_info(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum tandem_build_info(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum tandem_segments(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(tandem_index_info);
PG_FUNCTION_INFO_V1(tandem_build_info);
PG_FUNCTION_INFO_V1(tandem_segments);
}

namespace tandem::sqlapi {

namespace {

constexpr double kMicrosecondsPerSecond = 1e6;

const char* MetricName(vec::Metric metric, vec::Element element) {
  if (element == vec::Element::kBit) return vec::IsJaccard(metric, element) ? "jaccard" : "hamming";
  switch (metric) {
    case vec::Metric::kL2:
      return "l2";
    case vec::Metric::kInnerProduct:
      return "inner_product";
    case vec::Metric::kCosine:
      return "cosine";
    case vec::Metric::kL1:
      return "l1";
  }
  return "unknown";
}

const char* CodecReasonName(vec::WalkReason reason) {
  switch (reason) {
    case vec::WalkReason::kAsked:
      return "asked for";
    case vec::WalkReason::kMetric:
      return "L1 has no codes of 4 bits";
    case vec::WalkReason::kDimensions:
      return "few dimensions";
    case vec::WalkReason::kSampleFar:
      return "a sample was found worse with fewer bits";
    case vec::WalkReason::kSampleNear:
      return "a sample was found as well with fewer bits";
    case vec::WalkReason::kSampleSmall:
      return "too few vectors for a sample";
    case vec::WalkReason::kSampleCoarse:
      return "a sample was found worse with 8 bits";
    case vec::WalkReason::kBits:
      return "rows are bits";
  }
  return "unknown";
}

const char* PhaseName(storage::FoldPhase phase) {
  switch (phase) {
    case storage::FoldPhase::kCounting:
      return "counting rows";
    case storage::FoldPhase::kSampling:
      return "sampling vectors";
    case storage::FoldPhase::kLoadingGraph:
      return "loading graph";
    case storage::FoldPhase::kReadingRows:
      return "reading rows";
    case storage::FoldPhase::kBuilding:
      return "building graph";
    case storage::FoldPhase::kWriting:
      return "writing segment";
    case storage::FoldPhase::kPublishing:
      return "publishing segment";
    case storage::FoldPhase::kDone:
      return "done";
  }
  return "unknown";
}

int64 BytesOfPages(uint64 pages) {
  return static_cast<int64>(pages) * BLCKSZ;
}

/// What a blob takes in the file: extents are handed out whole.
int64 BytesOfBlob(uint64 bytes) {
  return BytesOfPages(storage::FirstPageOfExtent(storage::ExtentsOfPages(storage::PagesOfBlob(bytes))));
}

double SecondsSince(TimestampTz start) {
  return Max(0.0, static_cast<double>(GetCurrentTimestamp() - start) / kMicrosecondsPerSecond);
}

/// A row being returned: NULL where nothing was set.
template <int kColumns>
struct ResultRow {
  Datum values[kColumns] = {};
  bool nulls[kColumns];

  ResultRow() { std::memset(nulls, true, sizeof nulls); }
  void Set(int column, Datum value) {
    values[column] = value;
    nulls[column] = false;
  }
  void SetInt(int column, int64 value) { Set(column, Int64GetDatum(value)); }
  void SetText(int column, const char* value) { Set(column, CStringGetTextDatum(value)); }
  /// With one decimal: more says nothing of what changes from second to second.
  void SetDecimal(int column, double value) { Set(column, Float8GetDatum(std::round(value * 10) / 10)); }
};

// ---- tandem_index_info ----

enum InfoColumn : int {
  kStrategy,
  kMetric,
  kDimensions,
  kRows,
  kNullRows,
  kDeadRows,
  kIndexedRows,
  kTailRows,
  kLagSeconds,
  kSegments,
  kCodec,
  kCodecReason,
  kHeadBytes,
  kVectorBytes,
  kSegmentBytes,
  kPackedBytes,
  kRetiredBytes,
  kFreeBytes,
  kTotalBytes,
  kMemoryBytes,
  kInfoColumns,
};

using InfoRow = ResultRow<kInfoColumns>;

/// How long the oldest row that is not in a graph has been waiting. Known while the server that took it runs, and only if it
/// was preloaded.
void SetLag(InfoRow* row, Oid index, uint64 tail_rows) {
  shmem::BuildStatus status;
  if (tail_rows == 0) {
    row->SetDecimal(kLagSeconds, 0);
  } else if (shmem::ReadBuildStatus(index, &status) && status.tail_since != 0) {
    row->SetDecimal(kLagSeconds, SecondsSince(status.tail_since));
  }
}

void SetRows(InfoRow* row, Relation index, const storage::MetaPage& meta) {
  const uint64 rows = storage::CountRows(index, storage::kHeadStream);
  const uint64 sealed = Min(meta.root.sealed_rows, rows);
  row->SetInt(kRows, static_cast<int64>(rows));
  row->SetInt(kNullRows, static_cast<int64>(storage::CountRows(index, storage::kNullHeadStream)));
  row->SetInt(kDeadRows, static_cast<int64>(meta.dead_rows + meta.dead_null_rows));
  row->SetInt(kIndexedRows, static_cast<int64>(sealed));
  // With strategy flat no row waits for a graph.
  if (am::StrategyOf(index) == am::Strategy::kFlat) return;
  row->SetInt(kTailRows, static_cast<int64>(rows - sealed));
  SetLag(row, RelationGetRelid(index), rows - sealed);
}

/// Of the largest segment: small ones are merged with it, on its terms.
void SetCodec(InfoRow* row, const storage::Manifest& manifest) {
  const storage::SegmentInfo* largest = nullptr;
  for (uint32 i = 0; i < manifest.segment_count; i++) {
    const storage::SegmentInfo* segment = &manifest.segments[i];
    if (largest == nullptr || segment->rows > largest->rows) largest = segment;
  }
  if (largest == nullptr) return;
  row->SetText(kCodec, vec::NameOf(static_cast<vec::WalkCode>(largest->codec)));
  row->SetText(kCodecReason, CodecReasonName(static_cast<vec::WalkReason>(largest->codec_reason)));
}

int64 BytesOwnedBy(const uint64* blocks, storage::BlockOwner owner) {
  return BytesOfPages(blocks[static_cast<int>(owner)]);
}

void SetBytes(InfoRow* row, Relation index) {
  const storage::IndexLayout* layout = storage::ReadLayout(index);
  uint64 blocks[storage::kBlockOwners];
  storage::CountClaims(*layout, blocks);
  const int64 heads = BytesOwnedBy(blocks, storage::BlockOwner::kHeads) +
                      BytesOwnedBy(blocks, storage::BlockOwner::kNullHeads);
  const int64 vectors = BytesOwnedBy(blocks, storage::BlockOwner::kVectors);
  const int64 segments = BytesOwnedBy(blocks, storage::BlockOwner::kSegment);
  const int64 packed = BytesOwnedBy(blocks, storage::BlockOwner::kPacked);
  const int64 retired = BytesOwnedBy(blocks, storage::BlockOwner::kRetired);
  const int64 directory = BytesOwnedBy(blocks, storage::BlockOwner::kMeta) +
                          BytesOwnedBy(blocks, storage::BlockOwner::kDirectory) +
                          BytesOwnedBy(blocks, storage::BlockOwner::kManifest);
  const int64 total = BytesOfPages(RelationGetNumberOfBlocks(index));
  row->SetInt(kSegments, layout->manifest->segment_count);
  SetCodec(row, *layout->manifest);
  row->SetInt(kHeadBytes, heads);
  row->SetInt(kVectorBytes, vectors);
  row->SetInt(kSegmentBytes, segments);
  row->SetInt(kPackedBytes, packed);
  row->SetInt(kRetiredBytes, retired);
  // The file may be shorter than what was handed out, and the figures are not of one moment.
  row->SetInt(kFreeBytes, Max(total - heads - vectors - segments - packed - retired - directory, 0));
  row->SetInt(kTotalBytes, total);
  if (am::UsesFrames(index))
    row->SetInt(kMemoryBytes, static_cast<int64>(am::BytesInMemory(index, *layout->manifest)));
}

void DescribeIndex(InfoRow* row, Relation index) {
  auto* meta = static_cast<storage::MetaPage*>(palloc(sizeof(storage::MetaPage)));
  storage::ReadMeta(index, meta);
  row->SetText(kStrategy, am::StrategyName(am::StrategyOf(index)));
  row->SetText(kMetric,
               MetricName(static_cast<vec::Metric>(meta->metric), static_cast<vec::Element>(meta->element)));
  row->Set(kDimensions, Int32GetDatum(static_cast<int32>(meta->dimensions)));
  SetRows(row, index, *meta);
  SetBytes(row, index);
}

// ---- tandem_build_info ----

enum BuildColumn : int {
  kPid,
  kPhase,
  kRowsTotal,
  kRowsDone,
  kRowsPerSecond,
  kSecondsLeft,
  kStartedAt,
  kLastError,
  kLastErrorAt,
  kBuildColumns,
};

using BuildRow = ResultRow<kBuildColumns>;

/// Error texts can hold values of rows: for the owner and for those who may read all statistics (H34).
bool MayReadErrors(Oid index) {
  if (has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS)) return true;
  // The index may have been dropped since shared memory was told of it.
  return SearchSysCacheExists1(RELOID, ObjectIdGetDatum(index)) && pg::OwnsRelation(index, GetUserId());
}

void DescribeBuild(BuildRow* row, const shmem::BuildStatus& status) {
  row->Set(kPid, Int32GetDatum(status.pid));
  row->SetText(kPhase, PhaseName(static_cast<storage::FoldPhase>(status.phase)));
  row->SetInt(kRowsTotal, static_cast<int64>(status.rows_total));
  row->SetInt(kRowsDone, static_cast<int64>(status.rows_done));
  row->Set(kStartedAt, TimestampTzGetDatum(status.started_at));
  const double seconds = SecondsSince(status.started_at);
  if (status.rows_done == 0 || seconds == 0) return;
  const double rate = static_cast<double>(status.rows_done) / seconds;
  const uint64 left = status.rows_total - Min(status.rows_done, status.rows_total);
  row->SetDecimal(kRowsPerSecond, rate);
  row->SetDecimal(kSecondsLeft, static_cast<double>(left) / rate);
}

void DescribeError(BuildRow* row, const shmem::BuildStatus& status) {
  if (MayReadErrors(status.index)) row->SetText(kLastError, status.error);
  row->Set(kLastErrorAt, TimestampTzGetDatum(status.error_at));
}

/// What keeps every index of the database from being built.
void DescribeShortage(BuildRow* row, TimestampTz since) {
  row->SetText(kLastError, "no process is left for a background worker: raise max_worker_processes");
  row->Set(kLastErrorAt, TimestampTzGetDatum(since));
}

// ---- tandem_segments ----

void ReturnSegment(ReturnSetInfo* result, const storage::SegmentInfo& segment) {
  Datum values[] = {
      Int64GetDatum(segment.id),
      Int64GetDatum(static_cast<int64>(segment.first_row)),
      Int64GetDatum(static_cast<int64>(segment.end_row)),
      Int64GetDatum(static_cast<int64>(segment.rows)),
      Int64GetDatum(segment.nodes),
      Int64GetDatum(BytesOfBlob(segment.bytes)),
      Int32GetDatum(static_cast<int32>(segment.m)),
      Int32GetDatum(static_cast<int32>(segment.ef_construction)),
      CStringGetTextDatum(vec::NameOf(static_cast<vec::WalkCode>(segment.codec))),
      CStringGetTextDatum(CodecReasonName(static_cast<vec::WalkReason>(segment.codec_reason))),
      TimestampTzGetDatum(segment.built_at),
  };
  bool nulls[lengthof(values)] = {};
  tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

}  // namespace

}  // namespace tandem::sqlapi

using namespace tandem;

/// One row about an index; all NULL if it is locked exclusively, gone, or not ours: a statistics view must not
/// wait, nor fail because something was dropped meanwhile.
Datum tandem_index_info(PG_FUNCTION_ARGS) {
  TupleDesc descriptor;
  if (get_call_result_type(fcinfo, nullptr, &descriptor) != TYPEFUNC_COMPOSITE)
    elog(ERROR, "return type must be a row type");
  sqlapi::InfoRow row;
  const Relation index = pg::TryOpen(PG_GETARG_OID(0), AccessShareLock);
  if (index != nullptr) {
    if (sqlapi::IsTandemIndex(index) && sqlapi::IsReadable(index)) sqlapi::DescribeIndex(&row, index);
    relation_close(index, AccessShareLock);
  }
  PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(descriptor, row.values, row.nulls)));
}

/// One row about the building of an index, none if shared memory knows nothing of it and nothing is in the way.
Datum tandem_build_info(PG_FUNCTION_ARGS) {
  const Oid index = PG_GETARG_OID(0);
  pg::InitMaterializedResult(fcinfo);
  shmem::BuildStatus status = {};
  const TimestampTz short_since = shmem::ShortOfProcessesSince();
  if (!shmem::ReadBuildStatus(index, &status) && short_since == 0) return static_cast<Datum>(0);
  sqlapi::BuildRow row;
  if (status.pid != 0) sqlapi::DescribeBuild(&row, status);
  if (status.error_at > short_since)
    sqlapi::DescribeError(&row, status);
  else if (short_since != 0)
    sqlapi::DescribeShortage(&row, short_since);
  auto* result = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
  tuplestore_putvalues(result->setResult, result->setDesc, row.values, row.nulls);
  return static_cast<Datum>(0);
}

/// The segments of an index, in the order of row ids.
Datum tandem_segments(PG_FUNCTION_ARGS) {
  const Oid index_oid = PG_GETARG_OID(0);
  pg::InitMaterializedResult(fcinfo);
  const sqlapi::OpenIndex open = sqlapi::OpenOwnedIndex(index_oid, AccessShareLock);
  const storage::Manifest* manifest = storage::ReadManifest(open.index);
  for (uint32 i = 0; i < manifest->segment_count; i++)
    sqlapi::ReturnSegment(reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo), manifest->segments[i]);
  sqlapi::CloseIndex(open);
  return static_cast<Datum>(0);
}
