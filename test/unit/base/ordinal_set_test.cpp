#include "base/ordinal_set.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <memory>
#include <random>
#include <set>
#include <type_traits>
#include <utility>
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

TEST(OrdinalSet, TakesBitsOfManyAtOnce) {
  OrdinalSet set(200);
  set.ToBitmap();
  set.AddBits(0, 0x5);
  set.AddBits(128, std::uint64_t{1} << 63);
  set.AddBits(128, 0);
  set.AddBits(192, 0x80);
  set.Freeze();
  EXPECT_EQ(set.size(), 4U);
  for (const std::uint32_t ordinal : {0U, 2U, 191U, 199U}) EXPECT_TRUE(set.Contains(ordinal)) << ordinal;
  EXPECT_FALSE(set.Contains(1));
}

TEST(OrdinalSet, TakesNoMoreThanABitAnOrdinalWhenFull) {
  OrdinalSet set(1'000'000);
  for (std::uint32_t i = 0; i < 1'000'000; ++i) set.Add(i);
  set.Freeze();
  EXPECT_LE(set.MemoryBytes(), 1'000'000U / 8 + 8);
}

static_assert(!std::is_copy_constructible_v<OrdinalSet> && !std::is_copy_assignable_v<OrdinalSet>);

/// A set of about `count`, and what it has.
std::pair<OrdinalSet, std::set<std::uint32_t>> RandomSet(std::uint32_t bound, std::uint32_t count,
                                                         std::mt19937* generator) {
  std::pair<OrdinalSet, std::set<std::uint32_t>> both;
  both.first = OrdinalSet(bound);
  for (std::uint32_t i = 0; i < count && bound > 0; ++i) {
    const auto ordinal = static_cast<std::uint32_t>((*generator)() % bound);
    both.first.Add(ordinal);
    both.second.insert(ordinal);
  }
  both.first.Freeze();
  return both;
}

/// Memory that a set is borrowed from: exactly as large as it has to be.
class Lender {
 public:
  explicit Lender(const OrdinalSet& set)
      : words_(new std::uint64_t[(set.DataBytes() + 7) / 8]),
        borrowed_(OrdinalSet::Borrow(set.bound(), set.size(), set.is_bitmap(), words_.get())) {
    if (set.DataBytes() > 0) std::memcpy(words_.get(), set.data(), set.DataBytes());
  }
  [[nodiscard]] OrdinalSet* borrowed() { return &borrowed_; }

 private:
  std::unique_ptr<std::uint64_t[]> words_;
  OrdinalSet borrowed_;
};

void ExpectSame(const OrdinalSet& set, const std::set<std::uint32_t>& expected) {
  EXPECT_EQ(set.size(), expected.size());
  EXPECT_EQ(set.empty(), expected.empty());
  EXPECT_EQ(Visited(set), std::vector<std::uint32_t>(expected.begin(), expected.end()));
  for (std::uint32_t ordinal = 0; ordinal < set.bound(); ordinal += 1 + set.bound() / 997)
    EXPECT_EQ(set.Contains(ordinal), expected.count(ordinal) > 0);
}

// Broken once by a borrowed list whose bitmap was made of the list it does not own.
TEST(OrdinalSet, ReadsBorrowedMemoryLikeItsOwn) {
  std::mt19937 generator(5);
  for (const std::uint32_t bound : {0U, 1U, 64U, 65U, 50'000U}) {
    for (const std::uint32_t count : {0U, 1U, 700U, 40'000U}) {
      const auto [set, expected] = RandomSet(bound, count, &generator);
      Lender lender(set);
      OrdinalSet* borrowed = lender.borrowed();
      EXPECT_EQ(borrowed->is_bitmap(), set.is_bitmap());
      EXPECT_EQ(borrowed->DataBytes(), set.DataBytes());
      EXPECT_EQ(borrowed->MemoryBytes(), 0U);
      borrowed->Freeze();
      ExpectSame(*borrowed, expected);
      borrowed->ToBitmap();
      ASSERT_TRUE(borrowed->is_bitmap());
      borrowed->Freeze();
      ExpectSame(*borrowed, expected);
      ExpectSame(*Lender(*borrowed).borrowed(), expected);
    }
  }
}

TEST(OrdinalSet, OwnsTheBitmapOfABorrowedList) {
  OrdinalSet set(1'000);
  for (const std::uint32_t ordinal : {3U, 64U, 999U}) set.Add(ordinal);
  set.Freeze();
  Lender lender(set);
  const void* lent = lender.borrowed()->data();
  lender.borrowed()->ToBitmap();
  EXPECT_NE(lender.borrowed()->data(), lent);
  EXPECT_EQ(lender.borrowed()->MemoryBytes(), 16 * sizeof(std::uint64_t));
  EXPECT_TRUE(OrdinalSet::HasBit(lender.borrowed()->words(), 999));
  EXPECT_FALSE(OrdinalSet::HasBit(lender.borrowed()->words(), 998));
}

// Broken once by pointers that stayed behind.
TEST(OrdinalSet, MovesInEveryForm) {
  std::mt19937 generator(7);
  for (const std::uint32_t count : {0U, 20U, 5'000U}) {
    auto [set, expected] = RandomSet(10'000, count, &generator);
    Lender lender(set);
    for (OrdinalSet* from : {&set, lender.borrowed()}) {
      OrdinalSet moved(std::move(*from));
      ExpectSame(moved, expected);
      ExpectSame(*from, {});  // NOLINT(bugprone-use-after-move): it is as new
      OrdinalSet other(77);
      other.Add(5);
      other.Freeze();
      other = std::move(moved);
      ExpectSame(other, expected);
      ExpectSame(moved, {});  // NOLINT(bugprone-use-after-move)
    }
  }
}

std::set<std::uint32_t> Common(const std::set<std::uint32_t>& a, const std::set<std::uint32_t>& b) {
  std::set<std::uint32_t> both;
  std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::inserter(both, both.end()));
  return both;
}

std::set<std::uint32_t> OnlyInFirst(const std::set<std::uint32_t>& a, const std::set<std::uint32_t>& b) {
  std::set<std::uint32_t> rest;
  std::set_difference(a.begin(), a.end(), b.begin(), b.end(), std::inserter(rest, rest.end()));
  return rest;
}

// Broken once by a gallop that skips what it jumped on; by lists united without a look at their size.
TEST(OrdinalSet, IntersectsUnitesAndSubtractsInEveryForm) {
  std::mt19937 generator(11);
  for (const std::uint32_t bound : {0U, 1U, 63U, 64U, 65U, 4'097U, 100'000U}) {
    for (const std::uint32_t first : {0U, 1U, 40U, 1'500U, 3'000U, 90'000U}) {
      for (const std::uint32_t second : {0U, 3U, 100U, 2'500U, 120'000U}) {
        auto [a, in_a] = RandomSet(bound, first, &generator);
        auto [b, in_b] = RandomSet(bound, second, &generator);
        const std::set<std::uint32_t> both = Common(in_a, in_b);
        std::set<std::uint32_t> either = in_a;
        either.insert(in_b.begin(), in_b.end());
        const std::set<std::uint32_t> only_in_a = OnlyInFirst(in_a, in_b);
        const std::set<std::uint32_t> only_in_b = OnlyInFirst(in_b, in_a);
        Lender lender(b);
        for (int forms = 0; forms < 4; ++forms) {
          const OrdinalSet& other = forms == 3 ? *lender.borrowed() : b;
          for (const bool swapped : {false, true}) {
            const OrdinalSet& left = swapped ? other : a;
            const OrdinalSet& right = swapped ? a : other;
            const OrdinalSet common = Intersect(left, right);
            const OrdinalSet united = Unite(left, right);
            const OrdinalSet rest = Subtract(left, right);
            ExpectSame(common, both);
            ExpectSame(united, either);
            ExpectSame(rest, swapped ? only_in_b : only_in_a);
            const std::size_t most_listed = std::size_t{bound} / 64 * 2 + 64;
            EXPECT_EQ(common.bound(), bound);
            EXPECT_EQ(common.is_bitmap(), both.size() > most_listed);
            EXPECT_EQ(united.is_bitmap(), either.size() > most_listed);
          }
          (forms == 0 ? a : b).ToBitmap();
        }
      }
    }
  }
}

TEST(OrdinalSet, IntersectsListsOfVeryDifferentLengths) {
  std::mt19937 generator(13);
  auto [few, in_few] = RandomSet(10'000'000, 30, &generator);
  auto [many, in_many] = RandomSet(10'000'000, 200'000, &generator);
  OrdinalSet some(10'000'000);
  std::set<std::uint32_t> in_some = in_few;
  int every = 0;
  for (const std::uint32_t ordinal : in_many)
    if (++every % 7'000 == 0) in_some.insert(ordinal);
  for (const std::uint32_t ordinal : in_some) some.Add(ordinal);
  some.Freeze();
  ASSERT_FALSE(many.is_bitmap());
  EXPECT_GE(Intersect(some, many).size(), 28U);
  ExpectSame(Intersect(some, many), Common(in_some, in_many));
  ExpectSame(Intersect(many, some), Common(in_some, in_many));
}

}  // namespace
}  // namespace tandem::base
