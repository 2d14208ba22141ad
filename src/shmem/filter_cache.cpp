#include "pg/pg.hpp"

#include "shmem/filter_cache.hpp"

#include "pg/let_go.hpp"
#include "pg/settings.hpp"
#include "pg/stop_point.hpp"
#include "shmem/budget.hpp"

extern "C" {
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/dsa.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
}

namespace tandem::shmem {

namespace {

constexpr char kName[] = "tandem filter cache";

// Set once, when the memory is attached. lock: nullptr: no cache. The same name serves the allocator's locks.
LWLock* lock = nullptr;
char* area_place = nullptr;
dsa_area* area = nullptr;  ///< of this process; nullptr: not used yet

/// The server's as FilterDirectory wants it. Of its allocator, the variants that return when there is no memory: what else may be
/// raised there says that memory is damaged. Its locks are taken under ours, and nothing is taken under them.
struct ServerHost {
  static void LockShared() { LWLockAcquire(lock, LW_SHARED); }
  static void LockExclusive() { LWLockAcquire(lock, LW_EXCLUSIVE); }
  static void Unlock() { LWLockRelease(lock); }
  static uint64 Allocate(std::size_t bytes) {
    return dsa_allocate_extended(area, bytes, DSA_ALLOC_HUGE | DSA_ALLOC_NO_OOM);
  }
  static void Free(uint64 at) { dsa_free(area, at); }
  static char* Address(uint64 at) { return static_cast<char*>(dsa_get_address(area, at)); }
};

using Directory = FilterDirectory<ServerHost>;

Directory directory;

shmem_request_hook_type next_request_hook;
shmem_startup_hook_type next_startup_hook;

// ---- The memory: the directory, then the allocator's area ----

uint64 CacheBytes() {
  return FilterCacheBytes(static_cast<uint64>(pg::CurrentSettings().memory_budget_kb) * 1024);
}

Size AreaOffset() {
  return TYPEALIGN(PG_CACHE_LINE_SIZE, Directory::SharedBytes(Directory::BucketsFor(CacheBytes())));
}

void RequestMemory() {
  if (next_request_hook != nullptr) next_request_hook();
  if (CacheBytes() == 0) return;
  RequestAddinShmemSpace(CacheBytes());
  RequestNamedLWLockTranche(kName, 1);
}

/// In the postmaster, which uses it no further. The area is as large as it may ever become: the allocator never asks the
/// operating system for more.
void MakeArea() {
  const Size bytes = CacheBytes() - AreaOffset();
  dsa_area* made = dsa_create_in_place(area_place, bytes, lock->tranche, nullptr);
  dsa_pin(made);
  dsa_set_size_limit(made, bytes);
  dsa_detach(made);
  directory.Init(Directory::BucketsFor(CacheBytes()), CacheBytes());
}

/// Also after a crash, in a postmaster that goes on: the memory is then new.
void AttachMemory() {
  if (next_startup_hook != nullptr) next_startup_hook();
  if (CacheBytes() == 0) return;
  bool found;
  LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
  auto* memory = static_cast<char*>(ShmemInitStruct(kName, CacheBytes(), &found));
  lock = &GetNamedLWLockTranche(kName)->lock;
  area_place = memory + AreaOffset();
  directory = Directory(reinterpret_cast<Directory::Shared*>(memory), ServerHost());
  if (!found) MakeArea();
  LWLockRelease(AddinShmemInitLock);
}

// ---- What this process has pinned ----

struct MyPin {
  uint64 number;
  CachedSet* set;
  ResourceOwner owner;
};

MyPin* my_pins = nullptr;  ///< in TopMemoryContext
uint32 my_pin_count = 0;
uint32 my_pin_room = 0;
uint64 last_pin = kNoPin;

template <typename Predicate>
void UnpinWhere(Predicate matches) {
  for (uint32 i = my_pin_count; i-- > 0;) {
    if (!matches(my_pins[i])) continue;
    CachedSet* set = my_pins[i].set;
    my_pins[i] = my_pins[--my_pin_count];
    directory.Unpin(set);
  }
}

/// A resource owner ends: of a portal, a subtransaction, a transaction.
void AtRelease(ResourceReleasePhase phase, bool /*is_commit*/, bool /*is_top_level*/, void* /*arg*/) {
  if (phase != RESOURCE_RELEASE_BEFORE_LOCKS || my_pin_count == 0) return;
  UnpinWhere([](const MyPin& pin) { return pin.owner == CurrentResourceOwner; });
}

/// At the end of a transaction or of the process: also what was pinned without a resource owner. Not of a subtransaction: a cursor of
/// an outer one may have pinned sets in it, and goes on.
void LetGo(SubTransactionId since) {
  if (since != InvalidSubTransactionId) return;
  UnpinWhere([](const MyPin&) { return true; });
}

constexpr pg::Holder kHolder = {LetGo};

/// Before the first use in a process.
void Prepare() {
  if (area != nullptr) return;
  const MemoryContext caller = MemoryContextSwitchTo(TopMemoryContext);
  area = dsa_attach_in_place(area_place, nullptr);
  MemoryContextSwitchTo(caller);
  dsa_pin_mapping(area);
  // Pins are given back before: callbacks of this kind come after those of before_shmem_exit.
  on_shmem_exit(dsa_on_shmem_exit_release_in_place, PointerGetDatum(area_place));
  RegisterResourceReleaseCallback(AtRelease, nullptr);
  pg::WatchEnds(kHolder);
}

/// Room for one more, so that nothing can fail once a set is pinned.
void MakeRoomForPin() {
  if (my_pin_count < my_pin_room) return;
  const uint32 room = Max(64, my_pin_room * 2);
  my_pins =
      static_cast<MyPin*>(my_pins == nullptr ? MemoryContextAlloc(TopMemoryContext, sizeof(MyPin) * room)
                                             : repalloc(my_pins, sizeof(MyPin) * room));
  my_pin_room = room;
}

}  // namespace

void RegisterFilterCache() {
  next_request_hook = shmem_request_hook;
  shmem_request_hook = RequestMemory;
  next_startup_hook = shmem_startup_hook;
  shmem_startup_hook = AttachMemory;
}

bool FilterCacheExists() {
  return lock != nullptr;
}

FilterKey MakeFilterKey(const char* bytes, uint32 size) {
  const uint64 hash =
      pg::IsSwitchedOn("filter-hash-collides")
          ? 0
          : hash_bytes_extended(reinterpret_cast<const unsigned char*>(bytes), static_cast<int>(size), 0);
  return {bytes, size, MyDatabaseId, hash};
}

bool PinFilterSet(const FilterKey& key, const FilterSetId& id, PinnedSet* result) {
  if (!FilterCacheExists() || key.size > kLargestFilterKey) return false;
  Prepare();
  MakeRoomForPin();
  CachedSet* set = directory.Pin(key, id);
  if (set == nullptr) return false;
  my_pins[my_pin_count++] = {++last_pin, set, CurrentResourceOwner};
  result->pin = last_pin;
  result->age = set->age;
  result->set = set->Ordinals();
  pg::StopPoint("filter-set-pinned");
  return true;
}

void UnpinFilterSet(uint64 pin) {
  UnpinWhere([pin](const MyPin& mine) { return mine.number == pin; });
}

void PublishFilterSet(const FilterKey& key, const FilterSetId& id, const FilterSetAge& age,
                      const base::OrdinalSet& set) {
  if (!FilterCacheExists() || key.size > kLargestFilterKey) return;
  Prepare();
  pg::StopPoint("filter-set-publishing");
  directory.Publish(key, id, age, set);
}

void ForgetFilterSetsOf(Oid database) {
  if (!FilterCacheExists()) return;
  Prepare();
  directory.Forget(database);
}

FilterCacheStatus ReadFilterCacheStatus() {
  if (!FilterCacheExists()) return {};
  return directory.ReadStatus();
}

}  // namespace tandem::shmem
