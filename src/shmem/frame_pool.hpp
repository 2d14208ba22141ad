#pragma once
// The memory of graphs: their part of tandem.memory_budget (budget.hpp), reserved at server start and cut into frames of equal
// size. Exists only if the library was preloaded.
//
// Readers hold no lock. They enter an epoch, and a frame that is taken away from its use is given to another one only after
// every reader that had entered before has left (epochs.hpp).

#include "pg/pg.hpp"

#include "shmem/chunk_directory.hpp"

namespace tandem::shmem {

/// Requests and attaches the memory; from _PG_init during preload only, after RegisterSettings().
void RegisterFramePool();
/// False without preload and with tandem.memory_budget = 0.
[[nodiscard]] bool FramesExist();

/// Frame 0; frame n is n * kFrameBytes further. nullptr if there are none. Aligned to kFrameBytes.
[[nodiscard]] char* FrameBase();

struct FramePoolStatus {
  uint64 frames;
  uint64 free;
  uint64 retired;  ///< waiting for readers to leave
};
[[nodiscard]] FramePoolStatus ReadFramePoolStatus();

/// What a backend does between the two sees every frame that it finds unchanged. A store and a fence; no nesting. An error
/// in between leaves by itself, at the latest when the (sub)transaction ends.
void EnterFrames();
void LeaveFrames();

// For the caches that live in frames:

/// A frame for the caller's own use, contents undefined; kNoFrame if none is free. Until KeepFrame() it belongs to this
/// backend, and goes back at the end of the (sub)transaction or of the process. Not many at a time: kMostTakenFrames.
[[nodiscard]] uint32 TakeFrame();
constexpr uint32 kMostTakenFrames = 16;
/// The frame belongs to a cache from now on.
void KeepFrame(uint32 frame);
/// Back to the pool at once: no other process can have seen it.
void GiveFrameBack(uint32 frame);
/// Back to the pool once all readers that may see them have left. The caller has made sure that no new one can find them.
void RetireFrames(const uint32* frames, uint32 count);
/// True if frames wait for readers to leave.
[[nodiscard]] bool AnyFrameRetired();

}  // namespace tandem::shmem
