#pragma once
// The extension's settings, in alphabetical order. Defined in one table in settings.cpp.

#include "pg/pg.hpp"

namespace tandem::pg {

enum class IterativeScan : int { kOff, kRelaxedOrder, kStrictOrder };

/// policy::BudgetMode. kLru can be set, but is shown to nobody: benches compare with it.
enum class CacheMode : int { kCoordinated, kIndependent, kLru };

/// 0: the index's own ef_search, or kDefaultEfSearch.
constexpr int kDefaultEfSearch = 40;
constexpr int kDefaultM = 16;
constexpr int kDefaultEfConstruction = 128;

struct Settings {
  bool auto_balance;          ///< tandem.auto_balance
  int build_memory_kb;        ///< tandem.build_memory: private memory of one build
  int build_threads;          ///< tandem.build_threads; 0: half of the processors, at least one
  int ef_search;              ///< tandem.ef_search
  bool enable_custom_scan;    ///< tandem.enable_custom_scan
  bool enable_filtered_scan;  ///< tandem.enable_filtered_scan
  double graph_share;         ///< tandem.graph_share: 0 to 1
  IterativeScan iterative_scan;
  int max_scan_tuples;  ///< tandem.max_scan_tuples; 0: no limit
  int memory_budget_kb;  ///< tandem.memory_budget: shared memory for caches, as of server start; 0: none, or no preload
  CacheMode mode;              ///< tandem.mode
  int naptime_ms;              ///< tandem.naptime
  bool optimize_for_patterns;  ///< tandem.optimize_for_patterns
  int persistence_interval_s;  ///< tandem.persistence_interval; 0: never
  int rebalance_interval_s;    ///< tandem.rebalance_interval
  bool redirect_hnsw;          ///< tandem.redirect_hnsw
  int seal_rows;               ///< tandem.seal_rows
  bool track_query_patterns;   ///< tandem.track_query_patterns
};

[[nodiscard]] const Settings& CurrentSettings();

/// tandem.build_threads with 0 resolved.
[[nodiscard]] unsigned BuildThreads();

/// Once per backend, at load.
void RegisterSettings();

}  // namespace tandem::pg
