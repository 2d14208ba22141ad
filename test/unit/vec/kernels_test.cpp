#include "vec/kernels.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "unit/vec/guarded_pages.hpp"
#include "unit/vec/reference.hpp"

namespace tandem::vec {
namespace {

using test::AllowedError;
using test::Bits;
using test::GuardedPages;
using test::RandomBytes;
using test::RandomVector;
using test::ReferenceSum;

constexpr std::size_t kLongest = 2'100;
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kTiniest = std::numeric_limits<float>::denorm_min();

/// The four results for one pair of vectors.
struct Results {
  float l2_squared;
  float inner_product;
  float l1;
  DotAndNorm dot_and_norm;
};

Results Compute(const DistanceKernels& kernels, const float* a, const float* b, std::size_t n) {
  return {kernels.l2_squared(a, b, n), kernels.inner_product(a, b, n), kernels.l1(a, b, n),
          kernels.dot_and_norm(a, b, n)};
}

void ExpectSameBits(const Results& left, const Results& right, std::size_t n) {
  EXPECT_EQ(Bits(left.l2_squared), Bits(right.l2_squared)) << "l2_squared, n = " << n;
  EXPECT_EQ(Bits(left.inner_product), Bits(right.inner_product)) << "inner_product, n = " << n;
  EXPECT_EQ(Bits(left.l1), Bits(right.l1)) << "l1, n = " << n;
  EXPECT_EQ(Bits(left.dot_and_norm.dot), Bits(right.dot_and_norm.dot)) << "dot, n = " << n;
  EXPECT_EQ(Bits(left.dot_and_norm.norm_squared), Bits(right.dot_and_norm.norm_squared)) << "norm, n = " << n;
}

void ExpectNear(float actual, const ReferenceSum& expected, std::size_t n, const char* what) {
  EXPECT_NEAR(static_cast<double>(actual), expected.value, AllowedError(expected, n))
      << what << ", n = " << n;
}

void ExpectMatchesReference(const DistanceKernels& kernels, const float* a, const float* b, std::size_t n) {
  const Results results = Compute(kernels, a, b, n);
  ExpectNear(results.l2_squared, test::L2SquaredReference(a, b, n), n, "l2_squared");
  ExpectNear(results.inner_product, test::InnerProductReference(a, b, n), n, "inner_product");
  ExpectNear(results.l1, test::L1Reference(a, b, n), n, "l1");
  ExpectNear(results.dot_and_norm.dot, test::InnerProductReference(a, b, n), n, "dot");
  ExpectNear(results.dot_and_norm.norm_squared, test::InnerProductReference(b, b, n), n, "norm_squared");
}

class EveryKernelSet : public testing::TestWithParam<const DistanceKernels*> {
 protected:
  const DistanceKernels& kernels_ = *GetParam();
};

INSTANTIATE_TEST_SUITE_P(Cpu, EveryKernelSet,
                         testing::ValuesIn(AvailableKernels().begin(), AvailableKernels().end()),
                         [](const auto& instance) { return std::string(instance.param->name); });

/// All that there are, but infinity and NaN.
std::vector<Half> AllHalves() {
  std::vector<Half> halves;
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    if ((bits & 0x7C00U) != 0x7C00U) halves.push_back(static_cast<Half>(bits));
  }
  return halves;
}

TEST(Half, IsItsSignPowerAndFraction) {
  for (const Half half : AllHalves()) {
    const int power = (half >> 10) & 31;
    const double fraction = (half & 1023) / 1024.0 + (power > 0 ? 1.0 : 0.0);
    const double magnitude = std::ldexp(fraction, std::max(power, 1) - 15);
    const double expected = (half & 0x8000) != 0 ? -magnitude : magnitude;
    ASSERT_EQ(static_cast<double>(FromHalf(half)), expected) << half;
    ASSERT_EQ(std::signbit(FromHalf(half)), (half & 0x8000) != 0);
  }
}

TEST_P(EveryKernelSet, MakesTheNearestHalf) {
  const std::vector<Half> halves = AllHalves();
  const auto to_half = [this](float x) {
    Half half;
    kernels_.to_halves(&x, 1, &half);
    return half;
  };
  for (const Half half : halves) {
    ASSERT_EQ(to_half(FromHalf(half)), half);
    const auto above = static_cast<Half>(half + 1);
    if ((above & 0x7C00U) == 0x7C00U || (above & 0x7FFFU) == 0) continue;
    // The middle of two goes to the even one, what is beside it to the nearer one.
    const float middle = (FromHalf(half) + FromHalf(above)) / 2.0F;
    ASSERT_EQ(to_half(middle), half % 2 == 0 ? half : above);
    ASSERT_EQ(to_half(std::nextafter(middle, FromHalf(half))), half);
    ASSERT_EQ(to_half(std::nextafter(middle, FromHalf(above))), above);
  }
}

TEST_P(EveryKernelSet, RoundsNumbersBeyondTheLargestHalfToItWhereItIsNearest) {
  const float x[] = {kLargestHalf, std::nextafter(kHalfRangeEnd, 0.0F), -std::nextafter(kHalfRangeEnd, 0.0F)};
  Half halves[3];
  kernels_.to_halves(x, 3, halves);
  EXPECT_EQ(halves[0], 0x7BFF);
  EXPECT_EQ(halves[1], 0x7BFF);
  EXPECT_EQ(halves[2], 0xFBFF);
}

TEST_P(EveryKernelSet, MakesTheHalfThatASingleNumberIsMadeInto) {
  std::vector<float> x = RandomVector(2'000, 5, -70.0F, 70.0F);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::ldexp(x[i], -static_cast<int>(i % 40));
  for (const Half half : AllHalves()) {
    x.push_back(FromHalf(half));
    x.push_back(std::nextafter(FromHalf(half), kInfinity) * 1.0004F);
  }
  x.erase(std::remove_if(x.begin(), x.end(), [](float y) { return std::fabs(y) >= kHalfRangeEnd; }), x.end());
  std::vector<Half> halves(x.size());
  kernels_.to_halves(x.data(), x.size(), halves.data());
  for (std::size_t i = 0; i < x.size(); ++i) ASSERT_EQ(ToHalf(x[i]), halves[i]) << x[i];
}

TEST_P(EveryKernelSet, WidensHalvesExactlyAtEveryLength) {
  const std::vector<Half> all = AllHalves();
  const GuardedPages guarded(2);
  for (std::size_t n = 0; n <= 150; ++n) {
    std::vector<float> widened(n + 1, 7.0F);
    kernels_.to_floats(guarded.AtTheEnd(all.data() + 400 * n, n), n, widened.data());
    for (std::size_t i = 0; i < n; ++i) ASSERT_EQ(Bits(widened[i]), Bits(FromHalf(all[400 * n + i])));
    ASSERT_EQ(widened[n], 7.0F);
  }
}

TEST_P(EveryKernelSet, TakesHalvesAsTheFloatsThatTheyAre) {
  const std::vector<float> a = RandomVector(kLongest, 3);
  const std::vector<float> b = RandomVector(kLongest, 4);
  std::vector<Half> halves(kLongest + 1, 0xFFFF);
  const GuardedPages guarded(2);
  for (std::size_t n = 0; n <= kLongest; n += n < 200 ? 1 : 61) {
    kernels_.to_halves(b.data(), n, halves.data());
    ASSERT_EQ(halves[n], 0xFFFF);
    std::vector<float> widened(n);
    for (std::size_t i = 0; i < n; ++i) widened[i] = FromHalf(halves[i]);
    const Half* at_end = guarded.AtTheEnd(halves.data(), n);
    EXPECT_EQ(Bits(kernels_.l2_squared_half(a.data(), at_end, n)),
              Bits(kernels_.l2_squared(a.data(), widened.data(), n)));
    EXPECT_EQ(Bits(kernels_.inner_product_half(a.data(), at_end, n)),
              Bits(kernels_.inner_product(a.data(), widened.data(), n)));
    EXPECT_EQ(Bits(kernels_.l1_half(a.data(), at_end, n)), Bits(kernels_.l1(a.data(), widened.data(), n)));
    const DotAndNorm parts = kernels_.dot_and_norm_half(a.data(), at_end, n);
    const DotAndNorm expected = kernels_.dot_and_norm(a.data(), widened.data(), n);
    EXPECT_EQ(Bits(parts.dot), Bits(expected.dot));
    EXPECT_EQ(Bits(parts.norm_squared), Bits(expected.norm_squared));
    std::fill(halves.begin(), halves.end(), Half{0xFFFF});
  }
}

TEST_P(EveryKernelSet, MatchesDoublePrecisionAtEveryLength) {
  const std::vector<float> a = RandomVector(kLongest, 1);
  const std::vector<float> b = RandomVector(kLongest, 2);
  for (std::size_t n = 1; n <= kLongest; ++n) ExpectMatchesReference(kernels_, a.data(), b.data(), n);
}

TEST_P(EveryKernelSet, MatchesDoublePrecisionWhereTermsCancel) {
  // Large, nearly equal values: the difference must be taken before it is squared.
  const std::vector<float> a = RandomVector(kLongest, 3, 1e6F, 1.0001e6F);
  const std::vector<float> b = RandomVector(kLongest, 4, 1e6F, 1.0001e6F);
  for (std::size_t n = 1; n <= kLongest; n += 13) ExpectMatchesReference(kernels_, a.data(), b.data(), n);
}

TEST_P(EveryKernelSet, MatchesDoublePrecisionAcrossMagnitudes) {
  std::vector<float> a = RandomVector(kLongest, 5);
  std::vector<float> b = RandomVector(kLongest, 6);
  for (std::size_t i = 0; i < kLongest; ++i) {
    const int exponent = static_cast<int>(i % 121) - 60;
    a[i] = std::ldexp(a[i], exponent);
    b[i] = std::ldexp(b[i], -exponent / 2);
  }
  for (std::size_t n = 1; n <= kLongest; n += 7) ExpectMatchesReference(kernels_, a.data(), b.data(), n);
}

TEST_P(EveryKernelSet, MatchesDoublePrecisionAtTheLargestDimension) {
  const std::vector<float> a = RandomVector(16'000, 7);
  const std::vector<float> b = RandomVector(16'000, 8);
  ExpectMatchesReference(kernels_, a.data(), b.data(), a.size());
}

TEST_P(EveryKernelSet, GivesZeroForNoElements) {
  const Results results = Compute(kernels_, nullptr, nullptr, 0);
  ExpectSameBits(results, {0.0F, 0.0F, 0.0F, {0.0F, 0.0F}}, 0);
}

TEST_P(EveryKernelSet, IsSymmetricToTheBit) {
  const std::vector<float> a = RandomVector(kLongest, 9);
  const std::vector<float> b = RandomVector(kLongest, 10);
  for (std::size_t n = 1; n <= kLongest; ++n) {
    const float* x = a.data();
    const float* y = b.data();
    EXPECT_EQ(Bits(kernels_.l2_squared(x, y, n)), Bits(kernels_.l2_squared(y, x, n))) << n;
    EXPECT_EQ(Bits(kernels_.inner_product(x, y, n)), Bits(kernels_.inner_product(y, x, n))) << n;
    EXPECT_EQ(Bits(kernels_.l1(x, y, n)), Bits(kernels_.l1(y, x, n))) << n;
    EXPECT_EQ(Bits(kernels_.dot_and_norm(x, y, n).dot), Bits(kernels_.dot_and_norm(y, x, n).dot)) << n;
  }
}

TEST_P(EveryKernelSet, GivesTheSameBitsForDotAndNormAsForInnerProducts) {
  const std::vector<float> a = RandomVector(kLongest, 11);
  const std::vector<float> b = RandomVector(kLongest, 12);
  for (std::size_t n = 1; n <= kLongest; ++n) {
    const DotAndNorm both = kernels_.dot_and_norm(a.data(), b.data(), n);
    EXPECT_EQ(Bits(both.dot), Bits(kernels_.inner_product(a.data(), b.data(), n))) << n;
    EXPECT_EQ(Bits(both.norm_squared), Bits(kernels_.inner_product(b.data(), b.data(), n))) << n;
  }
}

TEST_P(EveryKernelSet, SumsBytesExactlyAtEveryLength) {
  const std::vector<float> a = RandomBytes(kLongest, 13);
  const std::vector<float> b = RandomBytes(kLongest, 14);
  std::int64_t l2_squared = 0;
  std::int64_t dot = 0;
  std::int64_t l1 = 0;
  for (std::size_t n = 1; n <= kLongest; ++n) {
    const auto x = static_cast<std::int64_t>(a[n - 1]);
    const auto y = static_cast<std::int64_t>(b[n - 1]);
    l2_squared += (x - y) * (x - y);
    dot += x * y;
    l1 += std::abs(x - y);
    const Results results = Compute(kernels_, a.data(), b.data(), n);
    EXPECT_EQ(results.l2_squared, static_cast<float>(l2_squared)) << n;
    EXPECT_EQ(results.inner_product, static_cast<float>(dot)) << n;
    EXPECT_EQ(results.l1, static_cast<float>(l1)) << n;
  }
}

TEST_P(EveryKernelSet, SumsTheLargestBytesExactly) {
  // 784 x 255^2 = 50,979,600 needs more than the 24 bits of a float32, but no lane does.
  const std::vector<float> white(4'096, 255.0F);
  const std::vector<float> black(4'096, 0.0F);
  for (const std::size_t n : {784U, 785U, 1'023U, 4'096U}) {
    const auto expected = static_cast<float>(n * 255 * 255);
    EXPECT_EQ(kernels_.l2_squared(white.data(), black.data(), n), expected) << n;
    EXPECT_EQ(kernels_.inner_product(white.data(), white.data(), n), expected) << n;
  }
}

TEST_P(EveryKernelSet, RoundsOnlyOnceAtTheEnd) {
  // 2^24 and 1 in neighbouring lanes: a float32 reduction would lose each 1 alone, a double one keeps them.
  std::vector<float> a(16, 1.0F);
  a[0] = 16'777'216.0F;
  const std::vector<float> ones(16, 1.0F);
  const float sum = kernels_.inner_product(a.data(), ones.data(), 3);
  EXPECT_EQ(sum, 16'777'218.0F);
}

TEST_P(EveryKernelSet, DoesNotCareAboutAlignment) {
  const std::size_t longest = 300;
  const std::vector<float> a = RandomVector(longest, 15);
  const std::vector<float> b = RandomVector(longest, 16);
  std::vector<char> a_bytes(longest * sizeof(float) + 64);
  std::vector<char> b_bytes(longest * sizeof(float) + 64);
  for (const std::size_t offset : {1U, 2U, 3U, 4U, 8U, 20U, 33U, 60U}) {
    std::memcpy(a_bytes.data() + offset, a.data(), longest * sizeof(float));
    std::memcpy(b_bytes.data() + 64 - offset, b.data(), longest * sizeof(float));
    const auto* shifted_a = reinterpret_cast<const float*>(a_bytes.data() + offset);
    const auto* shifted_b = reinterpret_cast<const float*>(b_bytes.data() + 64 - offset);
    for (std::size_t n = 1; n <= longest; ++n) {
      ExpectSameBits(Compute(kernels_, shifted_a, shifted_b, n), Compute(kernels_, a.data(), b.data(), n), n);
    }
  }
}

TEST_P(EveryKernelSet, ReadsNoByteOutsideTheVectors) {
  const std::vector<float> a = RandomVector(kLongest, 17);
  const std::vector<float> b = RandomVector(kLongest, 18);
  const GuardedPages a_pages(3);  // three pages hold 3,072 floats
  const GuardedPages b_pages(3);
  for (std::size_t n = 1; n <= kLongest; n += n < 600 ? 1 : 37) {
    const Results expected = Compute(kernels_, a.data(), b.data(), n);
    ExpectSameBits(Compute(kernels_, a_pages.AtTheEnd(a.data(), n), b_pages.AtTheEnd(b.data(), n), n),
                   expected, n);
    ExpectSameBits(
        Compute(kernels_, a_pages.AtTheBeginning(a.data(), n), b_pages.AtTheBeginning(b.data(), n), n),
        expected, n);
  }
}

TEST_P(EveryKernelSet, LetsNothingPastTheEndIntoTheSum) {
  const std::vector<float> poison(kLongest, kNan);
  for (std::size_t n = 0; n <= 300; ++n) {
    std::vector<float> a = poison;
    std::vector<float> b = poison;
    std::fill_n(a.begin(), n, 3.0F);
    std::fill_n(b.begin(), n, 1.0F);
    const auto count = static_cast<float>(n);
    ExpectSameBits(Compute(kernels_, a.data(), b.data(), n),
                   {4.0F * count, 3.0F * count, 2.0F * count, {3.0F * count, count}}, n);
  }
}

TEST_P(EveryKernelSet, PassesNanOnFromEveryPosition) {
  for (const std::size_t n : {1U, 15U, 16U, 17U, 63U, 64U, 65U, 127U, 200U}) {
    const std::vector<float> clean(n, 1.0F);
    for (std::size_t position = 0; position < n; ++position) {
      std::vector<float> dirty = clean;
      dirty[position] = kNan;
      const Results left = Compute(kernels_, dirty.data(), clean.data(), n);
      EXPECT_TRUE(std::isnan(left.l2_squared) && std::isnan(left.inner_product) && std::isnan(left.l1));
      EXPECT_TRUE(std::isnan(left.dot_and_norm.dot));
      EXPECT_EQ(left.dot_and_norm.norm_squared, static_cast<float>(n)) << "the norm is of the second vector";
      const Results right = Compute(kernels_, clean.data(), dirty.data(), n);
      EXPECT_TRUE(std::isnan(right.l2_squared) && std::isnan(right.inner_product) && std::isnan(right.l1));
      EXPECT_TRUE(std::isnan(right.dot_and_norm.dot) && std::isnan(right.dot_and_norm.norm_squared));
    }
  }
}

TEST_P(EveryKernelSet, TreatsInfinityAsFloatArithmeticDoes) {
  for (const std::size_t n : {1U, 16U, 65U, 100U}) {
    std::vector<float> a(n, 1.0F);
    std::vector<float> b(n, 2.0F);
    a[n - 1] = -kInfinity;
    EXPECT_EQ(kernels_.l2_squared(a.data(), b.data(), n), kInfinity);
    EXPECT_EQ(kernels_.l1(a.data(), b.data(), n), kInfinity);
    EXPECT_EQ(kernels_.inner_product(a.data(), b.data(), n), -kInfinity);
    EXPECT_EQ(kernels_.dot_and_norm(b.data(), a.data(), n).norm_squared, kInfinity);

    b[n - 1] = -kInfinity;
    EXPECT_TRUE(std::isnan(kernels_.l2_squared(a.data(), b.data(), n))) << "infinity minus infinity";
    EXPECT_TRUE(std::isnan(kernels_.l1(a.data(), b.data(), n))) << "infinity minus infinity";
    EXPECT_EQ(kernels_.inner_product(a.data(), b.data(), n), kInfinity);

    b[n - 1] = 0.0F;
    EXPECT_TRUE(std::isnan(kernels_.inner_product(a.data(), b.data(), n))) << "infinity times zero";
  }
}

TEST_P(EveryKernelSet, OverflowsToInfinity) {
  for (const std::size_t n : {1U, 2U, 17U, 64U, 129U}) {
    const std::vector<float> huge(n, 3e38F);
    const std::vector<float> negative(n, -3e38F);
    EXPECT_EQ(kernels_.l2_squared(huge.data(), negative.data(), n), kInfinity) << n;
    EXPECT_EQ(kernels_.l1(huge.data(), negative.data(), n), kInfinity) << n;
    EXPECT_EQ(kernels_.inner_product(huge.data(), huge.data(), n), kInfinity) << n;
    EXPECT_EQ(kernels_.inner_product(huge.data(), negative.data(), n), -kInfinity) << n;
    EXPECT_EQ(kernels_.l2_squared(huge.data(), huge.data(), n), 0.0F) << n;
  }
}

TEST_P(EveryKernelSet, OverflowsInTheLastRoundingToo) {
  // Each lane is finite and so is the sum in double; only float32 cannot hold it.
  const std::vector<float> huge(2, 3e38F);
  const std::vector<float> zero(2, 0.0F);
  EXPECT_EQ(kernels_.l1(huge.data(), zero.data(), 1), 3e38F);
  EXPECT_EQ(kernels_.l1(huge.data(), zero.data(), 2), kInfinity);
}

TEST_P(EveryKernelSet, KeepsDenormals) {
  for (const std::size_t n : {1U, 7U, 16U, 100U, 1'000U}) {
    const std::vector<float> tiny(n, kTiniest);
    const std::vector<float> zero(n, 0.0F);
    const std::vector<float> large(n, std::ldexp(1.0F, 127));
    const auto count = static_cast<float>(n);
    EXPECT_EQ(kernels_.l1(tiny.data(), zero.data(), n), count * kTiniest) << "flushed to zero";
    EXPECT_EQ(kernels_.inner_product(tiny.data(), large.data(), n), std::ldexp(count, 127 - 149))
        << "taken as zero";
    EXPECT_EQ(kernels_.l2_squared(tiny.data(), zero.data(), n), 0.0F) << "the square underflows";
  }
}

TEST_P(EveryKernelSet, GivesZeroDistanceBetweenTheTwoZeros) {
  for (const std::size_t n : {1U, 16U, 99U}) {
    const std::vector<float> positive(n, 0.0F);
    const std::vector<float> negative(n, -0.0F);
    const Results results = Compute(kernels_, positive.data(), negative.data(), n);
    ExpectSameBits(results, {0.0F, 0.0F, 0.0F, {0.0F, 0.0F}}, n);
  }
}

TEST(KernelSets, AgreeWithinTwiceTheAllowedErrorAtEveryLength) {
  const std::vector<float> a = RandomVector(kLongest, 19);
  const std::vector<float> b = RandomVector(kLongest, 20);
  const DistanceKernels& best = Kernels();
  for (std::size_t n = 1; n <= kLongest; ++n) {
    const double l2_error = 2 * AllowedError(test::L2SquaredReference(a.data(), b.data(), n), n);
    const double dot_error = 2 * AllowedError(test::InnerProductReference(a.data(), b.data(), n), n);
    const double l1_error = 2 * AllowedError(test::L1Reference(a.data(), b.data(), n), n);
    const Results expected = Compute(best, a.data(), b.data(), n);
    for (const DistanceKernels* kernels : AvailableKernels()) {
      const Results results = Compute(*kernels, a.data(), b.data(), n);
      EXPECT_NEAR(results.l2_squared, expected.l2_squared, l2_error) << kernels->name << ", n = " << n;
      EXPECT_NEAR(results.inner_product, expected.inner_product, dot_error) << kernels->name << ", n = " << n;
      EXPECT_NEAR(results.l1, expected.l1, l1_error) << kernels->name << ", n = " << n;
    }
  }
}

TEST(KernelSets, EndWithThePortableOne) {
  const auto sets = AvailableKernels();
  ASSERT_FALSE(sets.empty());
  EXPECT_STREQ(sets[sets.size() - 1]->name, "portable");
}

TEST(KernelSets, HaveDifferentNames) {
  std::set<std::string> names;
  for (const DistanceKernels* kernels : AvailableKernels()) EXPECT_TRUE(names.insert(kernels->name).second);
}

TEST(KernelSets, AreChosenBestFirst) {
  EXPECT_EQ(&Kernels(), AvailableKernels()[0]);
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) {
    EXPECT_STREQ(Kernels().name, "avx512");
  } else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    EXPECT_STREQ(Kernels().name, "avx2");
  }
#elif defined(__aarch64__)
  EXPECT_STREQ(Kernels().name, "neon");
#endif
}

}  // namespace
}  // namespace tandem::vec
