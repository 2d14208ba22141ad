#pragma once
// The executor's side of a Tandem Scan.

namespace tandem::planner {

/// Makes the node known to the server, which looks it up by name in parallel workers; once per backend, at load.
void RegisterScanNode();

}  // namespace tandem::planner
