#include "policy/bm25.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <numeric>
#include <random>
#include <vector>

namespace tandem::policy {
namespace {

bool Fulfils(const TermCondition& condition, std::uint32_t document) {
  std::vector<bool> value(condition.nodes.size());
  for (std::size_t i = 0; i < condition.nodes.size(); i++) {
    const TermCondition::Node& node = condition.nodes[i];
    switch (node.kind) {
      case TermCondition::Kind::kTerm:
        value[i] = ((document >> node.left) & 1U) != 0;
        break;
      case TermCondition::Kind::kAnd:
        value[i] = value[node.left] && value[node.right];
        break;
      case TermCondition::Kind::kOr:
        value[i] = value[node.left] || value[node.right];
        break;
    }
  }
  return value.empty() || value.back();
}

double SumOf(const std::vector<double>& bounds, std::uint32_t document) {
  double sum = 0.0;
  for (std::size_t i = 0; i < bounds.size(); i++) {
    if (((document >> i) & 1U) != 0) sum += bounds[i];
  }
  return sum;
}

TEST(Bm25, ScoresByTheBook) {
  // 3 documents, one of them with the term, twice among 4; documents have 5 terms on average. idf = ln(1 + 2.5 / 1.5);
  // held back: 1.2 * (0.25 + 0.75 * 0.8) = 1.02; score = idf * 2 * 2.2 / 3.02.
  const double idf = InverseDocumentFrequency(3, 1);
  EXPECT_NEAR(idf, 0.98082925, 1e-8);
  EXPECT_NEAR(TermScore({}, idf, 2, 4, 5), 1.42902275, 1e-8);
}

TEST(Bm25, IsNeverNegative) {
  EXPECT_GT(InverseDocumentFrequency(100, 100), 0.0);
  EXPECT_GT(InverseDocumentFrequency(100, 120), 0.0);
  EXPECT_GT(InverseDocumentFrequency(0, 0), 0.0);
}

TEST(Bm25, NoDocumentPassesTheBound) {
  for (const double k1 : {0.0, 0.5, 1.2, 3.0})
    for (const double b : {0.0, 0.75, 1.0})
      for (const double occurrences : {1.0, 3.0, 255.0})
        for (const double length : {0.0, 1.0, 50.0, 5000.0})
          EXPECT_LE(TermScore({k1, b}, 2.0, occurrences, length, 50.0), TermBound({k1, b}, 2.0));
}

TEST(Bm25, KeepsEveryDocumentAboveAThreshold) {
  std::mt19937 random(1);
  for (int round = 0; round < 300; round++) {
    const std::size_t terms = 1 + random() % 9;
    std::vector<double> bounds(terms);
    for (double& bound : bounds) bound = 0.01 + static_cast<double>(random() % 1000) / 100.0;
    const double total = std::accumulate(bounds.begin(), bounds.end(), 0.0);
    const double least = total * static_cast<double>(random() % 101) / 100.0;
    const TermCondition exact = DocumentsWithAtLeast(bounds, least, 100'000);
    const TermCondition rough = DocumentsWithAtLeast(bounds, least, random() % 20);
    for (std::uint32_t document = 1; document < 1U << terms; document++) {
      const double sum = SumOf(bounds, document);
      if (std::abs(sum - least) < 1e-6) continue;
      EXPECT_EQ(Fulfils(exact, document), sum > least) << least << " " << document;
      EXPECT_TRUE(Fulfils(rough, document) || sum < least) << least << " " << document;
    }
  }
}

TEST(Bm25, ADocumentAtTheThresholdStays) {
  const std::vector<double> bounds = {1.0, 2.0, 4.0};
  const TermCondition condition = DocumentsWithAtLeast(bounds, 3.0, 100);
  EXPECT_TRUE(Fulfils(condition, 0b011));
  EXPECT_TRUE(Fulfils(condition, 0b100));
  EXPECT_FALSE(Fulfils(condition, 0b010));
}

TEST(Bm25, ManyTermsMakeNoMonster) {
  std::vector<double> bounds(200);
  for (std::size_t i = 0; i < bounds.size(); i++) bounds[i] = 1.0 + static_cast<double>(i % 7);
  EXPECT_LT(DocumentsWithAtLeast(bounds, 400.0, 100).nodes.size(), 500U);
  bounds.resize(20);
  EXPECT_LT(DocumentsWithAtLeast(bounds, 30.0, 100).nodes.size(), 1'000U);
  EXPECT_TRUE(DocumentsWithAtLeast(bounds, 0.0, 100).nodes.empty());
  EXPECT_TRUE(DocumentsWithAtLeast({}, 1.0, 100).nodes.empty());
}

TEST(Bm25, ExpectsAsManyAsAskedFor) {
  // Two terms, each in a tenth of 1,000 documents: 10 have both, 190 one or both.
  const std::vector<double> bounds = {1.0, 1.0};
  const std::vector<double> frequencies = {100.0, 100.0};
  EXPECT_DOUBLE_EQ(LikelyThreshold(bounds, frequencies, 1000, 5), 2.0);
  EXPECT_DOUBLE_EQ(LikelyThreshold(bounds, frequencies, 1000, 50), 1.0);
  EXPECT_DOUBLE_EQ(LikelyThreshold(bounds, frequencies, 1000, 500), 0.0);
  EXPECT_DOUBLE_EQ(LikelyThreshold({}, {}, 1000, 5), 0.0);
}

}  // namespace
}  // namespace tandem::policy
