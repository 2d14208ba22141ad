// Appending rows. The exclusive content lock on the tail head page is the append lock (H1): whoever holds it
// reserves the next row id, writes the vector, then the head that makes the row count. Row ids therefore
// become visible in order, and an append that fails on the way has consumed none: the next one overwrites what
// it left in the vector pages.

#include "pg/compat.hpp"

#include "storage/flat_relation.hpp"

#include "pg/stop_point.hpp"
#include "storage/wal.hpp"

extern "C" {
#include "access/xact.h"
}

namespace tandem::storage {

namespace {

/// Where bytes of a stream lie.
struct BytePlace {
  Stream stream;
  uint32 first_page;
  uint32 last_page;
  uint32 first_offset;  ///< of the first byte in the first page's payload
};

BytePlace PlaceOfBytes(Stream stream, uint64 first, uint32 bytes) {
  const uint64 last = first + bytes - 1;
  return {stream, static_cast<uint32>(first / kPayloadBytes), static_cast<uint32>(last / kPayloadBytes),
          static_cast<uint32>(first % kPayloadBytes)};
}

/// The tail head page, pinned and exclusively locked, with room for one more row.
struct LockedTail {
  Buffer buffer;
  uint32 page;
  uint32 count;
  bool is_new;
};

/// Pins and locks the page that takes the next head of `stream`, making one if there is none.
LockedTail LockTail(Relation index, Stream stream) {
  for (;;) {
    CHECK_FOR_INTERRUPTS();
    IndexCache* cache = GetIndexCache(index);
    if (!cache->tail_found[stream]) {
      FindTail(index, stream);
      cache = GetIndexCache(index);
    }
    const uint32 page = cache->tail_page[stream];
    const BlockNumber block = cache->directory.BlockOf(stream, page);
    if (block == InvalidBlockNumber) {
      const uint32 extent = PlaceOfPage(page).extent;
      cache = ReloadIndexCache(index);
      if (cache->directory.BlockOf(stream, page) == InvalidBlockNumber) {
        AllocateExtent(index, stream, extent);
        ReloadIndexCache(index);
      }
      continue;
    }
    if (block >= cache->known_blocks) {
      EnsureBlock(index, block);
      cache->known_blocks = RelationGetNumberOfBlocks(index);
    }
    const Buffer buffer = ReadPage(index, block, stream == kHeadStream ? cache->recent_head : InvalidBuffer);
    LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
    const Page head_page = BufferGetPage(buffer);
    LockedTail tail = {buffer, page, 0, IsBlank(head_page)};
    if (!tail.is_new) {
      CheckPage(index, block, head_page, KindOfStream(stream), page, cache->directory.incarnation);
      tail.count = HeadCount(head_page);
    }
    if (tail.count < kHeadsPerPage) {
      if (stream == kHeadStream) cache->recent_head = buffer;
      return tail;
    }
    UnlockReleaseBuffer(buffer);
    // Full. Others may have filled many pages since this backend last looked; the hint moves on to a page that
    // the directory does not know only when there really is none, and AllocateExtent() follows at once.
    FindTail(index, stream);
    cache = GetIndexCache(index);
    if (cache->tail_page[stream] == page) cache->tail_page[stream] = page + 1;
  }
}

/// True if the directory and the file, as far as this backend knows them, have the pages of `place`.
bool PagesExist(Relation index, const BytePlace& place) {
  const IndexCache* cache = GetIndexCache(index);
  for (uint32 page = place.first_page; page <= place.last_page; page++) {
    const BlockNumber block = cache->directory.BlockOf(place.stream, page);
    if (block == InvalidBlockNumber || block >= cache->known_blocks) return false;
  }
  return true;
}

/// Makes sure that the pages of `place` exist in the directory and in the file, taking locks of its own: no content lock may be
/// held. The caller starts over.
void MakePages(Relation index, const BytePlace& place) {
  for (uint32 page = place.first_page; page <= place.last_page; page++) {
    IndexCache* cache = GetIndexCache(index);
    if (cache->directory.BlockOf(place.stream, page) == InvalidBlockNumber) {
      cache = ReloadIndexCache(index);
      // The directory may have grown by several extents, or not at all: ask for the next one until it fits.
      while (cache->directory.BlockOf(place.stream, page) == InvalidBlockNumber) {
        AllocateExtent(index, place.stream, cache->directory.streams[place.stream].extents);
        cache = ReloadIndexCache(index);
      }
    }
    const BlockNumber block = cache->directory.BlockOf(place.stream, page);
    if (block >= cache->known_blocks) {
      EnsureBlock(index, block);
      cache->known_blocks = RelationGetNumberOfBlocks(index);
    }
  }
}

/// The pages of one stream in one WAL record, locked and being written.
struct StreamPages {
  Stream stream;
  Buffer buffer[kMaxPagesPerRecord];
  bool is_new[kMaxPagesPerRecord];
  int count;
};

/// Pins and locks pages [first, first + count) of the stream in ascending order.
void LockPages(Relation index, Stream stream, uint32 first, int count, StreamPages* pages) {
  IndexCache* cache = GetIndexCache(index);
  Buffer* recent = stream == kVectorStream ? &cache->recent_vector : &cache->recent_elements;
  pages->stream = stream;
  pages->count = count;
  for (int i = 0; i < count; i++) {
    const uint32 page = first + static_cast<uint32>(i);
    const BlockNumber block = cache->directory.BlockOf(stream, page);
    pages->buffer[i] = ReadPage(index, block, *recent);
    LockBuffer(pages->buffer[i], BUFFER_LOCK_EXCLUSIVE);
    const Page stream_page = BufferGetPage(pages->buffer[i]);
    pages->is_new[i] = IsBlank(stream_page);
    if (!pages->is_new[i])
      CheckPage(index, block, stream_page, KindOfStream(stream), page, cache->directory.incarnation);
  }
  *recent = pages->buffer[count - 1];
}

void UnlockPages(const StreamPages& pages) {
  for (int i = 0; i < pages.count; i++) UnlockReleaseBuffer(pages.buffer[i]);
}

/// Bytes of a row still to be written, and where they go.
struct ByteCursor {
  const char* bytes;
  uint32 left;
  uint32 page;
  uint32 last_page;
  uint32 offset;  ///< in the page's payload

  [[nodiscard]] int PagesLeft() const { return left == 0 ? 0 : static_cast<int>(last_page - page) + 1; }
};

ByteCursor CursorAt(const BytePlace& place, const void* bytes, uint32 length) {
  return {static_cast<const char*>(bytes), length, place.first_page, place.last_page, place.first_offset};
}

/// Copies into the locked pages what fits. In a critical section.
void WritePages(const StreamPages& pages, uint64 incarnation, ByteCursor* cursor, PageChanges* changes) {
  for (int i = 0; i < pages.count; i++) {
    const Page page = BufferGetPage(pages.buffer[i]);
    if (pages.is_new[i]) InitPage(page, KindOfStream(pages.stream), cursor->page, incarnation);
    const uint32 bytes = Min(cursor->left, kPayloadBytes - cursor->offset);
    std::memcpy(Payload(page) + cursor->offset, cursor->bytes, bytes);
    // A row that failed half-way may have left more than this one covers; never less than the rows before.
    if (UsedPayload(page) < cursor->offset + bytes) SetUsedPayload(page, cursor->offset + bytes);
    const int number = changes->AddPage(pages.buffer[i], pages.is_new[i] ? PageChanges::ImageMode::kFullImage
                                                                         : PageChanges::ImageMode::kDelta);
    changes->TouchLower(number);
    changes->Touch(number, kPayloadOffset + cursor->offset, bytes);
    cursor->bytes += bytes;
    cursor->left -= bytes;
    cursor->page++;
    cursor->offset = 0;
  }
}

/// Writes the head that makes the row count. In a critical section.
void WriteHead(const LockedTail& tail, Stream stream, uint64 incarnation, const ItemPointerData& tid,
               uint64 xid, PageChanges* changes) {
  const Page page = BufferGetPage(tail.buffer);
  if (tail.is_new) InitPage(page, KindOfStream(stream), tail.page, incarnation);
  const int number = changes->AddPage(
      tail.buffer, tail.is_new ? PageChanges::ImageMode::kFullImage : PageChanges::ImageMode::kDelta);
  Heads(page)[tail.count] = {tid, 0};
  SetUsedPayload(page, (tail.count + 1) * static_cast<uint32>(sizeof(RowHead)));
  changes->TouchLower(number);
  changes->Touch(number, kPayloadOffset + tail.count * static_cast<uint32>(sizeof(RowHead)), sizeof(RowHead));
  PageTrailer* trailer = Trailer(page);
  if (trailer->newest_xid < xid) {
    trailer->newest_xid = xid;
    changes->Touch(number, BLCKSZ - sizeof(PageTrailer) + offsetof(PageTrailer, newest_xid), sizeof xid);
  }
}

/// Writes what does not fit into the record of the head, `room` of whose pages are for this stream. A crash between records leaves
/// bytes that no head counts. The tail is locked.
void WriteAhead(Relation index, Stream stream, uint64 incarnation, int room, ByteCursor* cursor) {
  StreamPages pages;
  while (cursor->PagesLeft() > room) {
    LockPages(index, stream, cursor->page, Min(cursor->PagesLeft(), kMaxPagesPerRecord), &pages);
    PageChanges changes(index);
    START_CRIT_SECTION();
    WritePages(pages, incarnation, cursor, &changes);
    changes.Log();
    END_CRIT_SECTION();
    UnlockPages(pages);
    pg::StopPoint("append-between-records");
  }
  pg::StopPoint("append-before-head");
}

// ---- Sparse rows ----

/// The place of a row that was appended before. Its page is known. The tail is locked: nobody appends.
SparsePlace PlaceOfRow(Relation index, uint64 row) {
  IndexCache* cache = GetIndexCache(index);
  const BytePlace place = PlaceOfBytes(kVectorStream, row * sizeof(SparsePlace), sizeof(SparsePlace));
  const BlockNumber block = cache->directory.BlockOf(kVectorStream, place.first_page);
  const Buffer buffer = ReadPage(index, block, cache->recent_vector);
  cache->recent_vector = buffer;
  const Page page = BufferGetPage(buffer);
  CheckPage(index, block, page, PageKind::kVectors, place.first_page, cache->directory.incarnation);
  SparsePlace found;
  std::memcpy(&found, Payload(page) + place.first_offset, sizeof found);
  ReleaseBuffer(buffer);
  return found;
}

/// Makes sure that this backend's directory reaches the end of a counted row: its extents were handed out. If it does not after
/// another look, the row's place is damaged; a row behind it would be written over others, or have extents asked for without end.
void LearnElements(Relation index, const SparsePlace& last) {
  if (IsPlausible(GetIndexCache(index)->directory, last)) return;
  if (IsPlausible(ReloadIndexCache(index)->directory, last)) return;
  ereport(ERROR,
          (errcode(ERRCODE_INDEX_CORRUPTED),
           errmsg("the place of the last row of index \"%s\" is damaged", RelationGetRelationName(index)),
           errhint("Rebuild the index with REINDEX.")));
}

/// Where a new row's parts go.
struct SparsePlaces {
  BytePlace elements;
  BytePlace place;
  SparsePlace value;  ///< what is written at `place`
};

/// Locks the tail and finds the places behind the row before. Their pages exist.
LockedTail LockSparseTail(Relation index, uint32 bytes, SparsePlaces* places) {
  for (;;) {
    const LockedTail tail = LockTail(index, kHeadStream);
    const uint64 row = static_cast<uint64>(tail.page) * kHeadsPerPage + tail.count;
    const uint64 before = row - Min(row, uint64{1});
    BytePlace missing = PlaceOfBytes(kVectorStream, before * sizeof(SparsePlace),
                                     static_cast<uint32>((row - before + 1) * sizeof(SparsePlace)));
    if (PagesExist(index, missing)) {
      const SparsePlace last = row == 0 ? SparsePlace{} : PlaceOfRow(index, before);
      const bool is_known = row == 0 || IsPlausible(GetIndexCache(index)->directory, last);
      const uint64 first = last.first + last.bytes;
      missing = PlaceOfBytes(kElementStream, first, bytes);
      if (is_known && PagesExist(index, missing)) {
        *places = {missing,
                   PlaceOfBytes(kVectorStream, row * sizeof(SparsePlace), sizeof(SparsePlace)),
                   {first, bytes, 0}};
        return tail;
      }
      UnlockReleaseBuffer(tail.buffer);
      if (!is_known) LearnElements(index, last);
    } else {
      UnlockReleaseBuffer(tail.buffer);
    }
    MakePages(index, missing);
  }
}

/// Elements, then the place that leads to them and the head that makes the row count, these two in one record.
void AppendSparseRow(Relation index, const ItemPointerData& tid, uint64 xid, const void* row) {
  const auto bytes = static_cast<uint32>(vec::SparseRowBytes(row));
  const uint64 incarnation = GetIndexCache(index)->directory.incarnation;
  SparsePlaces places;
  const LockedTail tail = LockSparseTail(index, bytes, &places);
  ByteCursor elements = CursorAt(places.elements, row, bytes);
  ByteCursor place = CursorAt(places.place, &places.value, sizeof places.value);
  WriteAhead(index, kElementStream, incarnation, kMaxPagesPerRecord - 2, &elements);
  StreamPages element_pages = {};
  StreamPages place_page = {};
  if (elements.PagesLeft() > 0)
    LockPages(index, kElementStream, elements.page, elements.PagesLeft(), &element_pages);
  LockPages(index, kVectorStream, place.page, place.PagesLeft(), &place_page);
  PageChanges changes(index);
  START_CRIT_SECTION();
  WritePages(element_pages, incarnation, &elements, &changes);
  WritePages(place_page, incarnation, &place, &changes);
  WriteHead(tail, kHeadStream, incarnation, tid, xid, &changes);
  changes.Log();
  END_CRIT_SECTION();
  pg::StopPoint("append-before-unlock");
  UnlockPages(place_page);
  UnlockPages(element_pages);
  UnlockReleaseBuffer(tail.buffer);
}

}  // namespace

void AppendRow(Relation index, const ItemPointerData& tid, const void* row) {
  const Stream stream = row != nullptr ? kHeadStream : kNullHeadStream;
  const uint64 xid = U64FromFullTransactionId(GetTopFullTransactionId());
  const DirectoryView& directory = GetIndexCache(index)->directory;
  if (row != nullptr && directory.IsSparse()) {
    AppendSparseRow(index, tid, xid, row);
    return;
  }
  const uint64 incarnation = directory.incarnation;
  const uint32 row_bytes = directory.row_bytes;

  LockedTail tail;
  BytePlace place = {};
  for (;;) {
    tail = LockTail(index, stream);
    if (row == nullptr) break;
    const uint64 number = static_cast<uint64>(tail.page) * kHeadsPerPage + tail.count;
    place = PlaceOfBytes(kVectorStream, number * row_bytes, row_bytes);
    if (PagesExist(index, place)) break;
    UnlockReleaseBuffer(tail.buffer);
    MakePages(index, place);
  }

  ByteCursor cursor = CursorAt(place, row, row != nullptr ? row_bytes : 0);
  WriteAhead(index, kVectorStream, incarnation, kMaxPagesPerRecord - 1, &cursor);
  StreamPages vectors = {};
  if (cursor.PagesLeft() > 0) LockPages(index, kVectorStream, cursor.page, cursor.PagesLeft(), &vectors);
  PageChanges changes(index);
  START_CRIT_SECTION();
  WritePages(vectors, incarnation, &cursor, &changes);
  WriteHead(tail, stream, incarnation, tid, xid, &changes);
  changes.Log();
  END_CRIT_SECTION();
  pg::StopPoint("append-before-unlock");
  UnlockPages(vectors);
  UnlockReleaseBuffer(tail.buffer);
}

}  // namespace tandem::storage
