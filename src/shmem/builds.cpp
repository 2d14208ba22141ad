// What a build shows of itself, and what was asked of it.

#include "pg/compat.hpp"

#include "pg/stop_point.hpp"
#include "shmem/databases.hpp"
#include "shmem/tables.hpp"

extern "C" {
#include "access/xact.h"
#include "storage/ipc.h"
#include "utils/timestamp.h"
}

namespace tandem::shmem {

namespace {

// How long a worker lets an index be that it failed to build: twice as long after each failure.
constexpr int kFirstRetryMs = 1000;
constexpr int kLastRetryMs = 5 * 60 * 1000;

/// The index that this process builds, InvalidOid if none.
Oid my_build = InvalidOid;

void EndMyBuild() {
  if (my_build == InvalidOid) return;
  LWLockAcquire(mailbox->lock, LW_EXCLUSIVE);
  IndexSlot* slot = FindIndex(my_build);
  if (slot != nullptr && slot->status.pid == MyProcPid) slot->status.pid = 0;
  my_build = InvalidOid;
  LWLockRelease(mailbox->lock);
}

void EndMyBuildAtAbort(XactEvent event, void* /*unused*/) {
  if (event == XACT_EVENT_ABORT) EndMyBuild();
}

void EndMyBuildAtExit(int /*code*/, Datum /*unused*/) {
  EndMyBuild();
}

/// A build ends by an error or with its process without saying so.
void WatchMyEnd() {
  static bool registered = false;
  if (registered) return;
  RegisterXactCallback(EndMyBuildAtAbort, nullptr);
  before_shmem_exit(EndMyBuildAtExit, 0);
  registered = true;
}

int RetryDelayMs(uint32 failures) {
  if (pg::IsSwitchedOn("late-retries")) return 60 * 60 * 1000;
  const uint32 doublings = Min(failures, 20U) - 1;
  return Min(kLastRetryMs, kFirstRetryMs << Min(doublings, 10U));
}

}  // namespace

void ReportBuildStart(Oid index, uint64 rows_total) {
  if (mailbox == nullptr) return;
  WatchMyEnd();
  LWLockAcquire(mailbox->lock, LW_EXCLUSIVE);
  IndexSlot* slot = TakeIndex(index);
  if (slot != nullptr) {
    slot->status.pid = MyProcPid;
    slot->status.phase = 0;
    slot->status.rows_done = 0;
    slot->status.rows_total = rows_total;
    slot->status.started_at = slot->used_at;
    my_build = index;
  }
  LWLockRelease(mailbox->lock);
}

void ReportBuildProgress(Oid index, uint32 phase, uint64 rows_done, uint64 rows_total) {
  if (mailbox == nullptr) return;
  LWLockAcquire(mailbox->lock, LW_EXCLUSIVE);
  IndexSlot* slot = FindIndex(index);
  if (slot != nullptr) {
    slot->status.phase = phase;
    slot->status.rows_done = rows_done;
    slot->status.rows_total = rows_total;
  }
  LWLockRelease(mailbox->lock);
}

void ReportBuildEnd(Oid index, bool published, bool sealed_everything) {
  if (mailbox == nullptr) return;
  LWLockAcquire(mailbox->lock, LW_EXCLUSIVE);
  IndexSlot* slot = FindIndex(index);
  if (slot != nullptr) {
    slot->status.pid = 0;
    if (published) {
      slot->status.folds++;
      slot->failures = 0;
      slot->retry_at = 0;
    }
    if (sealed_everything) {
      slot->status.tail_since = 0;
      // The next row that is appended is the tail's first: it sets the time again.
      pg_atomic_fetch_and_u32(&slot->flags, ~static_cast<uint32>(kTailDated));
    } else if (published && slot->status.tail_since != 0) {
      // What waited when the build began is sealed; what waits now has come since.
      slot->status.tail_since = slot->status.started_at;
    }
  }
  my_build = InvalidOid;
  LWLockRelease(mailbox->lock);
}

void ReportBuildError(Oid index, const char* message) {
  if (mailbox == nullptr) return;
  LWLockAcquire(mailbox->lock, LW_EXCLUSIVE);
  IndexSlot* slot = TakeIndex(index);
  if (slot != nullptr) {
    slot->status.pid = 0;
    slot->status.error_at = slot->used_at;
    strlcpy(slot->status.error, message, kErrorBytes);
    slot->failures++;
    slot->retry_at = TimestampTzPlusMilliseconds(slot->used_at, RetryDelayMs(slot->failures));
  }
  my_build = InvalidOid;
  LWLockRelease(mailbox->lock);
}

bool ReadBuildStatus(Oid index, BuildStatus* status) {
  if (mailbox == nullptr) return false;
  LWLockAcquire(mailbox->lock, LW_SHARED);
  const IndexSlot* slot = FindIndex(index);
  if (slot != nullptr) *status = slot->status;
  LWLockRelease(mailbox->lock);
  return slot != nullptr;
}

uint64 RequestedFold(Oid index) {
  if (mailbox == nullptr) return 0;
  LWLockAcquire(mailbox->lock, LW_SHARED);
  const IndexSlot* slot = FindIndex(index);
  const uint64 rows = slot != nullptr ? slot->requested_rows : 0;
  LWLockRelease(mailbox->lock);
  return rows;
}

// ---- For the worker ----

IndexWork TakeIndexWork(Oid index) {
  LWLockAcquire(mailbox->lock, LW_EXCLUSIVE);
  IndexSlot* slot = FindIndex(index);
  // The date stays: it is the tail's, not the notice's.
  const uint32 flags =
      slot != nullptr ? pg_atomic_fetch_and_u32(&slot->flags, ~static_cast<uint32>(kRowsWait | kUrgent)) : 0;
  LWLockRelease(mailbox->lock);
  return {(flags & kRowsWait) != 0, (flags & kUrgent) != 0};
}

void ReportTail(Oid index, uint64 sealed_rows, uint64 tail_rows) {
  LWLockAcquire(mailbox->lock, LW_EXCLUSIVE);
  IndexSlot* slot = TakeIndex(index);
  if (slot != nullptr) {
    if (slot->requested_rows <= sealed_rows || tail_rows == 0) slot->requested_rows = 0;
    const bool appended = (pg_atomic_read_u32(&slot->flags) & kRowsWait) != 0;
    if (tail_rows == 0 && !appended) {
      slot->status.tail_since = 0;
      pg_atomic_fetch_and_u32(&slot->flags, ~static_cast<uint32>(kTailDated));
    } else if (slot->status.tail_since == 0) {
      slot->status.tail_since = slot->used_at;
      pg_atomic_fetch_or_u32(&slot->flags, kTailDated);
    }
  }
  LWLockRelease(mailbox->lock);
}

TimestampTz RetryAt(Oid index) {
  LWLockAcquire(mailbox->lock, LW_SHARED);
  const IndexSlot* slot = FindIndex(index);
  const TimestampTz retry_at = slot != nullptr ? slot->retry_at : 0;
  LWLockRelease(mailbox->lock);
  return retry_at;
}

}  // namespace tandem::shmem
