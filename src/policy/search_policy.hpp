#pragma once
// Graph or exact scan: which is cheaper for a search, from the sizes alone, so that plans repeat.

#include <cstdint>

namespace tandem::policy {

/// What a search would have to read.
struct SearchSituation {
  std::uint64_t rows = 0;       ///< all rows
  std::uint64_t tail_rows = 0;  ///< rows that no segment holds
  std::uint32_t segments = 0;
  std::uint32_t code_bytes = 0;  ///< of what a graph is walked on
  std::uint32_t row_bytes = 0;   ///< of a stored vector
  bool re_ranks_all = false;     ///< what graphs find; not only what may be among the nearest by its code
  bool is_exact = false;         ///< codes say how far a row is: none is read for that
  bool has_bounds = true;        ///< codes say how near a row can be at the nearest
  std::uint32_t m = 16;
  std::uint32_t ef_search = 40;
  bool in_memory = false;  ///< segments are searched in shared memory, as far as they are there
};

/// The pool of a graph in which some nodes lead to no live row: such nodes take places without being an answer, so the
/// pool is made larger by their share, up to twice. The answer is then as good as that of a graph without them.
/// rows: in the graphs when they were built; dead: of these, since.
[[nodiscard]] std::uint32_t WidenedEf(std::uint32_t ef_search, std::uint64_t nodes, std::uint64_t rows,
                                      std::uint64_t dead) noexcept;

/// A pool finds so many rows about as well as it ever does: the default's ten.
constexpr std::uint32_t kPoolPerWanted = 4;
/// What rows are asked for where some of those found are not wanted: a condition is asked of each, later.
struct Wanted {
  double found_per_row =
      1;            ///< rows in order of distance for one that fulfils the conditions; 1: there are none
  double rows = 0;  ///< of those in order of distance that are needed; 0: nobody knows
};
/// The pool that finds as much of what is wanted as `ef_search` does without conditions; at most kMostWidened times as large, but with
/// room for all rows that are known to be wanted, up to kMostWanted (hnswlib's searchKnn() has max(ef, k) likewise): then searches go on.
[[nodiscard]] std::uint32_t PoolFor(std::uint32_t ef_search, const Wanted& wanted) noexcept;
constexpr double kMostWidened = 4;
constexpr std::uint32_t kMostWanted = 1'000;
/// Of a segment that has a share of the rows: where rows lie by chance, segments with such pools find together what a graph of all rows
/// finds with `ef_search`.
[[nodiscard]] std::uint32_t PoolOfSegment(std::uint32_t ef_search, double share) noexcept;
/// But for pools that are smaller themselves, none is smaller, nor less than half: a walk with few nodes to go on from ends where it has
/// found nothing near, and nobody sees that there was more.
constexpr std::uint32_t kLeastPool = 16;
/// Where some of what is found is not wanted, a pool for just as much as is expected would have too few in half of all searches, and a
/// second batch costs more than the first.
constexpr double kSpare = 1.25;

/// True if of `returned` rows so few were wanted that what is wanted must lie farther away than where rows fulfil conditions by
/// chance. Then the nearest of a later batch may well be the nearest there are.
[[nodiscard]] bool LiesFartherOff(const Wanted& wanted, std::uint64_t returned,
                                  std::uint64_t accepted) noexcept;
/// A filter that need not be asked at once: rows in order of distance, of each of which the conditions are asked, may cost less than asking
/// native indexes for all rows that fulfil them.
struct AskLater {
  double found_per_row = 0;  ///< as in Wanted, but no less than it is
  double rows = 0;           ///< as in Wanted
  double cost = 0;           ///< of asking, in the units of this file; 0: the filter is asked first
  double budget = 0;         ///< what searches without it may cost together, until asking would have paid
};
/// AskLater::budget: searches go without the filter until they have lost what asking costs. without, known: of a search, without the filter and
/// by one that is known. Infinite if nothing is lost.
[[nodiscard]] double BudgetUnasked(double asking, double without, double known) noexcept;
/// True if of `returned` rows so few were wanted that it is no chance.
[[nodiscard]] bool LiesElsewhere(double found_per_row, std::uint64_t returned,
                                 std::uint64_t accepted) noexcept;

/// Of all nodes found for a search that goes on, one in so many, the farthest, waits for the next batch: nearer ones are missed among them
/// before the others. Where rows lie farther off, that batch is of as many nodes as there were before.
constexpr std::uint32_t kHeldBack = 8;

/// The pool of a graph of sketches (vec/sketch.hpp) for one that is asked for: the nearest rows are found among more of those that
/// look near (src/vec/README.md, "Sketches").
constexpr std::uint32_t kSketchPool = 64;
/// The same for rows of bits by Jaccard distance, of which graphs find less than by Hamming distance (README.md, "Graph or exact scan").
constexpr std::uint32_t kJaccardPool = 2;

/// In units of one row's exact scan at 128 dimensions (about 36 ns).
[[nodiscard]] double CostOfExactScan(const SearchSituation& situation) noexcept;
/// Segments by graph, the tail by code or exactly.
[[nodiscard]] double CostOfGraphSearch(const SearchSituation& situation) noexcept;
/// Of one more row than a first batch has, far beyond that: its share of a segment's later batches, and its true distance.
[[nodiscard]] double CostOfNextRow(const SearchSituation& situation) noexcept;
/// Of that what there is not while rows come from a first batch: its share of later ones.
[[nodiscard]] double CostOfLaterBatches(const SearchSituation& situation) noexcept;
/// Always without segments.
[[nodiscard]] bool PrefersExactScan(const SearchSituation& situation) noexcept;

}  // namespace tandem::policy
