#include "vec/sketch.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <random>
#include <vector>

#include "vec/row_distance.hpp"

namespace tandem::vec {
namespace {

constexpr std::size_t kManyDimensions = 1'000'000'000;

/// A row as an index stores it.
class Row {
 public:
  explicit Row(const std::map<std::int32_t, float>& elements)
      : words_(SparseRowBytesOf(elements.size()) / sizeof(std::int32_t)) {
    words_[0] = static_cast<std::int32_t>(elements.size());
    std::size_t i = 2;
    for (const auto& [index, value] : elements) {
      words_[i] = index;
      std::memcpy(&words_[i + elements.size()], &value, sizeof value);
      ++i;
    }
  }
  [[nodiscard]] const void* data() const { return words_.data(); }
  [[nodiscard]] SparseView View() const { return ViewOfRow(data()); }

 private:
  std::vector<std::int32_t> words_;
};

Row RandomRow(std::mt19937* random, std::size_t count, std::size_t dimensions) {
  std::uniform_int_distribution<std::int32_t> index(0, static_cast<std::int32_t>(dimensions) - 1);
  std::normal_distribution<float> value;
  std::map<std::int32_t, float> elements;
  while (elements.size() < count) elements[index(*random)] = value(*random);
  return Row(elements);
}

std::vector<float> SketchOf(SparseView vector, std::size_t dimensions) {
  std::vector<float> sketch(WidenedDimensions(Element::kSparse, dimensions) + 1, 77.0F);
  MakeSketch(vector, dimensions, sketch.data());
  EXPECT_EQ(sketch.back(), 77.0F) << "written behind the sketch";
  sketch.pop_back();
  return sketch;
}

double Dot(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

TEST(Sketch, OfFewDimensionsIsTheVectorItself) {
  const Row row({{0, 1.5F}, {3, -2.0F}, {4, 1e-40F}});
  EXPECT_EQ(SketchOf(row.View(), 5), (std::vector<float>{1.5F, 0.0F, 0.0F, -2.0F, 1e-40F}));
  EXPECT_FALSE(IsSketched(Element::kSparse, kSketchWidth));
  EXPECT_TRUE(IsSketched(Element::kSparse, kSketchWidth + 1));
  EXPECT_FALSE(IsSketched(Element::kFloat32, 16000));
}

TEST(Sketch, LeavesOutWhatADamagedRowHasBeyondItsDimensions) {
  const Row row({{-7, 3.0F}, {2, 1.0F}, {5, 2.0F}, {std::numeric_limits<std::int32_t>::max(), 3.0F}});
  EXPECT_EQ(SketchOf(row.View(), 5), (std::vector<float>{0.0F, 0.0F, 1.0F, 0.0F, 0.0F}));
}

/// Indexes keep codes of sketches: these must never change.
TEST(Sketch, OfAnIndexIsTheSameForEver) {
  const struct {
    std::int32_t index;
    std::size_t sum;
    float sign;
  } known[] = {{0, 0, -1.0F}, {1, 650, 1.0F}, {1023, 743, 1.0F}, {999999999, 326, -1.0F}};
  for (const auto& expected : known) {
    const Row row({{expected.index, 1.0F}});
    const std::vector<float> sketch = SketchOf(row.View(), kManyDimensions);
    const auto at = std::find_if(sketch.begin(), sketch.end(), [](float x) { return x != 0.0F; });
    EXPECT_EQ(static_cast<std::size_t>(at - sketch.begin()), expected.sum) << expected.index;
    EXPECT_EQ(*at, expected.sign) << expected.index;
  }
}

TEST(Sketch, KeepsInnerProductsAndLengthsOnAverage) {
  std::mt19937 random(1);
  double error = 0.0;
  double squared_error = 0.0;
  constexpr int kPairs = 2000;
  for (int i = 0; i < kPairs; ++i) {
    const Row a = RandomRow(&random, 60, 300);  // of few dimensions, so that they have some in common
    const Row b = RandomRow(&random, 90, 300);
    const std::vector<float> x = SketchOf(a.View(), kSketchWidth + 1);
    const std::vector<float> y = SketchOf(b.View(), kSketchWidth + 1);
    const double truth = static_cast<double>(SparseInnerProduct(a.View(), b.View()));
    const double lengths = std::sqrt(static_cast<double>(SparseInnerProduct(a.View(), a.View())) *
                                     static_cast<double>(SparseInnerProduct(b.View(), b.View())));
    const double off = (Dot(x, y) - truth) / lengths;
    error += off / kPairs;
    squared_error += off * off / kPairs;
    EXPECT_NEAR(Dot(x, x) / static_cast<double>(SparseInnerProduct(a.View(), a.View())), 1.0, 0.4);
  }
  EXPECT_NEAR(error, 0.0, 0.003);
  EXPECT_NEAR(std::sqrt(squared_error), 1.0 / 45.0, 0.003);
}

TEST(Sketch, BringsNoVectorsFartherApartInL1) {
  std::mt19937 random(2);
  for (int i = 0; i < 300; ++i) {
    const Row a = RandomRow(&random, 1 + random() % 900, kManyDimensions);
    const Row b = RandomRow(&random, 1 + random() % 900, kManyDimensions);
    const std::vector<float> x = SketchOf(a.View(), kManyDimensions);
    const std::vector<float> y = SketchOf(b.View(), kManyDimensions);
    double distance = 0.0;
    for (std::size_t d = 0; d < x.size(); ++d) distance += std::fabs(static_cast<double>(x[d] - y[d]));
    EXPECT_LE(distance, static_cast<double>(SparseL1(a.View(), b.View())) * (1.0 + 1e-5));
  }
}

TEST(Sketch, IsZeroOnlyForAVectorWithoutElements) {
  const std::vector<float> nothing = SketchOf({nullptr, nullptr, 0}, kManyDimensions);
  EXPECT_EQ(Dot(nothing, nothing), 0.0);
  // Two indices that are added to one sum.
  const std::vector<float> first = SketchOf(Row({{0, 1.0F}}).View(), kManyDimensions);
  std::int32_t other = 1;
  while (Dot(first, SketchOf(Row({{other, 1.0F}}).View(), kManyDimensions)) == 0.0) ++other;
  const auto sign = static_cast<float>(Dot(first, SketchOf(Row({{other, 1.0F}}).View(), kManyDimensions)));
  const std::vector<float> cancelled = SketchOf(Row({{0, 1.0F}, {other, -sign}}).View(), kManyDimensions);
  EXPECT_EQ(Dot(cancelled, cancelled), 0x1p-40) << "a trace of the first element";
  // Sums stay finite.
  constexpr float kLargest = std::numeric_limits<float>::max();
  for (const float x : SketchOf(Row({{0, kLargest}, {other, sign * kLargest}}).View(), kManyDimensions))
    EXPECT_TRUE(std::isfinite(x));
}

// ---- Bits ----

constexpr std::size_t kManyBits = 64000;

std::vector<unsigned char> RandomBits(std::mt19937* random, std::size_t n) {
  std::vector<unsigned char> bits((n + 7) / 8);
  for (unsigned char& byte : bits) byte = static_cast<unsigned char>((*random)());
  if (n % 8 != 0) bits.back() = static_cast<unsigned char>(bits.back() & (0xFF00U >> n % 8));
  return bits;
}

std::vector<float> WidenedBits(const std::vector<unsigned char>& bits, std::size_t n) {
  std::vector<float> widened(WidenedDimensions(Element::kBit, n) + 1, 77.0F);
  Widen(Element::kBit, bits.data(), n, widened.data());
  EXPECT_EQ(widened.back(), 77.0F) << "written behind the sketch";
  widened.pop_back();
  return widened;
}

TEST(SketchOfBits, IsThatOfTheSparseVectorOfOnes) {
  std::mt19937 random(4);
  for (const std::size_t n : {kMostWidenedBits + 1, kMostWidenedBits + 7, kManyBits}) {
    const std::vector<unsigned char> bits = RandomBits(&random, n);
    std::map<std::int32_t, float> ones;
    for (std::size_t i = 0; i < n; ++i)
      if ((bits[i / 8] >> (7 - i % 8) & 1U) != 0) ones[static_cast<std::int32_t>(i)] = 1.0F;
    EXPECT_EQ(WidenedBits(bits, n), SketchOf(Row(ones).View(), n)) << n;
  }
  EXPECT_FALSE(IsSketched(Element::kBit, kMostWidenedBits));
  EXPECT_TRUE(IsSketched(Element::kBit, kMostWidenedBits + 1));
}

TEST(SketchOfBits, KeepsHammingDistancesOnAverage) {
  std::mt19937 random(5);
  double error = 0.0;
  double squared_error = 0.0;
  constexpr int kPairs = 100;
  for (int i = 0; i < kPairs; ++i) {
    const std::vector<unsigned char> a = RandomBits(&random, kManyBits);
    std::vector<unsigned char> b = a;
    for (std::size_t flips = 1 + random() % 20000; flips > 0; --flips) {
      unsigned char& byte = b[random() % b.size()];
      byte = static_cast<unsigned char>(byte ^ 1U << random() % 8);
    }
    double apart = 0.0;
    for (std::size_t at = 0; at < a.size(); ++at)
      apart += static_cast<double>(__builtin_popcount(static_cast<unsigned>(a[at] ^ b[at])));
    const std::vector<float> x = WidenedBits(a, kManyBits);
    const std::vector<float> y = WidenedBits(b, kManyBits);
    double found = 0.0;
    for (std::size_t d = 0; d < x.size(); ++d) found += static_cast<double>((x[d] - y[d]) * (x[d] - y[d]));
    const double off = apart == 0.0 ? 0.0 : found / apart - 1.0;
    error += off / kPairs;
    squared_error += off * off / kPairs;
  }
  EXPECT_NEAR(error, 0.0, 0.01);
  EXPECT_NEAR(std::sqrt(squared_error), 1.0 / 32.0, 0.01);
}

TEST(SketchOfBits, IsZeroOnlyWithoutAnyBit) {
  std::vector<unsigned char> bits(kManyBits / 8);
  const std::vector<float> nothing = WidenedBits(bits, kManyBits);
  EXPECT_EQ(Dot(nothing, nothing), 0.0);
  bits[0] = 0x80;
  const std::vector<float> first = WidenedBits(bits, kManyBits);
  // Another bit that is added to the same sum with the other sign.
  std::size_t other = 1;
  for (;; ++other) {
    ASSERT_LT(other, kManyBits);
    const Row one({{static_cast<std::int32_t>(other), 1.0F}});
    if (Dot(first, SketchOf(one.View(), kManyBits)) < 0.0) break;
  }
  bits[other / 8] = static_cast<unsigned char>(bits[other / 8] | 0x80U >> other % 8);
  const std::vector<float> cancelled = WidenedBits(bits, kManyBits);
  EXPECT_EQ(Dot(cancelled, cancelled), 0x1p-40) << "a trace of one of them";
}

TEST(SketchOfBits, LeavesDistancesToThemselvesExact) {
  std::mt19937 random(6);
  const std::vector<unsigned char> a = RandomBits(&random, kManyBits);
  const std::vector<unsigned char> b = RandomBits(&random, kManyBits);
  const std::vector<float> query = WidenedBits(a, kManyBits);
  std::vector<std::uint64_t> room(RowDistance::RoomBytes(Element::kBit, kManyBits) / sizeof(std::uint64_t));
  std::memcpy(room.data(), a.data(), a.size());
  const RowDistance hamming(Metric::kL2, Element::kBit, query.data(), kManyBits, room.data());
  EXPECT_EQ(hamming.Key(b.data()), static_cast<double>(CountBits().hamming(a.data(), b.data(), a.size())));
  EXPECT_EQ(hamming.Key(a.data()), 0.0);
}

TEST(SparseQueryDistance, IsTheOperatorsToTheBit) {
  std::mt19937 random(3);
  for (int i = 0; i < 300; ++i) {
    const Row query = RandomRow(&random, random() % 40, 100);
    const Row row = RandomRow(&random, random() % 40, 100);
    std::vector<float> widened(100);
    MakeSketch(query.View(), 100, widened.data());
    std::vector<std::uint64_t> room(RowDistance::RoomBytes(Element::kSparse, 100) / sizeof(std::uint64_t));
    std::memcpy(room.data(), query.data(), SparseRowBytes(query.data()));
    for (const Metric metric : {Metric::kL1, Metric::kL2, Metric::kInnerProduct, Metric::kCosine}) {
      const RowDistance distance(metric, Element::kSparse, widened.data(), 100, room.data());
      const double found = distance.Distance(distance.Key(row.data()));
      const double expected = SparseDistance(metric, query.View(), row.View());
      EXPECT_TRUE(found == expected || (found != found && expected != expected)) << i;
    }
  }
}

}  // namespace
}  // namespace tandem::vec
