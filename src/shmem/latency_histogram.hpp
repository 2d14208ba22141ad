#pragma once
// Durations, counted in four buckets for each power of two. Includes no server header.

#include <cstdint>

namespace tandem::shmem {

/// Of microseconds from 1 to 2^23, some 8 s; what is longer is in the last.
constexpr std::uint32_t kStepsPerPower = 4;
constexpr std::uint32_t kLatencyBuckets = 23 * kStepsPerPower;

[[nodiscard]] inline std::uint32_t LatencyBucketOf(double microseconds) noexcept {
  if (!(microseconds > 1)) return 0;
  const auto whole = static_cast<std::uint64_t>(microseconds < 1e9 ? microseconds * kStepsPerPower : 4e9);
  const auto power = static_cast<std::uint32_t>(63 - __builtin_clzll(whole));
  // The two bits behind the first one.
  const std::uint32_t step = static_cast<std::uint32_t>(whole >> (power - 2)) & (kStepsPerPower - 1);
  const std::uint32_t bucket = (power - 2) * kStepsPerPower + step;
  return bucket < kLatencyBuckets ? bucket : kLatencyBuckets - 1;
}

/// The middle of a bucket.
[[nodiscard]] inline double LatencyOfBucket(std::uint32_t bucket) noexcept {
  const double power = static_cast<double>(std::uint64_t{1} << bucket / kStepsPerPower);
  return power * (1 + (bucket % kStepsPerPower + 0.5) / kStepsPerPower);
}

/// The duration below which `share` of them are; 0 if there are none.
[[nodiscard]] inline double LatencyQuantile(const std::uint64_t (&counts)[kLatencyBuckets],
                                            double share) noexcept {
  std::uint64_t all = 0;
  for (const std::uint64_t count : counts) all += count;
  if (all == 0) return 0;
  const auto wanted = static_cast<std::uint64_t>(share * static_cast<double>(all));
  std::uint64_t seen = 0;
  for (std::uint32_t bucket = 0; bucket < kLatencyBuckets; bucket++) {
    seen += counts[bucket];
    if (seen > wanted) return LatencyOfBucket(bucket);
  }
  return LatencyOfBucket(kLatencyBuckets - 1);
}

}  // namespace tandem::shmem
