#include "pg/compat.hpp"

#include "storage/packed_reader.hpp"

namespace tandem::storage {

/// The first range that ends behind the row; packed_count if there is none.
static uint32 FirstRangeBehind(const Manifest& manifest, uint64 row) {
  uint32 first = 0;
  uint32 end = manifest.packed_count;
  while (first < end) {
    const uint32 middle = first + (end - first) / 2;
    if (manifest.packed[middle].end_row <= row)
      first = middle + 1;
    else
      end = middle;
  }
  return first;
}

const PackedInfo* FindPackedRange(const Manifest& manifest, uint64 row) {
  const uint32 range = FirstRangeBehind(manifest, row);
  if (range == manifest.packed_count || manifest.packed[range].first_row > row) return nullptr;
  return manifest.packed + range;
}

namespace {

/// A uint32 of the places or fences; 0 if the blob is stale.
uint32 NumberAt(PackedReader* reader, uint64 offset) {
  uint32 copy;
  return *reinterpret_cast<const uint32*>(
      ReadBlob(&reader->places, offset, sizeof copy, reinterpret_cast<char*>(&copy)));
}

uint32 PlaceOf(PackedReader* reader, uint64 ordinal) {
  return NumberAt(reader, reader->layout.PlaceAt(ordinal));
}

/// First of [first, end) whose number is not below `place`. number: of an ordinal.
template <typename Number>
uint64 LowerBound(uint64 first, uint64 end, uint32 place, Number number) {
  while (first < end) {
    const uint64 middle = first + (end - first) / 2;
    if (number(middle) < place)
      first = middle + 1;
    else
      end = middle;
  }
  return first;
}

/// Ordinal of the first row at `place` or behind it.
uint64 Search(PackedReader* reader, uint32 place) {
  const PackedLayout& layout = reader->layout;
  uint64 page = LowerBound(0, layout.fences, place,
                           [&](uint64 fence) { return NumberAt(reader, layout.FenceAt(fence)); });
  // The fence is that page's first place: what lies below it is on the page before.
  if (page > 0) page--;
  const uint64 first = page * kPlacesPerPage;
  return LowerBound(first, Min(first + kPlacesPerPage, layout.rows), place,
                    [&](uint64 ordinal) { return PlaceOf(reader, ordinal); });
}

/// As Search(), but looks at the rows behind the last one first.
uint64 SearchOn(PackedReader* reader, uint32 place) {
  constexpr uint64 kStepsAhead = 8;  // rows that have died since; a search costs as much
  const uint64 rows = reader->layout.rows;
  const uint64 end = Min(reader->next + kStepsAhead, rows);
  for (uint64 ordinal = reader->next; ordinal < end; ordinal++) {
    const uint32 at = PlaceOf(reader, ordinal);
    if (at == place) return ordinal;
    if (at < place) continue;
    // The one before it may be behind us: only then is it known that the row is not there.
    if (ordinal > 0 && PlaceOf(reader, ordinal - 1) < place) return ordinal;
    break;
  }
  return Search(reader, place);
}

void TurnToRange(PackedReader* reader, const PackedInfo& range) {
  ReleasePacked(reader);
  reader->range = range;
  reader->layout = PackedLayout::Of(range.rows, reader->row_bytes);
  reader->next = 0;
  reader->is_open = true;
  if (range.rows == 0) return;
  const BlobRef blob = reader->manifest->BlobOf(range);
  OpenBlob(&reader->places, reader->index, reader->manifest->incarnation, blob, nullptr);
  OpenBlob(&reader->vectors, reader->index, reader->manifest->incarnation, blob, nullptr);
}

bool IsStale(const PackedReader& reader) {
  return reader.places.stale || reader.vectors.stale;
}

}  // namespace

void OpenPacked(PackedReader* reader, Relation index, const Manifest* manifest, uint32 row_bytes) {
  *reader = PackedReader{};
  reader->index = index;
  reader->manifest = manifest;
  reader->row_bytes = row_bytes;
}

PackedAnswer ReadPacked(PackedReader* reader, uint64 row, void* scratch, const void** vector) {
  if (!reader->is_open || row < reader->range.first_row || row >= reader->range.end_row) {
    const PackedInfo* range = FindPackedRange(*reader->manifest, row);
    if (range == nullptr) return PackedAnswer::kNotPacked;
    TurnToRange(reader, *range);
  }
  reader->places.strategy = reader->vectors.strategy = reader->strategy;
  const PackedLayout& layout = reader->layout;
  if (layout.rows == 0) return PackedAnswer::kGone;
  if (layout.Bytes() != reader->range.bytes) return PackedAnswer::kStale;
  const auto place = static_cast<uint32>(row - reader->range.first_row);
  const uint64 ordinal = SearchOn(reader, place);
  const bool is_there = ordinal < layout.rows && PlaceOf(reader, ordinal) == place;
  if (is_there)
    *vector =
        ReadBlob(&reader->vectors, layout.VectorAt(ordinal), layout.row_bytes, static_cast<char*>(scratch));
  if (IsStale(*reader)) return PackedAnswer::kStale;
  reader->next = is_there ? ordinal + 1 : ordinal;
  return is_there ? PackedAnswer::kFound : PackedAnswer::kGone;
}

namespace {

/// Rows of the range's blob that lie in [first, end), by ordinal.
struct Ordinals {
  uint64 first;
  uint64 end;
};

Ordinals OrdinalsWithin(PackedReader* reader, const PackedInfo& range, uint64 first, uint64 end) {
  if (range.rows == 0) return {0, 0};
  TurnToRange(reader, range);
  const auto ordinal_of = [&](uint64 row) {
    return Search(reader, static_cast<uint32>(row - range.first_row));
  };
  return {first <= range.first_row ? 0 : ordinal_of(first),
          end >= range.end_row ? range.rows : ordinal_of(end)};
}

}  // namespace

uint64 CountKept(PackedReader* reader, uint64 first, uint64 end) {
  const Manifest& manifest = *reader->manifest;
  uint64 kept = 0;
  for (uint32 i = FirstRangeBehind(manifest, first); i < manifest.packed_count && first < end; i++) {
    const PackedInfo& range = manifest.packed[i];
    if (range.first_row >= end) break;
    if (first < range.first_row) kept += range.first_row - first;
    const Ordinals within = OrdinalsWithin(reader, range, first, end);
    kept += within.end - within.first;
    first = range.end_row;
  }
  return kept + (first < end ? end - first : 0);
}

uint64 NthKept(PackedReader* reader, uint64 first, uint64 n) {
  const Manifest& manifest = *reader->manifest;
  for (uint32 i = FirstRangeBehind(manifest, first); i < manifest.packed_count; i++) {
    const PackedInfo& range = manifest.packed[i];
    const uint64 before = range.first_row - Min(first, range.first_row);
    if (n < before) break;
    n -= before;
    const Ordinals within = OrdinalsWithin(reader, range, first, range.end_row);
    if (n < within.end - within.first) return range.first_row + PlaceOf(reader, within.first + n);
    n -= within.end - within.first;
    first = range.end_row;
  }
  return first + n;
}

void ReleasePacked(PackedReader* reader) {
  if (!reader->is_open || reader->range.rows == 0) return;
  CloseBlob(&reader->places);
  CloseBlob(&reader->vectors);
}

}  // namespace tandem::storage
