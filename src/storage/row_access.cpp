// Reading rows. Used by everything that looks at rows: scans, folds, checks.

#include "pg/compat.hpp"

#include "storage/row_access.hpp"

#include "graph/prefetch.hpp"

extern "C" {
#include "access/xact.h"
#include "access/xlog.h"
}

namespace tandem::storage {

// Processor time of a scan against no prefetch, all pages in shared_buffers, 60,000 x 784 and 300,000 x 128: 0.81 and
// 0.87 where the buffers lie in page order, 0.52 and 0.56 in descending order, 0.69 and 0.62 in random order. Into
// the first level it is slower than none; 1, 3 and 4 pages ahead are a little slower than 2.
static constexpr uint32 kPrefetchDistance = 2;

const DirectoryView& DirectoryWith(Relation index, uint64 rows) {
  const IndexCache* cache = GetIndexCache(index);
  // Nothing but the last row's place says how far elements reach; but whatever rows were counted, their extents were handed out before.
  const bool lacks_elements =
      cache->directory.IsSparse() &&
      cache->directory.streams[kElementStream].extents < ExtentsHandedOut(index, kElementStream);
  if (lacks_elements || cache->directory.PagesKnown(kVectorStream) < VectorPagesOf(cache->directory, rows))
    cache = ReloadIndexCache(index);
  return cache->directory;
}

// ---- Reading ahead ----

void SweepRows(RowReader* reader, uint64 first, uint64 end) {
  if (reader->takes_detour || first >= end) return;
  const auto block_of = [](const void* view, uint32 page) {
    return static_cast<const DirectoryView*>(view)->BlockOf(kVectorStream, page);
  };
  BeginSweep(&reader->sweep, reader->index, reader->strategy, {block_of, reader->view},
             static_cast<uint32>(first * reader->view->row_bytes / kPayloadBytes),
             VectorPagesOf(*reader->view, end));
}

// ---- Vectors ----

/// Pins a vector page and checks that it is the one asked for. Not for unprotected readers.
static Buffer PinVectorPage(RowReader* reader, uint32 page) {
  const Relation index = reader->index;
  const BlockNumber block = reader->view->BlockOf(kVectorStream, page);
  Buffer* recent = RecentVectorBuffer(index, page);
  Buffer buffer = TakeFromSweep(&reader->sweep, page);
  if (!BufferIsValid(buffer))
    buffer = ReadPage(index, block, recent != nullptr ? *recent : InvalidBuffer, reader->strategy);
  recent = RecentVectorBuffer(index, page);
  if (recent != nullptr) *recent = buffer;
  CheckPage(index, block, BufferGetPage(buffer), PageKind::kVectors, page, reader->view->incarnation);
  return buffer;
}

/// Makes `page` current.
static void TurnTo(RowReader* reader, uint32 page) {
  CHECK_FOR_INTERRUPTS();
  CloseRows(reader);
  reader->buffer = PinVectorPage(reader, page);
  reader->page = page;
  reader->payload = Payload(BufferGetPage(reader->buffer));
  reader->ahead = nullptr;
  if (!reader->read_ahead) return;
  const Buffer* ahead = RecentVectorBuffer(reader->index, page + kPrefetchDistance);
  if (ahead != nullptr && *ahead > 0) {
    pg::PrefetchBufferDescriptor(*ahead);
    reader->ahead = Payload(BufferGetPage(*ahead));
  }
}

/// Asks for that part of a later page which lies where [offset, offset + bytes) lies in the current one, into the
/// second-level cache. The buffer may hold another page by now: then the hint was for nothing.
__attribute__((always_inline)) static inline void PrefetchAhead(const RowReader& reader, uint32 offset,
                                                                uint32 bytes) {
  if (reader.ahead == nullptr) return;
  const char* start = reader.ahead + offset;
  const uint32 length = Min(bytes, kPayloadBytes - offset);
  for (uint32 line = 0; line < length; line += 64) __builtin_prefetch(start + line, 0, 2);
}

void OpenRows(RowReader* reader, Relation index, const DirectoryView* view, const Manifest* manifest,
              void* scratch, BufferAccessStrategy strategy) {
  *reader = RowReader{};
  reader->index = index;
  reader->view = view;
  reader->strategy = strategy;
  reader->buffer = reader->element_buffer = InvalidBuffer;
  reader->read_ahead = true;
  if (view->element != vec::Element::kFloat32) reader->widened = static_cast<float*>(scratch);
  reader->scratch = static_cast<char*>(scratch) +
                    (reader->widened != nullptr ? view->dimensions * sizeof(float) : std::size_t{0});
  reader->context = CurrentMemoryContext;
  reader->unprotected = RecoveryInProgress() || TransactionStartedDuringRecovery();
  reader->takes_detour = reader->unprotected || manifest->packed_count > 0 || view->IsSparse();
  if (reader->takes_detour) OpenPacked(&reader->packed, index, manifest, view->row_bytes);
}

/// From the extents, under pins.
static const void* ReadFromExtents(RowReader* reader, uint64 row) {
  const uint32 row_bytes = reader->view->row_bytes;
  const uint64 first = row * row_bytes;
  const auto page = static_cast<uint32>(first / kPayloadBytes);
  const auto offset = static_cast<uint32>(first % kPayloadBytes);
  if (!BufferIsValid(reader->buffer) || page != reader->page) TurnTo(reader, page);
  PrefetchAhead(*reader, offset, row_bytes);
  if (likely(offset + row_bytes <= kPayloadBytes)) return reader->payload + offset;
  char* const copy = reader->scratch;
  uint32 copied = kPayloadBytes - offset;
  // memmove, not memcpy: gcc expands the latter into "rep movs", whose start-up costs more than the copy.
  std::memmove(copy, reader->payload + offset, copied);
  while (copied < row_bytes) {
    TurnTo(reader, reader->page + 1);
    const uint32 part = Min(row_bytes - copied, kPayloadBytes);
    PrefetchAhead(*reader, 0, part);
    std::memmove(copy + copied, reader->payload, part);
    copied += part;
  }
  return reader->scratch;
}

void PrefetchRow(const RowReader& reader, uint64 row) {
  const uint64 first = row * reader.view->row_bytes;
  const auto page = static_cast<uint32>(first / kPayloadBytes);
  const auto offset = static_cast<uint32>(first % kPayloadBytes);
  const Buffer* recent = RecentVectorBuffer(reader.index, page);
  if (recent == nullptr || *recent <= 0) return;
  pg::PrefetchBufferDescriptor(*recent);
  const Page held = BufferGetPage(*recent);
  __builtin_prefetch(Trailer(held));
  graph::Prefetch(Payload(held) + offset, Min(reader.view->row_bytes, kPayloadBytes - offset));
}

// ---- Vectors: packed, or under nobody's protection ----

namespace {

/// True if it is the vector page that it should be; a block that was recycled holds no such page ever again.
bool IsVectorPage(const RowReader& reader, Page page, uint32 ordinal) {
  const PageTrailer* trailer = Trailer(page);
  return trailer->page_id == kPageId && trailer->kind == static_cast<uint16>(PageKind::kVectors) &&
         trailer->ordinal == ordinal && trailer->incarnation == reader.view->incarnation;
}

/// Copies bytes of a vector page under its lock; false if the page is a hole's or somebody else's. Recovery makes room for a
/// logged page image by zeroing a buffer that others can pin already, also under that lock.
bool CopyFromPage(RowReader* reader, uint32 page, uint32 offset, uint32 bytes, char* to) {
  const BlockNumber block = reader->view->BlockOf(kVectorStream, page);
  if (block == InvalidBlockNumber) return false;
  if (!BufferIsValid(reader->buffer) || page != reader->page) {
    CHECK_FOR_INTERRUPTS();
    CloseRows(reader);
    Buffer* recent = RecentVectorBuffer(reader->index, page);
    reader->buffer =
        ReadPage(reader->index, block, recent != nullptr ? *recent : InvalidBuffer, reader->strategy);
    reader->page = page;
    recent = RecentVectorBuffer(reader->index, page);
    if (recent != nullptr) *recent = reader->buffer;
  }
  LockBuffer(reader->buffer, BUFFER_LOCK_SHARE);
  const Page image = BufferGetPage(reader->buffer);
  const bool is_ours = IsVectorPage(*reader, image, page);
  if (is_ours) std::memcpy(to, Payload(image) + offset, bytes);
  LockBuffer(reader->buffer, BUFFER_LOCK_UNLOCK);
  return is_ours;
}

/// Copies the row to scratch; false if one of its pages is gone.
bool CopyFromExtents(RowReader* reader, uint64 row) {
  const uint32 row_bytes = reader->view->row_bytes;
  char* to = reader->scratch;
  uint64 at = row * row_bytes;
  for (uint32 left = row_bytes; left > 0;) {
    const auto offset = static_cast<uint32>(at % kPayloadBytes);
    const uint32 part = Min(left, kPayloadBytes - offset);
    if (!CopyFromPage(reader, static_cast<uint32>(at / kPayloadBytes), offset, part, to)) return false;
    at += part;
    to += part;
    left -= part;
  }
  return true;
}

/// Changes to the manifest that holds now; false if it is the one already. That is right at any time: vectors never change, and
/// a row that a newer range lacks is dead to everybody.
bool LookAnew(RowReader* reader) {
  CloseRows(reader);
  const MemoryContext old_context = MemoryContextSwitchTo(reader->context);
  const Manifest* newer = ReadManifest(reader->index);
  MemoryContextSwitchTo(old_context);
  if (newer->root.version == reader->packed.manifest->root.version ||
      newer->incarnation != reader->view->incarnation)
    return false;
  OpenPacked(&reader->packed, reader->index, newer, reader->view->row_bytes);
  return true;
}

[[noreturn]] void ReportLostVector(const RowReader& reader, uint64 row) {
  ereport(ERROR, (errcode(ERRCODE_INDEX_CORRUPTED),
                  errmsg("index \"%s\" has lost the vector of row %llu",
                         RelationGetRelationName(reader.index), static_cast<unsigned long long>(row)),
                  errhint("Rebuild the index with REINDEX.")));
}

// ---- Sparse rows ----

/// Raises an error unless the current page is the one that the directory says.
void CheckElementPage(const RowReader& reader) {
  CheckPage(reader.index, reader.view->BlockOf(kElementStream, reader.element_page),
            BufferGetPage(reader.element_buffer), PageKind::kElements, reader.element_page,
            reader.view->incarnation);
}

/// Makes a page of elements current, and looks at whose it is, if a pin is enough for that.
void TurnToElements(RowReader* reader, uint32 page) {
  if (BufferIsValid(reader->element_buffer)) {
    if (reader->element_page == page) return;
    ReleaseBuffer(reader->element_buffer);
    reader->element_buffer = InvalidBuffer;
  }
  CHECK_FOR_INTERRUPTS();
  const BlockNumber block = reader->view->BlockOf(kElementStream, page);
  reader->element_buffer = ReadPage(reader->index, block, InvalidBuffer, reader->strategy);
  reader->element_page = page;
  if (!reader->unprotected) CheckElementPage(*reader);
}

/// To scratch. Under the pages' locks, if nothing but these keeps recovery from emptying a page to restore its image.
void CopyElements(RowReader* reader, const SparsePlace& place) {
  uint64 at = place.first;
  for (uint32 copied = 0; copied < place.bytes;) {
    const auto offset = static_cast<uint32>(at % kPayloadBytes);
    const uint32 part = Min(place.bytes - copied, kPayloadBytes - offset);
    TurnToElements(reader, static_cast<uint32>(at / kPayloadBytes));
    if (reader->unprotected) {
      LockBuffer(reader->element_buffer, BUFFER_LOCK_SHARE);
      CheckElementPage(*reader);
    }
    std::memcpy(reader->scratch + copied, Payload(BufferGetPage(reader->element_buffer)) + offset, part);
    if (reader->unprotected) LockBuffer(reader->element_buffer, BUFFER_LOCK_UNLOCK);
    at += part;
    copied += part;
  }
}

const void* ReadElements(RowReader* reader, const SparsePlace& place) {
  const auto offset = static_cast<uint32>(place.first % kPayloadBytes);
  if (reader->unprotected || offset + place.bytes > kPayloadBytes) {
    CopyElements(reader, place);
    return reader->scratch;
  }
  TurnToElements(reader, static_cast<uint32>(place.first / kPayloadBytes));
  return Payload(BufferGetPage(reader->element_buffer)) + offset;
}

/// The row's place, then the bytes there. Neither is compacted, so both are where they always were.
const void* ReadSparse(RowReader* reader, uint64 row) {
  SparsePlace place;
  if (!reader->unprotected)
    std::memcpy(&place, ReadFromExtents(reader, row), sizeof place);
  else if (CopyFromExtents(reader, row))
    std::memcpy(&place, reader->scratch, sizeof place);
  else
    ReportLostVector(*reader, row);
  // A damaged place leads neither out of the stream nor out of scratch.
  if (!IsPlausible(*reader->view, place)) ReportLostVector(*reader, row);
  const void* elements = ReadElements(reader, place);
  if (vec::SparseRowBytes(elements) != place.bytes) ReportLostVector(*reader, row);
  return elements;
}

/// Packed ranges first: what they say of a row holds.
const void* ReadByDetour(RowReader* reader, uint64 row) {
  if (reader->view->IsSparse()) return ReadSparse(reader, row);
  for (;;) {
    const void* vector = nullptr;
    reader->packed.strategy = reader->strategy;
    switch (ReadPacked(&reader->packed, row, reader->scratch, &vector)) {
      case PackedAnswer::kFound:
        return vector;
      case PackedAnswer::kGone:
        return nullptr;
      case PackedAnswer::kStale:
        break;
      case PackedAnswer::kNotPacked:
        if (!reader->unprotected) return ReadFromExtents(reader, row);
        if (CopyFromExtents(reader, row)) return reader->scratch;
        break;
    }
    if (!LookAnew(reader)) ReportLostVector(*reader, row);
  }
}

}  // namespace

const void* ReadRow(RowReader* reader, uint64 row) {
  if (unlikely(reader->takes_detour)) return ReadByDetour(reader, row);
  return ReadFromExtents(reader, row);
}

const float* ReadVector(RowReader* reader, uint64 row) {
  const void* stored = ReadRow(reader, row);
  if (reader->widened == nullptr || unlikely(stored == nullptr)) return static_cast<const float*>(stored);
  vec::Widen(reader->view->element, stored, reader->view->column_dimensions, reader->widened);
  return reader->widened;
}

uint64 CountRowsWithVector(RowReader* reader, uint64 first, uint64 end) {
  if (!reader->takes_detour) return end - first;
  return CountKept(&reader->packed, first, end);
}

uint64 NthRow(RowReader* reader, uint64 first, uint64 n) {
  return reader->takes_detour ? NthKept(&reader->packed, first, n) : first + n;
}

void CloseRows(RowReader* reader) {
  if (BufferIsValid(reader->buffer)) ReleaseBuffer(reader->buffer);
  reader->buffer = InvalidBuffer;
  if (BufferIsValid(reader->element_buffer)) ReleaseBuffer(reader->element_buffer);
  reader->element_buffer = InvalidBuffer;
  if (reader->takes_detour) ReleasePacked(&reader->packed);
}

// ---- Heads ----

/// Pins and share-locks head page `page`, checked.
static Buffer LockHeadPage(Relation index, const DirectoryView& view, Stream stream, uint32 page,
                           BufferAccessStrategy strategy, Snapshot snapshot) {
  const BlockNumber block = view.BlockOf(stream, page);
  Buffer* recent = stream == kHeadStream ? RecentHeadBuffer(index, page) : nullptr;
  const Buffer buffer = ReadPage(index, block, recent != nullptr ? *recent : InvalidBuffer, strategy);
  recent = stream == kHeadStream ? RecentHeadBuffer(index, page) : nullptr;
  if (recent != nullptr) *recent = buffer;
  LockBuffer(buffer, BUFFER_LOCK_SHARE);
  CheckPage(index, block, BufferGetPage(buffer), KindOfStream(stream), page, view.incarnation);
  if (snapshot != nullptr) pg::CheckSnapshotAge(snapshot, index, BufferGetPage(buffer));
  return buffer;
}

RowHead ReadRowHead(Relation index, const DirectoryView& view, Stream stream, uint64 row, Snapshot snapshot) {
  const auto page = static_cast<uint32>(row / kHeadsPerPage);
  const auto slot = static_cast<uint32>(row % kHeadsPerPage);
  const Buffer buffer = LockHeadPage(index, view, stream, page, nullptr, snapshot);
  const RowHead head = Heads(BufferGetPage(buffer))[slot];
  UnlockReleaseBuffer(buffer);
  return head;
}

void PrefetchRowHead(Relation index, uint64 row) {
  const Buffer* recent = RecentHeadBuffer(index, static_cast<uint32>(row / kHeadsPerPage));
  if (recent == nullptr || *recent <= 0) return;
  pg::PrefetchBufferDescriptor(*recent);
  const Page held = BufferGetPage(*recent);
  __builtin_prefetch(held);
  __builtin_prefetch(Heads(held) + row % kHeadsPerPage);
  __builtin_prefetch(Trailer(held));
}

void PrefetchTableRow(Relation index, uint64 row) {
  const Buffer* head_buffer = RecentHeadBuffer(index, static_cast<uint32>(row / kHeadsPerPage));
  if (head_buffer == nullptr || *head_buffer <= 0) return;
  // Without a lock, and the buffer may be another page's by now: any number may be found.
  const ItemPointerData tid = Heads(BufferGetPage(*head_buffer))[row % kHeadsPerPage].tid;
  const Buffer* recent = RecentTableBuffer(index, ItemPointerGetBlockNumberNoCheck(&tid));
  if (recent == nullptr || *recent <= 0) return;
  pg::PrefetchBufferDescriptor(*recent);
  const Page held = BufferGetPage(*recent);
  __builtin_prefetch(held);
  __builtin_prefetch(PageGetItemId(held, ItemPointerGetOffsetNumberNoCheck(&tid)));
}

uint32 ReadHeadPage(Relation index, const DirectoryView& view, Stream stream, uint32 page, uint64 bound,
                    BufferAccessStrategy strategy, RowHead* heads, Snapshot snapshot) {
  CHECK_FOR_INTERRUPTS();
  const Buffer buffer = LockHeadPage(index, view, stream, page, strategy, snapshot);
  const Page head_page = BufferGetPage(buffer);
  const auto count = static_cast<uint32>(Min(static_cast<uint64>(HeadCount(head_page)), bound));
  std::memcpy(heads, Heads(head_page), count * sizeof(RowHead));
  UnlockReleaseBuffer(buffer);
  return count;
}

HeadPageSummary SummarizeHeadPage(Relation index, const DirectoryView& view, uint32 page) {
  CHECK_FOR_INTERRUPTS();
  const Buffer buffer = LockHeadPage(index, view, kHeadStream, page, nullptr, nullptr);
  const Page head_page = BufferGetPage(buffer);
  const HeadPageSummary summary = {HeadCount(head_page), Trailer(head_page)->newest_xid};
  UnlockReleaseBuffer(buffer);
  return summary;
}

}  // namespace tandem::storage
