#pragma once
// What the launcher and the database workers have in common as processes.

#include "pg/pg.hpp"

extern "C" {
#include "datatype/timestamp.h"
}

namespace tandem::worker {

/// Signals: SIGTERM ends the process at the next check for interrupts, SIGHUP has the configuration read again.
void SetUpSignals();

/// Answers everything that others want of this process: end, cancel, barriers (H25), a new configuration, to leave the database.
void ServeInterrupts();

/// Sleeps until the latch is set or `until` has come (kNever: an hour). Serves interrupts.
void SleepUntil(TimestampTz until, uint32 wait_event);

constexpr TimestampTz kNever = DT_NOEND;

}  // namespace tandem::worker
