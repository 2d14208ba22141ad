#pragma once
// The launcher: one process of the server that sees to it that databases with work have a worker.

#include "pg/pg.hpp"

namespace tandem::worker {

/// Has the postmaster start the launcher; from _PG_init during preload only. Does nothing in binary upgrade, where workers
/// would write to files that are about to be replaced (H21).
void RegisterLauncher();

}  // namespace tandem::worker
