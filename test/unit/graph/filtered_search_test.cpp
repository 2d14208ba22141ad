// Searches of one graph by a filter.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "base/ordinal_set.hpp"
#include "policy/filter_policy.hpp"
#include "unit/graph/fixtures.hpp"

namespace tandem::graph {
namespace {

using namespace test;

constexpr std::uint32_t kDimensions = 32;
constexpr std::uint32_t kEf = 40;
constexpr std::size_t kQueries = kSanitized ? 20 : 100;
constexpr std::uint32_t kEnough = 16;

/// A segment whose nodes each stand for one row, and queries.
struct Fixture {
  Fixture()
      : all(kDimensions, kRows + kQueries, 21),
        segment(Build(Parameters(vec::Metric::kL2, kDimensions, kRows), all)) {}

  [[nodiscard]] const float* Query(std::size_t q) const { return all.Row(kRows + q); }
  [[nodiscard]] std::uint32_t RowOf(std::uint32_t node) const {
    return static_cast<std::uint32_t>(segment.RowsOf(node)[0]);
  }

  Dataset all;
  MemorySegment segment;
};

const Fixture& Shared() {
  static const auto* fixture = new Fixture;
  return *fixture;
}

/// Which nodes a filter admits.
struct Filter {
  base::OrdinalSet nodes;
  std::vector<std::uint64_t> rows;
};

Filter MakeFilter(const Fixture& f, const std::vector<std::uint32_t>& nodes) {
  Filter filter;
  filter.nodes = base::OrdinalSet(f.segment.header().nodes);
  for (const std::uint32_t node : nodes) {
    filter.nodes.Add(node);
    filter.rows.push_back(f.RowOf(node));
  }
  filter.nodes.ToBitmap();
  filter.nodes.Freeze();
  return filter;
}

enum class Kind { kIndependent, kNear, kFar };

/// A share of the nodes: of any, of those nearest to the query, or of those farthest from it.
Filter FilterFor(const Fixture& f, Kind kind, double share, std::size_t q) {
  const std::uint32_t count = f.segment.header().nodes;
  std::vector<std::uint32_t> nodes(count);
  std::iota(nodes.begin(), nodes.end(), 0U);
  std::vector<double> keys(count);
  const vec::QueryDistance distance(vec::Metric::kL2, f.Query(q), kDimensions);
  for (std::uint32_t node = 0; node < count; ++node) {
    const auto any = static_cast<double>((node + q) * 2'654'435'761U % 1'000'003U);
    const double key = distance.Key(f.all.Row(f.RowOf(node)));
    keys[node] = kind == Kind::kIndependent ? any : kind == Kind::kNear ? key : -key;
  }
  std::sort(nodes.begin(), nodes.end(), [&](auto a, auto b) { return keys[a] < keys[b]; });
  nodes.resize(static_cast<std::size_t>(std::ceil(share * count)));
  return MakeFilter(f, nodes);
}

/// What a search does until it has found ten rows, as searches behind SQL do it, but for the re-ranking of what it found.
std::vector<std::uint64_t> Search(const Fixture& f, const Filter& filter, std::size_t q,
                                  policy::FilterTactic tactic) {
  const TestQuery query(f.segment, f.Query(q));
  MemoryReader reader(f.segment);
  GraphSearch<MemoryReader> search;
  policy::FilterSituation situation;
  situation.rows = f.segment.header().rows;
  situation.admitted = filter.nodes.size();
  situation.code_bytes = kDimensions;
  situation.ef_search = kEf;
  search.Start(&f.segment.header(), *query, policy::EfOfTactic(tactic, situation));
  if (tactic == policy::FilterTactic::kWalk) search.SetFilter({&filter.nodes, kEnough});
  bool scored = tactic == policy::FilterTactic::kCodes;
  if (scored) search.ScoreNodes(&reader, filter.nodes);
  std::vector<std::uint64_t> rows;
  while (rows.size() < std::min<std::size_t>(10, filter.rows.size())) {
    const auto batch = scored                                  ? search.NextScoredBatch()
                       : tactic == policy::FilterTactic::kWalk ? search.NextFilteredBatch(&reader)
                                                               : search.NextBatch(&reader);
    for (const FoundNode& found : batch)
      if (filter.nodes.Contains(found.node)) rows.push_back(f.RowOf(found.node));
    if (!batch.empty()) continue;
    EXPECT_FALSE(scored) << "rows are missing";
    if (scored) break;
    search.ScoreNodes(&reader, filter.nodes);
    scored = true;
  }
  return rows;
}

double MeanRecall(Kind kind, double share, policy::FilterTactic tactic) {
  const Fixture& f = Shared();
  double sum = 0.0;
  for (std::size_t q = 0; q < kQueries; ++q) {
    const Filter filter = FilterFor(f, kind, share, q);
    const auto exact = Nearest(vec::Metric::kL2, f.all, filter.rows, f.Query(q), 10);
    const auto found = Search(f, filter, q, tactic);
    sum += Overlap(exact, Nearest(vec::Metric::kL2, f.all, found, f.Query(q), 10));
  }
  return sum / static_cast<double>(kQueries);
}

// Broken once each: a walk without bridges (0.6 at 5 %); without larger pools where nothing wanted is near (far: 0.78).
TEST(FilteredSearch, WalkFindsWhatIsAdmitted) {
  for (const Kind kind : {Kind::kIndependent, Kind::kNear, Kind::kFar}) {
    for (const double share : {0.5, 0.2, 0.1, 0.05}) {
      const double recall = MeanRecall(kind, share, policy::FilterTactic::kWalk);
      EXPECT_GE(recall, 0.95) << static_cast<int>(kind) << " at " << share;
    }
  }
}

TEST(FilteredSearch, CodesFindWhatIsAdmitted) {
  for (const Kind kind : {Kind::kIndependent, Kind::kNear, Kind::kFar}) {
    for (const double share : {0.1, 0.01, 0.003, 0.001})
      EXPECT_GE(MeanRecall(kind, share, policy::FilterTactic::kCodes), 0.995)
          << static_cast<int>(kind) << " at " << share;
  }
}

TEST(FilteredSearch, StreamFindsWhatIsAdmitted) {
  EXPECT_GE(MeanRecall(Kind::kIndependent, 0.9, policy::FilterTactic::kStream), 0.95);
  EXPECT_GE(MeanRecall(Kind::kIndependent, 0.5, policy::FilterTactic::kStream), 0.95);
}

/// Drains a search that changes to codes after some batches.
void ExpectEveryNodeOnce(const Filter& filter, std::size_t q, bool by_filter, int walked,
                         unsigned resident_percent) {
  const Fixture& f = Shared();
  const TestQuery query(f.segment, f.Query(q));
  MemoryReader reader(f.segment, resident_percent);
  GraphSearch<MemoryReader> search;
  search.Start(&f.segment.header(), *query, kEf);
  if (by_filter) search.SetFilter({&filter.nodes, kEnough});
  std::map<std::uint32_t, int> times;
  const auto count = [&](base::Span<const FoundNode> batch) {
    for (std::size_t i = 0; i < batch.size(); ++i) {
      EXPECT_LE(batch[i > 0 ? i - 1 : 0].key, batch[i].key);
      EXPECT_TRUE(!by_filter || filter.nodes.Contains(batch[i].node));
      if (filter.nodes.Contains(batch[i].node)) ++times[batch[i].node];
    }
    return !batch.empty();
  };
  for (int i = 0; i < walked; ++i) {
    if (!count(by_filter ? search.NextFilteredBatch(&reader) : search.NextBatch(&reader))) break;
  }
  search.ScoreNodes(&reader, filter.nodes);
  float last = -1.0F;
  for (;;) {
    const auto batch = search.NextScoredBatch();
    if (!count(batch)) break;
    EXPECT_GE(batch[0].key, last) << "what is left comes in order";
    last = batch[batch.size() - 1].key;
  }
  EXPECT_EQ(times.size(), filter.nodes.size());
  for (const auto& [node, n] : times) EXPECT_EQ(n, 1) << node;
}

// Broken once each: nodes of the spill compared again; those of the short walk forgotten without their marks.
TEST(FilteredSearch, EveryAdmittedNodeComesOnceWhateverTheWalkFound) {
  const Fixture& f = Shared();
  for (const double share : {1.0, 0.3, 0.02, 0.001}) {
    const Filter filter = FilterFor(f, Kind::kIndependent, share, 1);
    for (const int walked : {0, 1, 3, 1'000'000}) {
      for (const bool by_filter : {true, false}) {
        ExpectEveryNodeOnce(filter, 1, by_filter, walked, 100);
        ExpectEveryNodeOnce(filter, 2, by_filter, walked, 50);
      }
    }
  }
  ExpectEveryNodeOnce(MakeFilter(f, {}), 1, true, 10, 100);
}

// What is in memory has no influence on what is found.
TEST(FilteredSearch, PagesGiveWhatMemoryGives) {
  const Fixture& f = Shared();
  const Filter filter = FilterFor(f, Kind::kIndependent, 0.1, 3);
  const TestQuery query(f.segment, f.Query(3));
  std::vector<std::vector<std::uint32_t>> answers;
  for (const unsigned resident_percent : {100U, 60U, 0U}) {
    MemoryReader reader(f.segment, resident_percent);
    GraphSearch<MemoryReader> search;
    search.Start(&f.segment.header(), *query, kEf);
    search.SetFilter({&filter.nodes, kEnough});
    answers.emplace_back();
    for (const FoundNode& found : search.NextFilteredBatch(&reader)) answers.back().push_back(found.node);
  }
  EXPECT_EQ(answers[0], answers[1]);
  EXPECT_EQ(answers[0], answers[2]);
}

// A search serves one query after the other, by filters or none.
TEST(FilteredSearch, LeavesNothingBehind) {
  const Fixture& f = Shared();
  const Filter filter = FilterFor(f, Kind::kNear, 0.05, 0);
  MemoryReader reader(f.segment);
  GraphSearch<MemoryReader> used;
  std::size_t warm = 0;
  for (int round = 0; round < 3; ++round) {
    for (std::size_t q = 0; q < 10; ++q) {
      const TestQuery query(f.segment, f.Query(q));
      used.Start(&f.segment.header(), *query, kEf);
      if (q % 2 == 0) used.SetFilter({&filter.nodes, kEnough});
      GraphSearch<MemoryReader> fresh;
      fresh.Start(&f.segment.header(), *query, kEf);
      if (q % 2 == 0) fresh.SetFilter({&filter.nodes, kEnough});
      const auto expected = q % 2 == 0 ? fresh.NextFilteredBatch(&reader) : fresh.NextBatch(&reader);
      const auto found = q % 2 == 0 ? used.NextFilteredBatch(&reader) : used.NextBatch(&reader);
      ASSERT_EQ(found.size(), expected.size());
      for (std::size_t i = 0; i < found.size(); ++i) EXPECT_EQ(found[i].node, expected[i].node);
    }
    if (round == 0) warm = used.MemoryBytes();
  }
  EXPECT_EQ(used.MemoryBytes(), warm) << "a warm search allocates nothing";
}

// A few wanted nodes around the query that no other wanted one is linked to: the walk looks for them before it leaves.
// Seen to fail without that: a seventh of them was missed.
TEST(FilteredSearch, FindsTheFewThatAreNearToAQueryInAHole) {
  const Fixture& f = Shared();
  std::size_t found = 0;
  constexpr std::size_t kFewQueries = 20;
  for (std::size_t q = 0; q < kFewQueries; ++q) {
    const std::uint32_t count = f.segment.header().nodes;
    const vec::QueryDistance distance(vec::Metric::kL2, f.Query(q), kDimensions);
    std::vector<std::uint32_t> nodes(count);
    std::iota(nodes.begin(), nodes.end(), 0U);
    std::sort(nodes.begin(), nodes.end(), [&](auto a, auto b) {
      return distance.Key(f.all.Row(f.RowOf(a))) < distance.Key(f.all.Row(f.RowOf(b)));
    });
    const std::vector<std::uint32_t> few(nodes.begin() + 300, nodes.begin() + 304);
    std::vector<std::uint32_t> wanted(nodes.end() - count / 5, nodes.end());
    wanted.insert(wanted.end(), few.begin(), few.end());
    const Filter filter = MakeFilter(f, wanted);
    const TestQuery query(f.segment, f.Query(q));
    MemoryReader reader(f.segment);
    GraphSearch<MemoryReader> search;
    search.Start(&f.segment.header(), *query, kEf);
    search.SetFilter({&filter.nodes, kEnough});
    for (const FoundNode& one : search.NextFilteredBatch(&reader))
      found += std::find(few.begin(), few.end(), one.node) != few.end() ? 1 : 0;
  }
  EXPECT_GE(found, 4 * kFewQueries * 95 / 100);
}

// A walk that would need too large a pool ends, and what is then compared is all.
TEST(FilteredSearch, EndsWhereAPoolWouldHaveToBeTooLarge) {
  const Fixture& f = Shared();
  for (std::size_t q = 0; q < 10; ++q) {
    const Filter filter = FilterFor(f, Kind::kFar, 0.05, q);
    const TestQuery query(f.segment, f.Query(q));
    MemoryReader reader(f.segment);
    GraphSearch<MemoryReader> search;
    search.Start(&f.segment.header(), *query, kEf);
    search.SetFilter({&filter.nodes, kEnough, 1});
    ASSERT_TRUE(search.NextFilteredBatch(&reader).empty());
    search.ScoreNodes(&reader, filter.nodes);
    GraphSearch<MemoryReader> fresh;
    fresh.Start(&f.segment.header(), *query, kEf);
    fresh.ScoreNodes(&reader, filter.nodes);
    std::size_t returned = 0;
    for (;;) {
      const auto all = search.NextScoredBatch();
      const auto expected = fresh.NextScoredBatch();
      ASSERT_EQ(all.size(), expected.size());
      if (all.empty()) break;
      for (std::size_t i = 0; i < all.size(); ++i) ASSERT_EQ(all[i].node, expected[i].node);
      returned += all.size();
    }
    EXPECT_EQ(returned, filter.nodes.size());
  }
  const Filter anywhere = FilterFor(f, Kind::kIndependent, 0.2, 1);
  const TestQuery query(f.segment, f.Query(1));
  MemoryReader reader(f.segment);
  GraphSearch<MemoryReader> search;
  search.Start(&f.segment.header(), *query, kEf);
  search.SetFilter({&anywhere.nodes, kEnough, 1});
  EXPECT_EQ(search.NextFilteredBatch(&reader).size(), kEf);
}

TEST(FilteredSearch, ComparesAdmittedNodesAlone) {
  const Fixture& f = Shared();
  const Filter filter = FilterFor(f, Kind::kIndependent, 0.05, 4);
  const TestQuery query(f.segment, f.Query(4));
  MemoryReader reader(f.segment);
  GraphSearch<MemoryReader> plain;
  plain.Start(&f.segment.header(), *query, 16);
  static_cast<void>(plain.NextBatch(&reader));
  GraphSearch<MemoryReader> filtered;
  filtered.Start(&f.segment.header(), *query, kEf);
  filtered.SetFilter({&filter.nodes, kEnough});
  static_cast<void>(filtered.NextFilteredBatch(&reader));
  EXPECT_GT(filtered.counters().bridges, 0U);
  EXPECT_LE(filtered.counters().distances, plain.counters().distances + filter.nodes.size());
}

}  // namespace
}  // namespace tandem::graph
