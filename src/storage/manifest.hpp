#pragma once
// The manifest: which segments and packed ranges an index has. A version of it is immutable; a new one is published whole by one record.
//
// Retired blobs stay listed, with the transaction id at their retirement, until no snapshot can be older than that; the
// version that no longer lists them makes their blocks free.

// On disk it is a blob: ManifestHeader, SegmentInfo[segments], PackedInfo[packed], RetiredInfo[retired], BlockNumber[blocks],
// without gaps.

#include "storage/blob.hpp"

namespace tandem::storage {

constexpr uint32 kManifestMagic = 0x4E414D54;  // "TMAN"

struct ManifestHeader {
  uint32 magic;
  uint32 segments;
  uint32 retired;
  uint32 blocks;  ///< first blocks of all extents of the blobs above
  uint64 version;
  uint32 checksum;  ///< CRC-32C of what follows the header: a reader trusts block numbers
  uint32 packed;
};
static_assert(sizeof(ManifestHeader) == 32, "on-disk format");

/// One sealed segment. Segments are listed in the order of row ids and partition [0, sealed_rows).
struct SegmentInfo {
  uint32 id;
  uint32 nodes;
  uint64 bytes;
  uint64 first_row;
  uint64 end_row;
  uint64 rows;  ///< in its graph when it was built
  uint32 m;
  uint32 ef_construction;
  uint16 codec;         ///< vec::WalkCode
  uint16 codec_reason;  ///< vec::WalkReason
  uint32 first_extent;  ///< index into the manifest's blocks
  int64 built_at;       ///< TimestampTz
};
static_assert(sizeof(SegmentInfo) == 64, "on-disk format");

/// A packed range: the vectors of its rows that were alive when it was packed, in a blob of their own (packed_format.hpp). Of
/// these row ids nothing is read from the extents of the vectors any more. Ranges are listed in the order of row ids and
/// share none, nor an extent.
struct PackedInfo {
  uint32 id;            ///< of its blob
  uint32 first_extent;  ///< index into the manifest's blocks
  uint64 bytes;         ///< of its blob; 0: no row was alive, and there is no blob
  uint64 first_row;
  uint64 end_row;
  uint64 rows;  ///< in its blob
  uint32
      first_of_stream;  ///< extents [first_of_stream, end_of_stream) of the vectors hold no row that is not packed
  uint32 end_of_stream;
};
static_assert(sizeof(PackedInfo) == 48, "on-disk format");

/// What no later version uses, but a running scan may: a segment that was replaced, an older manifest, a packed range; or
/// extents of the vectors whose rows were packed. The directory has these until they become holes.
struct RetiredInfo {
  uint64 retire_xid;  ///< 0: retired by this very version, see ManifestRoot::publish_xid
  uint64 bytes;       ///< of a blob; 0 for extents
  uint32 id;          ///< of a blob; the first one of extents
  uint16 kind;        ///< PageKind; kVectors: extents
  uint16 reserved;
  uint32 first_extent;  ///< of a blob: index into the manifest's blocks
  uint32 extents;       ///< how many, if it is not a blob
};
static_assert(sizeof(RetiredInfo) == 32, "on-disk format");

/// Is it a run of extents, and no blob?
[[nodiscard]] inline bool IsExtents(const RetiredInfo& retired) {
  return retired.kind == static_cast<uint16>(PageKind::kVectors);
}

/// A palloc'd copy in one chunk. version 0: no manifest was ever published, all counts are 0.
struct Manifest {
  uint64 incarnation;
  uint64
      dead_rows;  ///< rows with a vector that VACUUM had marked when this copy was made, in segments or not
  ManifestRoot root;
  uint32 segment_count;
  uint32 packed_count;
  uint32 retired_count;
  uint32 block_count;
  const SegmentInfo* segments;
  const PackedInfo* packed;
  const RetiredInfo* retired;
  const BlockNumber* blocks;

  /// True if it has the segment with this id.
  [[nodiscard]] bool Lists(uint32 segment) const {
    for (uint32 i = 0; i < segment_count; i++)
      if (segments[i].id == segment) return true;
    return false;
  }
  [[nodiscard]] BlobRef BlobOf(const SegmentInfo& segment) const {
    return {PageKind::kSegment, segment.id, segment.bytes, blocks + segment.first_extent};
  }
  [[nodiscard]] BlobRef BlobOf(const PackedInfo& range) const {
    return {PageKind::kPacked, range.id, range.bytes, blocks + range.first_extent};
  }
  /// Of one that is a blob.
  [[nodiscard]] BlobRef BlobOf(const RetiredInfo& retired_blob) const {
    return {static_cast<PageKind>(retired_blob.kind), retired_blob.id, retired_blob.bytes,
            blocks + retired_blob.first_extent};
  }
  /// The manifest's own blob. version must not be 0.
  [[nodiscard]] BlobRef OwnBlob() const {
    return {PageKind::kManifest, root.blob_id, root.bytes, root.first_block};
  }
};

/// The manifest that holds now, in the current memory context. A caller with a snapshot may use it, and the blobs it lists,
/// for as long as it keeps the snapshot; the holder of the builder lock, for as long as it keeps the lock. Costs one look at
/// the meta page when the backend has read this version before. Raises ERRCODE_INDEX_CORRUPTED when the manifest is damaged.
[[nodiscard]] Manifest* ReadManifest(Relation index);

/// The manifest that a copy of the meta page names, in the current memory context; nullptr, with the reason in `problem` (a
/// constant string), if it cannot be read: it was recycled, or is damaged.
[[nodiscard]] Manifest* LoadManifest(Relation index, uint64 incarnation, const ManifestRoot& root,
                                     const char** problem);

/// True if `root` still is the index's: a manifest that LoadManifest() could not read was not recycled, but is damaged.
[[nodiscard]] bool HasManifest(Relation index, const ManifestRoot& root);
/// Raises ERRCODE_INDEX_CORRUPTED with `problem`.
void ReportDamagedManifest(Relation index, const char* problem);

/// Only the root: one look at the meta page.
[[nodiscard]] ManifestRoot ReadManifestRoot(Relation index);

/// What one publication changes.
struct Publication {
  uint64 expected_version;  ///< compare-and-swap: fails unless this version still holds
  uint32 replaced_first;    ///< segments [replaced_first, replaced_end) are retired …
  uint32 replaced_end;
  bool has_segment;  ///< … and `segment` takes their place (first_extent is ignored)
  SegmentInfo segment;
  BlobRef segment_blob;
  uint64 sealed_rows;

  bool has_packed;  ///< packed ranges [packed_first, packed_end) are retired, `packed` takes their place …
  uint32 packed_first;  ///< … and its extents that they had not are retired
  uint32 packed_end;
  PackedInfo packed;  ///< first_extent is ignored
  BlobRef packed_blob;
};

/// Publishes a new version: writes its blob, then flips the root. Drops retired blobs that nobody can need any more, makes
/// holes of such extents, and hands free extents to the streams. False, with nothing changed, if another version holds: the writer is of no use then,
/// nor after an error. Builder lock required.
[[nodiscard]] bool Publish(Relation index, BlobWriter* writer, const Publication& publication);

/// True if something retired, or several old manifests, can be dropped now: worth a Publish() that changes nothing else
/// (which retires the manifest before it in turn).
[[nodiscard]] bool HasRecyclable(Relation index, const Manifest& manifest);

// ---- The builder lock: one builder per index at a time (H13) ----

/// Session-level, so that it outlives the transactions of a build; vanishes with its process. Conflicts with no DDL.
[[nodiscard]] bool TryLockBuilder(Oid index);
/// Waits; cancellable.
void LockBuilder(Oid index);
/// For the holder: true if somebody waits for the lock.
[[nodiscard]] bool BuilderIsAwaited(Oid index);
void UnlockBuilder(Oid index);

}  // namespace tandem::storage
