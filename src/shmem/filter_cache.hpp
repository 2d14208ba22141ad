#pragma once
// Sets of rows that filters admit, shared by all sessions. What they are of, and when they are right, is the caller's business;
// here they are ordinals that belong to a key and an id.
//
// In frames of tandem.memory_budget (frame_pool.hpp). Losing any of it costs time only. Exists only if the library was preloaded, and the budget is large enough.

#include "pg/pg.hpp"

#include "shmem/filter_directory.hpp"

namespace tandem::shmem {

[[nodiscard]] bool FilterCacheExists();

/// From now on this process looks for sets, and makes them, that nobody has asked for: it does not count as a load, and takes
/// nobody's memory who is worth more than a set that was asked for once.
void MakeFilterSetsAhead();

/// Longer keys are looked up in vain, and nothing is kept for them.
constexpr uint32 kLargestFilterKey = 8192;

/// A key of this database. The bytes stay the caller's, and must stay where they are.
[[nodiscard]] FilterKey MakeFilterKey(const char* bytes, uint32 size);

/// A pin's number, which is never used again in this process.
constexpr uint64 kNoPin = 0;

/// A set in shared memory, pinned by this process.
struct PinnedSet {
  uint64 pin = kNoPin;
  FilterSetAge age = {};  ///< as published
  base::OrdinalSet set;   ///< borrowed
};

/// Finds a set, and pins it: it stays what and where it is until UnpinFilterSet(), or the end of the resource owner that is
/// current now, as pins of buffers do: of the portal, if a cursor's query pins it, whatever becomes of subtransactions
/// meanwhile. False if there is none. May be out of private memory, which is an error.
[[nodiscard]] bool PinFilterSet(const FilterKey& key, const FilterSetId& id, PinnedSet* result);
/// `set` must not be looked at any more. Does nothing for a pin whose resource owner has ended: memory that refers to a set may go
/// later than that. Never fails.
void UnpinFilterSet(uint64 pin);

/// Keeps a copy of a frozen set. It takes the place of an older one of the same key and id, which those who have pinned it keep. Does
/// nothing if there is one as new, or no memory can be had, which is never an error. cost_us: what it took to make it; 0: not known.
/// made_from: another set of the key, which whoever asks for this one has found.
void PublishFilterSet(const FilterKey& key, const FilterSetId& id, const FilterSetAge& age,
                      const base::OrdinalSet& set, float cost_us = 0, const FilterSetId* made_from = nullptr);

/// For graphs, which have found no frame: gives frames up, if what graphs would give up themselves is worth more. True if one is free.
[[nodiscard]] bool FiltersGiveWay(double graph_utility);

/// A key whose sets are worth something.
struct HotFilter {
  Oid database;
  uint32 size;  ///< of its bytes
  float worth_us;
  uint32 at;  ///< where they are
};

/// Of all databases, those whose sets are worth most, the hottest first: no more than `most`, nor than there is room for their bytes.
/// Returns how many. In no transaction, too: an error is one of memory.
[[nodiscard]] uint32 ListHotFilters(HotFilter* to, uint32 most, char* bytes, Size room);

/// All sets of a database.
void ForgetFilterSetsOf(Oid database);

/// Of hits, misses and evictions.
void ResetFilterCacheCounts();

/// Zeros if there is no cache.
[[nodiscard]] FilterCacheStatus ReadFilterCacheStatus();

}  // namespace tandem::shmem
