#include "pg/compat.hpp"

#include "am/chunk_load.hpp"

#include "pg/stop_point.hpp"

extern "C" {
#include "utils/timestamp.h"
}

namespace tandem::am {

namespace {

static_assert(graph::kChunkBytes == shmem::kFrameBytes, "a chunk fills a frame");

// So many chunks in a row refused means that there is no memory; fewer, that somebody else loads the same segment.
constexpr uint32 kMostRefused = 4;

/// What is cached of all segments.
struct CacheStatus {
  shmem::CachedSegmentStatus* segments;  ///< palloc'd
  uint32 count;
};

CacheStatus ReadCacheStatus() {
  CacheStatus status;
  status.segments = static_cast<shmem::CachedSegmentStatus*>(
      palloc(sizeof(shmem::CachedSegmentStatus) * shmem::kMostCachedSegments));
  status.count = Min(shmem::ReadGraphCacheStatus(status.segments, shmem::kMostCachedSegments),
                     shmem::kMostCachedSegments);
  return status;
}

/// True for segments of this very build of the index.
bool IsOf(const shmem::SegmentKey& key, Relation index, uint64 incarnation) {
  return key == KeyOf(index, incarnation, key.segment, key.part);
}

/// True for what searches of the index use.
bool IsNeeded(const shmem::SegmentKey& key, const storage::Manifest& manifest) {
  if (key.part == shmem::SegmentPart::kGraph) return manifest.Lists(key.segment);
  return manifest.segment_count > 0 && manifest.segments[manifest.segment_count - 1].id == key.segment;
}

}  // namespace

bool UsesFrames(Relation index) {
  return shmem::FramesExist() && index->rd_rel->relpersistence != RELPERSISTENCE_TEMP;
}

shmem::SegmentKey KeyOf(Relation index, uint64 incarnation, uint32 segment, shmem::SegmentPart part) {
  const pg::RelationFile file = pg::FileOf(index);
  return {file.database, file.tablespace, file.number, segment, incarnation, part};
}

ChunkLoad LoadChunk(const shmem::CachedSegmentRef& ref, storage::ChunkFiller* filler, uint32 chunk) {
  char* frame = shmem::BeginChunk(ref, chunk);
  if (frame == nullptr) return ChunkLoad::kRefused;
  const bool is_filled = storage::FillChunk(filler, chunk, frame);
  pg::StopPoint("chunk-filled");
  if (is_filled)
    shmem::FinishChunk(ref, chunk);
  else
    shmem::AbandonChunk();
  return is_filled ? ChunkLoad::kLoaded : ChunkLoad::kUnreadable;
}

// ---- Whole indexes ----

// Chunks in a row that are read ahead of: 4 MB, so that little is read for nothing where memory or time ends.
constexpr uint32 kMostAhead = 64;

/// The first chunk from `chunk` on that is not in memory, or their number, and the end of those that are not; attaches. False: the
/// segment has no place.
static bool FindMissing(const shmem::SegmentKey& key, const graph::ChunkLayout& layout,
                        shmem::CachedSegmentRef* ref, uint32* chunk, uint32* end) {
  const uint32 chunks = layout.chunks;
  shmem::ChunkTable table;
  shmem::EnterFrames();
  const bool is_attached = shmem::FindSegment(key, chunks, ref, &table, chunks - layout.links.first_chunk);
  while (is_attached && *chunk < chunks && table.Chunk(*chunk) != nullptr) ++*chunk;
  *end = *chunk;
  while (is_attached && *end < Min(chunks, *chunk + kMostAhead) && table.Chunk(*end) == nullptr) ++*end;
  shmem::LeaveFrames();
  return is_attached;
}

enum class SegmentLoad { kOutOfTime, kDone, kNoMemory };

static SegmentLoad LoadMissing(const shmem::SegmentKey& key, storage::ChunkFiller* filler, IndexLoad* load,
                               TimestampTz until, bool is_shy) {
  const graph::ChunkLayout& layout = filler->head->layout;
  shmem::CachedSegmentRef ref = {};
  uint32 end;
  uint32 ahead = 0;
  for (uint32 refused = 0; refused < kMostRefused;) {
    if (is_shy && !shmem::GraphsMayGrow()) return SegmentLoad::kNoMemory;
    if (!FindMissing(key, layout, &ref, &load->chunk, &end)) return SegmentLoad::kNoMemory;
    if (load->chunk >= layout.chunks) return SegmentLoad::kDone;
    if (until != 0 && GetCurrentTimestamp() >= until) return SegmentLoad::kOutOfTime;
    if (load->chunk >= ahead) storage::ReadAhead(filler, load->chunk, ahead = end);
    switch (LoadChunk(ref, filler, load->chunk++)) {
      case ChunkLoad::kLoaded:
        load->loaded++;
        refused = 0;
        break;
      case ChunkLoad::kRefused:
        refused++;
        break;
      case ChunkLoad::kUnreadable:
        return SegmentLoad::kDone;
    }
  }
  return SegmentLoad::kNoMemory;
}

static SegmentLoad LoadSegment(Relation index, const storage::Manifest& manifest,
                               const storage::SegmentInfo& segment, IndexLoad* load, TimestampTz until,
                               bool is_shy) {
  storage::SegmentHead head;
  if (!storage::ReadSegmentHead(index, manifest, segment, &head)) return SegmentLoad::kDone;
  // Pages that are read for this will not be read again.
  const BufferAccessStrategy strategy = GetAccessStrategy(BAS_BULKREAD);
  storage::ChunkFiller filler;
  storage::OpenFiller(&filler, index, manifest, manifest.BlobOf(segment), &head, strategy);
  const SegmentLoad result =
      LoadMissing(KeyOf(index, manifest.incarnation, segment.id), &filler, load, until, is_shy);
  storage::CloseFiller(&filler);
  FreeAccessStrategy(strategy);
  return result;
}

/// The listed segment with the smallest id above `id`; nullptr at the end.
static const storage::SegmentInfo* NextSegment(const storage::Manifest& manifest, uint32 id) {
  const storage::SegmentInfo* next = nullptr;
  for (uint32 i = 0; i < manifest.segment_count; i++) {
    const storage::SegmentInfo* segment = &manifest.segments[i];
    if (segment->id > id && (next == nullptr || segment->id < next->id)) next = segment;
  }
  return next;
}

bool StepIndexLoad(Relation index, const storage::Manifest& manifest, IndexLoad* load, TimestampTz until,
                   bool is_shy) {
  if (!UsesFrames(index)) return false;
  const MemoryContext context =
      AllocSetContextCreate(CurrentMemoryContext, "tandem load", ALLOCSET_DEFAULT_SIZES);
  const MemoryContext old_context = MemoryContextSwitchTo(context);
  SegmentLoad result = SegmentLoad::kDone;
  while (result == SegmentLoad::kDone) {
    const storage::SegmentInfo* segment = NextSegment(manifest, load->done);
    if (segment == nullptr) break;
    if (segment->id != load->segment) load->chunk = 0;
    load->segment = segment->id;
    result = LoadSegment(index, manifest, *segment, load, until, is_shy);
    if (result == SegmentLoad::kDone) load->done = segment->id;
    MemoryContextReset(context);
  }
  MemoryContextSwitchTo(old_context);
  MemoryContextDelete(context);
  return result == SegmentLoad::kOutOfTime;
}

uint64 BytesInMemory(Relation index, const storage::Manifest& manifest) {
  const CacheStatus status = ReadCacheStatus();
  uint64 frames = 0;
  for (uint32 i = 0; i < status.count; i++) {
    const shmem::CachedSegmentStatus& segment = status.segments[i];
    if (IsOf(segment.key, index, manifest.incarnation) && IsNeeded(segment.key, manifest))
      frames += segment.cached_chunks + segment.table_frames;
  }
  pfree(status.segments);
  return frames * shmem::kFrameBytes;
}

// ---- Forgetting ----

void ForgetUnlistedSegments(Relation index, const storage::Manifest& manifest) {
  if (!UsesFrames(index)) return;
  const CacheStatus status = ReadCacheStatus();
  for (uint32 i = 0; i < status.count; i++) {
    const shmem::SegmentKey& key = status.segments[i].key;
    if (IsOf(key, index, manifest.incarnation) && !IsNeeded(key, manifest)) shmem::ForgetSegment(key);
  }
  pfree(status.segments);
}

void ForgetLostSegments() {
  if (!shmem::FramesExist()) return;
  const CacheStatus status = ReadCacheStatus();
  for (uint32 i = 0; i < status.count; i++) {
    const shmem::SegmentKey& key = status.segments[i].key;
    if (key.database == MyDatabaseId && !pg::FileHasRelation(key.tablespace, key.file_node))
      shmem::ForgetSegment(key);
  }
  pfree(status.segments);
}

}  // namespace tandem::am
