#pragma once
// Graph or exact scan: which is cheaper for a search, from the sizes alone, so that plans repeat.

#include <cstdint>

namespace tandem::policy {

/// What a search would have to read.
struct SearchSituation {
  std::uint64_t rows = 0;       ///< all rows
  std::uint64_t tail_rows = 0;  ///< rows that no segment holds
  std::uint32_t segments = 0;
  std::uint32_t dimensions = 0;
  std::uint32_t m = 16;
  std::uint32_t ef_search = 40;
};

/// In units of one row's exact scan at 128 dimensions (about 36 ns).
[[nodiscard]] double CostOfExactScan(const SearchSituation& situation) noexcept;
/// Segments by graph, tail exactly.
[[nodiscard]] double CostOfGraphSearch(const SearchSituation& situation) noexcept;
/// Always without segments.
[[nodiscard]] bool PrefersExactScan(const SearchSituation& situation) noexcept;

}  // namespace tandem::policy
