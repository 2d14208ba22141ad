#pragma once
// Named stop points: places where a test can hold, fail or kill a process, so that races and crashes are
// staged instead of awaited. Compiled in with TANDEM_STOP_POINTS only; otherwise nothing is left of them.
//
// A session arms them with the setting tandem.stop_points, a comma-separated list of NAME=ACTION:
//   error   raise an error
//   crash   kill -9 this very process (the server then recovers)
//   wait    wait until the file NAME.go appears in the data directory's folder tandem_stop_points,
//           after creating NAME.reached there; ends by itself after 20 min, longer than any test
//           waits for anything, or when the query is cancelled where no lock holds interrupts off
//   lock    wait while another session holds pg_advisory_lock(4711); for isolation tests, where no content lock is held
//   on      for switches, which are asked for by IsSwitchedOn(): another way is taken than usual

namespace tandem::pg {

#ifdef TANDEM_STOP_POINTS
void RegisterStopPoints();
void StopPoint(const char* name);
[[nodiscard]] bool IsSwitchedOn(const char* name);
#else
inline void RegisterStopPoints() {}
inline void StopPoint(const char* /*name*/) {}
[[nodiscard]] constexpr bool IsSwitchedOn(const char* /*name*/) {
  return false;
}
#endif

/// A limit of time, or ten times as much where "no-hurry" is switched on: what a test looks at is not to depend on how fast
/// the machine is.
[[nodiscard]] inline int TimeLimit(int limit_ms) {
  return IsSwitchedOn("no-hurry") ? 10 * limit_ms : limit_ms;
}

}  // namespace tandem::pg
