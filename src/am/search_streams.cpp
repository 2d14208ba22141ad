// The sources of a search: one stream of batches per segment, and the tail by code. Opening them, their batches, what they have
// cost, letting go of them.

#include "pg/compat.hpp"

#include "am/search_state.hpp"

#include "pg/guard.hpp"
#include "pg/stop_point.hpp"

extern "C" {
#include "utils/float.h"
}

namespace tandem::am {

namespace {

// Vectors that are asked for ahead of re-ranking: what a core can have under way, and is likely to need.
constexpr std::size_t kAheadBytes = 6144;
constexpr std::size_t kLeastAhead = 2;
// Nodes of a batch: who needs more of them at once is soon better off with an exact scan.
constexpr uint32 kLargestPool = 16'384;

/// What a source does when its batch is used up.
enum class Tactic : unsigned char {
  kNextBatch,
  kExact,  ///< the rest of the search
  kCut,    ///< nothing: max_scan_tuples is reached
};

}  // namespace

// ---- Batches ----

/// Memory for `rows` more candidates. False if the batch would outgrow work_mem: a node can stand for any number of rows.
static bool ReserveBatch(Search* search, GraphStream* stream, std::size_t rows) {
  const std::size_t wanted = stream->batch_size + rows;
  if (wanted <= stream->batch_room) return true;
  if (wanted > Max(storage::LargestBatch(), storage::kFirstBatch)) return false;
  stream->batch_room = Max(wanted, 2 * stream->batch_room);
  const Size bytes = stream->batch_room * sizeof(policy::Candidate);
  stream->batch = static_cast<policy::Candidate*>(stream->batch == nullptr
                                                      ? MemoryContextAllocHuge(search->graph_context, bytes)
                                                      : repalloc_huge(stream->batch, bytes));
  return true;
}

bool CollectRows(Search* search, GraphStream* stream, base::Span<const graph::FoundNode> nodes) {
  SegmentReader& reader = stream->scan->reader;
  for (const graph::FoundNode& found : nodes) reader.AskForRows(found.node);
  const std::size_t first = stream->batch_size;
  // Nodes come by key, then by number, which is mostly the order of their rows. But nodes of several rows may have lower bounds than
  // others of the same key; and where keys are the distances, rows that are equally far are wanted in their order.
  policy::Candidate latest = {policy::OrderedKey{}, base::RowId{0}};
  bool is_ascending = true;
  for (const graph::FoundNode& found : nodes) {
    const auto rows = reader.RowsOf(found.node);
    const bool is_shared = rows.end - rows.first > 1;
    const policy::OrderedKey bound = stream->BoundOfKey(found.key, is_shared);
    if (!ReserveBatch(search, stream, rows.end - rows.first)) return false;
    for (uint32 i = rows.first; i < rows.end; i++) {
      const base::RowId row = reader.RowAt(i);
      if (stream->part != nullptr && !stream->part->Admits(row)) continue;
      const policy::Candidate candidate = {bound, row};
      is_ascending = is_ascending && !(candidate < latest);
      latest = stream->batch[stream->batch_size++] = candidate;
    }
  }
  if (!is_ascending) std::sort(stream->batch + first, stream->batch + stream->batch_size);
  return true;
}

// ---- When graphs are of no use any more ----

std::size_t GraphMemory(const Search& search) {
  std::size_t bytes = 0;
  for (uint32 i = 0; i < SourceCount(search); i++) {
    const GraphStream& stream = search.streams[i];
    if (stream.scan != nullptr) bytes += stream.scan->search->MemoryBytes();
    bytes += stream.batch_room * sizeof(policy::Candidate);
  }
  return bytes;
}

bool ExactPassFits(const Search& search) {
  const auto limit = static_cast<uint64>(pg::CurrentSettings().max_scan_tuples);
  const uint64 rows = search.filtered != nullptr ? search.filtered->rows : storage::ViewOf(search.flat).rows;
  return limit == 0 || search.examined + rows <= limit;
}

bool GrewTooLarge(const Search& search) {
  const std::size_t graphs = GraphMemory(search);
  const std::size_t memory = graphs - Min(graphs, search.first_memory) + search.returned.bytes();
  return memory > static_cast<std::size_t>(work_mem) * 1024;
}

/// How a search goes on that wants more than its first batches.
///
/// Graphs until they have cost as much as an exact pass, then that pass: never more than twice what the better choice would
/// have cost, without knowing how many rows will be asked for (the ski-rental rule: Karlin, Manasse, Rudolph and Sleator
/// 1988). max_scan_tuples allows an exact pass only where it still has room for all rows; where it does not, it also bounds
/// the memory.
static Tactic NextTactic(const Search& search) {
  const auto limit = static_cast<uint64>(pg::CurrentSettings().max_scan_tuples);
  if ((GrewTooLarge(search) || search.spent >= search.exact_cost) && ExactPassFits(search))
    return Tactic::kExact;
  if (limit != 0 && search.examined >= limit) return Tactic::kCut;
  return Tactic::kNextBatch;
}

// ---- Graphs ----

/// Rows that were found and not delivered yet stay: those whose distance is known where they are, the others behind them.
static void KeepUndelivered(GraphStream* stream) {
  std::copy(stream->batch + stream->rough, stream->batch + stream->batch_size, stream->batch + stream->ready);
  stream->batch_size = stream->Left();
  stream->rough = stream->asked = stream->ready;
}

/// Walks the graphs of streams [first, first + count) by turns, each for its next batch, which may turn out to have no row, and
/// collects the rows. False if graphs are of no use any more.
static bool WalkGraphs(Search* search, uint32 first, uint32 count) {
  const GraphHandles& handles = search->handles;
  EnterSegments(handles.scans + first, count);
  pg::Guard([&] { graph::NextBatches(handles.searches + first, handles.readers + first, count); });
  bool is_usable = true;
  for (GraphStream* stream = &search->streams[first]; stream != &search->streams[first + count]; stream++) {
    const auto nodes = stream->scan->search->batch();
    stream->started = true;
    stream->ended = nodes.empty();
    stream->found += nodes.size();
    KeepUndelivered(stream);
    const std::size_t kept = stream->batch_size;
    is_usable = is_usable && CollectRows(search, stream, nodes) && !stream->scan->reader.stale();
    if (kept > stream->rough) std::sort(stream->batch + stream->rough, stream->batch + stream->batch_size);
  }
  search->report.chunks_loaded += LeaveSegments(handles.scans + first, count);
  return is_usable;
}

/// Its next batch is as large as all before it, which costs as much again.
static void Widen(GraphStream* stream) {
  SegmentSearch* graph = stream->scan->search;
  const auto nodes = static_cast<uint32>(Min(stream->found, static_cast<std::size_t>(kLargestPool)));
  pg::Guard([&] { graph->SetBatch(Max(nodes, graph->ef())); });
}

/// Of the stream's next batch.
static double BatchCost(const Search& search, const GraphStream& stream) {
  return search.batch_cost * stream.scan->search->ef() / search.ef;
}

/// Gets the stream's next rows, or its end. False if graphs are of no use any more.
static bool FetchBatch(Search* search, GraphStream* stream) {
  KeepUndelivered(stream);
  const std::size_t kept = stream->batch_size;
  while (stream->batch_size == kept && !stream->ended) {
    CHECK_FOR_INTERRUPTS();
    if (!WalkGraphs(search, static_cast<uint32>(stream - search->streams), 1)) return false;
    // Nodes whose rows are all dead: the walk goes on, at its price.
    if (stream->batch_size > kept || stream->ended) continue;
    search->spent += BatchCost(*search, *stream);
    if (search->order != pg::IterativeScan::kOff && NextTactic(*search) == Tactic::kExact) return false;
  }
  return true;
}

bool RefillStream(Search* search, GraphStream* stream) {
  if (stream->filtered != nullptr) return RefillFiltered(search, stream);
  if (search->order == pg::IterativeScan::kOff) {
    stream->ended = true;
    return true;
  }
  const Tactic tactic = NextTactic(*search);
  if (tactic == Tactic::kCut) {
    search->report.cut = 1;
    stream->ended = true;
    return true;
  }
  if (tactic == Tactic::kExact) {
    TurnExact(search);
    return false;
  }
  if (LiesFartherOff(*search)) Widen(stream);
  search->spent += BatchCost(*search, *stream);
  const std::size_t kept = stream->Left();
  if (!FetchBatch(search, stream)) {
    TurnExact(search);
    return false;
  }
  search->examined += stream->batch_size - kept;
  return true;
}

// ---- The tail ----

/// How far the rows of the tail that are worth keeping are at the most, by code: about as far as what the graphs found, unless that is
/// little. Nobody knows how many rows will be asked for; those who ask for more than `ef_search` pay for another pass.
static float TailLimit(const Search& search, const GraphStream& tail) {
  const bool is_known = search.ef >= kTailBatch / 4 && std::isfinite(search.farthest);
  return is_known ? tail.query.KeyOfBound(search.farthest) : get_float4_infinity();
}

bool FetchTail(Search* search, GraphStream* stream, float limit) {
  const std::size_t first = stream->batch_size;
  if (!ReserveBatch(search, stream, 2 * stream->keep)) return false;
  policy::TopCandidates top(stream->batch + first, stream->keep);
  const bool left_out = stream->tail->Pass(limit, &top);
  stream->batch_size = first + top.Finish();
  stream->tail->Take(stream->batch + first, stream->batch_size - first);
  stream->has_fence = left_out || top.overflowed();
  if (top.overflowed())
    stream->fence = stream->batch[stream->batch_size - 1];
  else if (left_out)
    stream->fence = {policy::ToOrderedKey(static_cast<double>(limit)), base::RowId{~uint64{0}}};
  for (std::size_t i = first; i < stream->batch_size; i++)
    stream->batch[i].key = stream->BoundOf(stream->batch[i]);
  stream->keep = stream->keep * storage::kBatchGrowth;
  return true;
}

/// The tail's first rows by code; the flat scan has those that have none.
static bool StartTail(Search* search) {
  if (!search->has_tail) return true;
  GraphStream* tail = &search->streams[search->stream_count];
  if (!FetchTail(search, tail, TailLimit(*search, *tail))) return false;
  storage::FlatRange rest;
  rest.is_listed = true;
  rest.ranges = tail->tail->ExactRows();
  rest.first_batch = Max(kTailBatch, tail->ef);
  storage::ScanFlatRange(search->flat, rest);
  return true;
}

// ---- Opening and closing ----

static void* PallocAligned(std::size_t bytes) {
  return reinterpret_cast<void*>(TYPEALIGN(PG_CACHE_LINE_SIZE, palloc(bytes + PG_CACHE_LINE_SIZE)));
}

bool OpenStream(Search* search, SegmentScan* scan, const float* query, uint32 ef, GraphStream* stream) {
  stream->scan = scan;
  if (scan == nullptr) return false;  // it cannot be read any more
  const storage::SegmentHead& head = stream->scan->cached->head;
  vec::WalkCodec codec = head.codec;
  if (pg::IsSwitchedOn("no-bound-error")) codec.error = 0.0F;
  const storage::DirectoryView& directory = *storage::ViewOf(search->flat).directory;
  // What is known of sketches does not bound rows: all that a graph finds is re-ranked, and the tail is compared exactly.
  if (!KnowsBounds(*search)) codec.error = codec.shared_error = get_float4_infinity();
  if (pg::IsSwitchedOn("re-rank-all")) codec.error = get_float4_infinity();
  void* scratch = PallocAligned(vec::WalkQuery::ScratchBytes(head.header.dimensions));
  stream->query = vec::WalkQuery(codec, query, scratch);
  if (vec::IsJaccard(directory.metric, directory.element)) stream->query.BoundJaccard();
  stream->is_exact = stream->query.IsExact() && !storage::ViewOf(search->flat).distance->IsForeign();
  pg::Guard([&] { stream->scan->search->Start(&head.header, stream->query, ef); });
  stream->counters_before = stream->scan->search->counters();
  stream->ef = ef;
  return ReserveBatch(search, stream, ef);
}

bool OpenTail(Search* search, const storage::Manifest& manifest, uint32 ef, GraphStream* stream) {
  const GraphStream& newest = search->streams[manifest.segment_count - 1];
  const storage::FlatScanView view = storage::ViewOf(search->flat);
  stream->query = newest.query;
  stream->is_exact = newest.is_exact;
  TailSearch tail = {search->index,  &manifest, view.directory, newest.scan->cached,
                     &stream->query, nullptr,   view.rows};
  if (pg::IsSwitchedOn("no-tail-codes") || !KnowsBounds(*search) || !TailScan::IsPossible(tail)) return false;
  if (!FindCentre(newest.scan, &tail)) return false;
  stream->tail = static_cast<TailScan*>(palloc(sizeof(TailScan)));
  stream->tail->Open(tail);
  stream->ef = ef;
  stream->keep = Max(kTailBatch, static_cast<std::size_t>(ef));
  stream->ended = true;  // its fence tells whether there is more
  return true;
}

void PrepareStreams(Search* search, const storage::Manifest& manifest) {
  const storage::FlatScanView view = storage::ViewOf(search->flat);
  ForgetOtherSegments(manifest);
  storage::ReserveRecentBuffers(search->index, storage::VectorPagesOf(*view.directory, view.rows));
  storage::OpenRows(&search->vectors, search->index, view.directory, &manifest,
                    storage::NewRowScratch(*view.directory), nullptr);
  search->vectors.read_ahead = false;
  search->vectors_ahead =
      Max(kAheadBytes / storage::AverageRowBytes(*view.directory, view.rows), kLeastAhead);
  search->streams = static_cast<GraphStream*>(palloc0((manifest.segment_count + 1) * sizeof(GraphStream)));
  GraphHandles& handles = search->handles;
  handles.scans = static_cast<SegmentScan**>(palloc(manifest.segment_count * sizeof(SegmentScan*)));
  handles.searches = static_cast<SegmentSearch**>(palloc(manifest.segment_count * sizeof(SegmentSearch*)));
  handles.readers = static_cast<SegmentReader**>(palloc(manifest.segment_count * sizeof(SegmentReader*)));
}

void AddToHandles(GraphHandles* handles, uint32 i, SegmentScan* scan) {
  handles->scans[i] = scan;
  handles->searches[i] = scan->search;
  handles->readers[i] = &scan->reader;
}

/// Adds how far the nodes of the latest batch are, by code.
static void AddEstimates(const GraphStream& stream, double* estimates, uint32* count) {
  for (const graph::FoundNode& node : stream.scan->search->batch()) {
    const double estimate = stream.query.Estimate(node.key);
    estimates[(*count)++] = std::isnan(estimate) ? get_float8_infinity() : estimate;
  }
}

/// The search->ef-th nearest of them; infinity if they are fewer.
static double FarthestWanted(const Search& search, double* estimates, uint32 count) {
  if (count < search.ef) return get_float8_infinity();
  double* last = estimates + search.ef - 1;
  std::nth_element(estimates, last, estimates + count);
  return *last;
}

/// True if what comes next of a segment may be among what is wanted of all.
static bool HoldsMore(const Search& search, const GraphStream& stream) {
  const auto nodes = stream.scan->search->batch();
  return !stream.ended && !nodes.empty() && stream.found < search.ef &&
         stream.query.Estimate(nodes[nodes.size() - 1].key) < search.farthest;
}

/// First batches have what segments hold of the nearest rows if these lie by chance. A segment that holds more, as the newest one may
/// where queries are for what is new, goes on until it has delivered something that is farther than what is wanted, or as much as if
/// it were alone. False if graphs are of no use any more.
static bool LevelSegments(Search* search) {
  if (!KnowsBounds(*search) || (search->stream_count == 1 && !search->has_tail)) return true;
  // Of a segment as many as are wanted, and a batch less one.
  const Size room = search->stream_count * 2 * std::size_t{search->ef};
  auto* estimates =
      static_cast<double*>(MemoryContextAllocHuge(search->graph_context, room * sizeof(double)));
  uint32 count = 0;
  for (uint32 i = 0; i < search->stream_count; i++) AddEstimates(search->streams[i], estimates, &count);
  bool is_usable = true;
  for (bool more = true; more && is_usable;) {
    more = false;
    search->farthest = FarthestWanted(*search, estimates, count);
    for (uint32 i = 0; i < search->stream_count && search->stream_count > 1 && is_usable; i++) {
      GraphStream* stream = &search->streams[i];
      if (!HoldsMore(*search, *stream)) continue;
      is_usable = WalkGraphs(search, i, 1);
      AddEstimates(*stream, estimates, &count);
      more = true;
    }
  }
  pfree(estimates);
  // Who wants more than that gets batches as of one graph: of a few nodes at a time each would cost a selection among all that are left.
  if (search->stream_count > 1)
    pg::Guard([search] {
      for (uint32 i = 0; i < search->stream_count; i++) search->streams[i].scan->search->SetBatch(search->ef);
    });
  return is_usable;
}

bool StartStreams(Search* search) {
  bool is_usable =
      search->filtered != nullptr ? WalkByTurns(search) : WalkGraphs(search, 0, search->stream_count);
  if (is_usable && search->filtered == nullptr) is_usable = LevelSegments(search);
  for (uint32 i = 0; i < search->stream_count && is_usable; i++) {
    GraphStream* stream = &search->streams[i];
    if (stream->batch_size > 0 || stream->ended) continue;
    is_usable = stream->filtered != nullptr ? FetchFiltered(search, stream) : FetchBatch(search, stream);
  }
  is_usable = is_usable && StartTail(search);
  if (!is_usable) {
    TurnExact(search);
    return false;
  }
  search->first_memory = GraphMemory(*search);
  return true;
}

void CloseStreams(Search* search) {
  storage::CloseRows(&search->vectors);
  for (uint32 i = 0; i < SourceCount(*search); i++) {
    const GraphStream& stream = search->streams[i];
    if (stream.tail != nullptr) {
      search->report.tail_codes += stream.tail->coded_rows();
      search->report.tail_codes_made += stream.tail->made();
      search->report.tail_codes_passed += stream.tail->passed_over();
      search->report.distances += stream.tail->compared();
    }
    if (stream.scan == nullptr) continue;
    const graph::SearchCounters& counters = stream.scan->search->counters();
    search->report.distances += counters.distances - stream.counters_before.distances;
    search->report.codes_from_pages += counters.paged - stream.counters_before.paged;
    search->report.lists += counters.expanded + counters.bridges - stream.counters_before.expanded -
                            stream.counters_before.bridges;
    search->report.lists_from_pages += counters.lists_paged - stream.counters_before.lists_paged;
  }
  search->stream_count = 0;
  search->has_tail = false;
  MemoryContextReset(search->graph_context);
}

}  // namespace tandem::am
