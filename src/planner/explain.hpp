#pragma once
// What EXPLAIN (ANALYZE, VERBOSE) says about searches.

namespace tandem::planner {

/// Installs the hooks; once per backend, at load.
void RegisterExplain();

}  // namespace tandem::planner
