#include "graph/segment_check.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "unit/graph/fixtures.hpp"

namespace tandem::graph {
namespace {

using namespace test;

/// 400 rows, ten of them equal, so that all sections exist.
MemorySegment Segment() {
  Dataset data(9, 400, 31);
  for (std::size_t row = 50; row < 60; ++row) std::copy(data.Row(7), data.Row(8), data.Row(row));
  BuildParameters parameters = Parameters(vec::Metric::kL2, 9, 400);
  parameters.graph.m = 5;
  return Build(parameters, data);
}

/// Expects a problem at `offset` whose text contains `text`.
void ExpectProblem(MemorySegment* segment, std::uint64_t offset, const std::string& text) {
  const auto problems = ProblemsOf(segment);
  const bool found = std::any_of(problems.begin(), problems.end(), [&](const auto& problem) {
    return problem.first == offset && problem.second.find(text) != std::string::npos;
  });
  EXPECT_TRUE(found) << "no \"" << text << "\" at " << offset << " among " << problems.size() << " problems"
                     << (problems.empty() ? "" : ", e.g. " + problems[0].second);
}

template <typename T>
void Put(MemorySegment* segment, std::uint64_t offset, T value) {
  std::memcpy(segment->bytes().data() + offset, &value, sizeof value);
}

TEST(SegmentChecker, HasNothingToSayAboutAGoodSegment) {
  MemorySegment segment = Segment();
  EXPECT_NE(segment.header().row_starts_at, 0U);
  EXPECT_TRUE(ProblemsOf(&segment).empty());
}

TEST(SegmentChecker, FindsWrongLinks) {
  const MemorySegment good = Segment();
  const std::uint64_t at = good.RecordAt(17);
  MemorySegment segment = good;
  Put<std::uint32_t>(&segment, at, good.header().nodes);
  ExpectProblem(&segment, at, "link to");

  segment = good;
  Put<std::uint32_t>(&segment, at, 17);
  ExpectProblem(&segment, at, "17 is linked to itself");

  segment = good;
  Put<std::uint32_t>(&segment, at + 4, *good.At<std::uint32_t>(at));
  ExpectProblem(&segment, at, "twice");

  segment = good;
  Put<std::uint32_t>(&segment, at, kEndOfLinks);
  ExpectProblem(&segment, at + 4, "behind the end");
}

TEST(SegmentChecker, FindsWrongUpperNodesAndLinks) {
  const MemorySegment good = Segment();
  const SegmentHeader& header = good.header();
  ASSERT_GE(header.upper_nodes, 5U);
  MemorySegment segment = good;
  const std::uint64_t second = header.upper_nodes_at + sizeof(UpperNode);
  Put<std::uint32_t>(&segment, second, 0);
  ExpectProblem(&segment, second, "does not ascend");

  segment = good;
  Put<std::uint32_t>(&segment, second + 4, header.max_level + 1);
  ExpectProblem(&segment, second, "has level");

  segment = good;
  Put<std::uint32_t>(&segment, second + 8, 0);
  ExpectProblem(&segment, second, "wrong place");

  segment = good;
  Put<std::uint32_t>(&segment, header.upper_links_at, header.upper_nodes);
  ExpectProblem(&segment, header.upper_links_at, "link to");

  // A link on level 2 to a node that has level 1 only.
  ASSERT_GE(header.max_level, 2U);
  const auto* upper = good.At<UpperNode>(header.upper_nodes_at);
  std::uint32_t low = 0;
  while (upper[low].level != 1) ++low;
  segment = good;
  const std::uint64_t list =
      header.upper_links_at + (std::uint64_t{upper[header.entry_upper].first_list} + 1) * header.m * 4;
  Put<std::uint32_t>(&segment, list, low);
  ExpectProblem(&segment, list, "link on level 2 to a node of level 1");
}

TEST(SegmentChecker, FindsNodesOutOfReach) {
  MemorySegment segment = Segment();
  // All links to the last nodes go elsewhere.
  const std::uint32_t bound = segment.header().nodes - 10;
  for (std::uint32_t node = 0; node < segment.header().nodes; ++node) {
    auto* links = segment.At<std::uint32_t>(segment.RecordAt(node));
    const auto end = std::remove_if(links, links + 10, [&](std::uint32_t link) { return link >= bound; });
    std::fill(end, links + 10, kEndOfLinks);
  }
  ExpectProblem(&segment, ~std::uint64_t{0}, "cannot be reached");
}

TEST(SegmentChecker, FindsWrongRows) {
  const MemorySegment good = Segment();
  const SegmentHeader& header = good.header();
  MemorySegment segment = good;
  Put<std::uint32_t>(&segment, header.rows_at + 40, 400);
  ExpectProblem(&segment, header.rows_at + 40, "out of range");

  segment = good;
  Put<std::uint32_t>(&segment, header.rows_at + 44, *good.At<std::uint32_t>(header.rows_at + 40));
  ExpectProblem(&segment, header.rows_at + 44, "comes twice");

  segment = good;
  Put<std::uint32_t>(&segment, header.row_starts_at + 80, 399);
  ExpectProblem(&segment, header.row_starts_at + 84, "start at");

  segment = good;
  const std::uint64_t last = header.row_starts_at + std::uint64_t{header.nodes} * 4;
  Put<std::uint32_t>(&segment, last, 1'000);
  ExpectProblem(&segment, last, "end at 1000");
}

TEST(SegmentChecker, FindsWrongTids) {
  const MemorySegment good = Segment();
  const std::uint64_t at = good.header().tids_at + 30 * sizeof(TidEntry);
  MemorySegment segment = good;
  std::swap_ranges(segment.bytes().begin() + static_cast<std::ptrdiff_t>(at),
                   segment.bytes().begin() + static_cast<std::ptrdiff_t>(at + sizeof(TidEntry)),
                   segment.bytes().begin() + static_cast<std::ptrdiff_t>(at + sizeof(TidEntry)));
  ExpectProblem(&segment, at + sizeof(TidEntry), "do not ascend");

  segment = good;
  Put<std::uint16_t>(&segment, at + sizeof(base::HeapTid), 7);
  ExpectProblem(&segment, at, "row 7");
}

TEST(SegmentChecker, FindsWrongHeaders) {
  const MemorySegment good = Segment();
  // Not every change of a header contradicts it: ef_construction and the range of rows say nothing about the rest.
  const std::vector<std::pair<std::size_t, std::uint32_t>> changes = {
      {offsetof(SegmentHeader, magic), 1},
      {offsetof(SegmentHeader, version), 1},
      {offsetof(SegmentHeader, metric), 9},
      {offsetof(SegmentHeader, dimensions), 10},
      {offsetof(SegmentHeader, m), 6},
      {offsetof(SegmentHeader, code_bytes), 8},
      {offsetof(SegmentHeader, record_bytes), 48},
      {offsetof(SegmentHeader, step), 0},
      {offsetof(SegmentHeader, nodes), 300},
      {offsetof(SegmentHeader, upper_nodes), 1},
      {offsetof(SegmentHeader, upper_lists), 1},
      {offsetof(SegmentHeader, entry_node), 5'000},
      {offsetof(SegmentHeader, entry_upper), 5'000},
      {offsetof(SegmentHeader, max_level), 0},
      {offsetof(SegmentHeader, walk_error), 0xBF800000},  // -1
      {offsetof(SegmentHeader, walk_error), 0x7FC00000},  // NaN
      {offsetof(SegmentHeader, codec_reason), vec::kWalkReasons},
      {offsetof(SegmentHeader, walk_at), 160},
      {offsetof(SegmentHeader, end_row), 3},
      {offsetof(SegmentHeader, rows), 401},
      {offsetof(SegmentHeader, records_at), 8},
      {offsetof(SegmentHeader, row_starts_at), 0},
      {offsetof(SegmentHeader, bytes), 8}};
  for (const auto& [offset, value] : changes) {
    MemorySegment segment = good;
    Put<std::uint32_t>(&segment, offset, value);
    ExpectProblem(&segment, 0, "segment header: ");
  }
  MemorySegment shorter = good;
  shorter.bytes().resize(shorter.bytes().size() - 8);
  ExpectProblem(&shorter, 0, "bytes, but there are");
  shorter.bytes().resize(100);
  ExpectProblem(&shorter, 0, "has no header");
}

// Broken once by not reading the section: nothing is found.
TEST(SegmentChecker, FindsWrongCodecs) {
  BuildParameters parameters = Parameters(vec::Metric::kL2, 9, 50);
  parameters.codec = vec::WalkWish::kSq4;
  const MemorySegment good = Build(parameters, Dataset(9, 50, 1));
  const SegmentHeader& header = good.header();
  MemorySegment segment = good;
  ASSERT_TRUE(ProblemsOf(&segment).empty());

  const std::uint64_t centre = header.walk_at + 2 * sizeof(float);
  Put<float>(&segment, centre, std::numeric_limits<float>::quiet_NaN());
  ExpectProblem(&segment, centre, "centre of dimension 3 is out of range");

  segment = good;
  const std::uint64_t step = header.walk_at + (9 + 8) * sizeof(float);
  Put<float>(&segment, step, 0.0F);
  ExpectProblem(&segment, step, "step of dimension 9 is out of range");

  for (const int codec : {0, 1, 3, 4, 5, 6}) {
    segment = good;
    Put<std::uint8_t>(&segment, offsetof(SegmentHeader, codec), static_cast<std::uint8_t>(codec));
    ExpectProblem(&segment, 0, "segment header: ");
  }
  segment = good;
  Put<std::uint8_t>(&segment, offsetof(SegmentHeader, metric), static_cast<std::uint8_t>(vec::Metric::kL1));
  ExpectProblem(&segment, 0, "4-bit codec for L1");
  segment = good;
  Put<float>(&segment, offsetof(SegmentHeader, shared_error), 1.0F);
  ExpectProblem(&segment, 0, "wrong error of shared nodes");
}

// Broken once by a check that ends with the last byte that has bits.
TEST(SegmentChecker, FindsWrongBits) {
  BuildParameters parameters = Parameters(vec::Metric::kL2, 43, 50);
  parameters.graph.bits = true;
  const MemorySegment good = Build(parameters, BitsOf(Dataset(43, 50, 1)));
  MemorySegment segment = good;
  ASSERT_TRUE(ProblemsOf(&segment).empty());
  const std::uint64_t code = good.RecordAt(7) + good.LinkBytes();
  for (const std::uint64_t byte : {5U, 6U, 7U}) {
    segment = good;
    segment.bytes()[code + byte] = static_cast<char>(segment.bytes()[code + byte] | 0x10);
    ExpectProblem(&segment, code, "bits behind the last one");
  }
  segment = good;
  segment.bytes()[code + 5] = static_cast<char>(segment.bytes()[code + 5] ^ 0x20);
  EXPECT_TRUE(ProblemsOf(&segment).empty()) << "the last bit";

  const std::vector<std::pair<std::size_t, float>> floats = {{offsetof(SegmentHeader, walk_error), 1.0F},
                                                             {offsetof(SegmentHeader, walk_reach), kDrifted},
                                                             {offsetof(SegmentHeader, shared_error), 1.0F},
                                                             {offsetof(SegmentHeader, step), 2.0F}};
  for (const auto& [offset, value] : floats) {
    segment = good;
    Put<float>(&segment, offset, value);
    ExpectProblem(&segment, 0, "segment header: ");
  }
  for (const vec::Metric metric : {vec::Metric::kL1, vec::Metric::kInnerProduct}) {
    segment = good;
    Put<std::uint8_t>(&segment, offsetof(SegmentHeader, metric), static_cast<std::uint8_t>(metric));
    ExpectProblem(&segment, 0, "bit codec for another metric");
  }
  segment = good;
  Put<std::uint8_t>(&segment, offsetof(SegmentHeader, codec), static_cast<std::uint8_t>(vec::WalkCode::kSq8));
  ExpectProblem(&segment, 0, "wrong size of records");
}

TEST(SegmentChecker, StopsAfterSomeProblems) {
  MemorySegment segment = Segment();
  for (std::uint32_t node = 0; node < segment.header().nodes; ++node) {
    Put<std::uint32_t>(&segment, segment.RecordAt(node), node);
  }
  EXPECT_EQ(ProblemsOf(&segment).size(), kMaxProblems);
}

// Whatever bytes a segment has, the checker ends and stays within them (the source throws otherwise).
TEST(SegmentChecker, SurvivesEveryFlippedByte) {
  const MemorySegment good = Segment();
  const std::size_t stride = kSanitized ? 101 : 11;
  std::size_t silent = 0;
  for (std::size_t at = 0; at < good.bytes().size(); at += at < sizeof(SegmentHeader) ? 1 : stride) {
    MemorySegment segment = good;
    segment.bytes()[at] = static_cast<char>(segment.bytes()[at] ^ 0x55);
    silent += ProblemsOf(&segment).empty() ? 1 : 0;
  }
  EXPECT_GT(silent, 0U);  // codes and offsets are the business of the pages' checksums
}

}  // namespace
}  // namespace tandem::graph
