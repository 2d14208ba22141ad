#pragma once
// On-disk format of a tandem index, version 3. Every page struct, page id and limit is in this file.
//
//   block 0: meta page          what the index is, where its streams are, the high-water mark
//   other blocks, in extents:   pages of one stream, or directory leaves
//
// Every page:
//
//   0        24                                         8168         8192   (BLCKSZ = 8192)
//   | header | payload, used up to pd_lower … hole of 0 | PageTrailer |
//
// pd_lower always covers every used byte: generic WAL and page images drop what lies between pd_lower and
// pd_upper.
//
// A stream is a sequence of pages 0, 1, 2 … of one kind, held in extents. Extents grow 1, 1, 2, 4 … 32, 64, 64 …
// pages, so that a small table has a small index and a large one is read in runs of 512 KB. Where an extent
// starts is in the stream's map; everything else is arithmetic.
//
//   kHeads       RowHead[1018] a page; row id = page ordinal * 1018 + slot
//   kVectors     one endless array of elements (vec::Element), row after row, crossing page boundaries
//   kNullHeads   RowHead[1018] a page, for rows whose vector is NULL: they take no room in kVectors
//   kElements    sparse vectors (vec::SparseRow) end to end, crossing page boundaries. Only in indexes of them, whose kVectors
//                holds SparsePlace[509] a page: where each row's elements lie
//
// A blob is written once and never changed: a run of bytes laid over the payloads of its own pages, in extents that
// grow like a stream's. Its pages carry its id, which is never used twice, and a checksum.
//
//   kSegment     a frozen graph (graph/segment_layout.hpp)
//   kPacked      vectors of the rows that were alive in a range of row ids (packed_format.hpp)
//   kManifest    the list of all segments and of blobs that wait to be recycled (manifest.hpp); the meta page's root
//                points to the one that holds
//
// An extent of kVectors that packed ranges have made superfluous becomes a hole: its entry in the directory is
// InvalidBlockNumber for good. Extents of other streams are kept.
//
// Blocks that nothing claims are free. Some free extents are held ready for streams: their pages are blank (kFree),
// and count as never written.

#include "pg/pg.hpp"

extern "C" {
#include "access/transam.h"
#include "storage/block.h"
#include "storage/bufpage.h"
#include "storage/itemptr.h"
}

#include "base/ids.hpp"
#include "vec/element.hpp"

namespace tandem::storage {

constexpr uint32 kMagic = 0x4D444E54;  // "TNDM" in a little-endian dump
constexpr uint16 kFormatVersion = 3;
constexpr uint16 kPageId = 0xFD01;  // last two bytes of every page, as pg_filedump and friends expect

enum class PageKind : uint16 {
  kMeta = 1,
  kDirectory = 2,
  kHeads = 3,
  kVectors = 4,
  kNullHeads = 5,
  kSegment = 6,
  kManifest = 7,
  kFree = 8,
  kPacked = 9,
  kElements = 10,
};

/// Special area of every page. A page that was moved, misplaced, or belongs to an earlier life of the file is
/// recognised by it (same relfilenode, new contents: TRUNCATE inside the creating transaction).
struct PageTrailer {
  uint64 incarnation;  ///< the metapage's random number
  union {
    uint64 newest_xid;  ///< heads: newest inserting FullTransactionId on this page; other streams 0
    struct {
      uint32 blob_id;
      uint32 checksum;  ///< CRC-32C of the used payload
    } blob;
  };
  uint32 ordinal;  ///< page ordinal within its stream or blob; meta 0; directory leaves: leaf number
  uint16 kind;     ///< PageKind; for a directory leaf: PageKind::kDirectory
  uint16 page_id;  ///< kPageId
};
static_assert(sizeof(PageTrailer) == 24, "on-disk format");
static_assert(MAXALIGN(sizeof(PageTrailer)) == sizeof(PageTrailer), "special areas are MAXALIGNed");

constexpr uint32 kPayloadOffset = MAXALIGN(SizeOfPageHeaderData);
constexpr uint32 kPayloadBytes = BLCKSZ - kPayloadOffset - sizeof(PageTrailer);

/// Where a row lives in the heap, and what VACUUM said of it.
struct RowHead {
  ItemPointerData tid;
  uint16 flags;
};
static_assert(sizeof(RowHead) == 8, "on-disk format");

constexpr uint16 kTombstone = 0x0001;  ///< VACUUM: the heap tuple is gone, its TID may name another row
constexpr uint16 kKnownHeadFlags = kTombstone;

constexpr uint32 kHeadsPerPage = kPayloadBytes / sizeof(RowHead);

/// A row of kVectors where vectors are sparse: its elements are these bytes of kElements. Rows follow each other without a gap.
struct SparsePlace {
  uint64 first;
  uint32 bytes;
  uint32 unused;  ///< zero
};
static_assert(sizeof(SparsePlace) == 16, "on-disk format");
static_assert(kPayloadBytes % sizeof(SparsePlace) == 0, "no place crosses a page");
static_assert(kPayloadBytes % sizeof(double) == 0, "elements stay aligned from page to page");

// ---- Extents ----

constexpr uint32 kExtentPages = 64;  // 512 KB: one read-ahead window of the kernel
constexpr uint32 kRampExtents = 7;   // the first 7 extents hold 1, 1, 2, 4, 8, 16, 32 pages: 64 in all

struct PagePlace {
  uint32 extent;  ///< ordinal of the extent in its stream
  uint32 offset;  ///< page within the extent
};

[[nodiscard]] constexpr uint32 PagesOfExtent(uint32 extent) {
  if (extent >= kRampExtents) return kExtentPages;
  return extent == 0 ? 1 : 1U << (extent - 1);
}

[[nodiscard]] constexpr uint32 FirstPageOfExtent(uint32 extent) {
  if (extent >= kRampExtents) return (extent - kRampExtents + 1) * kExtentPages;
  return extent == 0 ? 0 : 1U << (extent - 1);
}

[[nodiscard]] constexpr PagePlace PlaceOfPage(uint32 page) {
  if (page >= kExtentPages) return {kRampExtents - 1 + page / kExtentPages, page % kExtentPages};
  if (page == 0) return {0, 0};
  const uint32 log2 = 31 - static_cast<uint32>(__builtin_clz(page));
  return {log2 + 1, page - (1U << log2)};
}

static_assert(PlaceOfPage(0).extent == 0 && PlaceOfPage(1).extent == 1 && PlaceOfPage(3).extent == 2);
static_assert(PlaceOfPage(63).extent == 6 && PlaceOfPage(64).extent == 7 && PlaceOfPage(64).offset == 0);
static_assert(FirstPageOfExtent(7) == 64 && FirstPageOfExtent(8) == 128 && PagesOfExtent(6) == 32);

// ---- Meta page and directory ----

enum Stream : int { kHeadStream = 0, kVectorStream = 1, kNullHeadStream = 2, kElementStream = 3 };
constexpr int kStreams = 4;

[[nodiscard]] constexpr bool HoldsHeads(Stream stream) {
  return stream == kHeadStream || stream == kNullHeadStream;
}

[[nodiscard]] constexpr PageKind KindOfStream(Stream stream) {
  switch (stream) {
    case kHeadStream:
      return PageKind::kHeads;
    case kVectorStream:
      return PageKind::kVectors;
    case kNullHeadStream:
      return PageKind::kNullHeads;
    case kElementStream:
      break;
  }
  return PageKind::kElements;
}

constexpr uint32 kInlineExtents = 16;  // in the meta page: small indexes need no directory leaf
constexpr uint32 kMaxLeaves = 600;     // what the meta page has room for
constexpr uint32 kLeafExtents = kPayloadBytes / sizeof(BlockNumber);

[[nodiscard]] constexpr uint64 ExtentsOfLeaves(uint32 leaves) {
  return kInlineExtents + static_cast<uint64>(leaves) * kLeafExtents;
}

/// First blocks of a stream's extents: the first 16 here, the rest in leaves of BlockNumber[2036].
struct StreamMap {
  uint32 extents;
  BlockNumber first_block[kInlineExtents];
  BlockNumber leaf[kMaxLeaves];
};

constexpr int kStreamMaps = 3;

// The meta page has room for three maps. Where vectors are sparse, that of kNullHeadStream has fewer leaves (107 GB of heads), and
// behind these lies that of kElementStream, cut short as well (518 GB of elements).
constexpr uint32 kNullLeavesBesideElements = 100;
constexpr uint32 kElementLeaves =
    kMaxLeaves - kNullLeavesBesideElements - offsetof(StreamMap, leaf) / sizeof(BlockNumber);

constexpr uint32 kRootExtents = 16;  // of the manifest: 640 pages, enough for 400 GB of segments
constexpr uint32 kBlankRuns = 64;

/// Neighbouring extents of kExtentPages blank pages.
struct BlankRun {
  BlockNumber first;
  uint32 extents;  ///< 0: the entry is not in use
};

/// Where the manifest is. Changed as a whole, in one record: that is what publishes segments and retires them (H14).
struct ManifestRoot {
  uint64 version;      ///< 0: there never was one; no segments
  uint64 publish_xid;  ///< next FullTransactionId at its publication, read under the meta page's lock
  uint64 sealed_rows;  ///< row ids below this are in segments, those from it on are the tail
  uint32 bytes;
  uint32 blob_id;
  uint32 next_blob_id;  ///< never used twice, also by builds that die: taken from here in a logged record
  uint32 extents;
  BlockNumber first_block[kRootExtents];
};
static_assert(sizeof(ManifestRoot) == 104, "on-disk format");

/// Payload of block 0. All fields are guarded by block 0's content lock.
struct MetaPage {
  uint32 magic;
  uint16 format_version;
  uint16 metric;  ///< vec::Metric the index was built for
  uint32 dimensions;
  uint32 row_bytes;        ///< bytes of one row in the vector stream
  uint64 incarnation;      ///< random, new with every build
  BlockNumber high_water;  ///< first block not handed out; the file may be shorter (H9) or longer
  uint16 element;  ///< vec::Element that rows are made of; 0 in indexes from before there was a choice
  uint16 reserved;
  uint64 dead_rows;       ///< tombstones in kHeads as of the last VACUUM
  uint64 dead_null_rows;  ///< tombstones in kNullHeads as of the last VACUUM
  ManifestRoot root;
  BlankRun blank_run[kBlankRuns];  ///< what streams take before the high-water mark rises
  StreamMap maps[kStreamMaps];     ///< MapOf()
};
static_assert(sizeof(MetaPage) <= kPayloadBytes, "the meta page must fit one block");

// ---- Access to a page's parts ----

[[nodiscard]] inline char* Payload(Page page) {
  return static_cast<char*>(page) + kPayloadOffset;
}

[[nodiscard]] inline PageTrailer* Trailer(Page page) {
  return reinterpret_cast<PageTrailer*>(static_cast<char*>(page) + BLCKSZ - sizeof(PageTrailer));
}

[[nodiscard]] inline MetaPage* Meta(Page page) {
  return reinterpret_cast<MetaPage*>(Payload(page));
}

[[nodiscard]] inline RowHead* Heads(Page page) {
  return reinterpret_cast<RowHead*>(Payload(page));
}

[[nodiscard]] inline uint32 UsedPayload(Page page) {
  return reinterpret_cast<PageHeader>(page)->pd_lower - kPayloadOffset;
}

[[nodiscard]] inline bool IsSparse(const MetaPage& meta) {
  return meta.element == static_cast<uint16>(vec::Element::kSparse);
}

/// kElementStream: only if the index is sparse; of the leaves only the first kElementLeaves are the map's.
[[nodiscard]] inline StreamMap* MapOf(MetaPage* meta, Stream stream) {
  if (stream != kElementStream) return &meta->maps[stream];
  return reinterpret_cast<StreamMap*>(meta->maps[kNullHeadStream].leaf + kNullLeavesBesideElements);
}

[[nodiscard]] inline const StreamMap* MapOf(const MetaPage& meta, Stream stream) {
  return MapOf(const_cast<MetaPage*>(&meta), stream);
}

[[nodiscard]] inline uint32 ExtentsOf(const MetaPage& meta, Stream stream) {
  return stream == kElementStream && !IsSparse(meta) ? 0 : MapOf(meta, stream)->extents;
}

/// Extents that a stream can have.
[[nodiscard]] constexpr uint64 MaxExtentsOf(Stream stream, bool is_sparse) {
  if (stream == kElementStream) return is_sparse ? ExtentsOfLeaves(kElementLeaves) : 0;
  return ExtentsOfLeaves(is_sparse && stream == kNullHeadStream ? kNullLeavesBesideElements : kMaxLeaves);
}

/// Row heads on a page of kHeads or kNullHeads.
[[nodiscard]] inline uint32 HeadCount(Page page) {
  return UsedPayload(page) / static_cast<uint32>(sizeof(RowHead));
}

inline void SetUsedPayload(Page page, uint32 bytes) {
  reinterpret_cast<PageHeader>(page)->pd_lower = static_cast<LocationIndex>(kPayloadOffset + bytes);
}

/// Formats an empty page.
inline void InitPage(Page page, PageKind kind, uint32 ordinal, uint64 incarnation) {
  PageInit(page, BLCKSZ, sizeof(PageTrailer));
  PageTrailer* trailer = Trailer(page);
  trailer->incarnation = incarnation;
  trailer->newest_xid = 0;
  trailer->ordinal = ordinal;
  trailer->kind = static_cast<uint16>(kind);
  trailer->page_id = kPageId;
}

/// True if a page of a stream's extent holds nothing yet: it was never written, or was emptied before the stream got it.
/// The first write to it initialises it and logs its whole image.
[[nodiscard]] inline bool IsBlank(Page page) {
  return PageIsNew(page) ||
         (Trailer(page)->kind == static_cast<uint16>(PageKind::kFree) && Trailer(page)->page_id == kPageId);
}

/// Largest number of pages that `row_bytes` consecutive payload bytes can touch.
[[nodiscard]] constexpr uint32 MaxPagesOfRow(uint32 row_bytes) {
  return (row_bytes + kPayloadBytes - 2) / kPayloadBytes + 1;
}

}  // namespace tandem::storage
