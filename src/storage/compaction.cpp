#include "pg/compat.hpp"

#include "storage/compaction.hpp"

#include <chrono>

#include "pg/reserve.hpp"
#include "pg/stop_point.hpp"
#include "policy/pack_policy.hpp"
#include "storage/head_range.hpp"
#include "storage/packed_format.hpp"

extern "C" {
#include "utils/timestamp.h"
}

namespace tandem::storage {

namespace {

using Clock = std::chrono::steady_clock;

// Fewer pages than this are not worth a new manifest, which takes a page or two itself: 256 KB.
constexpr uint64 kLeastPages = 32;
// A blob has no more vectors than this: 256 MB are written, and logged, in some seconds. Nor more rows, whose places are kept in
// memory meanwhile: 64 MB.
constexpr uint64 kMostVectorBytes = uint64{256} << 20;
constexpr uint64 kMostRows = uint64{16} << 20;
// Between two looks at the clock.
constexpr uint32 kPagesAtOnce = 16;
constexpr int kStepMs = 50;

enum class Phase : unsigned char { kCounting, kListing, kWriting, kPublishing, kGiving, kDone };

/// A group of extents, or a packed range.
struct Part {
  uint32 first_extent;
  uint32 end_extent;
  uint64 first_row;  ///< parts share no row: one that crosses a border is counted with the first
  uint64 end_row;
  bool packed;
};

}  // namespace

struct Compaction {
  MemoryContext context;
  Phase phase;
  uint64 incarnation;
  const DirectoryView* view;
  const Manifest* manifest;
  bool has_packed;

  Part* parts;
  policy::PackItem* items;  ///< one a part
  uint32 part_count;
  uint32 part;      ///< being counted
  uint64 next_row;  ///< to be counted, or listed

  PackedInfo range;  ///< being made
  uint32 replaced_first;
  uint32 replaced_end;
  uint32* places;  ///< of the rows that are alive
  uint64 places_room;
  uint32* fences;
  PackedLayout layout;
  BlobWriter* writer;

  RowHead* heads;
  void* row_scratch;
  BufferAccessStrategy strategy;
  RowReader reader;  ///< open within a step of kWriting
};

namespace {

// ---- Beginning ----

uint64 LeastFreed(uint32 row_bytes) {
  return kLeastPages * kPayloadBytes / row_bytes + 1;
}

/// Rows that are dead, as of the last VACUUM, and whose vectors take room all the same.
uint64 DeadVectors(const Manifest& manifest) {
  uint64 gone = 0;
  for (uint32 i = 0; i < manifest.packed_count; i++)
    gone += manifest.packed[i].end_row - manifest.packed[i].first_row - manifest.packed[i].rows;
  return manifest.dead_rows - Min(manifest.dead_rows, gone);
}

/// Extents of the stream that are not holes.
uint32 CountExtents(const DirectoryView& view, Stream stream) {
  uint32 extents = 0;
  for (uint32 extent = 0; extent < view.streams[stream].extents; extent++)
    if (view.FirstBlockOf(stream, extent) != InvalidBlockNumber) extents++;
  return extents;
}

/// True if streams would have to make the file longer soon. Publications see to small indexes by themselves.
bool WantsExtents(Relation index) {
  constexpr uint32 kWorthwhileExtents = 16;
  auto* meta = static_cast<MetaPage*>(palloc(sizeof(MetaPage)));
  ReadMeta(index, meta);
  const uint32 reserved = CountBlankExtents(*meta);
  pfree(meta);
  const DirectoryView& view = GetIndexCache(index)->directory;
  const uint32 extents = CountExtents(view, kVectorStream) + CountExtents(view, kElementStream);
  return extents >= kWorthwhileExtents && reserved < extents / 8;
}

/// Extents of which every row lies on a head page that is full: appends have no more to do with them.
uint32 SettledExtents(const DirectoryView& view, uint64 rows) {
  const uint64 settled_rows = rows / kHeadsPerPage * kHeadsPerPage;
  uint32 extents = 0;
  while (extents < view.streams[kVectorStream].extents &&
         RowsTouching(0, extents + 1, view.row_bytes).end <= settled_rows)
    extents++;
  return extents;
}

void AddPart(Compaction* job, const Part& part, uint64 slots) {
  job->parts[job->part_count] = part;
  job->items[job->part_count] = {slots, 0, part.end_row - part.first_row, part.packed};
  job->part_count++;
}

uint64 EndOfParts(const Compaction& job) {
  return job.part_count == 0 ? 0 : job.parts[job.part_count - 1].end_row;
}

/// Extents [first, end), whose rows end at `end_row` at the latest, in groups. The first seven extents are as large as each later
/// one, together.
void AddExtents(Compaction* job, uint32 first, uint32 end, uint64 end_row, uint32 group) {
  while (first < end) {
    uint32 next = first < kRampExtents ? kRampExtents : (first / group + 1) * group;
    next = Min(next, end);
    const uint64 start = EndOfParts(*job);
    // A row of many pages can take extents for itself, which then count for nothing.
    const uint64 stop = Max(Min(RowsTouching(first, next, job->view->row_bytes).end, end_row), start);
    AddPart(job, {first, next, start, stop, false}, stop - start);
    first = next;
  }
}

/// Cuts what may be packed into parts.
void MakeParts(Compaction* job, uint64 rows) {
  const Manifest& manifest = *job->manifest;
  const uint32 extents = SettledExtents(*job->view, rows);
  uint32 held = extents;
  for (uint32 i = 0; i < manifest.packed_count; i++)
    held -= manifest.packed[i].end_of_stream - manifest.packed[i].first_of_stream;
  const uint32 group = policy::ExtentsPerGroup(held);
  const Size room = held + manifest.packed_count + 1;
  job->parts = static_cast<Part*>(palloc(room * sizeof(Part)));
  job->items = static_cast<policy::PackItem*>(palloc(room * sizeof(policy::PackItem)));
  uint32 extent = 0;
  for (uint32 i = 0; i < manifest.packed_count; i++) {
    const PackedInfo& range = manifest.packed[i];
    AddExtents(job, extent, range.first_of_stream, range.first_row, group);
    AddPart(job, {range.first_of_stream, range.end_of_stream, range.first_row, range.end_row, true},
            range.rows);
    extent = range.end_of_stream;
  }
  AddExtents(job, extent, extents, ~uint64{0}, group);
}

// ---- Counting and choosing ----

/// Counts one page of heads; false at the end.
bool CountPage(Compaction* job, Relation index) {
  const uint64 end = EndOfParts(*job);
  if (job->next_row >= end) return false;
  job->next_row = VisitPageOfHeads(index, *job->view, job->next_row, end, job->heads,
                                   [job](uint64 row, const RowHead& head) {
                                     while (row >= job->parts[job->part].end_row) job->part++;
                                     if (IsAlive(head)) job->items[job->part].live++;
                                   });
  return true;
}

/// What the new range covers. A row that crosses into it from an extent that is kept is packed as well: of its extents nothing
/// will be read any more. One that a neighbouring range has is not.
void SetRange(Compaction* job, const policy::PackPlan& plan) {
  const Part& first = job->parts[plan.first];
  const Part& last = job->parts[plan.end - 1];
  job->replaced_first = 0;
  for (uint32 i = 0; i < plan.first; i++) job->replaced_first += job->parts[i].packed ? 1 : 0;
  job->replaced_end = job->replaced_first;
  uint64 live = 0;
  for (uint32 i = plan.first; i < plan.end; i++) {
    job->replaced_end += job->parts[i].packed ? 1 : 0;
    live += job->items[i].live;
  }
  const Manifest& manifest = *job->manifest;
  const TouchingRows rows = RowsTouching(first.first_extent, last.end_extent, job->view->row_bytes);
  PackedInfo& range = job->range;
  range = {};
  range.first_of_stream = first.first_extent;
  range.end_of_stream = last.end_extent;
  range.first_row = rows.first;
  range.end_row = rows.end;
  if (job->replaced_first > 0)
    range.first_row = Max(range.first_row, manifest.packed[job->replaced_first - 1].end_row);
  if (job->replaced_end < manifest.packed_count)
    range.end_row = Min(range.end_row, manifest.packed[job->replaced_end].first_row);
  job->places_room = live + 16;
  job->places = static_cast<uint32*>(
      MemoryContextAllocHuge(job->context, static_cast<Size>(job->places_room * sizeof(uint32))));
  job->next_row = range.first_row;
}

void Choose(Compaction* job) {
  const uint32 row_bytes = job->view->row_bytes;
  const policy::PackSettings settings = {
      row_bytes, Max(Min(kMostRows, kMostVectorBytes / row_bytes), uint64{1}), LeastFreed(row_bytes)};
  const policy::PackPlan plan = policy::PlanPack({job->items, job->part_count}, settings);
  if (plan.worth_it) SetRange(job, plan);
  job->phase = plan.worth_it ? Phase::kListing : Phase::kGiving;
}

void Count(Compaction* job, Relation index, Clock::time_point until) {
  while (CountPage(job, index))
    if (Clock::now() >= until) return;
  Choose(job);
  pg::StopPoint("compaction-counted");
}

// ---- Listing ----

void AddPlace(Compaction* job, uint64 row) {
  pg::ReserveOneMore(&job->places, job->range.rows, &job->places_room);
  job->places[job->range.rows++] = static_cast<uint32>(row - job->range.first_row);
}

void BeginWriting(Compaction* job, Relation index) {
  job->layout = PackedLayout::Of(job->range.rows, job->view->row_bytes);
  job->range.bytes = job->layout.Bytes();
  job->writer = BeginBlobs(index);
  job->phase = Phase::kPublishing;
  if (job->range.bytes == 0) return;
  job->fences = static_cast<uint32*>(palloc(job->layout.fences * sizeof(uint32)));
  for (uint64 i = 0; i < job->layout.fences; i++) job->fences[i] = job->places[i * kPlacesPerPage];
  BeginBlob(job->writer, index, PageKind::kPacked, job->range.bytes);
  job->phase = Phase::kWriting;
}

void List(Compaction* job, Relation index, Clock::time_point until) {
  while (job->next_row < job->range.end_row) {
    job->next_row = VisitPageOfHeads(index, *job->view, job->next_row, job->range.end_row, job->heads,
                                     [job](uint64 row, const RowHead& head) {
                                       if (IsAlive(head)) AddPlace(job, row);
                                     });
    if (Clock::now() >= until) return;
  }
  pg::StopPoint("compaction-listed");
  BeginWriting(job, index);
}

// ---- Writing ----

/// The bytes of the blob that are asked for.
struct WantedBytes {
  uint64 offset;
  uint32 bytes;
  char* to;
};

/// Copies what is wanted of a part that lies at `at` in the blob.
void Supply(const WantedBytes& wanted, uint64 at, const void* part, uint64 bytes) {
  const uint64 first = Max(at, wanted.offset);
  const uint64 end = Min(at + bytes, wanted.offset + wanted.bytes);
  if (first < end)
    std::memcpy(wanted.to + (first - wanted.offset), static_cast<const char*>(part) + (first - at),
                end - first);
}

void SupplyVectors(Compaction* job, const WantedBytes& wanted) {
  const PackedLayout& layout = job->layout;
  const uint64 end = Min(wanted.offset + wanted.bytes, job->range.bytes);
  if (end <= layout.vectors_at) return;
  const uint64 start = Max(wanted.offset, layout.vectors_at);
  for (uint64 ordinal = (start - layout.vectors_at) / layout.row_bytes; layout.VectorAt(ordinal) < end;
       ordinal++) {
    const uint64 row = job->range.first_row + job->places[ordinal];
    const void* vector = ReadRow(&job->reader, row);
    // Its head said that it is alive, after the ranges were packed that are read now.
    if (vector == nullptr)
      ereport(ERROR,
              (errcode(ERRCODE_INDEX_CORRUPTED),
               errmsg("index \"%s\" has no vector of row %llu, which is alive",
                      RelationGetRelationName(job->reader.index), static_cast<unsigned long long>(row)),
               errhint("Rebuild the index with REINDEX.")));
    Supply(wanted, layout.VectorAt(ordinal), vector, layout.row_bytes);
  }
}

void SupplyBytes(void* state, uint64 offset, uint32 bytes, char* to) {
  auto* job = static_cast<Compaction*>(state);
  const PackedHeader header = {kPackedMagic, job->layout.row_bytes, job->range.first_row, job->range.end_row,
                               job->range.rows};
  const WantedBytes wanted = {offset, bytes, to};
  std::memset(to, 0, bytes);
  Supply(wanted, 0, &header, sizeof header);
  Supply(wanted, sizeof header, job->fences, job->layout.fences * sizeof(uint32));
  Supply(wanted, job->layout.places_at, job->places, job->range.rows * sizeof(uint32));
  SupplyVectors(job, wanted);
}

void Write(Compaction* job, Relation index, Clock::time_point until) {
  OpenRows(&job->reader, index, job->view, job->manifest, job->row_scratch, job->strategy);
  bool more;
  do {
    more = WriteBlobPages(job->writer, index, kPagesAtOnce, SupplyBytes, job);
  } while (more && Clock::now() < until);
  CloseRows(&job->reader);
  if (!more) job->phase = Phase::kPublishing;
}

// ---- Publishing, giving ----

/// False if another builder has published.
bool PublishRange(Compaction* job, Relation index) {
  Publication publication = {};
  publication.expected_version = job->manifest->root.version;
  publication.sealed_rows = job->manifest->root.sealed_rows;
  publication.has_packed = true;
  publication.packed_first = job->replaced_first;
  publication.packed_end = job->replaced_end;
  publication.packed = job->range;
  if (job->range.bytes != 0) {
    publication.packed_blob = WrittenBlob(job->writer);
    publication.packed.id = publication.packed_blob.id;
  }
  pg::StopPoint("compaction-before-publish");
  if (!Publish(index, job->writer, publication)) return false;
  pg::StopPoint("compaction-after-publish");
  job->has_packed = true;
  job->phase = Phase::kGiving;
  return true;
}

void Give(Compaction* job, Relation index, Clock::time_point until) {
  if (job->writer == nullptr) job->writer = BeginBlobs(index);
  do {
    if (GiveToStreams(job->writer, index) == 0) job->phase = Phase::kDone;
  } while (job->phase == Phase::kGiving && Clock::now() < until);
}

/// False if the index was rebuilt, or somebody else has published.
bool StillHolds(const Compaction& job, Relation index) {
  const RootView now = ReadRoot(index);
  return now.incarnation == job.incarnation &&
         (job.has_packed || now.root.version == job.manifest->root.version);
}

CompactionStep DoStep(Compaction* job, Relation index, Clock::time_point until) {
  switch (job->phase) {
    case Phase::kCounting:
      Count(job, index, until);
      break;
    case Phase::kListing:
      List(job, index, until);
      break;
    case Phase::kWriting:
      Write(job, index, until);
      break;
    case Phase::kPublishing:
      if (!PublishRange(job, index)) return CompactionStep::kAbandoned;
      break;
    case Phase::kGiving:
      Give(job, index, until);
      break;
    case Phase::kDone:
      break;
  }
  return job->phase == Phase::kDone ? CompactionStep::kDone : CompactionStep::kContinue;
}

}  // namespace

Compaction* BeginCompaction(MemoryContext parent, Relation index) {
  const MemoryContext context = AllocSetContextCreate(parent, "tandem compaction", ALLOCSET_DEFAULT_SIZES);
  const MemoryContext old_context = MemoryContextSwitchTo(context);
  auto* job = static_cast<Compaction*>(palloc0(sizeof(Compaction)));
  job->context = context;
  job->manifest = ReadManifest(index);
  const uint64 rows = CountRows(index, kHeadStream);
  job->view = CopyDirectory(DirectoryWith(index, rows));
  job->incarnation = job->view->incarnation;
  // Of sparse rows the vector stream has places only; elements stay where they are.
  const bool counts =
      !job->view->IsSparse() && DeadVectors(*job->manifest) >= LeastFreed(job->view->row_bytes);
  job->phase = counts ? Phase::kCounting : WantsExtents(index) ? Phase::kGiving : Phase::kDone;
  if (counts) {
    MakeParts(job, rows);
    job->heads = static_cast<RowHead*>(palloc(kHeadsPerPage * sizeof(RowHead)));
    job->row_scratch = NewRowScratch(*job->view);
    job->strategy = GetAccessStrategy(BAS_BULKREAD);
  }
  MemoryContextSwitchTo(old_context);
  if (job->phase != Phase::kDone) return job;
  EndCompaction(job);
  return nullptr;
}

CompactionStep StepCompaction(Compaction* job, Relation index, int budget_ms) {
  if (job->phase == Phase::kDone) return CompactionStep::kDone;
  if (!StillHolds(*job, index)) return CompactionStep::kAbandoned;
  const MemoryContext old_context = MemoryContextSwitchTo(job->context);
  const CompactionStep step = DoStep(job, index, Clock::now() + std::chrono::milliseconds(budget_ms));
  MemoryContextSwitchTo(old_context);
  return step;
}

bool HasPacked(const Compaction* job) {
  return job->has_packed;
}

void EndCompaction(Compaction* job) {
  MemoryContextDelete(job->context);
}

void CompactNow(Relation index, int64 deadline) {
  for (bool more = true; more && (deadline == 0 || GetCurrentTimestamp() < deadline);) {
    Compaction* job = BeginCompaction(CurrentMemoryContext, index);
    if (job == nullptr) return;
    while (StepCompaction(job, index, kStepMs) == CompactionStep::kContinue) CHECK_FOR_INTERRUPTS();
    more = HasPacked(job);
    EndCompaction(job);
  }
}

}  // namespace tandem::storage
