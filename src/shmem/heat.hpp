#pragma once
// Which indexes were searched most before the server ended: in whose order caches are filled again. Numbers only; nothing here is
// needed for being right.

#include "pg/pg.hpp"

namespace tandem::shmem {

/// What an index's graphs and tail in memory were worth: uses × cost to bring back.
struct IndexHeat {
  Oid database;
  Oid tablespace;
  Oid file;
  float utility;
};

constexpr uint32 kMostHeats = 256;

/// Of all indexes that have something in memory, the hottest first. Returns how many.
[[nodiscard]] uint32 ListHeats(IndexHeat to[kMostHeats]);

/// From before the start. Until somebody sets them there are none.
void SetPastHeats(const IndexHeat* heats, uint32 count);
[[nodiscard]] uint32 ReadPastHeats(IndexHeat to[kMostHeats]);
/// True once they were set.
[[nodiscard]] bool HasPastHeats();

/// Of an index of this database; 0 if nothing is known.
[[nodiscard]] float PastHeatOf(Oid tablespace, Oid file);

// ---- Sets of filters that are made again, in this database, since the server started ----

/// True for the first who asks: whoever comes later, maybe in another process, finds that it was done. wish: what may be wished for filters
/// now (balance.hpp), which is fulfilled thereby.
[[nodiscard]] bool BeginRemaking(TimestampTz wish);
/// After that: true for the first who asks because of this wish.
[[nodiscard]] bool BeginRemakingFor(TimestampTz wish);
/// None are made any more.
void RefuseRemaking();
[[nodiscard]] bool IsRemakingRefused();

}  // namespace tandem::shmem
