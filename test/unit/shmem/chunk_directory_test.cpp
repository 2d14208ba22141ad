#include "shmem/chunk_directory.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "unit/shmem/test_memory.hpp"

namespace tandem::shmem {
namespace {

constexpr std::uint32_t kStart = 1000;  // seconds
constexpr std::uint32_t kIdle = TestDirectory::kIdleSeconds;
constexpr std::uint32_t kBatch = TestDirectory::kBatch;

/// What a process would do with the directory, in one thread.
class ChunkDirectoryTest : public testing::Test {
 protected:
  explicit ChunkDirectoryTest(std::uint32_t frames = 40) : cache_(frames, 2) {}

  bool Load(const CachedSegmentRef& ref, std::uint32_t chunk, std::uint32_t now) {
    const std::uint32_t frame = directory_.BeginLoad(ref, chunk, now);
    if (frame == kNoFrame) return false;
    EXPECT_TRUE(directory_.FinishLoad(ref, chunk, frame));
    return true;
  }

  /// Loads until there is no memory; returns how many chunks.
  std::uint32_t LoadAll(const CachedSegmentRef& ref, std::uint32_t chunks, std::uint32_t now) {
    std::uint32_t loaded = 0;
    for (std::uint32_t i = 0; i < chunks; i++) loaded += Load(ref, i, now) ? 1 : 0;
    return loaded;
  }

  /// 0 if the segment is not there, else 1 and the number of its chunks.
  std::uint32_t CountChunks(const CachedSegmentRef& ref, std::uint32_t chunks, std::uint32_t now) {
    ChunkTable table;
    if (!directory_.Attach(ref, now, &table)) return 0;
    std::uint32_t count = 1;
    for (std::uint32_t i = 0; i < chunks; i++) count += table.Chunk(i) != nullptr ? 1 : 0;
    return count;
  }

  /// Searches that read as much as is usual.
  static SegmentUses UsesOf(float searches) {
    return {searches, {searches * policy::kUsualReads.codes, searches * policy::kUsualReads.lists}};
  }

  CachedSegmentStatus StatusOf(const SegmentKey& key) {
    std::vector<CachedSegmentStatus> all(TestDirectory::kSlots);
    const std::uint32_t count = directory_.ReadStatus(all.data(), TestDirectory::kSlots, kStart);
    for (std::uint32_t i = 0; i < count; i++)
      if (all[i].key == key) return all[i];
    return {};
  }

  /// All in one go.
  bool ClearRun(std::uint32_t count) {
    const std::uint32_t first = directory_.FindClearableRun(count);
    if (first != kNoFrame) directory_.ClearFrames(first, first, first + count);
    return first != kNoFrame;
  }

  template <typename Predicate>
  void Forget(Predicate matches) {
    while (directory_.Forget(matches)) {
    }
  }

  TestCache cache_;
  TestDirectory& directory_ = cache_.directory;
};

TEST_F(ChunkDirectoryTest, FindsWhatItMadeByKeyAlone) {
  EXPECT_EQ(directory_.Find(KeyOf(1)).generation, 0U);
  const CachedSegmentRef ref = directory_.Make(KeyOf(1), 10, kStart);
  ASSERT_NE(ref.generation, 0U);
  EXPECT_EQ(directory_.Find(KeyOf(1)).generation, ref.generation);
  for (SegmentKey other : {KeyOf(2), KeyOf(1, 101)}) EXPECT_EQ(directory_.Find(other).generation, 0U);
  SegmentKey other = KeyOf(1);
  other.incarnation++;
  EXPECT_EQ(directory_.Find(other).generation, 0U);
  other = KeyOf(1);
  other.database++;
  EXPECT_EQ(directory_.Find(other).generation, 0U);
  other = KeyOf(1);
  other.tablespace++;
  EXPECT_EQ(directory_.Find(other).generation, 0U);
}

TEST_F(ChunkDirectoryTest, ShowsAChunkOnlyWhenItsLoadIsFinished) {
  const CachedSegmentRef ref = directory_.Make(KeyOf(1), 10, kStart);
  ChunkTable table;
  ASSERT_TRUE(directory_.Attach(ref, kStart, &table));
  EXPECT_EQ(table.Chunk(7), nullptr);
  const std::uint32_t frame = directory_.BeginLoad(ref, 7, kStart);
  ASSERT_NE(frame, kNoFrame);
  EXPECT_EQ(table.Chunk(7), nullptr);
  ASSERT_TRUE(directory_.FinishLoad(ref, 7, frame));
  EXPECT_EQ(table.Chunk(7), cache_.frames.Address(frame));
  EXPECT_EQ(table.Chunk(6), nullptr);
  EXPECT_EQ(StatusOf(KeyOf(1)).cached_chunks, 1U);
  EXPECT_EQ(StatusOf(KeyOf(1)).loads, 1U);
}

TEST_F(ChunkDirectoryTest, LetsOneOfTwoLoadAChunk) {
  const CachedSegmentRef ref = directory_.Make(KeyOf(1), 10, kStart);
  const std::uint32_t frame = directory_.BeginLoad(ref, 7, kStart);
  ASSERT_NE(frame, kNoFrame);
  EXPECT_EQ(directory_.BeginLoad(ref, 7, kStart), kNoFrame);
  // An abandoned load can be done by another.
  directory_.AbandonLoad(ref, 7);
  cache_.frames.GiveBack(frame);
  EXPECT_TRUE(Load(ref, 7, kStart));
  EXPECT_EQ(directory_.BeginLoad(ref, 7, kStart), kNoFrame);
  EXPECT_EQ(cache_.frames.Status().free, 40U - 2);
}

TEST_F(ChunkDirectoryTest, RefusesChunksThatTheSegmentDoesNotHave) {
  const CachedSegmentRef ref = directory_.Make(KeyOf(1), 10, kStart);
  EXPECT_EQ(directory_.BeginLoad(ref, 10, kStart), kNoFrame);
  EXPECT_EQ(directory_.BeginLoad({0, 0}, 1, kStart), kNoFrame);
  EXPECT_EQ(
      directory_.Make(KeyOf(2), ChunkTable::kFrames * ChunkTable::kChunksPerFrame + 1, kStart).generation,
      0U);
}

TEST_F(ChunkDirectoryTest, AForgottenSegmentGivesAllItsFramesBack) {
  const CachedSegmentRef one = directory_.Make(KeyOf(1), 10, kStart);
  const CachedSegmentRef two = directory_.Make(KeyOf(2), 10, kStart);
  EXPECT_EQ(LoadAll(one, 10, kStart), 10U);
  EXPECT_EQ(LoadAll(two, 10, kStart), 10U);
  Forget([](const SegmentKey& key) { return key == KeyOf(1); });
  ChunkTable table;
  EXPECT_FALSE(directory_.Attach(one, kStart, &table));
  EXPECT_EQ(CountChunks(two, 10, kStart), 1U + 10);
  cache_.frames.Reclaim();
  EXPECT_EQ(cache_.frames.Status().free, 40U - 11);
}

TEST_F(ChunkDirectoryTest, ALoadThatIsOvertakenByForgettingKeepsNothing) {
  const CachedSegmentRef ref = directory_.Make(KeyOf(1), 10, kStart);
  const std::uint32_t frame = directory_.BeginLoad(ref, 7, kStart);
  Forget([](const SegmentKey&) { return true; });
  // Another segment, which may have the slot now.
  const CachedSegmentRef other = directory_.Make(KeyOf(2), 10, kStart);
  EXPECT_EQ(other.slot, ref.slot);
  EXPECT_FALSE(directory_.FinishLoad(ref, 7, frame));
  directory_.AbandonLoad(ref, 7);
  EXPECT_EQ(CountChunks(other, 10, kStart), 1U);
  EXPECT_EQ(directory_.BeginLoad(ref, 8, kStart), kNoFrame);
}

TEST_F(ChunkDirectoryTest, ASlotThatChangesHandsUnderAReaderIsNotTheReadersAnyMore) {
  const CachedSegmentRef ref = directory_.Make(KeyOf(1), 10, kStart);
  CachedSegmentRef other{};
  // The generation was looked at, the tables were not yet.
  cache_.frames.on_address = [&] {
    cache_.frames.on_address = nullptr;
    Forget([](const SegmentKey&) { return true; });
    other = directory_.Make(KeyOf(2), 10, kStart);
  };
  ChunkTable table;
  EXPECT_FALSE(directory_.Attach(ref, kStart, &table));
  EXPECT_EQ(other.slot, ref.slot);
  EXPECT_TRUE(directory_.Attach(other, kStart, &table));
}

TEST_F(ChunkDirectoryTest, UnlinksBeforeItRetires) {
  const CachedSegmentRef ref = directory_.Make(KeyOf(1), 10, kStart);
  EXPECT_EQ(LoadAll(ref, 10, kStart), 10U);
  ChunkTable before;
  ASSERT_TRUE(directory_.Attach(ref, kStart, &before));
  std::uint32_t retired = 0;
  bool table_retired = false;
  cache_.frames.on_retire = [&](const std::uint32_t* frames, std::uint32_t count) {
    for (std::uint32_t i = 0; i < count; i++) {
      const char* frame = cache_.frames.Address(frames[i]);
      if (frame == reinterpret_cast<const char*>(before.frame_of[0])) {
        table_retired = true;
        ChunkTable after;
        EXPECT_FALSE(directory_.Attach(ref, kStart, &after));
      }
      for (std::uint32_t chunk = 0; chunk < 10; chunk++) EXPECT_NE(before.Chunk(chunk), frame);
    }
    retired += count;
  };
  Forget([](const SegmentKey&) { return true; });
  EXPECT_EQ(retired, 11U);
  EXPECT_TRUE(table_retired);
}

TEST_F(ChunkDirectoryTest, SpansSeveralTableFrames) {
  constexpr std::uint32_t kChunks = 2 * ChunkTable::kChunksPerFrame + 1;
  const CachedSegmentRef ref = directory_.Make(KeyOf(1), kChunks, kStart);
  ASSERT_NE(ref.generation, 0U);
  EXPECT_EQ(StatusOf(KeyOf(1)).table_frames, 3U);
  ChunkTable table;
  ASSERT_TRUE(directory_.Attach(ref, kStart, &table));
  for (const std::uint32_t chunk :
       {0U, ChunkTable::kChunksPerFrame - 1, ChunkTable::kChunksPerFrame, kChunks - 1}) {
    EXPECT_TRUE(Load(ref, chunk, kStart));
    EXPECT_NE(table.Chunk(chunk), nullptr);
  }
  Forget([](const SegmentKey&) { return true; });
  cache_.frames.Reclaim();
  EXPECT_EQ(cache_.frames.Status().free, 40U);
}

TEST_F(ChunkDirectoryTest, ATableThatDoesNotFitLeavesNothingBehind) {
  ASSERT_NE(directory_.Make(KeyOf(1), ChunkTable::kChunksPerFrame * 30, kStart).generation, 0U);
  EXPECT_EQ(directory_.Make(KeyOf(2), ChunkTable::kChunksPerFrame * 11, kStart).generation, 0U);
  EXPECT_EQ(cache_.frames.Status().free, 10U);
  EXPECT_NE(directory_.Make(KeyOf(2), ChunkTable::kChunksPerFrame * 10, kStart + 1).generation, 0U);
}

TEST_F(ChunkDirectoryTest, ASegmentLargerThanTheBudgetKeepsWhatItHas) {
  const CachedSegmentRef ref = directory_.Make(KeyOf(1), 100, kStart);
  EXPECT_EQ(LoadAll(ref, 100, kStart), 39U);
  for (std::uint32_t later = 1; later < 5; later++) {
    EXPECT_EQ(LoadAll(ref, 100, kStart + later * kIdle), 0U);
    EXPECT_EQ(CountChunks(ref, 100, kStart), 1U + 39);
  }
}

TEST_F(ChunkDirectoryTest, SegmentsInUseTakeNothingFromEachOther) {
  const CachedSegmentRef one = directory_.Make(KeyOf(1), 30, kStart);
  const CachedSegmentRef two = directory_.Make(KeyOf(2), 30, kStart);
  EXPECT_EQ(LoadAll(one, 30, kStart), 30U);
  EXPECT_EQ(LoadAll(two, 30, kStart), 8U);
  // Searched in turns, each time asking for what is missing.
  for (std::uint32_t now = kStart; now < kStart + 5 * kIdle; now += kIdle - 1) {
    EXPECT_EQ(CountChunks(one, 30, now), 1U + 30);
    EXPECT_EQ(CountChunks(two, 30, now), 1U + 8);
    EXPECT_EQ(LoadAll(two, 30, now), 0U);
  }
  EXPECT_EQ(StatusOf(KeyOf(1)).evictions + StatusOf(KeyOf(2)).evictions, 0U);
}

TEST_F(ChunkDirectoryTest, TakesFromTheLongestUnusedTheLastChunksFirst) {
  const CachedSegmentRef oldest = directory_.Make(KeyOf(1), 18, kStart);
  const CachedSegmentRef old = directory_.Make(KeyOf(2), 19, kStart);
  EXPECT_EQ(LoadAll(oldest, 18, kStart), 18U);
  EXPECT_EQ(LoadAll(old, 19, kStart + 1), 19U);
  const std::uint32_t now = kStart + 1 + kIdle;
  const CachedSegmentRef fresh = directory_.Make(KeyOf(3), 30, now);
  ASSERT_NE(fresh.generation, 0U);
  EXPECT_TRUE(Load(fresh, 0, now));
  EXPECT_EQ(StatusOf(KeyOf(1)).evictions, kBatch);
  EXPECT_EQ(StatusOf(KeyOf(2)).evictions, 0U);
  ChunkTable table;
  ASSERT_TRUE(directory_.Attach(oldest, now, &table));
  EXPECT_NE(table.Chunk(1), nullptr);
  EXPECT_EQ(table.Chunk(2), nullptr);
}

TEST_F(ChunkDirectoryTest, ASegmentWhoseLastChunkGoesGivesItsTableBack) {
  const CachedSegmentRef old = directory_.Make(KeyOf(1), 39, kStart);
  EXPECT_EQ(LoadAll(old, 39, kStart), 39U);
  const std::uint32_t now = kStart + kIdle;
  const CachedSegmentRef fresh = directory_.Make(KeyOf(2), 39, now);
  EXPECT_EQ(LoadAll(fresh, 39, now), 39U);
  EXPECT_EQ(directory_.Find(KeyOf(1)).generation, 0U);
  EXPECT_EQ(StatusOf(KeyOf(2)).cached_chunks, 39U);
}

TEST_F(ChunkDirectoryTest, TheClockOfAnotherProcessMayBeASecondBehind) {
  const CachedSegmentRef one = directory_.Make(KeyOf(1), 39, kStart);
  EXPECT_EQ(LoadAll(one, 39, kStart), 39U);
  // Marked as used at kStart, asked for at kStart - 1: that is not an age of 2^32 seconds.
  EXPECT_EQ(directory_.Make(KeyOf(2), 5, kStart - 1).generation, 0U);
  EXPECT_EQ(CountChunks(one, 39, kStart), 1U + 39);
}

TEST_F(ChunkDirectoryTest, WhileAReaderHoldsFramesNoMoreAreTakenAway) {
  const CachedSegmentRef old = directory_.Make(KeyOf(1), 39, kStart);
  EXPECT_EQ(LoadAll(old, 39, kStart), 39U);
  cache_.frames.epochs.Enter(1);
  const std::uint32_t now = kStart + kIdle;
  // The first try takes a batch away, and cannot have it yet.
  for (int i = 0; i < 10; i++) EXPECT_EQ(directory_.Make(KeyOf(2), 5, now).generation, 0U);
  EXPECT_EQ(StatusOf(KeyOf(1)).cached_chunks, 39U - kBatch);
  cache_.frames.epochs.Leave(1);
  EXPECT_NE(directory_.Make(KeyOf(2), 5, now).generation, 0U);
}

TEST_F(ChunkDirectoryTest, LooksForMemoryOnceASecondWhenThereIsNone) {
  const CachedSegmentRef one = directory_.Make(KeyOf(1), 50, kStart);
  EXPECT_EQ(LoadAll(one, 50, kStart), 39U);
  EXPECT_TRUE(directory_.IsFull(kStart));
  EXPECT_FALSE(directory_.IsFull(kStart + 1));
  // Forgetting makes room at once.
  Forget([](const SegmentKey&) { return true; });
  EXPECT_FALSE(directory_.IsFull(kStart));
  EXPECT_NE(directory_.Make(KeyOf(2), 10, kStart).generation, 0U);
}

// Memory that came back chunk by chunk, as they were missed, has some links in it while codes are missing.
TEST_F(ChunkDirectoryTest, LinksMakeRoomForCodesOfTheirSegment) {
  constexpr std::uint32_t kCodes = 30, kLinks = 30;
  const CachedSegmentRef ref = directory_.Make(KeyOf(1), kCodes + kLinks, kStart, kLinks);
  for (std::uint32_t i = 10; i < 49; i++) ASSERT_TRUE(Load(ref, i, kStart));  // 20 of codes, 19 of links
  EXPECT_FALSE(Load(ref, 0, kStart));
  EXPECT_FALSE(directory_.GiveLinksUp(ref, kCodes + kLinks - 1)) << "not for other links";
  cache_.frames.are_for_filters = true;
  EXPECT_FALSE(directory_.GiveLinksUp(ref, 0)) << "nor for filters";
  cache_.frames.are_for_filters = false;
  EXPECT_TRUE(directory_.IsFull(kStart));
  EXPECT_EQ(StatusOf(KeyOf(1)).evictions, 0U);
  cache_.frames.epochs.Enter(1);
  EXPECT_TRUE(directory_.GiveLinksUp(ref, 0));
  EXPECT_FALSE(directory_.IsFull(kStart)) << "who was refused may try again";
  EXPECT_FALSE(Load(ref, 0, kStart)) << "a reader may be looking at them";
  EXPECT_FALSE(directory_.GiveLinksUp(ref, 0)) << "no more while these wait for it";
  cache_.frames.epochs.Leave(1);
  EXPECT_EQ(LoadAll(ref, 10, kStart), 10U);
  EXPECT_EQ(CountChunks(ref, kCodes, kStart), 1U + kCodes);
  EXPECT_EQ(StatusOf(KeyOf(1)).evictions, kBatch);
}

TEST_F(ChunkDirectoryTest, CodesAreNotGivenUpForCodes) {
  constexpr std::uint32_t kCodes = 50, kLinks = 30;
  const CachedSegmentRef ref = directory_.Make(KeyOf(1), kCodes + kLinks, kStart, kLinks);
  for (std::uint32_t i = 13; i < kCodes + 2; i++) ASSERT_TRUE(Load(ref, i, kStart));
  EXPECT_FALSE(Load(ref, 0, kStart));
  EXPECT_TRUE(directory_.GiveLinksUp(ref, 0));
  EXPECT_EQ(LoadAll(ref, 13, kStart), 2U);
  EXPECT_FALSE(directory_.GiveLinksUp(ref, 2));
  EXPECT_EQ(CountChunks(ref, kCodes, kStart), 1U + 39);
}

// Walks by a filter follow as many lists as they compare codes.
TEST_F(ChunkDirectoryTest, LinksStayWhereTheyAreReadAsMuchAsCodes) {
  constexpr std::uint32_t kCodes = 30, kLinks = 30;
  const CachedSegmentRef ref = directory_.Make(KeyOf(1), kCodes + kLinks, kStart, kLinks);
  for (std::uint32_t i = 10; i < 49; i++) ASSERT_TRUE(Load(ref, i, kStart));
  EXPECT_FALSE(Load(ref, 0, kStart));
  directory_.Count(ref, kStart, {100, {100 * 1000, 100 * 850}});
  EXPECT_FALSE(directory_.GiveLinksUp(ref, 0));
  directory_.Count(ref, kStart, {100, {100 * 1000, 100 * 50}});
  EXPECT_TRUE(directory_.GiveLinksUp(ref, 0));
}

// ---- Ways of giving memory up to filters ----

TEST_F(ChunkDirectoryTest, GivesUpWhatIsWorthLeastAlsoInUse) {
  const CachedSegmentRef busy = directory_.Make(KeyOf(1), 19, kStart);
  const CachedSegmentRef calm = directory_.Make(KeyOf(2), 19, kStart);
  for (const CachedSegmentRef& ref : {busy, calm})
    for (std::uint32_t i = 0; i < 19; i++)
      ASSERT_TRUE(directory_.FinishLoad(ref, i, directory_.BeginLoad(ref, i, kStart), 50));
  directory_.Count(busy, kStart, UsesOf(100));
  directory_.Count(calm, kStart, UsesOf(2));
  EXPECT_GT(directory_.LeastUtility(kStart), 0);
  directory_.GiveUp(10, kStart);
  EXPECT_EQ(CountChunks(busy, 19, kStart), 1U + 19);
  EXPECT_EQ(CountChunks(calm, 19, kStart), 1U + 9);
  // More than there is: nothing is left, and nothing fails.
  directory_.GiveUp(100, kStart);
  cache_.frames.Reclaim();
  EXPECT_EQ(cache_.frames.Status().free, 40U);
  EXPECT_EQ(directory_.LeastUtility(kStart), 0);
}

TEST_F(ChunkDirectoryTest, ASegmentThatIsBeingLoadedIsNotTheFirstToGiveWay) {
  const CachedSegmentRef old = directory_.Make(KeyOf(1), 16, kStart);
  for (std::uint32_t i = 0; i < 16; i++)
    ASSERT_TRUE(directory_.FinishLoad(old, i, directory_.BeginLoad(old, i, kStart), 50));
  constexpr std::uint32_t kLater = kStart + 60;  // two half-lives
  const CachedSegmentRef fresh = directory_.Make(KeyOf(2), 10, kLater);
  EXPECT_GT(directory_.LeastUtility(kLater), 0) << "that of the old one";
  directory_.GiveUp(1, kLater);
  EXPECT_EQ(CountChunks(old, 16, kLater - 60), 1U + 15);
  ASSERT_TRUE(directory_.FinishLoad(fresh, 0, directory_.BeginLoad(fresh, 0, kLater), 50));
  directory_.GiveUp(1, kLater);
  EXPECT_EQ(CountChunks(old, 16, kLater - 60), 1U + 14);
  EXPECT_EQ(CountChunks(fresh, 10, kLater), 1U + 1);
}

// As many searches of each; those of one follow so many lists as filtered walks do.
TEST_F(ChunkDirectoryTest, WhatSearchesReadDecidesWhatIsKept) {
  constexpr std::uint32_t kCodes = 200, kLinks = 100;
  // Of equals the first one would go.
  const CachedSegmentRef filtered = directory_.Make(KeyOf(1), kCodes + kLinks, kStart, kLinks);
  const CachedSegmentRef plain = directory_.Make(KeyOf(2), kCodes + kLinks, kStart, kLinks);
  for (const CachedSegmentRef& ref : {plain, filtered})
    for (std::uint32_t i = kCodes - 5; i < kCodes + 5; i++)
      ASSERT_TRUE(directory_.FinishLoad(ref, i, directory_.BeginLoad(ref, i, kStart), 50));
  directory_.Count(plain, kStart, {100, {100 * 1000, 100 * 50}});
  directory_.Count(filtered, kStart, {100, {100 * 1000, 100 * 850}});
  // Links of plain walks are worth less than codes of either, links of the others more.
  directory_.GiveUp(10, kStart);
  EXPECT_EQ(CountChunks(plain, kCodes + kLinks, kStart), 0U) << "nothing is left of it";
  EXPECT_EQ(CountChunks(filtered, kCodes + kLinks, kStart), 1U + 10);
}

// A graph that is new is told from one that is as new and searched less, and is not worth less than an old one for being new.
TEST_F(ChunkDirectoryTest, WhatIsNewCountsAsIfItAlwaysHadBeenThere) {
  const auto load = [&](const CachedSegmentRef& ref, std::uint32_t now) {
    ASSERT_TRUE(directory_.FinishLoad(ref, 0, directory_.BeginLoad(ref, 0, now), 50));
  };
  const CachedSegmentRef old = directory_.Make(KeyOf(1), 1, kStart);
  load(old, kStart);
  for (std::uint32_t second = 0; second < 300; second++) directory_.Count(old, kStart + second, UsesOf(10));
  const double worth = directory_.LeastUtility(kStart + 299);
  (void)directory_.Forget([](const SegmentKey&) { return true; });
  const CachedSegmentRef fresh = directory_.Make(KeyOf(2), 1, kStart + 400);
  load(fresh, kStart + 400);
  for (std::uint32_t second = 0; second < 6; second++)
    directory_.Count(fresh, kStart + 400 + second, UsesOf(10));
  EXPECT_NEAR(directory_.LeastUtility(kStart + 405), worth, worth / 3);
}

TEST_F(ChunkDirectoryTest, GivesUpAsMuchAsWasAskedFor) {
  // The one worth least has fewer than that: the next one gives the rest.
  const CachedSegmentRef small = directory_.Make(KeyOf(1), 3, kStart);
  const CachedSegmentRef large = directory_.Make(KeyOf(2), 30, kStart);
  for (std::uint32_t i = 0; i < 3; i++)
    ASSERT_TRUE(directory_.FinishLoad(small, i, directory_.BeginLoad(small, i, kStart), 50));
  for (std::uint32_t i = 0; i < 30; i++)
    ASSERT_TRUE(directory_.FinishLoad(large, i, directory_.BeginLoad(large, i, kStart), 50));
  directory_.Count(large, kStart, UsesOf(10));
  directory_.GiveUp(10, kStart);
  EXPECT_EQ(directory_.Find(KeyOf(1)).generation, 0U) << "empty: its table goes, too";
  EXPECT_EQ(CountChunks(large, 30, kStart), 1U + 30 - 7);
}

// A loader that gets nothing because filters are to have it takes nothing from anybody.
TEST_F(ChunkDirectoryTest, EvictsNothingForWhatIsMeantForFilters) {
  const CachedSegmentRef idle = directory_.Make(KeyOf(1), 30, kStart);
  EXPECT_EQ(LoadAll(idle, 30, kStart), 30U);
  const std::uint32_t now = kStart + kIdle;
  const CachedSegmentRef fresh = directory_.Make(KeyOf(2), 20, now);
  cache_.frames.are_for_filters = true;
  EXPECT_FALSE(Load(fresh, 0, now));
  EXPECT_TRUE(directory_.IsFull(now));
  EXPECT_EQ(StatusOf(KeyOf(1)).evictions, 0U);
  cache_.frames.are_for_filters = false;
  EXPECT_EQ(LoadAll(fresh, 20, now + 1), 20U);
}

TEST_F(ChunkDirectoryTest, ClearsARunByMovingChunks) {
  // Ten small segments and one that stays, in turns, so that the small ones leave holes everywhere.
  const CachedSegmentRef ref = directory_.Make(KeyOf(1), 19, kStart);
  for (std::uint32_t i = 0; i < 19; i++) {
    ASSERT_TRUE(Load(ref, i, kStart));
    if (i % 2 == 0) {
      ASSERT_TRUE(Load(directory_.Make(KeyOf(100 + i), 1, kStart), 0, kStart));
    }
  }
  ChunkTable table;
  ASSERT_TRUE(directory_.Attach(ref, kStart, &table));
  for (std::uint32_t i = 0; i < 19; i++)
    std::memset(const_cast<char*>(table.Chunk(i)), static_cast<int>(i), kFrameBytes);
  Forget([](const SegmentKey& key) { return key.segment >= 100; });
  cache_.frames.Reclaim();
  ASSERT_EQ(cache_.frames.Status().free, 20U);
  ASSERT_EQ(cache_.frames.Allocate(6 * kFrameBytes), 0U) << "free, but not beside each other";
  cache_.frames.epochs.Enter(1);
  EXPECT_TRUE(ClearRun(6));
  EXPECT_EQ(cache_.frames.Allocate(6 * kFrameBytes), 0U) << "a reader may still look at what was moved";
  cache_.frames.epochs.Leave(1);
  const std::uint64_t at = cache_.frames.Allocate(6 * kFrameBytes);
  ASSERT_NE(at, 0U);
  std::memset(cache_.frames.PieceAt(at), 0xEE, std::size_t{6} * kFrameBytes);
  EXPECT_EQ(CountChunks(ref, 19, kStart), 1U + 19) << "none was given up";
  for (std::uint32_t i = 0; i < 19; i++)
    for (const std::size_t offset : {std::size_t{0}, std::size_t{kFrameBytes} - 1})
      EXPECT_EQ(static_cast<unsigned char>(table.Chunk(i)[offset]), i);
  cache_.frames.Free(at);
  Forget([](const SegmentKey&) { return true; });
  cache_.frames.Reclaim();
  EXPECT_EQ(cache_.frames.Status().free, 40U);
}

// Somebody may be adding to a tail's chunk: it is given up, and its frame waits for them.
TEST_F(ChunkDirectoryTest, ClearsARunOfATailsChunksByGivingThemUp) {
  EXPECT_EQ(LoadAll(directory_.Make(KeyOf(9), 5, kStart), 5, kStart), 5U);
  SegmentKey tail = KeyOf(1);
  tail.part = SegmentPart::kTail;
  const CachedSegmentRef ref = directory_.Make(tail, 39, kStart);
  EXPECT_EQ(LoadAll(ref, 30, kStart), 30U);
  Forget([](const SegmentKey& key) { return key == KeyOf(9); });
  cache_.frames.Reclaim();
  EXPECT_EQ(cache_.frames.Status().free, 9U) << "six below, three above";
  EXPECT_TRUE(ClearRun(7));
  EXPECT_EQ(CountChunks(ref, 39, kStart), 1U + 26);
  EXPECT_NE(cache_.frames.Allocate(7 * kFrameBytes), 0U);
}

TEST_F(ChunkDirectoryTest, ClearsNoRunWithATableOrALoadInIt) {
  const CachedSegmentRef ref = directory_.Make(KeyOf(1), 39, kStart);
  EXPECT_EQ(LoadAll(ref, 20, kStart), 20U);
  const std::uint32_t loading = directory_.BeginLoad(ref, 25, kStart);
  ASSERT_EQ(loading, 21U);
  EXPECT_TRUE(ClearRun(18));
  EXPECT_FALSE(ClearRun(21)) << "the load is at 21, the table at 0";
  EXPECT_TRUE(directory_.FinishLoad(ref, 25, loading));
  EXPECT_TRUE(ClearRun(39));
  EXPECT_FALSE(ClearRun(40));
}

class ManySegmentsTest : public ChunkDirectoryTest {
 protected:
  ManySegmentsTest() : ChunkDirectoryTest(3000) {}
};

TEST_F(ManySegmentsTest, TheLongestUnusedSegmentMakesRoomForOneMore) {
  std::vector<CachedSegmentRef> refs;
  for (std::uint32_t i = 0; i < TestDirectory::kSlots; i++) {
    refs.push_back(directory_.Make(KeyOf(i), 1, kStart + (i == 77 ? 0 : 1)));
    ASSERT_TRUE(Load(refs.back(), 0, kStart + (i == 77 ? 0 : 1)));
  }
  EXPECT_EQ(directory_.Make(KeyOf(5000), 1, kStart + 2).generation, 0U);
  const CachedSegmentRef more = directory_.Make(KeyOf(5000), 1, kStart + kIdle);
  ASSERT_NE(more.generation, 0U);
  EXPECT_EQ(more.slot, refs[77].slot);
  EXPECT_EQ(directory_.Find(KeyOf(77)).generation, 0U);
  EXPECT_EQ(CountChunks(refs[77], 1, kStart), 0U);
  // All others are in use. That keeps nobody from loading.
  EXPECT_EQ(directory_.Make(KeyOf(5001), 1, kStart + kIdle).generation, 0U);
  EXPECT_FALSE(directory_.MayHaveRoom(kStart + kIdle));
  EXPECT_TRUE(Load(more, 0, kStart + kIdle));
}

}  // namespace
}  // namespace tandem::shmem
