#pragma once
// Which vectors are packed: stretches of the flat relation that are mostly dead, with packed ranges beside them.

#include <cstdint>

#include "base/span.hpp"

namespace tandem::policy {

/// A part of the vectors, in the order of row ids: a group of neighbouring extents, or a packed range.
struct PackItem {
  std::uint64_t slots;  ///< rows that it has room for now; of a packed range, the rows in its blob
  std::uint64_t live;   ///< rows that are alive
  std::uint64_t span;   ///< row ids it covers
  bool packed;
};

struct PackSettings {
  std::uint32_t row_bytes;      ///< of a vector; a packed one takes kPackedRowBytes more
  std::uint64_t capacity_rows;  ///< no blob gets more live rows, unless a single item has them
  std::uint64_t least_freed;    ///< fewer dead slots are not worth a publication; at least 1
};

/// Pack items [first, end): their live rows go to one blob.
struct PackPlan {
  bool worth_it = false;
  std::uint32_t first = 0;
  std::uint32_t end = 0;
};

/// An item is poor, and packed, when no more of its slots are alive, and a quarter of its bytes at least would be had: a packed row
/// takes some more, which tells for those of a few bits.
constexpr std::uint64_t kPoorPercent = 50;
constexpr std::uint64_t kLeastHadPercent = 25;
constexpr std::uint64_t kPackedRowBytes = 4;
/// A packed range is written again with a poor neighbour if it has at most so many times the neighbour's live rows: rows are
/// written again for tidiness only when their blob grows by half at least.
constexpr std::uint64_t kAbsorbedTimes = 2;
/// Extents are looked at in groups, so large that there are at most so many.
constexpr std::uint32_t kMostGroups = 512;

/// Extents per group of an index that has so many.
[[nodiscard]] std::uint32_t ExtentsPerGroup(std::uint32_t extents) noexcept;

/// The plan that frees most slots. Carried out again and again it ends with worth_it = false. README.md says what it costs.
[[nodiscard]] PackPlan PlanPack(base::Span<const PackItem> items, const PackSettings& settings) noexcept;

}  // namespace tandem::policy
