// EXPLAIN (ANALYZE, VERBOSE) of a query that scanned tandem indexes ends with what the searches did, index by index.
//
// Before version 18 no hook lets an extension write into a plan node's output. The hook around the whole query knows the
// ExplainState, but returns after the query's group was closed: in JSON that would be a second element of the list of
// queries. The executor's end is called from inside of that group, after all scans have ended: that is where we write.

#include "pg/compat.hpp"

#include "planner/explain.hpp"

#include "am/search.hpp"

extern "C" {
#include "executor/executor.h"
#include "utils/lsyscache.h"
}

namespace tandem::planner {

namespace {

/// The EXPLAIN that is running; they nest where a function runs one.
struct RunningExplain {
  ExplainState* state;
  const char* query_string;  ///< by its address, tells the query from those that functions run meanwhile
  am::SearchReports reports;
};

RunningExplain* running = nullptr;
ExplainOneQuery_hook_type next_explain = nullptr;
ExecutorEnd_hook_type next_executor_end = nullptr;

const char* ModeOf(const am::SearchReport& report) {
  if (report.exact_scans == 0) return "graph";
  return report.graph_scans == 0 ? "exact" : "both";
}

void ShowCount(const char* label, uint64 count, ExplainState* state) {
  ExplainPropertyInteger(label, nullptr, static_cast<int64>(count), state);
}

/// How filters were used, and what they were.
void ShowFilters(const am::SearchReport& report, ExplainState* state) {
  if (report.filtered == 0) return;
  ShowCount("Filtered Scans", report.filtered, state);
  ShowCount("Filter Terms from Cache", report.filter_hits, state);
  ShowCount("Filter Terms Evaluated", report.filter_evaluated, state);
  ShowCount("TIDs in Filters", report.filter_tids, state);
  ShowCount("Rows Admitted", report.filter_rows, state);
  ShowCount("Rows Looked Up", report.filter_mapped, state);
  ShowCount("Sets Compared by Vectors", report.by_vectors, state);
  ShowCount("Sets Compared by Codes", report.by_codes, state);
  ShowCount("Filtered Walks", report.by_walk, state);
  ShowCount("Plain Walks", report.by_stream, state);
}

void ShowReport(const am::SearchReport& report, ExplainState* state) {
  const bool is_text = state->format == EXPLAIN_FORMAT_TEXT;
  const char* name = get_rel_name(report.index);
  ExplainOpenGroup("Tandem Index", nullptr, true, state);
  ExplainPropertyText(is_text ? "Tandem Index" : "Index Name", name != nullptr ? name : "?", state);
  if (is_text) state->indent++;
  ExplainPropertyText("Strategy", am::StrategyName(report.strategy), state);
  ShowCount("Scans", report.scans, state);
  ExplainPropertyText("Mode", ModeOf(report), state);
  ShowCount("Segments Searched", report.segments, state);
  ShowCount("Tail Rows Scanned", report.tail_rows, state);
  ShowCount("Tail Rows Scanned by Code", report.tail_codes, state);
  ShowCount("Tail Codes Made", report.tail_codes_made, state);
  ShowCount("Tail Codes Passed Over by Bits", report.tail_codes_passed, state);
  ShowCount("Distance Computations", report.distances, state);
  ShowCount("Codes Read from Pages", report.codes_from_pages, state);
  ShowCount("Chunks Loaded", report.chunks_loaded, state);
  ShowCount("Re-ranked Rows", report.re_ranked, state);
  ShowCount("Late Rows Dropped", report.late, state);
  ShowCount("Scans Cut by max_scan_tuples", report.cut, state);
  ShowFilters(report, state);
  if (state->timing)
    ExplainPropertyFloat("Time in Searches", "ms", INSTR_TIME_GET_MILLISEC(report.time), 3, state);
  if (is_text) state->indent--;
  ExplainCloseGroup("Tandem Index", nullptr, true, state);
}

void ShowReports(const RunningExplain& explain) {
  if (explain.reports.first == nullptr) return;
  ExplainOpenGroup("Tandem Indexes", "Tandem Indexes", false, explain.state);
  for (const am::SearchReport* report = explain.reports.first; report != nullptr; report = report->next)
    ShowReport(*report, explain.state);
  ExplainCloseGroup("Tandem Indexes", "Tandem Indexes", false, explain.state);
}

void EndExecutor(QueryDesc* query) {
  const bool is_explained = running != nullptr && query->sourceText == running->query_string;
  if (next_executor_end != nullptr)
    next_executor_end(query);
  else
    standard_ExecutorEnd(query);
  if (is_explained) ShowReports(*running);
}

void ExplainNext(Query* query, int options, IntoClause* into, ExplainState* state, const char* query_string,
                 ParamListInfo parameters, QueryEnvironment* environment) {
  if (next_explain != nullptr)
    next_explain(query, options, into, state, query_string, parameters, environment);
  else
    pg::StandardExplainOneQuery(query, options, into, state, query_string, parameters, environment);
}

void ExplainQuery(Query* query, int options, IntoClause* into, ExplainState* state, const char* query_string,
                  ParamListInfo parameters, QueryEnvironment* environment) {
  if (!state->analyze || !state->verbose) {
    ExplainNext(query, options, into, state, query_string, parameters, environment);
    return;
  }
  RunningExplain explain = {state, query_string, {CurrentMemoryContext, nullptr}};
  RunningExplain* const outer = running;
  am::SearchReports* const outer_reports = am::CollectSearchReports(&explain.reports);
  running = &explain;
  PG_TRY();
  { ExplainNext(query, options, into, state, query_string, parameters, environment); }
  PG_FINALLY();
  {
    running = outer;
    am::CollectSearchReports(outer_reports);
  }
  PG_END_TRY();
}

}  // namespace

void RegisterExplain() {
  next_explain = ExplainOneQuery_hook;
  ExplainOneQuery_hook = ExplainQuery;
  next_executor_end = ExecutorEnd_hook;
  ExecutorEnd_hook = EndExecutor;
}

}  // namespace tandem::planner
