#pragma once
// Shared memory between sessions and the background workers: who has work, what is being built. Exists only if the library was
// preloaded. Small and of fixed size; nothing here is the truth about an index, which its pages tell.

#include "pg/pg.hpp"

extern "C" {
#include "catalog/pg_database.h"
#include "datatype/timestamp.h"
}

namespace tandem::shmem {

/// False without preload: every other function here is then a no-op or says no.
[[nodiscard]] bool MailboxExists();

// ---- Sessions ----

/// Rows were appended to an index that the worker is to fold. Cheap enough for every insert: two atomic reads, unless a
/// worker has looked since. urgent: there are rows enough for a segment, so that a worker is to come at once.
void NotifyAppend(Oid index, bool urgent);
/// Something else changed that the worker may care for: index created or altered, rows deleted, the database itself. Within a
/// transaction it is told at its commit: before, the worker could not see it.
void NotifyWork(Oid database);
/// Asks for rows below `rows` to be folded, however few they are, and at once, whatever failed before.
void RequestFold(Oid index, uint64 rows);
/// Makes workers leave `database`, waits (at most 5 s; cancellable) until they have, and keeps them away until the end of the
/// transaction or of this process (H26).
void EvictWorkers(Oid database);

// ---- What a build shows ----

constexpr int kErrorBytes = 200;

struct BuildStatus {
  Oid database;
  Oid index;
  int pid;       ///< of who builds; 0: nobody now
  uint32 phase;  ///< storage::FoldPhase
  uint64 rows_done;
  uint64 rows_total;
  uint64 folds;  ///< segments built since the server started
  TimestampTz started_at;
  TimestampTz tail_since;  ///< when the oldest row that is not in a segment arrived; 0: not known or none
  TimestampTz error_at;    ///< 0: none
  char error[kErrorBytes];
};

/// Copies the status of `index` of this database; false if there is none.
[[nodiscard]] bool ReadBuildStatus(Oid index, BuildStatus* status);

// ---- Who builds: worker or session ----

void ReportBuildStart(Oid index, uint64 rows_total);
void ReportBuildProgress(Oid index, uint32 phase, uint64 rows_done, uint64 rows_total);
/// sealed_everything: no row waits any more.
void ReportBuildEnd(Oid index, bool published, bool sealed_everything);
void ReportBuildError(Oid index, const char* message);
/// The row bound asked for by RequestFold(), 0 if none.
[[nodiscard]] uint64 RequestedFold(Oid index);

// ---- Workers ----

/// True if workers may connect to such a database. Not to templates: CREATE DATABASE would fail while they are there.
[[nodiscard]] bool WorkersMayConnect(const FormData_pg_database& database);

/// Whether a worker serves this database, or what is in its way. All but the first three may pass.
enum class WorkerPresence {
  kExpected,  ///< one is there, or comes when there is work
  kNotPreloaded,
  kNotAdmitted,  ///< WorkersMayConnect() says no
  kInRecovery,
  kNoLauncher,
  kNoProcess,  ///< max_worker_processes is used up
  kFailing,    ///< they came, and ended by an error, more than once
};
/// Within a transaction.
[[nodiscard]] WorkerPresence ExpectWorker();
[[nodiscard]] inline bool WorkerAvailable() {
  return ExpectWorker() == WorkerPresence::kExpected;
}
/// Since when this database's work waits because no process is left for a worker; 0: it does not.
[[nodiscard]] TimestampTz ShortOfProcessesSince();

}  // namespace tandem::shmem
