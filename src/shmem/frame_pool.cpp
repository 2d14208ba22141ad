#include "pg/compat.hpp"

#include "shmem/frame_pool.hpp"

#include "pg/let_go.hpp"
#include "pg/settings.hpp"
#include "pg/stop_point.hpp"
#include "shmem/balance.hpp"
#include "shmem/clock.hpp"
#include "shmem/epochs.hpp"
#include "shmem/filter_memory.hpp"
#include "shmem/parts.hpp"

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

/// In front of one Reader a process, and what is kept of each frame.
struct PoolMemory {
  Epochs::Shared epochs;
  FrameLists::Shared lists;      ///< L: the pool's lock
  FilterMemory::Shared filters;  ///< L
  uint32
      filters_want_until;  ///< L: a second of Now(): what comes free until then is not for graphs above their target
};

// Set once, when the memory is attached.
char* frame_base = nullptr;
PoolMemory* pool = nullptr;
LWLock* lock = nullptr;
Epochs epochs;
FrameLists lists;
FilterMemory filters;

// ---- The memory ----

uint32 FrameCount() {
  return BudgetFrames(static_cast<uint64>(pg::CurrentSettings().memory_budget_kb) * 1024);
}

uint32 ReaderCount() {
  return static_cast<uint32>(MaxBackends);
}

/// What follows PoolMemory, one after the other.
struct PoolLayout {
  Size readers;
  Size links;
  Size map;
  Size filter_frames;
  Size end;
};

template <typename T>
Size After(Size at, Size count) {
  return add_size(at, MAXALIGN(mul_size(count, sizeof(T))));
}

PoolLayout LayOutPool() {
  PoolLayout layout;
  layout.readers = TYPEALIGN(alignof(Epochs::Reader), sizeof(PoolMemory));
  layout.links = After<Epochs::Reader>(layout.readers, ReaderCount());
  layout.map = After<FrameLists::Link>(layout.links, FrameCount());
  layout.filter_frames = After<uint64>(layout.map, FrameLists::MapWords(FrameCount()));
  layout.end = After<FilterMemory::Frame>(layout.filter_frames, FrameCount());
  return layout;
}

/// One more than there are, so that the first can be aligned.
Size FramesBytes() {
  return mul_size(static_cast<Size>(FrameCount()) + 1, kFrameBytes);
}

void Request() {
  if (FrameCount() == 0) return;
  RequestAddinShmemSpace(LayOutPool().end);
  RequestAddinShmemSpace(FramesBytes());
  RequestNamedLWLockTranche(kPoolName, 1);
}

void Attach() {
  if (FrameCount() == 0) return;
  bool found;
  const PoolLayout layout = LayOutPool();
  auto* memory = static_cast<char*>(ShmemInitStruct(kPoolName, layout.end, &found));
  bool frames_found;
  void* frames = ShmemInitStruct(kFramesName, FramesBytes(), &frames_found);
  frame_base = reinterpret_cast<char*>(TYPEALIGN(kFrameBytes, frames));
  pool = reinterpret_cast<PoolMemory*>(memory);
  lock = &GetNamedLWLockTranche(kPoolName)->lock;
  epochs = Epochs(&pool->epochs, reinterpret_cast<Epochs::Reader*>(memory + layout.readers), ReaderCount());
  lists = FrameLists(&pool->lists, reinterpret_cast<FrameLists::Link*>(memory + layout.links),
                     reinterpret_cast<uint64*>(memory + layout.map));
  filters =
      FilterMemory(&pool->filters, reinterpret_cast<FilterMemory::Frame*>(memory + layout.filter_frames),
                   frame_base, lists);
  if (found) return;
  epochs.Init();
  lists.Init(FrameCount());
  filters.Init();
  pool->filters_want_until = 0;
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

// ---- Shares, with the lock held ----

BudgetShares Shares() {
  const FrameLists::Shared& status = lists.Status();
  return SharesOfBudget(status.frames - status.free - status.filter, status.filter);
}

/// What is free, or comes free.
bool AreForFilters(const BudgetShares& shares) {
  return shares.graph.frames >= shares.graph.target && Now() <= pool->filters_want_until;
}

bool GraphsMayTake() {
  const BudgetShares shares = Shares();
  if (shares.graph.frames >=
      policy::MostFrames(shares.mode, policy::CacheSide::kGraph, shares.graph, shares.filter))
    return false;
  return !AreForFilters(shares);
}

void Reclaim() {
  if (lists.Status().retired > 0) lists.Reclaim(epochs.OldestInside());
}

}  // namespace

const Part kFramePoolPart = {Request, Attach};

bool FramesExist() {
  return frame_base != nullptr;
}

char* FrameBase() {
  return frame_base;
}

FramePoolStatus ReadFramePoolStatus() {
  if (!FramesExist()) return {0, 0, 0, 0};
  LWLockAcquire(lock, LW_SHARED);
  const FrameLists::Shared status = lists.Status();
  LWLockRelease(lock);
  return {status.frames, status.free, status.retired, status.filter};
}

void WatchFrames() {
  if (FramesExist()) WatchMyEnd();
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

uint32 TakeFrame(bool in_exchange) {
  if (!FramesExist() || taken_count == kMostTakenFrames) return kNoFrame;
  Assert(watching_my_end);
  LWLockAcquire(lock, LW_EXCLUSIVE);
  if (lists.Status().free == 0 || !GraphsMayTake()) Reclaim();
  const uint32 frame = in_exchange || GraphsMayTake() ? lists.Take() : kNoFrame;
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

void SetFrameOwner(uint32 frame, const FrameOwner& owner) {
  lists.SetOwner(frame, owner);
}

FrameOwner OwnerOfFrame(uint32 frame) {
  return lists.OwnerOf(frame);
}

uint32 FindMovableFrames(uint32 count) {
  LWLockAcquire(lock, LW_SHARED);
  const uint32 first = lists.FindMovableRun(count);
  LWLockRelease(lock);
  return first;
}

// ---- Pieces ----

uint64 AllocatePiece(Size bytes) {
  LWLockAcquire(lock, LW_EXCLUSIVE);
  const BudgetShares shares = Shares();
  const uint64 most =
      policy::MostFrames(shares.mode, policy::CacheSide::kFilter, shares.graph, shares.filter);
  uint64 at = filters.Allocate(bytes, most);
  if (at == 0 && lists.Status().retired > 0) {
    Reclaim();
    at = filters.Allocate(bytes, most);
  }
  LWLockRelease(lock);
  return at;
}

void FreePiece(uint64 at) {
  LWLockAcquire(lock, LW_EXCLUSIVE);
  filters.Free(at);
  LWLockRelease(lock);
}

char* PieceAddress(uint64 at) {
  return filters.Address(at);
}

void SayFiltersWant() {
  LWLockAcquire(lock, LW_EXCLUSIVE);
  pool->filters_want_until = Now() + 1;
  LWLockRelease(lock);
}

bool GraphsMayGrow() {
  if (!FramesExist()) return false;
  LWLockAcquire(lock, LW_SHARED);
  const BudgetShares shares = Shares();
  const bool has_free = lists.Status().free > 0 && !AreForFilters(shares);
  LWLockRelease(lock);
  const bool has_less = shares.graph.frames < shares.graph.target;
  return shares.mode == policy::BudgetMode::kIndependent ? has_free && has_less : has_free || has_less;
}

bool FreeFramesAreForFilters() {
  if (!FramesExist()) return false;
  LWLockAcquire(lock, LW_SHARED);
  const bool are_for_filters = AreForFilters(Shares());
  LWLockRelease(lock);
  return are_for_filters;
}

BudgetShares ReadShares() {
  if (!FramesExist()) return {};
  LWLockAcquire(lock, LW_SHARED);
  const BudgetShares shares = Shares();
  LWLockRelease(lock);
  return shares;
}

}  // namespace tandem::shmem
