#include "pg/pg.hpp"

#include "shmem/graph_cache.hpp"

#include <ctime>

#include "pg/let_go.hpp"
#include "pg/settings.hpp"
#include "pg/stop_point.hpp"

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
  static void Keep(uint32 frame) { KeepFrame(frame); }
  static void GiveBack(uint32 frame) { GiveFrameBack(frame); }
  static void Retire(const uint32* frames, uint32 count) { RetireFrames(frames, count); }
  static bool AnyRetired() { return AnyFrameRetired(); }
};

using Directory = ChunkDirectory<ServerPool>;
static_assert(Directory::kSlots == kMostCachedSegments);

constexpr char kName[] = "tandem graph cache";

// Set once, when the memory is attached. lock: nullptr: no cache.
LWLock* lock = nullptr;
Directory directory;

shmem_request_hook_type next_request_hook;
shmem_startup_hook_type next_startup_hook;

/// Frames are there or not by the time of the hooks: RegisterFramePool() came first, but hooks run in any order.
bool FramesAreWanted() {
  return pg::CurrentSettings().memory_budget_kb >= static_cast<int>(kFrameBytes / 1024);
}

void RequestMemory() {
  if (next_request_hook != nullptr) next_request_hook();
  if (!FramesAreWanted()) return;
  RequestAddinShmemSpace(sizeof(Directory::Shared));
  RequestNamedLWLockTranche(kName, 1);
}

void AttachMemory() {
  if (next_startup_hook != nullptr) next_startup_hook();
  if (!FramesAreWanted()) return;
  bool found;
  LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
  auto* shared = static_cast<Directory::Shared*>(ShmemInitStruct(kName, sizeof(Directory::Shared), &found));
  if (!found) std::memset(static_cast<void*>(shared), 0, sizeof *shared);
  directory = Directory(shared, ServerPool());
  lock = &GetNamedLWLockTranche(kName)->lock;
  LWLockRelease(AddinShmemInitLock);
}

/// Seconds of a clock that all processes share and nobody sets; never 0. The coarse one costs a few nanoseconds.
uint32 Now() {
#ifdef CLOCK_MONOTONIC_COARSE
  constexpr clockid_t kClock = CLOCK_MONOTONIC_COARSE;
#else
  constexpr clockid_t kClock = CLOCK_MONOTONIC;
#endif
  timespec now;
  clock_gettime(kClock, &now);
  return static_cast<uint32>(now.tv_sec) + 1;
}

// ---- The chunk that this process loads ----

struct Load {
  uint32 frame;  ///< kNoFrame: none
  uint32 chunk;
  CachedSegmentRef ref;
  SubTransactionId begun_in;
};

Load my_load = {kNoFrame, 0, {0, 0}, InvalidSubTransactionId};
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

CachedSegmentRef FindOrMake(const SegmentKey& key, uint32 chunks, uint32 now) {
  bool is_another;
  LWLockAcquire(lock, LW_SHARED);
  CachedSegmentRef ref = FindWhole(key, chunks, &is_another);
  LWLockRelease(lock);
  if (ref.generation != 0 || !directory.MayHaveRoom(now)) return ref;
  LWLockAcquire(lock, LW_EXCLUSIVE);
  ref = FindWhole(key, chunks, &is_another);
  if (is_another) directory.Forget([&key](const SegmentKey& other) { return other == key; });
  if (ref.generation == 0) ref = directory.Make(key, chunks, now);
  LWLockRelease(lock);
  return ref;
}

template <typename Predicate>
void Forget(Predicate matches) {
  if (lock == nullptr) return;
  LWLockAcquire(lock, LW_EXCLUSIVE);
  directory.Forget(matches);
  LWLockRelease(lock);
}

}  // namespace

void RegisterGraphCache() {
  next_request_hook = shmem_request_hook;
  shmem_request_hook = RequestMemory;
  next_startup_hook = shmem_startup_hook;
  shmem_startup_hook = AttachMemory;
}

bool FindSegment(const SegmentKey& key, uint32 chunks, CachedSegmentRef* ref, ChunkTable* table) {
  if (lock == nullptr) return false;
  const uint32 now = Now();
  if (directory.Attach(*ref, now, table)) return true;
  *ref = FindOrMake(key, chunks, now);
  return directory.Attach(*ref, now, table);
}

char* BeginChunk(const CachedSegmentRef& ref, uint32 chunk) {
  if (lock == nullptr) return nullptr;
  const uint32 now = Now();
  if (directory.IsFull(now)) return nullptr;
  WatchMyEnd();
  Assert(my_load.frame == kNoFrame);
  LWLockAcquire(lock, LW_EXCLUSIVE);
  const uint32 frame = directory.BeginLoad(ref, chunk, now);
  if (frame != kNoFrame) my_load = {frame, chunk, ref, GetCurrentSubTransactionId()};
  LWLockRelease(lock);
  if (frame == kNoFrame) return nullptr;
  pg::StopPoint("chunk-begun");
  return ServerPool::Address(frame);
}

void FinishChunk(const CachedSegmentRef& ref, uint32 chunk) {
  Assert(my_load.frame != kNoFrame && my_load.chunk == chunk && my_load.ref.generation == ref.generation);
  const uint32 frame = my_load.frame;
  LWLockAcquire(lock, LW_EXCLUSIVE);
  const bool kept = directory.FinishLoad(ref, chunk, frame);
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

uint32 ReadGraphCacheStatus(CachedSegmentStatus* to, uint32 room) {
  if (lock == nullptr) return 0;
  LWLockAcquire(lock, LW_SHARED);
  const uint32 count = directory.ReadStatus(to, room, Now());
  LWLockRelease(lock);
  return count;
}

}  // namespace tandem::shmem
