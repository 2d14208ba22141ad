#pragma once
// On-disk format of a packed blob: the vectors of the rows of a range of row ids that were alive when it was written, in row
// order. A row of the range that it lacks was dead to everybody by then.
//
//   PackedHeader, fences    padded to whole pages of the blob
//   places                  uint32[rows], ascending: row id - first_row; padded to whole pages
//   vectors                 elements (vec::Element) of a row, end to end
//
// Fence i is the first place on page i of the places: a row is looked up in the fences, on one page of places, and found at
// its ordinal among the vectors.

#include "storage/blob.hpp"

namespace tandem::storage {

constexpr uint32 kPackedMagic = 0x4B415054;  // "TPAK"
constexpr uint32 kPlacesPerPage = kBlobPageBytes / sizeof(uint32);
static_assert(kBlobPageBytes % sizeof(uint32) == 0, "places do not cross pages");

struct PackedHeader {
  uint32 magic;
  uint32 row_bytes;
  uint64 first_row;
  uint64 end_row;
  uint64 rows;
};
static_assert(sizeof(PackedHeader) == 32, "on-disk format");

/// Where the parts of a packed blob lie: it follows from the number of its rows.
struct PackedLayout {
  uint32 row_bytes;
  uint64 rows;
  uint64 fences;
  uint64 places_at;
  uint64 vectors_at;

  [[nodiscard]] static PackedLayout Of(uint64 rows, uint32 row_bytes) {
    const auto whole_pages = [](uint64 bytes) {
      return (bytes + kBlobPageBytes - 1) / kBlobPageBytes * kBlobPageBytes;
    };
    PackedLayout layout = {row_bytes, rows, (rows + kPlacesPerPage - 1) / kPlacesPerPage, 0, 0};
    layout.places_at = whole_pages(sizeof(PackedHeader) + layout.fences * sizeof(uint32));
    layout.vectors_at = layout.places_at + whole_pages(rows * sizeof(uint32));
    return layout;
  }
  /// Of the whole blob; 0 if there is no row: then there is no blob.
  [[nodiscard]] uint64 Bytes() const { return rows == 0 ? 0 : vectors_at + rows * row_bytes; }
  [[nodiscard]] uint64 FenceAt(uint64 fence) const { return sizeof(PackedHeader) + fence * sizeof(uint32); }
  [[nodiscard]] uint64 PlaceAt(uint64 ordinal) const { return places_at + ordinal * sizeof(uint32); }
  [[nodiscard]] uint64 VectorAt(uint64 ordinal) const { return vectors_at + ordinal * row_bytes; }
};

/// Rows of which one byte or more lies in extents [first, end) of the vectors.
struct TouchingRows {
  uint64 first;
  uint64 end;
};
[[nodiscard]] inline TouchingRows RowsTouching(uint32 first_extent, uint32 end_extent, uint32 row_bytes) {
  const uint64 first_byte = static_cast<uint64>(FirstPageOfExtent(first_extent)) * kPayloadBytes;
  const uint64 end_byte = static_cast<uint64>(FirstPageOfExtent(end_extent)) * kPayloadBytes;
  return {first_byte / row_bytes, (end_byte + row_bytes - 1) / row_bytes};
}

}  // namespace tandem::storage
