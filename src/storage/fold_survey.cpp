// What there is to fold, and publications that bring no segment.

#include "pg/compat.hpp"

#include "storage/fold.hpp"

#include "graph/graph_builder.hpp"
#include "storage/head_range.hpp"

namespace tandem::storage {

static uint64 CountAlive(Relation index, const DirectoryView& view, uint64 first, uint64 end) {
  uint64 alive = 0;
  VisitHeadRange(index, view, first, end, [&alive](uint64 /*row*/, const RowHead& head) {
    if (IsAlive(head)) alive++;
  });
  return alive;
}

FoldSurvey SurveyIndex(Relation index, bool count_dead) {
  FoldSurvey survey = {};
  survey.manifest = ReadManifest(index);
  survey.row_bound = CountRows(index, kHeadStream);
  const DirectoryView* view = CopyDirectory(DirectoryWith(index, survey.row_bound));
  survey.dimensions = view->dimensions;
  survey.metric = view->metric;
  const uint64 sealed_rows = survey.manifest->root.sealed_rows;
  survey.tail_rows = survey.row_bound - Min(sealed_rows, survey.row_bound);
  if (count_dead) survey.tail_rows = CountAlive(index, *view, sealed_rows, survey.row_bound);
  survey.segment_count = survey.manifest->segment_count;
  survey.segments =
      static_cast<policy::SegmentWeight*>(palloc((survey.segment_count + 1) * sizeof(policy::SegmentWeight)));
  for (uint32 i = 0; i < survey.segment_count; i++) {
    const SegmentInfo& info = survey.manifest->segments[i];
    policy::SegmentWeight weight = {info.rows, 0, info.end_row - info.first_row, info.nodes};
    if (count_dead) {
      // Rows that are alive but not codable are in no graph; where there are some, so many dead ones are not noticed.
      const uint64 alive = CountAlive(index, *view, info.first_row, info.end_row);
      weight.dead = info.rows - Min(info.rows, alive);
    }
    survey.segments[i] = weight;
  }
  return survey;
}

uint64 RowsThatFit(const FoldSurvey& survey, const FoldOptions& options) {
  const graph::GraphParameters shape = {survey.metric, survey.dimensions, options.m, options.ef_construction};
  return graph::RowsForBytes(shape, options.build_memory_bytes, options.threads);
}

/// Publishes a version that has no new segment; retires segments [0, retired).
static void PublishWithoutSegment(Relation index, const Manifest& manifest, uint32 retired,
                                  uint64 sealed_rows) {
  Publication publication = {};
  publication.expected_version = manifest.root.version;
  publication.replaced_end = retired;
  publication.sealed_rows = sealed_rows;
  // False if another builder was faster, which the builder lock rules out; then there is nothing to do either.
  (void)Publish(index, BeginBlobs(index), publication);
}

void RecycleRetired(Relation index) {
  const MemoryContext scratch =
      AllocSetContextCreate(CurrentMemoryContext, "tandem recycle", ALLOCSET_DEFAULT_SIZES);
  const MemoryContext old_context = MemoryContextSwitchTo(scratch);
  const Manifest* manifest = ReadManifest(index);
  if (manifest->retired_count > 0 && HasRecyclable(index, *manifest))
    PublishWithoutSegment(index, *manifest, 0, manifest->root.sealed_rows);
  MemoryContextSwitchTo(old_context);
  MemoryContextDelete(scratch);
}

void RetireSegments(Relation index) {
  const MemoryContext scratch =
      AllocSetContextCreate(CurrentMemoryContext, "tandem retire", ALLOCSET_DEFAULT_SIZES);
  const MemoryContext old_context = MemoryContextSwitchTo(scratch);
  const Manifest* manifest = ReadManifest(index);
  if (manifest->segment_count > 0) PublishWithoutSegment(index, *manifest, manifest->segment_count, 0);
  MemoryContextSwitchTo(old_context);
  MemoryContextDelete(scratch);
}

}  // namespace tandem::storage
