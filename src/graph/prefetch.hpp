#pragma once
// Asking for memory ahead of its use.

#include <cstddef>

namespace tandem::graph {

constexpr std::size_t kLineBytes = 64;

/// Asks for the cache lines of [from, from + bytes), bytes > 0. Nothing is read: any address will do.
/// always_inline is not a matter of taste: a function that only prefetches is "pure" to GCC 12, which deletes the call where
/// it does not inline it. scripts/check counts the instructions that are left.
[[gnu::always_inline]] inline void Prefetch(const void* from, std::size_t bytes) noexcept {
  const auto* line = static_cast<const char*>(from);
  const char* last = line + bytes - 1;
  for (; line < last; line += kLineBytes) __builtin_prefetch(line);
  __builtin_prefetch(last);
}

}  // namespace tandem::graph
