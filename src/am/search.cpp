// The router: which way a search goes.
//
//   sources   one stream of batches per segment, and the tail, by code and exactly (search_streams.cpp)
//   merge     the source with the nearest candidate delivers it; one whose batch is nearly used up gets its next one before the
//             merge goes on, so within what the graphs deliver rows come in order (search_merge.cpp)
//   re-rank   a batch comes ascending by code. A candidate's true distance is computed when the merge cannot go on without
//             it: when no nearer one is known than what the code allows this one to be
//   filter    segments are searched as their part of the filter wants it, beside an exact scan of few rows (filtered_search.cpp)
//   exact     the whole flat relation, behind the last row returned. A search begins so where that is cheaper, and turns
//             into it when its graphs are used up (rows that no graph reaches, NaN distances and NULL vectors are left),
//             get dearer than it, need more than work_mem, or have become unreadable
//
// The manifest is read first and the bound of the rows after it: what is sealed is then below the bound. Both are kept for
// the life of the search, so whatever is published, merged or retired meanwhile does not concern it: blocks of a retired
// segment are not used again while a snapshot can be older than its retirement, and on a standby, where nothing waits, a
// page tells that it was.

#include "pg/compat.hpp"

#include "am/search_state.hpp"

#include "pg/stop_point.hpp"
#include "pg/stopwatch.hpp"
#include "shmem/frame_pool.hpp"

extern "C" {
#include "utils/float.h"
}

namespace tandem::am {

namespace {

/// Two looks at the clock for each row are half a percent of a search in memory or more: where nobody asks for a report, one search
/// in eight pays for them, in no rhythm that queries could have, too; the first one always.
[[nodiscard]] bool IsToBeTimed() {
  constexpr uint32 kSpreadsBits = 0x9E3779B1;  // of the golden ratio
  static uint32 searches;
  return (searches++ * kSpreadsBits) >> 29 == 0 || active_reports != nullptr;
}

}  // namespace

// ---- Beginning and ending ----

/// What the previous start left: it is reported and let go.
static void FinishRun(Search* search) {
  if (!search->is_running) return;
  CountUnasked(search);
  CloseStreams(search);
  const storage::FlatScanView view = storage::ViewOf(search->flat);
  search->report.distances += view.distances;
  uint64 passed_over = view.passed_over;
  if (search->filtered != nullptr) {
    search->report.distances += search->filtered->scan.distances;
    passed_over += search->filtered->scan.passed_over;
    FinishFilteredRun(search);
  }
  // What an exact scan that resumed found nearer than the last row, and the merge had not had, came too late as well.
  search->report.late += passed_over;
  AddReport(search);
  CountForStatistics(*search);
  search->is_running = false;
}

Search* BeginSearch(Relation index) {
  auto* search = static_cast<Search*>(palloc0(sizeof(Search)));
  search->index = index;
  search->context = CurrentMemoryContext;
  search->graph_context =
      AllocSetContextCreate(CurrentMemoryContext, "tandem graphs", ALLOCSET_DEFAULT_SIZES);
  search->filter_context = AllocSetContextCreate(CurrentMemoryContext, "tandem filter", ALLOCSET_SMALL_SIZES);
  search->map_context =
      AllocSetContextCreate(CurrentMemoryContext, "tandem filter map", ALLOCSET_SMALL_SIZES);
  search->flat = storage::BeginFlatScan(index);
  search->mode = SearchMode::kDone;
  search->unfiltered = policy::Wanted{};
  search->later = policy::AskLater{};
  return search;
}

void SetSearchFilter(Search* search, const Filter* filter, uint64 wanted, const policy::AskLater& later) {
  FinishRun(search);
  search->mode = SearchMode::kDone;
  search->filter = filter;
  search->wanted = wanted;
  search->later = later;
  search->unasked_spent = 0.0;
  search->map = nullptr;
  MemoryContextReset(search->map_context);
}

void SetSearchWanted(Search* search, const policy::Wanted& wanted) {
  search->unfiltered = wanted;
}

void AwaitAcceptance(Search* search) {
  search->awaits_acceptance = true;
}

void SetSearchOperator(Search* search, const vec::ForeignOperator& foreign) {
  storage::SetFlatOperator(search->flat, foreign);
}

SearchReport FinishSearch(Search* search) {
  FinishRun(search);
  search->mode = SearchMode::kDone;
  return search->totals;
}

bool RowIsCertain(const Search* search) {
  return search->row_is_certain;
}

void EndSearch(Search* search) {
  FinishRun(search);
  storage::EndFlatScan(search->flat);
}

// ---- Starting ----

bool AlwaysByGraph() {
  return pg::IsSwitchedOn("always-graph");
}

uint32 PoolOf(Relation index) {
  const storage::DirectoryView& directory = storage::GetIndexCache(index)->directory;
  const auto asked = static_cast<uint32>(EfSearchOf(index));
  if (vec::IsSketched(directory.element, directory.column_dimensions)) return asked * policy::kSketchPool;
  return vec::IsJaccard(directory.metric, directory.element) ? asked * policy::kJaccardPool : asked;
}

uint32 EffectiveEf(Relation index, const storage::Manifest& manifest) {
  uint64 nodes = 0;
  uint64 rows = 0;
  for (uint32 i = 0; i < manifest.segment_count; i++) {
    nodes += manifest.segments[i].nodes;
    rows += manifest.segments[i].rows;
  }
  // Rows that were dead when their segment was built are not in it; the tail's dead are few.
  const uint64 absent = manifest.root.sealed_rows - Min(manifest.root.sealed_rows, rows);
  const uint64 dead = manifest.dead_rows - Min(manifest.dead_rows, absent);
  return policy::WidenedEf(PoolOf(index), nodes, rows, dead);
}

static policy::SearchSituation SituationOf(const Search& search, const storage::Manifest& manifest) {
  const storage::FlatScanView view = storage::ViewOf(search.flat);
  policy::SearchSituation situation;
  situation.rows = view.rows;
  situation.tail_rows = view.rows - Min(view.rows, manifest.root.sealed_rows);
  situation.segments = manifest.segment_count;
  const GraphCodes codes =
      GraphCodesOf(search.index, view.directory->element, view.directory->column_dimensions);
  situation.is_exact = codes.are_exact;
  situation.code_bytes = codes.bytes;
  situation.row_bytes = storage::ComparedRowBytes(*view.directory, view.rows);
  situation.re_ranks_all = IsSketched(search);
  if (manifest.segment_count > 0) situation.m = manifest.segments[0].m;
  situation.in_memory = shmem::FramesExist();
  situation.ef_search = policy::PoolFor(EffectiveEf(search.index, manifest), search.unfiltered);
  return situation;
}

/// Nodes that the search of a segment keeps first. all_rows: of all segments. Where nothing is known of distances by code, none has too
/// many of them.
static uint32 PoolOf(const Search& search, const storage::SegmentInfo& segment, uint64 all_rows) {
  // A walk of so few looks at all of them, whatever it keeps; what it does not keep would come late to who asks for more.
  constexpr uint64 kAllLookedAt = 4;
  if (segment.rows == all_rows || segment.rows <= kAllLookedAt * search.ef || !KnowsBounds(search))
    return search.ef;
  return policy::PoolOfSegment(search.ef, static_cast<double>(segment.rows) / static_cast<double>(all_rows));
}

/// Opens all segments; the tail is what the flat scan keeps. In graph_context.
static void StartGraphs(Search* search, const storage::Manifest& manifest, const float* query,
                        const policy::SearchSituation& situation) {
  PrepareStreams(search, manifest);
  search->ef = situation.ef_search;
  search->farthest = get_float8_infinity();
  uint64 all_rows = 0;
  for (uint32 i = 0; i < manifest.segment_count; i++) all_rows += manifest.segments[i].rows;
  for (uint32 i = 0; i < manifest.segment_count; i++) {
    search->stream_count = i + 1;
    GraphStream* stream = &search->streams[i];
    SegmentScan* scan = BeginSegmentScan(search->index, manifest, manifest.segments[i]);
    if (!OpenStream(search, scan, query, PoolOf(*search, manifest.segments[i], all_rows), stream)) {
      TurnExact(search);
      return;
    }
    AddToHandles(&search->handles, i, scan);
  }
  policy::SearchSituation sealed = situation;
  sealed.rows -= sealed.tail_rows;
  sealed.tail_rows = 0;
  search->batch_cost = policy::CostOfGraphSearch(sealed) / manifest.segment_count;
  search->exact_cost = AlwaysByGraph() ? get_float8_infinity() : policy::CostOfExactScan(situation);
  if (search->is_unasked) {
    search->spent = search->batch_cost * manifest.segment_count;
    search->exact_cost = search->later.cost;
  }
  search->has_tail =
      OpenTail(search, manifest, situation.ef_search, &search->streams[manifest.segment_count]);
  storage::FlatRange tail;
  tail.first_row = manifest.root.sealed_rows;
  tail.first_batch = Max(kTailBatch, static_cast<std::size_t>(situation.ef_search));
  storage::ScanFlatRange(search->flat, tail);
  search->mode = SearchMode::kGraph;
  search->report.graph_scans = 1;
  search->report.segments = manifest.segment_count;
  search->report.tail_rows = situation.tail_rows;
}

bool StartPlain(Search* search, const storage::Manifest& manifest, const float* query) {
  if (manifest.segment_count == 0) return false;
  const storage::DirectoryView& directory = *storage::ViewOf(search->flat).directory;
  const policy::SearchSituation situation = SituationOf(*search, manifest);
  // A zero vector under cosine is equally far from everything: no graph can say more.
  if (!vec::IsCodable(directory.metric, query, directory.dimensions) ||
      (!AlwaysByGraph() && policy::PrefersExactScan(situation)))
    return false;
  const MemoryContext old_context = MemoryContextSwitchTo(search->graph_context);
  StartGraphs(search, manifest, query, situation);
  MemoryContextSwitchTo(old_context);
  return true;
}

static void StartRun(Search* search, Snapshot snapshot, const float* query) {
  const Strategy strategy = StrategyOf(search->index);
  search->report = SearchReport{};
  search->report.index = RelationGetRelid(search->index);
  search->report.strategy = strategy;
  search->report.scans = 1;
  search->has_query = query != nullptr;
  search->query = query;
  search->is_unasked = false;
  search->row_is_certain = search->filter == nullptr;
  search->order = pg::CurrentSettings().iterative_scan;
  search->spent = 0;
  search->examined = 0;
  search->has_last = search->has_unaccepted = false;
  search->delivered = search->accepted = 0;
  search->returned.Start(search->context);
  if (search->filter != nullptr) {
    StartFilteredRun(search, snapshot, query, false);
    return;
  }

  const MemoryContext old_context = MemoryContextSwitchTo(search->graph_context);
  const storage::Manifest* manifest =
      query != nullptr && strategy != Strategy::kFlat && !pg::SnapshotsGetTooOld()
          ? storage::ReadManifest(search->index)
          : nullptr;
  pg::StopPoint("search-after-manifest");
  storage::StartFlatScan(search->flat, snapshot, query);
  pg::StopPoint("search-before-segments");
  search->is_running = true;
  search->mode = SearchMode::kExact;
  const bool has_graphs = manifest != nullptr && StartPlain(search, *manifest, query);
  if (!has_graphs) search->report.exact_scans = 1;
  MemoryContextSwitchTo(old_context);
}

void StartSearch(Search* search, Snapshot snapshot, const float* query) {
  // Ends the previous run, whose time it is until then.
  FinishRun(search);
  search->is_timed = IsToBeTimed();
  if (likely(!search->is_timed)) {
    StartRun(search, snapshot, query);
    return;
  }
  const pg::WallClock clock;
  StartRun(search, snapshot, query);
  clock.AddTo(&search->report.time);
}

// ---- The next row ----

void TurnExact(Search* search) {
  if (search->is_unasked) {
    TurnFiltered(search);
    return;
  }
  CloseStreams(search);
  if (search->filtered != nullptr) {
    // What graphs found that has no place in the order is in the whole set, too.
    search->filtered->unordered = nullptr;
    ScanWholeSet(search);
    return;
  }
  storage::FlatRange range;
  Resume(search, &range);
  storage::ScanFlatRange(search->flat, range);
  search->mode = SearchMode::kExact;
  search->report.exact_scans = 1;
}

void EndMerge(Search* search) {
  if (search->filtered != nullptr && search->report.cut == 0) {
    ScanRest(search);
    return;
  }
  if (MayTurnExact(*search)) {
    TurnExact(search);
    return;
  }
  if (search->order != pg::IterativeScan::kOff) search->report.cut = 1;
  search->mode = SearchMode::kDone;
}

/// Without a filter, which a search that began so may get meanwhile.
static bool NextPlainRow(Search* search, storage::ScanRow* row) {
  if (LiesElsewhere(*search)) TurnFiltered(search);
  if (search->filtered == nullptr && search->mode == SearchMode::kGraph) {
    if (NextMerged(search, row)) return true;
    if (search->filtered == nullptr && search->mode == SearchMode::kGraph) EndMerge(search);
  }
  return search->filtered == nullptr && search->mode == SearchMode::kExact &&
         storage::NextFlatRow(search->flat, row);
}

static bool NextRow(Search* search, storage::ScanRow* row) {
  search->has_unaccepted = false;
  if (search->filtered == nullptr && NextPlainRow(search, row)) return true;
  if (search->filtered == nullptr) return false;
  const bool found = NextFilteredRow(search, row);
  search->filtered->returned += found ? 1 : 0;
  return found;
}

bool NextSearchRow(Search* search, storage::ScanRow* row) {
  if (likely(!search->is_timed)) return NextRow(search, row);
  const pg::WallClock clock;
  const bool found = NextRow(search, row);
  clock.AddTo(&search->report.time);
  return found;
}

}  // namespace tandem::am
