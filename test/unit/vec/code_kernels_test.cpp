#include "vec/code_kernels.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "unit/vec/guarded_pages.hpp"
#include "unit/vec/reference.hpp"

namespace tandem::vec {
namespace {

// Each of these mistakes in code_kernels_loops.hpp makes a test here fail: the last lanes not masked, or masked from the
// wrong side; AccumulateFew() reading whole registers; Encode() finishing with a whole step at i.

using test::GuardedPages;
using test::RandomVector;

constexpr std::size_t kLongest = 1'100;
constexpr std::size_t kLargestDimension = 16'000;

using Codes = std::vector<std::uint8_t>;
using Query = std::vector<std::int16_t>;

/// The six sums for one pair. Those with queries come as float32.
struct Sums {
  std::int64_t l2_squared;
  std::int64_t l1;
  std::int64_t dot;
  std::int64_t query_l2_squared;
  std::int64_t query_l1;
  std::int64_t query_dot;

  [[nodiscard]] Sums Rounded() const {
    Sums sums = *this;
    for (std::int64_t* sum : {&sums.query_l2_squared, &sums.query_l1, &sums.query_dot}) {
      *sum = static_cast<std::int64_t>(static_cast<float>(*sum));
    }
    return sums;
  }
};

/// far: for the differences; q: for query_dot.
Sums Compute(const CodeKernels& kernels, const std::uint8_t* a, const std::int16_t* far,
             const std::int16_t* q, const std::uint8_t* b, std::size_t n) {
  float l2_squared = 0.0F;
  float l1 = 0.0F;
  float dot = 0.0F;
  kernels.query_l2_squared(far, &b, 1, n, &l2_squared);
  kernels.query_l1(far, &b, 1, n, &l1);
  kernels.query_dot(q, &b, 1, n, &dot);
  return {kernels.l2_squared(a, b, n),   kernels.l1(a, b, n),
          kernels.dot(a, b, n),          static_cast<std::int64_t>(l2_squared),
          static_cast<std::int64_t>(l1), static_cast<std::int64_t>(dot)};
}

template <typename A, typename Term>
std::int64_t Sum(const A* a, const std::uint8_t* b, std::size_t n, Term term) {
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += term(std::int64_t{a[i]}, std::int64_t{b[i]});
  return sum;
}

Sums Reference(const std::uint8_t* a, const std::int16_t* far, const std::int16_t* q, const std::uint8_t* b,
               std::size_t n) {
  const auto square = [](std::int64_t x, std::int64_t y) { return (x - y) * (x - y); };
  const auto magnitude = [](std::int64_t x, std::int64_t y) { return std::abs(x - y); };
  const auto product = [](std::int64_t x, std::int64_t y) { return x * y; };
  return {Sum(a, b, n, square),   Sum(a, b, n, magnitude),   Sum(a, b, n, product),
          Sum(far, b, n, square), Sum(far, b, n, magnitude), Sum(q, b, n, product)};
}

void ExpectEqual(const Sums& actual, const Sums& exact, std::size_t n) {
  const Sums expected = exact.Rounded();
  EXPECT_EQ(actual.l2_squared, expected.l2_squared) << "l2_squared, n = " << n;
  EXPECT_EQ(actual.l1, expected.l1) << "l1, n = " << n;
  EXPECT_EQ(actual.dot, expected.dot) << "dot, n = " << n;
  EXPECT_EQ(actual.query_l2_squared, expected.query_l2_squared) << "query_l2_squared, n = " << n;
  EXPECT_EQ(actual.query_l1, expected.query_l1) << "query_l1, n = " << n;
  EXPECT_EQ(actual.query_dot, expected.query_dot) << "query_dot, n = " << n;
}

Codes RandomCodes(std::size_t n, std::uint32_t seed) {
  std::mt19937 random(seed);
  Codes codes(n);
  for (std::uint8_t& code : codes) code = static_cast<std::uint8_t>(random());
  return codes;
}

Query RandomQuery(std::size_t n, std::uint32_t seed, std::int32_t low, std::int32_t high) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<std::int32_t> uniform(low, high);
  Query query(n);
  for (std::int16_t& element : query) element = static_cast<std::int16_t>(uniform(random));
  return query;
}

/// Codes and queries that reach the limits for n elements.
struct Inputs {
  Codes a;
  Codes b;
  Query far;
  Query q;

  Inputs(std::size_t n, std::uint32_t seed)
      : a(RandomCodes(n, seed)),
        b(RandomCodes(n, seed + 1)),
        far(RandomQuery(n, seed + 2, 255 - QueryLimitL2(n), QueryLimitL2(n))),
        q(RandomQuery(n, seed + 3, -QueryLimitDot(n), QueryLimitDot(n))) {}
};

class EveryCodeKernelSet : public testing::TestWithParam<const CodeKernels*> {
 protected:
  const CodeKernels& kernels_ = *GetParam();

  Sums ComputeAll(const Inputs& inputs, std::size_t n) const {
    return Compute(kernels_, inputs.a.data(), inputs.far.data(), inputs.q.data(), inputs.b.data(), n);
  }
};

Sums ReferenceOf(const Inputs& inputs, std::size_t n) {
  return Reference(inputs.a.data(), inputs.far.data(), inputs.q.data(), inputs.b.data(), n);
}

INSTANTIATE_TEST_SUITE_P(Cpu, EveryCodeKernelSet,
                         testing::ValuesIn(AvailableCodeKernels().begin(), AvailableCodeKernels().end()),
                         [](const auto& instance) { return std::string(instance.param->name); });

TEST_P(EveryCodeKernelSet, SumsExactlyAtEveryLength) {
  const Inputs inputs(kLongest, 1);
  for (std::size_t n = 0; n <= kLongest; ++n) ExpectEqual(ComputeAll(inputs, n), ReferenceOf(inputs, n), n);
}

TEST_P(EveryCodeKernelSet, SumsExactlyWithQueriesAsLargeAsTheLengthAllows) {
  for (const std::size_t n : {1U, 2U, 3U, 4U, 7U, 33U, 128U, 1'023U, 4'000U, 16'000U}) {
    const Inputs inputs(n, static_cast<std::uint32_t>(n));
    ExpectEqual(ComputeAll(inputs, n), ReferenceOf(inputs, n), n);
  }
}

TEST_P(EveryCodeKernelSet, SumsExactlyAtTheLimits) {
  for (const std::size_t n : {1U, 3U, 4U, 31U, 128U, 16'000U}) {
    Inputs inputs(n, 5);
    for (const bool above : {false, true}) {
      const auto far = static_cast<std::int16_t>(above ? QueryLimitL2(n) : 255 - QueryLimitL2(n));
      const auto q = static_cast<std::int16_t>(above ? QueryLimitDot(n) : -QueryLimitDot(n));
      std::fill(inputs.far.begin(), inputs.far.end(), far);
      std::fill(inputs.q.begin(), inputs.q.end(), q);
      for (const std::uint8_t code : {std::uint8_t{0}, std::uint8_t{255}}) {
        std::fill(inputs.b.begin(), inputs.b.end(), code);
        std::fill(inputs.a.begin(), inputs.a.end(), std::uint8_t{255});
        const Sums expected = ReferenceOf(inputs, n);
        ASSERT_LT(expected.query_l2_squared, std::int64_t{1} << 32);
        ASSERT_LT(std::abs(expected.query_dot), std::int64_t{1} << 31);
        ExpectEqual(ComputeAll(inputs, n), expected, n);
      }
    }
  }
}

TEST_P(EveryCodeKernelSet, DoesNotCareAboutAlignment) {
  constexpr std::size_t kLength = 200;
  const Inputs inputs(kLength, 9);
  std::vector<char> far_bytes(2 * kLength + 64);
  std::vector<char> q_bytes(2 * kLength + 64);
  Codes a(kLength + 64);
  Codes b(kLength + 64);
  for (const std::size_t offset : {1U, 2U, 3U, 8U, 15U, 33U, 63U}) {
    std::memcpy(far_bytes.data() + offset, inputs.far.data(), 2 * kLength);
    std::memcpy(q_bytes.data() + offset, inputs.q.data(), 2 * kLength);
    std::memcpy(a.data() + offset, inputs.a.data(), kLength);
    std::memcpy(b.data() + 64 - offset, inputs.b.data(), kLength);
    const auto* far = reinterpret_cast<const std::int16_t*>(far_bytes.data() + offset);
    const auto* q = reinterpret_cast<const std::int16_t*>(q_bytes.data() + offset);
    for (std::size_t n = 0; n <= kLength; ++n) {
      ExpectEqual(Compute(kernels_, a.data() + offset, far, q, b.data() + 64 - offset, n),
                  ReferenceOf(inputs, n), n);
    }
  }
}

TEST_P(EveryCodeKernelSet, ReadsNoByteOutside) {
  const Inputs inputs(kLongest, 13);
  const GuardedPages a(1);
  const GuardedPages b(1);
  const GuardedPages far(1);
  const GuardedPages q(1);
  for (std::size_t n = 0; n <= kLongest; n += n < 300 ? 1 : 37) {
    const Sums expected = ReferenceOf(inputs, n);
    ExpectEqual(Compute(kernels_, a.AtTheEnd(inputs.a.data(), n), far.AtTheEnd(inputs.far.data(), n),
                        q.AtTheEnd(inputs.q.data(), n), b.AtTheEnd(inputs.b.data(), n), n),
                expected, n);
    ExpectEqual(
        Compute(kernels_, a.AtTheBeginning(inputs.a.data(), n), far.AtTheBeginning(inputs.far.data(), n),
                q.AtTheBeginning(inputs.q.data(), n), b.AtTheBeginning(inputs.b.data(), n), n),
        expected, n);
  }
}

/// The definition, in the arithmetic that all sets share.
std::uint8_t EncodedReference(float x, float offset, float twice_inverse_step) {
  const float steps = (0.5F * x - 0.5F * offset) * twice_inverse_step;
  return static_cast<std::uint8_t>(std::clamp(steps, 0.0F, 255.0F) + 0.5F);
}

TEST_P(EveryCodeKernelSet, EncodesAtEveryLengthAndTouchesNoByteOutside) {
  const std::vector<float> x = RandomVector(kLongest, 17, -2.0F, 2.0F);
  const std::vector<float> offset = RandomVector(kLongest, 18);
  const GuardedPages x_pages(2);
  const GuardedPages offset_pages(2);
  const GuardedPages code_pages(1);
  const Codes poison(kLongest, 0xA5);
  for (std::size_t n = 0; n <= kLongest; n += n < 300 ? 1 : 37) {
    for (const bool at_the_end : {false, true}) {
      const float* from = at_the_end ? x_pages.AtTheEnd(x.data(), n) : x_pages.AtTheBeginning(x.data(), n);
      const float* base = at_the_end ? offset_pages.AtTheEnd(offset.data(), n)
                                     : offset_pages.AtTheBeginning(offset.data(), n);
      std::uint8_t* code = at_the_end ? code_pages.AtTheEnd(poison.data(), n)
                                      : code_pages.AtTheBeginning(poison.data(), kLongest);
      kernels_.encode(from, base, 256.0F, n, code);
      for (std::size_t i = 0; i < n; ++i) ASSERT_EQ(code[i], EncodedReference(x[i], offset[i], 256.0F)) << i;
      ASSERT_TRUE(at_the_end || n == kLongest || code[n] == 0xA5) << n;
    }
  }
}

TEST_P(EveryCodeKernelSet, RoundsHalvesUpwardsAndClamps) {
  const std::vector<float> x = {0.0F,   0.49F,  0.5F,  1.5F,   2.5F,   254.49F, 254.5F, 255.0F,
                                255.4F, 255.6F, 1e30F, -0.49F, -0.51F, -1e30F,  3e38F,  -3e38F};
  const Codes expected = {0, 0, 1, 2, 3, 254, 255, 255, 255, 255, 255, 0, 0, 0, 255, 0};
  const std::vector<float> offset(x.size(), 0.0F);
  Codes code(x.size());
  kernels_.encode(x.data(), offset.data(), 2.0F, x.size(), code.data());
  EXPECT_EQ(code, expected);
}

TEST_P(EveryCodeKernelSet, EncodesTheWholeRangeOfFloats) {
  // The difference of the ends overflows; half of it does not.
  const std::vector<float> x = {-3e38F, 0.0F, 3e38F, 1e-44F};
  const std::vector<float> offset = {-3e38F, -3e38F, -3e38F, 0.0F};
  Codes code(4);
  kernels_.encode(x.data(), offset.data(), static_cast<float>(2.0 / (6e38 / 255.0)), 4, code.data());
  EXPECT_EQ(code[0], 0);
  EXPECT_NEAR(code[1], 127, 1);
  EXPECT_EQ(code[2], 255);
  EXPECT_EQ(code[3], 0);
}

// ---- 4 bits ----

/// A code, and the levels that 4 bits of it have.
struct NibbleInputs {
  Codes code;
  std::vector<float> centre;
  std::vector<float> step;

  NibbleInputs(std::size_t n, std::uint32_t seed) : code(RandomCodes(n, seed)), centre(n), step(n) {
    std::mt19937 random(seed);
    for (float& value : centre) value = static_cast<float>(random() % 1'021) / 4.0F;
    for (float& value : step) value = 1.0F + static_cast<float>(random() % 61) / 4.0F;
  }
};

std::uint8_t NibbleReference(double x, double step) {
  return static_cast<std::uint8_t>(std::clamp(std::floor(x / step + 8.0), 0.0, 15.0));
}

Codes NibblesReference(const NibbleInputs& inputs, std::size_t n) {
  const std::size_t bytes = NibbleBytes(n);
  Codes nibbles(bytes + sizeof(float));
  double norm = 0.0;
  for (std::size_t d = 0; d < 2 * bytes; ++d) {
    std::uint8_t nibble = 8;
    if (d < n) {
      const double x = inputs.code[d] - static_cast<double>(inputs.centre[d]);
      const auto step = static_cast<double>(inputs.step[d]);
      nibble = NibbleReference(x, step);
      const double u = step * (nibble - 7.5);
      norm += u * u - (u - x) * (u - x);  // sixteenths: exact
    }
    nibbles[d % bytes] = static_cast<std::uint8_t>(nibbles[d % bytes] | nibble << (d < bytes ? 0 : 4));
  }
  const auto rounded = static_cast<float>(norm);
  std::memcpy(nibbles.data() + bytes, &rounded, sizeof rounded);
  return nibbles;
}

/// Lengths around every register, and long ones.
std::vector<std::size_t> NibbleLengths() {
  std::vector<std::size_t> lengths;
  for (std::size_t n = 1; n <= 300; ++n) lengths.push_back(n);
  for (const std::size_t n : {384U, 511U, 768U, 784U, 1'023U, 1'100U}) lengths.push_back(n);
  return lengths;
}

TEST_P(EveryCodeKernelSet, MakesNibblesOfEveryLengthAndTouchesNoByteOutside) {
  const NibbleInputs inputs(kLongest, 31);
  const GuardedPages code(1);
  const GuardedPages centre(2);
  const GuardedPages step(2);
  const GuardedPages to(1);
  for (const std::size_t n : NibbleLengths()) {
    const Codes expected = NibblesReference(inputs, n);
    const Codes poison(expected.size(), 0xA5);
    std::uint8_t* at_the_end = to.AtTheEnd(poison.data(), poison.size());
    kernels_.make_nibbles(code.AtTheEnd(inputs.code.data(), n), centre.AtTheEnd(inputs.centre.data(), n),
                          step.AtTheEnd(inputs.step.data(), n), n, at_the_end);
    ASSERT_EQ(Codes(at_the_end, at_the_end + expected.size()), expected) << n;
    std::uint8_t* at_the_beginning = to.AtTheBeginning(poison.data(), poison.size());
    kernels_.make_nibbles(code.AtTheBeginning(inputs.code.data(), n),
                          centre.AtTheBeginning(inputs.centre.data(), n),
                          step.AtTheBeginning(inputs.step.data(), n), n, at_the_beginning);
    ASSERT_EQ(Codes(at_the_beginning, at_the_beginning + expected.size()), expected) << n;
  }
}

TEST_P(EveryCodeKernelSet, AddsUpNormTermsOfTheLargestDimension) {
  NibbleInputs inputs(kLargestDimension, 32);
  const auto expect_equal = [&] {
    Codes nibbles(NibbleBytes(kLargestDimension) + sizeof(float));
    kernels_.make_nibbles(inputs.code.data(), inputs.centre.data(), inputs.step.data(), kLargestDimension,
                          nibbles.data());
    EXPECT_EQ(nibbles, NibblesReference(inputs, kLargestDimension));
  };
  expect_equal();
  for (const std::uint8_t code : {std::uint8_t{0}, std::uint8_t{255}}) {
    for (const float centre : {0.0F, 127.75F, 255.0F}) {
      for (const float step : {1.0F, 16.0F}) {
        std::fill(inputs.code.begin(), inputs.code.end(), code);
        std::fill(inputs.centre.begin(), inputs.centre.end(), centre);
        std::fill(inputs.step.begin(), inputs.step.end(), step);
        expect_equal();
      }
    }
  }
}

/// Weights for both halves, and codes with their norm terms.
struct NibblePairs {
  std::vector<std::int8_t> low;
  std::vector<std::int8_t> high;
  std::vector<Codes> codes;

  NibblePairs(std::size_t n, std::uint32_t seed) : low(NibbleBytes(n)), high(NibbleBytes(n)) {
    std::mt19937 random(seed);
    for (auto* weights : {&low, &high}) {
      for (std::int8_t& weight : *weights)
        weight = static_cast<std::int8_t>(static_cast<int>(random() % 255) - 127);
    }
    for (std::uint32_t i = 0; i < 3; ++i) codes.push_back(NibblesReference(NibbleInputs(n, seed + i), n));
  }

  [[nodiscard]] NibbleQuery Query(double norm_weight) const {
    return {low.data(), high.data(), low.size(), 1e5 / 3.0, norm_weight, static_cast<double>(0.37F)};
  }

  [[nodiscard]] float Key(const NibbleQuery& query, const Codes& code) const {
    double dot = 0.0;
    for (std::size_t i = 0; i < low.size(); ++i) dot += low[i] * (code[i] & 15) + high[i] * (code[i] >> 4);
    float norm = 0.0F;
    std::memcpy(&norm, code.data() + low.size(), sizeof norm);
    return static_cast<float>(query.base + query.norm_weight * static_cast<double>(norm) - query.scale * dot);
  }
};

TEST_P(EveryCodeKernelSet, ComparesQueriesWithNibblesToTheBitAndReadsNoByteOutside) {
  const GuardedPages low(1);
  const GuardedPages high(1);
  const GuardedPages code(1);
  for (const std::size_t n : NibbleLengths()) {
    const NibblePairs pairs(n, static_cast<std::uint32_t>(n));
    for (const double norm_weight : {0.0, 1.0}) {
      NibbleQuery query = pairs.Query(norm_weight);
      const float expected = pairs.Key(query, pairs.codes[0]);
      for (const bool at_the_end : {false, true}) {
        const auto place = [&](const GuardedPages& pages, const auto& bytes) {
          return at_the_end ? pages.AtTheEnd(bytes.data(), bytes.size())
                            : pages.AtTheBeginning(bytes.data(), bytes.size());
        };
        query.low = place(low, pairs.low);
        query.high = place(high, pairs.high);
        const std::uint8_t* placed = place(code, pairs.codes[0]);
        float key = 0.0F;
        kernels_.query_nibbles(query, &placed, 1, &key);
        ASSERT_EQ(test::Bits(key), test::Bits(expected)) << n;
      }
    }
  }
}

TEST_P(EveryCodeKernelSet, ComparesQueriesWithNibblesAtTheLimits) {
  for (const std::size_t n : {1U, 64U, 128U, 16'000U}) {
    NibblePairs pairs(n, 5);
    for (const std::int8_t weight : {std::int8_t{-127}, std::int8_t{127}}) {
      std::fill(pairs.low.begin(), pairs.low.end(), weight);
      std::fill(pairs.high.begin(), pairs.high.end(), weight);
      std::fill_n(pairs.codes[0].begin(), NibbleBytes(n), std::uint8_t{0xFF});
      const NibbleQuery query = pairs.Query(1.0);
      const std::uint8_t* code = pairs.codes[0].data();
      float key = 0.0F;
      kernels_.query_nibbles(query, &code, 1, &key);
      EXPECT_EQ(test::Bits(key), test::Bits(pairs.Key(query, pairs.codes[0])));
    }
  }
}

TEST_P(EveryCodeKernelSet, ComparesWithManyCodesAsWithOne) {
  for (const std::size_t n : {5U, 31U, 33U, 128U, 300U}) {
    const Inputs inputs(n, 41);
    const Codes codes[] = {inputs.a, inputs.b, RandomCodes(n, 42)};
    const std::uint8_t* places[] = {codes[2].data(), codes[0].data(), codes[2].data(), codes[1].data()};
    const NibblePairs pairs(n, 43);
    const std::uint8_t* nibbles[] = {pairs.codes[1].data(), pairs.codes[0].data(), pairs.codes[2].data(),
                                     pairs.codes[1].data()};
    const NibbleQuery query = pairs.Query(1.0);
    float together[4][5];
    std::fill(&together[0][0], &together[0][0] + 20, -7.0F);
    kernels_.query_l2_squared(inputs.far.data(), places, 4, n, together[0]);
    kernels_.query_l1(inputs.far.data(), places, 4, n, together[1]);
    kernels_.query_dot(inputs.q.data(), places, 4, n, together[2]);
    kernels_.query_nibbles(query, nibbles, 4, together[3]);
    for (std::size_t i = 0; i < 4; ++i) {
      float alone[4];
      kernels_.query_l2_squared(inputs.far.data(), places + i, 1, n, &alone[0]);
      kernels_.query_l1(inputs.far.data(), places + i, 1, n, &alone[1]);
      kernels_.query_dot(inputs.q.data(), places + i, 1, n, &alone[2]);
      kernels_.query_nibbles(query, nibbles + i, 1, &alone[3]);
      for (std::size_t k = 0; k < 4; ++k) {
        EXPECT_EQ(test::Bits(alone[k]), test::Bits(together[k][i]));
        EXPECT_EQ(together[k][4], -7.0F);
      }
    }
  }
}

TEST(CodeKernelSets, AgreeToTheBit) {
  const std::size_t n = 1'543;
  const Inputs inputs(n, 21);
  const std::vector<float> x = RandomVector(n, 22, -1e3F, 1e3F);
  const std::vector<float> offset = RandomVector(n, 23, -1e3F, 0.0F);
  Codes expected(n);
  CodeKernelsForCpu().encode(x.data(), offset.data(), 0.31F, n, expected.data());
  for (const CodeKernels* kernels : AvailableCodeKernels()) {
    Codes code(n);
    kernels->encode(x.data(), offset.data(), 0.31F, n, code.data());
    EXPECT_EQ(code, expected) << kernels->name;
    ExpectEqual(Compute(*kernels, inputs.a.data(), inputs.far.data(), inputs.q.data(), inputs.b.data(), n),
                ReferenceOf(inputs, n), n);
  }
}

TEST(CodeKernelSets, AreChosenBestFirstAndEndWithThePortableOne) {
  const auto sets = AvailableCodeKernels();
  ASSERT_FALSE(sets.empty());
  EXPECT_EQ(&CodeKernelsForCpu(), sets[0]);
  EXPECT_STREQ(sets[sets.size() - 1]->name, "portable");
  std::set<std::string> names;
  for (const CodeKernels* kernels : sets) EXPECT_TRUE(names.insert(kernels->name).second);
#if defined(__aarch64__)
  EXPECT_STREQ(sets[0]->name, "neon");
#endif
}

TEST(QueryLimits, AreTheLargestThatFit) {
  for (std::size_t n = 1; n <= kLargestDimension; ++n) {
    const auto l2 = static_cast<std::uint64_t>(QueryLimitL2(n));
    const auto l1 = static_cast<std::uint64_t>(QueryLimitL1(n));
    const auto dot = static_cast<std::uint64_t>(QueryLimitDot(n));
    ASSERT_LT(l2 * l2 * n, std::uint64_t{1} << 32);
    ASSERT_TRUE(l2 == 32'767 || (l2 + 1) * (l2 + 1) * n >= std::uint64_t{1} << 32) << n;
    ASSERT_LT(l1 * n, std::uint64_t{1} << 32);
    ASSERT_TRUE(l1 == 32'767 || (l1 + 1) * n >= std::uint64_t{1} << 32) << n;
    ASSERT_LT(dot * 255 * n, std::uint64_t{1} << 31);
    ASSERT_TRUE(dot == 32'767 || (dot + 1) * 255 * n >= std::uint64_t{1} << 31) << n;
  }
  EXPECT_EQ(QueryLimitL2(kLargestDimension), 518);
  EXPECT_EQ(QueryLimitDot(kLargestDimension), 526);
}

}  // namespace
}  // namespace tandem::vec
