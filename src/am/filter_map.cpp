// README.md ("Filter sets that are kept") says why a set that another search made at another time is right.
//
// Operands are asked one after the other, segment by segment, and not at all once those of an And leave nothing of a
// segment. A term is evaluated when something is asked of it that is not known; the settled rows are counted before that (H16).

#include "pg/compat.hpp"

#include "am/filter_map.hpp"

#include "am/filter_key.hpp"
#include "pg/guard.hpp"
#include "pg/own.hpp"
#include "pg/stop_point.hpp"
#include "pg/stopwatch.hpp"
#include "policy/filter_policy.hpp"
#include "shmem/filter_cache.hpp"
#include "storage/settled_rows.hpp"

extern "C" {
#include "common/hashfn.h"
#include "lib/stringinfo.h"
}

namespace tandem::am {

struct FilterMap {
  const Filter* filter;
  MemoryContext context;
  base::Span<FilterMap* const> operands;  ///< of And and Or
  FilterParts* parts;
  FilterCounts* counts;  ///< of the whole filter
  FilterView view;

  // Of a term:
  bool may_keep;
  shmem::FilterKey key;  ///< with the index; if may_keep
  bool found;            ///< something in the cache since EnterFilterMap()
  const base::TidSet* tids;
  uint64 settled_rows;  ///< before `tids` were found
  float evaluate_us;    ///< what finding them took
};

namespace {

/// What a set of the cache is of: shmem::FilterSetId::kind.
enum SetKind : uint32 {
  kGraphRows,  ///< of a segment's graph
  kGraphNodes,
  kRestRows,  ///< of a segment's range, not in its graph
  kAllRows,   ///< of row ids, whatever segments hold them
};

const storage::SegmentInfo& SegmentOf(const FilterMap& map, uint32 i) {
  return map.view.manifest->segments[i];
}

FilterPart* FindSegmentPart(const FilterMap& map, uint32 i, PartKind kind) {
  return FindPart(*map.parts, kind, SegmentOf(map, i).id);
}

// ---- The cache ----

/// Sets of temporary tables are of no use to others, and a search that must meet an error in the pages it reads cannot do without
/// reading them (H44).
bool MayKeep(const FilterMap& map) {
  return shmem::FilterCacheExists() && !map.filter->term.key.empty() && IsMVCCSnapshot(map.view.snapshot) &&
         !RelationUsesLocalBuffers(map.view.index) && !pg::SnapshotsGetTooOld() &&
         map.filter->term.key.size() + sizeof(IndexKey) <= shmem::kLargestFilterKey;
}

/// In front of the term's own key.
shmem::FilterKey KeyOf(const FilterMap& map) {
  const pg::RelationFile file = pg::FileOf(map.view.index);
  StringInfoData key;
  initStringInfo(&key);
  const IndexKey index = {map.view.directory->incarnation, file.tablespace, file.number};
  appendBinaryStringInfo(&key, reinterpret_cast<const char*>(&index), sizeof index);
  appendBinaryStringInfo(&key, map.filter->term.key.data(), static_cast<int>(map.filter->term.key.size()));
  return shmem::MakeFilterKey(key.data, static_cast<uint32>(key.len));
}

/// A tail begins where the segments end, wherever that is at the time.
shmem::FilterSetId IdOf(uint32 segment, SetKind kind) {
  return {segment, kind, 0};
}

bool Find(FilterMap* map, uint32 segment, SetKind kind, shmem::PinnedSet* set) {
  if (!map->may_keep || !shmem::PinFilterSet(map->key, IdOf(segment, kind), set)) return false;
  if (!map->found) map->counts->hits++;
  map->found = true;
  return true;
}

/// True if what the term says of all these rows is final.
bool IsSettled(const FilterMap& map, uint64 end_row) {
  return map.may_keep && map.tids != nullptr && map.tids->whole_blocks() == 0 && end_row <= map.settled_rows;
}

// ---- Terms ----

const base::TidSet& TidsOf(FilterMap* map) {
  if (map->tids == nullptr) {
    const FilterView& view = map->view;
    if (map->may_keep)
      map->settled_rows = storage::CountSettledRows(view.index, *view.directory, view.rows, view.snapshot);
    pg::StopPoint("filter-prefix-measured");
    const pg::Stopwatch watch;
    map->tids = map->filter->term.evaluate(map->filter->term.arg);
    map->evaluate_us = watch.Microseconds();
    map->counts->evaluated++;
    map->counts->tids += map->tids->size();
  }
  return *map->tids;
}

FilterPart* AdoptPart(FilterMap* map, PartKind kind, const storage::SegmentInfo& segment,
                      shmem::PinnedSet* rows) {
  FilterPart* part = AddPart(map->parts, kind, segment.id, segment.first_row, segment.end_row);
  part->rows = std::move(rows->set);
  part->row_pin = SetPin(rows->pin);
  part->is_kept = true;
  return part;
}

/// The nodes of a graph's rows, if the cache has them: whether these came from there as well, or were just made again.
void AdoptNodes(const FilterMap& map, FilterPart* part) {
  shmem::PinnedSet set;
  if (part->kind != PartKind::kGraph || !map.may_keep ||
      !shmem::PinFilterSet(map.key, IdOf(part->segment, kGraphNodes), &set))
    return;
  part->nodes = std::move(set.set);
  part->node_pin = SetPin(set.pin);
  part->has_nodes = part->nodes_are_kept = true;
}

/// nullptr if the cache has none.
FilterPart* AdoptSegmentRows(FilterMap* map, uint32 i, PartKind kind) {
  const storage::SegmentInfo& segment = SegmentOf(*map, i);
  const SetKind set_kind = kind == PartKind::kGraph ? kGraphRows : kAllRows;
  shmem::PinnedSet set;
  if (pg::IsSwitchedOn("filter-rows-unknown") || !Find(map, segment.id, set_kind, &set)) return nullptr;
  FilterPart* part = AdoptPart(map, kind, segment, &set);
  AdoptNodes(*map, part);
  return part;
}

FilterPart* TermSegmentRows(FilterMap* map, uint32 i, PartKind kind) {
  FilterPart* part = AdoptSegmentRows(map, i, kind);
  if (part != nullptr) return part;
  const storage::SegmentInfo& segment = SegmentOf(*map, i);
  const base::TidSet& tids = TidsOf(map);
  const pg::Stopwatch watch;
  if (kind == PartKind::kGraph) {
    SegmentScan* scan = map->view.open_segment(map->view.arg, i);
    part = scan == nullptr ? nullptr : MapSegment(map->parts, map->view, segment, scan, tids);
  } else {
    part = MapRows(map->parts, map->view, segment.id, segment.first_row, segment.end_row, tids);
  }
  if (part == nullptr) return nullptr;
  part->map_us = watch.Microseconds();
  map->counts->mapped += part->rows.size();
  AdoptNodes(*map, part);
  return part;
}

FilterPart* TermRest(FilterMap* map, uint32 i) {
  const storage::SegmentInfo& segment = SegmentOf(*map, i);
  shmem::PinnedSet set;
  if (Find(map, segment.id, kRestRows, &set)) return AdoptPart(map, PartKind::kRest, segment, &set);
  const FilterPart* part = FindSegmentPart(*map, i, PartKind::kGraph);
  return MapRest(map->parts, map->view, *part, TidsOf(map));
}

/// Rows that are known to be admitted: of the segments looked at so far, and of `set`.
std::size_t KnownRows(const FilterMap& map, const base::OrdinalSet& set) {
  std::size_t known = set.size();
  for (const auto& part : *map.parts) known += part->rows.size();
  return known;
}

/// The tail by a set of rows [first_row, end_row): none of those it does not have is admitted, nor left out of those behind.
FilterPart* TailOf(FilterMap* map, uint64 first_row, uint64 end_row, const base::OrdinalSet& set) {
  const uint64 sealed = map->view.sealed_rows;
  const uint64 rows = map->view.rows;
  FilterPart* part = AddPart(map->parts, PartKind::kAll, kNoSegment, sealed, rows);
  part->is_kept = true;  // what is known of it came from there
  pg::Guard([&] {
    base::OrdinalWalk walk(&set);
    std::uint32_t ordinal;
    while (walk.Next(&ordinal)) {
      const uint64 row = first_row + ordinal;
      if (row >= sealed && row < rows) part->rows.Add(static_cast<std::uint32_t>(row - sealed));
    }
    for (uint64 row = Max(end_row, sealed); row < rows; row++)
      part->rows.Add(static_cast<std::uint32_t>(row - sealed));
    part->rows.Freeze();
  });
  return part;
}

/// nullptr if the cache has none that is of use here.
FilterPart* AdoptTail(FilterMap* map) {
  // What was asked of this very snapshot leaves nothing unsettled.
  shmem::PinnedSet set;
  if (map->tids != nullptr || !Find(map, kNoSegment, kAllRows, &set)) return nullptr;
  const FilterView& view = map->view;
  const uint64 end_row = set.age.end_row;
  const uint64 first_row = end_row - set.set.bound();
  if (first_row == view.sealed_rows && end_row == view.rows) {
    FilterPart* part = AddPart(map->parts, PartKind::kAll, kNoSegment, first_row, end_row);
    part->rows = std::move(set.set);
    part->row_pin = SetPin(set.pin);
    part->is_kept = true;
    return part;
  }
  const uint64 unsettled = view.rows - Min(view.rows, Max(end_row, view.sealed_rows));
  FilterPart* part = nullptr;
  if (first_row <= view.sealed_rows && policy::FewUnsettledRows(unsettled, KnownRows(*map, set.set)))
    part = TailOf(map, first_row, end_row, set.set);
  shmem::UnpinFilterSet(set.pin);
  return part;
}

FilterPart* AllOfTail(FilterMap* map) {
  const uint64 sealed = map->view.sealed_rows;
  return TailOf(map, sealed, sealed, base::OrdinalSet());
}

/// True if the whole tail is few rows beside those of segments that the cache knew.
bool MayAdmitTail(const FilterMap& map) {
  return map.found && map.tids == nullptr &&
         policy::FewUnsettledRows(map.view.rows - map.view.sealed_rows, KnownRows(map, base::OrdinalSet()));
}

/// nullptr if nothing is known of it, and it is not few rows.
FilterPart* KnownTail(FilterMap* map) {
  FilterPart* part = AdoptTail(map);
  return part == nullptr && MayAdmitTail(*map) ? AllOfTail(map) : part;
}

FilterPart* TermTail(FilterMap* map) {
  FilterPart* part = KnownTail(map);
  if (part != nullptr) return part;
  part = MapRows(map->parts, map->view, kNoSegment, map->view.sealed_rows, map->view.rows, TidsOf(map));
  map->counts->mapped += part->rows.size();
  return part;
}

// ---- Terms put together ----

/// What a part is asked for by.
using PartOf = FilterPart* (*)(FilterMap* map, uint32 i, PartKind kind);

base::OrdinalSet Combine(FilterOp op, const base::OrdinalSet& a, const base::OrdinalSet& b) {
  switch (op) {
    case FilterOp::kOr:
      return base::Unite(a, b);
    case FilterOp::kAndNot:
      return base::Subtract(a, b);
    case FilterOp::kTerm:
    case FilterOp::kAnd:
      break;
  }
  return base::Intersect(a, b);
}

/// The same set, in the memory of that one, which an operand's part keeps as long as this map has what is made of it.
base::OrdinalSet Same(const base::OrdinalSet& set) {
  return base::OrdinalSet::Borrow(set.bound(), set.size(), set.is_bitmap(), set.data());
}

/// What a tail admits may be more than the filter does: nothing can be taken away for being there.
bool MaySubtract(const FilterMap& other, const FilterPart& part) {
  return part.segment != kNoSegment && KnowsRows(&other);
}

/// True if no further operand can change anything.
bool IsDecided(const FilterMap& map, const base::OrdinalSet& so_far) {
  return map.filter->op != FilterOp::kOr && so_far.empty();
}

/// nullptr if one of the operands has none.
FilterPart* CombineParts(FilterMap* map, uint32 i, PartKind kind, PartOf part_of) {
  const FilterPart* first = part_of(map->operands[0], i, kind);
  if (first == nullptr) return nullptr;
  const base::OrdinalSet* so_far = &first->rows;
  FilterPart* part = AddPart(map->parts, kind, first->segment, first->first_row, first->end_row);
  pg::Guard([part] { part->rows.Freeze(); });
  for (std::size_t operand = 1; operand < map->operands.size() && !IsDecided(*map, *so_far); operand++) {
    const FilterPart* other = part_of(map->operands[operand], i, kind);
    if (other == nullptr) {
      DropLastPart(map->parts);
      return nullptr;
    }
    const bool is_left_out =
        map->filter->op == FilterOp::kAndNot && !MaySubtract(*map->operands[operand], *other);
    pg::Guard([&] {
      part->rows =
          is_left_out ? base::Unite(*so_far, *so_far) : Combine(map->filter->op, *so_far, other->rows);
    });
    so_far = &part->rows;
  }
  return part;
}

FilterPart* SegmentRows(FilterMap* map, uint32 i, PartKind kind) {
  FilterPart* part = FindSegmentPart(*map, i, kind);
  if (part != nullptr) return part;
  if (map->filter->op == FilterOp::kTerm) return TermSegmentRows(map, i, kind);
  return CombineParts(map, i, kind, SegmentRows);
}

FilterPart* Rest(FilterMap* map, uint32 i, PartKind kind) {
  FilterPart* part = FindSegmentPart(*map, i, PartKind::kRest);
  if (part != nullptr) return part;
  if (map->filter->op != FilterOp::kTerm) return CombineParts(map, i, kind, Rest);
  // What is not in the graph is known by what is. If that has never been asked of this operand, and can be no more, all will do: one
  // that was asked before has nothing of the graph in the rest.
  if (SegmentRows(map, i, PartKind::kGraph) == nullptr) return SegmentRows(map, i, PartKind::kAll);
  return TermRest(map, i);
}

FilterPart* Tail(FilterMap* map, uint32 i, PartKind kind) {
  FilterPart* part = FindPart(*map->parts, PartKind::kAll, kNoSegment);
  if (part != nullptr) return part;
  if (map->view.sealed_rows == map->view.rows) return AllOfTail(map);
  return map->filter->op == FilterOp::kTerm ? TermTail(map) : CombineParts(map, i, kind, Tail);
}

bool Nodes(FilterMap* map, uint32 i, SegmentScan* scan, uint64* chunks_loaded) {
  FilterPart* part = FindSegmentPart(*map, i, PartKind::kGraph);
  if (part->has_nodes) return true;
  if (part->rows.empty()) {
    // Operands of an And that were not asked have no parts.
    part->nodes = base::OrdinalSet(scan->reader.header().nodes);
    pg::Guard([part] { part->nodes.Freeze(); });
    part->has_nodes = true;
    return true;
  }
  const bool is_single_rows = scan->reader.header().row_starts_at == 0;
  if (map->filter->op == FilterOp::kTerm || (is_single_rows && !part->rows.is_bitmap())) {
    const pg::Stopwatch watch;
    const bool is_mapped = MapNodes(part, scan, chunks_loaded);
    part->nodes_us = watch.Microseconds();
    return is_mapped;
  }
  // A node of several rows may be in an intersection though none of them is: rows are asked for one by one later.
  const base::OrdinalSet* so_far = nullptr;
  for (FilterMap* operand : map->operands) {
    // A node has rows beside those that are taken away.
    if (map->filter->op == FilterOp::kAndNot && so_far != nullptr) break;
    if (!Nodes(operand, i, scan, chunks_loaded)) return false;
    const base::OrdinalSet& nodes = FindSegmentPart(*operand, i, PartKind::kGraph)->nodes;
    if (so_far != nullptr) pg::Guard([&] { part->nodes = Combine(map->filter->op, *so_far, nodes); });
    so_far = so_far == nullptr ? &nodes : &part->nodes;
  }
  if (map->filter->op == FilterOp::kAndNot) part->nodes = Same(*so_far);
  part->has_nodes = true;
  return true;
}

// ---- Keeping ----

/// Of two tails, that of the later view of the index is of more use, even if it ends earlier.
void Keep(const FilterMap& map, const FilterPart& part, SetKind kind, const base::OrdinalSet& set) {
  const shmem::FilterSetAge age = {map.view.manifest->root.version, part.end_row};
  const shmem::FilterSetId rows = IdOf(part.segment, kGraphRows);
  if (kind == kGraphNodes)
    shmem::PublishFilterSet(map.key, IdOf(part.segment, kind), age, set, part.nodes_us, &rows);
  else
    shmem::PublishFilterSet(map.key, IdOf(part.segment, kind), age, set, map.evaluate_us + part.map_us);
}

/// Of a tail, the rows that are settled.
void KeepTail(const FilterMap& map, const FilterPart& part) {
  const uint64 end_row = Min(part.end_row, map.settled_rows);
  if (end_row <= part.first_row || !IsSettled(map, end_row)) return;
  if (end_row == part.end_row) {
    Keep(map, part, kAllRows, part.rows);
    return;
  }
  FilterPart* settled = pg::Own<FilterPart>(map.context);
  settled->segment = kNoSegment;
  settled->first_row = part.first_row;
  settled->end_row = end_row;
  settled->rows = base::OrdinalSet(static_cast<uint32>(end_row - part.first_row));
  pg::Guard([&] {
    base::OrdinalWalk walk(&part.rows);
    std::uint32_t ordinal;
    while (walk.Next(&ordinal) && ordinal < settled->rows.bound()) settled->rows.Add(ordinal);
    settled->rows.Freeze();
  });
  Keep(map, *settled, kAllRows, settled->rows);
}

void KeepRows(const FilterMap& map, const FilterPart& part) {
  switch (part.kind) {
    case PartKind::kGraph:
      Keep(map, part, kGraphRows, part.rows);
      break;
    case PartKind::kRest:
      Keep(map, part, kRestRows, part.rows);
      break;
    case PartKind::kAll:
      Keep(map, part, kAllRows, part.rows);
      break;
  }
}

void KeepPart(const FilterMap& map, FilterPart* part) {
  if (part->segment == kNoSegment) {
    if (!part->is_kept) KeepTail(map, *part);
    part->is_kept = true;
    return;
  }
  // What came from the cache is settled, even if nothing was evaluated.
  if (!part->is_kept) {
    if (!IsSettled(map, part->end_row)) return;
    KeepRows(map, *part);
    part->is_kept = true;
  }
  if (part->has_nodes && !part->nodes_are_kept) {
    Keep(map, *part, kGraphNodes, part->nodes);
    part->nodes_are_kept = true;
  }
}

FilterMap* FindMap(const List* made, const Filter* filter) {
  ListCell* cell;
  foreach (cell, made) {
    auto* map = static_cast<FilterMap*>(lfirst(cell));
    if (map->filter == filter) return map;
  }
  return nullptr;
}

/// made: terms that have one, which is that of all their places in the tree.
FilterMap* MakeMap(const Filter* filter, FilterCounts* counts, List** made) {
  FilterMap* known = filter->op == FilterOp::kTerm ? FindMap(*made, filter) : nullptr;
  if (known != nullptr) return known;
  auto* map = static_cast<FilterMap*>(palloc0(sizeof(FilterMap)));
  map->filter = filter;
  map->context = CurrentMemoryContext;
  map->counts = counts;
  map->parts = pg::Own<FilterParts>(CurrentMemoryContext);
  if (filter->op == FilterOp::kTerm) *made = lappend(*made, map);
  auto** operands = static_cast<FilterMap**>(palloc((filter->operands.size() + 1) * sizeof(FilterMap*)));
  for (std::size_t i = 0; i < filter->operands.size(); i++)
    operands[i] = MakeMap(filter->operands[i], counts, made);
  map->operands = {operands, filter->operands.size()};
  return map;
}

}  // namespace

FilterMap* BeginFilterMap(const Filter* filter) {
  List* made = NIL;
  return MakeMap(filter, static_cast<FilterCounts*>(palloc0(sizeof(FilterCounts))), &made);
}

const FilterCounts& CountsOf(const FilterMap* map) {
  return *map->counts;
}

void EnterFilterMap(FilterMap* map, const FilterView& view) {
  const bool is_first = map->view.index == nullptr;
  map->view = view;
  map->found = false;
  ForgetOtherParts(map->parts, *view.manifest, view.sealed_rows, view.rows);
  if (map->filter->op == FilterOp::kTerm && is_first && MayKeep(*map)) {
    const MemoryContext old_context = MemoryContextSwitchTo(map->context);
    map->key = KeyOf(*map);
    MemoryContextSwitchTo(old_context);
    map->may_keep = true;
  }
  for (FilterMap* operand : map->operands) EnterFilterMap(operand, view);
}

uint64 HashOf(const FilterMap* map) {
  if (map->filter->op == FilterOp::kTerm) return map->may_keep ? map->key.hash : 0;
  uint64 hash = 1 + static_cast<uint64>(map->filter->op);
  for (const FilterMap* operand : map->operands) {
    const uint64 of_operand = HashOf(operand);
    if (of_operand == 0) return 0;
    hash = hash_combine64(hash, of_operand);
  }
  return hash;
}

bool IsFilterKnown(FilterMap* map) {
  for (FilterMap* operand : map->operands)
    if (!IsFilterKnown(operand)) return false;
  if (map->filter->op != FilterOp::kTerm || map->tids != nullptr) return true;
  for (uint32 i = 0; i < map->view.manifest->segment_count; i++)
    if (FindSegmentPart(*map, i, PartKind::kGraph) == nullptr &&
        AdoptSegmentRows(map, i, PartKind::kGraph) == nullptr)
      return false;
  return map->view.sealed_rows == map->view.rows ||
         FindPart(*map->parts, PartKind::kAll, kNoSegment) != nullptr || KnownTail(map) != nullptr;
}

void KeepFilterSets(FilterMap* map) {
  if (map->may_keep)
    for (const auto& part : *map->parts) KeepPart(*map, part.get());
  for (FilterMap* operand : map->operands) KeepFilterSets(operand);
}

const base::TidSet* OnlyTidsOf(const FilterMap* map) {
  // A set of the cache can have rows that have died since, and whose TIDs the native index has forgotten.
  const bool is_only = map->tids != nullptr && map->tids->whole_blocks() == 0 && map->counts->hits == 0;
  return is_only ? map->tids : nullptr;
}

bool KnowsRows(const FilterMap* map) {
  if (map->tids != nullptr && map->tids->whole_blocks() > 0) return false;
  for (const FilterMap* operand : map->operands)
    if (!KnowsRows(operand)) return false;
  return true;
}

FilterPart* MapSegmentRows(FilterMap* map, uint32 i) {
  FilterPart* part = SegmentRows(map, i, PartKind::kGraph);
  // What cannot be read by one operand is not asked of the others either.
  return part != nullptr ? part : SegmentRows(map, i, PartKind::kAll);
}

FilterPart* MapTailRows(FilterMap* map) {
  return Tail(map, 0, PartKind::kAll);
}

FilterPart* MapRestRows(FilterMap* map, uint32 i) {
  FilterPart* rest = Rest(map, i, PartKind::kRest);
  // An operand that was known from the cache, and is asked now, may admit more than then (blocks of which nothing more is known):
  // also rows of the graph that another operand admits, and that were returned.
  if (map->filter->op != FilterOp::kTerm) {
    const base::OrdinalSet& returned = FindSegmentPart(*map, i, PartKind::kGraph)->rows;
    pg::Guard([&] { rest->rows = base::Subtract(rest->rows, returned); });
  }
  return rest;
}

bool MapSegmentNodes(FilterMap* map, uint32 i, SegmentScan* scan, uint64* chunks_loaded) {
  return Nodes(map, i, scan, chunks_loaded);
}

bool FilterAdmits(FilterMap* map, base::HeapTid tid) {
  if (map->filter->op == FilterOp::kTerm) return TidsOf(map).Contains(tid);
  if (map->filter->op == FilterOp::kAndNot) return FilterAdmits(map->operands[0], tid);
  const bool is_and = map->filter->op == FilterOp::kAnd;
  for (FilterMap* operand : map->operands)
    if (FilterAdmits(operand, tid) != is_and) return !is_and;
  return is_and;
}

}  // namespace tandem::am
