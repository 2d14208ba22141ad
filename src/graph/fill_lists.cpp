#include "graph/fill_lists.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>
#include <vector>

#include "graph/prefetch.hpp"

namespace tandem::graph {
namespace {

/// Nearest neighbours whose links are candidates. With all of them searches look at 3 % fewer codes yet, at four times the cost.
constexpr std::size_t kNearest = 6;
/// Nodes that a thread takes at once.
constexpr std::uint32_t kBlock = 256;

/// Which of a few hundred nodes were met; emptied by counting up.
class MetNodes {
 public:
  explicit MetNodes(std::size_t most) {
    std::size_t size = 64;
    while (size < 4 * most) size *= 2;
    slots_.resize(size);
  }
  void Clear() noexcept { ++round_; }
  /// False if it was there.
  [[nodiscard]] bool Insert(std::uint32_t node) noexcept {
    const std::size_t mask = slots_.size() - 1;
    std::size_t at = (node * std::size_t{0x9E3779B1}) & mask;
    for (; slots_[at].round == round_; at = (at + 1) & mask) {
      if (slots_[at].node == node) return false;
    }
    slots_[at] = {node, round_};
    return true;
  }

 private:
  struct Slot {
    std::uint32_t node = 0;
    std::uint32_t round = 0;
  };
  std::vector<Slot> slots_;
  std::uint32_t round_ = 0;
};

/// Fills one list after the other. Allocates in its constructor only.
class Filler {
 public:
  Filler(const HnswMemory& graph, const FillParameters& parameters, std::uint8_t* added)
      : graph_(graph),
        parameters_(parameters),
        room_(2 * std::size_t{parameters.m}),
        added_(added),
        met_((kNearest + 1) * room_ + 1) {
    linked_.reserve(room_);
    candidates_.reserve(kNearest * room_);
  }

  /// Appends links behind those that are counted: other threads go by the count.
  void Fill(std::uint32_t node) noexcept {
    std::uint32_t* list = graph_.List(node);
    const std::size_t count = CountOf(list);
    if (count >= room_) return;
    data_ = graph_.Data(node);
    met_.Clear();
    static_cast<void>(met_.Insert(node));
    linked_.clear();
    Meet(list, &linked_);
    Measure(&linked_);
    candidates_.clear();
    const std::size_t nearest = std::min(kNearest, linked_.size());
    for (std::size_t i = 0; i < nearest; ++i) Prefetch(graph_.List(linked_[i].node), ListBytes());
    for (std::size_t i = 0; i < nearest; ++i) Meet(graph_.List(linked_[i].node), &candidates_);
    Measure(&candidates_);
    std::size_t more = 0;
    for (std::size_t i = 0; i < candidates_.size() && count + more < room_; ++i) {
      if (!IsApart(candidates_[i])) continue;
      list[1 + count + more++] = candidates_[i].node;
      linked_.push_back(candidates_[i]);
    }
    added_[node] = static_cast<std::uint8_t>(more);
  }

 private:
  struct Neighbour {
    float distance;  ///< from the node whose list is filled
    std::uint32_t node;
    bool operator<(const Neighbour& other) const noexcept {
      return distance != other.distance ? distance < other.distance : node < other.node;
    }
  };

  [[nodiscard]] std::size_t ListBytes() const noexcept { return (room_ + 1) * sizeof(std::uint32_t); }

  /// Appends what a list leads to and was not met.
  void Meet(const std::uint32_t* list, std::vector<Neighbour>* to) noexcept {
    const std::size_t count = CountOf(list);
    for (std::size_t k = 1; k <= count; ++k) {
      if (!met_.Insert(list[k])) continue;
      Prefetch(graph_.Data(list[k]), parameters_.data_bytes);
      to->push_back({0.0F, list[k]});
    }
  }

  /// Ascending by distance.
  void Measure(std::vector<Neighbour>* neighbours) const noexcept {
    for (Neighbour& neighbour : *neighbours)
      neighbour.distance = Distance(data_, graph_.Data(neighbour.node));
    std::sort(neighbours->begin(), neighbours->end());
  }

  [[nodiscard]] bool IsApart(const Neighbour& candidate) const noexcept {
    const char* data = graph_.Data(candidate.node);
    return std::none_of(linked_.begin(), linked_.end(), [&](const Neighbour& linked) {
      return parameters_.spread * Distance(graph_.Data(linked.node), data) < candidate.distance;
    });
  }

  [[nodiscard]] float Distance(const char* a, const char* b) const noexcept {
    return parameters_.distance.between(parameters_.distance.self, a, b);
  }

  HnswMemory graph_;
  const FillParameters& parameters_;
  std::size_t room_;
  std::uint8_t* added_;  ///< by node
  MetNodes met_;
  const char* data_ = nullptr;     ///< of the node whose list is filled
  std::vector<Neighbour> linked_;  ///< from it, those of before first
  std::vector<Neighbour> candidates_;
};

/// Threads take blocks of nodes until there are none. Inherits the mask of signals from its thread: build threads block all.
class Fillers {
 public:
  Fillers(const HnswMemory& graph, std::uint32_t nodes, const FillParameters& parameters, std::uint8_t* added,
          const base::CancelToken& cancel)
      : nodes_(nodes), cancel_(cancel), next_(parameters.first) {
    const std::size_t count = std::max<std::size_t>(1, parameters.threads);
    fillers_.reserve(count);
    for (std::size_t i = 0; i < count; ++i) fillers_.emplace_back(graph, parameters, added);
    threads_.reserve(count);
  }

  void Run() {
    try {
      for (std::size_t i = 1; i < fillers_.size(); ++i)
        threads_.emplace_back([this, i] { FillBlocks(&fillers_[i]); });
    } catch (const std::exception&) {
      // Those that began, and this one, do it all.
    }
    FillBlocks(&fillers_[0]);
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  void FillBlocks(Filler* filler) noexcept {
    for (;;) {
      const std::uint64_t begin = next_.fetch_add(kBlock, std::memory_order_relaxed);
      if (begin >= nodes_ || cancel_.cancelled()) return;
      const std::uint64_t end = std::min<std::uint64_t>(nodes_, begin + kBlock);
      for (std::uint64_t node = begin; node < end; ++node) filler->Fill(static_cast<std::uint32_t>(node));
    }
  }

  std::uint32_t nodes_;
  const base::CancelToken& cancel_;
  std::atomic<std::uint64_t> next_;
  std::vector<Filler> fillers_;
  std::vector<std::thread> threads_;
};

}  // namespace

void FillLists(const HnswMemory& graph, std::uint32_t nodes, const FillParameters& parameters,
               const base::CancelToken& cancel) {
  std::vector<std::uint8_t> added(nodes, 0);
  Fillers(graph, nodes, parameters, added.data(), cancel).Run();
  for (std::uint32_t node = parameters.first; node < nodes; ++node) {
    std::uint32_t* list = graph.List(node);
    SetCount(list, CountOf(list) + added[node]);
  }
}

}  // namespace tandem::graph
