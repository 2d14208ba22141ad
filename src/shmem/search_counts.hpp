#pragma once
// How indexes are searched: how often, by filters or not, how long that takes, and how much of it was in memory. Of the indexes that
// were searched last; numbers in shared memory of fixed size, lost when the server ends. Exists only if the library was preloaded.
//
// A search adds to a stripe of its process, so that those who search at once seldom write to the same cache line. No lock.

#include "pg/pg.hpp"

extern "C" {
#include "datatype/timestamp.h"
}

namespace tandem::shmem {

/// What one search did.
struct SearchSample {
  bool is_filtered;
  uint64 filters_asked;  ///< native indexes scanned for its filter
  uint64 reads;          ///< codes compared, lists of links followed
  uint64 reads_from_pages;
  bool is_timed;
  double microseconds;  ///< if is_timed
};

/// True if the caller had better call SetSiblings(): once in a while.
[[nodiscard]] bool CountSearch(Oid index, const SearchSample& sample);

/// A native index was scanned for a filter, but by no search. Counts only for an index that is searched.
void CountFilterAsked(Oid index);

/// Sums since the server started, or since ResetSearchCounts().
struct SearchCounts {
  Oid database;
  Oid index;
  uint64 searches;
  uint64 filtered;
  uint64 filters_asked;
  uint64 reads;
  uint64 reads_from_pages;
  uint64 timed;    ///< a sample of the searches
  double mean_us;  ///< of those
  double p99_us;   ///< within an eighth
};

/// False if nobody searched it, or that was long ago.
[[nodiscard]] bool ReadSearchCounts(Oid index, SearchCounts* counts);
constexpr int kMostCounted = 256;
/// Of all databases; returns how many.
[[nodiscard]] int ReadAllSearchCounts(SearchCounts to[kMostCounted]);

/// Of this database; one index, or all of them for InvalidOid.
void ResetSearchCounts(Oid index);
/// Of databases that were dropped.
void ForgetSearchCounts(Oid database);

// ---- The native indexes beside one of ours, whose scans tell of queries by conditions alone ----

constexpr int kMostSiblings = 14;
struct Siblings {
  Oid indexes[kMostSiblings];
  int count;
};
void SetSiblings(Oid index, const Siblings& siblings);
/// False if nothing is known of the index.
[[nodiscard]] bool ReadSiblings(Oid database, Oid index, Siblings* siblings);

}  // namespace tandem::shmem
