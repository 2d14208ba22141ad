#include "shmem/budget.hpp"

#include <gtest/gtest.h>

namespace tandem::shmem {
namespace {

constexpr std::uint64_t kMegabyte = std::uint64_t{1} << 20;

TEST(Budget, IsSharedOutInWholeFramesAndNotExceeded) {
  for (std::uint64_t budget = 0; budget < 40 * kMegabyte; budget += 1024) {
    const std::uint64_t frames = BudgetFrames(budget);
    ASSERT_LE(frames * kFrameBytes, budget);
    ASSERT_GT((frames + 1) * kFrameBytes, budget);
    for (const double share : {0.1, 0.6, 0.875, 0.9}) {
      const std::uint64_t graph = GraphTarget(budget, share);
      ASSERT_LE(graph, frames);
      ASSERT_GE(graph, FloorFrames(budget));
      if (HasFilterCache(budget)) {
        ASSERT_GE(frames - graph, FloorFrames(budget));
      }
    }
  }
  EXPECT_EQ(GraphTarget(8 * kMegabyte, 0.875), 112U);
}

TEST(Budget, IsAllForGraphsIfItIsSmall) {
  EXPECT_FALSE(HasFilterCache(8 * kMegabyte - 1));
  EXPECT_EQ(GraphTarget(kMegabyte, 0.2), 16U);
  EXPECT_TRUE(HasFilterCache(8 * kMegabyte));
}

}  // namespace
}  // namespace tandem::shmem
