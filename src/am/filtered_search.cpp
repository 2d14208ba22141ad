// What only a search by a filter does: finding what the filter admits in each segment, choosing how each of them is searched, their
// batches, and the rows that are left when graphs have ended.

#include "pg/compat.hpp"

#include "am/search_state.hpp"

#include "pg/guard.hpp"
#include "pg/heap_tid.hpp"
#include "pg/own.hpp"
#include "pg/stop_point.hpp"
#include "shmem/frame_pool.hpp"

namespace tandem::am {

namespace {

// Neighbours that are wanted and new: with so many a filtered walk crosses no bridges. Fewer cost less, but lose more than a
// larger pool would cost where a filter has nothing near the query (README.md has the figures).
constexpr uint32 kEnoughNeighbours = 16;

}  // namespace

// ---- What the filter admits ----

/// Opens the i-th segment, if it was not yet. False if it cannot be read any more.
static bool OpenScan(Search* search, uint32 i) {
  FilteredRows* filtered = search->filtered;
  if (filtered->scans[i] != nullptr) return true;
  const MemoryContext old_context = MemoryContextSwitchTo(search->graph_context);
  filtered->scans[i] = BeginSegmentScan(search->index, *filtered->manifest, filtered->manifest->segments[i]);
  MemoryContextSwitchTo(old_context);
  return filtered->scans[i] != nullptr;
}

static SegmentScan* OpenForFilter(void* arg, uint32 i) {
  auto* search = static_cast<Search*>(arg);
  return OpenScan(search, i) ? search->filtered->scans[i] : nullptr;
}

static void EnterMap(Search* search) {
  const storage::Manifest& manifest = *search->filtered->manifest;
  const storage::FlatScanView flat = storage::ViewOf(search->flat);
  FilterView view;
  view.index = search->index;
  view.manifest = &manifest;
  view.directory =
      storage::CopyDirectory(*flat.directory);  // a flat scan may get another one for rows without a vector
  view.snapshot = search->snapshot;
  view.sealed_rows = manifest.segment_count > 0 ? manifest.root.sealed_rows : 0;
  view.rows = flat.rows;
  view.open_segment = OpenForFilter;
  view.arg = search;
  EnterFilterMap(search->map, view);
}

/// Finds what the filter admits in each segment and behind them.
static void MapFilter(Search* search) {
  FilteredRows* filtered = search->filtered;
  for (uint32 i = 0; i < filtered->manifest->segment_count; i++) {
    filtered->of_segment[i] = MapSegmentRows(search->map, i);
    filtered->rows += filtered->of_segment[i]->rows.size();
  }
  filtered->tail = MapTailRows(search->map);
  filtered->rows += filtered->tail->rows.size();
  search->report.filter_rows = filtered->rows;
  KeepFilterSets(search->map);
}

// ---- Starting ----

/// What the policy has to know of a segment.
static policy::FilterSituation SituationOf(const Search& search, const storage::SegmentInfo& segment,
                                           const FilterPart& part) {
  policy::FilterSituation situation;
  situation.rows = segment.rows;
  situation.admitted = part.rows.size();
  const storage::FlatScanView view = storage::ViewOf(search.flat);
  const GraphCodes codes =
      GraphCodesOf(search.index, view.directory->element, view.directory->column_dimensions);
  situation.is_exact = codes.are_exact;
  situation.code_bytes = codes.bytes;
  situation.row_bytes = storage::ComparedRowBytes(*view.directory, view.rows);
  situation.m = segment.m;
  situation.ef_search = EffectiveEf(search.index, *search.filtered->manifest);
  // What is near by sketch is a pool to choose from, however few rows are wanted.
  situation.wanted = IsSketched(search) ? 0 : search.wanted;
  situation.in_memory = shmem::FramesExist();
  situation.has_bounds = KnowsBounds(search);
  return situation;
}

static void CountTactic(SearchReport* report, policy::FilterTactic tactic) {
  switch (tactic) {
    case policy::FilterTactic::kVectors:
      break;  // counted when the scan starts
    case policy::FilterTactic::kCodes:
      report->by_codes++;
      break;
    case policy::FilterTactic::kWalk:
      report->by_walk++;
      break;
    case policy::FilterTactic::kStream:
      report->by_stream++;
      break;
  }
}

/// Adds the i-th segment to the streams, or, if that is cheaper or it cannot be read, to what is scanned exactly.
static void AddSegment(Search* search, uint32 i, const float* query) {
  FilteredRows* filtered = search->filtered;
  FilterPart* part = filtered->of_segment[i];
  const policy::FilterSituation situation = SituationOf(*search, filtered->manifest->segments[i], *part);
  const policy::FilterTactic tactic = policy::ChooseTactic(situation);
  if (part->rows.empty()) return;
  if (part->kind != PartKind::kGraph || tactic == policy::FilterTactic::kVectors || !OpenScan(search, i)) {
    filtered->exact[filtered->exact_count++] = part;
    return;
  }
  CountTactic(&search->report, tactic);
  const MemoryContext old_context = MemoryContextSwitchTo(search->graph_context);
  GraphStream* stream = &search->streams[search->stream_count++];
  stream->part = part;
  stream->filtered = static_cast<FilteredStream*>(palloc0(sizeof(FilteredStream)));
  stream->filtered->segment = i;
  stream->filtered->situation = situation;
  stream->filtered->tactic = tactic;
  static_cast<void>(
      OpenStream(search, filtered->scans[i], query, policy::EfOfTactic(tactic, situation), stream));
  MemoryContextSwitchTo(old_context);
}

static void CountExactParts(Search* search) {
  for (uint32 i = 0; i < search->filtered->exact_count; i++)
    search->report.by_vectors += search->filtered->exact[i]->rows.empty() ? 0 : 1;
}

/// Chooses how each segment is searched; the rows behind them are scanned exactly. In filter_context.
static void StartFilteredGraphs(Search* search, const float* query) {
  FilteredRows* filtered = search->filtered;
  const storage::Manifest& manifest = *filtered->manifest;
  const MemoryContext old_context = MemoryContextSwitchTo(search->graph_context);
  PrepareStreams(search, manifest);
  MemoryContextSwitchTo(old_context);
  for (uint32 i = 0; i < manifest.segment_count; i++) AddSegment(search, i, query);
  filtered->exact[filtered->exact_count++] = filtered->tail;
  SetRange range;
  range.parts = {filtered->exact, filtered->exact_count};
  StartSetScan(&filtered->scan, range);
  CountExactParts(search);
  // What searches mark nodes with is theirs from the start, whatever they find.
  search->first_memory = GraphMemory(*search);
  search->mode = SearchMode::kGraph;
  search->report.graph_scans = 1;
  search->report.segments = search->stream_count;
}

/// Room for what the filter admits in each segment, what is missing there, and behind them. In filter_context.
static void AllocateParts(FilteredRows* filtered) {
  const uint32 segments = filtered->manifest->segment_count;
  filtered->scans = static_cast<SegmentScan**>(palloc0((segments + 1) * sizeof(SegmentScan*)));
  filtered->of_segment = static_cast<FilterPart**>(palloc0((segments + 1) * sizeof(FilterPart*)));
  filtered->exact = static_cast<const FilterPart**>(palloc0((2 * segments + 1) * sizeof(FilterPart*)));
}

/// Starts a search by a filter and an order. In filter_context.
static void StartFiltered(Search* search, const float* query) {
  FilteredRows* filtered = search->filtered;
  AllocateParts(filtered);
  MapFilter(search);
  const storage::FlatScanView view = storage::ViewOf(search->flat);
  OpenSetScan(&filtered->scan, search->index, view, filtered->manifest, search->snapshot);
  const uint32 dimensions = view.directory->dimensions;
  if (!AlwaysByGraph() &&
      (filtered->rows <= policy::LargestExactSet(storage::ComparedRowBytes(*view.directory, view.rows)) ||
       !vec::IsCodable(view.directory->metric, query, dimensions))) {
    ScanWholeSet(search);
    CountExactParts(search);
  } else {
    StartFilteredGraphs(search, query);
  }
}

/// Adds what no graph has of what the filter admits. In filter_context.
static void AddRests(Search* search) {
  FilteredRows* filtered = search->filtered;
  for (uint32 i = 0; i < filtered->manifest->segment_count; i++) {
    const storage::SegmentInfo& segment = filtered->manifest->segments[i];
    const FilterPart& part = *filtered->of_segment[i];
    if (part.kind != PartKind::kGraph || segment.rows == segment.end_row - segment.first_row) continue;
    filtered->exact[filtered->exact_count++] = MapRestRows(search->map, i);
  }
}

/// Of those that are scanned.
static void WalkNextPart(FilteredRows* filtered) {
  filtered->walked = filtered->exact[filtered->next_exact++];
  filtered->walk = base::OrdinalWalk(&filtered->walked->rows);
}

/// Starts a search by a filter alone. In filter_context.
static void StartUnordered(Search* search) {
  FilteredRows* filtered = search->filtered;
  AllocateParts(filtered);
  MapFilter(search);
  for (uint32 i = 0; i < filtered->manifest->segment_count; i++)
    filtered->exact[filtered->exact_count++] = filtered->of_segment[i];
  AddRests(search);
  filtered->exact[filtered->exact_count++] = filtered->tail;
  WalkNextPart(filtered);
  filtered->is_certain = KnowsRows(search->map);
  search->mode = SearchMode::kRows;
}

static void BeginMap(Search* search) {
  if (search->map != nullptr) return;
  const MemoryContext old_context = MemoryContextSwitchTo(search->map_context);
  search->map = BeginFilterMap(search->filter);
  MemoryContextSwitchTo(old_context);
}

// ---- Beginning without the filter ----

namespace {

/// Searches that began so and had a filter that can be kept: what they have cost. As soon as those of this session have cost as much as
/// asking would, it is asked (the ski-rental rule, as in search_streams.cpp).
struct Unasked {
  uint64 hash;
  double spent;
};
constexpr uint32 kUnasked = 64;
Unasked unasked[kUnasked];

}  // namespace

/// Where searches by this filter count what they spend without it.
static double* SpentUnasked(Search* search) {
  const uint64 hash = HashOf(search->map);
  if (hash == 0) return &search->unasked_spent;
  Unasked* filter = &unasked[hash % kUnasked];
  if (filter->hash != hash) *filter = {hash, 0.0};
  return &filter->spent;
}

/// Starts without the filter, if that is worth trying. The filter is asked when that turns out to be dear (TurnExact()), or when so few
/// rows fulfil the conditions that those who do must lie elsewhere. In filter_context.
static bool BeginPlain(Search* search, const float* query) {
  const bool may_be_worth_it = search->later.cost > 0.0 && search->awaits_acceptance && query != nullptr &&
                               search->order != pg::IterativeScan::kRelaxedOrder &&
                               pg::CurrentSettings().max_scan_tuples == 0;
  if (!may_be_worth_it || IsFilterKnown(search->map)) return false;
  if (*SpentUnasked(search) >= search->later.budget) return false;
  FilteredRows* filtered = search->filtered;
  search->unfiltered = {search->later.found_per_row, search->later.rows};
  search->filtered = nullptr;
  search->is_unasked = true;
  if (StartPlain(search, *filtered->manifest, query)) return true;
  search->filtered = filtered;
  search->is_unasked = false;
  return false;
}

void CountUnasked(Search* search) {
  if (search->is_unasked) *SpentUnasked(search) += search->spent;
}

void TurnFiltered(Search* search) {
  CountUnasked(search);
  search->report.by_stream += search->stream_count;
  CloseStreams(search);
  search->report.distances += storage::ViewOf(search->flat).distances;
  search->is_unasked = false;
  // What the search has had, accepted or not, is not met again.
  static_cast<void>(search->returned.Settle());
  StartFilteredRun(search, search->snapshot, search->query, true);
}

void FinishFilteredRun(Search* search) {
  KeepFilterSets(search->map);
  const FilterCounts& counts = CountsOf(search->map);
  const FilterCounts& before = search->filtered->counts_before;
  search->report.filter_hits = counts.hits - before.hits;
  search->report.filter_evaluated = counts.evaluated - before.evaluated;
  search->report.filter_tids = counts.tids - before.tids;
  search->report.filter_mapped = counts.mapped - before.mapped;
  search->filtered = nullptr;
}

void StartFilteredRun(Search* search, Snapshot snapshot, const float* query, bool asks) {
  // All rows of the filter come, whatever they cost: `off` is about rows that nobody has asked for by name.
  if (search->order == pg::IterativeScan::kOff) search->order = pg::IterativeScan::kStrictOrder;
  MemoryContextReset(search->filter_context);
  const MemoryContext old_context = MemoryContextSwitchTo(search->filter_context);
  search->filtered = static_cast<FilteredRows*>(palloc0(sizeof(FilteredRows)));
  search->snapshot = snapshot;
  storage::Manifest* manifest = storage::ReadManifest(search->index);
  if (search->report.strategy == Strategy::kFlat || pg::SnapshotsGetTooOld()) manifest->segment_count = 0;
  search->filtered->manifest = manifest;
  pg::StopPoint("search-after-manifest");
  storage::StartFlatScan(search->flat, snapshot, query);
  pg::StopPoint("search-before-segments");
  search->is_running = true;
  search->mode = SearchMode::kExact;
  BeginMap(search);
  search->filtered->counts_before = CountsOf(search->map);
  EnterMap(search);
  if (asks || !BeginPlain(search, query)) {
    search->report.filtered = 1;
    if (query != nullptr)
      StartFiltered(search, query);
    else
      StartUnordered(search);
    if (search->report.graph_scans == 0) search->report.exact_scans = 1;
  }
  MemoryContextSwitchTo(old_context);
}

// ---- Batches ----

/// True if all admitted nodes of the stream's segment may be compared at once.
static bool ScoresFit(const GraphStream& stream) {
  return stream.part->rows.size() * sizeof(uint64) <= static_cast<std::size_t>(work_mem) * 1024;
}

/// Makes what the stream's tactic needs. False if the segment cannot be read.
static bool PrepareTactic(Search* search, const GraphStream& stream) {
  FilteredStream* filtered = stream.filtered;
  if (filtered->tactic == policy::FilterTactic::kStream) return true;
  if (!MapSegmentNodes(search->map, filtered->segment, stream.scan, &search->report.chunks_loaded))
    return false;
  SegmentSearch* graph = stream.scan->search;
  pg::Guard([&] {
    if (filtered->tactic == policy::FilterTactic::kWalk && !stream.started) {
      stream.part->nodes.ToBitmap();
      graph->SetFilter({&stream.part->nodes, kEnoughNeighbours, policy::WidestWalk(filtered->situation)});
    }
    if (filtered->tactic == policy::FilterTactic::kCodes && !filtered->scored)
      graph->ScoreNodes(&stream.scan->reader, stream.part->nodes);
  });
  filtered->scored = filtered->tactic == policy::FilterTactic::kCodes;
  return true;
}

/// Of the batch that the stream had last.
static double BatchCost(const GraphStream& stream) {
  const FilteredStream& filtered = *stream.filtered;
  const double cost = policy::CostOfTactic(filtered.tactic, filtered.situation);
  if (filtered.tactic != policy::FilterTactic::kStream) return cost;
  return cost * stream.scan->search->ef() / policy::EfOfTactic(filtered.tactic, filtered.situation);
}

/// Gets the stream's next nodes, which may have no row that is wanted. False if graphs are of no use any more.
static bool StepStream(Search* search, GraphStream* stream) {
  FilteredStream* filtered = stream->filtered;
  SegmentSearch* graph = stream->scan->search;
  SegmentReader* reader = &stream->scan->reader;
  if (!PrepareTactic(search, *stream)) return false;
  const bool is_first = !stream->started;
  const bool has_walked = filtered->has_walked;
  filtered->has_walked = false;
  stream->started = true;
  const auto nodes = pg::Guard([&]() -> base::Span<const graph::FoundNode> {
    switch (filtered->tactic) {
      case policy::FilterTactic::kWalk:
        return has_walked ? graph->batch() : graph->NextFilteredBatch(reader);
      case policy::FilterTactic::kStream:
        return graph->NextBatch(reader);
      case policy::FilterTactic::kCodes:
      case policy::FilterTactic::kVectors:
        break;
    }
    return graph->NextScoredBatch();
  });
  if (!CollectRows(search, stream, nodes) || reader->stale()) return false;
  stream->found += nodes.size();
  filtered->spent += BatchCost(*stream);
  if (filtered->scored) {
    stream->ended = nodes.empty();
    stream->has_fence = !nodes.empty();
    if (stream->has_fence)
      stream->fence = {policy::ToOrderedKey(static_cast<double>(nodes[nodes.size() - 1].key)),
                       base::RowId{0}};
  } else if (nodes.empty()) {
    filtered->tactic = policy::FilterTactic::kCodes;
  } else if (is_first && filtered->tactic == policy::FilterTactic::kStream &&
             !policy::LiesNear(nodes.size(), stream->batch_size, filtered->situation)) {
    // Nothing was returned yet: the other walk finds its way better to where the wanted nodes are.
    filtered->tactic = policy::FilterTactic::kWalk;
    stream->started = false;
    stream->batch_size = stream->found = 0;
    pg::Guard([&] {
      graph->Start(&stream->scan->cached->head.header, stream->query,
                   policy::EfOfTactic(filtered->tactic, filtered->situation));
    });
  }
  return true;
}

bool WalkByTurns(Search* search) {
  const GraphHandles& walks = search->handles;
  GraphStream* const end = search->streams + search->stream_count;
  uint32 count = 0;
  for (GraphStream* stream = search->streams; stream != end; stream++)
    if (stream->filtered->tactic == policy::FilterTactic::kWalk)
      AddToHandles(&search->handles, count++, stream->scan);
  if (count < 2) return true;
  for (GraphStream* stream = search->streams; stream != end; stream++) {
    if (stream->filtered->tactic != policy::FilterTactic::kWalk) continue;
    // By themselves: while nodes are looked for, shared memory is let go of now and then.
    EnterSegments(&stream->scan, 1);
    const bool is_prepared = PrepareTactic(search, *stream);
    search->report.chunks_loaded += LeaveSegments(&stream->scan, 1);
    if (!is_prepared) return false;
    stream->started = stream->filtered->has_walked = true;
  }
  EnterSegments(walks.scans, count);
  pg::Guard([&] { graph::NextFilteredBatches(walks.searches, walks.readers, count); });
  search->report.chunks_loaded += LeaveSegments(walks.scans, count);
  return true;
}

/// True if the stream needs another batch before rows are returned. `first`: of this fetch, which is the first one of all. A plain walk
/// then goes on until it has admitted as many as it was to: fewer nodes are admitted near one query than near another.
static bool NeedsBatch(const GraphStream& stream, bool is_first) {
  const std::size_t rows = stream.batch_size - stream.rough;
  if (stream.ended) return false;
  const FilteredStream& filtered = *stream.filtered;
  if (!is_first || rows == 0 || filtered.tactic != policy::FilterTactic::kStream) return rows == 0;
  // What comes next are codes of the rest, behind a fence that these rows may lie beyond.
  if (filtered.spent >= policy::CostOfAll(filtered.situation)) return false;
  const uint32 nodes = policy::NodesUntilEnough(stream.found, rows, filtered.situation);
  if (nodes > 0) pg::Guard([&] { stream.scan->search->SetBatch(nodes); });
  return nodes > 0;
}

bool FetchFiltered(Search* search, GraphStream* stream) {
  FilteredStream* filtered = stream->filtered;
  // Rows whose distance is known stay where they are.
  stream->batch_size = stream->rough = stream->asked = stream->ready;
  const bool is_first = !stream->started;
  while (NeedsBatch(*stream, is_first)) {
    CHECK_FOR_INTERRUPTS();
    if (filtered->spent >= policy::CostOfAll(filtered->situation))
      filtered->tactic = policy::FilterTactic::kCodes;
    // Where codes are on pages, vectors are nearer.
    if (filtered->tactic == policy::FilterTactic::kCodes && !filtered->scored &&
        (!ScoresFit(*stream) || policy::PrefersVectors(filtered->situation)))
      return false;
    EnterSegments(&stream->scan, 1);
    const bool is_usable = StepStream(search, stream);
    search->report.chunks_loaded += LeaveSegments(&stream->scan, 1);
    if (!is_usable || GrewTooLarge(*search)) return false;
  }
  // Of several batches.
  std::sort(stream->batch + stream->rough, stream->batch + stream->batch_size);
  return true;
}

bool RefillFiltered(Search* search, GraphStream* stream) {
  const auto limit = static_cast<uint64>(pg::CurrentSettings().max_scan_tuples);
  if (limit != 0 && search->examined >= limit) {
    search->report.cut = 1;
    stream->ended = true;
    stream->has_fence = false;
    return true;
  }
  if (policy::IsWorthScoring(stream->filtered->tactic, stream->filtered->situation))
    stream->filtered->tactic = policy::FilterTactic::kCodes;
  if (stream->filtered->tactic == policy::FilterTactic::kStream)
    pg::Guard([&] {
      stream->scan->search->SetBatch(
          policy::EfOfTactic(policy::FilterTactic::kStream, stream->filtered->situation));
    });
  if (!FetchFiltered(search, stream)) {
    TurnExact(search);
    return false;
  }
  search->examined += stream->batch_size - stream->ready;
  return true;
}

// ---- Exact scans ----

void KeepUnordered(Search* search, base::RowId row) {
  FilteredRows* filtered = search->filtered;
  if (filtered->unordered == nullptr) {
    const uint64 rows = storage::ViewOf(search->flat).rows;
    filtered->unordered = pg::Own<FilterPart>(search->filter_context);
    filtered->unordered->end_row = rows;
    filtered->unordered->rows = base::OrdinalSet(static_cast<uint32>(rows));
  }
  pg::Guard([&] { filtered->unordered->rows.Add(static_cast<uint32>(base::ToIndex(row))); });
}

void ScanWholeSet(Search* search) {
  FilteredRows* filtered = search->filtered;
  filtered->exact_count = 0;
  for (uint32 i = 0; i < filtered->manifest->segment_count; i++)
    filtered->exact[filtered->exact_count++] = filtered->of_segment[i];
  filtered->exact[filtered->exact_count++] = filtered->tail;
  SetRange range;
  range.parts = {filtered->exact, filtered->exact_count};
  Resume(search, &range);
  StartSetScan(&filtered->scan, range);
  search->mode = SearchMode::kSet;
  search->report.exact_scans = 1;
}

void ScanRest(Search* search) {
  FilteredRows* filtered = search->filtered;
  CloseStreams(search);
  filtered->is_rest = true;
  filtered->exact_count = 0;
  AddRests(search);
  if (filtered->unordered != nullptr) {
    pg::Guard([&] { filtered->unordered->rows.Freeze(); });
    filtered->exact[filtered->exact_count++] = filtered->unordered;
  }
  SetRange range;
  range.parts = {filtered->exact, filtered->exact_count};
  // A search that began without its filter may have returned some of them: from the tail, since folded.
  range.excluded = search->returned.settled();
  StartSetScan(&filtered->scan, range);
  search->mode = SearchMode::kSet;
}

/// Rows without a vector are what a flat scan of no others ends with.
static void ScanNulls(Search* search) {
  storage::FlatRange range;
  range.first_row = storage::ViewOf(search->flat).rows;
  storage::ScanFlatRange(search->flat, range);
  search->mode = SearchMode::kExact;
  // If they are few, a filter that was not asked yet is not asked for them: conditions are checked anyway.
  const uint64 rows = storage::CountRows(search->index, storage::kNullHeadStream);
  search->filtered->admits_nulls =
      OnlyTidsOf(search->map) == nullptr && policy::FewUnsettledRows(rows, search->filtered->rows);
}

// ---- The next row ----

static bool NextSetRow(Search* search, storage::ScanRow* row) {
  policy::Candidate candidate;
  while (PeekSetCandidate(&search->filtered->scan, &candidate)) {
    TakeSetCandidate(&search->filtered->scan);
    if (ReturnRow(search, candidate, row)) return true;
  }
  return false;
}

/// Without an order: in that of the index.
static bool NextUnordered(Search* search, storage::ScanRow* row) {
  FilteredRows* filtered = search->filtered;
  for (;;) {
    uint32 ordinal;
    while (filtered->walk.Next(&ordinal)) {
      const policy::Candidate candidate = {policy::ToOrderedKey(0.0),
                                           base::RowId{filtered->walked->first_row + ordinal}};
      if (!storage::ReadFlatRow(search->flat, candidate, row)) continue;
      row->is_null = true;
      // Behind the segments there are rows that nobody was asked about.
      search->row_is_certain = filtered->is_certain && filtered->walked->segment != kNoSegment;
      return true;
    }
    if (filtered->next_exact == filtered->exact_count) return false;
    WalkNextPart(filtered);
  }
}

/// True if every TID of the filter has been returned: a TID has one row that is not dead at the most.
static bool HasReturnedAll(const Search& search) {
  const base::TidSet* tids = OnlyTidsOf(search.map);
  return tids != nullptr && search.filtered->returned >= tids->size();
}

bool NextFilteredRow(Search* search, storage::ScanRow* row) {
  if (HasReturnedAll(*search)) search->mode = SearchMode::kDone;
  if (search->mode == SearchMode::kGraph) {
    if (NextMerged(search, row)) return true;
    if (search->mode == SearchMode::kGraph) EndMerge(search);
  }
  if (search->mode == SearchMode::kRows) {
    if (NextUnordered(search, row)) return true;
    search->row_is_certain = false;
    if (HasReturnedAll(*search)) return false;
    ScanNulls(search);
  }
  while (search->mode == SearchMode::kSet) {
    if (NextSetRow(search, row)) return true;
    if (HasReturnedAll(*search)) return false;
    if (search->filtered->is_rest)
      ScanNulls(search);
    else
      ScanRest(search);
  }
  if (search->mode != SearchMode::kExact) return false;
  while (storage::NextFlatRow(search->flat, row))
    if (search->filtered->admits_nulls || FilterAdmits(search->map, pg::ToHeapTid(row->tid))) return true;
  return false;
}

}  // namespace tandem::am
