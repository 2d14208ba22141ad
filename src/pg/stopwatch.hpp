#pragma once
// How long something takes this process.

#include "pg/pg.hpp"

#include <sys/resource.h>

extern "C" {
#include "portability/instr_time.h"
}

namespace tandem::pg {

/// Time since it was made, whoever had the processor.
class WallClock {
 public:
  WallClock() noexcept { INSTR_TIME_SET_CURRENT(start_); }

  void AddTo(instr_time* sum) const noexcept {
    instr_time now;
    INSTR_TIME_SET_CURRENT(now);
    INSTR_TIME_ACCUM_DIFF(*sum, now, start_);
  }
  [[nodiscard]] double Milliseconds() const noexcept {
    instr_time now;
    INSTR_TIME_SET_CURRENT(now);
    INSTR_TIME_SUBTRACT(now, start_);
    return INSTR_TIME_GET_MILLISEC(now);
  }

 private:
  instr_time start_;
};

/// Starts when it is made. Time in which others were given the processor does not count, as it says nothing of the next time: what
/// takes 0.2 ms takes 4 now and then, and among many such pieces those would be the ones that look worth keeping.
class Stopwatch {
 public:
  Stopwatch() noexcept { getrusage(RUSAGE_SELF, &usage_); }

  [[nodiscard]] float Microseconds() const noexcept {
    const double wall_us = clock_.Milliseconds() * 1e3;
    rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    if (usage.ru_nivcsw == usage_.ru_nivcsw) return static_cast<float>(wall_us);
    const double cpu_us = MicrosecondsOf(usage) - MicrosecondsOf(usage_);
    return static_cast<float>(Min(wall_us, cpu_us));
  }

 private:
  static double MicrosecondsOf(const rusage& usage) noexcept {
    return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
           static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
  }

  rusage usage_;
  WallClock clock_;
};

}  // namespace tandem::pg
