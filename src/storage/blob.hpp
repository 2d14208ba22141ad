#pragma once
// Blobs: bytes written once, read by anybody, never changed (page_format.hpp).

#include "storage/directory.hpp"
#include "storage/page_sweep.hpp"

namespace tandem::storage {

/// Payload bytes of a blob's page: all of it.
constexpr uint32 kBlobPageBytes = kPayloadBytes;

[[nodiscard]] constexpr uint32 PagesOfBlob(uint64 bytes) {
  return static_cast<uint32>((bytes + kBlobPageBytes - 1) / kBlobPageBytes);
}
/// Extents that `pages` pages take, in the growing sizes of a stream. The last one is handed out whole.
[[nodiscard]] constexpr uint32 ExtentsOfPages(uint32 pages) {
  return pages == 0 ? 0 : PlaceOfPage(pages - 1).extent + 1;
}

/// A blob and where it lies. Does not own `first_block`.
struct BlobRef {
  PageKind kind;
  uint32 id;
  uint64 bytes;
  const BlockNumber* first_block;  ///< ExtentsOfPages(PagesOfBlob(bytes)) of them

  [[nodiscard]] BlockNumber BlockOf(uint32 page) const {
    const PagePlace place = PlaceOfPage(page);
    return first_block[place.extent] + place.offset;
  }
};

// ---- Reading ----

/// Reads a blob's bytes. Plain data; the caller keeps it and calls CloseBlob(). Pages are checked to be this blob's on
/// every access: one that is not was recycled (H12), and from then on the reader is stale: it delivers zeros.
/// What is told of damaged blobs, once in a session each.
enum class DamageKind : uint32 { kPage, kPageForMemory, kGraph };
/// False if this session has heard of it before.
[[nodiscard]] bool IsNews(Relation index, uint32 blob, DamageKind kind);

struct BlobReader {
  Relation index;
  uint64 incarnation;
  BlobRef blob;
  Buffer* recent;                 ///< nullptr, or PagesOfBlob(bytes) buffers that last held the pages
  BufferAccessStrategy strategy;  ///< nullptr after OpenBlob()
  bool checks_sums;  ///< false after OpenBlob(); true: a page with a wrong checksum is none of the blob's
  Buffer buffer;     ///< pinned; holds `page`
  uint32 page;
  PageSweep sweep;
  bool unprotected;  ///< nothing keeps its pages: in recovery, or in a transaction that began there
  bool stale;
};

void OpenBlob(BlobReader* reader, Relation index, uint64 incarnation, const BlobRef& blob, Buffer* recent);
/// Bytes [offset, offset + bytes) of the blob: in place if they lie on one page (valid until the next call), else copied
/// to `scratch`. On a primary a pin protects them: the page cannot be recycled while a snapshot of ours is older than its
/// retirement. In recovery, where nothing waits for us, they are copied to `scratch` under the page's lock. A stale reader,
/// and one asked for bytes beyond its blob, delivers zeros; outside of recovery that is damage, and a WARNING says so.
[[nodiscard]] const char* ReadBlob(BlobReader* reader, uint64 offset, uint32 bytes, char* scratch);
/// Asks for the memory of what ReadBlob() would look at, if it is known which buffer held it: a hint.
void PrefetchBlob(const BlobReader& reader, uint64 offset, uint32 bytes);
/// All bytes [first, end) will be read, in ascending order and mostly from disk: a sweep of their pages, until the next or CloseBlob().
/// The reader must stay where it is. Does nothing in recovery.
void SweepBlob(BlobReader* reader, uint64 first, uint64 end);
void CloseBlob(BlobReader* reader);

/// Checks every page of the blob: trailer, filling and checksum. Calls `problem` for each that is wrong.
using BlobProblem = void (*)(void* state, BlockNumber block, const char* problem);
void CheckBlobPages(Relation index, uint64 incarnation, const BlobRef& blob, BlobProblem problem,
                    void* state);

// ---- Writing: by the holder of the builder lock only ----

/// Free blocks of the index and the blob being written. Free is what is below the high-water mark and belongs to nobody:
/// found out by difference when a build begins, so a builder that dies leaks nothing (H40). Lives in the memory context of
/// its creation; right as long as the builder lock is held.
struct BlobWriter;

[[nodiscard]] BlobWriter* BeginBlobs(Relation index);
/// Starts a new blob of `bytes` bytes; takes an id for it, logged.
void BeginBlob(BlobWriter* writer, Relation index, PageKind kind, uint64 bytes);
/// Supplies bytes of the blob being written.
using BlobSupplier = void (*)(void* state, uint64 offset, uint32 bytes, char* to);
/// Writes up to `pages` more pages, WAL-logged; true while there are more to write. Each page is one record of its whole image:
/// after a crash in between, the pages belong to nobody. `index` may be another opening of the same relation each time; an
/// ERROR if it was rebuilt meanwhile. `supply` is called with no lock held.
[[nodiscard]] bool WriteBlobPages(BlobWriter* writer, Relation index, uint32 pages, BlobSupplier supply,
                                  void* state);
/// The finished blob; valid while the writer lives, also when other blobs are begun.
[[nodiscard]] BlobRef WrittenBlob(const BlobWriter* writer);

/// The blob's blocks are free again: a published version no longer lists it, or none ever did.
void FreeBlob(BlobWriter* writer, const BlobRef& blob);
/// The same for blocks that were an extent's and are a hole's now.
void FreeBlocks(BlobWriter* writer, BlockNumber first, uint32 blocks);
/// Holds some of the free blocks ready for streams: formats pages as blank and adds their extents to the meta page. At most
/// 8 MB at once, in some 10 ms; returns the number of extents, 0 if streams have enough or there are too few blocks.
uint32 GiveToStreams(BlobWriter* writer, Relation index);

}  // namespace tandem::storage
