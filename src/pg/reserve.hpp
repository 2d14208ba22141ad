#pragma once
// Arrays that grow in a memory context.

#include "pg/compat.hpp"

namespace tandem::pg {

/// Doubles an array of `context` that is full. nullptr: an empty one. Plain data only.
template <typename T, typename Count>
void ReserveOneMore(MemoryContext context, T** items, Count count, Count* room) {
  if (likely(count < *room)) return;
  *room = Max(2 * *room, Count{64});
  const Size bytes = static_cast<Size>(*room) * sizeof(T);
  *items = static_cast<T*>(*items == nullptr ? MemoryContextAllocHuge(context, bytes)
                                             : repalloc_huge(*items, bytes));
}

}  // namespace tandem::pg
