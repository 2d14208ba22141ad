#pragma once
// Strong identifiers: mixing them up must not compile.

#include <cstdint>

namespace tandem::base {

/// Ordinal of a row in the flat relation: 0, 1, 2 … in the order of insertion, never reused.
enum class RowId : std::uint64_t {};

[[nodiscard]] constexpr std::uint64_t ToIndex(RowId id) noexcept {
  return static_cast<std::uint64_t>(id);
}

}  // namespace tandem::base
