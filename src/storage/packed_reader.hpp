#pragma once
// Vectors of rows whose extents were compacted, by row id.

#include "storage/manifest.hpp"
#include "storage/packed_format.hpp"

namespace tandem::storage {

enum class PackedAnswer : unsigned char {
  kNotPacked,  ///< the row is in no packed range: its vector is in the extents
  kGone,       ///< it was dead when its range was packed
  kFound,
  kStale,  ///< its range has no such pages any more: there is a newer manifest, or the index is damaged
};

/// Plain data. Holds up to two pins, until ReleasePacked(). Remembers where it was: rows in ascending order are found without
/// a search.
struct PackedReader {
  Relation index;
  const Manifest* manifest;  ///< lists the ranges
  uint32 row_bytes;
  BufferAccessStrategy strategy;  ///< the caller's, for the next call; nullptr after OpenPacked()
  bool is_open;                   ///< the following is of the range that was asked for last
  PackedInfo range;               ///< a copy
  PackedLayout layout;            ///< of its blob
  uint64 next;                    ///< ordinal behind the row that was found last
  BlobReader places;
  BlobReader vectors;
};

/// manifest: as of which ranges are looked at; must outlive the reader.
void OpenPacked(PackedReader* reader, Relation index, const Manifest* manifest, uint32 row_bytes);
/// kFound: `vector` is valid until the next call; it may be `scratch`, which has room for a row.
[[nodiscard]] PackedAnswer ReadPacked(PackedReader* reader, uint64 row, void* scratch, const void** vector);
/// Rows of [first, end) that are in no packed range, or in its blob. Nothing may be stale: the holder of the builder lock asks.
[[nodiscard]] uint64 CountKept(PackedReader* reader, uint64 first, uint64 end);
/// The n-th of these rows from `first` on, counted from 0.
[[nodiscard]] uint64 NthKept(PackedReader* reader, uint64 first, uint64 n);
/// Lets go of the pages; the reader can be used again.
void ReleasePacked(PackedReader* reader);

/// The range that holds the row; nullptr if none does.
[[nodiscard]] const PackedInfo* FindPackedRange(const Manifest& manifest, uint64 row);

}  // namespace tandem::storage
