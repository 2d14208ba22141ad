#include "graph/fill_lists.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <set>
#include <vector>

namespace tandem::graph {
namespace {

constexpr std::uint32_t kM = 3;
constexpr std::size_t kLinkWords = 2 * kM + 1;
using Links = std::vector<std::uint32_t>;

float Between(const void* /*self*/, const char* a, const char* b) {
  float x;
  float y;
  std::memcpy(&x, a, sizeof x);
  std::memcpy(&y, b, sizeof y);
  return std::fabs(x - y);
}

/// Nodes on a line, each linked to those `steps` further and back.
class Line {
 public:
  Line(std::uint32_t nodes, std::vector<std::uint32_t> steps) : nodes_(nodes), words_(nodes * kWords) {
    memory_.level0 = reinterpret_cast<char*>(words_.data());
    memory_.stride = kWords * sizeof(std::uint32_t);
    memory_.data_at = kLinkWords * sizeof(std::uint32_t);
    for (std::uint32_t node = 0; node < nodes; ++node) {
      const auto place = static_cast<float>(node);
      std::memcpy(memory_.Data(node), &place, sizeof place);
      std::uint32_t* list = memory_.List(node);
      std::size_t count = 0;
      for (const std::uint32_t step : steps) {
        if (node + step < nodes) list[1 + count++] = node + step;
        if (node >= step) list[1 + count++] = node - step;
      }
      SetCount(list, count);
    }
  }

  void Fill(float spread, unsigned threads = 0, bool cancelled = false) {
    base::CancelToken cancel;
    if (cancelled) cancel.Cancel();
    FillLists(memory_, nodes_, {kM, sizeof(float), {Between, nullptr}, spread, first_, threads}, cancel);
  }
  void LeaveBefore(std::uint32_t node) { first_ = node; }
  [[nodiscard]] Links LinksOf(std::uint32_t node) const {
    const std::uint32_t* list = memory_.List(node);
    return {list + 1, list + 1 + CountOf(list)};
  }
  [[nodiscard]] const std::vector<std::uint32_t>& words() const { return words_; }

 private:
  static constexpr std::size_t kWords = kLinkWords + 1;
  std::uint32_t nodes_;
  std::uint32_t first_ = 0;
  std::vector<std::uint32_t> words_;
  HnswMemory memory_;
};

TEST(FillLists, AppendsNeighboursOfNeighboursNearestFirst) {
  Line line(100, {1});
  line.Fill(10.0F);
  EXPECT_EQ(line.LinksOf(50), (Links{51, 49, 48, 52}));
  EXPECT_EQ(line.LinksOf(0), (Links{1, 2}));
}

TEST(FillLists, LeavesOutWhatIsNearToALink) {
  Line line(100, {1});
  line.Fill(1.0F);  // 52 is nearer to 51 than to 50
  EXPECT_EQ(line.LinksOf(50), (Links{51, 49}));
  line.Fill(2.0F);  // not nearer than half of it
  EXPECT_EQ(line.LinksOf(50), (Links{51, 49, 48, 52}));
}

TEST(FillLists, GoesByTheListsAsTheyWereAndKeepsTheirRoom) {
  Line line(1'000, {1, 3});
  line.Fill(10.0F);
  for (std::uint32_t node = 0; node < 1'000; ++node) {
    const Links links = line.LinksOf(node);
    EXPECT_LE(links.size(), 2 * kM);
    EXPECT_EQ(std::set<std::uint32_t>(links.begin(), links.end()).size(), links.size());
    EXPECT_EQ(std::count(links.begin(), links.end(), node), 0);
    for (const std::uint32_t link : links) EXPECT_LE(std::abs(int(link) - int(node)), 6);
  }
}

TEST(FillLists, DoesTheSameOnSeveralThreads) {
  Line alone(5'000, {1, 7});
  Line shared(5'000, {1, 7});
  alone.Fill(1.5F);
  shared.Fill(1.5F, 3);
  EXPECT_EQ(alone.words(), shared.words());
}

TEST(FillLists, LeavesTheListsOfABaseAlone) {
  Line line(100, {1});
  line.LeaveBefore(50);
  line.Fill(10.0F);
  EXPECT_EQ(line.LinksOf(49), (Links{50, 48}));
  EXPECT_EQ(line.LinksOf(50), (Links{51, 49, 48, 52}));
}

TEST(FillLists, EndsWhenCancelled) {
  Line line(1'000, {1});
  line.Fill(10.0F, 2, true);
  EXPECT_EQ(line.LinksOf(50), (Links{51, 49}));
}

}  // namespace
}  // namespace tandem::graph
