// Building a whole flat relation at once: pages are filled in private memory, stored through the buffer manager
// without WAL, and logged as whole pages at the end. Nobody else sees the index before that.

#include "pg/compat.hpp"

#include "storage/flat_relation.hpp"

#include "pg/stop_point.hpp"

extern "C" {
#include "access/xloginsert.h"
#include "utils/memutils.h"
}

namespace tandem::storage {

void InitMetaPage(Page page, const IndexShape& shape, uint64 incarnation) {
  InitPage(page, PageKind::kMeta, 0, incarnation);
  MetaPage* meta = Meta(page);
  std::memset(meta, 0, sizeof *meta);
  meta->magic = kMagic;
  meta->format_version = kFormatVersion;
  meta->metric = static_cast<uint16>(shape.metric);
  meta->dimensions = shape.dimensions;
  meta->row_bytes = RowBytesOf(shape.element, shape.dimensions);
  meta->element = static_cast<uint16>(shape.element);
  meta->incarnation = incarnation;
  meta->high_water = 1;
  SetUsedPayload(page, sizeof *meta);
}

uint64 NewIncarnation() {
  uint64 number = 0;
  if (!pg_strong_random(&number, sizeof number))
    ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate a random number")));
  return number;
}

namespace {

/// One stream being written: its extents so far and the page being filled.
struct StreamWriter {
  Stream stream;
  uint32 page;     ///< ordinal of the page being filled
  bool page_open;  ///< image holds an initialised page
  char* image;     ///< BLCKSZ bytes
  BlockNumber* first_blocks;
  uint32 extents;
  uint32 extents_room;
};

}  // namespace

class FlatBuilder {
 public:
  Relation index;
  IndexShape shape;
  uint64 incarnation;
  uint64 newest_xid;
  BlockNumber high_water;
  BlockNumber file_blocks;
  uint64 element_bytes;  ///< of kElementStream so far
  StreamWriter writers[kStreams];
};

static void StorePage(FlatBuilder* builder, BlockNumber block, const char* image) {
  if (block >= builder->file_blocks) {
    pg::ExtendRelationTo(builder->index, block + 1);
    builder->file_blocks = block + 1;
  }
  const Buffer buffer = ReadBufferExtended(builder->index, MAIN_FORKNUM, block, RBM_ZERO_AND_LOCK, nullptr);
  START_CRIT_SECTION();
  std::memcpy(BufferGetPage(buffer), image, BLCKSZ);
  MarkBufferDirty(buffer);
  END_CRIT_SECTION();
  UnlockReleaseBuffer(buffer);
}

static BlockNumber BlockForPage(FlatBuilder* builder, StreamWriter* writer, uint32 page) {
  const PagePlace place = PlaceOfPage(page);
  if (place.extent == writer->extents) {
    const uint64 end = static_cast<uint64>(builder->high_water) + PagesOfExtent(place.extent);
    const bool is_sparse = builder->shape.element == vec::Element::kSparse;
    if (writer->extents >= MaxExtentsOf(writer->stream, is_sparse) || end >= MaxBlockNumber)
      ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                      errmsg("index \"%s\" cannot grow any further", RelationGetRelationName(builder->index)),
                      errhint("Partition the table.")));
    if (writer->extents == writer->extents_room) {
      writer->extents_room *= 2;
      writer->first_blocks = static_cast<BlockNumber*>(
          repalloc(writer->first_blocks, writer->extents_room * sizeof(BlockNumber)));
    }
    writer->first_blocks[writer->extents++] = builder->high_water;
    builder->high_water += PagesOfExtent(place.extent);
  }
  return writer->first_blocks[place.extent] + place.offset;
}

static void OpenPage(FlatBuilder* builder, StreamWriter* writer) {
  if (writer->page_open) return;
  InitPage(writer->image, KindOfStream(writer->stream), writer->page, builder->incarnation);
  if (HoldsHeads(writer->stream)) Trailer(writer->image)->newest_xid = builder->newest_xid;
  writer->page_open = true;
}

static void ClosePage(FlatBuilder* builder, StreamWriter* writer) {
  if (!writer->page_open) return;
  StorePage(builder, BlockForPage(builder, writer, writer->page), writer->image);
  writer->page_open = false;
  writer->page++;
}

/// Appends bytes to the stream, from page to page.
static void AppendBytes(FlatBuilder* builder, StreamWriter* writer, const char* bytes, uint32 length) {
  while (length > 0) {
    OpenPage(builder, writer);
    const uint32 used = UsedPayload(writer->image);
    // Heads never cross a page: what is left behind the last one stays empty.
    const uint32 capacity =
        HoldsHeads(writer->stream) ? kHeadsPerPage * static_cast<uint32>(sizeof(RowHead)) : kPayloadBytes;
    const uint32 fits = Min(length, capacity - used);
    std::memcpy(Payload(writer->image) + used, bytes, fits);
    SetUsedPayload(writer->image, used + fits);
    bytes += fits;
    length -= fits;
    if (used + fits == capacity) ClosePage(builder, writer);
  }
}

FlatBuilder* BeginFlatBuild(Relation index, const IndexShape& shape) {
  ForgetIndexCache(index);
  auto* builder = static_cast<FlatBuilder*>(palloc0(sizeof(FlatBuilder)));
  builder->index = index;
  builder->shape = shape;
  builder->incarnation = NewIncarnation();
  // The rows' own transactions are not looked up; this is at least as new as any of them (H3).
  builder->newest_xid = U64FromFullTransactionId(ReadNextFullTransactionId());
  builder->high_water = 1;
  for (int s = 0; s < kStreams; s++) {
    StreamWriter& writer = builder->writers[s];
    writer.stream = static_cast<Stream>(s);
    writer.image = static_cast<char*>(palloc(BLCKSZ));
    writer.extents_room = kInlineExtents;
    writer.first_blocks = static_cast<BlockNumber*>(palloc(writer.extents_room * sizeof(BlockNumber)));
  }
  return builder;
}

void AddToFlatBuild(FlatBuilder* builder, const ItemPointerData& tid, const void* row) {
  const RowHead head = {tid, 0};
  StreamWriter* heads = &builder->writers[row != nullptr ? kHeadStream : kNullHeadStream];
  AppendBytes(builder, heads, reinterpret_cast<const char*>(&head), sizeof head);
  if (row == nullptr) return;
  StreamWriter* vectors = &builder->writers[kVectorStream];
  if (builder->shape.element != vec::Element::kSparse) {
    AppendBytes(builder, vectors, static_cast<const char*>(row),
                RowBytesOf(builder->shape.element, builder->shape.dimensions));
    return;
  }
  const SparsePlace place = {builder->element_bytes, static_cast<uint32>(vec::SparseRowBytes(row)), 0};
  AppendBytes(builder, &builder->writers[kElementStream], static_cast<const char*>(row), place.bytes);
  AppendBytes(builder, vectors, reinterpret_cast<const char*>(&place), sizeof place);
  builder->element_bytes += place.bytes;
}

/// Writes a stream's directory: inline entries into `map`, the rest into leaves.
static void StoreStreamMap(FlatBuilder* builder, const StreamWriter& writer, StreamMap* map) {
  map->extents = writer.extents;
  std::memcpy(map->first_block, writer.first_blocks,
              Min(writer.extents, kInlineExtents) * sizeof(BlockNumber));
  char* image = static_cast<char*>(palloc(BLCKSZ));
  for (uint32 done = kInlineExtents; done < writer.extents; done += kLeafExtents) {
    const uint32 leaf = (done - kInlineExtents) / kLeafExtents;
    const uint32 count = Min(writer.extents - done, kLeafExtents);
    InitPage(image, PageKind::kDirectory, leaf, builder->incarnation);
    std::memcpy(Payload(image), writer.first_blocks + done, count * sizeof(BlockNumber));
    SetUsedPayload(image, count * static_cast<uint32>(sizeof(BlockNumber)));
    map->leaf[leaf] = builder->high_water++;
    StorePage(builder, map->leaf[leaf], image);
  }
  pfree(image);
}

void FinishFlatBuild(FlatBuilder* builder) {
  for (StreamWriter& writer : builder->writers) ClosePage(builder, &writer);
  char* image = static_cast<char*>(palloc(BLCKSZ));
  InitMetaPage(image, builder->shape, builder->incarnation);
  for (const StreamWriter& writer : builder->writers)
    if (writer.extents > 0) StoreStreamMap(builder, writer, MapOf(Meta(image), writer.stream));
  Meta(image)->high_water = builder->high_water;
  StorePage(builder, 0, image);
  pfree(image);
  pg::StopPoint("build-before-log");
  if (RelationNeedsWAL(builder->index))
    log_newpage_range(builder->index, MAIN_FORKNUM, 0, RelationGetNumberOfBlocks(builder->index), true);
  ForgetIndexCache(builder->index);
}

}  // namespace tandem::storage
