// What a search of pages pays for is finding buffers: 0.7 to 0.9 us each by the buffer table, a fifth of that by a remembered
// one. A query visits some hundred nodes, so the backend remembers, for each segment, which buffer held each page, and keeps
// the parts that every query reads.

#include "pg/compat.hpp"

#include "am/segment_scan.hpp"

#include "pg/guard.hpp"
#include "pg/own.hpp"

namespace tandem::am {

namespace {

// Segments that no scan has open are forgotten, the longest unused first, while all together take more than this: the
// buffers' places of 8 segments of a million rows and the memory of searching them.
constexpr std::size_t kCacheBytes = std::size_t{64} << 20;
// Upper nodes are kept up to this: 87,000 of them, a graph of 1.4 million nodes at m = 16.
constexpr std::size_t kUpperBytes = std::size_t{1} << 20;
// What a search has allocated and the next one may use again.
constexpr std::size_t kSearchBytes = std::size_t{16} << 20;

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
    bool listed = false;
    for (uint32 i = 0; i < manifest.segment_count && !listed; i++)
      listed = manifest.segments[i].id == segment->id;
    if (!listed) ForgetSegment(segment);
  }
}

/// Reads what is kept of a segment into the current memory context. False if it was recycled.
static bool LoadSegment(Relation index, const storage::Manifest& manifest, const storage::SegmentInfo& info,
                        CachedSegment* segment) {
  if (!storage::ReadSegmentHead(index, manifest, info, &segment->head)) return false;
  const std::size_t upper_bytes =
      static_cast<std::size_t>(segment->head.header.upper_nodes) * sizeof(graph::UpperNode);
  if (upper_bytes > 0 && upper_bytes <= kUpperBytes) {
    segment->upper = storage::ReadUpperNodes(index, manifest, info, segment->head);
    if (segment->upper == nullptr) return false;
    segment->bytes += upper_bytes;
  }
  const uint32 pages = storage::PagesOfBlob(info.bytes);
  if (pages <= static_cast<uint32>(NBuffers)) {
    segment->recent = static_cast<Buffer*>(MemoryContextAllocExtended(
        CurrentMemoryContext, pages * sizeof(Buffer), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO));
    segment->bytes += pages * sizeof(Buffer);
  }
  segment->bytes += sizeof(CachedSegment) + segment->head.memory_bytes;
  return true;
}

/// A new entry, not in the list yet; nullptr if the segment was recycled.
static CachedSegment* NewCachedSegment(Relation index, const storage::Manifest& manifest,
                                       const storage::SegmentInfo& info) {
  // A child of the scan's until it is complete: an error leaves nothing behind.
  const MemoryContext context =
      AllocSetContextCreate(CurrentMemoryContext, "tandem segment", ALLOCSET_SMALL_SIZES);
  const MemoryContext old_context = MemoryContextSwitchTo(context);
  auto* segment = static_cast<CachedSegment*>(palloc0(sizeof(CachedSegment)));
  segment->incarnation = manifest.incarnation;
  segment->id = info.id;
  segment->context = context;
  const bool is_loaded = LoadSegment(index, manifest, info, segment);
  if (is_loaded) segment->search = pg::Own<SegmentSearch>(context);
  MemoryContextSwitchTo(old_context);
  if (is_loaded) return segment;
  MemoryContextDelete(context);
  return nullptr;
}

/// Incarnation and id name one content for ever: neither is used twice.
static CachedSegment* FindCachedSegment(uint64 incarnation, uint32 id) {
  CachedSegment* segment = cached_segments;
  while (segment != nullptr && (segment->id != id || segment->incarnation != incarnation))
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
  CachedSegment* cached = FindCachedSegment(manifest.incarnation, segment.id);
  const bool is_new = cached == nullptr;
  if (is_new) cached = AddCachedSegment(index, manifest, segment);
  if (cached == nullptr) return nullptr;
  scan->reader.Open(index, manifest, segment, cached);
  // Two scans of one segment at a time, cursors or a self-join: the second needs a search of its own.
  SegmentSearch* search = cached->search_lent ? pg::Own<SegmentSearch>(CurrentMemoryContext) : cached->search;

  scan->cached = cached;
  scan->search = search;
  cached->users++;
  cached->search_lent = true;
  cached->last_used = ++use_counter;
  callback->func = EndSegmentScan;
  callback->arg = scan;
  MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
  if (is_new) TrimCache();
  return scan;
}

void SegmentReader::Open(Relation index, const storage::Manifest& manifest,
                         const storage::SegmentInfo& segment, const CachedSegment* cached) {
  index_ = index;
  cached_ = cached;
  auto* scratch = static_cast<char*>(palloc(cached->head.header.record_bytes));
  pages_.Open(index, manifest, segment, &cached->head, cached->recent, scratch);
}

graph::UpperNode SegmentReader::Upper(std::uint32_t ordinal) {
  if (cached_->upper == nullptr) return pages_.Upper(ordinal);
  const graph::UpperNode upper = cached_->upper[ordinal];
  storage::CheckUpperNode(index_, cached_->id, cached_->head.header, upper);
  return upper;
}

}  // namespace tandem::am
