#pragma once
// Latency samples reduced to percentiles.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <numeric>
#include <vector>

#include "common/json_line.hpp"

namespace tandem::bench {

using Clock = std::chrono::steady_clock;

inline double SecondsBetween(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

/// Adds count, throughput and latency percentiles (microseconds, nearest rank) of `samples` in seconds.
/// `elapsed` is the wall time they were taken in, over all threads. Sorts the samples.
inline void AddLatency(JsonLine& line, std::vector<double>& samples, double elapsed) {
  line.Integer("ops", static_cast<std::int64_t>(samples.size())).Number("seconds", elapsed);
  if (samples.empty()) return;
  std::sort(samples.begin(), samples.end());
  const auto at = [&](double share) {
    const auto rank = static_cast<std::size_t>(share * static_cast<double>(samples.size()));
    return samples[std::min(rank, samples.size() - 1)] * 1e6;
  };
  const double sum = std::accumulate(samples.begin(), samples.end(), 0.0);
  line.Number("qps", static_cast<double>(samples.size()) / elapsed)
      .Number("mean_us", sum / static_cast<double>(samples.size()) * 1e6)
      .Number("min_us", samples.front() * 1e6)
      .Number("p50_us", at(0.50))
      .Number("p90_us", at(0.90))
      .Number("p95_us", at(0.95))
      .Number("p99_us", at(0.99))
      .Number("p999_us", at(0.999))
      .Number("max_us", samples.back() * 1e6);
}

}  // namespace tandem::bench
