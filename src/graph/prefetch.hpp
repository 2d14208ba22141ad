#pragma once
// Asking for memory ahead of its use.

#include <cstddef>
#include <cstdint>

namespace tandem::graph {

constexpr std::size_t kLineBytes = 64;
/// So many lines at a place, and more, are asked into the second-level cache.
constexpr std::size_t kManyLines = 4;

/// Asks for the cache lines of [from, from + bytes), bytes > 0. Nothing is read: any address will do.
/// A core waits for a few dozen lines into its first-level cache at once, and then stops: for twenty codes of a dozen lines
/// each, asking the second level takes half of the time. Codes of two lines are no faster that way, and on some pages slower.
/// always_inline is not a matter of taste: a function that only prefetches is "pure" to GCC 12, which deletes the call where
/// it does not inline it. scripts/check counts the instructions that are left.
[[gnu::always_inline]] inline void Prefetch(const void* from, std::size_t bytes) noexcept {
  const auto* first = static_cast<const char*>(from);
  const char* end = first + bytes;
  const char* line = first - reinterpret_cast<std::uintptr_t>(first) % kLineBytes;  // none is asked for twice
  if (bytes >= kManyLines * kLineBytes) {
    for (; line < end; line += kLineBytes) __builtin_prefetch(line, 0, 2);
  } else {
    for (; line < end; line += kLineBytes) __builtin_prefetch(line);
  }
}

/// The same into the second level, whatever their number: for who knows long before what will be read.
[[gnu::always_inline]] inline void PrefetchFar(const void* from, std::size_t bytes) noexcept {
  const auto* first = static_cast<const char*>(from);
  const char* end = first + bytes;
  const char* line = first - reinterpret_cast<std::uintptr_t>(first) % kLineBytes;
  for (; line < end; line += kLineBytes) __builtin_prefetch(line, 0, 2);
}

}  // namespace tandem::graph
