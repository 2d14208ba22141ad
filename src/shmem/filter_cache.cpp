#include "pg/pg.hpp"

#include "shmem/filter_cache.hpp"

#include <algorithm>

#include "pg/let_go.hpp"
#include "pg/settings.hpp"
#include "pg/stop_point.hpp"
#include "shmem/budget.hpp"
#include "shmem/clock.hpp"
#include "shmem/filter_memory.hpp"
#include "shmem/frame_pool.hpp"
#include "shmem/graph_cache.hpp"
#include "shmem/parts.hpp"

extern "C" {
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
}

namespace tandem::shmem {

namespace {

constexpr char kName[] = "tandem filter cache";

// Set once, when the memory is attached. nullptr: no cache.
LWLock* lock = nullptr;

bool is_ahead = false;

// The heads of its buckets take half a percent of a quarter of the budget.
constexpr uint64 kPartForBuckets = 4;

uint64 AllocateOrAsk(std::size_t bytes, double worth);

/// The server's as FilterDirectory wants it. The pool's lock is taken under ours, or without it, and nothing is taken under that.
struct ServerHost {
  static void LockShared() { LWLockAcquire(lock, LW_SHARED); }
  static void LockExclusive() { LWLockAcquire(lock, LW_EXCLUSIVE); }
  static void Unlock() { LWLockRelease(lock); }
  static uint64 Allocate(std::size_t bytes, double worth) { return AllocateOrAsk(bytes, worth); }
  static void Free(uint64 at) { FreePiece(at); }
  static char* Address(uint64 at) { return PieceAddress(at); }
  static bool AreTogether(uint64 a, uint64 b) { return FilterMemory::AreInOneFrame(a, b); }
  static uint64 BytesTotal() { return ReadShares().filter.target * kFrameBytes; }
  static policy::BudgetMode Mode() { return ModeOfBudget(); }
  static uint32 Now() { return shmem::Now(); }
  static bool IsAhead() { return is_ahead; }
};

using Directory = FilterDirectory<ServerHost>;

Directory directory;

/// Without our lock: graphs may have to be asked, under theirs. They give way to what is worth less than they are for no better reason than
/// that other sets are worth more.
uint64 AllocateOrAsk(std::size_t bytes, double worth) {
  const uint64 at = AllocatePiece(bytes);
  if (at != 0) return at;
  const Giving giving = GraphsGiveWay(bytes, Min(directory.LeastUtility(), worth));
  const uint64 at_last = giving == Giving::kCleared ? AllocatePiece(bytes) : 0;
  if (at_last != 0 || giving == Giving::kNothing) return at_last;
  return Directory::kComing;
}

// ---- The memory: the directory; what it holds lies in frames ----

uint64 BudgetBytes() {
  return static_cast<uint64>(pg::CurrentSettings().memory_budget_kb) * 1024;
}

Size DirectoryBytes() {
  return Directory::SharedBytes(Directory::BucketsFor(BudgetBytes() / kPartForBuckets));
}

void Request() {
  if (!HasFilterCache(BudgetBytes())) return;
  RequestAddinShmemSpace(DirectoryBytes());
  RequestNamedLWLockTranche(kName, 1);
}

void Attach() {
  if (!HasFilterCache(BudgetBytes())) return;
  bool found;
  void* memory = ShmemInitStruct(kName, DirectoryBytes(), &found);
  lock = &GetNamedLWLockTranche(kName)->lock;
  directory = Directory(static_cast<Directory::Shared*>(memory), ServerHost());
  if (!found) directory.Init(Directory::BucketsFor(BudgetBytes() / kPartForBuckets));
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

// ---- What is hot ----

/// Sets of a key together, the hottest key first.
uint32 JoinByKey(UsedKey* used, uint32 count) {
  const auto is_before = [](const UsedKey& a, const UsedKey& b) {
    return a.database != b.database ? a.database < b.database : a.hash < b.hash;
  };
  std::sort(used, used + count, is_before);
  uint32 keys = 0;
  for (uint32 i = 0; i < count; i++) {
    if (keys > 0 && !is_before(used[keys - 1], used[i]))
      used[keys - 1].worth_us += used[i].worth_us;
    else
      used[keys++] = used[i];
  }
  std::sort(used, used + keys, [](const UsedKey& a, const UsedKey& b) { return a.worth_us > b.worth_us; });
  return keys;
}

/// Before the first use in a process.
void Prepare() {
  static bool prepared = false;
  if (prepared) return;
  prepared = true;
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

const Part kFilterCachePart = {Request, Attach};

bool FilterCacheExists() {
  return lock != nullptr;
}

void MakeFilterSetsAhead() {
  is_ahead = true;
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
                      const base::OrdinalSet& set, float cost_us, const FilterSetId* made_from) {
  if (!FilterCacheExists() || key.size > kLargestFilterKey) return;
  pg::StopPoint("filter-set-publishing");
  directory.Publish(key, id, age, set, cost_us, made_from);
}

uint32 ListHotFilters(HotFilter* to, uint32 most, char* bytes, Size room) {
  if (!FilterCacheExists()) return 0;
  // Others may come meanwhile, which are not hot.
  const auto used_room = static_cast<uint32>(directory.ReadStatus().sets) + most;
  auto* used = static_cast<UsedKey*>(palloc_extended(used_room * sizeof(UsedKey), MCXT_ALLOC_HUGE));
  uint32 used_count = 0;
  uint32 bucket = 0;
  do {
    used_count += directory.ListUsed(&bucket, used + used_count, used_room - used_count);
  } while (bucket != 0 && used_count < used_room);
  const uint32 keys = JoinByKey(used, used_count);
  uint32 count = 0;
  uint32 at = 0;
  for (uint32 i = 0; i < keys && count < most; i++) {
    const auto left = static_cast<uint32>(Min(room - at, Size{kLargestFilterKey}));
    const uint32 size = directory.CopyKey(used[i].hash, used[i].database, bytes + at, left);
    if (size == 0) continue;
    to[count++] = {used[i].database, size, used[i].worth_us, at};
    at += size;
  }
  pfree(used);
  return count;
}

void ForgetFilterSetsOf(Oid database) {
  if (!FilterCacheExists()) return;
  directory.Forget(database);
}

bool FiltersGiveWay(double graph_utility) {
  if (!FilterCacheExists()) return false;
  BudgetShares shares = ReadShares();
  shares.graph.least_utility = graph_utility;
  shares.filter.least_utility = directory.LeastUtility();
  if (!policy::TakesFromOther(shares.mode, shares.graph, shares.filter)) return false;
  // Sets share frames, with some that are pinned, or not found beside the others.
  constexpr int kMostTurns = 4;
  for (int turn = 0; turn < kMostTurns && ReadFramePoolStatus().free == 0; turn++)
    if (directory.GiveUp() == 0) break;
  return ReadFramePoolStatus().free > 0;
}

void ResetFilterCacheCounts() {
  if (FilterCacheExists()) directory.ResetCounts();
}

FilterCacheStatus ReadFilterCacheStatus() {
  if (!FilterCacheExists()) return {};
  return directory.ReadStatus();
}

}  // namespace tandem::shmem
