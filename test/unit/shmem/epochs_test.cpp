#include "shmem/epochs.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "unit/shmem/test_memory.hpp"

namespace tandem::shmem {
namespace {

class EpochsTest : public testing::Test {
 protected:
  EpochsTest() : epochs_(&shared_, readers_, 4) { epochs_.Init(); }

  Epochs::Shared shared_;
  Epochs::Reader readers_[4];
  Epochs epochs_;
};

TEST_F(EpochsTest, NobodyHoldsAnythingAtFirst) {
  EXPECT_LT(epochs_.Stamp(), epochs_.OldestInside());
  EXPECT_EQ(epochs_.OldestInside(), Epochs::kNever);
}

TEST_F(EpochsTest, WhoEnteredBeforeHoldsWhatIsStampedUntilLeaving) {
  epochs_.Enter(2);
  EXPECT_TRUE(epochs_.IsInside(2));
  const std::uint64_t stamp = epochs_.Stamp();
  EXPECT_GE(stamp, epochs_.OldestInside());
  epochs_.Leave(2);
  EXPECT_FALSE(epochs_.IsInside(2));
  EXPECT_LT(stamp, epochs_.OldestInside());
}

TEST_F(EpochsTest, WhoEntersLaterDoesNotHoldIt) {
  const std::uint64_t stamp = epochs_.Stamp();
  epochs_.Enter(0);
  EXPECT_LT(stamp, epochs_.OldestInside());
  // But what is stamped now.
  EXPECT_GE(epochs_.Stamp(), epochs_.OldestInside());
}

TEST_F(EpochsTest, TheOldestOfSeveralDecides) {
  epochs_.Enter(3);
  const std::uint64_t first = epochs_.Stamp();
  epochs_.Enter(1);
  const std::uint64_t second = epochs_.Stamp();
  epochs_.Leave(3);
  EXPECT_LT(first, epochs_.OldestInside());
  EXPECT_GE(second, epochs_.OldestInside());
}

/// One object that is published, unlinked and spoilt over and over. A reader that finds it while it is inside must never see it
/// spoilt: either the writer sees that the reader is inside, or the reader sees that the object is gone. That takes the
/// fences: without the one in Enter() this fails on x86 already.
class OneObject {
 public:
  OneObject() : epochs_(&shared_, slots_, kReaders) { epochs_.Init(); }

  /// Until there were rounds enough of both kinds; a busy machine may take long.
  void Run() {
    std::vector<std::thread> threads;
    for (std::uint32_t i = 0; i < kReaders; i++) threads.emplace_back([this, i] { Read(i); });
    threads.emplace_back([this] { Write(); });
    for (int i = 0; i < 40'000 && (i < 50 || found < kEnough || spoilt_rounds < kEnough); i++)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    done_ = true;
    for (std::thread& thread : threads) thread.join();
  }

  std::atomic<std::uint64_t> found{0};
  std::atomic<std::uint64_t> wrong{0};
  std::atomic<std::uint64_t> spoilt_rounds{0};
  static constexpr std::uint64_t kEnough = 1000;

 private:
  static constexpr std::uint32_t kReaders = 2;
  static constexpr int kLooks = 20;
  static constexpr std::uint32_t kColdBytes = std::uint32_t{32} << 20;

  void Read(std::uint32_t number) {
    // Stores that miss the caches: that of Enter() waits behind them for its turn, and loads that may overtake it do.
    std::vector<char> cold(kColdBytes);
    std::uint32_t at = 0;
    while (!done_.load(std::memory_order_relaxed)) {
      for (int i = 0; i < 4; i++) cold[(at = at * 1664525U + 1013904223U) % kColdBytes] = 1;
      epochs_.Enter(number);
      if (linked_.load(std::memory_order_acquire)) {
        found.fetch_add(1, std::memory_order_relaxed);
        for (int i = 0; i < kLooks; i++)
          if (spoilt_.load(std::memory_order_relaxed)) wrong.fetch_add(1, std::memory_order_relaxed);
      }
      epochs_.Leave(number);
    }
  }

  void Write() {
    for (int round = 0; !done_.load(std::memory_order_relaxed); round++) {
      spoilt_.store(false, std::memory_order_relaxed);
      linked_.store(true, std::memory_order_release);
      // In reach for now shorter, now longer, so that all steps of a reader meet the unlinking.
      for (volatile int i = 0; i < round % 64; i = i + 1) {
      }
      if (round % 64 == 0) std::this_thread::yield();
      linked_.store(false, std::memory_order_relaxed);
      const std::uint64_t stamp = epochs_.Stamp();
      if (stamp < epochs_.OldestInside()) {
        spoilt_.store(true, std::memory_order_relaxed);
        spoilt_rounds++;
      }
      // A reader that the scheduler has stopped may hold it for long.
      while (stamp >= epochs_.OldestInside()) std::this_thread::yield();
    }
  }

  Epochs::Shared shared_;
  Epochs::Reader slots_[kReaders];
  Epochs epochs_;
  std::atomic<bool> linked_{false};
  std::atomic<bool> spoilt_{false};
  std::atomic<bool> done_{false};
};

TEST(Epochs, AReaderInsideNeverSeesWhatItFoundSpoilt) {
  OneObject object;
  object.Run();
  EXPECT_EQ(object.wrong, 0U) << "of " << object.found;
  // It was a race.
  EXPECT_GE(object.found, object.kEnough);
  EXPECT_GE(object.spoilt_rounds, object.kEnough);
}

// ---- FrameLists ----

TEST(FrameLists, HandsOutEachFrameOnceThenNone) {
  TestFrames frames(5, 1);
  std::vector<bool> seen(5, false);
  for (int i = 0; i < 5; i++) {
    const std::uint32_t frame = frames.Take();
    ASSERT_LT(frame, 5U);
    EXPECT_FALSE(seen[frame]);
    seen[frame] = true;
  }
  EXPECT_EQ(frames.Take(), kNoFrame);
  frames.GiveBack(3);
  EXPECT_EQ(frames.Status().free, 1U);
  EXPECT_EQ(frames.Take(), 3U);
}

TEST(FrameLists, RetiredFramesComeBackInTheirOrderWhenReadersHaveLeft) {
  TestFrames frames(3, 2);
  std::uint32_t all[3];
  for (std::uint32_t& frame : all) frame = frames.Take();
  frames.epochs.Enter(0);
  frames.Retire(&all[0], 1);
  frames.epochs.Enter(1);
  frames.Retire(&all[1], 2);
  EXPECT_EQ(frames.Take(), kNoFrame);
  EXPECT_EQ(frames.Status().retired, 3U);
  frames.epochs.Leave(0);
  EXPECT_EQ(frames.Take(), all[0]);
  EXPECT_EQ(frames.Take(), kNoFrame);
  EXPECT_EQ(frames.Status().retired, 2U);
  frames.epochs.Leave(1);
  EXPECT_NE(frames.Take(), kNoFrame);
  EXPECT_NE(frames.Take(), kNoFrame);
  EXPECT_EQ(frames.Take(), kNoFrame);
}

TEST(FrameLists, RunsAreTakenFromTheOtherEnd) {
  constexpr std::uint32_t kFrames = 200;
  FrameLists::Shared shared;
  std::vector<FrameLists::Link> links(kFrames);
  std::vector<std::uint64_t> map(FrameLists::MapWords(kFrames));
  const FrameLists lists(&shared, links.data(), map.data());
  lists.Init(kFrames);
  EXPECT_EQ(lists.Take(), 0U);
  EXPECT_EQ(lists.TakeRun(130), 70U);
  EXPECT_EQ(lists.TakeRun(70), kNoFrame);
  EXPECT_EQ(lists.TakeRun(69), 1U);
  EXPECT_EQ(lists.Take(), kNoFrame);
  EXPECT_EQ(lists.Status().filter, 199U);
  lists.GiveRunBack(70, 130);
  EXPECT_EQ(lists.TakeRun(1), 199U);
  EXPECT_EQ(lists.Take(), 70U);
  EXPECT_EQ(lists.TakeRun(128), 71U);
  EXPECT_EQ(lists.Status().free, 0U);
}

}  // namespace
}  // namespace tandem::shmem
