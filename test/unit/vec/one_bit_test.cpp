#include "vec/one_bit.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "unit/vec/quantised.hpp"
#include "vec/walk_training.hpp"

namespace tandem::vec {
namespace {

using test::Gaussian;
using test::PreparedQuery;
using test::Trained;
using test::Vectors;

struct alignas(64) Line {
  char bytes[64];
};

/// Where values are measured from.
enum class Centre { kZero, kMean, kElsewhere };

/// A set of vectors with its codes and their bits.
struct Bits {
  Trained trained;
  std::vector<float> centre;
  std::vector<float> step;
  std::vector<float> middle;
  WalkCodec codec;
  std::vector<std::uint8_t> codes;
  std::vector<unsigned char> bits;
  std::vector<float> terms;
  std::vector<float> scales;
  std::vector<float> spreads;

  Bits(Metric metric, const Vectors& vectors, WalkCode code = WalkCode::kSq4, Centre from = Centre::kMean)
      : trained(metric, vectors),
        centre(vectors.dimensions),
        step(vectors.dimensions),
        middle(vectors.dimensions) {
    const std::uint32_t n = vectors.dimensions;
    TrainNibbles(trained.trainer, trained.quantizer, centre.data(), step.data());
    codec = {code, trained.quantizer, centre.data(), step.data(), 0.0F};
    codes.resize(vectors.size() * CodeBytes());
    for (std::size_t i = 0; i < vectors.size(); ++i)
      MakeWalkCode(codec, trained.Code(i), codes.data() + i * CodeBytes());
    PlaceCentre(from, vectors.size());
    bits.resize((vectors.size() + 15) / 16 * 16 * OneBitBytes(n));
    std::vector<Line> scratch(OneBitScratch(n) / sizeof(Line) + 1);
    for (std::size_t i = 0; i < vectors.size(); ++i) {
      const OneBitFactors factors =
          MakeOneBit(codec, middle.data(), Code(i), reinterpret_cast<float*>(scratch.data()),
                     bits.data() + PlaceInBlocks(i, OneBitBytes(n)));
      terms.push_back(factors.term);
      scales.push_back(factors.scale);
      spreads.push_back(factors.spread);
    }
  }

  void PlaceCentre(Centre from, std::size_t rows) {
    if (from == Centre::kZero) return;
    std::vector<float> values(middle.size());
    for (std::size_t i = 0; i < rows; ++i) {
      WalkValues(codec, Code(i), values.data());
      for (std::size_t d = 0; d < values.size(); ++d) middle[d] += values[d] / static_cast<float>(rows);
    }
    if (from == Centre::kMean) return;
    for (std::size_t d = 0; d < values.size(); ++d) middle[d] += static_cast<float>(d % 7) * 5.0F;
  }

  [[nodiscard]] std::size_t CodeBytes() const { return WalkCodeBytes(codec.code, step.size()); }
  [[nodiscard]] const std::uint8_t* Code(std::size_t i) const { return codes.data() + i * CodeBytes(); }
  /// i: a multiple of 16.
  [[nodiscard]] OneBitRows From(std::size_t i) const {
    return {bits.data() + PlaceInBlocks(i, OneBitBytes(step.size())), terms.data() + i, scales.data() + i,
            spreads.data() + i};
  }
  [[nodiscard]] std::vector<float> Bounds(const OneBitQuery& query) const { return Bounds(query, spreads); }
  [[nodiscard]] std::vector<float> Bounds(const OneBitQuery& query, const std::vector<float>& with) const {
    std::vector<float> bounds(terms.size());
    for (std::size_t i = 0; i < bounds.size(); i += OneBitQuery::kMostRows) {
      OneBitRows some = From(i);
      some.spreads = with.data() + i;
      query.Bounds(some, std::min(bounds.size() - i, OneBitQuery::kMostRows), bounds.data() + i);
    }
    return bounds;
  }
};

struct PreparedBits {
  PreparedBits(const Bits& rows, const WalkQuery& walk)
      : scratch(OneBitQuery::ScratchBytes(rows.middle.size()) / sizeof(Line) + 1),
        query(rows.codec, rows.middle.data(), walk, scratch.data()) {}
  std::vector<Line> scratch;
  OneBitQuery query;
};

/// Makes vectors of other ones, element by element.
Vectors Made(Vectors vectors, const std::function<float(std::size_t row, std::size_t d, float x)>& of) {
  for (std::size_t i = 0; i < vectors.size(); ++i)
    for (std::size_t d = 0; d < vectors.dimensions; ++d) vectors[i][d] = of(i, d, vectors[i][d]);
  return vectors;
}

/// Data of very different kinds; the first rows are queries, too.
std::vector<std::pair<std::string, Vectors>> Kinds(std::uint32_t n) {
  constexpr std::size_t kRows = 500;
  const Vectors centres = Gaussian(8, n, 5);
  std::vector<std::pair<std::string, Vectors>> kinds;
  kinds.emplace_back("random", Gaussian(kRows, n, 1));
  kinds.emplace_back("clustered", Made(Gaussian(kRows, n, 2), [&](std::size_t i, std::size_t d, float x) {
                       return 3.0F * centres[i % 8][d] + 0.3F * x;
                     }));
  kinds.emplace_back("skewed", Made(Gaussian(kRows, n, 3), [&](std::size_t, std::size_t d, float x) {
                       return x * x * (d < 10 ? 20.0F : 1.0F) / static_cast<float>(d + 1);
                     }));
  kinds.emplace_back("sparse", Made(Gaussian(kRows, n, 4), [&](std::size_t i, std::size_t d, float x) {
                       return (i * 7 + d * 13) % 50 == 0 ? x : 0.0F;
                     }));
  kinds.emplace_back("constant",
                     Made(Gaussian(kRows, n, 6), [](std::size_t, std::size_t, float) { return 1.0F; }));
  kinds.emplace_back("of two values", Made(Gaussian(kRows, n, 7), [](std::size_t, std::size_t, float x) {
                       return x > 0.0F ? 1.0F : -1.0F;
                     }));
  return kinds;
}

TEST(OneBit, BoundsEveryKeyFromBelow) {
  struct Case {
    WalkCode code;
    Centre from;
    std::uint32_t dimensions;
  };
  constexpr Case kCases[] = {
      {WalkCode::kSq4, Centre::kMean, 64},       {WalkCode::kSq4, Centre::kZero, 385},
      {WalkCode::kSq4, Centre::kMean, 768},      {WalkCode::kSq4, Centre::kElsewhere, 1'000},
      {WalkCode::kSq8, Centre::kMean, 64},       {WalkCode::kSq8, Centre::kMean, 97},
      {WalkCode::kSq8, Centre::kElsewhere, 128}, {WalkCode::kSq8, Centre::kZero, 384},
  };
  for (const Case& one : kCases) {
    const std::uint32_t n = one.dimensions;
    for (const auto& [kind, vectors] : Kinds(n)) {
      for (const Metric metric : {Metric::kL2, Metric::kInnerProduct, Metric::kCosine}) {
        const Bits rows(metric, vectors, one.code, one.from);
        std::size_t wrong = 0;
        std::size_t pairs = 0;
        for (std::size_t q = 0; q < 24; ++q) {
          const PreparedQuery query(rows.codec, vectors[q]);
          const PreparedBits prepared(rows, *query);
          if (!prepared.query.is_usable()) continue;
          const std::vector<float> bounds = rows.Bounds(prepared.query);
          for (std::size_t i = 0; i < vectors.size(); ++i)
            wrong += bounds[i] <= query->Key(rows.Code(i)) ? 0U : 1U;
          pairs += vectors.size();
        }
        EXPECT_EQ(wrong, 0U) << NameOf(one.code) << ", " << kind << ", " << n << " dimensions, metric "
                             << static_cast<int>(metric) << ", of " << pairs;
      }
    }
  }
}

TEST(OneBit, BoundsAreNearTheKeys) {
  const Vectors vectors = Gaussian(600, 768, 11);
  const Bits rows(Metric::kL2, vectors);
  double share = 0.0;
  for (std::size_t q = 0; q < 20; ++q) {
    const PreparedQuery query(rows.codec, vectors[q]);
    const PreparedBits prepared(rows, *query);
    ASSERT_TRUE(prepared.query.is_usable());
    const std::vector<float> bounds = rows.Bounds(prepared.query);
    for (std::size_t i = 100; i < vectors.size(); ++i)
      share += static_cast<double>(bounds[i] / query->Key(rows.Code(i))) / 500.0 / 20.0;
  }
  // 5 times 0.75 / 768^½, of a product that is half of the key for vectors without a centre in common.
  EXPECT_NEAR(share, 1.0 - 0.15, 0.02);
}

TEST(OneBit, BoundsAreNearerWhereValuesAreMeasuredFromTheMiddle) {
  // All are far to one side, as embeddings of one model are.
  const Vectors vectors = Made(Gaussian(600, 128, 16), [](std::size_t, std::size_t d, float x) {
    return x + (d % 16 == 0 ? 12.0F : 0.0F);
  });
  const Vectors wide =
      Made(vectors, [](std::size_t i, std::size_t d, float x) { return i == 0 && d % 16 == 0 ? -12.0F : x; });
  double gap[2] = {};
  for (const Centre from : {Centre::kZero, Centre::kMean}) {
    const Bits rows(Metric::kL2, wide, WalkCode::kSq8, from);
    for (std::size_t q = 1; q < 20; ++q) {
      const PreparedQuery query(rows.codec, wide[q]);
      const PreparedBits prepared(rows, *query);
      ASSERT_TRUE(prepared.query.is_usable());
      const std::vector<float> bounds = rows.Bounds(prepared.query);
      for (std::size_t i = 100; i < wide.size(); ++i)
        gap[from == Centre::kMean ? 1 : 0] += static_cast<double>(query->Key(rows.Code(i)) - bounds[i]);
    }
  }
  EXPECT_LT(gap[1], 0.25 * gap[0]);
}

TEST(OneBit, ExceedsKeysAsSeldomAsItsDeviationsSay) {
  // A fifth of what the bound takes off is one deviation, and about a sixth of the estimates are farther off on one side.
  const Vectors vectors = Gaussian(2'000, 512, 12);
  const Bits rows(Metric::kL2, vectors);
  const std::vector<float> zeros(vectors.size());
  std::vector<float> fifths = rows.spreads;
  for (float& spread : fifths) spread /= 5.0F;
  std::size_t above = 0;
  std::size_t beyond = 0;
  for (std::size_t q = 0; q < 50; ++q) {
    const PreparedQuery query(rows.codec, vectors[q]);
    const PreparedBits prepared(rows, *query);
    const std::vector<float> estimates = rows.Bounds(prepared.query, zeros);
    const std::vector<float> nearer = rows.Bounds(prepared.query, fifths);
    for (std::size_t i = 64; i < vectors.size(); ++i) {
      const float key = query->Key(rows.Code(i));
      above += estimates[i] > key ? 1U : 0U;
      beyond += nearer[i] > key ? 1U : 0U;
    }
  }
  const double pairs = 50.0 * 1'936.0;
  EXPECT_NEAR(static_cast<double>(above) / pairs, 0.45, 0.06)
      << "what the query's rounding may do is off already";
  EXPECT_NEAR(static_cast<double>(beyond) / pairs, 0.13, 0.04);
}

TEST(OneBit, GivesTheSameBoundsOfTheFirstRowsAndOfAll) {
  const Vectors vectors = Gaussian(64, 385, 13);
  const Bits rows(Metric::kCosine, vectors);
  const PreparedQuery query(rows.codec, vectors[0]);
  const PreparedBits prepared(rows, *query);
  const std::vector<float> together = rows.Bounds(prepared.query);
  for (std::size_t count = 1; count <= vectors.size(); ++count) {
    float bounds[OneBitQuery::kMostRows] = {};
    prepared.query.Bounds(rows.From(0), count, bounds);
    for (std::size_t i = 0; i < count; ++i)
      EXPECT_NEAR(bounds[i], together[i], 1e-5 * std::fabs(together[i]));
  }
}

TEST(OneBit, TellsWhichBoundsAreWithinACut) {
  const Vectors vectors = Gaussian(64, 385, 15);
  Bits rows(Metric::kL2, vectors);
  const PreparedQuery query(rows.codec, vectors[3]);
  const PreparedBits prepared(rows, *query);
  const std::vector<float> bounds = rows.Bounds(prepared.query);
  std::vector<float> cuts = bounds;
  cuts.push_back(-std::numeric_limits<float>::infinity());
  cuts.push_back(std::numeric_limits<float>::infinity());
  cuts.push_back(std::numeric_limits<float>::quiet_NaN());
  for (std::size_t count = 1; count <= vectors.size(); ++count) {
    for (const float cut : cuts) {
      std::uint64_t expected = 0;
      for (std::size_t i = 0; i < count; ++i) expected |= std::uint64_t{bounds[i] > cut ? 0U : 1U} << i;
      EXPECT_EQ(prepared.query.Within(rows.From(0), count, cut), expected) << count << " rows, " << cut;
    }
  }
  rows.terms[40] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(prepared.query.Within(rows.From(0), 64, -std::numeric_limits<float>::infinity()),
            std::uint64_t{1} << 40);
}

TEST(OneBit, KnowsNothingOfQueriesWithoutADirection) {
  const Vectors vectors = Gaussian(100, 400, 14);
  const Bits rows(Metric::kCosine, vectors);
  const std::vector<float> zero(400);
  const PreparedQuery query(rows.codec, zero.data());
  EXPECT_FALSE(PreparedBits(rows, *query).query.is_usable());
  const Bits of_bytes(Metric::kCosine, vectors, WalkCode::kSq8);
  const PreparedQuery other(of_bytes.codec, zero.data());
  EXPECT_FALSE(PreparedBits(of_bytes, *other).query.is_usable());
  Bits at_centre(Metric::kL2, vectors, WalkCode::kSq8);
  at_centre.trained.quantizer.step = at_centre.codec.base.step = 1.0F;
  std::vector<float> middle = at_centre.trained.offset;
  for (std::size_t d = 0; d < middle.size(); ++d) middle[d] += std::floor(at_centre.middle[d] = 100.0F);
  const PreparedQuery central(at_centre.codec, middle.data());
  EXPECT_FALSE(PreparedBits(at_centre, *central).query.is_usable());
  Bits by_sums(Metric::kL1, vectors, WalkCode::kSq8);
  EXPECT_FALSE(OneBitPays(by_sums.codec));
}

}  // namespace
}  // namespace tandem::vec
