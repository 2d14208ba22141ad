#include "pg/compat.hpp"

#include "shmem/frame_pool.hpp"

#include "pg/let_go.hpp"
#include "pg/settings.hpp"
#include "pg/stop_point.hpp"
#include "shmem/epochs.hpp"

extern "C" {
#include "access/xact.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
}

namespace tandem::shmem {

namespace {

constexpr char kPoolName[] = "tandem frame pool";
constexpr char kFramesName[] = "tandem frames";

/// In front of one Reader a process and one Link a frame.
struct PoolMemory {
  Epochs::Shared epochs;
  FrameLists::Shared lists;  ///< L: the pool's lock
};

// Set once, when the memory is attached.
char* frame_base = nullptr;
LWLock* lock = nullptr;
Epochs epochs;
FrameLists lists;

shmem_request_hook_type next_request_hook;
shmem_startup_hook_type next_startup_hook;

// ---- The memory ----

uint64 BudgetBytes() {
  return static_cast<uint64>(pg::CurrentSettings().memory_budget_kb) * 1024;
}

uint32 FrameCount() {
  return static_cast<uint32>(GraphFrames(BudgetBytes()));
}

uint32 ReaderCount() {
  return static_cast<uint32>(MaxBackends);
}

Size ReadersOffset() {
  return TYPEALIGN(alignof(Epochs::Reader), sizeof(PoolMemory));
}

Size LinksOffset() {
  return add_size(ReadersOffset(), mul_size(ReaderCount(), sizeof(Epochs::Reader)));
}

Size PoolBytes() {
  return add_size(LinksOffset(), mul_size(FrameCount(), sizeof(FrameLists::Link)));
}

/// One more than there are, so that the first can be aligned.
Size FramesBytes() {
  return mul_size(static_cast<Size>(FrameCount()) + 1, kFrameBytes);
}

void RequestMemory() {
  if (next_request_hook != nullptr) next_request_hook();
  if (FrameCount() == 0) return;
  RequestAddinShmemSpace(PoolBytes());
  RequestAddinShmemSpace(FramesBytes());
  RequestNamedLWLockTranche(kPoolName, 1);
}

/// Also after a crash, in a postmaster that goes on: the memory is then new.
void AttachMemory() {
  if (next_startup_hook != nullptr) next_startup_hook();
  if (FrameCount() == 0) return;
  bool found;
  LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
  auto* memory = static_cast<char*>(ShmemInitStruct(kPoolName, PoolBytes(), &found));
  auto* pool = reinterpret_cast<PoolMemory*>(memory);
  lock = &GetNamedLWLockTranche(kPoolName)->lock;
  epochs = Epochs(&pool->epochs, reinterpret_cast<Epochs::Reader*>(memory + ReadersOffset()), ReaderCount());
  lists = FrameLists(&pool->lists, reinterpret_cast<FrameLists::Link*>(memory + LinksOffset()));
  if (!found) {
    epochs.Init();
    lists.Init(FrameCount());
  }
  void* frames = ShmemInitStruct(kFramesName, FramesBytes(), &found);
  frame_base = reinterpret_cast<char*>(TYPEALIGN(kFrameBytes, frames));
  LWLockRelease(AddinShmemInitLock);
}

// ---- What this process holds ----

struct TakenFrame {
  uint32 frame;
  SubTransactionId taken_in;
};

uint32 my_number;  ///< among the readers
bool watching_my_end = false;
uint32 taken_count = 0;
TakenFrame taken[kMostTakenFrames];

void ForgetTaken(uint32 frame) {
  for (uint32 i = 0; i < taken_count; i++) {
    if (taken[i].frame != frame) continue;
    taken[i] = taken[--taken_count];
    return;
  }
}

/// Leaves, and gives back what was taken in subtransaction `since` or one that began after it.
void LetGo(SubTransactionId since) {
  if (epochs.IsInside(my_number)) epochs.Leave(my_number);
  if (taken_count == 0) return;
  LWLockAcquire(lock, LW_EXCLUSIVE);
  for (uint32 i = taken_count; i-- > 0;) {
    if (taken[i].taken_in < since) continue;
    lists.GiveBack(taken[i].frame);
    taken[i] = taken[--taken_count];
  }
  LWLockRelease(lock);
}

constexpr pg::Holder kHolder = {LetGo};

void WatchMyEnd() {
  if (watching_my_end) return;
  my_number = pg::ProcessNumber();
  Assert(my_number < ReaderCount());
  pg::WatchEnds(kHolder);
  watching_my_end = true;
}

}  // namespace

void RegisterFramePool() {
  next_request_hook = shmem_request_hook;
  shmem_request_hook = RequestMemory;
  next_startup_hook = shmem_startup_hook;
  shmem_startup_hook = AttachMemory;
}

bool FramesExist() {
  return frame_base != nullptr;
}

char* FrameBase() {
  return frame_base;
}

FramePoolStatus ReadFramePoolStatus() {
  if (!FramesExist()) return {0, 0, 0};
  LWLockAcquire(lock, LW_SHARED);
  const FrameLists::Shared status = lists.Status();
  LWLockRelease(lock);
  return {status.frames, status.free, status.retired};
}

void EnterFrames() {
  if (!FramesExist()) return;
  WatchMyEnd();
  Assert(!epochs.IsInside(my_number));
  epochs.Enter(my_number);
  pg::StopPoint("frames-entered");
}

void LeaveFrames() {
  if (!FramesExist()) return;
  Assert(epochs.IsInside(my_number));
  epochs.Leave(my_number);
}

uint32 TakeFrame() {
  if (!FramesExist() || taken_count == kMostTakenFrames) return kNoFrame;
  WatchMyEnd();
  LWLockAcquire(lock, LW_EXCLUSIVE);
  if (lists.Status().free == 0 && lists.Status().retired > 0) lists.Reclaim(epochs.OldestInside());
  const uint32 frame = lists.Take();
  if (frame != kNoFrame) taken[taken_count++] = {frame, GetCurrentSubTransactionId()};
  LWLockRelease(lock);
  return frame;
}

void KeepFrame(uint32 frame) {
  ForgetTaken(frame);
}

void GiveFrameBack(uint32 frame) {
  ForgetTaken(frame);
  LWLockAcquire(lock, LW_EXCLUSIVE);
  lists.GiveBack(frame);
  LWLockRelease(lock);
}

void RetireFrames(const uint32* frames, uint32 count) {
  LWLockAcquire(lock, LW_EXCLUSIVE);
  const uint64 stamp = epochs.Stamp();
  for (uint32 i = 0; i < count; i++) lists.Retire(frames[i], stamp);
  LWLockRelease(lock);
}

bool AnyFrameRetired() {
  return ReadFramePoolStatus().retired > 0;
}

}  // namespace tandem::shmem
