#pragma once
// What the parts of a search share; private to them: search.cpp (starting, turning exact, ending), search_streams.cpp,
// search_merge.cpp, filtered_search.cpp, search_report.cpp and search_statistics.cpp.

#include "am/filter_map.hpp"
#include "am/returned_rows.hpp"
#include "am/scan.hpp"
#include "am/search.hpp"
#include "am/set_scan.hpp"
#include "am/tail_scan.hpp"
#include "pg/settings.hpp"
#include "policy/filter_policy.hpp"
#include "policy/search_policy.hpp"
#include "storage/row_access.hpp"
#include "vec/walk_query.hpp"

namespace tandem::am {

enum class SearchMode : unsigned char {
  kGraph,  ///< graphs and, beside them, an exact scan: of the tail, or of rows that a filter admits
  kSet,    ///< an exact scan of rows that a filter admits
  kRows,   ///< rows that a filter admits, in no order
  kExact,  ///< a flat scan
  kDone,
};

// Rows that the tail's first pass keeps, if ef_search is no more: selecting and sorting 1,024 of 10,000 rows, as a scan of
// everything does, would take a twentieth of the time of computing their distances at 768 dimensions.
constexpr std::size_t kTailBatch = 128;

/// How a filtered search goes about a segment.
struct FilteredStream {
  uint32 segment;  ///< of the manifest's
  policy::FilterSituation situation;
  policy::FilterTactic tactic;  ///< kCodes in the end: what the walks did not find
  bool has_walked;              ///< the graph's search has a batch that was not taken yet
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
  bool
      is_exact;  ///< distances by code are those of the operator (vec::WalkQuery::IsExact()): rows are not read for them
  bool started;  ///< had its first batch
  bool ended;
  std::size_t found;  ///< nodes of all batches of a plain walk without a filter
  std::size_t ef;
  bool has_fence;
  policy::Candidate fence;  ///< the last one that was looked at, by the key of its code
  std::size_t keep;         ///< the tail's next pass keeps so many

  [[nodiscard]] bool IsUsedUp() const { return ready == 0 && rough == batch_size; }
  /// Rows that were not delivered yet.
  [[nodiscard]] std::size_t Left() const { return ready + batch_size - rough; }
  [[nodiscard]] bool HasRough() const { return rough < batch_size || has_fence; }
  /// What it may have next does not come before that. Where only a bound of its distance is known, a row as far may have any id.
  [[nodiscard]] policy::Candidate NearestRough() const {
    if (rough == batch_size) return {BoundOf(fence), is_exact ? fence.row : base::RowId{0}};
    return is_exact ? batch[rough] : policy::Candidate{batch[rough].key, base::RowId{0}};
  }
  [[nodiscard]] policy::OrderedKey BoundOf(const policy::Candidate& by_code) const {
    // Who may be a node of several rows.
    const bool may_share = scan != nullptr && scan->cached->head.header.row_starts_at != 0;
    return BoundOfKey(static_cast<float>(policy::FromOrderedKey(by_code.key)), may_share);
  }
  /// No row whose code has this key is nearer; if is_exact, none is farther either.
  [[nodiscard]] policy::OrderedKey BoundOfKey(float key, bool may_share) const {
    if (is_exact) return policy::ToOrderedKey(query.ExactKey(key));
    return policy::ToOrderedKey(may_share ? query.SharedLowerBound(key) : query.LowerBound(key));
  }
};

/// What the streams are made of, in the form in which several are walked together; by a filter, of those only that are.
struct GraphHandles {
  SegmentScan** scans;
  SegmentSearch** searches;
  SegmentReader** readers;
};

/// What a filtered search looks at, beside what every search does. In filter_context but for what is said otherwise.
struct FilteredRows {
  const storage::Manifest* manifest;
  SegmentScan** scans;       ///< in graph_context: of each of the manifest's, nullptr where none was opened
  FilterPart** of_segment;   ///< of each of them
  FilterPart* tail;          ///< of the rows behind them
  const FilterPart** exact;  ///< those that are scanned exactly
  uint32 exact_count;
  SetScan scan;              ///< of them
  uint32 next_exact;         ///< without an order: of them, the one after `walked`
  const FilterPart* walked;  ///< the part that `walk` goes through
  base::OrdinalWalk walk;
  bool is_certain;             ///< of rows of segments: see RowIsCertain()
  FilterCounts counts_before;  ///< this run
  uint64 rows;                 ///< of all parts
  uint64 returned;             ///< by this run
  bool is_rest;                ///< the scan is for what no graph has
  bool admits_nulls;           ///< all rows without a vector
  FilterPart* unordered;       ///< rows with a NaN distance that graphs found; nullptr if none
};

struct Search {
  Relation index;
  MemoryContext context;
  MemoryContext graph_context;  ///< everything below that a start makes anew
  storage::FlatScan* flat;
  const Filter* filter;          ///< nullptr: none
  uint64 wanted;                 ///< rows of it that will probably be asked for; 0: nobody knows
  policy::AskLater later;        ///< when it may begin without asking it
  bool is_unasked;               ///< it runs without its filter, and may go on by it: TurnFiltered()
  double unasked_spent;          ///< by starts that began so with this filter, in the policy's units
  const float* query;            ///< as it was started
  policy::Wanted unfiltered;     ///< what is wanted without one
  MemoryContext filter_context;  ///< reset by every filtered start
  MemoryContext map_context;     ///< of `map`
  FilterMap* map;                ///< made of `filter`
  FilteredRows* filtered;        ///< nullptr: no filter, or not started
  Snapshot snapshot;             ///< of a filtered search
  SearchMode mode;
  bool has_query;       ///< rows come in an order
  bool row_is_certain;  ///< the row returned last: see RowIsCertain()
  pg::IterativeScan order;

  GraphStream* streams;
  uint32 stream_count;
  bool has_tail;  ///< behind these streams is the tail's: it is looked at by code
  GraphHandles handles;
  storage::RowReader vectors;  ///< for re-ranking
  std::size_t vectors_ahead;   ///< so many are asked for before one is compared
  uint32 ef;                   ///< nodes that a graph of all rows would have to find
  double
      farthest;  ///< how far the last of so many is, of all first batches, by code; infinity: they are fewer
  double batch_cost;  ///< of a batch of so many of one segment, in the policy's units
  double exact_cost;
  double spent;              ///< on batches after the first
  uint64 examined;           ///< rows of these batches
  std::size_t first_memory;  ///< of the graph searches after their first batches

  bool has_last;
  policy::OrderedKey last_key;  ///< of the farthest row returned by the merge, of those that count
  bool awaits_acceptance;       ///< rows count once they are accepted
  bool has_unaccepted;          ///< the row returned last is not accepted yet, and this:
  policy::Candidate unaccepted;
  uint64 delivered;       ///< by the merge, in this run
  uint64 accepted;        ///< of what this run returned
  ReturnedRows returned;  ///< that the merge has had, dead and late ones among them

  bool is_running;  ///< started, and not reported yet
  bool is_timed;    ///< report.time is kept
  SearchReport report;
  SearchReport totals;  ///< of those before
};

/// Streams of graphs and, if it is one, the tail's.
inline uint32 SourceCount(const Search& search) {
  return search.stream_count + (search.has_tail ? 1 : 0);
}

// ---- search.cpp ----

/// True if graphs are of sketches, whose distances are not those of rows.
[[nodiscard]] inline bool IsSketched(const Search& search) {
  const storage::DirectoryView& directory = *storage::ViewOf(search.flat).directory;
  return vec::IsSketched(directory.element, directory.column_dimensions);
}
/// True if what is known of a row by its code says how near it can be at the nearest.
[[nodiscard]] inline bool KnowsBounds(const Search& search) {
  const storage::DirectoryView& directory = *storage::ViewOf(search.flat).directory;
  return vec::HoldsBound(directory.element, directory.column_dimensions, directory.metric);
}

/// The rest of the search is an exact scan; of what its filter admits, if it has one, by which it goes on if it began without.
void TurnExact(Search* search);
/// Starts through graphs, all rows. False, with nothing done, if they are of no use. In filter_context, or graph_context.
[[nodiscard]] bool StartPlain(Search* search, const storage::Manifest& manifest, const float* query);
/// The sources have ended: what is left is for the exact scan, unless somebody said that enough is enough.
void EndMerge(Search* search);
/// PoolOf(), widened by the share of the graphs that is dead.
[[nodiscard]] uint32 EffectiveEf(Relation index, const storage::Manifest& manifest);
/// Tests of what graphs answer use small tables.
[[nodiscard]] bool AlwaysByGraph();

/// Sorts before every row at `key` and after all closer ones. Keys are never 0: that would be below minus infinity.
inline policy::Candidate JustBefore(policy::OrderedKey key) {
  return {policy::OrderedKey{static_cast<uint64>(key) - 1}, base::RowId{~uint64{0}}};
}

/// The candidate's turn has come, by the merge or an exact scan of a set: fills in `row`. False if that is dead, or late, which strict order
/// counts and leaves out. Else strict order goes on by it once it counts.
[[nodiscard]] bool ReturnRow(Search* search, const policy::Candidate& candidate, storage::ScanRow* row);

/// What comes after the rows returned so far: FlatRange or SetRange.
template <typename Range>
void Resume(Search* search, Range* range) {
  range->excluded = search->returned.Settle();
  if (search->order == pg::IterativeScan::kRelaxedOrder || !search->has_last) return;
  range->resumed = true;
  range->after = JustBefore(search->last_key);
}

// ---- search_streams.cpp: segments and the tail as sources of batches ----

/// Memory for streams of all segments, and what re-ranks them. In graph_context.
void PrepareStreams(Search* search, const storage::Manifest& manifest);
/// Prepares the search of a segment. False if it cannot be read any more. In graph_context.
[[nodiscard]] bool OpenStream(Search* search, SegmentScan* scan, const float* query, uint32 ef,
                              GraphStream* stream);
/// Looks at the tail by code, if that is possible.
[[nodiscard]] bool OpenTail(Search* search, const storage::Manifest& manifest, uint32 ef,
                            GraphStream* stream);
void AddToHandles(GraphHandles* handles, uint32 i, SegmentScan* scan);
/// Gets all streams' first batches together. False: the search is exact from here on.
[[nodiscard]] bool StartStreams(Search* search);
/// Gets the next batch of a stream, beside what it has left. False: the search is exact from here on.
[[nodiscard]] bool RefillStream(Search* search, GraphStream* stream);
/// Looks for more rows of the tail by code, up to `limit`. False if there is no memory for that.
[[nodiscard]] bool FetchTail(Search* search, GraphStream* stream, float limit);
/// Adds the rows at `nodes` to the batch. False if it would outgrow work_mem.
[[nodiscard]] bool CollectRows(Search* search, GraphStream* stream, base::Span<const graph::FoundNode> nodes);
/// Lets go of the segments.
void CloseStreams(Search* search);
/// Bytes that searches and batches of graphs take.
[[nodiscard]] std::size_t GraphMemory(const Search& search);
/// True if what a search has remembered since its first batches is more than work_mem.
[[nodiscard]] bool GrewTooLarge(const Search& search);
/// True if max_scan_tuples has room for a pass over all rows.
[[nodiscard]] bool ExactPassFits(const Search& search);

// ---- search_merge.cpp: the nearest of all sources ----

/// policy::LiesFartherOff() of a search without a filter, where it is known what becomes of its rows.
[[nodiscard]] inline bool LiesFartherOff(const Search& search) {
  return search.awaits_acceptance && search.filtered == nullptr &&
         policy::LiesFartherOff(search.unfiltered, search.delivered, search.accepted);
}

/// The next row of the merge. False: it is over, or the search turned exact.
[[nodiscard]] bool NextMerged(Search* search, storage::ScanRow* row);
/// False if somebody said that the graphs' answer is enough, or if they have given all there is.
[[nodiscard]] bool MayTurnExact(const Search& search);

// ---- filtered_search.cpp: what only a search by a filter does ----

/// The start of a search with a filter, which it may go without at first, but not if it asks.
void StartFilteredRun(Search* search, Snapshot snapshot, const float* query, bool asks);
/// A search that began without its filter goes on by it, behind the last row that counts.
void TurnFiltered(Search* search);
/// What a search has spent without its filter adds up with what others have.
void CountUnasked(Search* search);
/// True if so few rows were accepted that it had better.
[[nodiscard]] inline bool LiesElsewhere(const Search& search) {
  return search.is_unasked &&
         policy::LiesElsewhere(search.unfiltered.found_per_row, search.delivered, search.accepted);
}
/// Its end, before it is reported.
void FinishFilteredRun(Search* search);
/// NextSearchRow() by a filter.
[[nodiscard]] bool NextFilteredRow(Search* search, storage::ScanRow* row);
/// The first batches of all streams by filtered walks, if there are several, by turns, for FetchFiltered() to take. False likewise.
[[nodiscard]] bool WalkByTurns(Search* search);
/// Gets the stream's next rows, or its end. False if graphs are of no use any more.
[[nodiscard]] bool FetchFiltered(Search* search, GraphStream* stream);
/// RefillStream() by a filter.
[[nodiscard]] bool RefillFiltered(Search* search, GraphStream* stream);
/// Remembers a row that a filtered search returns last.
void KeepUnordered(Search* search, base::RowId row);
/// All rows that the filter admits, by an exact scan.
void ScanWholeSet(Search* search);
/// Rows that no graph has (zero vectors under cosine), or whose distance is NaN.
void ScanRest(Search* search);

// ---- search_report.cpp ----

/// Where searches report to; nullptr: nobody asks.
extern SearchReports* active_reports;
/// Adds the search's report to them.
void AddReport(Search* search);

// ---- search_statistics.cpp ----

/// Counts the search for tandem_index_stats and the balance of the caches.
void CountForStatistics(const Search& search);

}  // namespace tandem::am
