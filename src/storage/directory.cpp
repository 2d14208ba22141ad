#include "pg/compat.hpp"

#include "storage/directory.hpp"

#include "pg/stop_point.hpp"
#include "storage/wal.hpp"

extern "C" {
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "storage/smgr.h"
}

namespace tandem::storage {

// ---- Reading the directory ----

static void ReportNotOurs(Relation index, BlockNumber block, const char* what) {
  ereport(ERROR,
          (errcode(ERRCODE_INDEX_CORRUPTED),
           errmsg("index \"%s\" has a bad page at block %u: %s", RelationGetRelationName(index), block, what),
           errhint("Rebuild the index with REINDEX.")));
}

/// True if a page's used bytes lie between its header and its trailer: whoever trusts pd_lower stays inside.
static bool FillingIsSane(Page page) {
  const auto* header = reinterpret_cast<PageHeader>(page);
  return header->pd_lower >= kPayloadOffset && header->pd_lower <= BLCKSZ - sizeof(PageTrailer);
}

void CheckPage(Relation index, BlockNumber block, Page page, PageKind kind, uint32 ordinal,
               uint64 incarnation) {
  const PageTrailer* trailer = Trailer(page);
  if (likely(trailer->page_id == kPageId && trailer->kind == static_cast<uint16>(kind) &&
             trailer->ordinal == ordinal && trailer->incarnation == incarnation)) {
    // The filling of vector pages is never looked at, and their header may be far from the processor's cache.
    if (kind != PageKind::kVectors && !FillingIsSane(page))
      ReportNotOurs(index, block, "its header is damaged");
    return;
  }
  if (PageIsNew(page)) ReportNotOurs(index, block, "it is empty");
  if (trailer->page_id != kPageId) ReportNotOurs(index, block, "it is not a page of this access method");
  if (trailer->incarnation != incarnation) ReportNotOurs(index, block, "it belongs to an earlier build");
  ReportNotOurs(index, block, "it is another page than the directory says");
}

static void CheckMeta(Relation index, Page page) {
  if (PageIsNew(page) || Trailer(page)->page_id != kPageId ||
      Trailer(page)->kind != static_cast<uint16>(PageKind::kMeta) || Meta(page)->magic != kMagic)
    ReportNotOurs(index, 0, "it is not a tandem meta page");
  if (Meta(page)->format_version != kFormatVersion)
    ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                    errmsg("index \"%s\" has format version %u, this library reads version %u",
                           RelationGetRelationName(index), Meta(page)->format_version, kFormatVersion),
                    errhint("Rebuild the index with REINDEX.")));
  if (!vec::IsElement(Meta(page)->element))
    ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                    errmsg("index \"%s\" stores elements of kind %u, which this library does not know",
                           RelationGetRelationName(index), Meta(page)->element),
                    errhint("Install the version of the library that made the index, or drop the index.")));
  const auto element = static_cast<vec::Element>(Meta(page)->element);
  if (Meta(page)->row_bytes == 0 || Meta(page)->row_bytes != RowBytesOf(element, Meta(page)->dimensions))
    ReportNotOurs(index, 0, "its row size contradicts its dimensions");
  for (int s = 0; s < kStreams; s++)
    if (ExtentsOf(*Meta(page), static_cast<Stream>(s)) >
        MaxExtentsOf(static_cast<Stream>(s), IsSparse(*Meta(page))))
      ReportNotOurs(index, 0, "it counts more extents than an index can have");
  if (Meta(page)->root.extents > kRootExtents)
    ReportNotOurs(index, 0, "it counts more extents than it has room for");
}

void ReadMeta(Relation index, MetaPage* meta) {
  const Buffer buffer = ReadPage(index, 0);
  LockBuffer(buffer, BUFFER_LOCK_SHARE);
  const Page page = BufferGetPage(buffer);
  CheckMeta(index, page);
  std::memcpy(meta, Meta(page), sizeof(MetaPage));
  UnlockReleaseBuffer(buffer);
}

RootView ReadRoot(Relation index) {
  const auto* cache = static_cast<const IndexCache*>(index->rd_amcache);
  const Buffer buffer = ReadPage(index, 0, cache != nullptr ? cache->recent_meta : InvalidBuffer);
  if (index->rd_amcache != nullptr) static_cast<IndexCache*>(index->rd_amcache)->recent_meta = buffer;
  LockBuffer(buffer, BUFFER_LOCK_SHARE);
  const Page page = BufferGetPage(buffer);
  CheckMeta(index, page);
  const RootView view = {Meta(page)->incarnation, Meta(page)->dead_rows, Meta(page)->root};
  UnlockReleaseBuffer(buffer);
  return view;
}

/// Copies the first blocks of a stream's extents to `blocks`.
static void ReadStreamMap(Relation index, const MetaPage& meta, Stream stream, BlockNumber* blocks) {
  if (ExtentsOf(meta, stream) == 0) return;
  const StreamMap& map = *MapOf(meta, stream);
  const uint32 in_meta = Min(map.extents, kInlineExtents);
  std::memcpy(blocks, map.first_block, in_meta * sizeof(BlockNumber));
  for (uint32 done = in_meta; done < map.extents;) {
    const uint32 leaf = (done - kInlineExtents) / kLeafExtents;
    const uint32 count = Min(map.extents - done, kLeafExtents);
    const Buffer buffer = ReadPage(index, map.leaf[leaf]);
    LockBuffer(buffer, BUFFER_LOCK_SHARE);
    const Page page = BufferGetPage(buffer);
    CheckPage(index, map.leaf[leaf], page, PageKind::kDirectory, leaf, meta.incarnation);
    std::memcpy(blocks + done, Payload(page), count * sizeof(BlockNumber));
    UnlockReleaseBuffer(buffer);
    done += count;
  }
}

DirectoryView* ReadDirectory(Relation index, const MetaPage& meta) {
  std::size_t extents = 0;
  for (int s = 0; s < kStreams; s++) extents += ExtentsOf(meta, static_cast<Stream>(s));
  auto* view =
      static_cast<DirectoryView*>(palloc0(offsetof(DirectoryView, blocks) + extents * sizeof(BlockNumber)));
  view->incarnation = meta.incarnation;
  view->row_bytes = meta.row_bytes;
  view->metric = static_cast<vec::Metric>(meta.metric);
  view->element = static_cast<vec::Element>(meta.element);
  view->column_dimensions = meta.dimensions;
  view->dimensions = static_cast<uint32>(vec::WidenedDimensions(view->element, meta.dimensions));
  uint32 next = 0;
  for (int s = 0; s < kStreams; s++) {
    const auto stream = static_cast<Stream>(s);
    view->streams[s] = {ExtentsOf(meta, stream), next};
    ReadStreamMap(index, meta, stream, view->blocks + next);
    next += view->streams[s].extents;
  }
  return view;
}

static std::size_t DirectoryBytes(const DirectoryView& directory) {
  std::size_t extents = 0;
  for (const StreamView& stream : directory.streams) extents += stream.extents;
  return offsetof(DirectoryView, blocks) + extents * sizeof(BlockNumber);
}

/// Pages that the heads of the rows of `vector_pages` pages take, and a few more.
static uint32 HeadPagesFor(const DirectoryView& directory, uint32 vector_pages) {
  const uint64 rows = static_cast<uint64>(vector_pages) * kPayloadBytes / directory.row_bytes;
  return vector_pages == 0 ? 0 : static_cast<uint32>(rows / kHeadsPerPage) + 2;
}

/// A cache with that directory, no hints, and room to remember the buffers of `recent_pages` vector pages, of the pages with
/// their heads and of `recent_blocks` blocks of the table: one chunk, as the relation cache demands of what it frees.
static IndexCache* NewIndexCache(Relation index, const DirectoryView& directory, uint32 recent_pages,
                                 uint32 recent_blocks) {
  const uint32 recent_heads = HeadPagesFor(directory, recent_pages);
  const std::size_t directory_bytes = DirectoryBytes(directory);
  const std::size_t recent_offset = MAXALIGN(offsetof(IndexCache, directory) + directory_bytes);
  auto* cache = static_cast<IndexCache*>(MemoryContextAllocExtended(
      index->rd_indexcxt,
      recent_offset + (std::size_t{recent_pages} + recent_heads + recent_blocks) * sizeof(Buffer),
      MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO));
  std::memcpy(static_cast<void*>(&cache->directory), &directory, directory_bytes);
  cache->recent_pages = recent_pages;
  cache->recent_heads = recent_heads;
  cache->recent_blocks = recent_blocks;
  cache->recent_offset = static_cast<uint32>(recent_offset);
  return cache;
}

/// Hints stay right while an index lives. `to` has at least as much room for buffers as `from`.
static void CopyHints(IndexCache* to, const IndexCache& from) {
  to->known_blocks = from.known_blocks;
  std::memcpy(to->tail_page, from.tail_page, sizeof to->tail_page);
  std::memcpy(to->tail_found, from.tail_found, sizeof to->tail_found);
  to->recent_meta = from.recent_meta;
  to->recent_head = from.recent_head;
  to->recent_vector = from.recent_vector;
  to->recent_elements = from.recent_elements;
  std::memcpy(RecentBuffers(to), RecentBuffers(&from), from.recent_pages * sizeof(Buffer));
  std::memcpy(RecentBuffers(to) + to->recent_pages, RecentBuffers(&from) + from.recent_pages,
              from.recent_heads * sizeof(Buffer));
  std::memcpy(RecentBuffers(to) + to->recent_pages + to->recent_heads,
              RecentBuffers(&from) + from.recent_pages + from.recent_heads,
              from.recent_blocks * sizeof(Buffer));
}

IndexCache* GetIndexCache(Relation index) {
  if (likely(index->rd_amcache != nullptr)) return static_cast<IndexCache*>(index->rd_amcache);
  return ReloadIndexCache(index);
}

IndexCache* ReloadIndexCache(Relation index) {
  // Read first: that may fail, and what is allocated in rd_indexcxt stays until the relation cache drops it.
  auto* meta = static_cast<MetaPage*>(palloc(sizeof(MetaPage)));
  ReadMeta(index, meta);
  DirectoryView* directory = ReadDirectory(index, *meta);
  pfree(meta);
  const BlockNumber file_blocks = RelationGetNumberOfBlocks(index);
  const auto* old = static_cast<const IndexCache*>(index->rd_amcache);
  const bool same_life = old != nullptr && old->directory.incarnation == directory->incarnation;
  IndexCache* fresh =
      NewIndexCache(index, *directory, same_life ? old->recent_pages : 0, same_life ? old->recent_blocks : 0);
  pfree(directory);
  if (same_life) CopyHints(fresh, *old);
  fresh->known_blocks = file_blocks;
  ForgetIndexCache(index);
  index->rd_amcache = fresh;
  return fresh;
}

void ForgetIndexCache(Relation index) {
  if (index->rd_amcache != nullptr) pfree(index->rd_amcache);
  index->rd_amcache = nullptr;
}

/// Gives the hints more room.
static void GrowHints(Relation index, const IndexCache& old, uint32 pages, uint32 blocks) {
  IndexCache* fresh = NewIndexCache(index, old.directory, pages, blocks);
  CopyHints(fresh, old);
  ForgetIndexCache(index);
  index->rd_amcache = fresh;
}

void ReserveRecentBuffers(Relation index, uint32 pages) {
  const IndexCache* old = GetIndexCache(index);
  if (pages <= old->recent_pages || pages > static_cast<uint32>(NBuffers)) return;
  // Some more, so that an index that grows between scans does not come here each time.
  const uint32 room = Min(pages + pages / 8 + 64, static_cast<uint32>(NBuffers));
  GrowHints(index, *old, room, old->recent_blocks);
}

// 4 MB in each backend, for a table of 8 GB.
static constexpr uint32 kMostRecentBlocks = 1 << 20;

void ReserveRecentBlocks(Relation index, BlockNumber block) {
  const IndexCache* old = GetIndexCache(index);
  const uint32 most = Min(static_cast<uint32>(NBuffers), kMostRecentBlocks);
  if (block < old->recent_blocks || block >= most) return;
  const uint32 room = Max(block + block / 8 + 64, 2 * old->recent_blocks);
  GrowHints(index, *old, old->recent_pages, Min(room, most));
}

DirectoryView* CopyDirectory(const DirectoryView& directory) {
  const std::size_t bytes = DirectoryBytes(directory);
  auto* copy = static_cast<DirectoryView*>(palloc(bytes));
  std::memcpy(static_cast<void*>(copy), &directory, bytes);
  return copy;
}

Buffer ReadPage(Relation index, BlockNumber block, Buffer recent, BufferAccessStrategy strategy) {
  // InvalidBlockNumber is P_NEW: a reader with a wrong directory would make the file longer.
  if (unlikely(block == InvalidBlockNumber))
    elog(ERROR, "page of index \"%s\" asked for beyond its directory", RelationGetRelationName(index));
  // A ring never raises a usage count above 1.
  const uint32 least_usage = strategy == nullptr ? 3 : 1;
  if (BufferIsValid(recent) && pg::ReadRecentPage(index, block, recent, least_usage)) return recent;
  return ReadBufferExtended(index, MAIN_FORKNUM, block, RBM_NORMAL, strategy);
}

// ---- Handing out blocks ----

void EnsureBlock(Relation index, BlockNumber block) {
  if (RelationGetNumberOfBlocks(index) > block) return;
  pg::ExtendRelationTo(index, block + 1);
}

/// True if the extent's entry lies in a leaf that does not exist yet.
static bool NeedsNewLeaf(uint32 extent) {
  return extent >= kInlineExtents && (extent - kInlineExtents) % kLeafExtents == 0;
}

static void ReportIndexFull(Relation index) {
  ereport(ERROR,
          (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
           errmsg("index \"%s\" cannot grow any further", RelationGetRelationName(index)),
           errhint("Partition the table, or rebuild the index with REINDEX if many of its rows are dead.")));
}

/// Raises an error unless `blocks` more blocks fit into a relation.
static void CheckRoom(Relation index, BlockNumber high_water, uint32 blocks) {
  if (static_cast<uint64>(high_water) + blocks >= MaxBlockNumber) ReportIndexFull(index);
}

/// Where an extent and its directory entry will lie.
struct ExtentPlan {
  BlockNumber first;
  BlockNumber
      leaf;  ///< block of the leaf with its entry; InvalidBlockNumber if the entry is in the meta page
  BlockNumber high_water;  ///< after it is handed out
  int blank_run;           ///< it is the last extent of this run; -1: it comes from the high-water mark
};

/// A run with extents; -1 if there is none.
static int LastBlankRun(const MetaPage& meta) {
  int run = static_cast<int>(kBlankRuns) - 1;
  while (run >= 0 && meta.blank_run[run].extents == 0) run--;
  return run;
}

/// A new leaf always comes from the high-water mark; a full-size extent from the free ones if there are any.
static ExtentPlan PlanExtent(const MetaPage& meta, Stream stream, uint32 extent) {
  ExtentPlan plan = {InvalidBlockNumber, InvalidBlockNumber, meta.high_water, -1};
  if (NeedsNewLeaf(extent))
    plan.leaf = plan.high_water++;
  else if (extent >= kInlineExtents)
    plan.leaf = MapOf(meta, stream)->leaf[(extent - kInlineExtents) / kLeafExtents];
  if (PagesOfExtent(extent) == kExtentPages) plan.blank_run = LastBlankRun(meta);
  if (plan.blank_run >= 0) {
    const BlankRun& run = meta.blank_run[plan.blank_run];
    plan.first = run.first + (run.extents - 1) * kExtentPages;
  } else {
    plan.first = plan.high_water;
    plan.high_water += PagesOfExtent(extent);
  }
  return plan;
}

static bool SamePlan(const ExtentPlan& a, const ExtentPlan& b) {
  return a.first == b.first && a.leaf == b.leaf && a.high_water == b.high_water && a.blank_run == b.blank_run;
}

/// Does the work of AllocateExtent() if the meta page still leads to the same plan; false if it changed meanwhile.
static bool TryAllocateExtent(Relation index, Stream stream, uint32 extent, const ExtentPlan& plan) {
  const bool in_leaf = extent >= kInlineExtents;
  const bool new_leaf = NeedsNewLeaf(extent);
  const uint32 leaf = in_leaf ? (extent - kInlineExtents) / kLeafExtents : 0;

  const Buffer meta_buffer = ReadPage(index, 0);
  LockBuffer(meta_buffer, BUFFER_LOCK_EXCLUSIVE);
  const Page meta_page = BufferGetPage(meta_buffer);
  MetaPage* meta = Meta(meta_page);
  if (ExtentsOf(*meta, stream) != extent || !SamePlan(PlanExtent(*meta, stream, extent), plan)) {
    UnlockReleaseBuffer(meta_buffer);
    return false;
  }
  Buffer leaf_buffer = InvalidBuffer;
  if (in_leaf) {
    leaf_buffer = ReadPage(index, plan.leaf);
    LockBuffer(leaf_buffer, BUFFER_LOCK_EXCLUSIVE);
    if (!new_leaf)
      CheckPage(index, plan.leaf, BufferGetPage(leaf_buffer), PageKind::kDirectory, leaf, meta->incarnation);
  }

  // Before this record: the extent does not exist, or is one of the free ones. After it: it is the stream's, and its
  // blocks read as empty until a row is written, whether the file has them or not.
  PageChanges changes(index);
  START_CRIT_SECTION();
  StreamMap& map = *MapOf(meta, stream);
  const int meta_number = changes.AddPage(meta_buffer, PageChanges::ImageMode::kDelta);
  const auto touch_meta = [&](const void* field, std::size_t length) {
    changes.Touch(meta_number,
                  static_cast<uint32>(static_cast<const char*>(field) - static_cast<char*>(meta_page)),
                  static_cast<uint32>(length));
  };
  if (in_leaf) {
    const Page leaf_page = BufferGetPage(leaf_buffer);
    const uint32 slot = (extent - kInlineExtents) % kLeafExtents;
    if (new_leaf) {
      InitPage(leaf_page, PageKind::kDirectory, leaf, meta->incarnation);
      map.leaf[leaf] = plan.leaf;
      touch_meta(&map.leaf[leaf], sizeof map.leaf[leaf]);
    }
    reinterpret_cast<BlockNumber*>(Payload(leaf_page))[slot] = plan.first;
    SetUsedPayload(leaf_page, (slot + 1) * sizeof(BlockNumber));
    const int leaf_number = changes.AddPage(
        leaf_buffer, new_leaf ? PageChanges::ImageMode::kFullImage : PageChanges::ImageMode::kDelta);
    changes.TouchLower(leaf_number);
    changes.Touch(leaf_number, kPayloadOffset + slot * static_cast<uint32>(sizeof(BlockNumber)),
                  sizeof(BlockNumber));
  } else {
    map.first_block[extent] = plan.first;
    touch_meta(&map.first_block[extent], sizeof map.first_block[extent]);
  }
  map.extents = extent + 1;
  touch_meta(&map.extents, sizeof map.extents);
  if (meta->high_water != plan.high_water) {
    meta->high_water = plan.high_water;
    touch_meta(&meta->high_water, sizeof meta->high_water);
  }
  if (plan.blank_run >= 0) {
    BlankRun& run = meta->blank_run[plan.blank_run];
    run.extents--;
    touch_meta(&run.extents, sizeof run.extents);
  }
  changes.Log();
  END_CRIT_SECTION();

  if (in_leaf) UnlockReleaseBuffer(leaf_buffer);
  UnlockReleaseBuffer(meta_buffer);
  return true;
}

void AllocateExtent(Relation index, Stream stream, uint32 extent) {
  auto* meta = static_cast<MetaPage*>(palloc(sizeof(MetaPage)));
  for (;;) {
    CHECK_FOR_INTERRUPTS();
    ReadMeta(index, meta);
    if (ExtentsOf(*meta, stream) > extent) break;
    if (ExtentsOf(*meta, stream) != extent)
      elog(ERROR, "extent %u of index \"%s\" asked for out of order", extent, RelationGetRelationName(index));
    if (extent >= MaxExtentsOf(stream, IsSparse(*meta))) ReportIndexFull(index);
    CheckRoom(index, meta->high_water, kExtentPages + 1);
    const ExtentPlan plan = PlanExtent(*meta, stream, extent);
    // The file grows first: running out of disk here leaves nothing behind but zero pages.
    if (plan.high_water > meta->high_water) EnsureBlock(index, plan.high_water - 1);
    pg::StopPoint("extent-before-log");
    if (TryAllocateExtent(index, stream, extent, plan)) break;
  }
  pg::StopPoint("extent-after-log");
  pfree(meta);
}

Buffer LockMeta(Relation index, uint64 incarnation) {
  const Buffer buffer = ReadPage(index, 0);
  LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
  const Page page = BufferGetPage(buffer);
  CheckMeta(index, page);
  if (Meta(page)->incarnation != incarnation)
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("index \"%s\" was rebuilt meanwhile", RelationGetRelationName(index))));
  return buffer;
}

void WriteMeta(Relation index, Buffer meta, void* field, const void* value, uint32 length) {
  char* page = static_cast<char*>(BufferGetPage(meta));
  PageChanges changes(index);
  START_CRIT_SECTION();
  std::memcpy(field, value, length);
  const int number = changes.AddPage(meta, PageChanges::ImageMode::kDelta);
  changes.Touch(number, static_cast<uint32>(static_cast<char*>(field) - page), length);
  changes.Log();
  END_CRIT_SECTION();
}

BlockNumber RaiseHighWater(Relation index, uint64 incarnation, uint32 blocks) {
  auto* seen = static_cast<MetaPage*>(palloc(sizeof(MetaPage)));
  BlockNumber first = InvalidBlockNumber;
  while (first == InvalidBlockNumber) {
    CHECK_FOR_INTERRUPTS();
    ReadMeta(index, seen);
    CheckRoom(index, seen->high_water, blocks);
    const BlockNumber raised = seen->high_water + blocks;
    // The file grows first, as in AllocateExtent().
    EnsureBlock(index, raised - 1);
    const Buffer buffer = LockMeta(index, incarnation);
    MetaPage* meta = Meta(BufferGetPage(buffer));
    // Before this record: the blocks do not exist. After it: nobody's, until a manifest that is published names them.
    if (meta->high_water == seen->high_water) {
      first = seen->high_water;
      WriteMeta(index, buffer, &meta->high_water, &raised, sizeof raised);
    }
    UnlockReleaseBuffer(buffer);
  }
  pg::StopPoint("high-water-logged");
  pfree(seen);
  return first;
}

/// The run that `added` follows, precedes, or, failing that, an empty one; -1 if there is none.
static int PlaceForRun(const MetaPage& meta, const BlankRun& added) {
  int place = -1;
  for (int i = 0; i < static_cast<int>(kBlankRuns); i++) {
    const BlankRun& run = meta.blank_run[i];
    if (run.extents == 0)
      place = place < 0 ? i : place;
    else if (run.first + run.extents * kExtentPages == added.first ||
             added.first + added.extents * kExtentPages == run.first)
      return i;
  }
  return place;
}

bool AddBlankRun(Relation index, uint64 incarnation, const BlankRun& run) {
  const Buffer buffer = LockMeta(index, incarnation);
  MetaPage* meta = Meta(BufferGetPage(buffer));
  const int place = PlaceForRun(*meta, run);
  if (place >= 0) {
    const BlankRun& old = meta->blank_run[place];
    const BlankRun joined = {old.extents == 0 ? run.first : Min(old.first, run.first),
                             old.extents + run.extents};
    // Before this record: blank pages that are nobody's. After it: any stream may take them.
    WriteMeta(index, buffer, &meta->blank_run[place], &joined, sizeof joined);
  }
  UnlockReleaseBuffer(buffer);
  return place >= 0;
}

uint32 CountBlankExtents(const MetaPage& meta) {
  uint32 extents = 0;
  for (const BlankRun& run : meta.blank_run) extents += run.extents;
  return extents;
}

// ---- Holes ----

/// Overwrites `count` entries of a directory page with holes, in one record. The page is locked.
static void OverwriteEntries(Relation index, Buffer buffer, BlockNumber* entries, uint32 count,
                             BlockNumber* freed) {
  char* page = static_cast<char*>(BufferGetPage(buffer));
  const auto bytes = static_cast<uint32>(count * sizeof(BlockNumber));
  std::memcpy(freed, entries, bytes);
  PageChanges changes(index);
  START_CRIT_SECTION();
  for (uint32 i = 0; i < count; i++) entries[i] = InvalidBlockNumber;
  const int number = changes.AddPage(buffer, PageChanges::ImageMode::kDelta);
  changes.Touch(number, static_cast<uint32>(reinterpret_cast<char*>(entries) - page), bytes);
  changes.Log();
  END_CRIT_SECTION();
}

/// Before its record: the extents are the stream's, and nobody reads them. After it: their blocks are nobody's.
static void MakeHolesInMeta(Relation index, uint64 incarnation, uint32 first, uint32 count,
                            BlockNumber* freed) {
  const Buffer buffer = LockMeta(index, incarnation);
  BlockNumber* entries = MapOf(Meta(BufferGetPage(buffer)), kVectorStream)->first_block + first;
  OverwriteEntries(index, buffer, entries, count, freed);
  UnlockReleaseBuffer(buffer);
}

/// The same. slot: of the leaf's entries.
static void MakeHolesInLeaf(Relation index, const MetaPage& meta, uint32 leaf, uint32 slot, uint32 count,
                            BlockNumber* freed) {
  const BlockNumber block = MapOf(meta, kVectorStream)->leaf[leaf];
  const Buffer buffer = ReadPage(index, block);
  LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
  const Page page = BufferGetPage(buffer);
  CheckPage(index, block, page, PageKind::kDirectory, leaf, meta.incarnation);
  OverwriteEntries(index, buffer, reinterpret_cast<BlockNumber*>(Payload(page)) + slot, count, freed);
  UnlockReleaseBuffer(buffer);
}

void MakeHoles(Relation index, uint64 incarnation, uint32 first, uint32 count, BlockNumber* freed) {
  auto* meta = static_cast<MetaPage*>(palloc(sizeof(MetaPage)));
  ReadMeta(index, meta);
  if (meta->incarnation != incarnation || ExtentsOf(*meta, kVectorStream) < first + count)
    elog(ERROR, "extents %u to %u of index \"%s\" cannot become holes", first, first + count - 1,
         RelationGetRelationName(index));
  for (uint32 done = 0; done < count;) {
    CHECK_FOR_INTERRUPTS();
    const uint32 extent = first + done;
    uint32 part;
    if (extent < kInlineExtents) {
      part = Min(count - done, kInlineExtents - extent);
      MakeHolesInMeta(index, incarnation, extent, part, freed + done);
    } else {
      const uint32 slot = (extent - kInlineExtents) % kLeafExtents;
      part = Min(count - done, kLeafExtents - slot);
      MakeHolesInLeaf(index, *meta, (extent - kInlineExtents) / kLeafExtents, slot, part, freed + done);
    }
    pg::StopPoint("holes-logged");
    done += part;
  }
  pfree(meta);
}

// ---- The tail ----

/// True if the file has the block. Asks the file system only about blocks that are not known: a file never gets shorter while
/// the cache lives.
static bool FileHasBlock(Relation index, IndexCache* cache, BlockNumber block) {
  if (likely(block < cache->known_blocks)) return true;
  cache->known_blocks = RelationGetNumberOfBlocks(index);
  return block < cache->known_blocks;
}

/// Rows on page `page` of a heads stream; 0 for a page that does not exist yet.
static uint32 CountOnPage(Relation index, Stream stream, uint32 page) {
  IndexCache* cache = GetIndexCache(index);
  const DirectoryView& view = cache->directory;
  const BlockNumber block = view.BlockOf(stream, page);
  if (block == InvalidBlockNumber || !FileHasBlock(index, cache, block)) return 0;
  const bool is_tail = stream == kHeadStream && page == cache->tail_page[stream];
  const Buffer buffer = ReadPage(index, block, is_tail ? cache->recent_head : InvalidBuffer);
  if (is_tail) cache->recent_head = buffer;
  LockBuffer(buffer, BUFFER_LOCK_SHARE);
  const Page head_page = BufferGetPage(buffer);
  uint32 count = 0;
  if (!IsBlank(head_page)) {
    CheckPage(index, block, head_page, KindOfStream(stream), page, view.incarnation);
    count = HeadCount(head_page);
  }
  UnlockReleaseBuffer(buffer);
  return count;
}

uint32 ExtentsHandedOut(Relation index, Stream stream) {
  const Buffer buffer = ReadPage(index, 0);
  LockBuffer(buffer, BUFFER_LOCK_SHARE);
  CheckMeta(index, BufferGetPage(buffer));
  const uint32 extents = ExtentsOf(*Meta(BufferGetPage(buffer)), stream);
  UnlockReleaseBuffer(buffer);
  return extents;
}

void FindTail(Relation index, Stream stream) {
  IndexCache* cache = GetIndexCache(index);
  for (;;) {
    // Pages fill in order, so "page n is in use" is true up to the tail and false beyond: gallop, then halve.
    const DirectoryView& view = cache->directory;
    const uint32 known = view.PagesKnown(stream);
    uint32 in_use = cache->tail_page[stream];
    uint32 step = 1;
    while (in_use + step < known && CountOnPage(index, stream, in_use + step) > 0) {
      in_use += step;
      step *= 2;
    }
    uint32 empty = Min(in_use + step, known);
    while (empty - in_use > 1 && empty > in_use) {
      const uint32 middle = in_use + (empty - in_use) / 2;
      if (CountOnPage(index, stream, middle) > 0)
        in_use = middle;
      else
        empty = middle;
    }
    cache->tail_page[stream] = in_use;
    cache->tail_found[stream] = true;
    // Only when the last page of the last known extent is full can there be extents we have not heard of. An
    // append that failed to get an extent leaves the hint beyond them.
    if (in_use + 1 < known || (in_use < known && CountOnPage(index, stream, in_use) < kHeadsPerPage)) return;
    if (ExtentsHandedOut(index, stream) == view.streams[stream].extents) return;
    cache = ReloadIndexCache(index);
  }
}

/// Rows up to and on the page where the tail was seen last.
static uint64 CountToTail(Relation index, Stream stream) {
  const uint32 page = GetIndexCache(index)->tail_page[stream];
  return static_cast<uint64>(page) * kHeadsPerPage + CountOnPage(index, stream, page);
}

uint64 CountRows(Relation index, Stream stream) {
  if (GetIndexCache(index)->tail_found[stream]) {
    // Pages fill in order: there is nothing behind one that is neither empty nor full.
    const uint64 rows = CountToTail(index, stream);
    if (rows % kHeadsPerPage != 0) return rows;
  }
  FindTail(index, stream);
  return CountToTail(index, stream);
}

}  // namespace tandem::storage
