// Codes of the tail behind a segment that searches do not know yet.

#include "pg/compat.hpp"

#include "am/tail_scan.hpp"
#include "vec/sketch.hpp"

namespace tandem::am {

static bool LoadTail(Relation index, const storage::Manifest& manifest, TimestampTz until, uint64* made) {
  const uint64 rows = storage::CountRows(index, storage::kHeadStream);
  const storage::DirectoryView* directory = storage::CopyDirectory(storage::DirectoryWith(index, rows));
  if (!vec::HoldsBound(directory->element, directory->column_dimensions, directory->metric)) return false;
  SegmentScan* scan = BeginSegmentScan(index, manifest, manifest.segments[manifest.segment_count - 1]);
  if (scan == nullptr) return false;
  TailSearch search = {index, &manifest, directory, scan->cached, nullptr, nullptr, rows};
  if (!TailScan::IsPossible(search) || !FindCentre(scan, &search)) return false;
  TailScan tail;
  tail.Open(search);
  const bool more = tail.MakeMissing(until);
  *made = tail.made();
  return more;
}

bool StepTailLoad(Relation index, const storage::Manifest& manifest, TimestampTz until, uint64* made) {
  *made = 0;
  if (!UsesFrames(index) || manifest.segment_count == 0) return false;
  const MemoryContext context =
      AllocSetContextCreate(CurrentMemoryContext, "tandem tail load", ALLOCSET_DEFAULT_SIZES);
  const MemoryContext old_context = MemoryContextSwitchTo(context);
  ForgetOtherSegments(manifest);
  const bool more = LoadTail(index, manifest, until, made);
  MemoryContextSwitchTo(old_context);
  MemoryContextDelete(context);
  return more;
}

}  // namespace tandem::am
