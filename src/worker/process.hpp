#pragma once
// What the launcher and the database workers have in common as processes.

#include "pg/pg.hpp"

extern "C" {
#include "datatype/timestamp.h"
}

namespace tandem::worker {

/// SIGTERM ends the process at the next check for interrupts, with the server's usual message (FATAL), or without a word in
/// ServeInterrupts(). SIGHUP has the configuration read again.
enum class OnTerminate { kReport, kLeaveQuietly };
void SetUpSignals(OnTerminate on_terminate);

/// Answers everything that others want of this process: end, cancel, barriers (H25), a new configuration, to leave the database.
void ServeInterrupts();

/// Sleeps until the latch is set or `until` has come (kNever: an hour). Serves interrupts.
void SleepUntil(TimestampTz until, uint32 wait_event);
/// True if somebody has woken this process since the last call, also in the middle of something else that it slept in.
[[nodiscard]] bool TakeWoken();

/// Begins a transaction, which is a statement of its own to whoever looks at this process.
void BeginStep();

/// In PG_CATCH() of a worker, about something that nobody waits for: the error is logged as what came of `attempt`, its transaction aborted.
/// caller: the memory context that is current afterwards. Without its message, which may hold values, by its SQLSTATE.
enum class ErrorDetail { kMessage, kSqlState };
void LogAndGoOn(MemoryContext caller, const char* attempt, ErrorDetail detail);

constexpr TimestampTz kNever = DT_NOEND;

}  // namespace tandem::worker
