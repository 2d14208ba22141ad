#include "pg/pg.hpp"

#include "shmem/heat.hpp"

#include <algorithm>

#include "shmem/graph_cache.hpp"
#include "shmem/parts.hpp"

extern "C" {
#include "miscadmin.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
}

namespace tandem::shmem {

namespace {

constexpr char kName[] = "tandem heat";

/// A database whose workers have begun to make sets again.
struct Remaking {
  Oid database;
  bool is_refused;
  TimestampTz wish;  ///< the last one for which they have
};

constexpr uint32 kMostRemade = 256;

struct HeatMemory {
  LWLock* lock;
  bool is_set;                   ///< L
  uint32 count;                  ///< L
  IndexHeat heats[kMostHeats];   ///< L
  uint32 remade_count;           ///< L
  Remaking remade[kMostRemade];  ///< L
};

HeatMemory* memory = nullptr;

void Request() {
  RequestAddinShmemSpace(sizeof(HeatMemory));
  RequestNamedLWLockTranche(kName, 1);
}

void Attach() {
  bool found;
  memory = static_cast<HeatMemory*>(ShmemInitStruct(kName, sizeof(HeatMemory), &found));
  if (found) return;
  memory->lock = &GetNamedLWLockTranche(kName)->lock;
  memory->is_set = false;
  memory->count = 0;
  memory->remade_count = 0;
}

IndexHeat* FindHeat(IndexHeat* heats, uint32 count, Oid database, Oid tablespace, Oid file) {
  for (uint32 i = 0; i < count; i++)
    if (heats[i].file == file && heats[i].database == database && heats[i].tablespace == tablespace)
      return &heats[i];
  return nullptr;
}

/// Of this database, with the lock held; nullptr if there is none.
Remaking* FindRemaking() {
  for (uint32 i = 0; i < memory->remade_count; i++)
    if (memory->remade[i].database == MyDatabaseId) return &memory->remade[i];
  return nullptr;
}

}  // namespace

const Part kHeatPart = {Request, Attach};

uint32 ListHeats(IndexHeat to[kMostHeats]) {
  auto* segments =
      static_cast<CachedSegmentStatus*>(palloc(sizeof(CachedSegmentStatus) * kMostCachedSegments));
  const uint32 segment_count = Min(ReadGraphCacheStatus(segments, kMostCachedSegments), kMostCachedSegments);
  uint32 count = 0;
  for (uint32 i = 0; i < segment_count; i++) {
    const SegmentKey& key = segments[i].key;
    IndexHeat* heat = FindHeat(to, count, key.database, key.tablespace, key.file_node);
    if (heat == nullptr && count < kMostHeats) {
      heat = &to[count++];
      *heat = {key.database, key.tablespace, key.file_node, 0};
    }
    if (heat != nullptr)
      heat->utility += segments[i].uses * segments[i].load_us * static_cast<float>(segments[i].cached_chunks);
  }
  pfree(segments);
  std::sort(to, to + count, [](const IndexHeat& a, const IndexHeat& b) { return a.utility > b.utility; });
  return count;
}

void SetPastHeats(const IndexHeat* heats, uint32 count) {
  if (memory == nullptr) return;
  LWLockAcquire(memory->lock, LW_EXCLUSIVE);
  memory->is_set = true;
  memory->count = Min(count, kMostHeats);
  std::copy_n(heats, memory->count, memory->heats);
  LWLockRelease(memory->lock);
}

uint32 ReadPastHeats(IndexHeat to[kMostHeats]) {
  if (memory == nullptr) return 0;
  LWLockAcquire(memory->lock, LW_SHARED);
  const uint32 count = memory->count;
  std::copy_n(memory->heats, count, to);
  LWLockRelease(memory->lock);
  return count;
}

bool HasPastHeats() {
  if (memory == nullptr) return true;
  LWLockAcquire(memory->lock, LW_SHARED);
  const bool is_set = memory->is_set;
  LWLockRelease(memory->lock);
  return is_set;
}

float PastHeatOf(Oid tablespace, Oid file) {
  if (memory == nullptr) return 0;
  LWLockAcquire(memory->lock, LW_SHARED);
  const IndexHeat* heat = FindHeat(memory->heats, memory->count, MyDatabaseId, tablespace, file);
  const float utility = heat == nullptr ? 0 : heat->utility;
  LWLockRelease(memory->lock);
  return utility;
}

bool BeginRemaking(TimestampTz wish) {
  if (memory == nullptr) return false;
  LWLockAcquire(memory->lock, LW_EXCLUSIVE);
  const bool is_first = FindRemaking() == nullptr && memory->remade_count < kMostRemade;
  if (is_first) memory->remade[memory->remade_count++] = {MyDatabaseId, false, wish};
  LWLockRelease(memory->lock);
  return is_first;
}

bool BeginRemakingFor(TimestampTz wish) {
  if (memory == nullptr || wish == 0) return false;
  LWLockAcquire(memory->lock, LW_EXCLUSIVE);
  Remaking* remaking = FindRemaking();
  const bool is_first = remaking != nullptr && remaking->wish < wish;
  if (is_first) remaking->wish = wish;
  LWLockRelease(memory->lock);
  return is_first;
}

void RefuseRemaking() {
  if (memory == nullptr) return;
  LWLockAcquire(memory->lock, LW_EXCLUSIVE);
  Remaking* remaking = FindRemaking();
  if (remaking != nullptr) remaking->is_refused = true;
  LWLockRelease(memory->lock);
}

bool IsRemakingRefused() {
  if (memory == nullptr) return true;
  LWLockAcquire(memory->lock, LW_SHARED);
  const Remaking* remaking = FindRemaking();
  const bool is_refused = remaking == nullptr || remaking->is_refused;
  LWLockRelease(memory->lock);
  return is_refused;
}

}  // namespace tandem::shmem
