#pragma once
// A database's worker: builds the graphs of its indexes, and leaves when there is nothing to do.

#include "pg/pg.hpp"

extern "C" {
#include "postmaster/bgworker.h"
}

namespace tandem::worker {

/// Asks the postmaster for a worker process for the database. The handle is palloc'd; nullptr if max_worker_processes
/// is used up.
[[nodiscard]] BackgroundWorkerHandle* StartDatabaseWorker(Oid database);

}  // namespace tandem::worker
