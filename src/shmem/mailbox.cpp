// The sessions' side: telling the workers that there is work, and sending them away.

#include "pg/compat.hpp"

#include "pg/stop_point.hpp"
#include "shmem/mailbox.hpp"
#include "shmem/tables.hpp"

extern "C" {
#include "access/htup_details.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "utils/resowner.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
}

namespace tandem::shmem {

namespace {

// CREATE DATABASE and its like wait 5 s for others to leave the database, then fail. The worker needs 0.1 s.
constexpr int kEvictTimeoutMs = 5000;

// The launcher is restarted 5 s after it fails; a server that starts or recovers may be slower.
constexpr int kLauncherGraceMs = 30 * 1000;

void FlagIndex(Oid index, uint32 flags) {
  LWLockAcquire(mailbox->lock, LW_EXCLUSIVE);
  IndexSlot* slot = TakeIndex(index);
  bool wake_worker = false;
  if (slot != nullptr) {
    const uint32 before = pg_atomic_fetch_or_u32(&slot->flags, flags);
    if ((flags & ~before & kTailDated) != 0) slot->status.tail_since = slot->used_at;
    wake_worker = (flags & ~before & kUrgent) != 0;
  }
  Latch* latch = AddWork(MyDatabaseId, slot != nullptr ? kFlaggedIndexes : kAllIndexes, wake_worker);
  LWLockRelease(mailbox->lock);
  Wake(latch);
}

// ---- NotifyWork(): told when the transaction has committed and its invalidations are out ----
//
// A worker that was told at the commit itself could look, and see the catalogs as its caches have them: without the change, of which
// nobody would tell it again.

/// By the transaction under way.
struct Changed {
  Oid databases[8];
  uint32 count;
  bool more;       ///< than are listed
  bool committed;  ///< to be told once its invalidations are out
};
Changed changed;

void TellWork(Oid database) {
  LWLockAcquire(mailbox->lock, LW_EXCLUSIVE);
  Latch* latch = AddWork(database, kAllIndexes, true);
  LWLockRelease(mailbox->lock);
  Wake(latch);
}

void WishTour() {
  LWLockAcquire(mailbox->lock, LW_EXCLUSIVE);
  mailbox->tour_wanted = true;
  Latch* latch = mailbox->launcher_latch;
  LWLockRelease(mailbox->lock);
  Wake(latch);
}

void TellChanges() {
  for (uint32 i = 0; i < changed.count; i++) TellWork(changed.databases[i]);
  if (changed.more) WishTour();
}

void SeeTransactionEnd(XactEvent event, void* /*unused*/) {
  switch (event) {
    case XACT_EVENT_COMMIT:
      changed.committed = true;
      if (changed.count > 0) pg::StopPoint("committed-untold");
      return;
    case XACT_EVENT_ABORT:
    case XACT_EVENT_PREPARE:  // COMMIT PREPARED tells it, worker/utility_hook.cpp
      changed = {};
      return;
    default:
      return;
  }
}

/// The last phase comes behind the sending of invalidations and the release of locks.
void TellAfterCommit(ResourceReleasePhase phase, bool /*is_commit*/, bool is_top_level, void* /*unused*/) {
  if (phase != RESOURCE_RELEASE_AFTER_LOCKS || !is_top_level || !changed.committed) return;
  TellChanges();
  changed = {};
}

void NoteChange(Oid database) {
  for (uint32 i = 0; i < changed.count; i++)
    if (changed.databases[i] == database) return;
  if (changed.count < lengthof(changed.databases))
    changed.databases[changed.count++] = database;
  else
    changed.more = true;
}

// ---- What is in a worker's way ----

bool AdmitsWorkers(Oid database) {
  const HeapTuple tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
  if (!HeapTupleIsValid(tuple)) return false;
  const bool admits = WorkersMayConnect(*reinterpret_cast<Form_pg_database>(GETSTRUCT(tuple)));
  ReleaseSysCache(tuple);
  return admits;
}

/// With the lock held.
WorkerPresence PresenceAt(TimestampTz now) {
  // One failure is an accident, and the next worker is under way.
  constexpr uint32 kManyFailures = 2;
  const DatabaseSlot* slot = FindDatabase(MyDatabaseId);
  if (slot != nullptr && slot->worker_pid != 0) return WorkerPresence::kExpected;
  if (mailbox->launcher_latch == nullptr &&
      TimestampDifferenceExceeds(mailbox->launcher_seen_at, now, kLauncherGraceMs))
    return WorkerPresence::kNoLauncher;
  if (mailbox->short_since != 0) return WorkerPresence::kNoProcess;
  if (slot != nullptr && slot->failures >= kManyFailures) return WorkerPresence::kFailing;
  return WorkerPresence::kExpected;
}

// ---- Evictions ----

/// The entry of this session for `database`, or a free one; nullptr if none is left.
Eviction* TakeEviction(Oid database) {
  Eviction* free_entry = nullptr;
  for (Eviction& eviction : mailbox->evictions) {
    if (eviction.database == database && eviction.pid == MyProcPid) return &eviction;
    if (eviction.database == InvalidOid && free_entry == nullptr) free_entry = &eviction;
  }
  return free_entry;
}

bool is_evicting = false;

/// The worker that was sent away left its work behind, or was not let in.
void WithdrawEvictions() {
  Latch* latch = nullptr;
  LWLockAcquire(mailbox->lock, LW_EXCLUSIVE);
  for (Eviction& eviction : mailbox->evictions) {
    if (eviction.pid != MyProcPid) continue;
    const Oid database = eviction.database;
    eviction = {};
    latch = AddWork(database, kAllIndexes, false);
  }
  LWLockRelease(mailbox->lock);
  Wake(latch);
}

void OnTransactionEnd(XactEvent event, void* /*unused*/) {
  if (!is_evicting || (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT)) return;
  is_evicting = false;
  WithdrawEvictions();
}

/// The end of the session ends its transaction, too.
void WithdrawAtEnd() {
  static bool registered = false;
  if (!registered) RegisterXactCallback(OnTransactionEnd, nullptr);
  registered = true;
  is_evicting = true;
}

bool HasWorker(Oid database) {
  LWLockAcquire(mailbox->lock, LW_SHARED);
  const DatabaseSlot* slot = FindDatabase(database);
  const bool has_worker = slot != nullptr && slot->worker_pid != 0;
  LWLockRelease(mailbox->lock);
  return has_worker;
}

void AwaitDeparture(Oid database) {
  const TimestampTz end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), pg::TimeLimit(kEvictTimeoutMs));
  ConditionVariablePrepareToSleep(&mailbox->worker_left);
  while (HasWorker(database)) {
    const long left_ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), end);
    if (left_ms <= 0) break;
    ConditionVariableTimedSleep(&mailbox->worker_left, left_ms, pg::WaitEvent("TandemWorkerLeave"));
  }
  ConditionVariableCancelSleep();
}

}  // namespace

void NotifyAppend(Oid index, bool urgent) {
  if (mailbox == nullptr) return;
  uint32 flags = kRowsWait | kTailDated;
  if (urgent) flags |= kUrgent;
  IndexSlot* slot = RecallIndex(index);
  if (slot != nullptr && (pg_atomic_read_u32(&slot->flags) & flags) == flags &&
      pg_atomic_read_u64(&slot->key) == KeyOf(MyDatabaseId, index))
    return;
  FlagIndex(index, flags);
}

void NotifyWork(Oid database) {
  if (mailbox == nullptr) return;
  if (!IsTransactionState()) {
    TellWork(database);
    return;
  }
  static bool registered = false;
  if (!registered) {
    RegisterXactCallback(SeeTransactionEnd, nullptr);
    RegisterResourceReleaseCallback(TellAfterCommit, nullptr);
  }
  registered = true;
  NoteChange(database);
}

void RequestFold(Oid index, uint64 rows) {
  if (mailbox == nullptr) return;
  LWLockAcquire(mailbox->lock, LW_EXCLUSIVE);
  IndexSlot* slot = TakeIndex(index);
  if (slot != nullptr) {
    slot->requested_rows = Max(slot->requested_rows, rows);
    slot->retry_at = 0;
  }
  LWLockRelease(mailbox->lock);
  FlagIndex(index, kUrgent);
}

void EvictWorkers(Oid database) {
  if (mailbox == nullptr) return;
  WithdrawAtEnd();
  LWLockAcquire(mailbox->lock, LW_EXCLUSIVE);
  Eviction* eviction = TakeEviction(database);
  if (eviction != nullptr) *eviction = {database, MyProcPid};
  const DatabaseSlot* slot = FindDatabase(database);
  Latch* latch = slot != nullptr && slot->worker_pid != 0 ? slot->worker_latch : nullptr;
  LWLockRelease(mailbox->lock);
  Wake(latch);
  if (eviction != nullptr) AwaitDeparture(database);
}

bool WorkersMayConnect(const FormData_pg_database& database) {
  // What a DROP DATABASE that was interrupted leaves in datconnlimit; the server's name for it came in minor versions.
  constexpr int32 kInvalidDatabase = -2;
  return database.datallowconn && !database.datistemplate && database.datconnlimit != kInvalidDatabase;
}

WorkerPresence ExpectWorker() {
  if (mailbox == nullptr) return WorkerPresence::kNotPreloaded;
  if (RecoveryInProgress()) return WorkerPresence::kInRecovery;
  if (!AdmitsWorkers(MyDatabaseId)) return WorkerPresence::kNotAdmitted;
  const TimestampTz now = GetCurrentTimestamp();
  LWLockAcquire(mailbox->lock, LW_SHARED);
  const WorkerPresence presence = PresenceAt(now);
  LWLockRelease(mailbox->lock);
  return presence;
}

TimestampTz ShortOfProcessesSince() {
  if (mailbox == nullptr) return 0;
  LWLockAcquire(mailbox->lock, LW_SHARED);
  const DatabaseSlot* slot = FindDatabase(MyDatabaseId);
  const bool waits = slot != nullptr && slot->work != 0 && slot->worker_pid == 0;
  const TimestampTz since = waits ? mailbox->short_since : 0;
  LWLockRelease(mailbox->lock);
  return since;
}

}  // namespace tandem::shmem
