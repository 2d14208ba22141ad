// Blobs over pages. Reading checks at every page turn that the page still is this blob's; writing takes blocks that are
// nobody's, formats each as new and logs its whole image, so that nothing they held before is ever believed.

#include "pg/compat.hpp"

#include "storage/blob.hpp"

#include <algorithm>

#include "graph/prefetch.hpp"
#include "pg/reserve.hpp"
#include "pg/stop_point.hpp"
#include "storage/claims.hpp"
#include "storage/wal.hpp"

extern "C" {
#include "access/xact.h"
#include "access/xlog.h"
#include "port/pg_crc32c.h"
}

namespace tandem::storage {

namespace {

/// Bytes of the blob on its page `page`.
uint32 BytesOnPage(const BlobRef& blob, uint32 page) {
  const uint64 start = static_cast<uint64>(page) * kBlobPageBytes;
  return static_cast<uint32>(Min(blob.bytes - start, static_cast<uint64>(kBlobPageBytes)));
}

uint32 ChecksumOf(Page page, uint32 used) {
  pg_crc32c crc;
  INIT_CRC32C(crc);
  COMP_CRC32C(crc, Payload(page), used);
  FIN_CRC32C(crc);
  return crc;
}

/// True if the page is page `number` of the blob; a page that was recycled, or lost, is not.
bool IsPageOf(const BlobRef& blob, uint64 incarnation, uint32 number, Page page) {
  const PageTrailer* trailer = Trailer(page);
  return trailer->page_id == kPageId && trailer->kind == static_cast<uint16>(blob.kind) &&
         trailer->ordinal == number && trailer->incarnation == incarnation &&
         trailer->blob.blob_id == blob.id && UsedPayload(page) == BytesOnPage(blob, number);
}

/// For a page that IsPageOf() a blob.
bool HasRightSum(Page page) {
  return Trailer(page)->blob.checksum == ChecksumOf(page, UsedPayload(page));
}

// ---- Reading ----

void MarkStale(BlobReader* reader, uint32 page) {
  reader->stale = true;
  // Nothing takes the place of packed vectors: who finds no newer ones raises an error.
  if (reader->unprotected || reader->blob.kind == PageKind::kPacked) return;
  const DamageKind kind = reader->checks_sums ? DamageKind::kPageForMemory : DamageKind::kPage;
  if (!IsNews(reader->index, reader->blob.id, kind)) return;
  ereport(WARNING, (errcode(ERRCODE_INDEX_CORRUPTED),
                    errmsg("index \"%s\" has a damaged page %u of blob %u",
                           RelationGetRelationName(reader->index), page, reader->blob.id),
                    reader->checks_sums ? errdetail("Nothing is taken from it: rows are found without it.")
                                        : errdetail("Its rows are found by an exact scan instead."),
                    errhint("Rebuild the index with REINDEX.")));
}

void LetGoOfPage(BlobReader* reader) {
  if (BufferIsValid(reader->buffer)) ReleaseBuffer(reader->buffer);
  reader->buffer = InvalidBuffer;
}

Buffer PinPage(BlobReader* reader, uint32 page) {
  Buffer* recent = reader->recent != nullptr ? reader->recent + page : nullptr;
  Buffer buffer = TakeFromSweep(&reader->sweep, page);
  if (!BufferIsValid(buffer))
    buffer = ReadPage(reader->index, reader->blob.BlockOf(page), recent != nullptr ? *recent : InvalidBuffer,
                      reader->strategy);
  if (recent != nullptr) *recent = buffer;
  return buffer;
}

/// Pins the page and checks that it is the blob's. An unprotected reader leaves it locked. False: the reader is stale now, and
/// nothing is locked.
bool TurnTo(BlobReader* reader, uint32 page) {
  const bool is_pinned = BufferIsValid(reader->buffer) && reader->page == page;
  if (is_pinned && !reader->unprotected) return true;
  if (!is_pinned) {
    CHECK_FOR_INTERRUPTS();
    LetGoOfPage(reader);
    reader->buffer = PinPage(reader, page);
    reader->page = page;
  }
  if (reader->unprotected) LockBuffer(reader->buffer, BUFFER_LOCK_SHARE);
  const Page content = BufferGetPage(reader->buffer);
  // Once is enough also where the page may be another one at the next look: if it still is this one, so are its bytes.
  const bool skips_sum = is_pinned || !reader->checks_sums;
  if (likely(IsPageOf(reader->blob, reader->incarnation, page, content)) &&
      (skips_sum || HasRightSum(content)))
    return true;
  if (reader->unprotected) LockBuffer(reader->buffer, BUFFER_LOCK_UNLOCK);
  LetGoOfPage(reader);
  MarkStale(reader, page);
  return false;
}

/// Copies bytes from page to page. False: the reader is stale.
bool CopyBytes(BlobReader* reader, uint64 offset, uint32 bytes, char* to) {
  while (bytes > 0) {
    const auto in_page = static_cast<uint32>(offset % kBlobPageBytes);
    const uint32 part = Min(bytes, kBlobPageBytes - in_page);
    if (!TurnTo(reader, static_cast<uint32>(offset / kBlobPageBytes))) return false;
    std::memcpy(to, Payload(BufferGetPage(reader->buffer)) + in_page, part);
    if (reader->unprotected) LockBuffer(reader->buffer, BUFFER_LOCK_UNLOCK);
    offset += part;
    to += part;
    bytes -= part;
  }
  return true;
}

}  // namespace

bool IsNews(Relation index, uint32 blob, DamageKind kind) {
  struct Told {
    Oid index;
    uint32 blob;
    DamageKind kind;
  };
  constexpr uint32 kMostTold = 64;
  static Told told[kMostTold];
  static uint32 next;
  const Oid oid = RelationGetRelid(index);
  for (const Told& old : told)
    if (old.index == oid && old.blob == blob && old.kind == kind) return false;
  told[next++ % kMostTold] = {oid, blob, kind};
  return true;
}

void OpenBlob(BlobReader* reader, Relation index, uint64 incarnation, const BlobRef& blob, Buffer* recent) {
  reader->index = index;
  reader->incarnation = incarnation;
  reader->blob = blob;
  reader->recent = recent;
  reader->strategy = nullptr;
  reader->checks_sums = false;
  reader->buffer = InvalidBuffer;
  reader->page = 0;
  reader->sweep = {};
  reader->unprotected = RecoveryInProgress() || TransactionStartedDuringRecovery();
  reader->stale = false;
}

const char* ReadBlob(BlobReader* reader, uint64 offset, uint32 bytes, char* scratch) {
  const auto in_page = static_cast<uint32>(offset % kBlobPageBytes);
  const bool inside = offset <= reader->blob.bytes && bytes <= reader->blob.bytes - offset;
  if (likely(inside && !reader->stale)) {
    if (in_page + bytes <= kBlobPageBytes && !reader->unprotected && bytes > 0) {
      if (TurnTo(reader, static_cast<uint32>(offset / kBlobPageBytes)))
        return Payload(BufferGetPage(reader->buffer)) + in_page;
    } else if (CopyBytes(reader, offset, bytes, scratch)) {
      return scratch;
    }
  } else if (!reader->stale) {
    MarkStale(reader, static_cast<uint32>(offset / kBlobPageBytes));
  }
  std::memset(scratch, 0, bytes);
  return scratch;
}

void PrefetchBlob(const BlobReader& reader, uint64 offset, uint32 bytes) {
  if (reader.recent == nullptr || offset + bytes > reader.blob.bytes) return;
  const Buffer recent = reader.recent[offset / kBlobPageBytes];
  if (recent <= 0) return;
  pg::PrefetchBufferDescriptor(recent);
  const Page held = BufferGetPage(recent);
  __builtin_prefetch(held);
  __builtin_prefetch(Trailer(held));
  graph::PrefetchFar(Payload(held) + offset % kBlobPageBytes, bytes);
}

void SweepBlob(BlobReader* reader, uint64 first, uint64 end) {
  if (reader->unprotected || reader->stale || first >= end) return;
  const auto block_of = [](const void* blob, uint32 page) {
    return static_cast<const BlobRef*>(blob)->BlockOf(page);
  };
  BeginSweep(&reader->sweep, reader->index, reader->strategy, {block_of, &reader->blob},
             static_cast<uint32>(first / kBlobPageBytes), PagesOfBlob(Min(end, reader->blob.bytes)));
}

void CloseBlob(BlobReader* reader) {
  LetGoOfPage(reader);
  EndSweep(&reader->sweep);
}

// ---- Checking ----

/// What is wrong with a page, or nullptr.
static const char* ProblemOfPage(const BlobRef& blob, uint64 incarnation, uint32 number, char* page) {
  const PageTrailer* trailer = Trailer(page);
  const auto* header = reinterpret_cast<PageHeader>(page);
  const uint32 used = BytesOnPage(blob, number);
  if (PageIsNew(page)) return "page of a blob is empty";
  if (trailer->page_id != kPageId) return "page id is wrong";
  if (trailer->incarnation != incarnation) return "page belongs to an earlier build of the index";
  if (trailer->kind != static_cast<uint16>(blob.kind) || trailer->blob.blob_id != blob.id ||
      trailer->ordinal != number)
    return "page is not the one that the manifest says: another kind, blob or number";
  if (header->pd_special != BLCKSZ - sizeof(PageTrailer) || header->pd_upper != header->pd_special ||
      header->pd_lower != kPayloadOffset + used)
    return "page header is damaged, or the page is not filled as it should be";
  if (trailer->blob.checksum != ChecksumOf(page, used)) return "page has a wrong checksum";
  for (uint32 at = header->pd_lower; at < header->pd_upper; at++)
    if (page[at] != 0) return "page has bytes behind its end that are not zero";
  return nullptr;
}

void CheckBlobPages(Relation index, uint64 incarnation, const BlobRef& blob, BlobProblem problem,
                    void* state) {
  auto* image = static_cast<char*>(palloc(BLCKSZ));
  const uint32 pages = PagesOfBlob(blob.bytes);
  const BlockNumber file_blocks = RelationGetNumberOfBlocks(index);
  const BufferAccessStrategy strategy = GetAccessStrategy(BAS_BULKREAD);
  for (uint32 page = 0; page < pages; page++) {
    CHECK_FOR_INTERRUPTS();
    const BlockNumber block = blob.BlockOf(page);
    if (block >= file_blocks) {
      problem(state, block, "page of a blob is missing from the file");
      continue;
    }
    const Buffer buffer = ReadPage(index, block, InvalidBuffer, strategy);
    LockBuffer(buffer, BUFFER_LOCK_SHARE);
    std::memcpy(image, BufferGetPage(buffer), BLCKSZ);
    UnlockReleaseBuffer(buffer);
    const char* wrong = ProblemOfPage(blob, incarnation, page, image);
    if (wrong != nullptr) problem(state, block, wrong);
  }
  FreeAccessStrategy(strategy);
  pfree(image);
}

// ---- Free blocks ----

namespace {

/// Blocks [first, first + blocks) that are nobody's.
struct FreeRun {
  BlockNumber first;
  uint32 blocks;
};

// Blocks by which a writer that finds no free run raises the high-water mark: 1 MB. An insert that needs an extent at the
// same time waits while the file grows by so much.
constexpr uint32 kHighWaterStep = 128;

// Extents given to streams at once: 8 MB, formatted in some 10 ms.
constexpr uint32 kMaxGiven = 16;

}  // namespace

struct BlobWriter {
  MemoryContext context;
  uint64 incarnation;
  FreeRun* runs;  ///< in no order; some may be empty
  uint32 run_count;
  uint32 run_room;
  char* image;  ///< one page being prepared

  // The blob being written.
  PageKind kind;
  uint32 id;
  uint64 bytes;
  uint32 pages;
  uint32 next_page;
  BlockNumber* first_block;  ///< its extents; filled in as they are reached
};

static void AddRun(BlobWriter* writer, BlockNumber first, uint32 blocks) {
  pg::ReserveOneMore(&writer->runs, writer->run_count, &writer->run_room);
  writer->runs[writer->run_count++] = {first, blocks};
}

/// Brings runs into the order of blocks and joins neighbours.
static void JoinRuns(BlobWriter* writer) {
  FreeRun* runs = writer->runs;
  std::sort(runs, runs + writer->run_count,
            [](const FreeRun& a, const FreeRun& b) { return a.first < b.first; });
  uint32 kept = 0;
  for (uint32 i = 0; i < writer->run_count; i++) {
    if (runs[i].blocks == 0) continue;
    if (kept > 0 && runs[kept - 1].first + runs[kept - 1].blocks == runs[i].first)
      runs[kept - 1].blocks += runs[i].blocks;
    else
      runs[kept++] = runs[i];
  }
  writer->run_count = kept;
}

/// The smallest free run of at least `blocks` blocks, the first among equals; nullptr if there is none.
static FreeRun* BestRun(BlobWriter* writer, uint32 blocks) {
  FreeRun* best = nullptr;
  for (uint32 i = 0; i < writer->run_count; i++) {
    FreeRun* run = writer->runs + i;
    if (run->blocks >= blocks && (best == nullptr || run->blocks < best->blocks)) best = run;
  }
  return best;
}

namespace {

/// One bit a block: is it claimed?
struct ClaimMap {
  uint64* words;
  BlockNumber blocks;

  [[nodiscard]] bool IsClaimed(BlockNumber block) const {
    return (words[block / 64] >> (block % 64) & 1) != 0;
  }
};

void ClaimBlocks(void* state, BlockOwner /*owner*/, BlockNumber first, uint32 count) {
  const auto* map = static_cast<const ClaimMap*>(state);
  for (BlockNumber block = first; block < map->blocks && block - first < count; block++)
    map->words[block / 64] |= uint64{1} << (block % 64);
}

/// In the current memory context.
ClaimMap MapClaims(const IndexLayout& layout) {
  const BlockNumber blocks = layout.meta.high_water;
  ClaimMap map = {
      static_cast<uint64*>(MemoryContextAllocExtended(
          CurrentMemoryContext, (blocks / 64 + 1) * sizeof(uint64), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO)),
      blocks};
  VisitClaims(layout, ClaimBlocks, &map);
  return map;
}

}  // namespace

BlobWriter* BeginBlobs(Relation index) {
  auto* writer = static_cast<BlobWriter*>(palloc0(sizeof(BlobWriter)));
  writer->context = CurrentMemoryContext;
  writer->image = static_cast<char*>(palloc(BLCKSZ));
  writer->run_room = 64;
  writer->runs = static_cast<FreeRun*>(palloc(writer->run_room * sizeof(FreeRun)));

  const MemoryContext scratch =
      AllocSetContextCreate(CurrentMemoryContext, "tandem free blocks", ALLOCSET_DEFAULT_SIZES);
  const MemoryContext old_context = MemoryContextSwitchTo(scratch);
  const IndexLayout* layout = ReadLayout(index);
  writer->incarnation = layout->meta.incarnation;
  const ClaimMap map = MapClaims(*layout);
  for (BlockNumber block = 0; block < map.blocks;) {
    BlockNumber end = block;
    while (end < map.blocks && !map.IsClaimed(end)) end++;
    if (end > block) AddRun(writer, block, end - block);
    block = end + 1;
  }
  MemoryContextSwitchTo(old_context);
  MemoryContextDelete(scratch);
  return writer;
}

/// An extent for the blob, from a free run or from the high-water mark.
static BlockNumber TakeExtent(BlobWriter* writer, Relation index, uint32 blocks) {
  FreeRun* run = BestRun(writer, blocks);
  if (run == nullptr) {
    const uint32 rest = FirstPageOfExtent(ExtentsOfPages(writer->pages)) - writer->next_page;
    const uint32 more = Max(blocks, Min(rest, kHighWaterStep));
    AddRun(writer, RaiseHighWater(index, writer->incarnation, more), more);
    run = writer->runs + writer->run_count - 1;
  }
  const BlockNumber first = run->first;
  run->first += blocks;
  run->blocks -= blocks;
  return first;
}

// ---- Writing ----

/// Before the record: the id is not taken. After it: it is, also if the blob is never written.
static uint32 TakeBlobId(Relation index, uint64 incarnation) {
  const Buffer buffer = LockMeta(index, incarnation);
  ManifestRoot* root = &Meta(BufferGetPage(buffer))->root;
  const uint32 id = Max(root->next_blob_id, 1U);
  const uint32 next = id + 1;
  if (next != 0) WriteMeta(index, buffer, &root->next_blob_id, &next, sizeof next);
  UnlockReleaseBuffer(buffer);
  if (next == 0)
    ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                    errmsg("index \"%s\" has used up its blob numbers", RelationGetRelationName(index)),
                    errhint("Rebuild the index with REINDEX.")));
  pg::StopPoint("blob-id-logged");
  return id;
}

void BeginBlob(BlobWriter* writer, Relation index, PageKind kind, uint64 bytes) {
  if (bytes == 0 || bytes / kBlobPageBytes >= MaxBlockNumber - kExtentPages)
    elog(ERROR, "cannot write a blob of %llu bytes", static_cast<unsigned long long>(bytes));
  writer->kind = kind;
  writer->bytes = bytes;
  writer->pages = PagesOfBlob(bytes);
  writer->next_page = 0;
  writer->first_block = static_cast<BlockNumber*>(
      MemoryContextAllocZero(writer->context, ExtentsOfPages(writer->pages) * sizeof(BlockNumber)));
  writer->id = TakeBlobId(index, writer->incarnation);
}

/// Stores the prepared image. Before its record: the block is nobody's and holds anything. After it: it holds the blob's
/// page, and still is nobody's until a manifest names the blob.
static void StorePage(Relation index, BlockNumber block, const char* image) {
  const Buffer buffer = ReadBufferExtended(index, MAIN_FORKNUM, block, RBM_ZERO_AND_LOCK, nullptr);
  PageChanges changes(index);
  START_CRIT_SECTION();
  std::memcpy(BufferGetPage(buffer), image, BLCKSZ);
  changes.AddPage(buffer, PageChanges::ImageMode::kFullImage);
  changes.Log();
  END_CRIT_SECTION();
  UnlockReleaseBuffer(buffer);
}

static void WriteNextPage(BlobWriter* writer, Relation index, BlockNumber* file_blocks, BlobSupplier supply,
                          void* state) {
  const BlobRef blob = WrittenBlob(writer);
  const uint32 page = writer->next_page;
  const PagePlace place = PlaceOfPage(page);
  if (place.offset == 0)
    writer->first_block[place.extent] = TakeExtent(writer, index, PagesOfExtent(place.extent));
  const BlockNumber block = blob.BlockOf(page);
  if (block >= *file_blocks) {
    EnsureBlock(index, block);
    *file_blocks = RelationGetNumberOfBlocks(index);
  }
  const uint32 used = BytesOnPage(blob, page);
  InitPage(writer->image, blob.kind, page, writer->incarnation);
  SetUsedPayload(writer->image, used);
  supply(state, static_cast<uint64>(page) * kBlobPageBytes, used, Payload(writer->image));
  Trailer(writer->image)->blob.blob_id = blob.id;
  Trailer(writer->image)->blob.checksum = ChecksumOf(writer->image, used);
  StorePage(index, block, writer->image);
  writer->next_page++;
}

bool WriteBlobPages(BlobWriter* writer, Relation index, uint32 pages, BlobSupplier supply, void* state) {
  // The caller let go of the relation since the last call: free blocks of the index as it was then are anybody's in one that
  // was rebuilt.
  if (ReadRoot(index).incarnation != writer->incarnation)
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("index \"%s\" was rebuilt meanwhile", RelationGetRelationName(index))));
  BlockNumber file_blocks = RelationGetNumberOfBlocks(index);
  for (uint32 i = 0; i < pages && writer->next_page < writer->pages; i++) {
    CHECK_FOR_INTERRUPTS();
    WriteNextPage(writer, index, &file_blocks, supply, state);
    pg::StopPoint("blob-page-written");
  }
  if (writer->next_page < writer->pages) return true;
  pg::StopPoint("blob-written");
  return false;
}

BlobRef WrittenBlob(const BlobWriter* writer) {
  return {writer->kind, writer->id, writer->bytes, writer->first_block};
}

void FreeBlob(BlobWriter* writer, const BlobRef& blob) {
  const uint32 extents = ExtentsOfPages(PagesOfBlob(blob.bytes));
  for (uint32 extent = 0; extent < extents; extent++)
    AddRun(writer, blob.first_block[extent], PagesOfExtent(extent));
}

void FreeBlocks(BlobWriter* writer, BlockNumber first, uint32 blocks) {
  AddRun(writer, first, blocks);
}

// ---- Free extents for streams ----

/// Formats the pages of an extent as blank, logged. What they held was a blob's, and a stream would not take it for empty.
static void BlankExtent(BlobWriter* writer, Relation index, BlockNumber first) {
  EnsureBlock(index, first + kExtentPages - 1);
  for (uint32 page = 0; page < kExtentPages; page++) {
    CHECK_FOR_INTERRUPTS();
    InitPage(writer->image, PageKind::kFree, 0, writer->incarnation);
    StorePage(index, first + page, writer->image);
  }
}

/// Extents to add to those that streams may take: some of `whole`, the free ones.
static uint32 ExtentsToGive(const MetaPage& meta, uint32 extents_of_streams, uint32 whole) {
  // What is reserved serves no blob. What a table replaces from one publication to the next, mostly a fifth of it (VACUUM's
  // usual threshold), must come from here, or the file would grow each time.
  constexpr uint32 kReservedShare = 4;
  const uint32 wanted = extents_of_streams / kReservedShare + 1;
  const uint32 reserved = CountBlankExtents(meta);
  if (reserved >= wanted) return 0;
  // At most half of what there is: the next segment needs blocks as well.
  return Min(kMaxGiven, Min(wanted - reserved, whole / 2));
}

/// Extents that streams have, without holes.
static uint32 ExtentsOfStreams(Relation index, const MetaPage& meta) {
  const DirectoryView* directory = ReadDirectory(index, meta);
  uint32 extents = 0;
  for (int stream = 0; stream < kStreams; stream++)
    for (uint32 extent = 0; extent < directory->streams[stream].extents; extent++)
      if (directory->FirstBlockOf(static_cast<Stream>(stream), extent) != InvalidBlockNumber) extents++;
  return extents;
}

uint32 GiveToStreams(BlobWriter* writer, Relation index) {
  JoinRuns(writer);
  uint32 whole = 0;
  for (uint32 i = 0; i < writer->run_count; i++) whole += writer->runs[i].blocks / kExtentPages;
  if (whole < 2) return 0;
  const MemoryContext scratch =
      AllocSetContextCreate(CurrentMemoryContext, "tandem reserve", ALLOCSET_DEFAULT_SIZES);
  const MemoryContext old_context = MemoryContextSwitchTo(scratch);
  auto* meta = static_cast<MetaPage*>(palloc(sizeof(MetaPage)));
  ReadMeta(index, meta);
  const uint32 give = ExtentsToGive(*meta, ExtentsOfStreams(index, *meta), whole);
  MemoryContextSwitchTo(old_context);
  MemoryContextDelete(scratch);
  uint32 given = 0;
  while (given < give) {
    FreeRun* run = BestRun(writer, kExtentPages);
    const BlankRun blank = {run->first, 1};
    BlankExtent(writer, index, blank.first);
    pg::StopPoint("extent-blanked");
    if (!AddBlankRun(index, writer->incarnation, blank)) break;
    run->first += kExtentPages;
    run->blocks -= kExtentPages;
    given++;
    pg::StopPoint("free-extent-logged");
  }
  return given;
}

}  // namespace tandem::storage
