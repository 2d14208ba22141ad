#include "vec/element.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "unit/vec/guarded_pages.hpp"
#include "unit/vec/reference.hpp"
#include "vec/row_distance.hpp"
#include "vec/walk_query.hpp"

namespace tandem::vec {
namespace {

TEST(Element, BitsWidenToZerosAndOnesFirstBitFirst) {
  const unsigned char bits[] = {0xA1, 0x80};
  float widened[10];
  Widen(Element::kBit, bits, 9, widened);
  const float expected[] = {1, 0, 1, 0, 0, 0, 0, 1, 1};
  for (int i = 0; i < 9; ++i) EXPECT_EQ(widened[i], expected[i]) << i;
}

TEST(Element, BitsWidenAtEveryLength) {
  std::mt19937 random(1);
  for (std::size_t n = 1; n < 200; ++n) {
    std::vector<unsigned char> bits(BytesOf(Element::kBit, n));
    for (unsigned char& byte : bits) byte = static_cast<unsigned char>(random());
    std::vector<float> widened(n + 1, 7.0F);
    Widen(Element::kBit, bits.data(), n, widened.data());
    EXPECT_EQ(widened[n], 7.0F);
    for (std::size_t i = 0; i < n; ++i)
      EXPECT_EQ(widened[i], (bits[i / 8] >> (7 - i % 8) & 1U) != 0 ? 1.0F : 0.0F) << n;
  }
}

TEST(Element, RowsTakeAsManyBytesAsTheyNeed) {
  EXPECT_EQ(BytesOf(Element::kFloat32, 3), 12U);
  EXPECT_EQ(BytesOf(Element::kFloat16, 3), 6U);
  EXPECT_EQ(BytesOf(Element::kBit, 8), 1U);
  EXPECT_EQ(BytesOf(Element::kBit, 9), 2U);
}

/// Indexes and operators, and graphs and exact scans, must agree about every row.
TEST(RowDistance, IsThatOfTheWidenedRow) {
  const test::GuardedPages guarded(3);
  std::mt19937 random(2);
  for (const std::size_t n : {1U, 7U, 8U, 9U, 63U, 100U, 333U, 1003U}) {
    for (const Element element : {Element::kFloat32, Element::kFloat16, Element::kBit}) {
      const std::size_t bytes = BytesOf(element, n);
      std::vector<unsigned char> row(bytes);
      for (unsigned char& byte : row)
        byte = static_cast<unsigned char>(random() & 0xBBU);  // finite, whatever it is
      if (element == Element::kBit && n % 8 != 0)
        row.back() = static_cast<unsigned char>(row.back() & (0xFF00U >> n % 8));
      const void* stored = guarded.AtTheEnd(row.data(), bytes);
      std::vector<float> widened(n);
      Widen(element, stored, n, widened.data());
      std::vector<float> query = test::RandomVector(n, 3);
      if (element == Element::kBit) {
        for (float& x : query) x = x > 0.0F ? 1.0F : 0.0F;
      }
      std::vector<unsigned char> room(RowDistance::RoomBytes(element, n));
      for (std::size_t i = 0; i < n && element == Element::kBit; ++i)
        if (query[i] != 0.0F) room[i / 8] = static_cast<unsigned char>(room[i / 8] | (0x80U >> i % 8));
      for (const Metric metric : {Metric::kL1, Metric::kL2, Metric::kInnerProduct, Metric::kCosine}) {
        if (element == Element::kBit && metric != Metric::kL2) continue;
        const RowDistance distance(metric, element, query.data(), n, room.data());
        const double expected = QueryDistance(metric, query.data(), n).Key(widened.data());
        const double key = distance.Key(stored);
        EXPECT_TRUE(key == expected || (key != key && expected != expected)) << n;
      }
    }
  }
}

TEST(RowDistance, OfBitsIsTheNumberThatDifferOrTheShareNotInCommon) {
  const test::GuardedPages guarded(1);
  const float query[] = {1, 1, 0, 0, 1, 0, 0, 0, 1};
  const unsigned char bits[] = {0xA8, 0x00};  // 1 0 1 0 1 0 0 0 | 0
  const void* row = guarded.AtTheEnd(bits, sizeof bits);
  unsigned char room[] = {0xC8, 0x80};
  const RowDistance hamming(Metric::kL2, Element::kBit, query, 9, room);
  EXPECT_EQ(hamming.Key(row), 3.0);
  EXPECT_EQ(hamming.Distance(3.0), 3.0) << "no root";
  const RowDistance jaccard(Metric::kCosine, Element::kBit, query, 9, room);
  EXPECT_EQ(jaccard.Key(row), 1.0 - 2.0 / 5.0);
  const unsigned char no_bits[] = {0, 0};
  EXPECT_EQ(jaccard.Key(guarded.AtTheEnd(no_bits, sizeof no_bits)), 1.0) << "not NaN as under cosine";
}

TEST(RowDistance, OfAForeignOperatorIsWhatThatSays) {
  struct Numbers {
    double next;
  };
  Numbers numbers = {0.1};
  const ForeignOperator foreign = {[](void* state, const void* row) {
                                     return static_cast<Numbers*>(state)->next *
                                            static_cast<const unsigned char*>(row)[0];
                                   },
                                   &numbers};
  const float query[] = {1, 1, 0, 0, 1, 0, 0, 0, 1};
  unsigned char room[] = {0xC8, 0x80};
  const unsigned char row[sizeof query] = {3};
  std::mt19937_64 random(5);
  for (int i = 0; i < 10000; ++i) {
    numbers.next = std::ldexp(static_cast<double>(random() >> 11), static_cast<int>(random() % 200) - 150);
    for (const Metric metric : {Metric::kL1, Metric::kL2, Metric::kInnerProduct, Metric::kCosine}) {
      const RowDistance distance(metric, Element::kFloat32, query, 9, room, foreign);
      ASSERT_EQ(distance.Distance(distance.Key(row)), numbers.next * 3)
          << "to the last bit, after a square as well";
    }
    const RowDistance hamming(Metric::kL2, Element::kBit, query, 9, room, foreign);
    ASSERT_EQ(hamming.Key(row), numbers.next * 3);
  }
  numbers.next = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(std::isnan(RowDistance(Metric::kL2, Element::kFloat32, query, 9, room, foreign).Key(row)));
}

TEST(JaccardBound, IsNeverAboveTheJaccardDistanceAndReachesItForSetsOfOneSize) {
  for (std::uint64_t a = 1; a < 40; ++a) {
    for (std::uint64_t b = 1; b < 40; ++b) {
      for (std::uint64_t both = 0; both <= std::min(a, b); ++both) {
        const double cosine =
            CosineDistance(static_cast<float>(both), static_cast<float>(a), static_cast<float>(b));
        const double jaccard = JaccardDistance({both, a, b});
        ASSERT_LE(JaccardBound(cosine), jaccard);
        if (a == b) {
          ASSERT_NEAR(JaccardBound(cosine), jaccard, 2e-6);
        }
      }
    }
  }
  EXPECT_EQ(JaccardBound(-std::numeric_limits<double>::infinity()), -std::numeric_limits<double>::infinity());
}

}  // namespace
}  // namespace tandem::vec
