#pragma once
// The directory: which block holds page n of a stream, and how more blocks are had.
//
// Lock order, for all of storage/ (README.md gives the argument):
//   head page  ->  vector pages, ascending        an append, VACUUM (head page alone), a scan (one at a time)
//   meta page  ->  directory leaf                 handing out an extent
// The two chains never meet: extents are handed out, and the file is extended, with no content lock held.

#include "storage/page_format.hpp"

#include "vec/metric.hpp"
#include "vec/sketch.hpp"

extern "C" {
#include "storage/buf.h"
}

namespace tandem::storage {

/// Bytes of a row in the vector stream: of its elements, or of the place where they lie.
[[nodiscard]] constexpr uint32 RowBytesOf(vec::Element element, uint32 dimensions) {
  if (element == vec::Element::kSparse) return sizeof(SparsePlace);
  return static_cast<uint32>(vec::BytesOf(element, dimensions));
}

/// One stream's extents as read from the directory.
struct StreamView {
  uint32 extents;            ///< extents handed out
  uint32 first_block_index;  ///< where they start in DirectoryView::blocks
};

/// A copy of the directory: one palloc'd chunk. While an index lives extents are only added, and, where packed ranges hold
/// all their rows that are alive, taken away: a view stays right for the pages that its reader has a use for.
struct DirectoryView {
  uint64 incarnation;
  uint32 dimensions;         ///< of rows as float32: what graphs are made of, and queries are walked by
  uint32 column_dimensions;  ///< of the column's type; more only where graphs are of sketches
  uint32 row_bytes;          ///< in the vector stream
  vec::Metric metric;
  vec::Element element;
  StreamView streams[kStreams];
  BlockNumber blocks[FLEXIBLE_ARRAY_MEMBER];

  [[nodiscard]] bool IsSparse() const { return element == vec::Element::kSparse; }
  [[nodiscard]] uint32 PagesKnown(Stream stream) const { return FirstPageOfExtent(streams[stream].extents); }

  /// First block of an extent that the view knows; InvalidBlockNumber for a hole.
  [[nodiscard]] BlockNumber FirstBlockOf(Stream stream, uint32 extent) const {
    return blocks[streams[stream].first_block_index + extent];
  }

  /// Block of page `page`, or InvalidBlockNumber when the view has no such extent, or a hole in its place.
  [[nodiscard]] BlockNumber BlockOf(Stream stream, uint32 page) const {
    const PagePlace place = PlaceOfPage(page);
    if (place.extent >= streams[stream].extents) return InvalidBlockNumber;
    const BlockNumber first = FirstBlockOf(stream, place.extent);
    return unlikely(first == InvalidBlockNumber) ? InvalidBlockNumber : first + place.offset;
  }
};

/// True if the view knows the pages of elements before byte `end`.
[[nodiscard]] inline bool ReachesElements(const DirectoryView& view, uint64 end) {
  return end <= static_cast<uint64>(view.PagesKnown(kElementStream)) * kPayloadBytes;
}

/// True if the place lies in the pages that the view knows, and has room for a row of the index.
[[nodiscard]] inline bool IsPlausible(const DirectoryView& view, const SparsePlace& place) {
  return place.bytes >= sizeof(vec::SparseRow) &&
         place.bytes <= vec::LongestSparseRow(view.column_dimensions) && ReachesElements(view, place.first) &&
         ReachesElements(view, place.first + place.bytes) && place.first % sizeof(float) == 0;
}

/// What a backend remembers of an index between calls, in rd_amcache (dropped with any relcache invalidation).
/// Everything here is a copy or a hint: reading it never needs a lock, being out of date never loses a row.
struct IndexCache {
  BlockNumber known_blocks;    ///< the file has at least so many blocks
  uint32 tail_page[kStreams];  ///< heads streams: a page at or before the last one in use
  bool tail_found[kStreams];   ///< tail_page was looked for, not merely zero
  Buffer recent_meta;          ///< buffer last seen to hold the meta page
  Buffer recent_head;          ///< … and the tail pages
  Buffer recent_vector;
  Buffer recent_elements;
  uint32 recent_pages;      ///< vector pages whose buffers there is room for behind recent_offset
  uint32 recent_heads;      ///< then head pages; see RecentVectorBuffer() and RecentHeadBuffer()
  uint32 recent_blocks;     ///< then blocks of the table; see RecentTableBuffer()
  uint32 recent_offset;     ///< bytes from the start of this struct to the Buffer[] of these
  DirectoryView directory;  ///< last: variable length
};

/// The backend's cache of `index`; read from the meta page when there is none.
/// Raises ERRCODE_INDEX_CORRUPTED when block 0 is not a meta page of this format.
[[nodiscard]] IndexCache* GetIndexCache(Relation index);

/// Forgets and reads again, keeping the hints if the incarnation is the same.
IndexCache* ReloadIndexCache(Relation index);

/// Drops the cache: the relation's contents are about to be replaced.
void ForgetIndexCache(Relation index);

/// A copy of the directory in the current memory context: a scan's view.
[[nodiscard]] DirectoryView* CopyDirectory(const DirectoryView& directory);

/// Copies the meta page's payload. Raises ERRCODE_INDEX_CORRUPTED as GetIndexCache().
void ReadMeta(Relation index, MetaPage* meta);

/// What a search wants to know of the meta page.
struct RootView {
  uint64 incarnation;
  uint64 dead_rows;  ///< with a vector, as of the last VACUUM
  ManifestRoot root;
};

/// One look at the meta page.
[[nodiscard]] RootView ReadRoot(Relation index);

/// The directory that belongs to a copy of the meta page, in the current memory context.
[[nodiscard]] DirectoryView* ReadDirectory(Relation index, const MetaPage& meta);

/// Hands out extent number `extent` of `stream`, unless somebody else did meanwhile. Logged; WAL-logged
/// high-water mark, so that neither a short file after a crash nor a long one hands blocks out twice. Extents of full
/// size come from the free ones while there are any.
/// Raises ERRCODE_PROGRAM_LIMIT_EXCEEDED when the directory is full.
void AllocateExtent(Relation index, Stream stream, uint32 extent);

/// Pins the meta page and locks it exclusively. Raises ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE if the index is not the
/// one with that incarnation any more.
[[nodiscard]] Buffer LockMeta(Relation index, uint64 incarnation);

/// Overwrites `length` bytes at `field`, which points into the locked meta page, in one record.
void WriteMeta(Relation index, Buffer meta, void* field, const void* value, uint32 length);

/// Takes `blocks` new blocks at the high-water mark, logged, for the holder of the builder lock; returns the first. The
/// file has them.
[[nodiscard]] BlockNumber RaiseHighWater(Relation index, uint64 incarnation, uint32 blocks);

/// Adds blank extents to those that streams may take; false, with nothing changed, if there is no room for another run. By
/// the holder of the builder lock: streams only ever take some away meanwhile.
[[nodiscard]] bool AddBlankRun(Relation index, uint64 incarnation, const BlankRun& run);

/// Extents that streams may take.
[[nodiscard]] uint32 CountBlankExtents(const MetaPage& meta);

/// Makes holes of `count` extents of the vectors, from `first` on; what they were in `freed`, of `count` entries:
/// InvalidBlockNumber for what was a hole before. One record for each page of the directory. By the holder of the builder lock.
void MakeHoles(Relation index, uint64 incarnation, uint32 first, uint32 count, BlockNumber* freed);

/// Extents of `stream` as of now: one look at the meta page.
[[nodiscard]] uint32 ExtentsHandedOut(Relation index, Stream stream);

/// Makes the file long enough to hold `block`; new blocks are all zero. No content lock may be held.
void EnsureBlock(Relation index, BlockNumber block);

/// Reads and pins a page, trying the buffer that held it last time first.
[[nodiscard]] Buffer ReadPage(Relation index, BlockNumber block, Buffer recent = InvalidBuffer,
                              BufferAccessStrategy strategy = nullptr);

/// Makes room to remember which buffer held each of the first `pages` vector pages, and the pages with the heads of their
/// rows. A scan of everything visits one buffer after the other, and looking each up in the buffer table costs more than
/// reading it: 35 % of a scan at 784 dimensions. Does nothing for more pages than shared_buffers holds.
void ReserveRecentBuffers(Relation index, uint32 pages);

/// The array behind recent_offset.
[[nodiscard]] inline Buffer* RecentBuffers(const IndexCache* cache) {
  auto* start = reinterpret_cast<char*>(const_cast<IndexCache*>(cache));
  return reinterpret_cast<Buffer*>(start + cache->recent_offset);
}

/// Where the buffer of vector page `page` is remembered, or nullptr. Valid until the relation's next use.
[[nodiscard]] inline Buffer* RecentVectorBuffer(Relation index, uint32 page) {
  const auto* cache = static_cast<const IndexCache*>(index->rd_amcache);
  return cache != nullptr && page < cache->recent_pages ? RecentBuffers(cache) + page : nullptr;
}

/// The same for head page `page`.
[[nodiscard]] inline Buffer* RecentHeadBuffer(Relation index, uint32 page) {
  const auto* cache = static_cast<const IndexCache*>(index->rd_amcache);
  return cache != nullptr && page < cache->recent_heads ? RecentBuffers(cache) + cache->recent_pages + page
                                                        : nullptr;
}

/// Makes room to remember the buffers of more of the table's blocks, `block` among them, which searches come to in no order: the
/// buffer table took half of what fetching a row from the heap did. Does nothing for blocks beyond what shared_buffers holds, or beyond 8 GB.
void ReserveRecentBlocks(Relation index, BlockNumber block);

/// The same for a block of the index's table.
[[nodiscard]] inline Buffer* RecentTableBuffer(Relation index, BlockNumber block) {
  const auto* cache = static_cast<const IndexCache*>(index->rd_amcache);
  return cache != nullptr && block < cache->recent_blocks
             ? RecentBuffers(cache) + cache->recent_pages + cache->recent_heads + block
             : nullptr;
}

/// Raises ERRCODE_INDEX_CORRUPTED unless the page carries the expected trailer. The page must not be new.
void CheckPage(Relation index, BlockNumber block, Page page, PageKind kind, uint32 ordinal,
               uint64 incarnation);

/// Number of rows in a heads stream: what a scan that starts now must look at. Reads O(log pages) pages; as a rule one, when
/// the backend remembers the tail.
[[nodiscard]] uint64 CountRows(Relation index, Stream stream);

/// Refreshes cache->tail_page[stream] to the last page in use (0 if none).
void FindTail(Relation index, Stream stream);

}  // namespace tandem::storage
