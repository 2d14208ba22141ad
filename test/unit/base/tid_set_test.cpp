#include "base/tid_set.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <utility>
#include <vector>

namespace tandem::base {
namespace {

HeapTid Tid(std::uint32_t block, std::uint16_t offset) {
  return {static_cast<std::uint16_t>(block >> 16), static_cast<std::uint16_t>(block), offset};
}

TEST(TidSet, IsEmptyAtFirst) {
  TidSet set;
  set.Freeze();
  EXPECT_TRUE(set.empty());
  EXPECT_FALSE(set.Contains(Tid(0, 1)));
  EXPECT_FALSE(TidFinder(&set).SeekBlock(0));
}

TEST(TidSet, HasWhatWasAdded) {
  TidSet set;
  set.AddTid(Tid(0, 1));
  set.AddTid(Tid(0, 3));
  set.AddTid(Tid(0, 3));
  set.AddTid(Tid(70'000, 2));
  set.Freeze();
  EXPECT_EQ(set.size(), 3U);
  EXPECT_TRUE(set.Contains(Tid(0, 1)));
  EXPECT_FALSE(set.Contains(Tid(0, 2)));
  EXPECT_TRUE(set.Contains(Tid(0, 3)));
  EXPECT_TRUE(set.Contains(Tid(70'000, 2)));
  EXPECT_FALSE(set.Contains(Tid(70'000, 3)));
  EXPECT_FALSE(set.Contains(Tid(69'999, 2)));
  EXPECT_FALSE(set.Contains(Tid(70'001, 2)));
}

// Broken once by a digit that is left out.
TEST(TidSet, SortsKeys) {
  std::mt19937_64 random(5);
  for (const auto& [count, blocks] :
       {std::pair{1U, 1U}, {5U, 3U}, {3'000U, 200U}, {3'000U, 100'000U}, {3'000U, 4'000'000'000U}}) {
    for (const bool is_ascending : {false, true}) {
      std::set<std::pair<std::uint32_t, std::uint16_t>> tids;
      std::vector<std::uint64_t> keys;
      for (std::uint32_t i = 0; i < count; ++i) {
        const auto block = static_cast<std::uint32_t>(random() % blocks);
        const auto offset = static_cast<std::uint16_t>(1 + random() % 291);
        tids.insert({block, offset});
        keys.push_back(Tid(block, offset).Key());
      }
      keys.push_back(keys.front());
      if (is_ascending) std::sort(keys.begin(), keys.end());
      std::vector<std::uint64_t> scratch(keys.size());
      TidSet set;
      set.AddKeys(keys.data(), keys.size(), scratch.data());
      set.Freeze();
      EXPECT_EQ(set.size(), tids.size()) << count << " in " << blocks;
      TidFinder finder(&set);
      for (const auto& [block, offset] : tids) EXPECT_TRUE(finder.Contains(Tid(block, offset)));
      EXPECT_EQ(set.whole_blocks(), 0U);
    }
  }
  TidSet none;
  none.AddKeys(nullptr, 0, nullptr);
  none.Freeze();
  EXPECT_TRUE(none.empty());
}

TEST(TidSet, AdmitsEveryTidOfAWholeBlock) {
  TidSet set;
  set.AddTid(Tid(4, 7));
  set.AddTid(Tid(5, 7));
  set.AddWholeBlock(5);
  set.AddWholeBlock(5);
  set.AddTid(Tid(5, 9));
  set.AddWholeBlock(8);
  set.AddTid(Tid(9, 1));
  set.Freeze();
  EXPECT_EQ(set.size(), 2U);
  EXPECT_EQ(set.whole_blocks(), 2U);
  EXPECT_TRUE(set.Contains(Tid(5, 1)));
  EXPECT_TRUE(set.Contains(Tid(8, 291)));
  EXPECT_FALSE(set.Contains(Tid(4, 1)));
  EXPECT_FALSE(set.Contains(Tid(9, 2)));
  EXPECT_FALSE(set.Contains(Tid(6, 1)));
}

TEST(TidSet, TakesTheLargestBlockNumberOfTheServer) {
  TidSet set;
  set.AddTid(Tid(0xFFFFFFFE, 0xFFFF));
  set.Freeze();
  EXPECT_TRUE(set.Contains(Tid(0xFFFFFFFE, 0xFFFF)));
  EXPECT_FALSE(set.Contains(Tid(0xFFFFFFFE, 1)));
}

struct Sample {
  TidSet set;
  std::set<std::pair<std::uint32_t, std::uint16_t>> exact;
  std::set<std::uint32_t> whole;

  [[nodiscard]] bool Has(std::uint32_t block, std::uint16_t offset) const {
    return whole.count(block) > 0 || exact.count({block, offset}) > 0;
  }
};

Sample MakeSample(unsigned seed, std::uint32_t blocks, double share) {
  Sample sample;
  std::mt19937 generator(seed);
  std::uniform_real_distribution<double> random(0.0, 1.0);
  for (std::uint32_t block = 0; block < blocks; ++block) {
    if (random(generator) < share / 20) {
      sample.whole.insert(block);
      sample.set.AddWholeBlock(block);
      continue;
    }
    for (std::uint16_t offset = 1; offset <= 40; ++offset) {
      if (random(generator) >= share) continue;
      sample.exact.emplace(block, offset);
      sample.set.AddTid(Tid(block, offset));
    }
  }
  sample.set.Freeze();
  return sample;
}

// Broken once by seeking only forwards; by halving on one block too few.
TEST(TidFinder, AnswersInAnyOrderAsTheSetDoes) {
  for (const double share : {0.001, 0.05, 0.6, 1.0}) {
    const Sample sample = MakeSample(7, 500, share);
    std::vector<std::pair<std::uint32_t, std::uint16_t>> questions;
    for (std::uint32_t block = 0; block < 503; ++block)
      for (std::uint16_t offset = 1; offset <= 41; offset += 3) questions.emplace_back(block, offset);
    TidFinder ascending(&sample.set);
    for (const auto& [block, offset] : questions)
      ASSERT_EQ(ascending.Contains(Tid(block, offset)), sample.Has(block, offset)) << block << ", " << offset;
    std::mt19937 generator(8);
    std::shuffle(questions.begin(), questions.end(), generator);
    TidFinder shuffled(&sample.set);
    for (const auto& [block, offset] : questions) {
      ASSERT_EQ(shuffled.Contains(Tid(block, offset)), sample.Has(block, offset)) << block << ", " << offset;
      ASSERT_EQ(sample.set.Contains(Tid(block, offset)), sample.Has(block, offset));
    }
  }
}

TEST(TidFinder, WalksTheBlocks) {
  TidSet set;
  for (std::uint32_t block = 10; block < 1000; block += 10) set.AddTid(Tid(block, 1));
  set.Freeze();
  TidFinder finder(&set);
  std::uint32_t blocks = 0;
  for (std::uint32_t next = 0; finder.SeekBlock(next); next = finder.block() + 1) {
    EXPECT_EQ(finder.block(), 10 * ++blocks);
    EXPECT_TRUE(finder.BlockHas(1));
    EXPECT_FALSE(finder.BlockHas(2));
  }
  EXPECT_EQ(blocks, 99U);
}

TEST(TidSet, TakesTwoBytesATid) {
  TidSet set;
  for (std::uint32_t block = 0; block < 1000; ++block)
    for (std::uint16_t offset = 1; offset <= 100; ++offset) set.AddTid(Tid(block, offset));
  set.Freeze();
  EXPECT_LE(set.MemoryBytes(), 2 * (2 * 100'000U + 8 * 1'001U));
}

}  // namespace
}  // namespace tandem::base
