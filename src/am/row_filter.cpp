// From TIDs to row ids to nodes.
//
// TIDs and a segment's TIDs both ascend, and so they are intersected by turns, each list galloping to where the other one is
// (Demaine, Lopez-Ortiz and Munro 2000): the cost is that of the shorter one where they differ much, that of reading the
// segment's 10 bytes a row where they do not. Rows that no segment holds are asked for by their heads, in row order, which
// mostly is about that of their TIDs, too.
//
// What may fail by an exception is enclosed in pg::Guard(), what may fail by an ERROR is outside of it.

#include "pg/compat.hpp"

#include "am/row_filter.hpp"

#include <algorithm>

#include "pg/guard.hpp"
#include "pg/heap_tid.hpp"
#include "storage/row_access.hpp"
#include "storage/segment_tids.hpp"

namespace tandem::am {

// ---- The parts there are ----

FilterPart* FindPart(const FilterParts& parts, PartKind kind, uint32 segment) {
  for (const auto& part : parts)
    if (part->kind == kind && part->segment == segment) return part.get();
  return nullptr;
}

void ForgetOtherParts(FilterParts* parts, const storage::Manifest& manifest, uint64 first_row,
                      uint64 end_row) {
  const auto is_other = [&](const std::unique_ptr<FilterPart>& part) {
    if (part->segment != kNoSegment) return !manifest.Lists(part->segment);
    return part->first_row != first_row || part->end_row != end_row;
  };
  parts->erase(std::remove_if(parts->begin(), parts->end(), is_other), parts->end());
}

// An error while it is filled ends the search, and the parts with it.
FilterPart* AddPart(FilterParts* parts, PartKind kind, uint32 segment, uint64 first_row, uint64 end_row) {
  return pg::Guard([&] {
    parts->push_back(std::make_unique<FilterPart>());
    FilterPart* part = parts->back().get();
    part->kind = kind;
    part->segment = segment;
    part->first_row = first_row;
    part->end_row = end_row;
    part->rows = base::OrdinalSet(static_cast<uint32>(end_row - first_row));
    return part;
  });
}

void DropLastPart(FilterParts* parts) {
  parts->pop_back();
}

// ---- By the TIDs of a segment ----

namespace {

enum class Match : unsigned char { kMore, kEnd, kDamaged };

constexpr std::size_t kBlocksAhead = 4;
/// Of blocks whose TIDs lie on other pages.
constexpr std::size_t kPagesAhead = 8;

/// Adds the rows of those entries that the filter has.
Match MatchEntries(base::Span<const graph::TidEntry> entries, const graph::SegmentHeader& header,
                   base::TidFinder* finder, base::OrdinalSet* rows) {
  const storage::BlockPlaces places(entries);
  const graph::TidEntry* entry = entries.begin();
  while (entry != entries.end()) {
    const uint32 block = entry->tid.Block();
    if (block > finder->block()) {
      if (!finder->SeekBlock(block)) return Match::kEnd;
      continue;
    }
    if (block < finder->block()) {
      entry = places.Find(entry, finder->block());
      continue;
    }
    places.AskFor(finder->BlockAhead(kBlocksAhead));
    const base::Span<const std::uint16_t> offsets = finder->Offsets();
    const std::uint16_t* offset = offsets.begin();
    for (; entry != entries.end() && entry->tid.Block() == block; entry++) {
      while (offset != offsets.end() && *offset < entry->tid.offset) offset++;
      const bool is_wanted = offsets.empty() || (offset != offsets.end() && *offset == entry->tid.offset);
      if (!is_wanted) continue;
      if (!storage::IsRow(header, entry->Row())) return Match::kDamaged;
      rows->Add(entry->Row());
    }
  }
  return Match::kMore;
}

}  // namespace

/// Asks for the pages of the filter's next blocks, but for those up to *asked, from a known place on.
static void AskForPages(const storage::SegmentTids& tids, const base::TidFinder& finder, uint32 at,
                        uint32 last_block, std::size_t* asked) {
  for (*asked = Max(*asked, finder.place()); *asked < finder.place() + kPagesAhead; ++*asked)
    tids.AskFor(finder.BlockAhead(*asked - finder.place()), at, last_block);
}

/// False if the segment cannot be read.
static bool MatchSegment(storage::SegmentTids* tids, const graph::SegmentHeader& header,
                         const base::TidSet& filter, base::OrdinalSet* rows) {
  base::TidFinder finder(&filter);
  if (tids->count() == 0 || !finder.SeekBlock(0)) return true;
  std::size_t asked = 0;
  for (uint32 at = tids->Seek(finder.block(), 0, 0); at < tids->count();) {
    const base::Span<const graph::TidEntry> entries = tids->From(at);
    if (tids->stale()) return false;
    const Match match = pg::Guard([&] { return MatchEntries(entries, header, &finder, rows); });
    if (match != Match::kMore) return match == Match::kEnd;
    const uint32 first_block = entries[0].tid.Block();
    const uint32 last_block = entries[entries.size() - 1].tid.Block();
    at += static_cast<uint32>(entries.size());
    AskForPages(*tids, finder, at, last_block, &asked);
    // As far again as the page reaches: it is not the next one that is wanted.
    if (at < tids->count() && finder.block() - Min(finder.block(), last_block) > last_block - first_block)
      at = tids->Seek(finder.block(), at, last_block);
    else if (at < tids->count())
      at = tids->SkipSplit(at, finder.block());
  }
  return !tids->stale();
}

FilterPart* MapSegment(FilterParts* parts, const FilterView& view, const storage::SegmentInfo& segment,
                       SegmentScan* scan, const base::TidSet& filter) {
  FilterPart* part = AddPart(parts, PartKind::kGraph, segment.id, segment.first_row, segment.end_row);
  const graph::SegmentHeader& header = scan->cached->head.header;
  storage::SegmentTids tids;
  tids.Open(view.index, *view.manifest, segment, &header, scan->reader.RecentBuffers());
  const bool is_usable = MatchSegment(&tids, header, filter, &part->rows);
  tids.Close();
  if (!is_usable) {
    DropLastPart(parts);
    return nullptr;
  }
  pg::Guard([&] { part->rows.Freeze(); });
  return part;
}

// ---- By the heads of rows ----

/// Fills the part with rows that the filter has, but for those in `except`, if it is given.
static void MatchHeads(const FilterView& view, const base::TidSet& filter, const base::OrdinalSet* except,
                       FilterPart* part) {
  using storage::kHeadsPerPage;
  auto* heads = static_cast<storage::RowHead*>(palloc(kHeadsPerPage * sizeof(storage::RowHead)));
  base::TidFinder finder(&filter);
  for (uint64 row = part->first_row; row < part->end_row;) {
    const auto page = static_cast<uint32>(row / kHeadsPerPage);
    const uint64 page_row = static_cast<uint64>(page) * kHeadsPerPage;
    const uint32 count = storage::ReadHeadPage(view.index, *view.directory, storage::kHeadStream, page,
                                               part->end_row - page_row, nullptr, heads, view.snapshot);
    pg::Guard([&] {
      for (uint64 slot = row - page_row; slot < count; slot++) {
        if ((heads[slot].flags & storage::kTombstone) != 0) continue;
        if (!finder.Contains(pg::ToHeapTid(heads[slot].tid))) continue;
        const auto ordinal = static_cast<uint32>(page_row + slot - part->first_row);
        if (except == nullptr || !except->Contains(ordinal)) part->rows.Add(ordinal);
      }
    });
    row = page_row + kHeadsPerPage;
  }
  pfree(heads);
  pg::Guard([&] { part->rows.Freeze(); });
}

FilterPart* MapRows(FilterParts* parts, const FilterView& view, uint32 segment, uint64 first_row,
                    uint64 end_row, const base::TidSet& filter) {
  FilterPart* part = AddPart(parts, PartKind::kAll, segment, first_row, end_row);
  MatchHeads(view, filter, nullptr, part);
  return part;
}

FilterPart* MapRest(FilterParts* parts, const FilterView& view, const FilterPart& part,
                    const base::TidSet& filter) {
  FilterPart* rest = AddPart(parts, PartKind::kRest, part.segment, part.first_row, part.end_row);
  MatchHeads(view, filter, &part.rows, rest);
  return rest;
}

// ---- Nodes ----

namespace {

constexpr int kGuesses = 4;  // before halving
constexpr std::size_t kNodesAhead = 8;

/// Nodes of few rows, each looked for where it should be if rows ascend with their nodes, as they do but for what came in by
/// merges. What is found is certain: a row is at one node. False if one is not found. `nodes`: room for all.
bool GuessNodes(const FilterPart& part, SegmentReader* reader, uint32 node_count, uint32* nodes) {
  base::OrdinalWalk walk(&part.rows);
  uint32 low = 0;       // nodes before it have smaller rows
  uint32 previous = 0;  // the row at low - 1
  uint32 row;
  for (std::size_t i = 0; walk.Next(&row); i++) {
    if (low >= node_count) return false;
    if (i + kNodesAhead < part.rows.size()) {
      const uint32 ahead = low + (part.rows.list()[i + kNodesAhead] - (low == 0 ? 0 : previous + 1));
      if (ahead < node_count) reader->AskForRows(ahead);
    }
    // No more than one node a row: it is no farther than that.
    uint32 high = Min(node_count - 1, low + (low == 0 ? row : row - previous - 1));
    uint32 at = high;
    for (int tries = 0;; tries++) {
      const uint32 found = reader->RowOffsetAt(at);
      if (found == row) break;
      if (found > row && at == 0) return false;
      (found < row ? low : high) = found < row ? at + 1 : at - 1;
      if (low > high) return false;
      // Where no rows are missing in between, nodes are as far apart as their rows.
      const int64 guess = static_cast<int64>(at) + row - found;
      at = tries < kGuesses && guess >= low && guess <= high ? static_cast<uint32>(guess)
                                                             : low + (high - low) / 2;
    }
    nodes[i] = at;
    low = at + 1;
    previous = row;
  }
  return true;
}

}  // namespace

// One node in so many: a list of fewer is smaller than a bitmap.
constexpr uint32 kFewNodes = 16;
// Nodes that are looked at before others may have the memory that was taken away meanwhile.
constexpr uint32 kNodesAtOnce = 65536;

/// Lets go of shared memory for a moment, between nodes.
static void Pause(SegmentScan* scan, uint64* chunks_loaded) {
  *chunks_loaded += LeaveSegments(&scan, 1);
  CHECK_FOR_INTERRUPTS();
  EnterSegments(&scan, 1);
}

/// Bits of nodes, one after the other, on their way into a bitmap. No branch depends on them: nobody can predict which are wanted.
class NodeBits {
 public:
  explicit NodeBits(base::OrdinalSet* nodes) : nodes_(nodes) {}
  void Add(uint32 node, bool is_wanted) {
    bits_ |= static_cast<uint64>(is_wanted) << (node % kBits);
    if (node % kBits == kBits - 1) Flush(node);
  }
  /// node: the last one that was added.
  void Flush(uint32 node) {
    nodes_->AddBits(node / kBits * kBits, bits_);
    bits_ = 0;
  }

 private:
  static constexpr uint32 kBits = 64;
  base::OrdinalSet* nodes_;
  uint64 bits_ = 0;
};

/// Looks at all nodes, each of one row.
static void CollectSingleRows(FilterPart* part, SegmentScan* scan, uint64* chunks_loaded) {
  const uint32 nodes = scan->reader.header().nodes;
  const std::uint64_t* wanted = part->rows.words();
  const bool are_many = part->rows.size() > nodes / kFewNodes;
  if (are_many) pg::Guard([part] { part->nodes.ToBitmap(); });
  NodeBits bits(&part->nodes);
  for (uint32 node = 0, pause_at = kNodesAtOnce; node < nodes;) {
    const base::Span<const std::uint32_t> rows = scan->reader.RowsFrom(node);
    pg::Guard([&] {
      for (const std::uint32_t row : rows) {
        const bool is_wanted = row < part->rows.bound() && base::OrdinalSet::HasBit(wanted, row);
        if (are_many)
          bits.Add(node, is_wanted);
        else if (is_wanted)
          part->nodes.Add(node);
        node++;
      }
    });
    if (node == nodes && are_many) bits.Flush(node - 1);
    if (node < pause_at) continue;
    pause_at = node + kNodesAtOnce;
    Pause(scan, chunks_loaded);
  }
}

// Nodes of a word of a bitmap.
constexpr uint32 kNodesOfWord = 64;

/// Where rows of `count` nodes from `node` on begin, and where those of the last one end. False if the segment is damaged, which the
/// reader has been told.
static bool ReadRowStarts(SegmentReader* reader, uint32 node, uint32 count, uint32* starts) {
  for (uint32 known = 0; known <= count;) {
    const base::Span<const std::uint32_t> some = reader->RowStartsFrom(node + known);
    for (uint32 i = 0; i < some.size() && known <= count; i++) starts[known++] = some[i];
  }
  for (uint32 i = 0; i < count; i++) {
    const storage::RowSpan span = {starts[i], starts[i + 1]};
    if (unlikely(!storage::IsRowSpan(reader->header(), span))) {
      (void)reader->RowsOf(node + i);
      return false;
    }
  }
  return true;
}

static uint64 IsWanted(const base::OrdinalSet& wanted, uint32 row) {
  return row < wanted.bound() && base::OrdinalSet::HasBit(wanted.words(), row) ? 1 : 0;
}

/// True if each of those nodes has one row.
static bool HaveOneEach(const uint32* starts, uint32 count) {
  uint32 others = 0;
  for (uint32 i = 0; i <= count; i++) others |= starts[i] - starts[0] - i;
  return others == 0;
}

/// A bit for each of `count` rows from `first` on that is wanted.
static uint64 WantedRows(SegmentReader* reader, uint32 first, uint32 count, const base::OrdinalSet& wanted) {
  uint64 bits = 0;
  for (uint32 i = 0; i < count;) {
    const base::Span<const std::uint32_t> rows = reader->RowsFrom(first + i);
    const uint32 end = Min(count, i + static_cast<uint32>(rows.size()));
    for (const uint32* row = rows.data(); i < end; i++, row++) bits |= IsWanted(wanted, *row) << i;
  }
  return bits;
}

/// A bit for each of those nodes that has a row that is wanted.
static uint64 WantedNodes(SegmentReader* reader, const uint32* starts, uint32 count,
                          const base::OrdinalSet& wanted) {
  if (likely(HaveOneEach(starts, count))) return WantedRows(reader, starts[0], count, wanted);
  base::Span<const std::uint32_t> rows;
  uint32 first = 0;  // of `rows`
  uint64 bits = 0;
  for (uint32 i = 0; i < count; i++)
    for (uint32 at = starts[i]; at < starts[i + 1]; at++) {
      if (at - first >= rows.size()) rows = reader->RowsFrom(first = at);
      bits |= IsWanted(wanted, rows[at - first]) << i;
    }
  return bits;
}

/// Looks at all nodes, of one row or more each.
static void CollectSharedRows(FilterPart* part, SegmentScan* scan, uint64* chunks_loaded) {
  const uint32 nodes = scan->reader.header().nodes;
  const bool are_many = part->rows.size() > nodes / kFewNodes;
  if (are_many) pg::Guard([part] { part->nodes.ToBitmap(); });
  for (uint32 node = 0; node < nodes; node += kNodesOfWord) {
    if (node > 0 && node % kNodesAtOnce == 0) Pause(scan, chunks_loaded);
    const uint32 count = Min(kNodesOfWord, nodes - node);
    uint32 starts[kNodesOfWord + 1];
    if (!ReadRowStarts(&scan->reader, node, count, starts)) return;
    uint64 bits = WantedNodes(&scan->reader, starts, count, part->rows);
    if (are_many) {
      part->nodes.AddBits(node, bits);
    } else if (bits != 0) {
      pg::Guard([&] {
        for (; bits != 0; bits &= bits - 1)
          part->nodes.Add(node + static_cast<uint32>(__builtin_ctzll(bits)));
      });
    }
  }
}

/// Looks at all nodes.
static void CollectNodes(FilterPart* part, SegmentScan* scan, uint64* chunks_loaded) {
  if (scan->reader.header().row_starts_at == 0)
    CollectSingleRows(part, scan, chunks_loaded);
  else
    CollectSharedRows(part, scan, chunks_loaded);
}

bool MapNodes(FilterPart* part, SegmentScan* scan, uint64* chunks_loaded) {
  if (part->has_nodes) return true;
  SegmentReader* reader = &scan->reader;
  const graph::SegmentHeader& header = reader->header();
  part->nodes = base::OrdinalSet(header.nodes);
  bool is_guessed = false;
  if (header.row_starts_at == 0 && !part->rows.is_bitmap()) {
    auto* nodes = static_cast<uint32*>(palloc(Max(part->rows.size(), std::size_t{1}) * sizeof(uint32)));
    is_guessed = GuessNodes(*part, reader, header.nodes, nodes);
    if (is_guessed) {
      pg::Guard([&] {
        for (std::size_t i = 0; i < part->rows.size(); i++) part->nodes.Add(nodes[i]);
      });
    }
    pfree(nodes);
  }
  if (!is_guessed) {
    // Questions come in no order.
    pg::Guard([&] { part->rows.ToBitmap(); });
    CollectNodes(part, scan, chunks_loaded);
  }
  pg::Guard([&] { part->nodes.Freeze(); });
  part->has_nodes = !reader->stale();
  return part->has_nodes;
}

}  // namespace tandem::am
