#include "base/ordinal_set.hpp"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <vector>

namespace tandem::base {
namespace {

std::vector<std::uint32_t> Visited(const OrdinalSet& set) {
  std::vector<std::uint32_t> visited;
  OrdinalWalk walk(&set);
  for (std::uint32_t ordinal = 0; walk.Next(&ordinal);) visited.push_back(ordinal);
  EXPECT_FALSE(walk.Next(visited.data()));
  return visited;
}

TEST(OrdinalSet, MayBeEmpty) {
  OrdinalSet set(100);
  set.Freeze();
  EXPECT_TRUE(set.empty());
  EXPECT_TRUE(Visited(set).empty());
  set.ToBitmap();
  EXPECT_TRUE(Visited(set).empty());
  OrdinalSet nothing(0);
  nothing.ToBitmap();
  nothing.Freeze();
  EXPECT_TRUE(Visited(nothing).empty());
}

// Broken once by leaving the list unsorted; by a walk that stops at an empty word.
TEST(OrdinalSet, HasWhatWasAddedInAnyOrderInBothForms) {
  std::mt19937 generator(3);
  for (const std::uint32_t bound : {1U, 63U, 64U, 65U, 100'000U}) {
    for (const std::uint32_t count : {1U, 50U, 3'000U, 90'000U}) {
      OrdinalSet set(bound);
      std::set<std::uint32_t> expected;
      for (std::uint32_t i = 0; i < count; ++i) {
        const auto ordinal = static_cast<std::uint32_t>(generator() % bound);
        set.Add(ordinal);
        expected.insert(ordinal);
      }
      set.Freeze();
      const bool few = count <= bound / 64;
      EXPECT_TRUE(!few || !set.is_bitmap());
      for (int form = 0; form < 2; ++form) {
        EXPECT_EQ(set.size(), expected.size());
        EXPECT_EQ(Visited(set), std::vector<std::uint32_t>(expected.begin(), expected.end()));
        for (std::uint32_t ordinal = 0; ordinal < bound; ordinal += 1 + bound / 997)
          EXPECT_EQ(set.Contains(ordinal), expected.count(ordinal) > 0);
        set.ToBitmap();
      }
    }
  }
}

TEST(OrdinalSet, TakesNoMoreThanABitAnOrdinalWhenFull) {
  OrdinalSet set(1'000'000);
  for (std::uint32_t i = 0; i < 1'000'000; ++i) set.Add(i);
  set.Freeze();
  EXPECT_LE(set.MemoryBytes(), 1'000'000U / 8 + 8);
}

}  // namespace
}  // namespace tandem::base
