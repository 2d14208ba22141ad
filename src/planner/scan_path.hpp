#pragma once
// Paths that return rows in order of distance.

namespace tandem::planner {

/// Installs the hook that offers them; once per backend, at load.
void RegisterScanPaths();

}  // namespace tandem::planner
