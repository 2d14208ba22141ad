#pragma once
// How a filtered search goes about one segment, from how many of its rows the filter admits.

#include <cstdint>

namespace tandem::policy {

enum class FilterTactic : std::uint8_t {
  kVectors,  ///< all admitted rows by their full vectors: exact
  kCodes,    ///< all admitted rows by their codes, the nearest re-ranked
  kWalk,     ///< the graph of admitted nodes, across others where they are sparse
  kStream,   ///< the whole graph; what is not admitted is left out of the answer
};

/// One segment and what of it is admitted.
struct FilterSituation {
  std::uint64_t rows = 0;  ///< in the segment's graph
  std::uint64_t admitted = 0;
  std::uint32_t code_bytes = 0;
  std::uint32_t row_bytes = 0;  ///< as in SearchSituation
  std::uint32_t m = 16;
  std::uint32_t ef_search = 40;
  std::uint64_t wanted = 0;  ///< rows that are expected to be asked for; 0: nobody knows
  bool in_memory = false;    ///< as in SearchSituation
  bool is_exact = false;     ///< as in SearchSituation
  bool has_bounds =
      true;  ///< codes say how near a row is at the nearest; else all that is found by code is re-ranked
};

/// Sets of no more rows, over all of an index, are scored whole on full vectors: what they answer is exact.
[[nodiscard]] std::uint64_t LargestExactSet(std::uint32_t row_bytes) noexcept;

/// In the units of search_policy.hpp, up to the first ten rows.
[[nodiscard]] double CostOfTactic(FilterTactic tactic, const FilterSituation& situation) noexcept;
/// The cheapest one; what looks at all that is admitted may cost a bit more than what does not.
[[nodiscard]] FilterTactic ChooseTactic(const FilterSituation& situation) noexcept;

/// The pool of a tactic that walks: nodes.
[[nodiscard]] std::uint32_t EfOfTactic(FilterTactic tactic, const FilterSituation& situation) noexcept;

/// For plain walks, of which `found` nodes have been found and `admitted` of them are: so many more will have what the pool is to have; 0 if
/// there are enough.
[[nodiscard]] std::uint32_t NodesUntilEnough(std::uint64_t found, std::uint64_t admitted,
                                             const FilterSituation& situation) noexcept;

/// Of comparing everything that is admitted: by codes, or, if that is cheaper, by vectors.
[[nodiscard]] double CostOfAll(const FilterSituation& situation) noexcept;
[[nodiscard]] bool PrefersVectors(const FilterSituation& situation) noexcept;

/// By how much a walk's pool may be widened, for a query that lies where little is admitted: comparing everything is dearer than such
/// a walk. At least 1.
[[nodiscard]] std::uint32_t WidestWalk(const FilterSituation& situation) noexcept;

/// For who wants more than a walk's first batch. True if everything that is admitted had better be compared at once: it costs
/// little more than some batches, and nothing that comes later is nearer than what came before.
[[nodiscard]] bool IsWorthScoring(FilterTactic tactic, const FilterSituation& situation) noexcept;

/// False if among `found` nodes near a query, `admitted` of which are admitted, there are so many fewer than in the whole segment
/// that what is admitted must lie elsewhere.
[[nodiscard]] bool LiesNear(std::uint64_t found, std::uint64_t admitted,
                            const FilterSituation& situation) noexcept;

/// True if a set of `known` rows serves a search that must look at `unsettled` more, of which nothing is known, as well as one that
/// is made anew would.
[[nodiscard]] bool FewUnsettledRows(std::uint64_t unsettled, std::uint64_t known) noexcept;

}  // namespace tandem::policy
