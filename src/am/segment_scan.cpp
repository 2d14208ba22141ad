// What a search of shared memory pays for is waiting for memory. What a search of pages pays for is finding buffers: 0.7 to 0.9 us
// each by the buffer table, a fifth of that by a remembered one; so where pages are read, the backend remembers which buffer held
// each of them.

#include "pg/compat.hpp"

#include "am/segment_scan.hpp"

#include <algorithm>

#include "pg/guard.hpp"
#include "pg/own.hpp"
#include "vec/one_bit.hpp"

extern "C" {
#include "utils/timestamp.h"
}

namespace tandem::am {

namespace {

// Segments that no scan has open are forgotten, the longest unused first, while all together take more than this: the
// buffers' places of 8 segments of a million rows and the memory of searching them.
constexpr std::size_t kCacheBytes = std::size_t{64} << 20;
// Upper nodes are kept up to this: 87,000 of them, a graph of 1.4 million nodes at m = 16.
constexpr std::size_t kUpperBytes = std::size_t{1} << 20;
// What a search has allocated and the next one may use again.
constexpr std::size_t kSearchBytes = std::size_t{16} << 20;
// A search that missed chunks spends at most this, and at least one chunk, on loading some: from shared_buffers that is
// all that SegmentReader remembers, from a slow disk a few.
constexpr int kLoadMs = 2;
// Nodes whose codes tell where the middle is: it is off by less than a tenth of what they spread, which bits do not notice.
constexpr uint32 kCentreNodes = 128;

// The backend's list; entries live in contexts of their own below cache_context.
MemoryContext cache_context = nullptr;
CachedSegment* cached_segments = nullptr;
uint64 use_counter = 0;

}  // namespace

// ---- What a backend remembers ----

static void ForgetSegment(CachedSegment* segment) {
  CachedSegment** link = &cached_segments;
  while (*link != segment) link = &(*link)->next;
  *link = segment->next;
  MemoryContextDelete(segment->context);
}

static std::size_t BytesOf(const CachedSegment& segment) {
  return segment.bytes + (segment.search != nullptr ? segment.search->MemoryBytes() : 0);
}

/// Forgets unused segments, the longest unused first, until the rest fits.
static void TrimCache() {
  for (;;) {
    std::size_t total = 0;
    CachedSegment* oldest = nullptr;
    for (CachedSegment* segment = cached_segments; segment != nullptr; segment = segment->next) {
      total += BytesOf(*segment);
      if (segment->users == 0 && (oldest == nullptr || segment->last_used < oldest->last_used))
        oldest = segment;
    }
    if (total <= kCacheBytes || oldest == nullptr) return;
    ForgetSegment(oldest);
  }
}

void ForgetOtherSegments(const storage::Manifest& manifest) {
  for (CachedSegment *segment = cached_segments, *next; segment != nullptr; segment = next) {
    next = segment->next;
    if (segment->incarnation != manifest.incarnation || segment->users > 0) continue;
    if (!manifest.Lists(segment->id)) ForgetSegment(segment);
  }
}

/// Reads what is kept of a segment into the current memory context. False if it was recycled.
static bool ReadCachedSegment(Relation index, const storage::Manifest& manifest,
                              const storage::SegmentInfo& info, CachedSegment* segment) {
  if (!storage::ReadSegmentHead(index, manifest, info, &segment->head)) return false;
  segment->bytes = sizeof(CachedSegment) + segment->head.memory_bytes;
  segment->uses_frames = UsesFrames(index);
  if (segment->uses_frames) return true;
  const std::size_t upper_bytes =
      static_cast<std::size_t>(segment->head.header.upper_nodes) * sizeof(graph::UpperNode);
  if (upper_bytes == 0 || upper_bytes > kUpperBytes) return true;
  segment->upper = storage::ReadUpperNodes(index, manifest, info, segment->head);
  segment->bytes += upper_bytes;
  return segment->upper != nullptr;
}

/// A new entry, not in the list yet; nullptr if the segment was recycled.
static CachedSegment* NewCachedSegment(Relation index, const storage::Manifest& manifest,
                                       const storage::SegmentInfo& info) {
  // A child of the scan's until it is complete: an error leaves nothing behind.
  const MemoryContext context =
      AllocSetContextCreate(CurrentMemoryContext, "tandem segment", ALLOCSET_SMALL_SIZES);
  const MemoryContext old_context = MemoryContextSwitchTo(context);
  auto* segment = static_cast<CachedSegment*>(palloc0(sizeof(CachedSegment)));
  segment->file = pg::FileOf(index).number;
  segment->incarnation = manifest.incarnation;
  segment->id = info.id;
  segment->context = context;
  const bool is_loaded = ReadCachedSegment(index, manifest, info, segment);
  if (is_loaded) segment->search = pg::Own<SegmentSearch>(context);
  MemoryContextSwitchTo(old_context);
  if (is_loaded) return segment;
  MemoryContextDelete(context);
  return nullptr;
}

/// In a file, incarnation and id name one content for ever: neither is used twice.
static CachedSegment* FindCachedSegment(Oid file, uint64 incarnation, uint32 id) {
  CachedSegment* segment = cached_segments;
  while (segment != nullptr &&
         (segment->id != id || segment->incarnation != incarnation || segment->file != file))
    segment = segment->next;
  return segment;
}

/// nullptr if the segment was recycled.
static CachedSegment* AddCachedSegment(Relation index, const storage::Manifest& manifest,
                                       const storage::SegmentInfo& info) {
  if (cache_context == nullptr)
    cache_context = AllocSetContextCreate(TopMemoryContext, "tandem segments", ALLOCSET_SMALL_SIZES);
  CachedSegment* segment = NewCachedSegment(index, manifest, info);
  if (segment == nullptr) return nullptr;
  MemoryContextSetParent(segment->context, cache_context);
  segment->next = cached_segments;
  cached_segments = segment;
  return segment;
}

// ---- Searching ----

/// Gives back what a SegmentScan borrowed. Pins are not its business: the resource owner has them.
static void EndSegmentScan(void* state) {
  auto* scan = static_cast<SegmentScan*>(state);
  CachedSegment* cached = scan->cached;
  cached->users--;
  if (scan->search != cached->search) return;
  cached->search_lent = false;
  // The memory of a search that was drained is not kept.
  if (cached->search->MemoryBytes() > kSearchBytes) *cached->search = SegmentSearch();
}

SegmentScan* BeginSegmentScan(Relation index, const storage::Manifest& manifest,
                              const storage::SegmentInfo& segment) {
  // Allocated before anything is borrowed: from there on nothing fails until the callback stands.
  auto* scan = static_cast<SegmentScan*>(palloc0(sizeof(SegmentScan)));
  auto* callback = static_cast<MemoryContextCallback*>(palloc(sizeof(MemoryContextCallback)));
  CachedSegment* cached = FindCachedSegment(pg::FileOf(index).number, manifest.incarnation, segment.id);
  const bool is_new = cached == nullptr;
  if (is_new) cached = AddCachedSegment(index, manifest, segment);
  if (cached == nullptr) return nullptr;
  scan->reader.Open(index, manifest, segment, cached);
  // Two scans of one segment at a time, cursors or a self-join: the second needs a search of its own.
  SegmentSearch* search = cached->search_lent ? pg::Own<SegmentSearch>(CurrentMemoryContext) : cached->search;

  scan->cached = cached;
  scan->search = search;
  scan->counted = search->counters();
  cached->users++;
  cached->search_lent = true;
  cached->last_used = ++use_counter;
  callback->func = EndSegmentScan;
  callback->arg = scan;
  MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
  if (is_new) TrimCache();
  return scan;
}

void EnterSegments(SegmentScan* const* scans, std::size_t count) {
  if (shmem::FramesExist()) shmem::EnterFrames();
  for (std::size_t i = 0; i < count; i++) scans[i]->reader.Enter();
}

/// What was read of the segment since EnterSegments() decides how much of it is worth its memory.
static void CountReads(SegmentScan* scan) {
  const graph::SearchCounters& now = scan->search->counters();
  const graph::SearchCounters& before = scan->counted;
  const std::uint64_t codes = now.distances - before.distances;
  const std::uint64_t lists = now.expanded - before.expanded + now.bridges - before.bridges;
  scan->counted = now;
  // Who maps rows to nodes reads neither.
  if (codes == 0 && lists == 0) return;
  shmem::CountSearch(scan->cached->place, {static_cast<float>(codes), static_cast<float>(lists)},
                     &scan->cached->uses);
}

std::uint32_t LeaveSegments(SegmentScan* const* scans, std::size_t count) {
  if (shmem::FramesExist()) shmem::LeaveFrames();
  for (std::size_t i = 0; i < count; i++) {
    scans[i]->reader.Leave();
    CountReads(scans[i]);
  }
  std::uint32_t loaded = 0;
  TimestampTz until = 0;
  for (std::size_t i = 0; i < count; i++) {
    if (scans[i]->reader.is_complete()) continue;
    if (until == 0) until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), kLoadMs);
    loaded += scans[i]->reader.LoadMissed(until);
  }
  return loaded;
}

// ---- The middle of codes ----

/// Adds a node's values to `sums`.
static void AddValues(const vec::WalkCodec& codec, const std::uint8_t* code, float* values, double* sums) {
  vec::WalkValues(codec, code, values);
  for (uint32 d = 0; d < codec.base.dimensions; d++) sums[d] += static_cast<double>(values[d]);
}

const float* CentreOfCodes(SegmentScan* scan) {
  CachedSegment* cached = scan->cached;
  if (cached->centre != nullptr) return cached->centre;
  const vec::WalkCodec& codec = cached->head.codec;
  const uint32 dimensions = codec.base.dimensions;
  const uint32 nodes = cached->head.header.nodes;
  const uint32 count = Min(nodes, kCentreNodes);
  auto* centre = static_cast<float*>(MemoryContextAlloc(cached->context, dimensions * sizeof(float)));
  auto* sums = static_cast<double*>(palloc0(dimensions * sizeof(double)));
  EnterSegments(&scan, 1);
  for (uint32 i = 0; i < count; i++) {
    const auto node = static_cast<uint32>(static_cast<uint64>(i) * nodes / count);
    const std::uint8_t* code = scan->reader.CodeRecord(node);
    AddValues(codec, code != nullptr ? code : scan->reader.Code(node), centre, sums);
  }
  (void)LeaveSegments(&scan, 1);
  for (uint32 d = 0; d < dimensions; d++) centre[d] = static_cast<float>(sums[d] / Max(count, uint32{1}));
  pfree(sums);
  if (scan->reader.stale()) {
    pfree(centre);
    return nullptr;
  }
  cached->centre = centre;
  cached->bytes += dimensions * sizeof(float);
  return centre;
}

// ---- Reading ----

void SegmentReader::Open(Relation index, const storage::Manifest& manifest,
                         const storage::SegmentInfo& segment, CachedSegment* cached) {
  index_ = index;
  manifest_ = &manifest;
  cached_ = cached;
  header_ = &cached->head.header;
  layout_ = &cached->head.layout;
  blob_ = manifest.BlobOf(segment);
  context_ = CurrentMemoryContext;
  is_attached_ = false;
  pages_open_ = false;
  is_damaged_ = false;
  missed_count_ = 0;
}

void SegmentReader::Enter() {
  is_attached_ = cached_->uses_frames &&
                 shmem::FindSegment(KeyOf(index_, cached_->incarnation, cached_->id), layout_->chunks,
                                    &cached_->place, &table_, layout_->chunks - layout_->links.first_chunk);
}

void SegmentReader::Leave() {
  is_attached_ = false;
  if (pages_open_) pages_.Release();
}

void SegmentReader::RememberMissed(std::uint32_t chunk) {
  if (missed_count_ == kMostMissed) return;
  for (std::uint32_t i = 0; i < missed_count_; i++)
    if (missed_[i] == chunk) return;
  missed_[missed_count_++] = chunk;
}

Buffer* SegmentReader::RecentBuffers() {
  const uint32 pages = storage::PagesOfBlob(blob_.bytes);
  if (cached_->recent == nullptr && pages <= static_cast<uint32>(NBuffers)) {
    cached_->recent = static_cast<Buffer*>(MemoryContextAllocExtended(
        cached_->context, pages * sizeof(Buffer), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO));
    cached_->bytes += pages * sizeof(Buffer);
  }
  return cached_->recent;
}

void SegmentReader::OpenPages() {
  const MemoryContext old_context = MemoryContextSwitchTo(context_);
  auto* scratch = static_cast<char*>(palloc(storage::ScratchBytesOf(cached_->head)));
  storage::RowReader* rows = nullptr;
  if (vec::IsMadeOfVectors(cached_->head.codec.code)) {
    rows = storage::OpenSegmentRows(index_, *manifest_, cached_->head, nullptr);
    rows->read_ahead = false;
  }
  MemoryContextSwitchTo(old_context);
  pages_.Open(index_, cached_->incarnation, blob_, &cached_->head, RecentBuffers(), rows, scratch);
  pages_open_ = true;
}

const graph::UpperNode* SegmentReader::UpperRecord(std::uint32_t ordinal) {
  if (cached_->upper != nullptr) return cached_->upper + ordinal;
  return reinterpret_cast<const graph::UpperNode*>(InMemory(layout_->upper_nodes, ordinal));
}

const std::uint32_t* SegmentReader::UpperList(std::uint32_t list) {
  // The list's number is what an upper node says; from pages, Upper() would have checked that.
  if (unlikely(list >= header_->upper_lists)) return nullptr;
  return reinterpret_cast<const std::uint32_t*>(InMemory(layout_->upper_links, list));
}

void SegmentReader::MarkDamaged(const char* problem) {
  if (!is_damaged_) storage::WarnOfDamage(index_, cached_->id, problem);
  is_damaged_ = true;
}

storage::RowSpan SegmentReader::RowsOf(std::uint32_t node) {
  if (header_->row_starts_at == 0) return {node, node + 1};
  const char* first = InMemory(layout_->row_starts, node);
  const char* end = InMemory(layout_->row_starts, node + 1);
  if (first == nullptr || end == nullptr) return Pages().RowsOf(node);
  const storage::RowSpan span = {*reinterpret_cast<const std::uint32_t*>(first),
                                 *reinterpret_cast<const std::uint32_t*>(end)};
  if (likely(storage::IsRowSpan(*header_, span))) return span;
  MarkDamaged("the rows of a node are not in order");
  return {0, 0};
}

base::RowId SegmentReader::RowAt(std::uint32_t ordinal) {
  const char* at = InMemory(layout_->rows, ordinal);
  if (at == nullptr) return Pages().RowAt(ordinal);
  const auto row = *reinterpret_cast<const std::uint32_t*>(at);
  if (likely(storage::IsRow(*header_, row))) return base::RowId{header_->first_row + row};
  MarkDamaged("a node has a row that is not the segment's");
  return base::RowId{header_->first_row};
}

// ---- Loading ----

std::uint32_t SegmentReader::LoadMissed(TimestampTz until) {
  // Where a budget is smaller than its graphs, most searches miss something, and one a second finds out whether there is room for it now.
  if (!shmem::MayHaveRoomForChunks()) {
    missed_count_ = 0;
    return 0;
  }
  // In their order: what all searches need comes first, and pages are read one after the other.
  std::sort(missed_, missed_ + missed_count_);
  storage::ChunkFiller filler;
  storage::OpenFiller(&filler, index_, *manifest_, blob_, &cached_->head, nullptr);
  std::uint32_t loaded = 0;
  // One however late it is: where the machine is slow, searches would never load anything.
  for (std::uint32_t i = 0; i < missed_count_ && (i == 0 || GetCurrentTimestamp() < until); i++) {
    storage::ReadAhead(&filler, missed_[i], missed_[i] + 1);
    const ChunkLoad load = LoadChunk(cached_->place, &filler, missed_[i]);
    cached_->is_damaged = load == ChunkLoad::kUnreadable;
    if (load != ChunkLoad::kLoaded) break;
    loaded++;
  }
  storage::CloseFiller(&filler);
  missed_count_ = 0;
  return loaded;
}

}  // namespace tandem::am
