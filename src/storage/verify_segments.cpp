// Verifying segments: their pages, then their graphs, then their rows against the row heads, which are the authority.

#include "pg/compat.hpp"

#include "storage/verify_report.hpp"

#include "graph/segment_check.hpp"
#include "pg/own.hpp"
#include "storage/row_access.hpp"
#include "storage/segment_reader.hpp"
#include "vec/scalar_quantizer.hpp"

namespace tandem::storage {

namespace {

/// One segment being checked.
struct SegmentCheck {
  Relation index;
  const DirectoryView* directory;
  const Manifest* manifest;
  const SegmentInfo* info;
  BlobRef blob;
  BlobReader reader;
  Reporter report;
  uint64 problems;
  bool recycled;  ///< in recovery: another manifest holds by now, so what looks wrong may be another's page
};

/// Reports a problem, unless the segment may have been recycled under a check on a standby. Elsewhere our snapshot keeps it.
void Say(SegmentCheck* check, BlockNumber block, const char* problem) {
  if (check->recycled) return;
  if (check->reader.unprotected && !HasManifest(check->index, check->manifest->root)) {
    check->recycled = true;
    return;
  }
  // A segment that is damaged throughout is told by its first problems.
  constexpr uint64 kMostProblems = 20;
  if (check->problems++ < kMostProblems) check->report.Say(block, "segment %u: %s", check->info->id, problem);
}

void SayPage(void* state, BlockNumber block, const char* problem) {
  Say(static_cast<SegmentCheck*>(state), block, problem);
}

void SayOffset(void* state, std::uint64_t offset, const char* problem) {
  auto* check = static_cast<SegmentCheck*>(state);
  const bool inside = offset < check->blob.bytes;
  Say(check, inside ? check->blob.BlockOf(static_cast<uint32>(offset / kBlobPageBytes)) : InvalidBlockNumber,
      problem);
}

/// False if the header contradicts the manifest, so that nothing else can be looked at.
bool CheckHeader(SegmentCheck* check, const graph::SegmentHeader& header) {
  const SegmentInfo& info = *check->info;
  const bool same =
      header.magic == graph::kSegmentMagic && header.version == graph::kSegmentVersion &&
      header.first_row == info.first_row && header.end_row == info.end_row && header.rows == info.rows &&
      header.nodes == info.nodes && header.m == info.m && header.codec == info.codec &&
      header.bytes == info.bytes && header.dimensions == check->directory->dimensions &&
      header.metric == static_cast<uint8>(check->directory->metric) &&
      MayHaveCodec(*check->directory, header) && header.rows <= header.end_row - header.first_row &&
      header.tids_at + header.rows * sizeof(graph::TidEntry) <= header.bytes;
  if (!same) SayOffset(check, 0, "its header contradicts the manifest");
  return same;
}

/// Row heads [first, end) of the segment, and which of them the graph names.
struct RowWindow {
  uint64 first;
  uint64 end;
  RowHead* heads;
  bool* named;
};

void FillWindow(SegmentCheck* check, RowWindow* window, RowHead* page_heads) {
  std::memset(window->named, 0, window->end - window->first);
  for (uint64 row = window->first; row < window->end;) {
    const auto page = static_cast<uint32>(row / kHeadsPerPage);
    const auto slot = static_cast<uint32>(row % kHeadsPerPage);
    const uint32 count =
        ReadHeadPage(check->index, *check->directory, kHeadStream, page, kHeadsPerPage, nullptr, page_heads);
    const uint64 usable = Min(static_cast<uint64>(count), slot + (window->end - row));
    for (uint32 i = slot; i < usable; i++) window->heads[row - window->first + i - slot] = page_heads[i];
    if (usable < kHeadsPerPage) break;
    row += kHeadsPerPage - slot;
  }
}

void CheckTid(SegmentCheck* check, RowWindow* window, const graph::TidEntry& entry, uint64 offset) {
  const uint64 row = check->info->first_row + entry.Row();
  if (row < window->first || row >= window->end) return;
  const RowHead& head = window->heads[row - window->first];
  bool* named = window->named + (row - window->first);
  char text[160];
  if (*named) {
    (std::snprintf)(text, sizeof text, "row %llu is there twice", static_cast<unsigned long long>(row));
    SayOffset(check, offset, text);
  }
  *named = true;
  static_assert(sizeof entry.tid == sizeof head.tid, "both are the server's six bytes");
  if (std::memcmp(&entry.tid, &head.tid, sizeof head.tid) == 0) return;
  (std::snprintf)(text, sizeof text, "row %llu has another heap TID than its row head",
                  static_cast<unsigned long long>(row));
  SayOffset(check, offset, text);
}

void CheckTids(SegmentCheck* check, const graph::SegmentHeader& header, RowWindow* window) {
  constexpr uint64 kEntriesAtOnce = 512;
  graph::TidEntry entries[kEntriesAtOnce];
  BlobSource source(&check->reader);
  for (uint64 done = 0; done < header.rows && !check->recycled; done += kEntriesAtOnce) {
    const uint64 count = Min(header.rows - done, kEntriesAtOnce);
    const uint64 offset = header.tids_at + done * sizeof(graph::TidEntry);
    source.Read(offset, count * sizeof(graph::TidEntry), entries);
    for (uint64 i = 0; i < count; i++)
      CheckTid(check, window, entries[i], offset + i * sizeof(graph::TidEntry));
  }
}

/// Live rows that a graph can hold must be in it: they were alive when it was built.
void CheckMissing(SegmentCheck* check, const RowWindow& window, RowReader* rows) {
  uint64 missing = 0;
  uint64 first_missing = 0;
  for (uint64 row = window.first; row < window.end; row++) {
    const uint64 i = row - window.first;
    if (window.named[i] || (window.heads[i].flags & kTombstone) != 0) continue;
    const float* vector = ReadVector(rows, row);
    if (vector == nullptr || !vec::IsCodable(check->directory->metric, vector, check->directory->dimensions))
      continue;
    if (missing++ == 0) first_missing = row;
  }
  if (missing == 0) return;
  char text[160];
  (std::snprintf)(text, sizeof text, "%llu live rows of its range are missing, the first is %llu",
                  static_cast<unsigned long long>(missing), static_cast<unsigned long long>(first_missing));
  Say(check, InvalidBlockNumber, text);
}

/// Looks at the rows in windows that fit into maintenance_work_mem.
void CheckRows(SegmentCheck* check, const graph::SegmentHeader& header) {
  const SegmentInfo& info = *check->info;
  const uint64 most =
      Max(static_cast<uint64>(maintenance_work_mem) * 1024 / (sizeof(RowHead) + sizeof(bool)), uint64{1024});
  const uint64 room = Min(info.end_row - info.first_row, most);
  auto* page_heads = static_cast<RowHead*>(palloc(kHeadsPerPage * sizeof(RowHead)));
  RowWindow window = {};
  window.heads = static_cast<RowHead*>(MemoryContextAllocHuge(CurrentMemoryContext, room * sizeof(RowHead)));
  window.named = static_cast<bool*>(MemoryContextAllocHuge(CurrentMemoryContext, room * sizeof(bool)));
  RowReader rows;
  OpenRows(&rows, check->index, check->directory, check->manifest, NewRowScratch(*check->directory), nullptr);
  for (uint64 first = info.first_row; first < info.end_row && !check->recycled; first += room) {
    window.first = first;
    window.end = Min(first + room, info.end_row);
    FillWindow(check, &window, page_heads);
    CheckTids(check, header, &window);
    CheckMissing(check, window, &rows);
  }
  CloseRows(&rows);
}

/// Pages first: a graph of wrong bytes has nothing to tell.
void CheckSegment(SegmentCheck* check, uint64 rows) {
  const BlobRef& blob = check->blob;
  OpenBlob(&check->reader, check->index, check->manifest->incarnation, blob, nullptr);
  CheckBlobPages(check->index, check->manifest->incarnation, blob, SayPage, check);
  if (check->problems > 0 || check->recycled) return;
  if (blob.bytes < sizeof(graph::SegmentHeader)) {
    Say(check, InvalidBlockNumber, "it is shorter than its header");
    return;
  }
  graph::SegmentHeader header;
  BlobSource source(&check->reader);
  source.Read(0, sizeof header, &header);
  if (!CheckHeader(check, header)) return;
  auto* checker = pg::Own<graph::SegmentChecker>(CurrentMemoryContext);
  pg::Guard([&] { checker->Run(&source, blob.bytes, SayOffset, check); });
  if (check->info->end_row > rows) {
    char text[160];
    (std::snprintf)(text, sizeof text, "its row ids end at %llu, there are %llu rows",
                    static_cast<unsigned long long>(check->info->end_row),
                    static_cast<unsigned long long>(rows));
    Say(check, InvalidBlockNumber, text);
    return;
  }
  CheckRows(check, header);
  if (check->reader.stale) Say(check, InvalidBlockNumber, "it could not be read to its end");
}

/// False if a newer manifest took the place of this one on the way.
bool CheckSegments(Relation index, const DirectoryView& directory, const Manifest& manifest, uint64 rows,
                   const Reporter& report) {
  const MemoryContext scratch =
      AllocSetContextCreate(CurrentMemoryContext, "tandem verify segment", ALLOCSET_DEFAULT_SIZES);
  const MemoryContext old_context = MemoryContextSwitchTo(scratch);
  bool recycled = false;
  for (uint32 i = 0; i < manifest.segment_count && !recycled; i++) {
    const SegmentInfo& info = manifest.segments[i];
    SegmentCheck check = {index, &directory, &manifest, &info, manifest.BlobOf(info), {}, report, 0, false};
    CheckSegment(&check, rows);
    CloseBlob(&check.reader);
    recycled = check.recycled;
    MemoryContextReset(scratch);
  }
  MemoryContextSwitchTo(old_context);
  MemoryContextDelete(scratch);
  return !recycled;
}

}  // namespace

void VerifyManifest(Relation index, const IndexLayout& layout, const char* problem, const Reporter& report) {
  const ManifestRoot& root = layout.meta.root;
  if (layout.manifest == nullptr) report.Say(InvalidBlockNumber, "%s", problem);
  if (root.version == 0 || ExtentsOfPages(PagesOfBlob(root.bytes)) != root.extents) return;
  struct PageCheck {
    Relation index;
    const ManifestRoot* root;
    Reporter report;
  };
  PageCheck check = {index, &root, report};
  const auto say = [](void* state, BlockNumber block, const char* page_problem) {
    const auto* page = static_cast<const PageCheck*>(state);
    // One that another manifest has replaced may have been recycled, on a standby.
    if (HasManifest(page->index, *page->root)) page->report.Say(block, "manifest: %s", page_problem);
  };
  const BlobRef blob = {PageKind::kManifest, root.blob_id, root.bytes, root.first_block};
  CheckBlobPages(index, layout.meta.incarnation, blob, say, &check);
}

void VerifySegments(Relation index, const IndexLayout& layout, uint64 rows, const Reporter& report) {
  if (CheckSegments(index, *layout.directory, *layout.manifest, rows, report)) return;
  // Only on a standby. Where publications overtake every attempt, the last one has found nothing wrong.
  constexpr int kMoreAttempts = 4;
  for (int attempt = 0; attempt < kMoreAttempts; attempt++) {
    const char* problem = nullptr;
    const IndexLayout* newer = ReadLayoutAnyway(index, &problem);
    if (newer->manifest == nullptr) {
      report.Say(InvalidBlockNumber, "%s", problem);
      return;
    }
    const uint64 rows_now = CountRows(index, kHeadStream);
    if (CheckSegments(index, *newer->directory, *newer->manifest, rows_now, report)) return;
  }
}

}  // namespace tandem::storage
