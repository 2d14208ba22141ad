// The launcher's and the workers' side: which database has work, who serves it.

#include "pg/compat.hpp"

#include "shmem/databases.hpp"
#include "shmem/tables.hpp"

extern "C" {
#include "storage/ipc.h"
#include "storage/proc.h"
#include "utils/timestamp.h"
}

namespace tandem::shmem {

static_assert(kMaxDatabaseStates == kDatabases);

namespace {

// A database whose worker dies gets another one after 1 s, 2 s, 4 s … up to 5 min.
constexpr int kFirstRestartMs = 1000;
constexpr int kLastRestartMs = 5 * 60 * 1000;
// Databases that admit no worker are asked about again so often while they have work.
constexpr int kPutOffMs = 10 * 1000;

enum class Departure { kFailure, kWorkLeft, kDone };
Departure departure = Departure::kFailure;

void LeaveLauncher(int /*code*/, Datum /*unused*/) {
  LWLockAcquire(mailbox->lock, LW_EXCLUSIVE);
  if (mailbox->launcher_latch == MyLatch) mailbox->launcher_latch = nullptr;
  mailbox->launcher_seen_at = GetCurrentTimestamp();
  LWLockRelease(mailbox->lock);
}

/// Runs after the process has left the array of those that are connected to the database: on_shmem_exit() calls back in
/// reverse order, and this was registered before the connection.
void LeaveDatabase(int /*code*/, Datum argument) {
  LWLockAcquire(mailbox->lock, LW_EXCLUSIVE);
  DatabaseSlot* slot = FindDatabase(DatumGetObjectId(argument));
  if (slot != nullptr && slot->worker_pid == MyProcPid) {
    const bool failed = departure == Departure::kFailure && !IsEvicted(slot->database);
    slot->worker_pid = 0;
    slot->worker_latch = nullptr;
    if (!failed) slot->failures = 0;
    if (departure != Departure::kDone) slot->work |= kAllIndexes;
  }
  Latch* latch = mailbox->launcher_latch;
  LWLockRelease(mailbox->lock);
  ConditionVariableBroadcast(&mailbox->worker_left);
  Wake(latch);
}

TimestampTz RestartAt(const DatabaseSlot& slot) {
  if (slot.failures == 0) return slot.ready_at;
  const int delay_ms = Min(kLastRestartMs, kFirstRestartMs << Min(slot.failures - 1, 10U));
  return Max(slot.ready_at, TimestampTzPlusMilliseconds(slot.worker_at, delay_ms));
}

}  // namespace

void EnterLauncher() {
  on_shmem_exit(LeaveLauncher, 0);
  LWLockAcquire(mailbox->lock, LW_EXCLUSIVE);
  mailbox->launcher_latch = MyLatch;
  LWLockRelease(mailbox->lock);
}

int ListDatabases(DatabaseState states[kMaxDatabaseStates]) {
  int count = 0;
  LWLockAcquire(mailbox->lock, LW_SHARED);
  for (const DatabaseSlot& slot : mailbox->databases) {
    if (slot.database == InvalidOid) continue;
    states[count++] = {slot.database, slot.work != 0,           slot.worker_pid != 0,
                       slot.looked,   IsEvicted(slot.database), RestartAt(slot),
                       slot.worker_at};
  }
  LWLockRelease(mailbox->lock);
  return count;
}

bool TakeTourWish() {
  LWLockAcquire(mailbox->lock, LW_EXCLUSIVE);
  const bool wanted = mailbox->tour_wanted;
  mailbox->tour_wanted = false;
  LWLockRelease(mailbox->lock);
  return wanted;
}

void SetCrowded(bool crowded) {
  LWLockAcquire(mailbox->lock, LW_EXCLUSIVE);
  mailbox->crowded = crowded;
  LWLockRelease(mailbox->lock);
}

void PutOff(Oid database) {
  LWLockAcquire(mailbox->lock, LW_EXCLUSIVE);
  DatabaseSlot* slot = FindDatabase(database);
  if (slot != nullptr) slot->ready_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), kPutOffMs);
  LWLockRelease(mailbox->lock);
}

void SayShortOfProcesses(bool is_short) {
  LWLockAcquire(mailbox->lock, LW_EXCLUSIVE);
  if (!is_short)
    mailbox->short_since = 0;
  else if (mailbox->short_since == 0)
    mailbox->short_since = GetCurrentTimestamp();
  LWLockRelease(mailbox->lock);
}

void ForgetDatabase(Oid database) {
  LWLockAcquire(mailbox->lock, LW_EXCLUSIVE);
  DatabaseSlot* slot = FindDatabase(database);
  if (slot != nullptr && slot->worker_pid == 0) *slot = {};
  for (IndexSlot& index : mailbox->indexes) {
    if (index.status.database == database && index.status.pid == 0) {
      index.status = {};
      pg_atomic_write_u64(&index.key, 0);
    }
  }
  LWLockRelease(mailbox->lock);
}

bool EnterDatabase(Oid database) {
  LWLockAcquire(mailbox->lock, LW_EXCLUSIVE);
  DatabaseSlot* slot = IsEvicted(database) ? nullptr : TakeDatabase(database);
  const bool wanted = slot != nullptr && slot->worker_pid == 0;
  if (wanted) {
    slot->worker_pid = MyProcPid;
    slot->worker_latch = MyLatch;
    slot->looked = false;
    slot->worker_at = slot->used_at;
    slot->failures++;
  }
  LWLockRelease(mailbox->lock);
  if (wanted) on_shmem_exit(LeaveDatabase, ObjectIdGetDatum(database));
  return wanted;
}

bool MustLeave() {
  LWLockAcquire(mailbox->lock, LW_SHARED);
  const bool evicted = IsEvicted(MyDatabaseId);
  LWLockRelease(mailbox->lock);
  return evicted;
}

void SayLooked() {
  LWLockAcquire(mailbox->lock, LW_EXCLUSIVE);
  DatabaseSlot* slot = FindDatabase(MyDatabaseId);
  if (slot != nullptr) slot->looked = true;
  Latch* latch = mailbox->launcher_latch;
  LWLockRelease(mailbox->lock);
  Wake(latch);
}

bool Crowded() {
  LWLockAcquire(mailbox->lock, LW_SHARED);
  const bool crowded = mailbox->crowded;
  LWLockRelease(mailbox->lock);
  return crowded;
}

void SayDone(bool work_left) {
  departure = work_left ? Departure::kWorkLeft : Departure::kDone;
}

/// What kept a build from succeeding may have been mended: REINDEX, more memory, another strategy.
static void ForgiveFailures() {
  for (IndexSlot& slot : mailbox->indexes)
    if (slot.status.database == MyDatabaseId) slot.retry_at = 0;
}

WorkTaken TakeWork() {
  LWLockAcquire(mailbox->lock, LW_EXCLUSIVE);
  DatabaseSlot* slot = FindDatabase(MyDatabaseId);
  const uint32 work = slot != nullptr ? slot->work : 0;
  if (slot != nullptr) slot->work = 0;
  if ((work & kAllIndexes) != 0) ForgiveFailures();
  LWLockRelease(mailbox->lock);
  return {(work & kFlaggedIndexes) != 0, (work & kAllIndexes) != 0};
}

}  // namespace tandem::shmem
