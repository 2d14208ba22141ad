#include "pg/compat.hpp"

#include "storage/manifest.hpp"

#include "pg/stop_point.hpp"

extern "C" {
#include "access/transam.h"
#include "catalog/pg_class.h"
#include "port/pg_crc32c.h"
#include "storage/lock.h"
#include "storage/lmgr.h"
#include "storage/procarray.h"
}

namespace tandem::storage {

// ---- Reading ----

namespace {

std::size_t BytesOf(const ManifestHeader& header) {
  return sizeof(ManifestHeader) + header.segments * sizeof(SegmentInfo) + header.packed * sizeof(PackedInfo) +
         header.retired * sizeof(RetiredInfo) + header.blocks * sizeof(BlockNumber);
}

/// Of the contents behind the header.
uint32 ChecksumOf(const char* contents, std::size_t bytes) {
  pg_crc32c crc;
  INIT_CRC32C(crc);
  COMP_CRC32C(crc, contents + sizeof(ManifestHeader), bytes - sizeof(ManifestHeader));
  FIN_CRC32C(crc);
  return crc;
}

/// True if a listed blob's extents lie within the manifest's blocks.
bool HasBlocks(const Manifest& manifest, uint64 bytes, uint32 first_extent) {
  if (bytes == 0 || bytes / kBlobPageBytes >= MaxBlockNumber) return false;
  return static_cast<uint64>(first_extent) + ExtentsOfPages(PagesOfBlob(bytes)) <= manifest.block_count;
}

const char* ProblemOfPacked(const Manifest& manifest) {
  uint64 row = 0;
  uint32 extent = 0;
  for (uint32 i = 0; i < manifest.packed_count; i++) {
    const PackedInfo& range = manifest.packed[i];
    if (range.first_row < row || range.end_row <= range.first_row || range.first_of_stream < extent ||
        range.end_of_stream <= range.first_of_stream)
      return "the manifest's packed ranges are not in order";
    if ((range.rows == 0) != (range.bytes == 0) || range.rows > range.end_row - range.first_row ||
        (range.bytes != 0 && !HasBlocks(manifest, range.bytes, range.first_extent)))
      return "a packed range of the manifest has no blocks";
    row = range.end_row;
    extent = range.end_of_stream;
  }
  return nullptr;
}

/// What is wrong with the contents, or nullptr. After this every blob's extents can be read from memory.
const char* ProblemOf(const Manifest& manifest) {
  uint64 row = 0;
  for (uint32 i = 0; i < manifest.segment_count; i++) {
    const SegmentInfo& segment = manifest.segments[i];
    if (segment.first_row != row || segment.end_row <= segment.first_row)
      return "the manifest's segments do not follow each other";
    if (!HasBlocks(manifest, segment.bytes, segment.first_extent))
      return "a segment of the manifest has no blocks";
    row = segment.end_row;
  }
  if (manifest.root.sealed_rows != row) return "the manifest's segments end elsewhere than the sealed rows";
  for (uint32 i = 0; i < manifest.retired_count; i++)
    if (!IsExtents(manifest.retired[i]) &&
        !HasBlocks(manifest, manifest.retired[i].bytes, manifest.retired[i].first_extent))
      return "a retired blob of the manifest has no blocks";
  return ProblemOfPacked(manifest);
}

/// Makes `manifest` point into `contents`, a manifest's blob. False if its parts do not add up to its size.
bool TakeApart(Manifest* manifest, const char* contents) {
  const auto* header = reinterpret_cast<const ManifestHeader*>(contents);
  const ManifestRoot& root = manifest->root;
  if (root.bytes < sizeof *header || header->magic != kManifestMagic || header->version != root.version ||
      BytesOf(*header) != root.bytes)
    return false;
  manifest->segment_count = header->segments;
  manifest->packed_count = header->packed;
  manifest->retired_count = header->retired;
  manifest->block_count = header->blocks;
  manifest->segments = reinterpret_cast<const SegmentInfo*>(header + 1);
  manifest->packed = reinterpret_cast<const PackedInfo*>(manifest->segments + header->segments);
  manifest->retired = reinterpret_cast<const RetiredInfo*>(manifest->packed + header->packed);
  manifest->blocks = reinterpret_cast<const BlockNumber*>(manifest->retired + header->retired);
  return true;
}

/// A manifest with room for its contents behind it.
Manifest* NewManifest(uint64 incarnation, const ManifestRoot& root) {
  auto* manifest = static_cast<Manifest*>(palloc0(MAXALIGN(sizeof(Manifest)) + root.bytes));
  manifest->incarnation = incarnation;
  manifest->root = root;
  return manifest;
}

char* ContentsOf(Manifest* manifest) {
  return reinterpret_cast<char*>(manifest) + MAXALIGN(sizeof(Manifest));
}

}  // namespace

Manifest* LoadManifest(Relation index, uint64 incarnation, const ManifestRoot& root, const char** problem) {
  if (root.version == 0) return NewManifest(incarnation, ManifestRoot{});
  *problem = "the manifest's size contradicts its extents";
  if (root.bytes == 0 || ExtentsOfPages(PagesOfBlob(root.bytes)) != root.extents) return nullptr;
  const BlockNumber file_blocks = RelationGetNumberOfBlocks(index);
  *problem = "the manifest lies outside of the file";
  for (uint32 extent = 0; extent < root.extents; extent++)
    if (root.first_block[extent] >= file_blocks) return nullptr;

  Manifest* manifest = NewManifest(incarnation, root);
  char* contents = ContentsOf(manifest);
  BlobReader reader;
  OpenBlob(&reader, index, incarnation, manifest->OwnBlob(), nullptr);
  // Whoever only looks (planner, statistics, a worker) may have no snapshot, and what is read here is remembered.
  reader.unprotected = true;
  for (uint64 at = 0; at < root.bytes; at += kBlobPageBytes) {
    const auto part = static_cast<uint32>(Min(root.bytes - at, static_cast<uint64>(kBlobPageBytes)));
    const char* read = ReadBlob(&reader, at, part, contents + at);
    if (read != contents + at) std::memcpy(contents + at, read, part);
  }
  CloseBlob(&reader);
  *problem = reader.stale                     ? "the manifest has a page that is not its own"
             : !TakeApart(manifest, contents) ? "the manifest's parts contradict its size"
             : ChecksumOf(contents, root.bytes) != reinterpret_cast<ManifestHeader*>(contents)->checksum
                 ? "the manifest has a wrong checksum"
                 : ProblemOf(*manifest);
  if (*problem == nullptr) return manifest;
  pfree(manifest);
  return nullptr;
}

bool HasManifest(Relation index, const ManifestRoot& root) {
  const ManifestRoot now = ReadManifestRoot(index);
  return now.blob_id == root.blob_id && now.version == root.version;
}

void ReportDamagedManifest(Relation index, const char* problem) {
  ereport(ERROR, (errcode(ERRCODE_INDEX_CORRUPTED),
                  errmsg("index \"%s\" is damaged: %s", RelationGetRelationName(index), problem),
                  errhint("Rebuild the index with REINDEX.")));
}

ManifestRoot ReadManifestRoot(Relation index) {
  return ReadRoot(index).root;
}

// ---- What a backend remembers ----

namespace {

/// A manifest that this backend read before. In a file, a version is immutable and an incarnation random, so nothing here ever
/// gets wrong. (ALTER INDEX … SET TABLESPACE copies the file: if that is rolled back, versions go on from before it.) Dropped indexes' entries are the least recently used and go first.
struct CachedManifest {
  Oid file;
  uint64 incarnation;
  uint64 version;
  uint32 blob_id;
  uint32 bytes;
  uint64 last_use;
  char* contents;  ///< in CacheMemoryContext; nullptr: the entry is free
};

// 64 indexes, or partitions, in turn; a manifest takes 1 KB or so.
constexpr int kCachedManifests = 64;
constexpr std::size_t kCacheBytes = std::size_t{4} << 20;

CachedManifest cached_manifests[kCachedManifests];
std::size_t cached_bytes;
uint64 cache_clock;

const char* FindCached(Oid file, uint64 incarnation, const ManifestRoot& root) {
  for (CachedManifest& entry : cached_manifests) {
    if (entry.contents == nullptr || entry.file != file || entry.incarnation != incarnation ||
        entry.version != root.version || entry.blob_id != root.blob_id || entry.bytes != root.bytes)
      continue;
    entry.last_use = ++cache_clock;
    return entry.contents;
  }
  return nullptr;
}

void DropCached(CachedManifest* entry) {
  if (entry->contents == nullptr) return;
  pfree(entry->contents);
  entry->contents = nullptr;
  cached_bytes -= entry->bytes;
}

/// A free entry; makes one, and room for `bytes`, from the least recently used ones.
CachedManifest* MakeRoom(std::size_t bytes) {
  for (;;) {
    CachedManifest* free_entry = nullptr;
    CachedManifest* oldest = nullptr;
    for (CachedManifest& entry : cached_manifests) {
      if (entry.contents == nullptr)
        free_entry = &entry;
      else if (oldest == nullptr || entry.last_use < oldest->last_use)
        oldest = &entry;
    }
    if (free_entry != nullptr && cached_bytes + bytes <= kCacheBytes) return free_entry;
    DropCached(oldest);
  }
}

void Remember(Oid file, const Manifest& manifest, const char* contents) {
  const ManifestRoot& root = manifest.root;
  if (root.bytes > kCacheBytes / 4) return;
  // An older version of the same index is of no use any more.
  for (CachedManifest& entry : cached_manifests)
    if (entry.incarnation == manifest.incarnation) DropCached(&entry);
  CachedManifest* entry = MakeRoom(root.bytes);
  char* copy = static_cast<char*>(MemoryContextAlloc(CacheMemoryContext, root.bytes));
  std::memcpy(copy, contents, root.bytes);
  *entry = {file, manifest.incarnation, root.version, root.blob_id, root.bytes, ++cache_clock, copy};
  cached_bytes += root.bytes;
}

}  // namespace

Manifest* ReadManifest(Relation index) {
  const Oid file = pg::FileOf(index).number;
  for (;;) {
    CHECK_FOR_INTERRUPTS();
    const auto [incarnation, dead_rows, root] = ReadRoot(index);
    const char* contents = root.version == 0 ? nullptr : FindCached(file, incarnation, root);
    if (contents != nullptr) {
      Manifest* manifest = NewManifest(incarnation, root);
      std::memcpy(ContentsOf(manifest), contents, root.bytes);
      (void)TakeApart(manifest, ContentsOf(manifest));  // held when it was remembered
      manifest->dead_rows = dead_rows;
      return manifest;
    }
    const char* problem = nullptr;
    Manifest* manifest = LoadManifest(index, incarnation, root, &problem);
    if (manifest != nullptr) {
      if (root.version != 0) Remember(file, *manifest, ContentsOf(manifest));
      manifest->dead_rows = dead_rows;
      return manifest;
    }
    if (HasManifest(index, root)) ReportDamagedManifest(index, problem);
  }
}

// ---- Publishing ----

namespace {

/// No snapshot that precedes this transaction id is left, here or in any database, nor on a standby that tells us. Asked of
/// the processes themselves: what GlobalVisCheckRemovableFullXid() remembers is renewed only when this process gets a snapshot
/// with another xmin than before, which says nothing of older snapshots that have ended.
uint64 RemovableHorizon() {
  const TransactionId oldest = GetOldestNonRemovableTransactionId(nullptr);
  const FullTransactionId next = ReadNextFullTransactionId();
  const TransactionId next_xid = XidFromFullTransactionId(next);
  // At most 2^31 lie between: what is numerically later belongs to the epoch before.
  const uint32 epoch = EpochFromFullTransactionId(next) - (oldest > next_xid ? 1 : 0);
  return U64FromFullTransactionId(FullTransactionIdFromEpochAndXid(epoch, oldest));
}

uint64 RetireXid(const Manifest& manifest, const RetiredInfo& retired) {
  return retired.retire_xid != 0 ? retired.retire_xid : manifest.root.publish_xid;
}

/// A manifest being put together. Arrays have room for all that the old manifest and one publication can list.
struct Draft {
  SegmentInfo* segments;
  uint32 segment_count;
  PackedInfo* packed;
  uint32 packed_count;
  RetiredInfo* retired;
  uint32 retired_count;
  BlockNumber* blocks;
  uint32 block_count;
  BlobRef* dropped;  ///< listed no more
  uint32 dropped_count;
  RetiredInfo* holes;  ///< extents that are listed no more
  uint32 hole_count;
};

Draft NewDraft(const Manifest& old, const Publication& publication) {
  uint32 extents = 0;
  if (publication.has_segment) extents += ExtentsOfPages(PagesOfBlob(publication.segment_blob.bytes));
  if (publication.has_packed) extents += ExtentsOfPages(PagesOfBlob(publication.packed.bytes));
  // A packed range that is replaced leaves a blob, and extents behind it that it had not.
  const uint32 retired = old.retired_count + old.segment_count + 2 * old.packed_count + 2;
  Draft draft = {};
  draft.segments = static_cast<SegmentInfo*>(palloc0((old.segment_count + 1) * sizeof(SegmentInfo)));
  draft.packed = static_cast<PackedInfo*>(palloc0((old.packed_count + 1) * sizeof(PackedInfo)));
  draft.retired = static_cast<RetiredInfo*>(palloc0(retired * sizeof(RetiredInfo)));
  draft.holes = static_cast<RetiredInfo*>(palloc0(retired * sizeof(RetiredInfo)));
  draft.dropped = static_cast<BlobRef*>(palloc0(retired * sizeof(BlobRef)));
  draft.blocks =
      static_cast<BlockNumber*>(palloc0((old.block_count + kRootExtents + extents) * sizeof(BlockNumber)));
  return draft;
}

/// Copies the blob's extents; returns the index of the first.
uint32 AddBlocks(Draft* draft, const BlobRef& blob) {
  const uint32 first = draft->block_count;
  const uint32 extents = ExtentsOfPages(PagesOfBlob(blob.bytes));
  std::memcpy(draft->blocks + first, blob.first_block, extents * sizeof(BlockNumber));
  draft->block_count += extents;
  return first;
}

void AddSegment(Draft* draft, SegmentInfo segment, const BlobRef& blob) {
  segment.first_extent = AddBlocks(draft, blob);
  draft->segments[draft->segment_count++] = segment;
}

/// xid: 0 if the blob is retired by the version being made.
void AddRetired(Draft* draft, const BlobRef& blob, uint64 xid) {
  const uint32 first_extent = AddBlocks(draft, blob);
  draft->retired[draft->retired_count++] = {xid, blob.bytes,   blob.id, static_cast<uint16>(blob.kind),
                                            0,   first_extent, 0};
}

/// Segments of the next version, and the replaced ones as retired.
void DraftSegments(Draft* draft, const Manifest& old, const Publication& publication) {
  for (uint32 i = 0; i <= old.segment_count; i++) {
    if (i == publication.replaced_first && publication.has_segment)
      AddSegment(draft, publication.segment, publication.segment_blob);
    if (i == old.segment_count) break;
    const BlobRef blob = old.BlobOf(old.segments[i]);
    if (i >= publication.replaced_first && i < publication.replaced_end)
      AddRetired(draft, blob, 0);
    else
      AddSegment(draft, old.segments[i], blob);
  }
}

void AddPacked(Draft* draft, PackedInfo range, const BlobRef& blob) {
  range.first_extent = range.bytes != 0 ? AddBlocks(draft, blob) : 0;
  draft->packed[draft->packed_count++] = range;
}

void AddRetiredExtents(Draft* draft, uint32 first, uint32 count, uint64 xid) {
  if (count > 0)
    draft->retired[draft->retired_count++] = {xid, 0, first, static_cast<uint16>(PageKind::kVectors),
                                              0,   0, count};
}

/// The new range's extents, without those that ranges it replaces had retired before.
void RetireExtents(Draft* draft, const Manifest& old, const Publication& publication) {
  uint32 extent = publication.packed.first_of_stream;
  for (uint32 i = publication.packed_first; i < publication.packed_end; i++) {
    AddRetiredExtents(draft, extent, old.packed[i].first_of_stream - extent, 0);
    extent = old.packed[i].end_of_stream;
  }
  AddRetiredExtents(draft, extent, publication.packed.end_of_stream - extent, 0);
}

/// Packed ranges of the next version; replaced ones, and extents, as retired.
void DraftPacked(Draft* draft, const Manifest& old, const Publication& publication) {
  for (uint32 i = 0; i <= old.packed_count; i++) {
    if (publication.has_packed && i == publication.packed_first) {
      AddPacked(draft, publication.packed, publication.packed_blob);
      RetireExtents(draft, old, publication);
    }
    if (i == old.packed_count) break;
    const PackedInfo& range = old.packed[i];
    if (!publication.has_packed || i < publication.packed_first || i >= publication.packed_end)
      AddPacked(draft, range, old.BlobOf(range));
    else if (range.bytes != 0)
      AddRetired(draft, old.BlobOf(range), 0);
  }
}

/// Retired blobs and extents that stay so, and the old manifest itself.
void DraftRetired(Draft* draft, const Manifest& old) {
  const uint64 horizon = RemovableHorizon();
  for (uint32 i = 0; i < old.retired_count; i++) {
    const RetiredInfo& retired = old.retired[i];
    const uint64 xid = RetireXid(old, retired);
    if (IsExtents(retired)) {
      if (xid < horizon)
        draft->holes[draft->hole_count++] = retired;
      else
        AddRetiredExtents(draft, retired.id, retired.extents, xid);
      continue;
    }
    const BlobRef blob = old.BlobOf(retired);
    if (xid < horizon)
      draft->dropped[draft->dropped_count++] = blob;
    else
      AddRetired(draft, blob, xid);
  }
  if (old.root.version != 0) AddRetired(draft, old.OwnBlob(), 0);
}

/// A builder that got its ranges wrong must not get them published.
void CheckDraft(Relation index, const Draft& draft, uint64 sealed_rows) {
  Manifest next = {};
  next.segment_count = draft.segment_count;
  next.segments = draft.segments;
  next.packed_count = draft.packed_count;
  next.packed = draft.packed;
  next.retired_count = draft.retired_count;
  next.retired = draft.retired;
  next.block_count = draft.block_count;
  next.root.sealed_rows = sealed_rows;
  const char* problem = ProblemOf(next);
  if (problem != nullptr)
    elog(ERROR, "cannot publish segments of index \"%s\": %s", RelationGetRelationName(index), problem);
}

char* Serialize(const Draft& draft, uint64 version, uint64* bytes) {
  ManifestHeader header = {
      kManifestMagic,    draft.segment_count, draft.retired_count, draft.block_count, version, 0,
      draft.packed_count};
  *bytes = BytesOf(header);
  char* contents = static_cast<char*>(palloc(*bytes));
  char* at = contents;
  const auto append = [&at](const void* part, std::size_t length) {
    std::memcpy(at, part, length);
    at += length;
  };
  append(&header, sizeof header);
  append(draft.segments, draft.segment_count * sizeof(SegmentInfo));
  append(draft.packed, draft.packed_count * sizeof(PackedInfo));
  append(draft.retired, draft.retired_count * sizeof(RetiredInfo));
  append(draft.blocks, draft.block_count * sizeof(BlockNumber));
  header.checksum = ChecksumOf(contents, *bytes);
  std::memcpy(contents, &header, sizeof header);
  return contents;
}

void SupplyBytes(void* state, uint64 offset, uint32 bytes, char* to) {
  std::memcpy(to, static_cast<const char*>(state) + offset, bytes);
}

/// Writes the manifest's blob. Raises ERRCODE_PROGRAM_LIMIT_EXCEEDED if the root has no room for its extents.
BlobRef WriteManifest(Relation index, BlobWriter* writer, char* contents, uint64 bytes) {
  if (ExtentsOfPages(PagesOfBlob(bytes)) > kRootExtents)
    ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                    errmsg("index \"%s\" has too many segments, or too many that wait to be recycled",
                           RelationGetRelationName(index)),
                    errhint("End transactions that have been open for long.")));
  BeginBlob(writer, index, PageKind::kManifest, bytes);
  constexpr uint32 kPagesAtOnce = 64;
  while (WriteBlobPages(writer, index, kPagesAtOnce, SupplyBytes, contents)) continue;
  return WrittenBlob(writer);
}

/// Makes holes of extents that nobody reads any more; their blocks are free from then on, whether the manifest that does
/// not list them comes to be published or not.
void FreeExtents(Relation index, BlobWriter* writer, uint64 incarnation, const RetiredInfo& retired) {
  auto* freed = static_cast<BlockNumber*>(palloc(retired.extents * sizeof(BlockNumber)));
  MakeHoles(index, incarnation, retired.id, retired.extents, freed);
  for (uint32 i = 0; i < retired.extents; i++)
    if (freed[i] != InvalidBlockNumber) FreeBlocks(writer, freed[i], PagesOfExtent(retired.id + i));
  pfree(freed);
}

/// Makes the root point to `blob`. Before the record: the old version holds, the blob is nobody's. After it: the new one.
bool FlipRoot(Relation index, const Manifest& old, const BlobRef& blob, uint64 sealed_rows) {
  const Buffer buffer = LockMeta(index, old.incarnation);
  ManifestRoot* root = &Meta(BufferGetPage(buffer))->root;
  const bool unchanged = root->version == old.root.version;
  if (unchanged) {
    ManifestRoot next = *root;
    next.version = root->version + 1;
    // Whoever read the old root did so before this lock was had, with a snapshot older still: its xmin is no later.
    next.publish_xid = U64FromFullTransactionId(ReadNextFullTransactionId());
    next.sealed_rows = sealed_rows;
    next.bytes = static_cast<uint32>(blob.bytes);
    next.blob_id = blob.id;
    next.extents = ExtentsOfPages(PagesOfBlob(blob.bytes));
    std::memset(next.first_block, 0, sizeof next.first_block);
    std::memcpy(next.first_block, blob.first_block, next.extents * sizeof(BlockNumber));
    WriteMeta(index, buffer, root, &next, sizeof next);
  }
  UnlockReleaseBuffer(buffer);
  return unchanged;
}

}  // namespace

bool Publish(Relation index, BlobWriter* writer, const Publication& publication) {
  const MemoryContext scratch =
      AllocSetContextCreate(CurrentMemoryContext, "tandem publication", ALLOCSET_DEFAULT_SIZES);
  const MemoryContext old_context = MemoryContextSwitchTo(scratch);
  const Manifest* old = ReadManifest(index);
  bool published = false;
  if (old->root.version == publication.expected_version) {
    Draft draft = NewDraft(*old, publication);
    DraftSegments(&draft, *old, publication);
    DraftPacked(&draft, *old, publication);
    DraftRetired(&draft, *old);
    CheckDraft(index, draft, publication.sealed_rows);
    if (draft.dropped_count > 0 || draft.hole_count > 0) pg::StopPoint("recycle-before-publish");
    // Nobody needs these any more, so the manifest itself may be written over them: where no file can grow, this is how space
    // is had again. Until the root says otherwise they stay listed, so a crash from here on changes nothing.
    for (uint32 i = 0; i < draft.dropped_count; i++) FreeBlob(writer, draft.dropped[i]);
    for (uint32 i = 0; i < draft.hole_count; i++)
      FreeExtents(index, writer, old->incarnation, draft.holes[i]);
    uint64 bytes = 0;
    char* contents = Serialize(draft, old->root.version + 1, &bytes);
    const BlobRef blob = WriteManifest(index, writer, contents, bytes);
    pg::StopPoint("publish-before-root");
    published = FlipRoot(index, *old, blob, publication.sealed_rows);
    pg::StopPoint("publish-after-root");
  }
  if (published) (void)GiveToStreams(writer, index);
  MemoryContextSwitchTo(old_context);
  MemoryContextDelete(scratch);
  return published;
}

bool HasRecyclable(Relation /*index*/, const Manifest& manifest) {
  // A publication retires one manifest: dropping one for that would never end.
  constexpr uint32 kWorthwhileManifests = 8;
  const uint64 horizon = RemovableHorizon();
  uint32 manifests = 0;
  for (uint32 i = 0; i < manifest.retired_count; i++) {
    const RetiredInfo& retired = manifest.retired[i];
    if (RetireXid(manifest, retired) >= horizon) continue;
    if (retired.kind != static_cast<uint16>(PageKind::kManifest)) return true;
    if (++manifests >= kWorthwhileManifests) return true;
  }
  return false;
}

// ---- The builder lock ----

namespace {

/// Tells the lock from locks of the server on objects, which use small sub-ids.
constexpr uint16 kBuilderLock = 0x7A4D;

LOCKTAG BuilderTag(Oid index) {
  LOCKTAG tag;
  SET_LOCKTAG_OBJECT(tag, MyDatabaseId, RelationRelationId, index, kBuilderLock);
  return tag;
}

}  // namespace

bool TryLockBuilder(Oid index) {
  const LOCKTAG tag = BuilderTag(index);
  return LockAcquire(&tag, ExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL;
}

void LockBuilder(Oid index) {
  const LOCKTAG tag = BuilderTag(index);
  // Waited for by the transaction: an error that comes as the lock is granted ends a subtransaction perhaps, and a
  // session's lock would outlive that.
  (void)LockAcquire(&tag, ExclusiveLock, false, false);
  (void)LockAcquire(&tag, ExclusiveLock, true, true);
  LockRelease(&tag, ExclusiveLock, false);
}

bool BuilderIsAwaited(Oid index) {
  const LOCKTAG tag = BuilderTag(index);
  return LockHasWaiters(&tag, ExclusiveLock, true);
}

void UnlockBuilder(Oid index) {
  const LOCKTAG tag = BuilderTag(index);
  LockRelease(&tag, ExclusiveLock, true);
}

}  // namespace tandem::storage
