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

/// Where a row's vector lies.
struct VectorPlace {
  uint32 first_page;
  uint32 last_page;
  uint32 first_offset;  ///< of its first byte in the first page's payload
};

VectorPlace PlaceOfVector(uint64 row, uint32 row_bytes) {
  const uint64 first = row * row_bytes;
  const uint64 last = first + row_bytes - 1;
  return {static_cast<uint32>(first / kPayloadBytes), static_cast<uint32>(last / kPayloadBytes),
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

/// Makes sure that the vector pages of `place` exist in the directory and in the file, taking locks of its own:
/// no content lock may be held. Returns false if it had to do something, so that the caller starts over.
bool VectorPagesExist(Relation index, const VectorPlace& place) {
  const IndexCache* cache = GetIndexCache(index);
  for (uint32 page = place.first_page; page <= place.last_page; page++) {
    const BlockNumber block = cache->directory.BlockOf(kVectorStream, page);
    if (block == InvalidBlockNumber || block >= cache->known_blocks) return false;
  }
  return true;
}

void MakeVectorPages(Relation index, const VectorPlace& place) {
  for (uint32 page = place.first_page; page <= place.last_page; page++) {
    IndexCache* cache = GetIndexCache(index);
    if (cache->directory.BlockOf(kVectorStream, page) == InvalidBlockNumber) {
      cache = ReloadIndexCache(index);
      // The directory may have grown by several extents, or not at all: ask for the next one until it fits.
      while (cache->directory.BlockOf(kVectorStream, page) == InvalidBlockNumber) {
        AllocateExtent(index, kVectorStream, cache->directory.streams[kVectorStream].extents);
        cache = ReloadIndexCache(index);
      }
    }
    const BlockNumber block = cache->directory.BlockOf(kVectorStream, page);
    if (block >= cache->known_blocks) {
      EnsureBlock(index, block);
      cache->known_blocks = RelationGetNumberOfBlocks(index);
    }
  }
}

/// The vector pages of one WAL record, locked and being written.
struct VectorPages {
  Buffer buffer[kMaxPagesPerRecord];
  bool is_new[kMaxPagesPerRecord];
  int count;
};

/// Pins and locks pages [first, first + count) of the vector stream in ascending order.
void LockVectorPages(Relation index, uint32 first, int count, VectorPages* pages) {
  IndexCache* cache = GetIndexCache(index);
  pages->count = count;
  for (int i = 0; i < count; i++) {
    const uint32 page = first + static_cast<uint32>(i);
    const BlockNumber block = cache->directory.BlockOf(kVectorStream, page);
    pages->buffer[i] = ReadPage(index, block, cache->recent_vector);
    LockBuffer(pages->buffer[i], BUFFER_LOCK_EXCLUSIVE);
    const Page vector_page = BufferGetPage(pages->buffer[i]);
    pages->is_new[i] = IsBlank(vector_page);
    if (!pages->is_new[i])
      CheckPage(index, block, vector_page, PageKind::kVectors, page, cache->directory.incarnation);
  }
  cache->recent_vector = pages->buffer[count - 1];
}

void UnlockVectorPages(const VectorPages& pages) {
  for (int i = 0; i < pages.count; i++) UnlockReleaseBuffer(pages.buffer[i]);
}

/// Bytes of the vector still to be written, and where they go.
struct VectorCursor {
  const char* bytes;
  uint32 left;
  uint32 page;
  uint32 offset;  ///< in the page's payload
};

/// Copies into the locked pages what fits. In a critical section.
void WriteVectorPages(const VectorPages& pages, uint64 incarnation, VectorCursor* cursor,
                      PageChanges* changes) {
  for (int i = 0; i < pages.count; i++) {
    const Page page = BufferGetPage(pages.buffer[i]);
    if (pages.is_new[i]) InitPage(page, PageKind::kVectors, cursor->page, incarnation);
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

}  // namespace

void AppendRow(Relation index, const ItemPointerData& tid, const void* row) {
  const Stream stream = row != nullptr ? kHeadStream : kNullHeadStream;
  const uint64 xid = U64FromFullTransactionId(GetTopFullTransactionId());
  const uint64 incarnation = GetIndexCache(index)->directory.incarnation;
  const uint32 row_bytes = GetIndexCache(index)->directory.row_bytes;

  LockedTail tail;
  VectorPlace place = {};
  for (;;) {
    tail = LockTail(index, stream);
    if (row == nullptr) break;
    place = PlaceOfVector(static_cast<uint64>(tail.page) * kHeadsPerPage + tail.count, row_bytes);
    if (VectorPagesExist(index, place)) break;
    UnlockReleaseBuffer(tail.buffer);
    MakeVectorPages(index, place);
  }

  VectorCursor cursor = {static_cast<const char*>(row), row != nullptr ? row_bytes : 0, place.first_page,
                         place.first_offset};
  VectorPages vectors = {};
  const auto pages_left = [&] {
    return cursor.left == 0 ? 0 : static_cast<int>(place.last_page - cursor.page) + 1;
  };
  // A wide row takes several records. A crash between them leaves bytes that no head counts.
  while (pages_left() > kMaxPagesPerRecord - 1) {
    LockVectorPages(index, cursor.page, Min(pages_left(), kMaxPagesPerRecord), &vectors);
    PageChanges changes(index);
    START_CRIT_SECTION();
    WriteVectorPages(vectors, incarnation, &cursor, &changes);
    changes.Log();
    END_CRIT_SECTION();
    UnlockVectorPages(vectors);
    pg::StopPoint("append-between-records");
  }
  pg::StopPoint("append-before-head");
  vectors.count = 0;
  if (pages_left() > 0) LockVectorPages(index, cursor.page, pages_left(), &vectors);
  PageChanges changes(index);
  START_CRIT_SECTION();
  WriteVectorPages(vectors, incarnation, &cursor, &changes);
  WriteHead(tail, stream, incarnation, tid, xid, &changes);
  changes.Log();
  END_CRIT_SECTION();
  pg::StopPoint("append-before-unlock");
  UnlockVectorPages(vectors);
  UnlockReleaseBuffer(tail.buffer);
}

}  // namespace tandem::storage
