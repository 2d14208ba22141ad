// Verifying packed ranges: that they hold all rows of the extents that they replace, their pages, their places, and that each
// row that is alive is there.

#include "pg/compat.hpp"

#include "storage/verify_report.hpp"

#include "storage/head_range.hpp"
#include "storage/packed_reader.hpp"

extern "C" {
#include "access/xact.h"
#include "access/xlog.h"
}

namespace tandem::storage {

namespace {

/// One range being checked.
struct PackedCheck {
  Relation index;
  const IndexLayout* layout;
  const PackedInfo* range;
  PackedReader reader;
  Reporter report;
  uint64 problems;
  bool recycled;  ///< on a standby: another manifest holds by now, so what looks wrong may be another's page
};

void Say(PackedCheck* check, BlockNumber block, const char* problem) {
  if (check->recycled) return;
  if ((RecoveryInProgress() || TransactionStartedDuringRecovery()) &&
      !HasManifest(check->index, check->layout->meta.root)) {
    check->recycled = true;
    return;
  }
  constexpr uint64 kMostProblems = 20;
  if (check->problems++ >= kMostProblems) return;
  check->report.Say(block, "packed rows %llu to %llu: %s",
                    static_cast<unsigned long long>(check->range->first_row),
                    static_cast<unsigned long long>(check->range->end_row - 1), problem);
}

void SayRow(PackedCheck* check, const char* problem, uint64 row) {
  char text[160];
  (std::snprintf)(text, sizeof text, problem, static_cast<unsigned long long>(row));
  Say(check, InvalidBlockNumber, text);
}

void SayPage(void* state, BlockNumber block, const char* problem) {
  Say(static_cast<PackedCheck*>(state), block, problem);
}

/// Every row with a byte in the extents that the range replaces must be in a packed range.
void CheckExtents(PackedCheck* check) {
  const PackedInfo& range = *check->range;
  if (range.end_of_stream > ExtentsOf(check->layout->meta, kVectorStream)) {
    Say(check, InvalidBlockNumber, "it replaces extents that the vectors do not have");
    return;
  }
  const TouchingRows rows =
      RowsTouching(range.first_of_stream, range.end_of_stream, check->layout->meta.row_bytes);
  for (uint64 row = rows.first; row < rows.end;) {
    const PackedInfo* holder = FindPackedRange(*check->layout->manifest, row);
    if (holder == nullptr) {
      SayRow(check, "row %llu lies in an extent that it replaces, and is not packed", row);
      return;
    }
    row = holder->end_row;
  }
}

/// True if the header says what the manifest says.
bool CheckHeader(PackedCheck* check, BlobReader* reader) {
  PackedHeader copy;
  const auto* header =
      reinterpret_cast<const PackedHeader*>(ReadBlob(reader, 0, sizeof copy, reinterpret_cast<char*>(&copy)));
  const PackedInfo& range = *check->range;
  const uint32 row_bytes = check->layout->meta.row_bytes;
  if (header->magic == kPackedMagic && header->row_bytes == row_bytes && header->rows == range.rows &&
      header->first_row == range.first_row && header->end_row == range.end_row &&
      PackedLayout::Of(range.rows, row_bytes).Bytes() == range.bytes)
    return true;
  Say(check, InvalidBlockNumber, "its header contradicts the manifest");
  return false;
}

/// Places ascend within the range, and the fences are the first ones of their pages.
void CheckPlaces(PackedCheck* check, BlobReader* reader) {
  const PackedInfo& range = *check->range;
  const PackedLayout layout = PackedLayout::Of(range.rows, check->layout->meta.row_bytes);
  const auto number_at = [reader](uint64 offset) {
    uint32 copy;
    return *reinterpret_cast<const uint32*>(
        ReadBlob(reader, offset, sizeof copy, reinterpret_cast<char*>(&copy)));
  };
  uint64 least = 0;
  for (uint64 ordinal = 0; ordinal < layout.rows; ordinal++) {
    const uint32 place = number_at(layout.PlaceAt(ordinal));
    if (place < least || place >= range.end_row - range.first_row) {
      SayRow(check, "the place of its row %llu is out of order", ordinal);
      return;
    }
    least = static_cast<uint64>(place) + 1;
  }
  for (uint64 fence = 0; fence < layout.fences; fence++)
    if (number_at(layout.FenceAt(fence)) != number_at(layout.PlaceAt(fence * kPlacesPerPage)))
      SayRow(check, "its fence %llu is not the first place of that page", fence);
}

/// Every row of the range that is alive now was so when it was packed.
void CheckLiveRows(PackedCheck* check, void* scratch) {
  const IndexLayout& layout = *check->layout;
  OpenPacked(&check->reader, check->index, layout.manifest, layout.meta.row_bytes);
  VisitHeadRange(check->index, *layout.directory, check->range->first_row, check->range->end_row,
                 [&](uint64 row, const RowHead& head) {
                   if (!IsAlive(head) || check->recycled) return;
                   const void* vector = nullptr;
                   if (ReadPacked(&check->reader, row, scratch, &vector) != PackedAnswer::kFound)
                     SayRow(check, "row %llu is alive, and not there", row);
                   else if (!vec::AllFinite(layout.directory->element, vector, layout.meta.dimensions))
                     SayRow(check, "row %llu has an element that is not a finite number", row);
                 });
  ReleasePacked(&check->reader);
}

void CheckRange(PackedCheck* check, uint64 rows, void* scratch) {
  if (check->range->end_row > rows) {
    SayRow(check, "it ends beyond the %llu rows that there are", rows);
    return;
  }
  CheckExtents(check);
  if (check->range->bytes != 0) {
    const BlobRef blob = check->layout->manifest->BlobOf(*check->range);
    CheckBlobPages(check->index, check->layout->meta.incarnation, blob, SayPage, check);
    if (check->problems > 0 || check->recycled) return;
    BlobReader reader;
    OpenBlob(&reader, check->index, check->layout->meta.incarnation, blob, nullptr);
    if (CheckHeader(check, &reader)) CheckPlaces(check, &reader);
    CloseBlob(&reader);
    if (check->problems > 0 || check->recycled) return;
  }
  CheckLiveRows(check, scratch);
}

}  // namespace

void VerifyPacked(Relation index, const IndexLayout& layout, uint64 rows, const Reporter& report) {
  void* scratch = palloc(layout.meta.row_bytes);
  bool recycled = false;
  for (uint32 i = 0; i < layout.manifest->packed_count && !recycled; i++) {
    PackedCheck check = {index, &layout, layout.manifest->packed + i, {}, report, 0, false};
    CheckRange(&check, rows, scratch);
    recycled = check.recycled;
  }
  pfree(scratch);
}

bool IsPackedExtent(const Manifest& manifest, uint32 extent) {
  for (uint32 i = 0; i < manifest.packed_count; i++)
    if (extent >= manifest.packed[i].first_of_stream && extent < manifest.packed[i].end_of_stream)
      return true;
  return false;
}

}  // namespace tandem::storage
