// The steps of a fold; fold.hpp tells the story.

#include "pg/compat.hpp"

#include "storage/fold.hpp"

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "graph/graph_builder.hpp"
#include "pg/heap_tid.hpp"
#include "pg/own.hpp"
#include "pg/stop_point.hpp"
#include "storage/head_range.hpp"
#include "storage/segment_reader.hpp"
#include "storage/step_budget.hpp"

extern "C" {
#include "common/pg_prng.h"
#include "storage/ipc.h"
#include "utils/timestamp.h"
}

namespace tandem::storage {

namespace {

// Between two looks at the clock: some 0.1 ms each.
constexpr uint32 kNodesAtOnce = 1024;
constexpr uint32 kPagesAtOnce = 16;
constexpr uint64 kRowsAtOnce = 16;  // handed to threads; without them a row takes 0.1 ms and more by itself

// Builds larger than this give their memory back to the system at the end: allocators keep what is freed.
constexpr std::size_t kTrimBytes = std::size_t{16} << 20;

// Row ids of one segment lie within so many of each other (graph/segment_layout.hpp).
constexpr uint64 kMaxSpan = ~uint32{0} - 1;

}  // namespace

struct FoldJob {
  MemoryContext context;
  MemoryContext
      builder_context;  ///< child of `context`; deleting it ends the builder. nullptr: there is none
  graph::GraphBuilder* builder;
  FoldJob* next_running;
  FoldOptions options;

  // What is folded.
  uint64 incarnation;
  uint64 version;  ///< of the manifest that the job began with
  const DirectoryView* view;
  const Manifest* manifest;  ///< for its packed ranges
  uint32 replaced_first;     ///< segments [replaced_first, replaced_end)
  uint32 replaced_end;
  uint64 first_row;
  uint64 replaced_end_row;  ///< rows from here on are the tail's
  uint64 end_row;
  uint64 sealed_rows;  ///< of the manifest that the job began with
  uint64 tail_rows;    ///< kCounting: live rows of the tail still to be found, if there are so many
  uint64 live_rows;    ///< in [first_row, end_row) when they were counted; later only fewer
  bool has_base;
  uint64 base_first_row;
  uint64 base_end_row;
  BlobRef base;

  // Where it stands.
  FoldPhase phase;
  bool base_begun;
  bool base_loaded;    ///< its graph is; its rows are still to be kept
  bool rows_prepared;  ///< the builder is ready for rows
  uint64 next_row;     ///< kCounting: to be counted; kLoadingGraph: to be kept; kReadingRows: to be read
  uint64 next_sample;  ///< of `samples`
  uint64 samples;
  bool sampled;  ///< the codec is being trained
  pg_prng_state random;
  BlobWriter* writer;

  // Scratch.
  BufferAccessStrategy strategy;  ///< a ring, so that reading everything once does not empty shared_buffers
  void* row_scratch;
  RowHead* heads;
};

namespace {

// ---- The builder's life ----

FoldJob* running_jobs;

/// FATAL, or the end of a worker: exit() must not run while threads compute.
void StopThreadsAtExit(int /*code*/, Datum /*unused*/) {
  for (FoldJob* job = running_jobs; job != nullptr; job = job->next_running) {
    if (job->builder_context != nullptr) MemoryContextDelete(job->builder_context);
    job->builder_context = nullptr;
    job->builder = nullptr;
  }
}

void WatchProcessEnd() {
  static bool watching = false;
  if (!watching) before_shmem_exit(StopThreadsAtExit, 0);
  watching = true;
}

graph::GraphParameters ShapeOf(const FoldJob& job) {
  graph::GraphParameters shape;
  shape.metric = job.view->metric;
  shape.dimensions = job.view->dimensions;
  shape.m = job.options.m;
  shape.ef_construction = job.options.ef_construction;
  shape.bits = vec::AreWalkedOnBits(job.view->element, job.view->column_dimensions, job.options.codec);
  return shape;
}

/// Options that do not go together with the metric can still be set by ALTER INDEX, which nobody asks us about.
vec::WalkWish ChoiceOf(const FoldJob& job) {
  const vec::WalkWish choice = job.options.codec;
  const bool possible = choice != vec::WalkWish::kSq4 || job.view->metric != vec::Metric::kL1;
  return possible ? choice : vec::WalkWish::kSq8;
}

/// The job's context goes, and the builder in its child context has gone. Frees no memory of contexts.
void Forget(void* arg) {
  auto* job = static_cast<FoldJob*>(arg);
  FoldJob** link = &running_jobs;
  while (*link != nullptr && *link != job) link = &(*link)->next_running;
  if (*link != nullptr) *link = job->next_running;
#ifdef __GLIBC__
  if (graph::BuildBytes(ShapeOf(*job), job->live_rows, job->options.threads) >= kTrimBytes) malloc_trim(0);
#endif
}

void DropBuilder(FoldJob* job) {
  const MemoryContext context = job->builder_context;
  job->builder = nullptr;
  job->builder_context = nullptr;
  if (context != nullptr) MemoryContextDelete(context);
}

void NewBuilder(FoldJob* job) {
  graph::BuildParameters parameters;
  parameters.graph = ShapeOf(*job);
  parameters.codec = ChoiceOf(*job);
  parameters.first_row = job->first_row;
  parameters.end_row = job->end_row;
  parameters.max_rows = job->live_rows;
  parameters.threads = job->options.threads;
  parameters.nice = job->options.nice;
  job->builder_context = AllocSetContextCreate(job->context, "tandem builder", ALLOCSET_SMALL_SIZES);
  job->builder = pg::Own<graph::GraphBuilder>(job->builder_context, parameters);
}

// ---- Beginning ----

/// Which rows, and which segments they replace. Where the tail's part ends is counted later.
void SetRange(FoldJob* job, const FoldSurvey& survey, const policy::FoldPlan& plan) {
  const Manifest& manifest = *survey.manifest;
  job->sealed_rows = manifest.root.sealed_rows;
  job->replaced_first = plan.first;
  job->replaced_end = plan.end;
  job->first_row = plan.first < plan.end ? manifest.segments[plan.first].first_row : job->sealed_rows;
  job->replaced_end_row = plan.first < plan.end ? manifest.segments[plan.end - 1].end_row : job->sealed_rows;
  job->end_row = job->replaced_end_row;
  if (!plan.tail) return;
  Assert(plan.end == survey.segment_count);
  job->end_row = Min(Min(survey.row_bound, job->options.tail_bound), job->first_row + kMaxSpan);
  job->tail_rows = plan.tail_rows;
}

/// A base must have been built the same way. Its blocks are copied: the survey goes before the job does.
void SetBase(FoldJob* job, const Manifest& manifest, uint32 base) {
  const SegmentInfo& info = manifest.segments[base];
  const auto codec = static_cast<vec::WalkCode>(info.codec);
  if (info.m != job->options.m || !vec::Grants(ChoiceOf(*job), ShapeOf(*job).bits, codec)) return;
  job->has_base = true;
  job->base_first_row = info.first_row;
  job->base_end_row = info.end_row;
  job->base = manifest.BlobOf(info);
  const Size bytes = ExtentsOfPages(PagesOfBlob(info.bytes)) * sizeof(BlockNumber);
  auto* blocks = static_cast<BlockNumber*>(palloc(bytes));
  std::memcpy(blocks, job->base.first_block, bytes);
  job->base.first_block = blocks;
}

/// Where the job begins, or begins again after its base has failed it.
void Start(FoldJob* job) {
  NewBuilder(job);
  job->phase = job->has_base ? FoldPhase::kLoadingGraph : FoldPhase::kSampling;
  job->base_begun = false;
  job->base_loaded = false;
  job->rows_prepared = false;
  job->next_row = job->first_row;
  job->next_sample = 0;
  job->sampled = false;
  const std::size_t wanted = pg::Guard([job] { return job->builder->MaxSamples(); });
  job->samples = Min(static_cast<uint64>(wanted), job->end_row - job->first_row);
  // The same rows each time: a build can be repeated.
  pg_prng_seed(&job->random, job->incarnation ^ job->first_row);
}

}  // namespace

FoldJob* BeginFold(MemoryContext parent, Relation index, const FoldSurvey& survey,
                   const policy::FoldPlan& plan, const FoldOptions& options) {
  WatchProcessEnd();
  const MemoryContext context = AllocSetContextCreate(parent, "tandem fold", ALLOCSET_DEFAULT_SIZES);
  const MemoryContext old_context = MemoryContextSwitchTo(context);
  auto* job = static_cast<FoldJob*>(palloc0(sizeof(FoldJob)));
  job->context = context;
  job->options = options;
  job->view = CopyDirectory(DirectoryWith(index, survey.row_bound));
  job->incarnation = job->view->incarnation;
  job->version = survey.manifest->root.version;
  job->manifest = ReadManifest(index);
  SetRange(job, survey, plan);
  if (plan.base != policy::FoldPlan::kNoBase) SetBase(job, *survey.manifest, plan.base);
  job->next_row = job->first_row;
  job->strategy = GetAccessStrategy(BAS_BULKREAD);
  job->row_scratch = NewRowScratch(*job->view);
  job->heads = static_cast<RowHead*>(palloc(kHeadsPerPage * sizeof(RowHead)));

  auto* callback = static_cast<MemoryContextCallback*>(palloc(sizeof(MemoryContextCallback)));
  callback->func = Forget;
  callback->arg = job;
  MemoryContextRegisterResetCallback(context, callback);
  job->next_running = running_jobs;
  running_jobs = job;
  MemoryContextSwitchTo(old_context);
  return job;
}

void EndFold(FoldJob* job) {
  MemoryContextDelete(job->context);
}

// ---- Counting ----

namespace {

/// Up to the tail's last row that is wanted: the part to be folded ends at the live row that follows it.
void CountPage(FoldJob* job, Relation index) {
  const auto count = [job](uint64 row, const RowHead& head) {
    if (row >= job->end_row || !IsAlive(head)) return;
    if (row >= job->replaced_end_row && job->tail_rows-- == 0)
      job->end_row = row;
    else
      job->live_rows++;
  };
  job->next_row = VisitPageOfHeads(index, *job->view, job->next_row, job->end_row, job->heads, count);
}

FoldStep Count(FoldJob* job, Relation index, const StepBudget& budget) {
  while (job->next_row < job->end_row) {
    CountPage(job, index);
    if (budget.IsSpent()) return FoldStep::kContinue;
  }
  const MemoryContext old_context = MemoryContextSwitchTo(job->context);
  Start(job);
  MemoryContextSwitchTo(old_context);
  return FoldStep::kContinue;
}

// ---- Sampling ----

/// A random row of the next of as many equal parts of the range as samples are wanted: random, and in ascending order. Rows
/// that are dead serve as well: they came from the same data, and to look at heads would double the cost. rows: with a vector, in the range.
uint64 NextSampleRow(FoldJob* job, RowReader* reader, uint64 rows) {
  const uint64 begin = rows * job->next_sample / job->samples;
  const uint64 end = rows * (job->next_sample + 1) / job->samples;
  const uint64 ordinal = begin + pg_prng_uint64(&job->random) % (end - begin);
  return NthRow(reader, job->first_row, ordinal);
}

/// Reads more samples; true when all are read.
bool ReadSamples(FoldJob* job, Relation index, const StepBudget& budget) {
  RowReader reader;
  OpenRows(&reader, index, job->view, job->manifest, job->row_scratch, job->strategy);
  reader.read_ahead = false;
  const uint64 rows = CountRowsWithVector(&reader, job->first_row, job->end_row);
  job->samples = Min(job->samples, rows);
  while (job->next_sample < job->samples) {
    const float* vector = ReadVector(&reader, NextSampleRow(job, &reader, rows));
    if (vector != nullptr) pg::Guard([job, vector] { job->builder->AddSample(vector); });
    job->next_sample++;
    if (budget.IsSpent()) break;
  }
  CloseRows(&reader);
  return job->next_sample >= job->samples;
}

/// Training takes some tenths of a second: threads do it, so that nobody waits for the lock of this step meanwhile.
FoldStep Sample(FoldJob* job, Relation index, const StepBudget& budget) {
  if (!job->sampled) {
    if (!ReadSamples(job, index, budget)) return FoldStep::kContinue;
    pg::Guard([job] { job->builder->FinishTraining(); });
    job->sampled = true;
  }
  if (job->builder->Busy()) return FoldStep::kWait;
  job->phase = FoldPhase::kReadingRows;
  pg::StopPoint("fold-before-read");
  return FoldStep::kContinue;
}

// ---- The base ----

/// Loads more nodes; true while there are more. A failed status, or a stale reader, means that the base is damaged.
bool LoadNodes(FoldJob* job, BlobReader* reader, const StepBudget& budget, base::Status* status) {
  BlobSource source(reader);
  // ReadBlob() may jump out of the builder: hazard rule of SegmentSource.
  if (!job->base_begun) {
    *status = pg::Guard([job, &source] { return job->builder->BeginBase(&source); });
    job->base_begun = true;
    job->next_row = job->base_first_row;
  }
  while (status->ok() && !reader->stale) {
    const bool more = pg::Guard(
        [job, &source, status] { return job->builder->LoadBaseNodes(&source, kNodesAtOnce, status); });
    if (!more) return false;
    if (budget.IsSpent()) break;
  }
  return true;
}

/// Rows are the truth: a base that cannot be read costs time, not rows.
void WarnOfBase(const FoldJob& job, Relation index, const char* problem) {
  ereport(WARNING, (errcode(ERRCODE_INDEX_CORRUPTED),
                    errmsg("graph segment %u of index \"%s\" cannot be read: %s", job.base.id,
                           RelationGetRelationName(index), problem),
                    errdetail("A graph is built from its rows instead.")));
}

FoldStep GiveUpBase(FoldJob* job) {
  DropBuilder(job);
  job->has_base = false;
  Start(job);
  return FoldStep::kContinue;
}

/// Keeps the base's rows that are alive: heads alone are read.
FoldStep KeepBaseRows(FoldJob* job, Relation index, const StepBudget& budget) {
  do {
    const auto keep = [job](uint64 row, const RowHead& head) {
      if (!IsAlive(head)) return;
      pg::Guard([&] { job->builder->KeepBaseRow(base::RowId{row}, pg::ToHeapTid(head.tid)); });
    };
    job->next_row = VisitPageOfHeads(index, *job->view, job->next_row, job->base_end_row, job->heads, keep);
  } while (job->next_row < job->base_end_row && !budget.IsSpent());
  if (job->next_row < job->base_end_row) return FoldStep::kContinue;
  job->next_row = job->first_row;
  job->phase = FoldPhase::kReadingRows;
  pg::StopPoint("fold-before-read");
  return FoldStep::kContinue;
}

FoldStep LoadBase(FoldJob* job, Relation index, const StepBudget& budget) {
  if (job->base_loaded) return job->builder->Busy() ? FoldStep::kWait : KeepBaseRows(job, index, budget);
  BlobReader reader;
  OpenBlob(&reader, index, job->incarnation, job->base, nullptr);
  base::Status status;
  const bool more = LoadNodes(job, &reader, budget, &status);
  CloseBlob(&reader);
  if (reader.stale) WarnOfBase(*job, index, "a page belongs to something else");
  // One that no other segment is to grow from is no damage.
  if (!status.ok() && status.kind() != base::ErrorKind::kUnsuitable)
    WarnOfBase(*job, index, status.message());
  if (reader.stale || !status.ok()) return GiveUpBase(job);
  job->base_loaded = !more;
  return FoldStep::kContinue;
}

// ---- Rows ----

/// The heads of the page that `row` lies on, as of now.
void ReadHeadsAround(FoldJob* job, Relation index, uint64 row) {
  const auto page = static_cast<uint32>(row / kHeadsPerPage);
  const uint64 page_start = static_cast<uint64>(page) * kHeadsPerPage;
  (void)ReadHeadPage(index, *job->view, kHeadStream, page, Min(job->end_row - page_start, kHeadsPerPage),
                     nullptr, job->heads);
}

/// Hands rows on until the time is up, the threads have enough, or no row is left.
void HandRows(FoldJob* job, Relation index, RowReader* reader, const StepBudget& budget) {
  const uint64 clock_mask = job->options.threads > 0 ? kRowsAtOnce - 1 : 0;
  constexpr uint64 kNoPage = ~uint64{0};
  uint64 heads_page = kNoPage;
  for (; job->next_row < job->end_row; job->next_row++) {
    const uint64 row = job->next_row;
    if (job->has_base && row >= job->base_first_row && row < job->base_end_row) {
      job->next_row = job->base_end_row - 1;
      continue;
    }
    if (row / kHeadsPerPage != heads_page) {
      // Where all are dead, this is the only look at the clock.
      if (heads_page != kNoPage && budget.IsSpent()) return;
      ReadHeadsAround(job, index, row);
      heads_page = row / kHeadsPerPage;
    }
    const RowHead& head = job->heads[row % kHeadsPerPage];
    if (!IsAlive(head)) continue;
    if (!job->builder->HasRoom()) return;
    const float* vector = ReadVector(reader, row);
    if (vector == nullptr) continue;
    pg::Guard([&] { job->builder->AddRow(base::RowId{row}, pg::ToHeapTid(head.tid), vector); });
    if ((row & clock_mask) == 0 && budget.IsSpent()) {
      job->next_row++;
      return;
    }
  }
}

void EndReading(FoldJob* job) {
  pg::StopPoint("fold-after-read");
  pg::Guard([job] { job->builder->EndRows(); });
  job->phase = FoldPhase::kBuilding;
}

/// Hashes what the base brought; true when done.
bool PrepareRows(FoldJob* job, const StepBudget& budget) {
  do {
    job->rows_prepared = !pg::Guard([job] { return job->builder->PrepareRows(kNodesAtOnce); });
  } while (!job->rows_prepared && !budget.IsSpent());
  return job->rows_prepared;
}

FoldStep ReadRows(FoldJob* job, Relation index, const StepBudget& budget) {
  if (!job->rows_prepared && !PrepareRows(job, budget)) return FoldStep::kContinue;
  RowReader reader;
  OpenRows(&reader, index, job->view, job->manifest, job->row_scratch, job->strategy);
  HandRows(job, index, &reader, budget);
  CloseRows(&reader);
  if (job->next_row < job->end_row) return job->builder->HasRoom() ? FoldStep::kContinue : FoldStep::kWait;
  EndReading(job);
  return FoldStep::kContinue;
}

// ---- Building, writing, publishing ----

FoldStep AwaitThreads(FoldJob* job) {
  if (!job->builder->Done() || pg::IsSwitchedOn("endless-build")) return FoldStep::kWait;
  const base::Status status = pg::Guard([job] { return job->builder->Finish(); });
  pg::Check(status);
  job->phase = FoldPhase::kWriting;
  return FoldStep::kContinue;
}

/// The builder knew the range that was planned; a fold that was cut has a smaller one.
void CopyImage(void* state, uint64 offset, uint32 bytes, char* to) {
  const auto* job = static_cast<const FoldJob*>(state);
  job->builder->ReadImage(offset, bytes, to);
  if (offset != 0) return;
  graph::SegmentHeader header;
  std::memcpy(&header, to, sizeof header);
  header.end_row = job->end_row;
  std::memcpy(to, &header, sizeof header);
}
static_assert(sizeof(graph::SegmentHeader) <= kBlobPageBytes, "the header is supplied with the first page");

FoldStep WritePages(FoldJob* job, Relation index, const StepBudget& budget) {
  const MemoryContext old_context = MemoryContextSwitchTo(job->context);
  if (job->writer == nullptr) {
    BlobWriter* writer = BeginBlobs(index);
    BeginBlob(writer, index, PageKind::kSegment, job->builder->header().bytes);
    job->writer = writer;
  }
  bool more;
  do {
    more = WriteBlobPages(job->writer, index, kPagesAtOnce, CopyImage, job);
  } while (more && !budget.IsSpent());
  MemoryContextSwitchTo(old_context);
  if (!more) job->phase = FoldPhase::kPublishing;
  return FoldStep::kContinue;
}

SegmentInfo DescribeSegment(const FoldJob& job, const BlobRef& blob) {
  const graph::SegmentHeader& header = job.builder->header();
  SegmentInfo info = {};
  info.id = blob.id;
  info.nodes = header.nodes;
  info.bytes = header.bytes;
  info.first_row = job.first_row;
  info.end_row = job.end_row;
  info.rows = header.rows;
  info.m = header.m;
  info.ef_construction = header.ef_construction;
  info.codec = header.codec;
  info.codec_reason = static_cast<uint16>(header.codec_reason);
  info.built_at = GetCurrentTimestamp();
  return info;
}

FoldStep PublishSegment(FoldJob* job, Relation index) {
  const BlobRef blob = WrittenBlob(job->writer);
  Publication publication = {};
  publication.expected_version = job->version;
  publication.replaced_first = job->replaced_first;
  publication.replaced_end = job->replaced_end;
  publication.has_segment = true;
  publication.segment = DescribeSegment(*job, blob);
  publication.segment_blob = blob;
  publication.sealed_rows = SealedAfter(job);
  pg::StopPoint("fold-before-publish");
  const MemoryContext old_context = MemoryContextSwitchTo(job->context);
  const bool published = Publish(index, job->writer, publication);
  MemoryContextSwitchTo(old_context);
  if (!published) return FoldStep::kAbandoned;
  // The builder goes with the job, when the index is not locked any more: to give gigabytes back takes a while.
  job->phase = FoldPhase::kDone;
  pg::StopPoint("fold-after-publish");
  return FoldStep::kPublished;
}

/// False if the index was rebuilt, or another builder has published.
bool StillHolds(const FoldJob& job, Relation index) {
  MetaPage meta;
  ReadMeta(index, &meta);
  return meta.incarnation == job.incarnation && meta.root.version == job.version;
}

}  // namespace

FoldStep StepFold(FoldJob* job, Relation index, int budget_ms) {
  if (job->phase == FoldPhase::kDone) return FoldStep::kPublished;
  if (!StillHolds(*job, index)) return FoldStep::kAbandoned;
  if (pg::IsSwitchedOn("slow-steps")) pg_usleep(100 * 1000);
  const StepBudget budget(budget_ms);
  switch (job->phase) {
    case FoldPhase::kCounting:
      return Count(job, index, budget);
    case FoldPhase::kSampling:
      return Sample(job, index, budget);
    case FoldPhase::kLoadingGraph:
      return LoadBase(job, index, budget);
    case FoldPhase::kReadingRows:
      return ReadRows(job, index, budget);
    case FoldPhase::kBuilding:
      return AwaitThreads(job);
    case FoldPhase::kWriting:
      return WritePages(job, index, budget);
    case FoldPhase::kPublishing:
      return PublishSegment(job, index);
    case FoldPhase::kDone:
      break;
  }
  return FoldStep::kPublished;
}

FoldProgress ProgressOf(const FoldJob* job) {
  const uint64 done = job->builder != nullptr ? job->builder->RowsDone() : 0;
  return {job->phase, job->phase <= FoldPhase::kBuilding ? done : job->live_rows, job->live_rows};
}

bool CutFold(FoldJob* job) {
  if (job->phase > FoldPhase::kReadingRows) return true;
  if (job->phase < FoldPhase::kReadingRows || job->next_row < job->replaced_end_row ||
      job->next_row == job->first_row)
    return false;
  job->end_row = job->next_row;
  return true;
}

policy::FoldReading ReadingOf(const FoldJob* job) {
  policy::FoldReading reading;
  reading.absorbed_rows = job->replaced_end_row - job->first_row;
  if (job->phase == FoldPhase::kReadingRows && job->next_row > job->replaced_end_row)
    reading.read_rows = job->next_row - job->replaced_end_row;
  return reading;
}

Manifest* PreviewOf(const FoldJob* job, Relation index) {
  if (!StillHolds(*job, index)) return nullptr;
  const BlobRef blob = WrittenBlob(job->writer);
  const Manifest& now = *job->manifest;
  const uint32 extents = ExtentsOfPages(PagesOfBlob(blob.bytes));
  auto* preview = static_cast<Manifest*>(palloc(sizeof(Manifest)));
  auto* segment = static_cast<SegmentInfo*>(palloc(sizeof(SegmentInfo)));
  // Packed ranges stay where they are; the new segment's blocks come behind the others.
  auto* blocks = static_cast<BlockNumber*>(palloc((now.block_count + extents) * sizeof(BlockNumber)));
  std::memcpy(blocks, now.blocks, now.block_count * sizeof(BlockNumber));
  std::memcpy(blocks + now.block_count, blob.first_block, extents * sizeof(BlockNumber));
  *segment = DescribeSegment(*job, blob);
  segment->first_extent = now.block_count;
  *preview = now;
  preview->root.sealed_rows = SealedAfter(job);
  preview->segments = segment;
  preview->segment_count = 1;
  preview->blocks = blocks;
  preview->block_count = now.block_count + extents;
  return preview;
}

uint64 SealedAfter(const FoldJob* job) {
  return Max(job->end_row, job->sealed_rows);
}

}  // namespace tandem::storage
