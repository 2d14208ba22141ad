#include "pg/compat.hpp"

#include "shmem/databases.hpp"
#include "worker/process.hpp"

#include <csignal>

extern "C" {
#include "access/xact.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/timestamp.h"
}

namespace tandem::worker {

// WaitLatch() takes no more than INT_MAX ms.
static constexpr long kMaxSleepMs = 60L * 60 * 1000;

static bool woken;

void SetUpSignals(OnTerminate on_terminate) {
  pqsignal(SIGTERM, on_terminate == OnTerminate::kReport ? die : SignalHandlerForShutdownRequest);
  pqsignal(SIGHUP, SignalHandlerForConfigReload);
  BackgroundWorkerUnblockSignals();
}

void ServeInterrupts() {
  CHECK_FOR_INTERRUPTS();
  if (ConfigReloadPending) {
    ConfigReloadPending = false;
    ProcessConfigFile(PGC_SIGHUP);
  }
  if (ShutdownRequestPending) proc_exit(1);  // 0 would mean: never start it again
  if (OidIsValid(MyDatabaseId) && shmem::MustLeave()) proc_exit(0);
}

void SleepUntil(TimestampTz until, uint32 wait_event) {
  ServeInterrupts();
  const long left_ms =
      until == kNever ? kMaxSleepMs : TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);
  if (left_ms > 0)
    WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, Min(left_ms, kMaxSleepMs),
              wait_event);
  woken = woken || MyLatch->is_set;
  ResetLatch(MyLatch);
  ServeInterrupts();
}

bool TakeWoken() {
  const bool was_woken = woken;
  woken = false;
  return was_woken;
}

void BeginStep() {
  SetCurrentStatementStartTimestamp();
  StartTransactionCommand();
}

void LogAndGoOn(MemoryContext caller, const char* attempt, ErrorDetail detail) {
  HOLD_INTERRUPTS();
  MemoryContextSwitchTo(caller);
  ErrorData* error = CopyErrorData();
  FlushErrorState();
  AbortOutOfAnyTransaction();
  MemoryContextSwitchTo(caller);
  const char* what = detail == ErrorDetail::kMessage ? error->message : unpack_sql_state(error->sqlerrcode);
  ereport(LOG, (errcode(error->sqlerrcode), errmsg("%s: %s", attempt, what)));
  FreeErrorData(error);
  HOLD_CANCEL_INTERRUPTS();  // as the worker's main function did: an error has set the count to 0
  RESUME_INTERRUPTS();
}

}  // namespace tandem::worker
