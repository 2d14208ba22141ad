#include "shmem/budget.hpp"

#include <gtest/gtest.h>

namespace tandem::shmem {
namespace {

constexpr std::uint64_t kMegabyte = std::uint64_t{1} << 20;

TEST(Budget, IsSharedOutInWholeFramesAndNotExceeded) {
  for (std::uint64_t budget = 0; budget < 40 * kMegabyte; budget += 1024) {
    const std::uint64_t filters = FilterCacheBytes(budget);
    const std::uint64_t graphs = GraphFrames(budget) * kFrameBytes;
    ASSERT_EQ(filters % kFrameBytes, 0U);
    ASSERT_LE(filters + graphs, budget);
    ASSERT_GT(filters + graphs + kFrameBytes, budget);
  }
  EXPECT_EQ(FilterCacheBytes(256 * kMegabyte), 32 * kMegabyte);
}

TEST(Budget, IsAllForGraphsIfItIsSmall) {
  EXPECT_EQ(FilterCacheBytes(8 * kMegabyte - 1), 0U);
  EXPECT_EQ(GraphFrames(kMegabyte), 16U);
  EXPECT_EQ(FilterCacheBytes(8 * kMegabyte), kMegabyte);
}

}  // namespace
}  // namespace tandem::shmem
