#include "graph/connect.hpp"

#include <algorithm>
#include <vector>

namespace tandem::graph {
namespace {

/// Nodes looked at around one that is out of reach. Its own links nearly always suffice.
constexpr std::size_t kNeighbourhood = 1000;
constexpr std::uint32_t kNone = ~std::uint32_t{0};

class Connector {
 public:
  Connector(const HnswMemory& graph, std::uint32_t nodes, std::uint32_t m, const base::CancelToken& cancel)
      : graph_(graph), cancel_(cancel), room_(2 * std::size_t{m}), reached_(nodes, false) {
    queue_.reserve(nodes);
  }

  /// Marks `start` and what it leads to.
  void ReachFrom(std::uint32_t start) {
    queue_.clear();
    Reach(start);
    for (std::size_t i = 0; i < queue_.size() && !cancel_.cancelled(); ++i) {
      const std::uint32_t* list = graph_.List(queue_[i]);
      const std::size_t count = CountOf(list);
      for (std::size_t k = 1; k <= count; ++k) Reach(list[k]);
    }
  }

  [[nodiscard]] bool reached(std::uint32_t node) const { return reached_[node]; }

  /// True if a reached node near `node` has now a link to it.
  [[nodiscard]] bool LinkTo(std::uint32_t node) {
    const std::uint32_t host = FindHost(node);
    if (host == kNone) return false;
    std::uint32_t* list = graph_.List(host);
    const std::size_t count = CountOf(list);
    list[1 + count] = node;
    SetCount(list, count + 1);
    return true;
  }

 private:
  void Reach(std::uint32_t node) {
    if (reached_[node]) return;
    reached_[node] = true;
    queue_.push_back(node);
  }

  /// Breadth first along the links of `node`, which lead to its neighbours.
  [[nodiscard]] std::uint32_t FindHost(std::uint32_t node) {
    near_.assign(1, node);
    for (std::size_t i = 0; i < near_.size(); ++i) {
      const std::uint32_t* list = graph_.List(near_[i]);
      const std::size_t count = CountOf(list);
      if (reached_[near_[i]] && count < room_) return near_[i];
      for (std::size_t k = 1; k <= count && near_.size() < kNeighbourhood; ++k) {
        if (std::find(near_.begin(), near_.end(), list[k]) == near_.end()) near_.push_back(list[k]);
      }
    }
    return kNone;
  }

  HnswMemory graph_;
  const base::CancelToken& cancel_;
  std::size_t room_;
  std::vector<bool> reached_;
  std::vector<std::uint32_t> queue_;
  std::vector<std::uint32_t> near_;
};

}  // namespace

std::uint32_t ConnectUnreached(const HnswMemory& graph, std::uint32_t nodes, std::uint32_t entry,
                               std::uint32_t m, const base::CancelToken& cancel) {
  Connector connector(graph, nodes, m, cancel);
  connector.ReachFrom(entry);
  std::uint32_t unreached = 0;
  for (std::uint32_t node = 0; node < nodes && !cancel.cancelled(); ++node) {
    if (connector.reached(node)) continue;
    if (connector.LinkTo(node)) {
      connector.ReachFrom(node);
    } else {
      ++unreached;
    }
  }
  return unreached;
}

}  // namespace tandem::graph
