// What there is to fold, and publications that bring no segment.

#include "pg/compat.hpp"

#include "storage/fold.hpp"

#include "graph/graph_builder.hpp"
#include "storage/head_range.hpp"
#include "storage/step_budget.hpp"

namespace tandem::storage {

struct SurveyJob {
  FoldSurvey survey;
  const DirectoryView* view;
  uint64 next_row;  ///< heads before it are read; row_bound: no more to read
  uint32 segment;   ///< the one that next_row lies in; segment_count: the tail
  uint64 alive;     ///< in it, so far
  RowHead* heads;   ///< scratch
};

namespace {

/// Segments partition [0, sealed_rows); the tail follows.
uint64 EndOfPart(const SurveyJob& job) {
  const FoldSurvey& survey = job.survey;
  return job.segment < survey.segment_count ? survey.manifest->segments[job.segment].end_row
                                            : survey.row_bound;
}

/// Rows that are alive but not codable are in no graph; where there are some, so many dead ones are not noticed.
void EndPart(SurveyJob* job) {
  FoldSurvey* survey = &job->survey;
  if (job->segment == survey->segment_count) {
    survey->tail_rows = job->alive;
  } else {
    policy::SegmentWeight* weight = &survey->segments[job->segment];
    weight->dead = weight->rows - Min(weight->rows, job->alive);
  }
  job->segment++;
  job->alive = 0;
}

/// Heads of one page, of one segment or of the tail.
void CountPage(SurveyJob* job, Relation index) {
  job->next_row = VisitPageOfHeads(index, *job->view, job->next_row, EndOfPart(*job), job->heads,
                                   [job](uint64 /*row*/, const RowHead& head) {
                                     if (IsAlive(head)) job->alive++;
                                   });
}

}  // namespace

SurveyJob* BeginSurvey(Relation index, bool count_dead) {
  auto* job = static_cast<SurveyJob*>(palloc0(sizeof(SurveyJob)));
  FoldSurvey* survey = &job->survey;
  survey->manifest = ReadManifest(index);
  survey->row_bound = CountRows(index, kHeadStream);
  job->view = CopyDirectory(DirectoryWith(index, survey->row_bound));
  survey->dimensions = job->view->dimensions;
  survey->column_dimensions = job->view->column_dimensions;
  survey->element = job->view->element;
  survey->metric = job->view->metric;
  survey->tail_rows = survey->row_bound - Min(survey->manifest->root.sealed_rows, survey->row_bound);
  survey->segment_count = survey->manifest->segment_count;
  survey->segments = static_cast<policy::SegmentWeight*>(
      palloc((survey->segment_count + 1) * sizeof(policy::SegmentWeight)));
  for (uint32 i = 0; i < survey->segment_count; i++) {
    const SegmentInfo& info = survey->manifest->segments[i];
    survey->segments[i] = {info.rows, 0, info.end_row - info.first_row, info.nodes};
  }
  job->next_row = count_dead ? 0 : survey->row_bound;
  job->segment = count_dead ? 0 : survey->segment_count + 1;
  job->heads = static_cast<RowHead*>(palloc(kHeadsPerPage * sizeof(RowHead)));
  return job;
}

SurveyStep StepSurvey(SurveyJob* job, Relation index, int budget_ms) {
  const StepBudget budget(budget_ms);
  MetaPage meta;
  ReadMeta(index, &meta);
  if (meta.incarnation != job->view->incarnation) return SurveyStep::kAbandoned;
  while (job->segment <= job->survey.segment_count) {
    if (job->next_row < EndOfPart(*job)) CountPage(job, index);
    if (job->next_row >= EndOfPart(*job)) EndPart(job);
    if (budget.IsSpent()) break;
  }
  return job->segment <= job->survey.segment_count ? SurveyStep::kContinue : SurveyStep::kDone;
}

const FoldSurvey& SurveyOf(const SurveyJob* job) {
  return job->survey;
}

uint64 RowsThatFit(const FoldSurvey& survey, const FoldOptions& options) {
  graph::GraphParameters shape = {survey.metric, survey.dimensions, options.m, options.ef_construction};
  shape.bits = vec::AreWalkedOnBits(survey.element, survey.column_dimensions, options.codec);
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

bool RecycleRetired(Relation index) {
  const MemoryContext scratch =
      AllocSetContextCreate(CurrentMemoryContext, "tandem recycle", ALLOCSET_DEFAULT_SIZES);
  const MemoryContext old_context = MemoryContextSwitchTo(scratch);
  const Manifest* manifest = ReadManifest(index);
  const bool has_recyclable = manifest->retired_count > 0 && HasRecyclable(index, *manifest);
  if (has_recyclable) PublishWithoutSegment(index, *manifest, 0, manifest->root.sealed_rows);
  MemoryContextSwitchTo(old_context);
  MemoryContextDelete(scratch);
  return has_recyclable;
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
