#pragma once
// The mailbox as the launcher and the database workers see it. Without preload there are none of them: every function here
// requires MailboxExists().

#include "shmem/mailbox.hpp"

namespace tandem::shmem {

// ---- The launcher ----

struct DatabaseState {
  Oid database;
  bool has_work;
  bool has_worker;
  bool looked;  ///< its worker has called SayLooked()
  bool evicted;
  TimestampTz not_before;      ///< its workers failed: no other one before this time; 0: none did
  TimestampTz last_worker_at;  ///< when the last one came; 0: not known
};
constexpr int kMaxDatabaseStates = 64;

/// This process's latch is set from now on, until it exits, when a database has work or a worker has left.
void EnterLauncher();
/// Copies what is known of each database; returns how many.
[[nodiscard]] int ListDatabases(DatabaseState states[kMaxDatabaseStates]);
/// True, once, if some database's work found no room in the mailbox: all must be looked at.
[[nodiscard]] bool TakeTourWish();
/// Some database waits for a worker and there are as many workers as there may be.
void SetCrowded(bool crowded);
/// No worker may go there now. Its work stays, and is listed as ready again after a while, or after NotifyWork(): the server
/// tells nobody of changes that are made to pg_database by hand.
void PutOff(Oid database);
/// No process was, or again one was, to be had for a worker.
void SayShortOfProcesses(bool is_short);
/// The database is gone.
void ForgetDatabase(Oid database);

// ---- A database's worker ----

/// Makes this process the database's worker. False if it is not wanted there: another one serves, or was sent away.
/// To be called before connecting: the end is told only after the connection is closed, which is what evictors wait for.
[[nodiscard]] bool EnterDatabase(Oid database);
/// Sent away: to leave at once.
[[nodiscard]] bool MustLeave();
/// The worker knows what there is to do: the launcher goes on with its tour.
void SayLooked();
/// Another database waits for this worker's place.
[[nodiscard]] bool Crowded();
/// The worker leaves of its own accord, with or without something left to do. Whoever ends without this has failed, and
/// left work behind.
void SayDone(bool work_left);

struct WorkTaken {
  bool some;  ///< indexes were flagged
  bool all;   ///< anything may have changed
};
/// What this worker's database has been marked for since the last call.
[[nodiscard]] WorkTaken TakeWork();
struct IndexWork {
  bool rows_wait;  ///< rows were appended
  bool urgent;     ///< enough of them, or somebody waits for them
};
/// What the index was flagged with since the last call. To be called before counting rows: one that comes in between flags
/// the index again.
[[nodiscard]] IndexWork TakeIndexWork(Oid index);
/// What a look at the index found; ends a RequestFold() that is fulfilled.
void ReportTail(Oid index, uint64 sealed_rows, uint64 tail_rows);
/// When the index may be built again after failures; 0: at once.
[[nodiscard]] TimestampTz RetryAt(Oid index);

}  // namespace tandem::shmem
