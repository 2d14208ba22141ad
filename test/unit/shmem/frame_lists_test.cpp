#include "shmem/frame_lists.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace tandem::shmem {
namespace {

class FrameListsTest : public testing::Test {
 protected:
  static constexpr std::uint32_t kFrames = 3 * FrameLists::kMostLookedAt;

  FrameListsTest()
      : links_(kFrames), map_(FrameLists::MapWords(kFrames)), lists_(&shared_, links_.data(), map_.data()) {
    lists_.Init(kFrames);
  }

  /// All are sets' frames, but for these, which hold chunks.
  void FillBut(std::uint32_t first, std::uint32_t count) {
    ASSERT_EQ(lists_.TakeRun(kFrames), 0U);
    for (std::uint32_t i = 0; i < count; i++) lists_.SetOwner(first + i, {1, i});
  }

  FrameLists::Shared shared_;
  std::vector<FrameLists::Link> links_;
  std::vector<std::uint64_t> map_;
  FrameLists lists_;
};

TEST_F(FrameListsTest, LooksForMovableFramesPartByPart) {
  FillBut(100, 5);
  EXPECT_EQ(lists_.FindMovableRun(5), kNoFrame) << "not as far down";
  EXPECT_EQ(lists_.FindMovableRun(5), kNoFrame);
  EXPECT_EQ(lists_.FindMovableRun(5), 100U);
  EXPECT_EQ(lists_.FindMovableRun(4), 101U) << "it stays there";
  EXPECT_EQ(lists_.FindMovableRun(6), kNoFrame) << "and begins at the top again";
  EXPECT_EQ(lists_.FindMovableRun(5), kNoFrame);
}

TEST_F(FrameListsTest, FindsARunAcrossTwoParts) {
  FillBut(kFrames - FrameLists::kMostLookedAt - 3, 5);
  EXPECT_EQ(lists_.FindMovableRun(5), kNoFrame);
  EXPECT_EQ(lists_.FindMovableRun(5), kFrames - FrameLists::kMostLookedAt - 3);
}

TEST_F(FrameListsTest, FindsALongerRunThanAPart) {
  FillBut(7, FrameLists::kMostLookedAt + 10);
  std::uint32_t first = kNoFrame;
  for (int i = 0; i < 4 && first == kNoFrame; i++)
    first = lists_.FindMovableRun(FrameLists::kMostLookedAt / 2);
  EXPECT_NE(first, kNoFrame);
}

}  // namespace
}  // namespace tandem::shmem
