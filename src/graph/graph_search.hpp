#pragma once
// Search of one frozen graph on codes, resumable: batches of nodes in about ascending distance, none twice.
//
// Malkov and Yashunin 2018, algorithms 2 and 5, changed in one thing: nodes that fall out of the pool are kept, so that
// the search can go on where it stopped when more nodes are asked for.
//
//   pool    up to ef nodes, ascending by key, none returned before; the nearest unexpanded one is expanded next, and
//           when all are expanded the pool is the next batch
//   spill   nodes that found no place in the pool; the nearest of them begin the next pool

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/span.hpp"
#include "graph/segment_layout.hpp"
#include "vec/scalar_quantizer.hpp"

namespace tandem::graph {

struct FoundNode {
  float key;  ///< of CodeQuery
  std::uint32_t node;
};

/// What a search did; only ever grows.
struct SearchCounters {
  std::uint64_t distances = 0;  ///< codes compared with the query
  std::uint64_t expanded = 0;   ///< nodes whose links were followed
};

/// Reader: gives access to the segment's parts. Pointers stay valid until the next call of the same Reader.
///   const std::uint32_t* Links(std::uint32_t node)       2 m links, kEndOfLinks ends
///   const std::uint8_t* Code(std::uint32_t node)
///   UpperNode Upper(std::uint32_t ordinal)
///   const std::uint32_t* UpperLinks(std::uint32_t list)  m links, kEndOfLinks ends
/// A Reader may leave by longjmp: no object with a destructor lives on the stack of these functions. One that cannot read
/// any more (the segment was recycled) returns lists that are empty, and says so itself. Links that lead out of the
/// segment are ignored, so that no content can make a search touch memory that is not its own.
template <typename Reader>
class GraphSearch {
 public:
  /// Prepares for a new query, keeping memory from the last one. header must outlive the search. ef >= 1.
  /// Throws std::bad_alloc.
  void Start(const SegmentHeader* header, const vec::CodeQuery& query, std::uint32_t ef) {
    header_ = header;
    query_ = query;
    ef_ = std::max(ef, 1U);
    began_ = false;
    ForgetSeen();
    seen_.resize((std::size_t{header->nodes} + kWordBits - 1) / kWordBits);
    links_.resize(2 * std::size_t{header->m});
    pool_.clear();
    spill_.clear();
    batch_.clear();
    // One node more than ef is in the pool for a moment. The others grow as they must.
    pool_.reserve(std::size_t{ef_} + 1);
    batch_.reserve(ef_);
  }

  /// The next up to `ef` nodes, ascending by key, as if the pool were ef nodes larger each time. Empty: the whole
  /// reachable graph was returned. Valid until the next call. Throws std::bad_alloc.
  [[nodiscard]] base::Span<const FoundNode> NextBatch(Reader* reader) {
    if (!began_) {
      began_ = true;
      if (header_->nodes > 0) Enter(reader);
    } else {
      RefillPool();
    }
    for (next_ = 0; next_ < pool_.size();) {
      if ((pool_[next_].node_and_mark & kExpanded) != 0) {
        ++next_;
      } else {
        Expand(reader);
      }
    }
    batch_.clear();
    for (const Entry& entry : pool_) batch_.push_back({entry.key, entry.node_and_mark & ~kExpanded});
    pool_.clear();
    return {batch_.data(), batch_.size()};
  }

  [[nodiscard]] const SearchCounters& counters() const noexcept { return counters_; }
  [[nodiscard]] std::size_t MemoryBytes() const noexcept {
    return (pool_.capacity() + spill_.capacity()) * sizeof(Entry) + batch_.capacity() * sizeof(FoundNode) +
           seen_.capacity() * sizeof(seen_[0]) +
           (seen_words_.capacity() + links_.capacity()) * sizeof(std::uint32_t);
  }

 private:
  static constexpr std::uint32_t kExpanded = std::uint32_t{1} << 31;  // segments have fewer nodes than that
  static constexpr std::uint32_t kWordBits = 64;

  struct Entry {
    float key;
    std::uint32_t node_and_mark;  ///< kExpanded: its links were followed

    bool operator<(const Entry& other) const noexcept {
      if (key != other.key) return key < other.key;
      return (node_and_mark & ~kExpanded) < (other.node_and_mark & ~kExpanded);
    }
  };

  /// Walks down to level 0 and puts the node found there into the pool.
  void Enter(Reader* reader) {
    std::uint32_t node = header_->entry_node;
    if (node >= header_->nodes) return;
    float key = KeyOf(reader, node);
    std::uint32_t ordinal = header_->entry_upper;
    for (std::uint32_t level = header_->max_level; level > 0 && ordinal < header_->upper_nodes; --level) {
      while (StepDown(reader, level, &ordinal, &node, &key)) {
      }
    }
    static_cast<void>(MarkSeen(node));
    Insert({key, node});
  }

  /// Moves to the nearest neighbour on an upper level; false if none is nearer.
  bool StepDown(Reader* reader, std::uint32_t level, std::uint32_t* ordinal, std::uint32_t* node,
                float* key) {
    const std::uint32_t list = reader->Upper(*ordinal).first_list + level - 1;
    const std::size_t count = CopyLinks(reader->UpperLinks(list), header_->m, header_->upper_nodes);
    ++counters_.expanded;
    bool moved = false;
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint32_t neighbour = reader->Upper(links_[i]).node;
      if (neighbour >= header_->nodes) continue;
      const float neighbour_key = KeyOf(reader, neighbour);
      if (neighbour_key < *key) {
        *key = neighbour_key;
        *node = neighbour;
        *ordinal = links_[i];
        moved = true;
      }
    }
    return moved;
  }

  /// Follows the links of pool_[next_]. All neighbours not seen before are found first, then their codes are read: so a
  /// reader can fetch them ahead.
  void Expand(Reader* reader) {
    Entry& entry = pool_[next_];
    const std::uint32_t node = entry.node_and_mark;
    entry.node_and_mark |= kExpanded;
    ++next_;
    ++counters_.expanded;
    const std::size_t count = CopyLinks(reader->Links(node), links_.size(), header_->nodes);
    std::size_t fresh = 0;
    for (std::size_t i = 0; i < count; ++i) {
      links_[fresh] = links_[i];
      fresh += MarkSeen(links_[i]) ? 1 : 0;
    }
    for (std::size_t i = 0; i < fresh; ++i) {
      const std::uint32_t neighbour = links_[i];
      Insert({KeyOf(reader, neighbour), neighbour});
    }
  }

  /// Puts a node into the pool, or into the spill if it is no nearer than what is there.
  void Insert(Entry entry) {
    const bool full = pool_.size() >= ef_;
    if (full && !(entry < pool_.back())) {
      spill_.push_back(entry);
      return;
    }
    const auto at = std::upper_bound(pool_.begin(), pool_.end(), entry);
    next_ = std::min(next_, static_cast<std::size_t>(at - pool_.begin()));
    pool_.insert(at, entry);
    if (full) {
      spill_.push_back(pool_.back());
      pool_.pop_back();
    }
  }

  /// The nearest of the spill become the pool.
  void RefillPool() {
    const std::size_t count = std::min<std::size_t>(ef_, spill_.size());
    const auto end = spill_.begin() + static_cast<std::ptrdiff_t>(count);
    if (count < spill_.size()) std::nth_element(spill_.begin(), end, spill_.end());
    std::sort(spill_.begin(), end);
    pool_.assign(spill_.begin(), end);
    // The rest moves to the front: order does not matter there.
    const std::size_t rest = spill_.size() - count;
    std::move(spill_.end() - static_cast<std::ptrdiff_t>(std::min(count, rest)), spill_.end(),
              spill_.begin());
    spill_.resize(rest);
  }

  [[nodiscard]] float KeyOf(Reader* reader, std::uint32_t node) {
    ++counters_.distances;
    return query_.Key(reader->Code(node));
  }

  /// Copies a list to links_, without what is not below `bound`.
  [[nodiscard]] std::size_t CopyLinks(const std::uint32_t* list, std::size_t room,
                                      std::uint32_t bound) noexcept {
    std::size_t count = 0;
    for (std::size_t i = 0; i < room && list[i] != kEndOfLinks; ++i) {
      if (list[i] < bound) links_[count++] = list[i];
    }
    return count;
  }

  /// False if the node was seen before.
  [[nodiscard]] bool MarkSeen(std::uint32_t node) {
    const std::uint32_t word = node / kWordBits;
    const std::uint64_t bit = std::uint64_t{1} << (node % kWordBits);
    if ((seen_[word] & bit) != 0) return false;
    if (seen_[word] == 0) seen_words_.push_back(word);
    seen_[word] |= bit;
    return true;
  }

  /// Takes as long as the last query was, not as the segment is large.
  void ForgetSeen() noexcept {
    for (const std::uint32_t word : seen_words_) seen_[word] = 0;
    seen_words_.clear();
  }

  const SegmentHeader* header_ = nullptr;
  vec::CodeQuery query_;
  std::uint32_t ef_ = 1;
  bool began_ = false;
  std::size_t next_ = 0;  ///< nodes before it in the pool are expanded
  std::vector<Entry> pool_;
  std::vector<Entry> spill_;
  std::vector<FoundNode> batch_;
  std::vector<std::uint32_t> links_;
  std::vector<std::uint64_t> seen_;
  std::vector<std::uint32_t> seen_words_;  ///< words of seen_ that are not 0
  SearchCounters counters_;
};

}  // namespace tandem::graph
