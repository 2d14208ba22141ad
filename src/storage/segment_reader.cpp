// Reading segments. What a search pays for is finding buffers: 0.7 to 0.9 us each by the buffer table, a fifth of that by a
// remembered one. A query visits some hundred nodes, so the backend remembers, for each segment, which buffer held each
// page, and keeps the parts that every query reads.

#include "pg/compat.hpp"

#include "storage/segment_reader.hpp"

#include "pg/guard.hpp"
#include "pg/own.hpp"

namespace tandem::storage {

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

[[noreturn]] void ReportDamaged(Relation index, uint32 segment, const char* problem) {
  ereport(ERROR, (errcode(ERRCODE_INDEX_CORRUPTED),
                  errmsg("segment %u of index \"%s\" is damaged", segment, RelationGetRelationName(index)),
                  errdetail_internal("Problem: %s.", problem), errhint("Rebuild the index with REINDEX.")));
}

}  // namespace

void BlobSource::Read(std::uint64_t offset, std::size_t bytes, void* to) {
  auto* out = static_cast<char*>(to);
  while (bytes > 0) {
    CHECK_FOR_INTERRUPTS();
    const std::size_t to_page_end = kBlobPageBytes - offset % kBlobPageBytes;
    const auto part = static_cast<uint32>(Min(bytes, to_page_end));
    const char* from = ReadBlob(reader_, offset, part, out);
    if (from != out) std::memcpy(out, from, part);
    offset += part;
    out += part;
    bytes -= part;
  }
}

// ---- What a backend remembers ----

static void CheckSegmentHeader(Relation index, const SegmentInfo& segment,
                               const graph::SegmentHeader& header) {
  if (const char* problem = graph::ProblemOf(header); problem != nullptr)
    ReportDamaged(index, segment.id, problem);
  const DirectoryView& directory = GetIndexCache(index)->directory;
  if (header.bytes != segment.bytes || header.dimensions != directory.dimensions ||
      header.metric != static_cast<uint8>(directory.metric) || header.first_row != segment.first_row ||
      header.end_row != segment.end_row)
    ReportDamaged(index, segment.id, "header contradicts the index");
}

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

void ForgetOtherSegments(const Manifest& manifest) {
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
static bool LoadSegment(Relation index, const SegmentInfo& info, BlobReader* reader, CachedSegment* segment) {
  BlobSource source(reader);
  graph::SegmentHeader& header = segment->header;
  source.Read(0, sizeof header, &header);
  if (source.stale()) return false;
  CheckSegmentHeader(index, info, header);

  const std::size_t offset_bytes = header.dimensions * sizeof(float);
  auto* offsets = static_cast<float*>(palloc(offset_bytes));
  source.Read(header.offsets_at, offset_bytes, offsets);
  segment->offsets = offsets;

  const std::size_t upper_bytes = static_cast<std::size_t>(header.upper_nodes) * sizeof(graph::UpperNode);
  if (upper_bytes > 0 && upper_bytes <= kUpperBytes) {
    auto* upper = static_cast<graph::UpperNode*>(palloc(upper_bytes));
    source.Read(header.upper_nodes_at, upper_bytes, upper);
    segment->upper = upper;
  }
  const uint32 pages = PagesOfBlob(info.bytes);
  if (pages <= static_cast<uint32>(NBuffers))
    segment->recent = static_cast<Buffer*>(MemoryContextAllocExtended(
        CurrentMemoryContext, pages * sizeof(Buffer), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO));
  segment->bytes = sizeof(CachedSegment) + offset_bytes + upper_bytes + pages * sizeof(Buffer);
  return !source.stale();
}

/// A new entry, not in the list yet; nullptr if the segment was recycled.
static CachedSegment* NewCachedSegment(Relation index, const Manifest& manifest, const SegmentInfo& info) {
  // A child of the scan's until it is complete: an error leaves nothing behind.
  const MemoryContext context =
      AllocSetContextCreate(CurrentMemoryContext, "tandem segment", ALLOCSET_SMALL_SIZES);
  const MemoryContext old_context = MemoryContextSwitchTo(context);
  auto* segment = static_cast<CachedSegment*>(palloc0(sizeof(CachedSegment)));
  segment->incarnation = manifest.incarnation;
  segment->id = info.id;
  segment->context = context;
  BlobReader reader;
  OpenBlob(&reader, index, manifest.incarnation, manifest.BlobOf(info), nullptr);
  const bool is_loaded = LoadSegment(index, info, &reader, segment);
  CloseBlob(&reader);
  if (is_loaded) segment->search = pg::Own<PageGraphSearch>(context);
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
static CachedSegment* AddCachedSegment(Relation index, const Manifest& manifest, const SegmentInfo& info) {
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
  if (cached->search->MemoryBytes() > kSearchBytes) *cached->search = PageGraphSearch();
}

SegmentScan* BeginSegmentScan(Relation index, const Manifest& manifest, const SegmentInfo& segment) {
  // Allocated before anything is borrowed: from there on nothing fails until the callback stands.
  auto* scan = static_cast<SegmentScan*>(palloc0(sizeof(SegmentScan)));
  auto* callback = static_cast<MemoryContextCallback*>(palloc(sizeof(MemoryContextCallback)));
  CachedSegment* cached = FindCachedSegment(manifest.incarnation, segment.id);
  const bool is_new = cached == nullptr;
  if (is_new) cached = AddCachedSegment(index, manifest, segment);
  if (cached == nullptr) return nullptr;
  auto* scratch = static_cast<char*>(palloc(cached->header.record_bytes));
  // Two scans of one segment at a time, cursors or a self-join: the second needs a search of its own.
  PageGraphSearch* search =
      cached->search_lent ? pg::Own<PageGraphSearch>(CurrentMemoryContext) : cached->search;

  scan->cached = cached;
  scan->search = search;
  cached->users++;
  cached->search_lent = true;
  cached->last_used = ++use_counter;
  callback->func = EndSegmentScan;
  callback->arg = scan;
  MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
  if (is_new) TrimCache();
  scan->reader.Open(index, manifest, segment, cached, scratch);
  return scan;
}

void PageSegmentReader::Open(Relation index, const Manifest& manifest, const SegmentInfo& segment,
                             const CachedSegment* cached, char* scratch) {
  OpenBlob(&blob_, index, manifest.incarnation, manifest.BlobOf(segment), cached->recent);
  cached_ = cached;
  header_ = &cached->header;
  scratch_ = scratch;
}

static const std::uint32_t no_links[] = {graph::kEndOfLinks};

const std::uint32_t* PageSegmentReader::Links(std::uint32_t node) {
  const auto* links = At<std::uint32_t>(RecordOf(node), 2 * header_->m);
  return likely(!blob_.stale) ? links : no_links;
}

const std::uint8_t* PageSegmentReader::Code(std::uint32_t node) {
  return At<std::uint8_t>(RecordOf(node) + 2 * header_->m * sizeof(std::uint32_t), header_->code_bytes);
}

graph::UpperNode PageSegmentReader::Upper(std::uint32_t ordinal) {
  const graph::UpperNode upper =
      cached_->upper != nullptr ? cached_->upper[ordinal]
                                : *At<graph::UpperNode>(header_->upper_nodes_at +
                                                        std::uint64_t{ordinal} * sizeof(graph::UpperNode));
  if (unlikely(upper.node >= header_->nodes || upper.first_list > header_->upper_lists ||
               upper.level > header_->upper_lists - upper.first_list))
    ReportDamaged(blob_.index, blob_.blob.id, "an upper node lies out of the graph");
  return upper;
}

const std::uint32_t* PageSegmentReader::UpperLinks(std::uint32_t list) {
  const std::uint64_t offset =
      header_->upper_links_at + std::uint64_t{list} * header_->m * sizeof(std::uint32_t);
  const auto* links = At<std::uint32_t>(offset, header_->m);
  return likely(!blob_.stale) ? links : no_links;
}

PageSegmentReader::RowSpan PageSegmentReader::RowsOf(std::uint32_t node) {
  if (header_->row_starts_at == 0) return {node, node + 1};
  const auto* starts =
      At<std::uint32_t>(header_->row_starts_at + std::uint64_t{node} * sizeof(std::uint32_t), 2);
  if (unlikely(starts[0] > starts[1] || starts[1] > header_->rows))
    ReportDamaged(blob_.index, blob_.blob.id, "the rows of a node are not in order");
  return {starts[0], starts[1]};
}

base::RowId PageSegmentReader::RowAt(std::uint32_t ordinal) {
  const std::uint32_t row =
      *At<std::uint32_t>(header_->rows_at + std::uint64_t{ordinal} * sizeof(std::uint32_t));
  if (unlikely(row >= header_->end_row - header_->first_row))
    ReportDamaged(blob_.index, blob_.blob.id, "a node has a row that is not the segment's");
  return base::RowId{header_->first_row + row};
}

}  // namespace tandem::storage
