#pragma once
// The clock of the caches.

#include <cstdint>
#include <ctime>

namespace tandem::shmem {

/// Seconds of a clock that all processes share and nobody sets; never 0. The coarse one costs a few nanoseconds.
[[nodiscard]] inline std::uint32_t Now() {
#ifdef CLOCK_MONOTONIC_COARSE
  constexpr clockid_t kClock = CLOCK_MONOTONIC_COARSE;
#else
  constexpr clockid_t kClock = CLOCK_MONOTONIC;
#endif
  timespec now;
  clock_gettime(kClock, &now);
  return static_cast<std::uint32_t>(now.tv_sec) + 1;
}

}  // namespace tandem::shmem
