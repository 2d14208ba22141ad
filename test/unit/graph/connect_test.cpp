#include "graph/connect.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace tandem::graph {
namespace {

constexpr std::uint32_t kM = 2;
constexpr std::size_t kWords = 2 * kM + 1;

/// A graph of level 0 alone, links only.
class LinkGraph {
 public:
  explicit LinkGraph(std::vector<std::vector<std::uint32_t>> links) : words_(links.size() * kWords) {
    memory_.level0 = reinterpret_cast<char*>(words_.data());
    memory_.stride = kWords * sizeof(std::uint32_t);
    for (std::uint32_t node = 0; node < links.size(); ++node) {
      std::uint32_t* list = memory_.List(node);
      SetCount(list, links[node].size());
      std::copy(links[node].begin(), links[node].end(), list + 1);
    }
  }

  [[nodiscard]] std::uint32_t Connect(std::uint32_t entry) {
    const base::CancelToken cancel;
    return ConnectUnreached(memory_, static_cast<std::uint32_t>(words_.size() / kWords), entry, kM, cancel);
  }
  [[nodiscard]] std::vector<std::uint32_t> Links(std::uint32_t node) const {
    const std::uint32_t* list = memory_.List(node);
    return {list + 1, list + 1 + CountOf(list)};
  }

 private:
  std::vector<std::uint32_t> words_;
  HnswMemory memory_;
};

using Links = std::vector<std::uint32_t>;

TEST(ConnectUnreached, LeavesAReachableGraphAlone) {
  LinkGraph graph({{1}, {2}, {0}});
  EXPECT_EQ(graph.Connect(1), 0U);
  EXPECT_EQ(graph.Links(0), Links{1});
  EXPECT_EQ(graph.Links(1), Links{2});
}

TEST(ConnectUnreached, LinksANodeFromANeighbourWithRoom) {
  LinkGraph graph({{1, 2, 3}, {0}, {0}, {0}, {1}});
  EXPECT_EQ(graph.Connect(0), 0U);
  EXPECT_EQ(graph.Links(1), (Links{0, 4}));
}

TEST(ConnectUnreached, GoesFartherIfTheNeighbourIsFull) {
  LinkGraph graph({{1, 2, 3, 4}, {0, 2, 3, 4}, {0}, {0}, {0}, {1}});
  EXPECT_EQ(graph.Connect(0), 0U);
  Links with_five;
  for (std::uint32_t node = 0; node < 5; ++node) {
    for (const std::uint32_t link : graph.Links(node)) {
      if (link == 5) with_five.push_back(node);
    }
  }
  EXPECT_EQ(with_five, Links{2});
}

TEST(ConnectUnreached, ReachesAChainThroughItsHead) {
  LinkGraph graph({{1}, {0}, {3, 0}, {4}, {3}});
  EXPECT_EQ(graph.Connect(0), 0U);
  EXPECT_EQ(graph.Links(0), (Links{1, 2}));
  EXPECT_EQ(graph.Links(1), Links{0});
}

TEST(ConnectUnreached, CountsIslands) {
  LinkGraph graph({{1}, {0}, {3}, {2}});
  EXPECT_EQ(graph.Connect(0), 2U);
}

}  // namespace
}  // namespace tandem::graph
