#include "pg/pg.hpp"

#include "shmem/graph_cache.hpp"

#include "pg/let_go.hpp"
#include "pg/settings.hpp"
#include "pg/stop_point.hpp"
#include "pg/stopwatch.hpp"
#include "shmem/clock.hpp"
#include "shmem/filter_cache.hpp"
#include "shmem/parts.hpp"

extern "C" {
#include "access/xact.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
}

namespace tandem::shmem {

namespace {

/// The frame pool as ChunkDirectory wants it. Its lock is taken under the cache's.
struct ServerPool {
  static char* Address(uint32 frame) { return FrameBase() + static_cast<Size>(frame) * kFrameBytes; }
  static uint32 Take() { return TakeFrame(); }
  static uint32 TakeInExchange() { return TakeFrame(true); }
  static void Keep(uint32 frame) { KeepFrame(frame); }
  static void GiveBack(uint32 frame) { GiveFrameBack(frame); }
  static void Retire(const uint32* frames, uint32 count) { RetireFrames(frames, count); }
  static bool AnyRetired() { return AnyFrameRetired(); }
  static bool IsForFilters() { return FreeFramesAreForFilters(); }
  static policy::BudgetMode Mode() { return ModeOfBudget(); }
  static void SetOwner(uint32 frame, const FrameOwner& owner) { SetFrameOwner(frame, owner); }
  static FrameOwner OwnerOf(uint32 frame) { return OwnerOfFrame(frame); }
  static uint32 FindMovableRun(uint32 count) { return FindMovableFrames(count); }
};

using Directory = ChunkDirectory<ServerPool>;
static_assert(Directory::kSlots == kMostCachedSegments);

constexpr char kName[] = "tandem graph cache";

// Set once, when the memory is attached. lock: nullptr: no cache.
LWLock* lock = nullptr;
Directory directory;

// Every search of a segment is a use; where there are many in a second, so many are counted at once, so that searches seldom write to what
// others read.
constexpr float kUsesCounted = 16;

bool FramesAreWanted() {
  return pg::CurrentSettings().memory_budget_kb >= static_cast<int>(kFrameBytes / 1024);
}

void Request() {
  if (!FramesAreWanted()) return;
  RequestAddinShmemSpace(sizeof(Directory::Shared));
  RequestNamedLWLockTranche(kName, 1);
}

void Attach() {
  if (!FramesAreWanted()) return;
  bool found;
  auto* shared = static_cast<Directory::Shared*>(ShmemInitStruct(kName, sizeof(Directory::Shared), &found));
  if (!found) std::memset(static_cast<void*>(shared), 0, sizeof *shared);
  directory = Directory(shared, ServerPool());
  lock = &GetNamedLWLockTranche(kName)->lock;
}

// ---- The chunk that this process loads ----

struct Load {
  uint32 frame;  ///< kNoFrame: none
  uint32 chunk;
  CachedSegmentRef ref;
  SubTransactionId begun_in;
  pg::Stopwatch watch;
};

Load my_load = {kNoFrame, 0, {0, 0}, InvalidSubTransactionId, {}};
bool watching_my_end = false;

/// Lets others load the chunk. The frame goes back by the pool's own callbacks.
void UnmarkMyLoad() {
  if (my_load.frame == kNoFrame) return;
  my_load.frame = kNoFrame;
  LWLockAcquire(lock, LW_EXCLUSIVE);
  directory.AbandonLoad(my_load.ref, my_load.chunk);
  LWLockRelease(lock);
}

void LetGo(SubTransactionId since) {
  if (my_load.begun_in >= since) UnmarkMyLoad();
}

constexpr pg::Holder kHolder = {LetGo};

void WatchMyEnd() {
  if (watching_my_end) return;
  // A loader need not have been a reader before.
  WatchFrames();
  pg::WatchEnds(kHolder);
  watching_my_end = true;
}

/// With the lock held. Generation 0: not there.
CachedSegmentRef FindWhole(const SegmentKey& key, uint32 chunks, bool* is_another) {
  const CachedSegmentRef ref = directory.Find(key);
  // A standby hears of no DROP DATABASE: a database may have come again there under its old number (README.md).
  *is_another = ref.generation != 0 && directory.ChunksOf(ref) != chunks;
  return *is_another ? CachedSegmentRef{0, 0} : ref;
}

CachedSegmentRef MakeSegment(const SegmentKey& key, uint32 chunks, uint32 link_chunks, uint32 now) {
  bool is_another;
  WatchMyEnd();
  LWLockAcquire(lock, LW_EXCLUSIVE);
  CachedSegmentRef ref = FindWhole(key, chunks, &is_another);
  const bool is_going =
      is_another && directory.Forget([&key](const SegmentKey& other) { return other == key; });
  if (ref.generation == 0 && !is_going) ref = directory.Make(key, chunks, now, link_chunks);
  LWLockRelease(lock);
  return ref;
}

/// After a request for memory was refused: true if filters have made room since.
bool AskFilters(uint32 now) {
  if (!directory.IsFull(now)) return false;
  LWLockAcquire(lock, LW_SHARED);
  const double utility = directory.LeastUtility(now);
  LWLockRelease(lock);
  if (!FiltersGiveWay(utility)) return false;
  directory.SayRoom();
  return true;
}

CachedSegmentRef FindOrMake(const SegmentKey& key, uint32 chunks, uint32 link_chunks, uint32 now) {
  bool is_another;
  LWLockAcquire(lock, LW_SHARED);
  CachedSegmentRef ref = FindWhole(key, chunks, &is_another);
  LWLockRelease(lock);
  if (ref.generation != 0 || !directory.MayHaveRoom(now)) return ref;
  ref = MakeSegment(key, chunks, link_chunks, now);
  if (ref.generation == 0 && AskFilters(now)) ref = MakeSegment(key, chunks, link_chunks, now);
  return ref;
}

uint32 BeginLoad(const CachedSegmentRef& ref, uint32 chunk, uint32 now) {
  LWLockAcquire(lock, LW_EXCLUSIVE);
  const uint32 frame = directory.BeginLoad(ref, chunk, now);
  if (frame != kNoFrame) my_load = {frame, chunk, ref, GetCurrentSubTransactionId(), {}};
  LWLockRelease(lock);
  return frame;
}

/// After filters have been asked, too.
bool AskLinks(const CachedSegmentRef& ref, uint32 chunk, uint32 now) {
  if (!directory.IsFull(now)) return false;
  LWLockAcquire(lock, LW_EXCLUSIVE);
  const bool has_room = directory.GiveLinksUp(ref, chunk);
  LWLockRelease(lock);
  return has_room;
}

struct Gift {
  Giving giving;
  bool is_given;       ///< graphs have fewer frames now
  uint32 clear_first;  ///< a run that is to be cleared; kNoFrame: none
};

constexpr Gift kNoGift = {Giving::kNothing, false, kNoFrame};

// So many frames are moved under one hold of the lock, 10 us each.
constexpr uint32 kMovedAtOnce = 32;

/// Of frames that are free, or will be.
Gift FindRun(uint32 count, bool is_given) {
  if (count == 1) return {is_given ? Giving::kCleared : Giving::kNothing, is_given, kNoFrame};
  const uint32 first = directory.FindClearableRun(count);
  if (first == kNoFrame) return {is_given ? Giving::kCleared : Giving::kNothing, is_given, kNoFrame};
  return {Giving::kCleared, is_given, first};
}

/// With the lock held: what others have given up since, or taken, is looked at under it, so that several who ask at once do not
/// each get what is enough for all.
Gift GiveFrames(uint32 count, double filter_utility, uint32 now) {
  BudgetShares shares = ReadShares();
  const FramePoolStatus status = ReadFramePoolStatus();
  // What nobody could have is not made room for.
  if (shares.filter.frames + count >
      policy::MostFrames(shares.mode, policy::CacheSide::kFilter, shares.graph, shares.filter))
    return kNoGift;
  // Those come free by themselves.
  if (status.retired >= count) return {Giving::kComing, false, kNoFrame};
  if (status.free >= count) return FindRun(count, false);
  shares.graph.least_utility = directory.LeastUtility(now);
  shares.filter.least_utility = filter_utility;
  if (status.free + status.retired >= count) return {Giving::kComing, false, kNoFrame};
  if (!policy::TakesFromOther(shares.mode, shares.filter, shares.graph)) return kNoGift;
  // Those of graphs that are retired count as theirs.
  const uint64 missing = count - status.free - status.retired;
  directory.GiveUp(static_cast<uint32>(Min(missing, shares.graph.frames - shares.graph.floor)), now);
  return FindRun(count, true);
}

void Clear(uint32 first, uint32 count) {
  for (uint32 from = first; from < first + count; from += kMovedAtOnce) {
    LWLockAcquire(lock, LW_EXCLUSIVE);
    directory.ClearFrames(first, from, Min(from + kMovedAtOnce, first + count));
    LWLockRelease(lock);
  }
}

template <typename Predicate>
void Forget(Predicate matches) {
  if (lock == nullptr) return;
  for (bool more = true; more;) {
    LWLockAcquire(lock, LW_EXCLUSIVE);
    more = directory.Forget(matches);
    LWLockRelease(lock);
  }
}

}  // namespace

const Part kGraphCachePart = {Request, Attach};

bool FindSegment(const SegmentKey& key, uint32 chunks, CachedSegmentRef* ref, ChunkTable* table,
                 uint32 link_chunks) {
  if (lock == nullptr) return false;
  const uint32 now = Now();
  if (directory.Attach(*ref, now, table)) return true;
  *ref = FindOrMake(key, chunks, link_chunks, now);
  return directory.Attach(*ref, now, table);
}

void CountSearch(const CachedSegmentRef& ref, const policy::GraphReads& reads, UncountedUses* uncounted) {
  if (lock == nullptr) return;
  const uint32 now = Now();
  SegmentUses* uses = &uncounted->uses;
  uses->searches++;
  uses->reads.codes += reads.codes;
  uses->reads.lists += reads.lists;
  // The first ones of a second at once: a session may not come to more, and who gives way is decided meanwhile.
  if (uncounted->counted_at != now) uncounted->at_once = 1;
  if (uses->searches < uncounted->at_once) return;
  directory.Count(ref, now, *uses);
  *uncounted = {{}, Min(uncounted->at_once * 2, kUsesCounted), now};
}

bool MayHaveRoomForChunks() {
  return lock != nullptr && !directory.IsFull(Now());
}

char* BeginChunk(const CachedSegmentRef& ref, uint32 chunk) {
  if (lock == nullptr) return nullptr;
  const uint32 now = Now();
  if (directory.IsFull(now)) return nullptr;
  WatchMyEnd();
  Assert(my_load.frame == kNoFrame);
  uint32 frame = BeginLoad(ref, chunk, now);
  if (frame == kNoFrame && AskFilters(now)) frame = BeginLoad(ref, chunk, now);
  if (frame == kNoFrame && AskLinks(ref, chunk, now)) frame = BeginLoad(ref, chunk, now);
  if (frame == kNoFrame) return nullptr;
  my_load.watch = pg::Stopwatch();
  pg::StopPoint("chunk-begun");
  return ServerPool::Address(frame);
}

void FinishChunk(const CachedSegmentRef& ref, uint32 chunk) {
  Assert(my_load.frame != kNoFrame && my_load.chunk == chunk && my_load.ref.generation == ref.generation);
  const uint32 frame = my_load.frame;
  const float load_us = my_load.watch.Microseconds();
  LWLockAcquire(lock, LW_EXCLUSIVE);
  const bool kept = directory.FinishLoad(ref, chunk, frame, load_us);
  if (kept) KeepFrame(frame);
  my_load.frame = kNoFrame;
  LWLockRelease(lock);
  if (!kept) GiveFrameBack(frame);
}

void AbandonChunk() {
  const uint32 frame = my_load.frame;
  if (frame == kNoFrame) return;
  UnmarkMyLoad();
  GiveFrameBack(frame);
}

void ForgetSegment(const SegmentKey& key) {
  Forget([&key](const SegmentKey& other) { return other == key; });
}

void ForgetSegmentsOf(Oid database) {
  Forget([database](const SegmentKey& key) { return key.database == database; });
}

Giving GraphsGiveWay(Size bytes, double filter_utility) {
  if (lock == nullptr) return Giving::kNothing;
  // Moving a chunk takes a frame, and what that needs cannot be had under the lock.
  WatchFrames();
  const auto count = static_cast<uint32>((bytes + kFrameBytes - 1) / kFrameBytes);
  LWLockAcquire(lock, LW_EXCLUSIVE);
  const Gift gift = GiveFrames(count, filter_utility, Now());
  LWLockRelease(lock);
  if (gift.is_given) SayFiltersWant();
  if (gift.clear_first != kNoFrame) Clear(gift.clear_first, count);
  return gift.giving;
}

uint32 ReadGraphCacheStatus(CachedSegmentStatus* to, uint32 room) {
  if (lock == nullptr) return 0;
  LWLockAcquire(lock, LW_SHARED);
  const uint32 count = directory.ReadStatus(to, room, Now());
  LWLockRelease(lock);
  return count;
}

}  // namespace tandem::shmem
