#include "shmem/latency_histogram.hpp"

#include <gtest/gtest.h>

namespace tandem::shmem {
namespace {

TEST(LatencyHistogram, EachDurationIsWithinAnEighthOfItsBucketsMiddle) {
  std::uint32_t before = 0;
  for (double microseconds = 1; microseconds < 8.3e6; microseconds *= 1.01) {
    const std::uint32_t bucket = LatencyBucketOf(microseconds);
    ASSERT_GE(bucket, before);
    ASSERT_LE(bucket, before + 1) << "none is left out";
    before = bucket;
    ASSERT_NEAR(LatencyOfBucket(bucket) / microseconds, 1, 0.13) << microseconds;
  }
  EXPECT_EQ(before, kLatencyBuckets - 1);
  for (const double odd : {0.0, -1.0, 0.5}) EXPECT_EQ(LatencyBucketOf(odd), 0U);
  for (const double odd : {1e8, 1e300}) EXPECT_EQ(LatencyBucketOf(odd), kLatencyBuckets - 1);
}

TEST(LatencyHistogram, QuantilesAreThose) {
  std::uint64_t counts[kLatencyBuckets] = {};
  EXPECT_EQ(LatencyQuantile(counts, 0.99), 0);
  for (int i = 1; i <= 1000; i++) counts[LatencyBucketOf(i * 10)]++;
  EXPECT_NEAR(LatencyQuantile(counts, 0.5), 5000, 700);
  EXPECT_NEAR(LatencyQuantile(counts, 0.99), 9900, 1300);
  EXPECT_NEAR(LatencyQuantile(counts, 0), 10, 2);
}

}  // namespace
}  // namespace tandem::shmem
