#include "pg/pg.hpp"

#include "pg/settings.hpp"

#include <climits>
#include <thread>

extern "C" {
#include "utils/guc.h"
}

namespace tandem::pg {

namespace {

// tandem.build_memory. 512 MB hold about a million vectors of 128 dimensions; 16 MB still give segments that are worth
// searching.
constexpr int kDefaultBuildMemoryKb = 512 * 1024;
constexpr int kMinBuildMemoryKb = 16 * 1024;

// tandem.build_threads. hnswlib's locks leave little to gain beyond.
constexpr int kMaxBuildThreads = 64;

// tandem.graph_share. Graphs are some hundred bytes a row, sets of rows bits: graphs get more until it is known what is asked for. Neither
// cache can be switched off by it.
constexpr double kDefaultGraphShare = 0.6;
constexpr double kLeastGraphShare = 0.1;
constexpr double kMostGraphShare = 0.9;

// tandem.ef_search: the bound that the users of pgvector have in their scripts.
constexpr int kMaxEfSearch = 1000;

// tandem.memory_budget. 256 MB hold the graphs of a million vectors of 128 dimensions.
constexpr int kDefaultMemoryBudgetKb = 256 * 1024;

// tandem.naptime. 10 s: a trickle of inserts becomes a few segments a minute, and its rows are found exactly meanwhile.
constexpr int kDefaultNaptimeMs = 10 * 1000;
constexpr int kMinNaptimeMs = 10;
constexpr int kMaxNaptimeMs = 24 * 60 * 60 * 1000;

// tandem.rebalance_interval. Long enough to see what a load is like, short against a working day.
constexpr int kDefaultRebalanceSeconds = 5 * 60;
constexpr int kMostIntervalSeconds = 24 * 60 * 60;

// tandem.persistence_interval. What was hot a minute ago is hot after a restart.
constexpr int kDefaultPersistenceSeconds = 60;

// tandem.seal_rows. 10,000 rows take about a second to build, and an exact scan of them about as long as a graph search
// of a million.
constexpr int kDefaultSealRows = 10 * 1000;
constexpr int kMinSealRows = 100;

Settings settings;

const config_enum_entry kIterativeScanValues[] = {
    {"off", static_cast<int>(IterativeScan::kOff), false},
    {"relaxed_order", static_cast<int>(IterativeScan::kRelaxedOrder), false},
    {"strict_order", static_cast<int>(IterativeScan::kStrictOrder), false},
    {nullptr, 0, false},
};

const config_enum_entry kModeValues[] = {
    {"coordinated", static_cast<int>(CacheMode::kCoordinated), false},
    {"independent", static_cast<int>(CacheMode::kIndependent), false},
    {"lru", static_cast<int>(CacheMode::kLru), true},
    {nullptr, 0, false},
};

/// Between 0 and 1.
struct Share {
  double* variable;
  double boot_value;
  double least;
  double most;
};

/// One row of the table: a whole number, a word if `values` is given, on or off if `toggle` is, a share if that is.
struct Setting {
  const char* name;
  const char* summary;
  const char* details;
  int* variable;
  int boot_value;
  int least;
  int most;
  GucContext context;
  int flags;
  const config_enum_entry* values;
  bool* toggle = nullptr;
  Share share = {};
};

static_assert(sizeof(IterativeScan) == sizeof(int) && sizeof(CacheMode) == sizeof(int),
              "the server stores enumerations as int");

const Setting kSettings[] = {
    {"tandem.auto_balance", "Moves memory between the caches of graphs and of filters as the load changes.",
     "Off, each has its share by tandem.graph_share, and what the other does not need.", nullptr, 1, 0, 1,
     PGC_SIGHUP, 0, nullptr, &settings.auto_balance},
    {"tandem.build_memory", "Sets the private memory that one build of a graph may use.",
     "A table whose graph would take more gets several graphs. Shared memory is never used for builds.",
     &settings.build_memory_kb, kDefaultBuildMemoryKb, kMinBuildMemoryKb, MAX_KILOBYTES, PGC_USERSET,
     GUC_UNIT_KB, nullptr},
    {"tandem.build_threads", "Sets the number of threads that one build of a graph computes on.",
     "0 takes half of the processors, at least one. Inserts that fold in strategy \"hnsw_inline\" start no "
     "thread.",
     &settings.build_threads, 0, 0, kMaxBuildThreads, PGC_USERSET, 0, nullptr},
    {"tandem.ef_search", "Sets the number of candidates that a search of a graph keeps.",
     "More candidates find more of the nearest rows and take longer. 0 takes the index's own ef_search, or "
     "40.",
     &settings.ef_search, 0, 0, kMaxEfSearch, PGC_USERSET, 0, nullptr},
    {"tandem.enable_custom_scan", "Enables the planner's use of Tandem Scan nodes.",
     "Off, the server's own index scans go through tandem indexes, and compute distances again to return "
     "them.",
     nullptr, 1, 0, 1, PGC_USERSET, GUC_EXPLAIN, nullptr, &settings.enable_custom_scan},
    {"tandem.enable_filtered_scan", "Enables the planner's use of native indexes to steer searches.",
     "Off, rows that do not fulfil the query's conditions are found first and dropped then.", nullptr, 1, 0,
     1, PGC_USERSET, GUC_EXPLAIN, nullptr, &settings.enable_filtered_scan},
    {"tandem.graph_share",
     "Sets the part of tandem.memory_budget that graphs get, sets of rows of filters the rest.",
     "With tandem.auto_balance this is where it begins.",
     nullptr,
     0,
     0,
     0,
     PGC_SIGHUP,
     0,
     nullptr,
     nullptr,
     {&settings.graph_share, kDefaultGraphShare, kLeastGraphShare, kMostGraphShare}},
    {"tandem.iterative_scan",
     "Chooses what a scan does when more rows are asked for than its candidates hold.",
     "\"strict_order\" goes on and drops rows that would break the order, \"relaxed_order\" goes on and "
     "returns them, "
     "\"off\" ends the scan.",
     reinterpret_cast<int*>(&settings.iterative_scan), static_cast<int>(IterativeScan::kStrictOrder), 0, 0,
     PGC_USERSET, 0, kIterativeScanValues},
    {"tandem.max_scan_tuples", "Sets the number of rows after which a scan stops going on.",
     "0 sets no limit: a scan returns every row if it is asked to.", &settings.max_scan_tuples, 0, 0, INT_MAX,
     PGC_USERSET, 0, nullptr},
    {"tandem.memory_budget", "Sets the shared memory that graphs and sets of rows are kept in for searches.",
     "Reserved when the server starts. 0 keeps none: searches then read the pages of the index.",
     &settings.memory_budget_kb, kDefaultMemoryBudgetKb, 0, MAX_KILOBYTES, PGC_POSTMASTER, GUC_UNIT_KB,
     nullptr},
    {"tandem.mode", "Chooses whether the caches of graphs and of filters take memory from each other.",
     "\"coordinated\" gives memory to what it is worth most for, \"independent\" each its share by "
     "tandem.graph_share.",
     reinterpret_cast<int*>(&settings.mode), static_cast<int>(CacheMode::kCoordinated), 0, 0, PGC_SIGHUP, 0,
     kModeValues},
    {"tandem.naptime", "Sets how long the background worker waits for more rows before it folds few of them.",
     "Rows that wait are searched exactly.", &settings.naptime_ms, kDefaultNaptimeMs, kMinNaptimeMs,
     kMaxNaptimeMs, PGC_SIGHUP, GUC_UNIT_MS, nullptr},
    {"tandem.optimize_for_patterns",
     "Moves memory to what suits searches, filtered searches or conditions alone.",
     "Needs tandem.auto_balance and tandem.track_query_patterns.", nullptr, 1, 0, 1, PGC_SIGHUP, 0, nullptr,
     &settings.optimize_for_patterns},
    {"tandem.persistence_interval",
     "Sets how often is written down what the caches hold, for the next start.", "0 writes nothing.",
     &settings.persistence_interval_s, kDefaultPersistenceSeconds, 0, kMostIntervalSeconds, PGC_SIGHUP,
     GUC_UNIT_S, nullptr},
    {"tandem.rebalance_interval", "Sets how often the shares of the caches are thought over.",
     "What queries need is counted in between.", &settings.rebalance_interval_s, kDefaultRebalanceSeconds, 1,
     kMostIntervalSeconds, PGC_SIGHUP, GUC_UNIT_S, nullptr},
    {"tandem.redirect_hnsw",
     "Makes CREATE INDEX ... USING hnsw create tandem indexes where there is no access method hnsw.",
     "With strategy \"hnsw_batch\" and the same m and ef_construction. Each time a NOTICE says so.", nullptr,
     0, 0, 1, PGC_USERSET, 0, nullptr, &settings.redirect_hnsw},
    {"tandem.seal_rows", "Sets the number of waiting rows that the background worker folds at once.",
     "Smaller numbers keep searches fast while rows arrive, and merge graphs more often.",
     &settings.seal_rows, kDefaultSealRows, kMinSealRows, INT_MAX, PGC_SIGHUP, 0, nullptr},
    {"tandem.track_query_patterns", "Counts searches, with and without filters, and how long they take.",
     "For tandem_index_stats, tandem_coordination and tandem.optimize_for_patterns.", nullptr, 1, 0, 1,
     PGC_SUSET, 0, nullptr, &settings.track_query_patterns},
};

}  // namespace

const Settings& CurrentSettings() {
  return settings;
}

unsigned BuildThreads() {
  if (settings.build_threads > 0) return static_cast<unsigned>(settings.build_threads);
  const unsigned half = std::thread::hardware_concurrency() / 2;
  return Min(Max(half, 1U), static_cast<unsigned>(kMaxBuildThreads));
}

void RegisterSettings() {
  for (const Setting& setting : kSettings) {
    // The server refuses to define these later; their variables are then 0.
    if (setting.context == PGC_POSTMASTER && !process_shared_preload_libraries_in_progress) continue;
    if (setting.share.variable != nullptr)
      DefineCustomRealVariable(setting.name, setting.summary, setting.details, setting.share.variable,
                               setting.share.boot_value, setting.share.least, setting.share.most,
                               setting.context, setting.flags, nullptr, nullptr, nullptr);
    else if (setting.toggle != nullptr)
      DefineCustomBoolVariable(setting.name, setting.summary, setting.details, setting.toggle,
                               setting.boot_value != 0, setting.context, setting.flags, nullptr, nullptr,
                               nullptr);
    else if (setting.values != nullptr)
      DefineCustomEnumVariable(setting.name, setting.summary, setting.details, setting.variable,
                               setting.boot_value, setting.values, setting.context, setting.flags, nullptr,
                               nullptr, nullptr);
    else
      DefineCustomIntVariable(setting.name, setting.summary, setting.details, setting.variable,
                              setting.boot_value, setting.least, setting.most, setting.context, setting.flags,
                              nullptr, nullptr, nullptr);
  }
}

}  // namespace tandem::pg
