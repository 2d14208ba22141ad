// Verifies sparse rows: their places, and the elements that lie there.

#include "pg/compat.hpp"

#include "storage/verify_report.hpp"

namespace tandem::storage {

namespace {

constexpr uint32 kNoPage = ~uint32{0};

/// A page of one stream, copied.
struct PageCopy {
  Stream stream;
  uint32 page;
  bool is_sound;
  char* image;
};

struct SparseCheck {
  Relation index;
  const DirectoryView& view;
  const Reporter& report;
  BlockNumber file_blocks;
  PageCopy places;
  PageCopy elements;
  char* row;  ///< the longest that there can be
};

/// Makes `page` the copied one. False if it is not what it should be, which is told once.
bool TurnTo(const SparseCheck& check, PageCopy* copy, uint32 page) {
  if (copy->page == page) return copy->is_sound;
  CHECK_FOR_INTERRUPTS();
  copy->page = page;
  const BlockNumber block = check.view.BlockOf(copy->stream, page);
  copy->is_sound =
      block != InvalidBlockNumber && CopyBlock(check.index, block, check.file_blocks, copy->image);
  if (!copy->is_sound) {
    check.report.Say(block, "page %u of the %s is missing", page,
                     copy->stream == kElementStream ? "elements" : "places");
    return false;
  }
  copy->is_sound =
      CheckFrame(check.report, block, copy->image, KindOfStream(copy->stream), page, check.view.incarnation);
  return copy->is_sound;
}

/// Copies the row's bytes. False if a page is not sound or not filled so far.
bool CopyRow(SparseCheck* check, uint64 row, const SparsePlace& place) {
  uint64 at = place.first;
  for (uint32 copied = 0; copied < place.bytes;) {
    const auto offset = static_cast<uint32>(at % kPayloadBytes);
    const uint32 part = Min(place.bytes - copied, kPayloadBytes - offset);
    PageCopy* elements = &check->elements;
    if (!TurnTo(*check, elements, static_cast<uint32>(at / kPayloadBytes))) return false;
    if (UsedPayload(elements->image) < offset + part) {
      check->report.Say(check->view.BlockOf(kElementStream, elements->page),
                        "page ends before the elements of row %llu do", static_cast<unsigned long long>(row));
      return false;
    }
    std::memcpy(check->row + copied, Payload(elements->image) + offset, part);
    at += part;
    copied += part;
  }
  return true;
}

/// What is wrong with a row; nullptr if nothing.
const char* ProblemOf(const SparseCheck& check, const SparsePlace& place) {
  if (reinterpret_cast<const vec::SparseRow*>(check.row)->count < 0 ||
      vec::SparseRowBytes(check.row) != place.bytes)
    return "has another number of elements than its place has room for";
  const vec::SparseView row = vec::ViewOfRow(check.row);
  int64 last = -1;
  for (std::size_t i = 0; i < row.count; last = row.indices[i++]) {
    if (row.indices[i] <= last) return "has elements that are not in order";
    if (static_cast<int64>(row.indices[i]) >= static_cast<int64>(check.view.column_dimensions))
      return "has an element beyond its dimensions";
  }
  if (!vec::AllFinite(vec::Element::kSparse, check.row, check.view.column_dimensions))
    return "has an element that is not a finite number";
  return nullptr;
}

}  // namespace

void VerifySparseRows(Relation index, const DirectoryView& view, uint64 rows, const Reporter& report) {
  SparseCheck check = {index,
                       view,
                       report,
                       RelationGetNumberOfBlocks(index),
                       {kVectorStream, kNoPage, false, static_cast<char*>(palloc(BLCKSZ))},
                       {kElementStream, kNoPage, false, static_cast<char*>(palloc(BLCKSZ))},
                       static_cast<char*>(palloc(vec::LongestSparseRow(view.column_dimensions)))};
  constexpr uint32 kPlacesOfPage = kPayloadBytes / sizeof(SparsePlace);
  uint64 end = 0;  // of the row before, as far as it is known
  bool knows_end = true;
  for (uint64 row = 0; row < rows; row++) {
    const auto number = static_cast<unsigned long long>(row);
    if (!TurnTo(check, &check.places, static_cast<uint32>(row / kPlacesOfPage))) {
      knows_end = false;
      continue;
    }
    const BlockNumber block = view.BlockOf(kVectorStream, check.places.page);
    SparsePlace place;
    std::memcpy(&place, Payload(check.places.image) + row % kPlacesOfPage * sizeof place, sizeof place);
    if (!IsPlausible(view, place)) {
      report.Say(block, "row %llu has an impossible place", number);
      knows_end = false;
      continue;
    }
    if (knows_end && place.first != end) report.Say(block, "row %llu does not follow the row before", number);
    end = place.first + place.bytes;
    knows_end = true;
    if (!CopyRow(&check, row, place)) continue;
    const char* problem = ProblemOf(check, place);
    if (problem != nullptr) report.Say(block, "row %llu %s", number, problem);
  }
  pfree(check.row);
  pfree(check.elements.image);
  pfree(check.places.image);
}

}  // namespace tandem::storage
