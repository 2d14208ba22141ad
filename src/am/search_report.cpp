// What searches did, added up for EXPLAIN.

#include "pg/compat.hpp"

#include "am/search_state.hpp"

namespace tandem::am {

SearchReports* active_reports = nullptr;

SearchReports* CollectSearchReports(SearchReports* reports) {
  SearchReports* previous = active_reports;
  active_reports = reports;
  return previous;
}

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

static void Add(const SearchReport& one, SearchReport* sum) {
  sum->scans += one.scans;
  sum->graph_scans += one.graph_scans;
  sum->exact_scans += one.exact_scans;
  sum->segments += one.segments;
  sum->tail_rows += one.tail_rows;
  sum->tail_codes += one.tail_codes;
  sum->tail_codes_made += one.tail_codes_made;
  sum->tail_codes_passed += one.tail_codes_passed;
  sum->distances += one.distances;
  sum->codes_from_pages += one.codes_from_pages;
  sum->lists += one.lists;
  sum->lists_from_pages += one.lists_from_pages;
  sum->chunks_loaded += one.chunks_loaded;
  sum->re_ranked += one.re_ranked;
  sum->late += one.late;
  sum->cut += one.cut;
  sum->filtered += one.filtered;
  sum->filter_hits += one.filter_hits;
  sum->filter_evaluated += one.filter_evaluated;
  sum->filter_tids += one.filter_tids;
  sum->filter_rows += one.filter_rows;
  sum->filter_mapped += one.filter_mapped;
  sum->by_vectors += one.by_vectors;
  sum->by_codes += one.by_codes;
  sum->by_walk += one.by_walk;
  sum->by_stream += one.by_stream;
  INSTR_TIME_ADD(sum->time, one.time);
}

void AddReport(Search* search) {
  Add(search->report, &search->totals);
  if (active_reports != nullptr) Add(search->report, ReportOf(*search));
}

}  // namespace tandem::am
