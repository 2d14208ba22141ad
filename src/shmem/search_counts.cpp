#include "pg/compat.hpp"

#include "shmem/search_counts.hpp"

#include "pg/settings.hpp"
#include "shmem/clock.hpp"
#include "shmem/latency_histogram.hpp"
#include "shmem/parts.hpp"

extern "C" {
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
}

namespace tandem::shmem {

namespace {

constexpr char kName[] = "tandem search counts";

// Searchers with numbers of the same remainder share a stripe.
constexpr uint32 kStripes = 8;

/// A: all of it is added to without a lock.
struct alignas(PG_CACHE_LINE_SIZE) Stripe {
  pg_atomic_uint64 searches;
  pg_atomic_uint64 filtered;
  pg_atomic_uint64 filters_asked;
  pg_atomic_uint64 reads;
  pg_atomic_uint64 reads_from_pages;
  pg_atomic_uint64 timed;
  pg_atomic_uint64 nanoseconds;
  pg_atomic_uint32 latencies[kLatencyBuckets];
};

struct Slot {
  pg_atomic_uint64 key;          ///< A, written under the lock: KeyOf(database, index); 0: free
  pg_atomic_uint32 used_at;      ///< A: a second of Now(), about
  Siblings siblings;             ///< L
  pg_atomic_uint32 siblings_at;  ///< A: when somebody last set out to list them; 0: never
  Stripe stripes[kStripes];
};

struct CountsMemory {
  LWLock* lock;  ///< taken to give a slot to an index, and to read all
  Slot slots[kMostCounted];
};

CountsMemory* memory = nullptr;

void InitSlot(Slot* slot) {
  pg_atomic_init_u64(&slot->key, 0);
  pg_atomic_init_u32(&slot->used_at, 0);
  pg_atomic_init_u32(&slot->siblings_at, 0);
  slot->siblings = {};
  for (Stripe& stripe : slot->stripes) {
    for (pg_atomic_uint64* count : {&stripe.searches, &stripe.filtered, &stripe.filters_asked, &stripe.reads,
                                    &stripe.reads_from_pages, &stripe.timed, &stripe.nanoseconds})
      pg_atomic_init_u64(count, 0);
    for (pg_atomic_uint32& count : stripe.latencies) pg_atomic_init_u32(&count, 0);
  }
}

void Request() {
  RequestAddinShmemSpace(sizeof(CountsMemory));
  RequestNamedLWLockTranche(kName, 1);
}

void Attach() {
  bool found;
  memory = static_cast<CountsMemory*>(ShmemInitStruct(kName, sizeof(CountsMemory), &found));
  if (found) return;
  memory->lock = &GetNamedLWLockTranche(kName)->lock;
  for (Slot& slot : memory->slots) InitSlot(&slot);
}

uint64 KeyOf(Oid database, Oid index) {
  return uint64{database} << 32 | index;
}

void Clear(Slot* slot) {
  for (Stripe& stripe : slot->stripes) {
    for (pg_atomic_uint64* count : {&stripe.searches, &stripe.filtered, &stripe.filters_asked, &stripe.reads,
                                    &stripe.reads_from_pages, &stripe.timed, &stripe.nanoseconds})
      pg_atomic_write_u64(count, 0);
    for (pg_atomic_uint32& count : stripe.latencies) pg_atomic_write_u32(&count, 0);
  }
}

/// nullptr if the index has none.
Slot* FindSlot(uint64 key) {
  for (Slot& slot : memory->slots)
    if (pg_atomic_read_u64(&slot.key) == key) return &slot;
  return nullptr;
}

/// With the lock held: a free one, or the one that was searched longest ago.
Slot* TakeSlot(uint64 key) {
  Slot* slot = FindSlot(key);
  if (slot != nullptr) return slot;
  for (Slot& candidate : memory->slots) {
    if (slot == nullptr || pg_atomic_read_u32(&candidate.used_at) < pg_atomic_read_u32(&slot->used_at))
      slot = &candidate;
    if (pg_atomic_read_u64(&candidate.key) == 0) {
      slot = &candidate;
      break;
    }
  }
  Clear(slot);
  slot->siblings = {};
  pg_atomic_write_u32(&slot->siblings_at, 0);
  pg_atomic_write_u32(&slot->used_at, Now());
  pg_atomic_write_u64(&slot->key, key);
  return slot;
}

// Indexes may have come and gone since they were listed.
constexpr uint32 kSiblingsSeconds = 60;

/// True for one caller in a while.
bool AreSiblingsOld(Slot* slot, uint32 now) {
  uint32 listed_at = pg_atomic_read_u32(&slot->siblings_at);
  return (listed_at == 0 || now > listed_at + kSiblingsSeconds) &&
         pg_atomic_compare_exchange_u32(&slot->siblings_at, &listed_at, now);
}

/// Where this process found the index it counted last.
Slot* last_slot = nullptr;

Slot* SlotOf(Oid index) {
  const uint64 key = KeyOf(MyDatabaseId, index);
  if (last_slot != nullptr && pg_atomic_read_u64(&last_slot->key) == key) return last_slot;
  last_slot = FindSlot(key);
  if (last_slot == nullptr) {
    LWLockAcquire(memory->lock, LW_EXCLUSIVE);
    last_slot = TakeSlot(key);
    LWLockRelease(memory->lock);
  }
  return last_slot;
}

void Add(pg_atomic_uint64* count, uint64 more) {
  if (more > 0) pg_atomic_fetch_add_u64(count, static_cast<int64>(more));
}

SearchCounts SumOf(Slot* slot) {
  const uint64 key = pg_atomic_read_u64(&slot->key);
  SearchCounts counts = {};
  counts.database = static_cast<Oid>(key >> 32);
  counts.index = static_cast<Oid>(key);
  uint64 nanoseconds = 0;
  std::uint64_t latencies[kLatencyBuckets] = {};
  for (Stripe& stripe : slot->stripes) {
    counts.searches += pg_atomic_read_u64(&stripe.searches);
    counts.filtered += pg_atomic_read_u64(&stripe.filtered);
    counts.filters_asked += pg_atomic_read_u64(&stripe.filters_asked);
    counts.reads += pg_atomic_read_u64(&stripe.reads);
    counts.reads_from_pages += pg_atomic_read_u64(&stripe.reads_from_pages);
    counts.timed += pg_atomic_read_u64(&stripe.timed);
    nanoseconds += pg_atomic_read_u64(&stripe.nanoseconds);
    for (uint32 i = 0; i < kLatencyBuckets; i++) latencies[i] += pg_atomic_read_u32(&stripe.latencies[i]);
  }
  if (counts.timed > 0)
    counts.mean_us = static_cast<double>(nanoseconds) / 1e3 / static_cast<double>(counts.timed);
  counts.p99_us = LatencyQuantile(latencies, 0.99);
  return counts;
}

/// Calls body(Slot*) with each that has an index, under the lock.
template <typename Body>
void ForEachSlot(Body body) {
  LWLockAcquire(memory->lock, LW_EXCLUSIVE);
  for (Slot& slot : memory->slots)
    if (pg_atomic_read_u64(&slot.key) != 0) body(&slot);
  LWLockRelease(memory->lock);
}

}  // namespace

const Part kSearchCountsPart = {Request, Attach};

bool CountSearch(Oid index, const SearchSample& sample) {
  if (memory == nullptr || !pg::CurrentSettings().track_query_patterns) return false;
  Slot* slot = SlotOf(index);
  const uint32 now = Now();
  if (pg_atomic_read_u32(&slot->used_at) != now) pg_atomic_write_u32(&slot->used_at, now);
  Stripe* stripe = &slot->stripes[pg::ProcessNumber() % kStripes];
  Add(&stripe->searches, 1);
  Add(&stripe->filtered, sample.is_filtered ? 1 : 0);
  Add(&stripe->filters_asked, sample.filters_asked);
  Add(&stripe->reads, sample.reads);
  Add(&stripe->reads_from_pages, sample.reads_from_pages);
  if (!sample.is_timed) return AreSiblingsOld(slot, now);
  Add(&stripe->timed, 1);
  Add(&stripe->nanoseconds, static_cast<uint64>(sample.microseconds * 1e3));
  pg_atomic_fetch_add_u32(&stripe->latencies[LatencyBucketOf(sample.microseconds)], 1);
  return AreSiblingsOld(slot, now);
}

void CountFilterAsked(Oid index) {
  if (memory == nullptr || !pg::CurrentSettings().track_query_patterns) return;
  Slot* slot = FindSlot(KeyOf(MyDatabaseId, index));
  if (slot != nullptr) Add(&slot->stripes[pg::ProcessNumber() % kStripes].filters_asked, 1);
}

bool ReadSearchCounts(Oid index, SearchCounts* counts) {
  Slot* slot = memory == nullptr ? nullptr : FindSlot(KeyOf(MyDatabaseId, index));
  if (slot == nullptr) return false;
  *counts = SumOf(slot);
  return counts->index == index;
}

int ReadAllSearchCounts(SearchCounts to[kMostCounted]) {
  int count = 0;
  if (memory != nullptr) ForEachSlot([to, &count](Slot* slot) { to[count++] = SumOf(slot); });
  return count;
}

void ResetSearchCounts(Oid index) {
  if (memory == nullptr) return;
  ForEachSlot([index](Slot* slot) {
    const uint64 key = pg_atomic_read_u64(&slot->key);
    if (key >> 32 == MyDatabaseId && (index == InvalidOid || static_cast<Oid>(key) == index)) Clear(slot);
  });
}

void ForgetSearchCounts(Oid database) {
  if (memory == nullptr) return;
  ForEachSlot([database](Slot* slot) {
    if (pg_atomic_read_u64(&slot->key) >> 32 == database) pg_atomic_write_u64(&slot->key, 0);
  });
}

void SetSiblings(Oid index, const Siblings& siblings) {
  if (memory == nullptr) return;
  LWLockAcquire(memory->lock, LW_EXCLUSIVE);
  Slot* slot = FindSlot(KeyOf(MyDatabaseId, index));
  if (slot != nullptr) slot->siblings = siblings;
  LWLockRelease(memory->lock);
}

bool ReadSiblings(Oid database, Oid index, Siblings* siblings) {
  if (memory == nullptr) return false;
  LWLockAcquire(memory->lock, LW_SHARED);
  const Slot* slot = FindSlot(KeyOf(database, index));
  if (slot != nullptr) *siblings = slot->siblings;
  LWLockRelease(memory->lock);
  return slot != nullptr;
}

}  // namespace tandem::shmem
