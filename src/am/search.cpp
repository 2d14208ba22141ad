// The router: which way a search goes, and the merging of its sources.
//
//   sources   one stream of batches per segment, and the tail, scanned exactly
//   merge     the source with the nearest candidate delivers it; one whose batch is used up gets its next batch before the
//             merge goes on, so within what the graphs deliver rows come in order
//   re-rank   a batch comes ascending by code. A candidate's true distance is computed when the merge cannot go on without
//             it: when no nearer one is known than what the code allows this one to be
//   exact     the whole flat relation, behind the last row returned. A search begins so where that is cheaper, and turns
//             into it when its graphs are used up (rows that no graph reaches, NaN distances and NULL vectors are left),
//             get dearer than it, need more than work_mem, or have become unreadable
//
// The manifest is read first and the bound of the rows after it: what is sealed is then below the bound. Both are kept for
// the life of the search, so whatever is published, merged or retired meanwhile does not concern it: blocks of a retired
// segment are not used again while a snapshot can be older than its retirement, and on a standby, where nothing waits, a
// page tells that it was.

#include "pg/compat.hpp"

#include "am/search.hpp"

#include <algorithm>

#include "am/row_filter.hpp"
#include "am/set_scan.hpp"
#include "am/tail_scan.hpp"
#include "pg/guard.hpp"
#include "pg/heap_tid.hpp"
#include "pg/own.hpp"
#include "pg/settings.hpp"
#include "pg/stop_point.hpp"
#include "policy/filter_policy.hpp"
#include "policy/search_policy.hpp"
#include "shmem/frame_pool.hpp"
#include "storage/row_access.hpp"
#include "vec/walk_query.hpp"

extern "C" {
#include "utils/float.h"
}

namespace tandem::am {

namespace {

enum class Mode : unsigned char {
  kGraph,  ///< graphs and, beside them, an exact scan: of the tail, or of rows that a filter admits
  kSet,    ///< an exact scan of rows that a filter admits
  kExact,  ///< a flat scan
  kDone,
};

// Rows that the tail's first pass keeps, if ef_search is no more: selecting and sorting 1,024 of 10,000 rows, as a scan of
// everything does, would take a twentieth of the time of computing their distances at 768 dimensions.
constexpr std::size_t kTailBatch = 128;

// Vectors that are asked for ahead of re-ranking: what a core can have under way, and is likely to need.
constexpr std::size_t kAheadBytes = 6144;
constexpr std::size_t kLeastAhead = 2;

// Neighbours that are wanted and new: with so many a filtered walk crosses no bridges. Fewer cost less, but lose more than a
// larger pool would cost where a filter has nothing near the query (README.md has the figures).
constexpr uint32 kEnoughNeighbours = 16;

/// What a source does when its batch is used up.
enum class Tactic : unsigned char {
  kNextBatch,
  kExact,  ///< the rest of the search
  kCut,    ///< nothing: max_scan_tuples is reached
};

/// How a filtered search goes about a segment.
struct FilteredStream {
  policy::FilterSituation situation;
  policy::FilterTactic tactic;  ///< kCodes in the end: what the walks did not find
  bool scored;                  ///< all admitted nodes were compared: batches are of what is left of them
  double spent;                 ///< in the policy's units
};

/// One segment as a source, or the tail by code. Its batch holds, in this order: a heap of the `ready` rows whose true distance
/// is known and that were not delivered yet, the nearest on top; unused places; from `rough` on rows ascending by the lower
/// bound of their distance, which is their key. A graph's batch is all that is known of it: what follows may be nearer. The tail's is
/// followed by a fence: no row of the tail that is not in the batch is nearer. So is that of a segment whose admitted nodes were
/// all compared.
struct GraphStream {
  SegmentScan* scan;         ///< nullptr: the tail
  TailScan* tail;            ///< nullptr: a segment
  FilterPart* part;          ///< what of the segment may be returned; nullptr: everything
  FilteredStream* filtered;  ///< with `part`
  vec::WalkQuery query;
  graph::SearchCounters counters_before;  ///< the search's when it was lent to us
  policy::Candidate* batch;
  std::size_t batch_room;
  std::size_t batch_size;
  std::size_t ready;
  std::size_t rough;
  std::size_t asked;  ///< rows before it were asked for in memory
  bool started;       ///< had its first batch
  bool ended;
  std::size_t ef;
  bool has_fence;
  policy::Candidate fence;  ///< the last one that was looked at, by the key of its code
  std::size_t keep;         ///< the tail's next pass keeps so many

  [[nodiscard]] bool IsUsedUp() const { return ready == 0 && rough == batch_size; }
  [[nodiscard]] bool HasRough() const { return rough < batch_size || has_fence; }
  /// What it may have next is no nearer.
  [[nodiscard]] policy::OrderedKey NearestRough() const {
    return rough < batch_size ? batch[rough].key : BoundOf(fence);
  }
  [[nodiscard]] policy::OrderedKey BoundOf(const policy::Candidate& by_code) const {
    const auto key = static_cast<float>(policy::FromOrderedKey(by_code.key));
    // Who may be a node of several rows.
    const bool may_share = scan != nullptr && scan->cached->head.header.row_starts_at != 0;
    return policy::ToOrderedKey(may_share ? query.SharedLowerBound(key) : query.LowerBound(key));
  }
};

/// What the streams are made of, in the form in which several are walked together.
struct GraphHandles {
  SegmentScan** scans;
  SegmentSearch** searches;
  SegmentReader** readers;
};

/// Row ids that were returned and that an exact pass may meet again: in relaxed order all of them, in strict order those
/// at the distance of the last one.
struct ReturnedRows {
  uint64* ids;
  std::size_t room;
  std::size_t size;
};

/// What a filtered search looks at, beside what every search does. In filter_context but for what is said otherwise.
struct FilteredRows {
  const storage::Manifest* manifest;
  SegmentScan** scans;       ///< in graph_context: of each of the manifest's, nullptr where none was opened
  FilterPart** of_segment;   ///< of each of them
  FilterPart* tail;          ///< of the rows behind them
  const FilterPart** exact;  ///< those that are scanned exactly
  uint32 exact_count;
  SetScan scan;           ///< of them
  uint64 rows;            ///< of all parts
  uint64 returned;        ///< by this run
  bool is_rest;           ///< the scan is for what no graph has
  FilterPart* unordered;  ///< rows with a NaN distance that graphs found; nullptr if none
};

SearchReports* active_reports = nullptr;

}  // namespace

struct Search {
  Relation index;
  MemoryContext context;
  MemoryContext graph_context;  ///< everything below that a start makes anew
  storage::FlatScan* flat;
  const base::TidSet* filter;    ///< nullptr: none
  MemoryContext filter_context;  ///< reset by every filtered start
  MemoryContext parts_context;   ///< of `parts`
  FilterParts* parts;            ///< made of `filter`; nullptr: none yet
  FilteredRows* filtered;        ///< nullptr: no filter, or not started
  Snapshot snapshot;             ///< of a filtered search
  Mode mode;
  pg::IterativeScan order;

  GraphStream* streams;
  uint32 stream_count;
  bool has_tail;  ///< behind these streams is the tail's: it is looked at by code
  GraphHandles handles;
  storage::RowReader vectors;  ///< for re-ranking
  std::size_t vectors_ahead;   ///< so many are asked for before one is compared
  double batch_cost;           ///< of one batch of one segment, in the policy's units
  double exact_cost;
  double spent;              ///< on batches after the first
  uint64 examined;           ///< rows of these batches
  std::size_t first_memory;  ///< of the graph searches after their first batches

  bool has_last;
  policy::OrderedKey last_key;  ///< of the farthest row returned by the merge
  ReturnedRows returned;

  bool is_running;  ///< started, and not reported yet
  SearchReport report;
};

// ---- Reports ----

SearchReports* CollectSearchReports(SearchReports* reports) {
  SearchReports* previous = active_reports;
  active_reports = reports;
  return previous;
}

/// Nobody who asks for no report pays for the clock.
class Stopwatch {
 public:
  Stopwatch() { INSTR_TIME_SET_CURRENT(start_); }
  void AddTo(SearchReport* report) const {
    instr_time now;
    INSTR_TIME_SET_CURRENT(now);
    INSTR_TIME_ACCUM_DIFF(report->time, now, start_);
  }

 private:
  instr_time start_;
};

static SearchReport* ReportOf(const Search& search) {
  SearchReport** link = &active_reports->first;
  while (*link != nullptr && (*link)->index != search.report.index) link = &(*link)->next;
  if (*link == nullptr) {
    *link = static_cast<SearchReport*>(MemoryContextAllocZero(active_reports->context, sizeof(SearchReport)));
    (*link)->index = search.report.index;
    (*link)->strategy = search.report.strategy;
  }
  return *link;
}

static void AddReport(Search* search) {
  SearchReport* sum = ReportOf(*search);
  const SearchReport& one = search->report;
  sum->scans += one.scans;
  sum->graph_scans += one.graph_scans;
  sum->exact_scans += one.exact_scans;
  sum->segments += one.segments;
  sum->tail_rows += one.tail_rows;
  sum->tail_codes += one.tail_codes;
  sum->tail_codes_made += one.tail_codes_made;
  sum->distances += one.distances;
  sum->codes_from_pages += one.codes_from_pages;
  sum->chunks_loaded += one.chunks_loaded;
  sum->re_ranked += one.re_ranked;
  sum->late += one.late;
  sum->cut += one.cut;
  sum->filtered += one.filtered;
  sum->filter_tids += one.filter_tids;
  sum->filter_rows += one.filter_rows;
  sum->filter_mapped += one.filter_mapped;
  sum->by_vectors += one.by_vectors;
  sum->by_codes += one.by_codes;
  sum->by_walk += one.by_walk;
  sum->by_stream += one.by_stream;
  INSTR_TIME_ADD(sum->time, one.time);
}

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

/// Adds the rows at `nodes` to the batch.
static bool CollectRows(Search* search, GraphStream* stream, base::Span<const graph::FoundNode> nodes) {
  SegmentReader& reader = stream->scan->reader;
  for (const graph::FoundNode& found : nodes) reader.AskForRows(found.node);
  const std::size_t first = stream->batch_size;
  policy::OrderedKey latest{};
  bool is_ascending = true;  // but where nodes of several rows have lower bounds than others of the same key
  for (const graph::FoundNode& found : nodes) {
    const auto rows = reader.RowsOf(found.node);
    const bool is_shared = rows.end - rows.first > 1;
    const policy::OrderedKey bound = policy::ToOrderedKey(
        is_shared ? stream->query.SharedLowerBound(found.key) : stream->query.LowerBound(found.key));
    if (!ReserveBatch(search, stream, rows.end - rows.first)) return false;
    for (uint32 i = rows.first; i < rows.end; i++) {
      const base::RowId row = reader.RowAt(i);
      if (stream->part != nullptr && !stream->part->Admits(row)) continue;
      stream->batch[stream->batch_size++] = {bound, row};
    }
    is_ascending = is_ascending && !(bound < latest);
    latest = bound;
  }
  if (!is_ascending) std::sort(stream->batch + first, stream->batch + stream->batch_size);
  return true;
}

/// Of a heap whose top is the nearest.
static bool IsFarther(const policy::Candidate& a, const policy::Candidate& b) {
  return b < a;
}

/// Remembers a row that a filtered search returns last.
static void KeepUnordered(Search* search, base::RowId row) {
  FilteredRows* filtered = search->filtered;
  if (filtered->unordered == nullptr) {
    const uint64 rows = storage::ViewOf(search->flat).rows;
    filtered->unordered = pg::Own<FilterPart>(search->filter_context);
    filtered->unordered->end_row = rows;
    filtered->unordered->rows = base::OrdinalSet(static_cast<uint32>(rows));
  }
  pg::Guard([&] { filtered->unordered->rows.Add(static_cast<uint32>(base::ToIndex(row))); });
}

/// Computes the true distance of the stream's next row. Dead rows are dropped when they are returned, like all others:
/// looking at heads before it is known whose are wanted would cost more than some distances for nothing.
static void ReRankNext(Search* search, GraphStream* stream) {
  // Vectors lie anywhere: several are on their way while one is compared.
  const std::size_t ahead = Min(stream->rough + search->vectors_ahead, stream->batch_size);
  for (stream->asked = Max(stream->asked, stream->rough); stream->asked < ahead; stream->asked++)
    storage::PrefetchRow(search->vectors, base::ToIndex(stream->batch[stream->asked].row));
  const base::RowId row = stream->batch[stream->rough++].row;
  const float* vector = storage::ReadVector(&search->vectors, base::ToIndex(row));
  if (unlikely(vector == nullptr)) return;  // dead to everybody
  const double key = storage::ViewOf(search->flat).distance->Key(vector);
  search->report.re_ranked++;
  // NaN sorts behind all rows of all sources: only an exact scan knows where that is. The tail's rows all come anyway.
  if (unlikely(std::isnan(key)) && stream->tail == nullptr) {
    if (search->filtered != nullptr) KeepUnordered(search, row);
    return;
  }
  stream->batch[stream->ready++] = {policy::ToOrderedKey(key), row};
  std::push_heap(stream->batch, stream->batch + stream->ready, IsFarther);
  storage::PrefetchRowHead(search->index, base::ToIndex(row));
}

// ---- Turning exact ----

/// Streams of graphs and, if it is one, the tail's.
static uint32 SourceCount(const Search& search) {
  return search.stream_count + (search.has_tail ? 1 : 0);
}

/// Lets go of the segments.
static void CloseStreams(Search* search) {
  storage::CloseRows(&search->vectors);
  for (uint32 i = 0; i < SourceCount(*search); i++) {
    const GraphStream& stream = search->streams[i];
    if (stream.tail != nullptr) {
      search->report.tail_codes += stream.tail->coded_rows();
      search->report.tail_codes_made += stream.tail->made();
      search->report.distances += stream.tail->compared();
    }
    if (stream.scan == nullptr) continue;
    const graph::SearchCounters& counters = stream.scan->search->counters();
    search->report.distances += counters.distances - stream.counters_before.distances;
    search->report.codes_from_pages += counters.paged - stream.counters_before.paged;
  }
  search->stream_count = 0;
  search->has_tail = false;
  MemoryContextReset(search->graph_context);
}

/// Sorts before every row at `key` and after all closer ones. Keys are never 0: that would be below minus infinity.
static policy::Candidate JustBefore(policy::OrderedKey key) {
  return {policy::OrderedKey{static_cast<uint64>(key) - 1}, base::RowId{~uint64{0}}};
}

/// What comes after the rows returned so far: FlatRange or SetRange.
template <typename Range>
static void Resume(Search* search, Range* range) {
  ReturnedRows& returned = search->returned;
  std::sort(returned.ids, returned.ids + returned.size);
  range->excluded = {returned.ids, returned.size};
  if (search->order == pg::IterativeScan::kRelaxedOrder || !search->has_last) return;
  range->resumed = true;
  range->after = JustBefore(search->last_key);
}

/// All rows that the filter admits, by an exact scan.
static void ScanWholeSet(Search* search) {
  FilteredRows* filtered = search->filtered;
  filtered->exact_count = 0;
  for (uint32 i = 0; i < filtered->manifest->segment_count; i++)
    filtered->exact[filtered->exact_count++] = filtered->of_segment[i];
  filtered->exact[filtered->exact_count++] = filtered->tail;
  SetRange range;
  range.parts = {filtered->exact, filtered->exact_count};
  Resume(search, &range);
  StartSetScan(&filtered->scan, range);
  search->mode = Mode::kSet;
  search->report.exact_scans = 1;
}

static void TurnExact(Search* search) {
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
  search->mode = Mode::kExact;
  search->report.exact_scans = 1;
}

static std::size_t GraphMemory(const Search& search) {
  std::size_t bytes = 0;
  for (uint32 i = 0; i < SourceCount(search); i++) {
    const GraphStream& stream = search.streams[i];
    if (stream.scan != nullptr) bytes += stream.scan->search->MemoryBytes();
    bytes += stream.batch_room * sizeof(policy::Candidate);
  }
  return bytes;
}

/// True if max_scan_tuples has room for a pass over all rows.
static bool ExactPassFits(const Search& search) {
  const auto limit = static_cast<uint64>(pg::CurrentSettings().max_scan_tuples);
  const uint64 rows = search.filtered != nullptr ? search.filtered->rows : storage::ViewOf(search.flat).rows;
  return limit == 0 || search.examined + rows <= limit;
}

/// True if what a search has remembered since its first batches is more than work_mem.
static bool GrewTooLarge(const Search& search) {
  const std::size_t graphs = GraphMemory(search);
  const std::size_t memory =
      graphs - Min(graphs, search.first_memory) + search.returned.size * sizeof(uint64);
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

// ---- Merging ----

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
    stream->batch_size = stream->ready = stream->rough = stream->asked = 0;
    is_usable = is_usable && CollectRows(search, stream, nodes) && !stream->scan->reader.stale();
  }
  search->report.chunks_loaded += LeaveSegments(handles.scans + first, count);
  return is_usable;
}

/// Gets the stream's next rows, or its end. False if graphs are of no use any more.
static bool FetchBatch(Search* search, GraphStream* stream) {
  stream->batch_size = 0;
  while (stream->batch_size == 0 && !stream->ended) {
    CHECK_FOR_INTERRUPTS();
    if (!WalkGraphs(search, static_cast<uint32>(stream - search->streams), 1)) return false;
    // Nodes whose rows are all dead: the walk goes on, at its price.
    if (stream->batch_size > 0 || stream->ended) continue;
    search->spent += search->batch_cost;
    if (search->order != pg::IterativeScan::kOff && NextTactic(*search) == Tactic::kExact) return false;
  }
  return true;
}

/// Gets the next batch of a stream whose batch is used up. False: the search is exact from here on.
static bool RefillFiltered(Search* search, GraphStream* stream);

static bool RefillStream(Search* search, GraphStream* stream) {
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
  search->spent += search->batch_cost;
  if (!FetchBatch(search, stream)) {
    TurnExact(search);
    return false;
  }
  search->examined += stream->batch_size;
  return true;
}

// ---- Batches by a filter ----

/// True if all admitted nodes of the stream's segment may be compared at once.
static bool ScoresFit(const GraphStream& stream) {
  return stream.part->rows.size() * sizeof(uint64) <= static_cast<std::size_t>(work_mem) * 1024;
}

/// Makes what the stream's tactic needs. False if the segment cannot be read.
static bool PrepareTactic(Search* search, const GraphStream& stream) {
  FilteredStream* filtered = stream.filtered;
  if (filtered->tactic == policy::FilterTactic::kStream) return true;
  if (!MapNodes(stream.part, stream.scan, &search->report.chunks_loaded)) return false;
  SegmentSearch* graph = stream.scan->search;
  pg::Guard([&] {
    if (filtered->tactic == policy::FilterTactic::kWalk && !stream.started) {
      stream.part->nodes.ToBitmap();
      graph->SetFilter({&stream.part->nodes, kEnoughNeighbours});
    }
    if (filtered->tactic == policy::FilterTactic::kCodes && !filtered->scored)
      graph->ScoreNodes(&stream.scan->reader, stream.part->nodes);
  });
  filtered->scored = filtered->tactic == policy::FilterTactic::kCodes;
  return true;
}

/// Gets the stream's next nodes, which may have no row that is wanted. False if graphs are of no use any more.
static bool StepStream(Search* search, GraphStream* stream) {
  FilteredStream* filtered = stream->filtered;
  SegmentSearch* graph = stream->scan->search;
  SegmentReader* reader = &stream->scan->reader;
  if (!PrepareTactic(search, *stream)) return false;
  const bool is_first = !stream->started;
  stream->started = true;
  const auto nodes = pg::Guard([&]() -> base::Span<const graph::FoundNode> {
    switch (filtered->tactic) {
      case policy::FilterTactic::kWalk:
        return graph->NextFilteredBatch(reader);
      case policy::FilterTactic::kStream:
        return graph->NextBatch(reader);
      case policy::FilterTactic::kCodes:
      case policy::FilterTactic::kVectors:
        break;
    }
    return graph->NextScoredBatch();
  });
  if (!CollectRows(search, stream, nodes) || reader->stale()) return false;
  filtered->spent += policy::CostOfTactic(filtered->tactic, filtered->situation);
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
    stream->batch_size = 0;
    pg::Guard([&] {
      graph->Start(&stream->scan->cached->head.header, stream->query,
                   policy::EfOfTactic(filtered->tactic, filtered->situation));
    });
  }
  return true;
}

/// Gets the stream's next rows, or its end. False if graphs are of no use any more.
///
/// Walks until they have cost as much as comparing everything that is wanted, then that: the ski-rental rule again.
static bool FetchFiltered(Search* search, GraphStream* stream) {
  FilteredStream* filtered = stream->filtered;
  // Rows whose distance is known stay where they are.
  stream->batch_size = stream->rough = stream->asked = stream->ready;
  while (stream->rough == stream->batch_size && !stream->ended) {
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
  return true;
}

/// RefillStream() by a filter.
static bool RefillFiltered(Search* search, GraphStream* stream) {
  const auto limit = static_cast<uint64>(pg::CurrentSettings().max_scan_tuples);
  if (limit != 0 && search->examined >= limit) {
    search->report.cut = 1;
    stream->ended = true;
    stream->has_fence = false;
    return true;
  }
  if (policy::IsWorthScoring(stream->filtered->tactic, stream->filtered->situation))
    stream->filtered->tactic = policy::FilterTactic::kCodes;
  if (!FetchFiltered(search, stream)) {
    TurnExact(search);
    return false;
  }
  search->examined += stream->batch_size - stream->ready;
  return true;
}

/// False if somebody said that the graphs' answer is enough, or if they have given all there is.
static bool MayTurnExact(const Search& search) {
  return search.filtered == nullptr && search.order != pg::IterativeScan::kOff && search.report.cut == 0 &&
         ExactPassFits(search);
}

/// How far the rows of the tail that are worth keeping are at the most, by code: about as far as what the graphs found. Nobody
/// knows how many rows will be asked for; those who ask for more than `ef_search` pay for another pass.
static float TailLimit(const Search& search, const GraphStream& tail) {
  double farthest = get_float8_infinity();
  for (uint32 i = 0; i < search.stream_count; i++) {
    const GraphStream& stream = search.streams[i];
    const auto nodes = stream.scan->search->batch();
    if (!nodes.empty() && stream.batch_size >= kTailBatch / 4)
      farthest = Min(farthest, stream.query.Estimate(nodes[nodes.size() - 1].key));
  }
  return std::isfinite(farthest) ? tail.query.KeyOfBound(farthest) : get_float4_infinity();
}

/// Looks for more rows of the tail by code, up to `limit`. False if there is no memory for that.
static bool FetchTail(Search* search, GraphStream* stream, float limit) {
  const std::size_t first = stream->batch_size;
  if (!ReserveBatch(search, stream, 2 * stream->keep)) return false;
  policy::TopCandidates top(stream->batch + first, stream->keep);
  const bool left_out = stream->tail->Pass(stream->has_fence ? &stream->fence : nullptr, limit, &top);
  stream->batch_size = first + top.Finish();
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

/// Gets all streams' first batches together. False: the search is exact from here on.
static bool StartStreams(Search* search) {
  bool is_usable = search->filtered != nullptr || WalkGraphs(search, 0, search->stream_count);
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

/// Gives every stream that is used up its next batch. False: the search is exact from here on.
static bool RefillStreams(Search* search) {
  if (search->stream_count > 0 && unlikely(!search->streams[0].started) && !StartStreams(search))
    return false;
  for (uint32 i = 0; i < search->stream_count; i++) {
    GraphStream* stream = &search->streams[i];
    while (stream->IsUsedUp() && !stream->ended)
      if (!RefillStream(search, stream)) return false;
  }
  return true;
}

/// The nearest row whose distance is known, and the stream it is from: nullptr if that is the exact scan. False if there is none.
static bool FindNearest(const Search& search, policy::Candidate* nearest, GraphStream** from) {
  *from = nullptr;
  bool found = search.filtered != nullptr ? PeekSetCandidate(&search.filtered->scan, nearest)
                                          : storage::PeekFlatCandidate(search.flat, nearest);
  for (uint32 i = 0; i < SourceCount(search); i++) {
    GraphStream* stream = &search.streams[i];
    if (stream->ready == 0 || (found && !(stream->batch[0] < *nearest))) continue;
    *nearest = stream->batch[0];
    *from = stream;
    found = true;
  }
  return found;
}

/// The stream whose next row by code may be the nearest of all; nullptr if all are re-ranked.
static GraphStream* FindNearestRough(const Search& search) {
  GraphStream* nearest = nullptr;
  for (uint32 i = 0; i < SourceCount(search); i++) {
    GraphStream* stream = &search.streams[i];
    if (!stream->HasRough()) continue;
    if (nearest == nullptr || stream->NearestRough() < nearest->NearestRough()) nearest = stream;
  }
  return nearest;
}

static void TakeFrom(Search* search, GraphStream* stream) {
  if (stream == nullptr) {
    if (search->filtered != nullptr)
      TakeSetCandidate(&search->filtered->scan);
    else
      storage::TakeFlatCandidate(search->flat);
    return;
  }
  std::pop_heap(stream->batch, stream->batch + stream->ready, IsFarther);
  stream->ready--;
}

/// Finds the source with the nearest candidate and takes it. False: all sources have ended, or the search turned exact.
static bool TakeNearest(Search* search, policy::Candidate* nearest) {
  GraphStream* from = nullptr;
  bool found;
  for (;;) {
    if (!RefillStreams(search)) return false;
    found = FindNearest(*search, nearest, &from);
    GraphStream* rough = FindNearestRough(*search);
    // A row as far as the nearest may have the smaller id.
    if (rough == nullptr || (found && nearest->key < rough->NearestRough())) break;
    if (likely(rough->rough < rough->batch_size)) {
      ReRankNext(search, rough);
    } else if (rough->tail == nullptr) {
      if (!RefillFiltered(search, rough)) return false;
    } else if (!FetchTail(search, rough, get_float4_infinity())) {
      TurnExact(search);
      return false;
    }
  }
  storage::CloseRows(&search->vectors);
  bool graphs_ended = true;
  for (uint32 i = 0; i < search->stream_count; i++) graphs_ended &= search->streams[i].IsUsedUp();
  // Once the graphs have nothing left, what they did not reach may lie before the rest of the tail.
  if (graphs_ended && MayTurnExact(*search)) return false;
  if (found) TakeFrom(search, from);
  return found;
}

static void RememberReturned(Search* search, base::RowId row) {
  ReturnedRows& returned = search->returned;
  if (returned.size == returned.room) {
    returned.room = Max(2 * returned.room, static_cast<std::size_t>(64));
    const Size bytes = returned.room * sizeof(uint64);
    returned.ids =
        static_cast<uint64*>(returned.ids == nullptr ? MemoryContextAllocHuge(search->context, bytes)
                                                     : repalloc_huge(returned.ids, bytes));
  }
  returned.ids[returned.size++] = base::ToIndex(row);
}

/// The next row of the merge. False: it is over, or the search turned exact.
static bool NextMerged(Search* search, storage::ScanRow* row) {
  const bool is_relaxed = search->order == pg::IterativeScan::kRelaxedOrder;
  policy::Candidate candidate;
  while (TakeNearest(search, &candidate)) {
    const bool is_late = search->has_last && candidate.key < search->last_key;
    if (is_late && !is_relaxed) {
      search->report.late++;
      continue;
    }
    if (!storage::ReadFlatRow(search->flat, candidate, row)) continue;
    if (!is_relaxed && (!search->has_last || search->last_key < candidate.key)) search->returned.size = 0;
    if (!is_late) search->last_key = candidate.key;
    search->has_last = true;
    RememberReturned(search, candidate.row);
    return true;
  }
  return false;
}

// ---- What a filter admits beside what is in graphs ----

static FilterView ViewFor(const Search& search) {
  return {search.index, search.filtered->manifest, storage::ViewOf(search.flat).directory, search.snapshot};
}

/// Rows that no graph has (zero vectors under cosine), or whose distance is NaN.
static void ScanRest(Search* search) {
  FilteredRows* filtered = search->filtered;
  CloseStreams(search);
  filtered->is_rest = true;
  filtered->exact_count = 0;
  const FilterView view = ViewFor(*search);
  for (uint32 i = 0; i < filtered->manifest->segment_count; i++) {
    const storage::SegmentInfo& segment = filtered->manifest->segments[i];
    const FilterPart& part = *filtered->of_segment[i];
    if (part.kind != PartKind::kGraph || segment.rows == segment.end_row - segment.first_row) continue;
    const FilterPart* rest = FindRest(*search->parts, segment.id);
    if (rest == nullptr) rest = MapRest(search->parts, view, part, *search->filter);
    filtered->exact[filtered->exact_count++] = rest;
  }
  if (filtered->unordered != nullptr) {
    pg::Guard([&] { filtered->unordered->rows.Freeze(); });
    filtered->exact[filtered->exact_count++] = filtered->unordered;
  }
  SetRange range;
  range.parts = {filtered->exact, filtered->exact_count};
  StartSetScan(&filtered->scan, range);
  search->mode = Mode::kSet;
}

/// Rows without a vector are what a flat scan of no others ends with.
static void ScanNulls(Search* search) {
  storage::FlatRange range;
  range.first_row = storage::ViewOf(search->flat).rows;
  storage::ScanFlatRange(search->flat, range);
  search->mode = Mode::kExact;
}

static bool NextSetRow(Search* search, storage::ScanRow* row) {
  const bool is_strict = search->order == pg::IterativeScan::kStrictOrder;
  policy::Candidate candidate;
  while (PeekSetCandidate(&search->filtered->scan, &candidate)) {
    TakeSetCandidate(&search->filtered->scan);
    if (is_strict && search->has_last && candidate.key < search->last_key) {
      search->report.late++;
      continue;
    }
    if (!storage::ReadFlatRow(search->flat, candidate, row)) continue;
    search->last_key = candidate.key;
    search->has_last = true;
    return true;
  }
  return false;
}

// ---- The next row ----

/// The sources have ended: what is left is for the exact scan, unless somebody said that enough is enough.
static void EndMerge(Search* search) {
  if (search->filtered != nullptr && search->report.cut == 0) {
    ScanRest(search);
    return;
  }
  if (MayTurnExact(*search)) {
    TurnExact(search);
    return;
  }
  if (search->order != pg::IterativeScan::kOff) search->report.cut = 1;
  search->mode = Mode::kDone;
}

/// True if every TID of the filter has been returned: a TID has one row that is not dead at the most.
static bool HasReturnedAll(const Search& search) {
  return search.filter->whole_blocks() == 0 && search.filtered->returned >= search.filter->size();
}

static bool NextFilteredRow(Search* search, storage::ScanRow* row) {
  if (HasReturnedAll(*search)) search->mode = Mode::kDone;
  if (search->mode == Mode::kGraph) {
    if (NextMerged(search, row)) return true;
    if (search->mode == Mode::kGraph) EndMerge(search);
  }
  while (search->mode == Mode::kSet) {
    if (NextSetRow(search, row)) return true;
    if (HasReturnedAll(*search)) return false;
    if (search->filtered->is_rest)
      ScanNulls(search);
    else
      ScanRest(search);
  }
  if (search->mode != Mode::kExact) return false;
  while (storage::NextFlatRow(search->flat, row))
    if (search->filter->Contains(pg::ToHeapTid(row->tid))) return true;
  return false;
}

static bool NextRow(Search* search, storage::ScanRow* row) {
  if (search->filtered != nullptr) {
    const bool found = NextFilteredRow(search, row);
    search->filtered->returned += found ? 1 : 0;
    return found;
  }
  if (search->mode == Mode::kGraph) {
    if (NextMerged(search, row)) return true;
    if (search->mode == Mode::kGraph) EndMerge(search);
  }
  return search->mode == Mode::kExact && storage::NextFlatRow(search->flat, row);
}

bool NextSearchRow(Search* search, storage::ScanRow* row) {
  if (likely(active_reports == nullptr)) return NextRow(search, row);
  const Stopwatch watch;
  const bool found = NextRow(search, row);
  watch.AddTo(&search->report);
  return found;
}

// ---- Starting and ending ----

static void* PallocAligned(std::size_t bytes) {
  return reinterpret_cast<void*>(TYPEALIGN(PG_CACHE_LINE_SIZE, palloc(bytes + PG_CACHE_LINE_SIZE)));
}

/// Prepares the search of a segment. In graph_context.
static bool OpenStream(Search* search, SegmentScan* scan, const float* query, uint32 ef,
                       GraphStream* stream) {
  stream->scan = scan;
  if (scan == nullptr) return false;  // it cannot be read any more
  const storage::SegmentHead& head = stream->scan->cached->head;
  vec::WalkCodec codec = head.codec;
  if (pg::IsSwitchedOn("no-bound-error")) codec.error = 0.0F;
  if (pg::IsSwitchedOn("re-rank-all")) codec.error = get_float4_infinity();
  void* scratch = PallocAligned(vec::WalkQuery::ScratchBytes(head.header.dimensions));
  stream->query = vec::WalkQuery(codec, query, scratch);
  pg::Guard([&] { stream->scan->search->Start(&head.header, stream->query, ef); });
  stream->counters_before = stream->scan->search->counters();
  return ReserveBatch(search, stream, ef);
}

/// Looks at the tail by code, if that is possible.
static bool OpenTail(Search* search, const storage::Manifest& manifest, uint32 ef, GraphStream* stream) {
  const GraphStream& newest = search->streams[manifest.segment_count - 1];
  const storage::FlatScanView view = storage::ViewOf(search->flat);
  stream->query = newest.query;
  const TailSearch tail = {search->index,       &manifest,      view.directory,
                           newest.scan->cached, &stream->query, view.rows};
  if (pg::IsSwitchedOn("no-tail-codes") || !TailScan::IsPossible(tail)) return false;
  stream->tail = static_cast<TailScan*>(palloc(sizeof(TailScan)));
  stream->tail->Open(tail);
  stream->ef = ef;
  stream->keep = Max(kTailBatch, static_cast<std::size_t>(ef));
  stream->ended = true;  // its fence tells whether there is more
  return true;
}

/// Tests of what graphs answer use small tables.
static bool AlwaysByGraph() {
  return pg::IsSwitchedOn("always-graph");
}

/// Memory for streams of all segments, and what re-ranks them. In graph_context.
static void PrepareStreams(Search* search, const storage::Manifest& manifest) {
  const storage::FlatScanView view = storage::ViewOf(search->flat);
  ForgetOtherSegments(manifest);
  storage::ReserveRecentBuffers(search->index, storage::VectorPagesOf(*view.directory, view.rows));
  storage::OpenRows(&search->vectors, search->index, view.directory, &manifest,
                    static_cast<float*>(palloc(view.directory->row_bytes)), nullptr);
  search->vectors.read_ahead = false;
  search->vectors_ahead = Max(kAheadBytes / view.directory->row_bytes, kLeastAhead);
  search->streams = static_cast<GraphStream*>(palloc0((manifest.segment_count + 1) * sizeof(GraphStream)));
  GraphHandles& handles = search->handles;
  handles.scans = static_cast<SegmentScan**>(palloc(manifest.segment_count * sizeof(SegmentScan*)));
  handles.searches = static_cast<SegmentSearch**>(palloc(manifest.segment_count * sizeof(SegmentSearch*)));
  handles.readers = static_cast<SegmentReader**>(palloc(manifest.segment_count * sizeof(SegmentReader*)));
}

static void AddToHandles(GraphHandles* handles, uint32 i, SegmentScan* scan) {
  handles->scans[i] = scan;
  handles->searches[i] = scan->search;
  handles->readers[i] = &scan->reader;
}

/// Opens all segments; the tail is what the flat scan keeps. In graph_context.
static void StartGraphs(Search* search, const storage::Manifest& manifest, const float* query,
                        const policy::SearchSituation& situation) {
  PrepareStreams(search, manifest);
  for (uint32 i = 0; i < manifest.segment_count; i++) {
    search->stream_count = i + 1;
    GraphStream* stream = &search->streams[i];
    SegmentScan* scan = BeginSegmentScan(search->index, manifest, manifest.segments[i]);
    if (!OpenStream(search, scan, query, situation.ef_search, stream)) {
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
  search->has_tail =
      OpenTail(search, manifest, situation.ef_search, &search->streams[manifest.segment_count]);
  storage::FlatRange tail;
  tail.first_row = manifest.root.sealed_rows;
  tail.first_batch = Max(kTailBatch, static_cast<std::size_t>(situation.ef_search));
  storage::ScanFlatRange(search->flat, tail);
  search->mode = Mode::kGraph;
  search->report.graph_scans = 1;
  search->report.segments = manifest.segment_count;
  search->report.tail_rows = situation.tail_rows;
}

/// ef_search, widened by the share of the graphs that is dead.
static uint32 EffectiveEf(Relation index, const storage::Manifest& manifest) {
  uint64 nodes = 0;
  uint64 rows = 0;
  for (uint32 i = 0; i < manifest.segment_count; i++) {
    nodes += manifest.segments[i].nodes;
    rows += manifest.segments[i].rows;
  }
  // Rows that were dead when their segment was built are not in it; the tail's dead are few.
  const uint64 absent = manifest.root.sealed_rows - Min(manifest.root.sealed_rows, rows);
  const uint64 dead = manifest.dead_rows - Min(manifest.dead_rows, absent);
  return policy::WidenedEf(static_cast<uint32>(EfSearchOf(index)), nodes, rows, dead);
}

static policy::SearchSituation SituationOf(const Search& search, const storage::Manifest& manifest) {
  const storage::FlatScanView view = storage::ViewOf(search.flat);
  policy::SearchSituation situation;
  situation.rows = view.rows;
  situation.tail_rows = view.rows - Min(view.rows, manifest.root.sealed_rows);
  situation.segments = manifest.segment_count;
  situation.dimensions = view.directory->dimensions;
  if (manifest.segment_count > 0) situation.m = manifest.segments[0].m;
  situation.in_memory = shmem::FramesExist();
  situation.ef_search = EffectiveEf(search.index, manifest);
  return situation;
}

// ---- Starting with a filter ----

/// Opens the i-th segment, if it was not yet. False if it cannot be read any more.
static bool OpenScan(Search* search, uint32 i) {
  FilteredRows* filtered = search->filtered;
  if (filtered->scans[i] != nullptr) return true;
  const MemoryContext old_context = MemoryContextSwitchTo(search->graph_context);
  filtered->scans[i] = BeginSegmentScan(search->index, *filtered->manifest, filtered->manifest->segments[i]);
  MemoryContextSwitchTo(old_context);
  return filtered->scans[i] != nullptr;
}

/// Finds what the filter admits in each segment and behind them, as far as that is not known from an earlier start.
static void MapFilter(Search* search) {
  FilteredRows* filtered = search->filtered;
  const storage::Manifest& manifest = *filtered->manifest;
  const FilterView view = ViewFor(*search);
  const uint64 rows = storage::ViewOf(search->flat).rows;
  const uint64 sealed = manifest.segment_count > 0 ? manifest.root.sealed_rows : 0;
  ForgetOtherParts(search->parts, manifest, sealed, rows);
  for (uint32 i = 0; i < manifest.segment_count; i++) {
    const storage::SegmentInfo& segment = manifest.segments[i];
    FilterPart* part = FindPart(*search->parts, segment.id, segment.first_row, segment.end_row);
    if (part == nullptr) {
      if (OpenScan(search, i))
        part = MapSegment(search->parts, view, segment, filtered->scans[i], *search->filter);
      if (part == nullptr)
        part = MapRows(search->parts, view, segment.id, segment.first_row, segment.end_row, *search->filter);
      search->report.filter_mapped += part->rows.size();
    }
    filtered->of_segment[i] = part;
    filtered->rows += part->rows.size();
  }
  filtered->tail = FindPart(*search->parts, kNoSegment, sealed, rows);
  if (filtered->tail == nullptr) {
    filtered->tail = MapRows(search->parts, view, kNoSegment, sealed, rows, *search->filter);
    search->report.filter_mapped += filtered->tail->rows.size();
  }
  filtered->rows += filtered->tail->rows.size();
  search->report.filter_rows = filtered->rows;
}

/// What the policy has to know of a segment.
static policy::FilterSituation SituationOf(const Search& search, const storage::SegmentInfo& segment,
                                           const FilterPart& part) {
  policy::FilterSituation situation;
  situation.rows = segment.rows;
  situation.admitted = part.rows.size();
  situation.dimensions = storage::ViewOf(search.flat).directory->dimensions;
  situation.m = segment.m;
  situation.ef_search = EffectiveEf(search.index, *search.filtered->manifest);
  situation.in_memory = shmem::FramesExist();
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
  const uint32 at = search->stream_count++;
  GraphStream* stream = &search->streams[at];
  stream->part = part;
  stream->filtered = static_cast<FilteredStream*>(palloc0(sizeof(FilteredStream)));
  stream->filtered->situation = situation;
  stream->filtered->tactic = tactic;
  static_cast<void>(
      OpenStream(search, filtered->scans[i], query, policy::EfOfTactic(tactic, situation), stream));
  AddToHandles(&search->handles, at, stream->scan);
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
  search->mode = Mode::kGraph;
  search->report.graph_scans = 1;
  search->report.segments = search->stream_count;
}

/// Starts a search by a filter and an order. In filter_context.
static void StartFiltered(Search* search, const float* query) {
  FilteredRows* filtered = search->filtered;
  const uint32 segments = filtered->manifest->segment_count;
  filtered->scans = static_cast<SegmentScan**>(palloc0((segments + 1) * sizeof(SegmentScan*)));
  filtered->of_segment = static_cast<FilterPart**>(palloc0((segments + 1) * sizeof(FilterPart*)));
  filtered->exact = static_cast<const FilterPart**>(palloc0((segments + 1) * sizeof(FilterPart*)));
  if (search->parts == nullptr) search->parts = pg::Own<FilterParts>(search->parts_context);
  MapFilter(search);
  const storage::FlatScanView view = storage::ViewOf(search->flat);
  OpenSetScan(&filtered->scan, search->index, view, filtered->manifest);
  const uint32 dimensions = view.directory->dimensions;
  if (!AlwaysByGraph() && (filtered->rows <= policy::LargestExactSet(dimensions) ||
                           !vec::IsCodable(view.directory->metric, query, dimensions))) {
    ScanWholeSet(search);
    CountExactParts(search);
  } else {
    StartFilteredGraphs(search, query);
  }
}

/// What the previous start left: it is reported and let go.
static void FinishRun(Search* search) {
  if (!search->is_running) return;
  CloseStreams(search);
  search->report.distances += storage::ViewOf(search->flat).distances;
  if (search->filtered != nullptr) {
    search->report.distances += search->filtered->scan.distances;
    search->filtered = nullptr;
  }
  if (active_reports != nullptr) AddReport(search);
  search->is_running = false;
}

Search* BeginSearch(Relation index) {
  auto* search = static_cast<Search*>(palloc0(sizeof(Search)));
  search->index = index;
  search->context = CurrentMemoryContext;
  search->graph_context =
      AllocSetContextCreate(CurrentMemoryContext, "tandem graphs", ALLOCSET_DEFAULT_SIZES);
  search->filter_context = AllocSetContextCreate(CurrentMemoryContext, "tandem filter", ALLOCSET_SMALL_SIZES);
  search->parts_context =
      AllocSetContextCreate(CurrentMemoryContext, "tandem filter parts", ALLOCSET_SMALL_SIZES);
  search->flat = storage::BeginFlatScan(index);
  search->mode = Mode::kDone;
  return search;
}

void SetSearchFilter(Search* search, const base::TidSet* filter) {
  FinishRun(search);
  search->mode = Mode::kDone;
  search->filter = filter;
  search->parts = nullptr;
  MemoryContextReset(search->parts_context);
}

/// The start of a search with a filter.
static void StartFilteredRun(Search* search, Snapshot snapshot, const float* query) {
  // All rows of the filter come, whatever they cost: `off` is about rows that nobody has asked for by name.
  if (search->order == pg::IterativeScan::kOff) search->order = pg::IterativeScan::kStrictOrder;
  MemoryContextReset(search->filter_context);
  const MemoryContext old_context = MemoryContextSwitchTo(search->filter_context);
  search->filtered = static_cast<FilteredRows*>(palloc0(sizeof(FilteredRows)));
  search->snapshot = snapshot;
  storage::Manifest* manifest = storage::ReadManifest(search->index);
  if (search->report.strategy == Strategy::kFlat || pg::SnapshotsGetTooOld()) manifest->segment_count = 0;
  search->filtered->manifest = manifest;
  search->report.filtered = 1;
  search->report.filter_tids = search->filter->size();
  pg::StopPoint("search-after-manifest");
  storage::StartFlatScan(search->flat, snapshot, query);
  pg::StopPoint("search-before-segments");
  search->is_running = true;
  search->mode = search->filter->empty() ? Mode::kDone : Mode::kExact;
  if (query != nullptr && search->mode != Mode::kDone) StartFiltered(search, query);
  if (search->report.graph_scans == 0) search->report.exact_scans = 1;
  MemoryContextSwitchTo(old_context);
}

static void StartRun(Search* search, Snapshot snapshot, const float* query) {
  FinishRun(search);
  const Strategy strategy = StrategyOf(search->index);
  search->report = SearchReport{};
  search->report.index = RelationGetRelid(search->index);
  search->report.strategy = strategy;
  search->report.scans = 1;
  search->order = pg::CurrentSettings().iterative_scan;
  search->spent = 0;
  search->examined = 0;
  search->has_last = false;
  search->returned.size = 0;
  if (search->filter != nullptr) {
    StartFilteredRun(search, snapshot, query);
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
  search->mode = Mode::kExact;
  if (manifest != nullptr && manifest->segment_count > 0) {
    const storage::DirectoryView& directory = *storage::ViewOf(search->flat).directory;
    const policy::SearchSituation situation = SituationOf(*search, *manifest);
    // A zero vector under cosine is equally far from everything: no graph can say more.
    if (vec::IsCodable(directory.metric, query, directory.dimensions) &&
        (AlwaysByGraph() || !policy::PrefersExactScan(situation)))
      StartGraphs(search, *manifest, query, situation);
  }
  if (search->mode == Mode::kExact) search->report.exact_scans = 1;
  MemoryContextSwitchTo(old_context);
}

void StartSearch(Search* search, Snapshot snapshot, const float* query) {
  if (likely(active_reports == nullptr)) {
    StartRun(search, snapshot, query);
    return;
  }
  const Stopwatch watch;
  StartRun(search, snapshot, query);
  watch.AddTo(&search->report);
}

void EndSearch(Search* search) {
  FinishRun(search);
  storage::EndFlatScan(search->flat);
}

}  // namespace tandem::am
