#include "graph/graph_search.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <queue>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "unit/graph/fixtures.hpp"

namespace tandem::graph {
namespace {

using namespace test;

constexpr std::uint32_t kDimensions = 20;

struct Fixture {
  explicit Fixture(vec::WalkWish codec) : data(kDimensions, kRows, 21), queries(kDimensions, 50, 21) {
    BuildParameters parameters = Parameters(vec::Metric::kL2, kDimensions, kRows);
    parameters.codec = codec;
    parameters.graph.m = 8;
    segment = Build(parameters, data);
  }

  TestQuery Query(std::size_t q) { return TestQuery(segment, queries.Row(q)); }

  Dataset data;
  Dataset queries;
  MemorySegment segment;
};

Fixture& Shared() {
  static Fixture fixture(vec::WalkWish::kSq8);
  return fixture;
}

Fixture& FourBits() {
  static Fixture fixture(vec::WalkWish::kSq4);
  return fixture;
}

using Keyed = std::pair<float, std::uint32_t>;

/// Malkov and Yashunin 2018, algorithms 2 and 5, as they stand there.
std::vector<Keyed> TextbookSearch(const MemorySegment& segment, const TestQuery& query, std::size_t ef) {
  MemoryReader reader(segment);
  const SegmentHeader& header = segment.header();
  const auto key_of = [&](std::uint32_t node) { return query.Key(reader.Code(node)); };
  std::uint32_t ordinal = header.entry_upper;
  std::uint32_t entry = header.entry_node;
  for (std::uint32_t level = header.max_level; level > 0; --level) {
    for (bool moved = true; moved;) {
      moved = false;
      const std::uint32_t* links = reader.UpperList(reader.UpperRecord(ordinal)->first_list + level - 1);
      for (std::uint32_t i = 0; i < header.m && links[i] != kEndOfLinks; ++i) {
        const std::uint32_t node = reader.UpperRecord(links[i])->node;
        if (key_of(node) < key_of(entry)) {
          entry = node;
          ordinal = links[i];
          moved = true;
        }
      }
    }
  }
  std::priority_queue<Keyed, std::vector<Keyed>, std::greater<>> candidates;
  std::priority_queue<Keyed> nearest;
  std::set<std::uint32_t> seen{entry};
  candidates.emplace(key_of(entry), entry);
  nearest.push(candidates.top());
  while (!candidates.empty()) {
    const Keyed next = candidates.top();
    candidates.pop();
    if (nearest.size() == ef && nearest.top() < next) break;
    const std::uint32_t* links = reader.LinkRecord(next.second);
    for (std::uint32_t i = 0; i < 2 * header.m && links[i] != kEndOfLinks; ++i) {
      if (!seen.insert(links[i]).second) continue;
      const Keyed found(key_of(links[i]), links[i]);
      if (nearest.size() == ef && !(found < nearest.top())) continue;
      candidates.push(found);
      nearest.push(found);
      if (nearest.size() > ef) nearest.pop();
    }
  }
  std::vector<Keyed> result;
  for (; !nearest.empty(); nearest.pop()) result.push_back(nearest.top());
  std::reverse(result.begin(), result.end());
  return result;
}

TEST(GraphSearch, FirstBatchIsThatOfTheTextbook) {
  Fixture& f = Shared();
  MemoryReader reader(f.segment);
  GraphSearch<MemoryReader> search;
  for (std::size_t q = 0; q < f.queries.rows(); ++q) {
    for (const std::uint32_t ef : {1U, 2U, 10U, 64U}) {
      const TestQuery query = f.Query(q);
      search.Start(&f.segment.header(), *query, ef, 1);
      std::vector<Keyed> batch;
      for (const FoundNode& found : search.NextBatch(&reader)) batch.emplace_back(found.key, found.node);
      EXPECT_EQ(batch, TextbookSearch(f.segment, query, ef)) << "query " << q << ", ef " << ef;
    }
  }
}

// Broken once by dropping what falls out of the pool: the stream ends early.
TEST(GraphSearch, BatchesReturnTheWholeGraphOnceAboutInOrder) {
  Fixture& f = Shared();
  MemoryReader reader(f.segment);
  GraphSearch<MemoryReader> search;
  for (const std::uint32_t ef : {1U, 7U, 50U, 100'000U}) {
    const TestQuery query = f.Query(3);
    search.Start(&f.segment.header(), *query, ef);
    std::set<std::uint32_t> nodes;
    std::size_t early = 0;
    float farthest = -1.0F;
    for (;;) {
      const base::Span<const FoundNode> batch = search.NextBatch(&reader);
      if (batch.empty()) break;
      EXPECT_LE(batch.size(), ef);
      for (std::size_t i = 0; i < batch.size(); ++i) {
        EXPECT_TRUE(nodes.insert(batch[i].node).second) << "node " << batch[i].node << " comes twice";
        EXPECT_LE(batch[i > 0 ? i - 1 : 0].key, batch[i].key);
        early += batch[i].key < farthest ? 1 : 0;
      }
      farthest = std::max(farthest, batch[batch.size() - 1].key);
    }
    EXPECT_EQ(nodes.size(), f.segment.header().nodes);
    EXPECT_TRUE(search.NextBatch(&reader).empty());
    EXPECT_LE(early, ef < 50 ? nodes.size() : nodes.size() / 20);
  }
}

/// All batches of all queries, one after the other.
std::vector<Keyed> AllBatches(Fixture& f, std::uint32_t ef, std::uint32_t beam, unsigned resident_percent) {
  MemoryReader reader(f.segment, resident_percent);
  GraphSearch<MemoryReader> search;
  std::vector<Keyed> all;
  for (std::size_t q = 0; q < f.queries.rows(); q += 5) {
    const TestQuery query = f.Query(q);
    search.Start(&f.segment.header(), *query, ef, beam);
    for (int batch = 0; batch < 8; ++batch) {
      for (const FoundNode& found : search.NextBatch(&reader)) all.emplace_back(found.key, found.node);
      all.emplace_back(-1.0F, batch);
    }
  }
  return all;
}

// Broken once by taking a page's bytes after the next page was read.
TEST(GraphSearch, WhatIsInMemoryHasNoInfluenceOnWhatIsFound) {
  for (Fixture* f : {&Shared(), &FourBits()}) {
    for (const std::uint32_t beam : {1U, 2U, 5U}) {
      for (const std::uint32_t ef : {1U, 10U, 100U}) {
        const std::vector<Keyed> paged = AllBatches(*f, ef, beam, 0);
        EXPECT_EQ(AllBatches(*f, ef, beam, 100), paged) << "ef " << ef << ", beam " << beam;
        EXPECT_EQ(AllBatches(*f, ef, beam, 50), paged) << "ef " << ef << ", beam " << beam;
      }
    }
  }
}

// Broken once by stepping a search whose batch is complete: it comes out empty.
TEST(GraphSearch, SeveralInLockStepFindWhatEachFindsAlone) {
  Fixture& f = Shared();
  constexpr std::size_t kSearches = 5;
  std::vector<GraphSearch<MemoryReader>> together(kSearches);
  std::vector<MemoryReader> memory;
  std::vector<TestQuery> queries;
  for (std::size_t i = 0; i < kSearches; ++i) {
    memory.emplace_back(f.segment, static_cast<unsigned>(i) * 25);
    queries.push_back(f.Query(i));
  }
  const auto ef_of = [](std::size_t i) { return static_cast<std::uint32_t>(10 + 40 * i); };
  std::vector<GraphSearch<MemoryReader>*> searches;
  std::vector<MemoryReader*> readers;
  for (std::size_t i = 0; i < kSearches; ++i) {
    together[i].Start(&f.segment.header(), *queries[i], ef_of(i));
    searches.push_back(&together[i]);
    readers.push_back(&memory[i]);
  }
  std::vector<GraphSearch<MemoryReader>> alone(kSearches);
  for (std::size_t i = 0; i < kSearches; ++i) alone[i].Start(&f.segment.header(), *queries[i], ef_of(i));
  for (int round = 0; round < 4; ++round) {
    NextBatches(searches.data(), readers.data(), kSearches);
    for (std::size_t i = 0; i < kSearches; ++i) {
      const base::Span<const FoundNode> expected = alone[i].NextBatch(&memory[i]);
      const base::Span<const FoundNode> batch = together[i].batch();
      ASSERT_EQ(batch.size(), expected.size());
      EXPECT_GT(batch.size(), 0U);
      for (std::size_t k = 0; k < batch.size(); ++k) {
        EXPECT_EQ(batch[k].node, expected[k].node);
        EXPECT_EQ(batch[k].key, expected[k].key);
      }
    }
  }
}

// A search that goes on finds what a larger one finds.
TEST(GraphSearch, SeveralBatchesAreWorthOneLargePool) {
  Fixture& f = Shared();
  double streamed = 0.0;
  double at_once = 0.0;
  for (std::size_t q = 0; q < f.queries.rows(); ++q) {
    const auto exact = Nearest(vec::Metric::kL2, f.data, RowsUpTo(kRows), f.queries.Row(q), 40);
    streamed += Overlap(exact, Found(f.segment, f.queries.Row(q), 20, 4));
    at_once += Overlap(exact, Found(f.segment, f.queries.Row(q), 80));
  }
  EXPECT_GE(streamed, at_once - 0.01 * static_cast<double>(f.queries.rows()));
}

// Broken once by a pool that does not grow.
TEST(GraphSearch, BatchesOfOtherSizesGoOn) {
  Fixture& f = Shared();
  MemoryReader reader(f.segment);
  GraphSearch<MemoryReader> search;
  const TestQuery query = f.Query(3);
  search.Start(&f.segment.header(), *query, 20);
  std::set<std::uint32_t> nodes;
  for (const std::uint32_t wanted : {20U, 20U, 40U, 12U, 148U}) {
    if (!nodes.empty()) search.SetBatch(wanted);
    const base::Span<const FoundNode> batch = search.NextBatch(&reader);
    EXPECT_EQ(batch.size(), wanted);
    EXPECT_EQ(search.ef(), wanted);
    for (const FoundNode& found : batch) EXPECT_TRUE(nodes.insert(found.node).second) << "comes twice";
  }
  search.Start(&f.segment.header(), *query, 240);
  std::size_t common = 0;
  for (const FoundNode& found : search.NextBatch(&reader)) common += nodes.count(found.node);
  EXPECT_GE(common, 230U) << "together they are worth one large pool";
}

TEST(GraphSearch, AWarmSearchAllocatesNothing) {
  Fixture& f = Shared();
  MemoryReader reader(f.segment);
  GraphSearch<MemoryReader> search;
  std::size_t warm = 0;
  for (int round = 0; round < 3; ++round) {
    for (std::size_t q = 0; q < f.queries.rows(); ++q) {
      const TestQuery query = f.Query(q);
      search.Start(&f.segment.header(), *query, 40);
      static_cast<void>(search.NextBatch(&reader));
    }
    if (round == 0) warm = search.MemoryBytes();
  }
  EXPECT_EQ(search.MemoryBytes(), warm);
  EXPECT_LT(warm, 200'000U);
}

// Broken once by not clearing the visited set: the second query finds nothing.
TEST(GraphSearch, QueriesDoNotDisturbEachOtherNorDoSegments) {
  Fixture& f = Shared();
  const Dataset other_data(kDimensions, 100, 5);
  const MemorySegment small = Build(Parameters(vec::Metric::kL1, kDimensions, 100), other_data);
  GraphSearch<MemoryReader> search;
  for (std::size_t q = 0; q < 10; ++q) {
    MemoryReader reader(f.segment);
    const TestQuery query = f.Query(q);
    search.Start(&f.segment.header(), *query, 15, 1);
    std::vector<Keyed> batch;
    for (const FoundNode& found : search.NextBatch(&reader)) batch.emplace_back(found.key, found.node);
    EXPECT_EQ(batch, TextbookSearch(f.segment, query, 15));
    if (q % 2 == 0) static_cast<void>(search.NextBatch(&reader));

    MemoryReader small_reader(small);
    const TestQuery small_query(small, f.queries.Row(q));
    search.Start(&small.header(), *small_query, 100);
    EXPECT_EQ(search.NextBatch(&small_reader).size(), 100U);
  }
}

TEST(GraphSearch, CountsWhatItDoes) {
  Fixture& f = Shared();
  MemoryReader reader(f.segment);
  GraphSearch<MemoryReader> search;
  const TestQuery query = f.Query(0);
  search.Start(&f.segment.header(), *query, 30);
  EXPECT_EQ(search.counters().distances, 0U);
  static_cast<void>(search.NextBatch(&reader));
  const SearchCounters first = search.counters();
  EXPECT_GE(first.expanded, 30U);
  EXPECT_GT(first.distances, first.expanded);
  EXPECT_LT(first.distances, f.segment.header().nodes);
  search.Start(&f.segment.header(), *query, 30);
  static_cast<void>(search.NextBatch(&reader));
  EXPECT_EQ(search.counters().distances, 2 * first.distances);
}

/// A reader whose segment is recycled under it: after some calls everything it gives is zeros or rubbish.
class FailingReader {
 public:
  FailingReader(const MemorySegment& segment, int good_calls, unsigned rubbish)
      : reader_(segment), good_calls_(good_calls), generator_(rubbish), rubbish_(256) {
    for (std::uint32_t& word : rubbish_) word = rubbish == 0 ? 0 : Word();
  }

  static const std::uint32_t* LinkRecord(std::uint32_t /*node*/) { return nullptr; }
  static const std::uint8_t* CodeRecord(std::uint32_t /*node*/) { return nullptr; }
  static const UpperNode* UpperRecord(std::uint32_t /*ordinal*/) { return nullptr; }
  static const std::uint32_t* UpperList(std::uint32_t /*list*/) { return nullptr; }
  const std::uint32_t* Links(std::uint32_t node) { return Good() ? reader_.Links(node) : rubbish_.data(); }
  const std::uint8_t* Code(std::uint32_t node) {
    return Good() ? reader_.Code(node) : reinterpret_cast<const std::uint8_t*>(rubbish_.data());
  }
  UpperNode Upper(std::uint32_t ordinal) {
    return Good() ? reader_.Upper(ordinal) : UpperNode{rubbish_[0], rubbish_[1], rubbish_[2]};
  }
  const std::uint32_t* UpperLinks(std::uint32_t list) {
    return Good() ? reader_.UpperLinks(list) : rubbish_.data();
  }

 private:
  bool Good() {
    if (good_calls_-- > 0) return true;
    if (rubbish_[0] != 0) rubbish_[generator_() % rubbish_.size()] = Word();
    return false;
  }
  /// Some lead into the segment, some far out of it.
  std::uint32_t Word() { return static_cast<std::uint32_t>(generator_()) >> (generator_() % 32); }

  MemoryReader reader_;
  int good_calls_;
  std::mt19937 generator_;
  std::vector<std::uint32_t> rubbish_;
};

// Broken once by not checking links against the number of nodes: AddressSanitizer stops it.
TEST(GraphSearch, EndsWhateverItReads) {
  Fixture& f = Shared();
  GraphSearch<FailingReader> search;
  for (int good_calls = 0; good_calls < 300; good_calls += 7) {
    for (const unsigned rubbish : {0U, 1U, 2U}) {
      FailingReader reader(f.segment, good_calls, rubbish);
      const TestQuery query = f.Query(1);
      search.Start(&f.segment.header(), *query, 20);
      std::size_t nodes = 0;
      for (;;) {
        const base::Span<const FoundNode> batch = search.NextBatch(&reader);
        if (batch.empty()) break;
        for (const FoundNode& found : batch) EXPECT_LT(found.node, f.segment.header().nodes);
        nodes += batch.size();
      }
      EXPECT_LE(nodes, f.segment.header().nodes);
    }
  }
}

}  // namespace
}  // namespace tandem::graph
