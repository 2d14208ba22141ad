#pragma once
// Search of one frozen graph on walk codes, resumable: batches of nodes in about ascending distance, none twice.
//
// Malkov and Yashunin 2018, algorithms 2 and 5, changed in two things. Nodes that fall out of the pool are kept, so that the
// search can go on where it stopped when more nodes are asked for. And a walk waits for memory, not for arithmetic: so it goes in
// steps that first ask for everything the next step will read.
//
//   pool    up to ef nodes, ascending by key, none returned before; the `beam` nearest unexpanded ones are expanded next,
//           and when all are expanded the pool is the next batch
//   spill   nodes that found no place in the pool; the nearest of them begin the next pool
//
//   kEnter ─► kList ─► kNodes ─► kCodes ─► kCompare ─┐         on upper levels
//               ▲────────── nearer, or a level down ─┘ at the bottom
//   kGather: links of the nearest nodes ─► those not seen before ─► their codes are asked for      on level 0
//   kScore:  keys of all of them in one call ─► pool; links of what came to its front are asked for ─► kGather
//
// By a filter: the predicate subgraph search ACORN-1 of Patel, Kraft, Guestrin and Zaharia 2024 (section 5.2). Nodes that are
// not wanted are never compared with the query; where too few of a node's neighbours are wanted, those of its unwanted ones
// take their places (as in Lucene's FilteredHnswGraphSearcher, that depends on how many there are). Changed: the walk begins
// with what a short walk by no filter found, which tells where the query lies, and with some wanted nodes of all over the
// graph, which are there also when none is near. Where the short walk found less that is wanted than was to be expected, it goes on for
// a while, and the pool is larger; or the walk ends, if comparing all that is wanted costs less than that.
//
//   kGather ─► links: wanted ones are asked for, unwanted ones to kBridge     until the short walk is over, as above
//   kBridge ─► their links: wanted ones are asked for ─► kScore

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/ordinal_set.hpp"
#include "base/span.hpp"
#include "graph/prefetch.hpp"
#include "graph/segment_layout.hpp"
#include "vec/walk_query.hpp"

namespace tandem::graph {

struct FoundNode {
  float key;  ///< of the query
  std::uint32_t node;
};

/// What a search did; only ever grows.
struct SearchCounters {
  std::uint64_t distances = 0;    ///< codes compared with the query
  std::uint64_t expanded = 0;     ///< nodes whose links were followed
  std::uint64_t bridges = 0;      ///< unwanted nodes whose links were followed
  std::uint64_t paged = 0;        ///< codes that were not in memory
  std::uint64_t lists_paged = 0;  ///< lists of links likewise
};

/// Nodes to expand at once, by the bytes of a record in memory: more overlap their misses, but look at more codes.
/// Measured with bench/inprocess/segment_curve.cpp.
[[nodiscard]] constexpr std::uint32_t BeamFor(std::uint32_t record_bytes) noexcept {
  return record_bytes <= 256 ? 4 : record_bytes <= 512 ? 2 : 1;
}

/// How many codes to ask for ahead of the one that is compared, by their bytes. Long ones are asked for into the second level, which
/// waits for any number of lines.
[[nodiscard]] constexpr std::size_t CodesAheadFor(std::uint32_t walk_bytes) noexcept {
  constexpr std::size_t kLinesAhead = 32;
  if (walk_bytes >= kManyLines * kLineBytes) return ~std::size_t{0} / 2;
  return kLinesAhead * kLineBytes / std::max(walk_bytes, 1U);
}

/// Of a walk by a filter.
struct FilteredWalk {
  const base::OrdinalSet* nodes = nullptr;  ///< that are wanted: a bitmap
  /// A node's neighbours stand in for themselves once so many of them are wanted and new: no bridges are crossed.
  std::uint32_t enough = 0;
  /// A walk that had better have a larger pool, because few of the nodes near the query are wanted, has one of so many times its size
  /// at the most, or, if that is not enough, ends before it begins.
  std::uint32_t widest = ~std::uint32_t{0};
};

/// Reader: gives access to the segment's parts. What is in memory comes at once; what is not, from pages.
///   In memory, in the form of chunk_layout.hpp, or nullptr. Cheap, never fails; stays until the call of GraphSearch ends.
///     const std::uint32_t* LinkRecord(std::uint32_t node)  2 m links, kEndOfLinks ends
///     const std::uint8_t* CodeRecord(std::uint32_t node)   walk code
///     const UpperNode* UpperRecord(std::uint32_t ordinal)
///     const std::uint32_t* UpperList(std::uint32_t list)   m links, kEndOfLinks ends
///   From pages; asked only after nullptr. Pointers stay valid until the next of these calls to the same Reader.
///     const std::uint32_t* Links(std::uint32_t node)
///     const std::uint8_t* Code(std::uint32_t node)         walk code: the same bytes as CodeRecord()
///     UpperNode Upper(std::uint32_t ordinal)
///     const std::uint32_t* UpperLinks(std::uint32_t list)
/// These may leave by longjmp: no object with a destructor lives on the stack of these functions. A Reader that cannot read
/// any more (the segment was recycled) returns lists that are empty, and says so itself. Links that lead out of the
/// segment are ignored, so that no content can make a search touch memory that is not its own.
/// What is in memory has no influence on what is found.
template <typename Reader>
class GraphSearch {
 public:
  /// Prepares for a new query, keeping memory from the last one. header must outlive the search. ef >= 1; beam: nodes
  /// to expand at once, 0 for BeamFor(). Throws std::bad_alloc.
  void Start(const SegmentHeader* header, const vec::WalkQuery& query, std::uint32_t ef,
             std::uint32_t beam = 0) {
    header_ = header;
    query_ = query;
    ef_ = std::max(ef, 1U);
    link_bytes_ = 2 * header->m * static_cast<std::uint32_t>(sizeof(std::uint32_t));
    walk_bytes_ = static_cast<std::uint32_t>(
        vec::WalkCodeBytes(static_cast<vec::WalkCode>(header->codec), header->dimensions));
    beam_ = beam > 0 ? beam : BeamFor(link_bytes_ + walk_bytes_);
    ahead_ = CodesAheadFor(walk_bytes_);
    stage_ = Stage::kStarted;
    ForgetSeen();
    seen_.resize((std::size_t{header->nodes} + kWordBits - 1) / kWordBits);
    const std::size_t room = std::size_t{beam_} * 2 * header->m;
    fresh_.resize(room);
    codes_.resize(room);
    keys_.resize(room);
    paged_.resize(room);
    pool_.resize(ef_);
    pool_size_ = 0;
    next_ = 0;
    spill_.clear();
    near_count_ = 0;
    batch_.clear();
    batch_.reserve(ef_);
  }

  /// The next up to `ef` nodes, ascending by key, as if the pool were ef nodes larger each time. Empty: the whole
  /// reachable graph was returned. Valid until the next call. Throws std::bad_alloc.
  [[nodiscard]] base::Span<const FoundNode> NextBatch(Reader* reader) {
    BeginBatch();
    while (stage_ < Stage::kGather) Descend(reader);
    while (Gather(reader)) Score(reader);
    EndBatch();
    return batch();
  }

  /// Batches to come are of so many nodes, at least one. After a batch. Throws std::bad_alloc.
  void SetBatch(std::uint32_t ef) {
    ef_ = std::max(ef, 1U);
    pool_.resize(std::max<std::size_t>(pool_.size(), ef_));
    batch_.reserve(ef_);
  }

  /// From now on batches are of wanted nodes only. After Start(), before the first batch. What is named must outlive the search.
  void SetFilter(const FilteredWalk& filter) {
    filter_ = filter;
    const std::uint64_t* wanted = filter.nodes->words();
    open_.assign(wanted, wanted + seen_.size());
    open_.push_back(0);
    filtered_ef_ = ef_;
    ef_ = kSeedEf;
    pool_.resize(std::max(kFarSeedEf, kWidest * filtered_ef_));
    batch_.reserve(pool_.size());
    is_seeding_ = true;
    seeds_.clear();
  }

  /// NextBatch() after SetFilter(). Empty: all that the walk can reach was returned, which is not all that is wanted.
  [[nodiscard]] base::Span<const FoundNode> NextFilteredBatch(Reader* reader) {
    BeginBatch();
    while (FilteredStep(reader)) {
    }
    return batch();
  }

  /// One step of it, like Step().
  [[nodiscard]] bool FilteredStep(Reader* reader) {
    if (is_seeding_) {
      if (stage_ != Stage::kGather || Gather(reader)) return Step(reader);
      if (IsTooFar()) {
        GiveUp();
      } else if (!LookFurther()) {
        TakeSeeds(reader);
      }
    } else if (stage_ == Stage::kScore) {
      Score(reader);
    } else if (stage_ == Stage::kBridge) {
      CrossBridges(reader);
    } else if (stage_ == Stage::kGather && !GatherWanted(reader)) {
      EndBatch();
    }
    return stage_ != Stage::kEnded;
  }

  /// Compares all of `nodes` that were not yet compared, and ends the walk: NextScoredBatch() returns them, and what the walk
  /// has found and not returned, in exact order of their keys. After Start() or any batch.
  void ScoreNodes(Reader* reader, const base::OrdinalSet& nodes) {
    for (Entry& entry : spill_) entry |= kExpanded;
    spill_.reserve(spill_.size() + nodes.size());
    near_count_ = 0;
    near_limit_ = ~Entry{0};
    for (std::size_t i = 0; i < spill_.size(); ++i) SetApartIfNear(i);
    base::OrdinalWalk walk(&nodes);
    GrowFresh(kScoreRoom);
    // Which codes come is known long before: they are asked into the second level, which has more of them on their way than the first.
    const std::size_t ahead = std::clamp(kScoredLinesAhead * kLineBytes / std::max(walk_bytes_, 1U),
                                         kLeastScoredAhead, kMostScoredAhead);
    const auto take = [this](Entry entry) { AddScored(entry | kExpanded); };
    for (bool more = true; more;) {
      StartFresh();
      std::size_t compared = 0;
      std::uint32_t node;
      while (fresh_count_ + paged_count_ < kScoreRoom && (more = walk.Next(&node))) {
        if (IsSeen(node) || !AddFresh(reader, node)) continue;
        PrefetchFar(codes_[fresh_count_ - 1], walk_bytes_);
        if (fresh_count_ < compared + kScoreAtOnce + ahead) continue;
        Compare(compared, compared + kScoreAtOnce, take);
        compared += kScoreAtOnce;
      }
      Compare(compared, fresh_count_, take);
      ComparePaged(reader, take);
    }
    stage_ = Stage::kEnded;
  }
  [[nodiscard]] base::Span<const FoundNode> NextScoredBatch() {
    RefillPool();
    EndBatch();
    // Who wants more gets larger ones: each costs a selection among all that are left.
    if (batch_.size() == ef_ && ef_ < kLargestScoredBatch) {
      ef_ *= 2;
      pool_.resize(std::max<std::size_t>(pool_.size(), ef_));
    }
    return batch();
  }

  /// The same in steps, for NextBatches(): BeginBatch(), Step() until it returns false, batch().
  void BeginBatch() {
    if (stage_ == Stage::kStarted) {
      stage_ = header_->entry_node < header_->nodes ? Stage::kEnter : Stage::kGather;
    } else {
      RefillPool();
      stage_ = Stage::kGather;
    }
  }
  [[nodiscard]] bool Step(Reader* reader) {
    if (stage_ < Stage::kGather) {
      Descend(reader);
    } else if (stage_ == Stage::kScore) {
      Score(reader);
    } else if (stage_ == Stage::kGather && !Gather(reader)) {
      EndBatch();
    }
    return stage_ != Stage::kEnded;
  }
  [[nodiscard]] base::Span<const FoundNode> batch() const noexcept { return {batch_.data(), batch_.size()}; }

  [[nodiscard]] const SearchCounters& counters() const noexcept { return counters_; }
  [[nodiscard]] std::uint32_t ef() const noexcept { return ef_; }
  [[nodiscard]] std::size_t MemoryBytes() const noexcept {
    return (pool_.capacity() + spill_.capacity()) * sizeof(Entry) + batch_.capacity() * sizeof(FoundNode) +
           (seen_.capacity() + open_.capacity()) * sizeof(seen_[0]) + codes_.capacity() * sizeof(codes_[0]) +
           keys_.capacity() * sizeof(float) + seeds_.capacity() * sizeof(Entry) +
           (marked_.capacity() + fresh_.capacity() + paged_.capacity() + bridges_.capacity()) *
               sizeof(std::uint32_t);
  }

 private:
  enum class Stage { kStarted, kEnter, kList, kNodes, kCodes, kCompare, kGather, kBridge, kScore, kEnded };

  /// A key, in bits that ascend with it, a node, and in the lowest bit whether its links were followed. As a number it
  /// orders by key, then by node; nodes are there once, so the lowest bit never decides.
  using Entry = std::uint64_t;
  static constexpr Entry kExpanded = 1;
  static constexpr std::uint32_t kWordBits = 64;
  // Of the short walk before one by a filter: to know where the query lies.
  static constexpr std::uint32_t kSeedEf = 16;
  static constexpr std::uint32_t kFarSeedEf = 256;
  static constexpr std::uint32_t kSeedBridges = 32;
  static constexpr std::uint32_t kSpread = 16;
  static constexpr std::uint32_t kWidest = 8;
  static constexpr std::uint32_t kLargestScoredBatch = 4096;
  /// So many times ef_ are set apart before they are cut down to ef_: few cuts, of little.
  static constexpr std::size_t kNearRoom = 4;
  /// Codes that are compared in one call: so many that calls cost little, so few that others are asked for in between.
  static constexpr std::size_t kScoreAtOnce = 8;
  static constexpr std::size_t kScoreRoom = 1024;
  static constexpr std::size_t kScoredLinesAhead = 128;
  static constexpr std::size_t kLeastScoredAhead = 32;
  static constexpr std::size_t kMostScoredAhead = 64;
  /// Lists of links that are on their way, into the second level, while another one is read.
  static constexpr std::size_t kBridgesAhead = 64;
  static_assert(kSeedBridges <= kBridgesAhead, "all of the first ones are asked for at once");

  [[nodiscard]] static Entry EntryOf(float key, std::uint32_t node) noexcept {
    const float positive_zero = key + 0.0F;  // -0 has other bits, and is equal
    std::uint32_t bits;
    std::memcpy(&bits, &positive_zero, sizeof bits);
    bits ^= (bits >> 31) != 0 ? ~std::uint32_t{0} : std::uint32_t{1} << 31;
    return (Entry{bits} << 32) | (node << 1);
  }
  [[nodiscard]] static std::uint32_t NodeOf(Entry entry) noexcept {
    return static_cast<std::uint32_t>(entry) >> 1;
  }
  [[nodiscard]] static float KeyOf(Entry entry) noexcept {
    auto bits = static_cast<std::uint32_t>(entry >> 32);
    bits ^= (bits >> 31) == 0 ? ~std::uint32_t{0} : std::uint32_t{1} << 31;
    float key;
    std::memcpy(&key, &bits, sizeof key);
    return key;
  }

  // ---- upper levels ----

  /// One stage of the way down. The nearest node found there is the first in the pool.
  void Descend(Reader* reader) {
    switch (stage_) {
      case Stage::kEnter:
        Enter(reader);
        break;
      case Stage::kList:
        FindList(reader);
        break;
      case Stage::kNodes:
        ReadList(reader);
        break;
      case Stage::kCodes:
        AskForUpperCodes(reader);
        break;
      case Stage::kCompare:
        MoveOrDescend(reader);
        break;
      case Stage::kStarted:
      case Stage::kGather:
      case Stage::kBridge:
      case Stage::kScore:
      case Stage::kEnded:
        break;
    }
  }

  void Enter(Reader* reader) {
    nearest_ = header_->entry_node;
    ordinal_ = header_->entry_upper;
    level_ = header_->max_level;
    nearest_key_ = KeyOfNode(reader, nearest_);
    GoDown();
  }

  /// On to the list of the nearest node on level_; from level 0 on, into the pool.
  void GoDown() {
    if (level_ > 0 && ordinal_ < header_->upper_nodes) {
      stage_ = Stage::kList;
      return;
    }
    stage_ = Stage::kGather;
    seen_[nearest_ / kWordBits] |= std::uint64_t{1} << (nearest_ % kWordBits);
    GrowMarked(1);
    marked_[marked_count_++] = nearest_;
    pool_[pool_size_++] = EntryOf(nearest_key_, nearest_);
  }

  void FindList(Reader* reader) {
    list_ = UpperOf(reader, ordinal_).first_list + level_ - 1;
    if (const std::uint32_t* list = reader->UpperList(list_); list != nullptr) {
      Prefetch(list, header_->m * sizeof *list);
    }
    stage_ = Stage::kNodes;
  }

  void ReadList(Reader* reader) {
    const std::uint32_t* list = reader->UpperList(list_);
    if (list == nullptr) list = reader->UpperLinks(list_);
    ++counters_.expanded;
    fresh_count_ = 0;
    for (std::uint32_t i = 0; i < header_->m && list[i] != kEndOfLinks; ++i) {
      if (list[i] >= header_->upper_nodes) continue;
      fresh_[fresh_count_++] = list[i];
      if (const UpperNode* upper = reader->UpperRecord(list[i]); upper != nullptr)
        Prefetch(upper, sizeof *upper);
    }
    stage_ = Stage::kCodes;
  }

  void AskForUpperCodes(Reader* reader) {
    for (std::size_t i = 0; i < fresh_count_; ++i) {
      paged_[i] = UpperOf(reader, fresh_[i]).node;
      if (paged_[i] >= header_->nodes) continue;
      if (const std::uint8_t* code = reader->CodeRecord(paged_[i]); code != nullptr)
        Prefetch(code, walk_bytes_);
    }
    stage_ = Stage::kCompare;
  }

  /// Moves to the nearest neighbour on this level, or down if none is nearer.
  void MoveOrDescend(Reader* reader) {
    bool moved = false;
    for (std::size_t i = 0; i < fresh_count_; ++i) {
      if (paged_[i] >= header_->nodes) continue;
      const float key = KeyOfNode(reader, paged_[i]);
      if (key < nearest_key_) {
        nearest_key_ = key;
        nearest_ = paged_[i];
        ordinal_ = fresh_[i];
        moved = true;
      }
    }
    if (!moved) --level_;
    GoDown();
  }

  [[nodiscard]] UpperNode UpperOf(Reader* reader, std::uint32_t ordinal) {
    const UpperNode* upper = reader->UpperRecord(ordinal);
    return upper != nullptr ? *upper : reader->Upper(ordinal);
  }

  [[nodiscard]] float KeyOfNode(Reader* reader, std::uint32_t node) {
    const std::uint8_t* code = reader->CodeRecord(node);
    if (code == nullptr) return PagedKey(reader, node);
    ++counters_.distances;
    return query_.Key(code);
  }

  // ---- level 0 ----

  /// Follows the links of the nearest unexpanded nodes, and asks for the codes of all neighbours that were not seen before.
  /// False if there is nothing left to expand.
  [[nodiscard]] bool Gather(Reader* reader) {
    StartFresh();
    std::uint32_t expanded = 0;
    for (; next_ < pool_size_ && expanded < beam_; ++next_) {
      if ((pool_[next_] & kExpanded) != 0) continue;
      pool_[next_] |= kExpanded;
      ++expanded;
      GatherLinks(reader, NodeOf(pool_[next_]));
    }
    counters_.expanded += expanded;
    stage_ = expanded > 0 ? Stage::kScore : Stage::kGather;
    return expanded > 0;
  }

  [[nodiscard]] [[gnu::always_inline]] const std::uint32_t* LinksOf(Reader* reader, std::uint32_t node) {
    const std::uint32_t* links = reader->LinkRecord(node);
    if (links != nullptr) return links;
    ++counters_.lists_paged;
    return reader->Links(node);
  }

  /// Appends the node's neighbours to marked_ that were not there; returns where they begin.
  [[nodiscard]] std::size_t MarkLinks(Reader* reader, std::uint32_t node) {
    const std::uint32_t* links = LinksOf(reader, node);
    const std::uint32_t room = 2 * header_->m;
    const std::uint32_t nodes = header_->nodes;
    GrowMarked(room);
    std::uint64_t* const seen = seen_.data();
    std::uint32_t* const marked = marked_.data() + marked_count_;
    std::size_t count = 0;
    for (std::uint32_t i = 0; i < room && links[i] != kEndOfLinks; ++i) {
      const std::uint32_t link = links[i];
      if (link >= nodes) continue;
      std::uint64_t& word = seen[link / kWordBits];
      const std::uint64_t bit = std::uint64_t{1} << (link % kWordBits);
      // No branch: nobody can predict it.
      marked[count] = link;
      count += (word & bit) == 0 ? 1 : 0;
      word |= bit;
    }
    const std::size_t first = marked_count_;
    marked_count_ += count;
    return first;
  }

  void GatherLinks(Reader* reader, std::uint32_t node) {
    const std::size_t first = MarkLinks(reader, node);
    AskForCodes(reader, marked_.data() + first, marked_count_ - first);
  }

  void StartFresh() noexcept { fresh_count_ = paged_count_ = 0; }

  /// True if the node's code is in memory: the last of codes_.
  bool AddFresh(Reader* reader, std::uint32_t node) {
    const std::uint8_t* code = reader->CodeRecord(node);
    if (code == nullptr) {
      paged_[paged_count_++] = node;
      return false;
    }
    fresh_[fresh_count_] = node;
    codes_[fresh_count_++] = code;
    return true;
  }

  /// Adds nodes to the step, for which there is room, and asks for the codes of its first ones; Score() asks for the others.
  [[gnu::always_inline]] void AskForCodes(Reader* reader, const std::uint32_t* nodes, std::size_t count) {
    std::uint32_t* const fresh = fresh_.data();
    const std::uint8_t** const codes = codes_.data();
    const std::size_t ahead = ahead_;
    const std::uint32_t bytes = walk_bytes_;
    std::size_t at = fresh_count_;
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint32_t node = nodes[i];
      const std::uint8_t* code = reader->CodeRecord(node);
      if (code == nullptr) {
        paged_[paged_count_++] = node;
        continue;
      }
      fresh[at] = node;
      codes[at] = code;
      if (at < ahead) Prefetch(code, bytes);
      ++at;
    }
    fresh_count_ = at;
  }

  /// A core can wait for so many lines at a time; who asks for more waits until they have come, and computes nothing meanwhile. So
  /// a few codes are compared for every few that are asked for.
  void Score(Reader* reader) {
    const auto take = [this, reader](Entry entry) { Insert(reader, entry); };
    std::size_t asked = std::min(ahead_, fresh_count_);
    for (std::size_t first = 0; first < fresh_count_; first += kScoreAtOnce) {
      const std::size_t end = std::min(first + kScoreAtOnce, fresh_count_);
      for (const std::size_t ahead = std::min(end + ahead_, fresh_count_); asked < ahead; ++asked)
        Prefetch(codes_[asked], walk_bytes_);
      Compare(first, end, take);
    }
    ComparePaged(reader, take);
    stage_ = Stage::kGather;
  }

  /// Hands [first, end) of fresh_ with their keys to `take`.
  template <typename Take>
  void Compare(std::size_t first, std::size_t end, const Take& take) {
    query_.Keys(codes_.data() + first, end - first, keys_.data() + first);
    counters_.distances += end - first;
    for (std::size_t i = first; i < end; ++i) take(EntryOf(keys_[i], fresh_[i]));
  }
  template <typename Take>
  void ComparePaged(Reader* reader, const Take& take) {
    for (std::size_t i = 0; i < paged_count_; ++i) take(EntryOf(PagedKey(reader, paged_[i]), paged_[i]));
  }

  /// Puts a node into the pool, or into the spill if it is no nearer than what is there: as most are not.
  [[gnu::always_inline]] void Insert(Reader* reader, Entry entry) {
    if (pool_size_ == ef_ && entry > pool_[ef_ - 1])
      spill_.push_back(entry);
    else
      InsertIntoPool(reader, entry);
  }

  [[gnu::noinline]] void InsertIntoPool(Reader* reader, Entry entry) {
    if (pool_size_ == ef_) {
      spill_.push_back(pool_[ef_ - 1]);
      --pool_size_;
    }
    const std::size_t at = PlaceInPool(entry);
    std::memmove(&pool_[at] + 1, &pool_[at], (pool_size_ - at) * sizeof(Entry));
    pool_[at] = entry;
    ++pool_size_;
    next_ = std::min(next_, at);
    if (at < next_ + beam_) AskForLinks(reader, NodeOf(entry));
  }

  /// How many entries of the pool are smaller.
  [[nodiscard]] std::size_t PlaceInPool(Entry entry) const noexcept {
    // Halving without a branch that depends on the data.
    const Entry* first = pool_.data();
    for (std::size_t count = pool_size_; count > 0;) {
      const std::size_t half = (count + 1) / 2;
      first += first[half - 1] < entry ? half : 0;
      count -= half;
    }
    return static_cast<std::size_t>(first - pool_.data());
  }

  // ---- by a filter ----

  /// Wanted, and not seen yet.
  [[nodiscard]] bool IsOpen(std::uint32_t node) const noexcept {
    return base::OrdinalSet::HasBit(open_.data(), node);
  }
  [[nodiscard]] bool IsSeen(std::uint32_t node) const noexcept {
    return base::OrdinalSet::HasBit(seen_.data(), node);
  }
  /// Of an open one.
  void Close(std::uint32_t node) noexcept {
    const std::uint64_t bit = std::uint64_t{1} << (node % kWordBits);
    seen_[node / kWordBits] |= bit;
    open_[node / kWordBits] &= ~bit;
  }

  /// What the short walk found.
  void CollectSeeds() {
    seeds_.assign(spill_.begin(), spill_.end());
    seeds_.insert(seeds_.end(), pool_.begin(), pool_.begin() + static_cast<std::ptrdiff_t>(pool_size_));
    open_seeds_ = 0;
    for (const Entry seed : seeds_) open_seeds_ += IsOpen(NodeOf(seed)) ? 1 : 0;
  }

  [[nodiscard]] bool IsTooFar() {
    CollectSeeds();
    return Widening() > filter_.widest;
  }
  /// The walk ends, and nothing was found: ScoreNodes() may follow.
  void GiveUp() {
    is_seeding_ = false;
    ForgetSeen();
    spill_.clear();
    pool_size_ = next_ = 0;
    ef_ = filtered_ef_;
    EndBatch();
  }

  /// Lets the short walk go on, once, if it found less that is wanted than was to be expected: where few are wanted, the few nearest
  /// may be linked to none of the others.
  [[nodiscard]] bool LookFurther() {
    if (ef_ >= kFarSeedEf || Widening() == 1) return false;
    spill_.swap(seeds_);
    ef_ = kFarSeedEf;
    RefillPool();
    return true;
  }

  /// The short walk is over. What it found and is wanted has its key already, and begins the other one; so does what lies behind
  /// the nearest unwanted ones that it did not expand.
  void TakeSeeds(Reader* reader) {
    is_seeding_ = false;
    ForgetSeen();
    const std::size_t nearest = std::min<std::size_t>(kSeedBridges, spill_.size());
    std::nth_element(spill_.begin(), spill_.begin() + static_cast<std::ptrdiff_t>(nearest), spill_.end());
    bridge_count_ = 0;
    GrowBridges(nearest);
    for (std::size_t i = 0; i < nearest; ++i)
      if (!IsOpen(NodeOf(spill_[i]))) bridges_[bridge_count_++] = NodeOf(spill_[i]);
    for (std::size_t i = 0; i < bridge_count_; ++i) AskForBridge(reader, bridges_[i]);
    spill_.clear();
    pool_size_ = next_ = 0;
    ef_ = filtered_ef_ * Widening();
    GrowMarked(open_seeds_);
    for (const Entry seed : seeds_) {
      if (!IsOpen(NodeOf(seed))) continue;
      Close(NodeOf(seed));
      marked_[marked_count_++] = NodeOf(seed);
      Insert(reader, seed & ~kExpanded);
    }
    StartFresh();
    TakeSpread(reader);
    stage_ = Stage::kBridge;
  }

  /// By how much a pool is larger if fewer of the seeds are wanted than were to be expected. Then what is wanted lies elsewhere: all
  /// around the query, where the nearest are no neighbours of each other.
  [[nodiscard]] std::uint32_t Widening() const noexcept {
    const double expected = static_cast<double>(seeds_.size()) * static_cast<double>(filter_.nodes->size()) /
                            static_cast<double>(std::max(header_->nodes, 1U));
    const auto found = static_cast<double>(open_seeds_);
    return 2.0 * found >= expected ? 1 : kWidest * found >= expected ? 2 : kWidest;
  }

  /// Some wanted nodes of all over the graph.
  void TakeSpread(Reader* reader) {
    const std::size_t words = seen_.size();
    for (std::uint32_t i = 0; i < kSpread; ++i) {
      std::size_t at = words * i / kSpread;
      const std::size_t end = words * (i + 1) / kSpread;
      while (at < end && open_[at] == 0) ++at;
      if (at == end) continue;
      const auto node =
          static_cast<std::uint32_t>(at * kWordBits) + static_cast<std::uint32_t>(__builtin_ctzll(open_[at]));
      GrowMarked(1);
      Close(node);
      marked_[marked_count_++] = node;
      GrowFresh(1);
      AskForCodes(reader, &node, 1);
    }
  }

  /// Gather() for wanted nodes. Unwanted ones become bridges.
  [[nodiscard]] bool GatherWanted(Reader* reader) {
    StartFresh();
    bridge_count_ = 0;
    std::uint32_t expanded = 0;
    for (; next_ < pool_size_ && expanded < beam_; ++next_) {
      if ((pool_[next_] & kExpanded) != 0) continue;
      pool_[next_] |= kExpanded;
      ++expanded;
      GatherWantedLinks(reader, NodeOf(pool_[next_]));
    }
    counters_.expanded += expanded;
    stage_ = bridge_count_ == 0 ? Stage::kScore : Stage::kBridge;
    return expanded > 0;
  }

  void GatherWantedLinks(Reader* reader, std::uint32_t node) {
    const std::size_t first = MarkLinks(reader, node);
    const std::size_t count = marked_count_ - first;
    GrowFresh(count);
    GrowBridges(count);
    GrowMarked(count);
    const std::uint32_t* const marked = marked_.data() + first;
    // Behind those that are marked there is room to put the wanted ones together.
    std::uint32_t* const wanted = marked_.data() + marked_count_;
    std::uint32_t* const bridges = bridges_.data() + bridge_count_;
    std::uint64_t* const open = open_.data();
    std::size_t wanted_count = 0;
    std::size_t unwanted_count = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint32_t link = marked[i];
      std::uint64_t& word = open[link / kWordBits];
      const std::uint64_t bit = std::uint64_t{1} << (link % kWordBits);
      const bool is_open = (word & bit) != 0;
      word &= ~bit;
      wanted[wanted_count] = link;
      wanted_count += is_open ? 1 : 0;
      bridges[unwanted_count] = link;
      unwanted_count += is_open ? 0 : 1;
    }
    AskForCodes(reader, wanted, wanted_count);
    if (wanted_count >= filter_.enough) return;
    const std::size_t first_bridge = bridge_count_;
    bridge_count_ += unwanted_count;
    const std::size_t asked = std::min(kBridgesAhead, bridge_count_);
    for (std::size_t i = first_bridge; i < asked; ++i) AskForBridge(reader, bridges_[i]);
  }

  [[gnu::always_inline]] void AskForLinks(Reader* reader, std::uint32_t node) {
    if (const std::uint32_t* links = reader->LinkRecord(node); links != nullptr) Prefetch(links, link_bytes_);
  }

  [[gnu::always_inline]] void AskForBridge(Reader* reader, std::uint32_t node) {
    if (const std::uint32_t* links = reader->LinkRecord(node); links != nullptr)
      PrefetchFar(links, link_bytes_);
  }

  /// The wanted neighbours of unwanted nodes.
  void CrossBridges(Reader* reader) {
    const std::uint32_t room = 2 * header_->m;
    const std::uint32_t nodes = header_->nodes;
    GrowMarked(room * bridge_count_);
    std::uint32_t* const marked = marked_.data() + marked_count_;
    std::uint64_t* const open = open_.data();
    // What is no node, as what ends a list, stands for a bit that is never set.
    const auto none = static_cast<std::uint32_t>(seen_.size() * kWordBits);
    std::size_t count = 0;
    for (std::size_t at = 0; at < bridge_count_; ++at) {
      if (at + kBridgesAhead < bridge_count_) AskForBridge(reader, bridges_[at + kBridgesAhead]);
      const std::uint32_t* links = LinksOf(reader, bridges_[at]);
      // No branch: nobody can predict which ones are wanted, nor how many of a list.
      for (std::uint32_t i = 0; i < room; ++i) {
        const std::uint32_t node = links[i] < nodes ? links[i] : none;
        marked[count] = node;
        count += open[node / kWordBits] >> (node % kWordBits) & 1U;
      }
    }
    // Those of several lists once.
    std::size_t kept = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint32_t node = marked[i];
      if (!IsOpen(node)) continue;
      Close(node);
      marked[kept++] = node;
    }
    marked_count_ += kept;
    GrowFresh(kept);
    AskForCodes(reader, marked, kept);
    counters_.bridges += bridge_count_;
    stage_ = Stage::kScore;
  }

  void AddScored(Entry entry) {
    spill_.push_back(entry);
    SetApartIfNear(spill_.size() - 1);
  }

  /// The nearest of the spill come to its front while it is filled, so that the first batch need not be selected from all of it.
  /// What is in front of near_count_ includes the ef_ nearest of those before `at`; all behind are farther than near_limit_.
  void SetApartIfNear(std::size_t at) {
    if (spill_[at] > near_limit_) return;
    std::swap(spill_[at], spill_[near_count_++]);
    if (near_count_ < kNearRoom * std::size_t{ef_}) return;
    const auto last = spill_.begin() + static_cast<std::ptrdiff_t>(ef_) - 1;
    std::nth_element(spill_.begin(), last, spill_.begin() + static_cast<std::ptrdiff_t>(near_count_));
    near_limit_ = *last;
    near_count_ = ef_;
  }

  /// Room for `more` bridges.
  void GrowBridges(std::size_t more) {
    if (bridges_.size() - bridge_count_ < more) bridges_.resize(2 * bridges_.size() + more);
  }

  /// Room for `more` in what a step asks for.
  void GrowFresh(std::size_t more) {
    const std::size_t wanted = std::max(fresh_count_, paged_count_) + more;
    if (wanted <= fresh_.size()) return;
    const std::size_t room = 2 * wanted;
    fresh_.resize(room);
    codes_.resize(room);
    keys_.resize(room);
    paged_.resize(room);
  }

  // ---- batches ----

  void EndBatch() {
    batch_.clear();
    for (std::size_t i = 0; i < pool_size_; ++i) batch_.push_back({KeyOf(pool_[i]), NodeOf(pool_[i])});
    pool_size_ = 0;
    stage_ = Stage::kEnded;
  }

  /// The nearest of the spill become the pool.
  void RefillPool() {
    const std::size_t count = std::min<std::size_t>(ef_, spill_.size());
    const auto end = spill_.begin() + static_cast<std::ptrdiff_t>(count);
    const std::size_t among = near_count_ >= count ? near_count_ : spill_.size();
    near_count_ = 0;
    if (count < among)
      std::nth_element(spill_.begin(), end, spill_.begin() + static_cast<std::ptrdiff_t>(among));
    std::sort(spill_.begin(), end);
    std::copy(spill_.begin(), end, pool_.begin());
    pool_size_ = count;
    next_ = 0;
    // The rest moves to the front: order does not matter there.
    const std::size_t rest = spill_.size() - count;
    std::move(spill_.end() - static_cast<std::ptrdiff_t>(std::min(count, rest)), spill_.end(),
              spill_.begin());
    spill_.resize(rest);
  }

  // ---- small things ----

  [[nodiscard]] float PagedKey(Reader* reader, std::uint32_t node) {
    ++counters_.distances;
    ++counters_.paged;
    return query_.Key(reader->Code(node));
  }

  /// Room for `more` in marked_.
  void GrowMarked(std::size_t more) {
    if (marked_.size() - marked_count_ < more) marked_.resize(2 * marked_.size() + more);
  }

  /// Takes as long as the last query was, not as the segment is large.
  void ForgetSeen() noexcept {
    for (std::size_t i = 0; i < marked_count_; ++i) seen_[marked_[i] / kWordBits] = 0;
    marked_count_ = 0;
  }

  const SegmentHeader* header_ = nullptr;
  vec::WalkQuery query_;
  std::uint32_t ef_ = 1;
  std::uint32_t beam_ = 1;
  std::uint32_t link_bytes_ = 0;  ///< of a list
  std::uint32_t walk_bytes_ = 0;  ///< of a walk code
  std::size_t ahead_ = 0;         ///< codes that are on their way while others are compared
  Stage stage_ = Stage::kStarted;

  // On the way down: the nearest node so far, and its list.
  std::uint32_t nearest_ = 0;
  std::uint32_t ordinal_ = 0;
  std::uint32_t level_ = 0;
  std::uint32_t list_ = 0;
  float nearest_key_ = 0.0F;

  std::size_t pool_size_ = 0;
  std::size_t next_ = 0;  ///< nodes before it in the pool are expanded
  std::vector<Entry> pool_;
  std::vector<Entry> spill_;
  std::size_t near_count_ = 0;  ///< see SetApartIfNear(); 0: the spill is in no order at all
  Entry near_limit_ = 0;
  std::vector<FoundNode> batch_;

  // Of the step at hand. On upper levels fresh_ has ordinals and paged_ their nodes.
  std::size_t fresh_count_ = 0;
  std::size_t paged_count_ = 0;
  std::vector<std::uint32_t> fresh_;        ///< neighbours whose codes are in memory
  std::vector<const std::uint8_t*> codes_;  ///< theirs
  std::vector<float> keys_;                 ///< theirs
  std::vector<std::uint32_t> paged_;        ///< neighbours whose codes are not

  // By a filter.
  FilteredWalk filter_;
  /// A bit a node: wanted, and not seen yet; and a word of none. Its own, for most lines of a set are met by a walk, in no order: copied
  /// they are near.
  std::vector<std::uint64_t> open_;
  bool is_seeding_ = false;
  std::size_t open_seeds_ = 0;  ///< of seeds_, those that are wanted
  std::uint32_t filtered_ef_ = 1;
  std::vector<Entry> seeds_;
  std::vector<std::uint32_t>
      bridges_;  ///< unwanted nodes whose links will be followed in this step: the first bridge_count_
  std::size_t bridge_count_ = 0;

  std::vector<std::uint64_t> seen_;    ///< a bit a node
  std::vector<std::uint32_t> marked_;  ///< nodes whose bit is set: the first marked_count_
  std::size_t marked_count_ = 0;
  SearchCounters counters_;
};

/// NextBatch() of several searches by turns, so that one computes while others' codes are on their way.
/// readers[i] belongs to searches[i]. Their batch() tells what was found. Throws std::bad_alloc.
template <typename Reader>
void NextBatches(GraphSearch<Reader>* const* searches, Reader* const* readers, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) searches[i]->BeginBatch();
  for (std::size_t running = count; running > 0;) {
    running = 0;
    for (std::size_t i = 0; i < count; ++i) running += searches[i]->Step(readers[i]) ? 1 : 0;
  }
}

/// The same of NextFilteredBatch().
template <typename Reader>
void NextFilteredBatches(GraphSearch<Reader>* const* searches, Reader* const* readers, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) searches[i]->BeginBatch();
  for (std::size_t running = count; running > 0;) {
    running = 0;
    for (std::size_t i = 0; i < count; ++i) running += searches[i]->FilteredStep(readers[i]) ? 1 : 0;
  }
}

}  // namespace tandem::graph
