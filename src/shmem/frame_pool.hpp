#pragma once
// tandem.memory_budget (budget.hpp), reserved at server start and cut into frames of equal size, for graphs and for sets of rows. Exists
// only if the library was preloaded.
//
// Readers hold no lock. They enter an epoch, and a frame that is taken away from its use is given to another one only after
// every reader that had entered before has left (epochs.hpp).

#include "pg/pg.hpp"

#include "shmem/balance.hpp"
#include "shmem/chunk_directory.hpp"

namespace tandem::shmem {

/// False without preload and with tandem.memory_budget = 0.
[[nodiscard]] bool FramesExist();

/// Frame 0; frame n is n * kFrameBytes further. nullptr if there are none. Aligned to kFrameBytes.
[[nodiscard]] char* FrameBase();

struct FramePoolStatus {
  uint64 frames;
  uint64 free;
  uint64 retired;  ///< waiting for readers to leave
  uint64 filter;   ///< of the filter cache
};
[[nodiscard]] FramePoolStatus ReadFramePoolStatus();

/// What EnterFrames() does first, for who takes frames without having entered. May fail, so not under a lock.
void WatchFrames();

/// What a backend does between the two sees every frame that it finds unchanged. A store and a fence; no nesting. An error
/// in between leaves by itself, at the latest when the (sub)transaction ends.
void EnterFrames();
void LeaveFrames();

/// What each cache has and should have; all 0 without frames.
[[nodiscard]] BudgetShares ReadShares();
/// True if there may be memory for graphs that none in use must give up: free and not meant for filters, or what those have above
/// their target.
[[nodiscard]] bool GraphsMayGrow();

// For graphs:

/// A frame for the caller's own use, contents undefined; kNoFrame if none is free, or graphs have as much as they may. Until KeepFrame() it belongs to this
/// backend, and goes back at the end of the (sub)transaction or of the process. Not many at a time: kMostTakenFrames. After
/// WatchFrames() or EnterFrames().
/// in_exchange: another one is about to be retired for it.
[[nodiscard]] uint32 TakeFrame(bool in_exchange = false);
constexpr uint32 kMostTakenFrames = 16;
/// The frame belongs to a cache from now on.
void KeepFrame(uint32 frame);
/// Back to the pool at once: no other process can have seen it.
void GiveFrameBack(uint32 frame);
/// Back to the pool once all readers that may see them have left. The caller has made sure that no new one can find them.
void RetireFrames(const uint32* frames, uint32 count);
/// True while graphs, which have their share, get none because of SayFiltersWant().
[[nodiscard]] bool FreeFramesAreForFilters();
/// True if frames wait for readers to leave.
[[nodiscard]] bool AnyFrameRetired();
/// Which chunk is in a frame; under the chunk directory's lock.
void SetFrameOwner(uint32 frame, const FrameOwner& owner);
[[nodiscard]] FrameOwner OwnerOfFrame(uint32 frame);
/// The first of `count` neighbouring frames that are free or have an owner; kNoFrame if there are none.
[[nodiscard]] uint32 FindMovableFrames(uint32 count);

// For sets of rows:

/// Memory in one piece, for others to see, too; 0 if there is none free, or sets have as much as they may. Never fails.
[[nodiscard]] uint64 AllocatePiece(Size bytes);
void FreePiece(uint64 at);
[[nodiscard]] char* PieceAddress(uint64 at);
/// For a second or two, frames that come free are not for graphs that have their share.
void SayFiltersWant();

}  // namespace tandem::shmem
