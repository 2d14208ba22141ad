#pragma once
// One search of one index: through its graphs and its tail, or exactly. What a scan's callbacks drive.

#include "am/filter.hpp"
#include "am/options.hpp"
#include "policy/search_policy.hpp"
#include "storage/flat_relation.hpp"

extern "C" {
#include "portability/instr_time.h"
}

namespace tandem::am {

/// State of a search; may be started many times. Memory: the context of its creation and children of it.
struct Search;

[[nodiscard]] Search* BeginSearch(Relation index);

/// From the next start on, rows that `filter` (nullptr: no filter) admits are returned, all of them before the search ends, and
/// perhaps others: those with a vector in distance order, then those without. Ends what was running. The filter must stay as it
/// is until the search ends or this is called again: starts in between use what was made of it.
/// wanted, later: see SetScanFilter().
void SetSearchFilter(Search* search, const Filter* filter, uint64 wanted, const policy::AskLater& later);

/// From the next start on, in starts without a filter: what is wanted of rows that conditions are asked of which the search does not know.
void SetSearchWanted(Search* search, const policy::Wanted& wanted);

/// From the next start on, strict order is that of rows for which AcceptRow() is called: what comes after one that is not wanted
/// may be nearer than it. Without this call all rows count.
void AwaitAcceptance(Search* search);
/// The row returned last is wanted.
void AcceptRow(Search* search);

/// From the next start on, distances are this operator's. What it knows must outlive the search, or the next call.
void SetSearchOperator(Search* search, const vec::ForeignOperator& foreign);

/// Nodes that a search of one of its graphs keeps: ef_search, where graphs are of sketches more.
[[nodiscard]] uint32 PoolOf(Relation index);

/// (Re)starts it. query: as StartFlatScan() has it, needed until the next start or the end; nullptr: no order. The
/// view of the index that it takes must be no older than `snapshot`.
void StartSearch(Search* search, Snapshot snapshot, const float* query);

/// The next row; false at the end. In ascending distance, unless tandem.iterative_scan is relaxed_order; ties by row id in
/// exact scans, in others among what the graphs delivered together. Each row at most once. No pin is held between calls.
[[nodiscard]] bool NextSearchRow(Search* search, storage::ScanRow* row);

/// Whether the filter admits the row returned last for certain, as far as its terms say what they were asked. Always without a filter;
/// known only where rows come without an order.
[[nodiscard]] bool RowIsCertain(const Search* search);

void EndSearch(Search* search);

// ---- What searches did, for EXPLAIN ----

/// Sums over scans of one index. A scan that turns exact counts in both kinds.
struct SearchReport {
  Oid index;
  Strategy strategy;
  uint64 scans;
  uint64 graph_scans;
  uint64 exact_scans;
  uint64 segments;           ///< searched
  uint64 tail_rows;          ///< rows past the segments, looked at beside them
  uint64 tail_codes;         ///< of those, by code; the others exactly
  uint64 tail_codes_made;    ///< codes of such rows that were not in shared memory
  uint64 tail_codes_passed;  ///< codes of such rows that bits told enough of
  uint64 distances;          ///< to codes and to full vectors, without re_ranked
  uint64 codes_from_pages;   ///< of those, to codes that were not in shared memory
  uint64 lists;              ///< of links, that were followed
  uint64 lists_from_pages;   ///< of those, that were not in shared memory
  uint64 chunks_loaded;      ///< into shared memory, afterwards
  uint64 re_ranked;          ///< rows found by codes whose true distance was computed
  uint64 late;               ///< rows that strict order dropped, or passed over
  instr_time time;           ///< spent in searches
  uint64 cut;                ///< scans that max_scan_tuples ended
  uint64 filtered;           ///< scans by a filter; of these:
  uint64 filter_hits;        ///< terms of filters that the cache knew
  uint64 filter_evaluated;   ///< terms that had to be asked
  uint64 filter_tids;        ///< that these admitted
  uint64 filter_rows;        ///< rows of the index that filters admit, dead ones among them
  uint64
      filter_mapped;  ///< rows looked up by their TIDs: others were known from an earlier start, or by the cache
  uint64 by_vectors;  ///< segments, and tails, whose admitted rows were all compared by their full vectors
  uint64 by_codes;    ///< segments whose admitted rows were all compared by their codes, from the start
  uint64 by_walk;     ///< segments searched by walks of admitted nodes
  uint64 by_stream;   ///< segments searched by plain walks
  SearchReport* next;
};

/// Where searches that end meanwhile add themselves up, the index met first in front.
struct SearchReports {
  MemoryContext context;
  SearchReport* first;
};

/// Ends what was started, if it was; returns the sums over all starts.
[[nodiscard]] SearchReport FinishSearch(Search* search);

/// From now on searches report to `reports`; nullptr: to nobody. Returns the previous one.
SearchReports* CollectSearchReports(SearchReports* reports);

}  // namespace tandem::am
