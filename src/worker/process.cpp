#include "pg/compat.hpp"

#include "shmem/databases.hpp"
#include "worker/process.hpp"

#include <csignal>

extern "C" {
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

void SetUpSignals() {
  pqsignal(SIGTERM, die);
  pqsignal(SIGHUP, SignalHandlerForConfigReload);
  BackgroundWorkerUnblockSignals();
}

void ServeInterrupts() {
  CHECK_FOR_INTERRUPTS();
  if (ConfigReloadPending) {
    ConfigReloadPending = false;
    ProcessConfigFile(PGC_SIGHUP);
  }
  if (OidIsValid(MyDatabaseId) && shmem::MustLeave()) proc_exit(0);
}

void SleepUntil(TimestampTz until, uint32 wait_event) {
  ServeInterrupts();
  const long left_ms =
      until == kNever ? kMaxSleepMs : TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);
  if (left_ms > 0)
    WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, Min(left_ms, kMaxSleepMs),
              wait_event);
  ResetLatch(MyLatch);
  ServeInterrupts();
}

}  // namespace tandem::worker
