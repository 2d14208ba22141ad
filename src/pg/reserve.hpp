#pragma once
// Arrays that grow in a memory context.

#include "pg/pg.hpp"

namespace tandem::pg {

/// Doubles an array that is full, where it is. Plain data only.
template <typename T, typename Count>
void ReserveOneMore(T** items, Count count, Count* room) {
  if (likely(count < *room)) return;
  *room *= 2;
  *items = static_cast<T*>(repalloc_huge(*items, static_cast<Size>(*room) * sizeof(T)));
}

/// The same of one that may not be there yet (nullptr), and is made in `context` then.
template <typename T, typename Count>
void ReserveOneMore(MemoryContext context, T** items, Count count, Count* room) {
  if (unlikely(*items == nullptr)) {
    *room = 64;
    *items = static_cast<T*>(MemoryContextAlloc(context, static_cast<Size>(*room) * sizeof(T)));
  }
  ReserveOneMore(items, count, room);
}

}  // namespace tandem::pg
