#pragma once
// Pieces of any size in frames, for sets of rows: what the filter cache allocates. Under the frames' lock; includes no server header.
//
// A piece of more than half a frame is a run of whole frames, so that it can be read by address. Smaller ones share a frame with
// others of about their size: a slab (Bonwick, "The slab allocator", USENIX 1994). A frame goes back when its last piece does.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "shmem/budget.hpp"
#include "shmem/frame_lists.hpp"

namespace tandem::shmem {

class FilterMemory {
 public:
  /// So many cells have the frames of each class; cells are as large as that admits.
  static constexpr std::uint32_t kCells[] = {2,  3,  4,  6,   8,   12,  16,  24, 32,
                                             48, 64, 96, 128, 192, 256, 384, 512};
  static constexpr std::uint32_t kClasses = sizeof kCells / sizeof *kCells;

  /// Of a frame that is a slab, or the first of a run. Of others it says nothing.
  struct Frame {
    std::uint32_t next;  ///< of the slabs of its class that have room
    std::uint32_t previous;
    std::uint32_t run;         ///< frames; 0: a slab
    std::uint16_t kind;        ///< class of a slab
    std::uint16_t used;        ///< cells
    std::uint16_t fresh;       ///< cells from here on were never used
    std::uint16_t first_free;  ///< of those before, each of which begins with the number of the next
  };

  struct Shared {
    std::uint32_t with_room[kClasses];  ///< slabs; kNoFrame: none
  };

  FilterMemory() = default;
  FilterMemory(Shared* shared, Frame* frames, char* base, FrameLists lists) noexcept
      : shared_(shared), frames_(frames), base_(base), lists_(lists) {}

  void Init() const noexcept {
    for (std::uint32_t& slab : shared_->with_room) slab = kNoFrame;
  }

  /// Of two pieces.
  [[nodiscard]] static bool AreInOneFrame(std::uint64_t a, std::uint64_t b) noexcept {
    return FrameOf(a) == FrameOf(b);
  }

  /// The most that a piece takes of frames.
  [[nodiscard]] static std::uint64_t FramesFor(std::size_t bytes) noexcept {
    return (bytes + kFrameBytes - 1) / kFrameBytes;
  }

  /// Aligned to 8. 0 if there is no room, or it would take more than `most_frames` in all.
  [[nodiscard]] std::uint64_t Allocate(std::size_t bytes, std::uint64_t most_frames) const noexcept {
    if (bytes > CellBytes(0)) return AllocateRun(bytes, most_frames);
    const std::uint32_t kind = ClassOf(bytes);
    std::uint32_t frame = shared_->with_room[kind];
    if (frame == kNoFrame) {
      if (lists_.Status().filter >= most_frames) return 0;
      frame = lists_.TakeRun(1);
      if (frame == kNoFrame) return 0;
      frames_[frame] = {kNoFrame, kNoFrame, 0, static_cast<std::uint16_t>(kind), 0, 0, kNoCell};
      LinkSlab(frame);
    }
    return PlaceOf(frame) + TakeCell(frame) * CellBytes(kind);
  }

  void Free(std::uint64_t at) const noexcept {
    const std::uint32_t frame = FrameOf(at);
    Frame& head = frames_[frame];
    if (head.run > 0) {
      lists_.GiveRunBack(frame, head.run);
      return;
    }
    if (head.used == kCells[head.kind]) LinkSlab(frame);
    const std::size_t in_frame = at - PlaceOf(frame);
    std::memcpy(Address(at), &head.first_free, sizeof head.first_free);
    head.first_free = static_cast<std::uint16_t>(in_frame / CellBytes(head.kind));
    if (--head.used > 0) return;
    UnlinkSlab(frame);
    lists_.GiveRunBack(frame, 1);
  }

  /// Of what Allocate() returned, and of anything within it.
  [[nodiscard]] char* Address(std::uint64_t at) const noexcept { return base_ + (at - kFrameBytes); }

 private:
  static constexpr std::uint16_t kNoCell = 0xFFFF;

  [[nodiscard]] static constexpr std::size_t CellBytes(std::uint32_t kind) {
    return kFrameBytes / kCells[kind] / sizeof(std::uint64_t) * sizeof(std::uint64_t);
  }
  /// The first frame is not at 0, which is nowhere.
  [[nodiscard]] static std::uint64_t PlaceOf(std::uint32_t frame) noexcept {
    return (std::uint64_t{frame} + 1) * kFrameBytes;
  }
  [[nodiscard]] static std::uint32_t FrameOf(std::uint64_t at) noexcept {
    return static_cast<std::uint32_t>(at / kFrameBytes - 1);
  }
  [[nodiscard]] static std::uint32_t ClassOf(std::size_t bytes) noexcept {
    std::uint32_t kind = kClasses - 1;
    while (CellBytes(kind) < bytes) kind--;
    return kind;
  }

  [[nodiscard]] std::uint64_t AllocateRun(std::size_t bytes, std::uint64_t most_frames) const noexcept {
    const std::uint64_t count = FramesFor(bytes);
    if (lists_.Status().filter + count > most_frames) return 0;
    const std::uint32_t first = lists_.TakeRun(static_cast<std::uint32_t>(count));
    if (first == kNoFrame) return 0;
    frames_[first] = {kNoFrame, kNoFrame, static_cast<std::uint32_t>(count), 0, 0, 0, kNoCell};
    return PlaceOf(first);
  }

  [[nodiscard]] std::size_t TakeCell(std::uint32_t frame) const noexcept {
    Frame& head = frames_[frame];
    std::uint16_t cell = head.first_free;
    if (cell == kNoCell) {
      cell = head.fresh++;
    } else {
      std::memcpy(&head.first_free, Address(PlaceOf(frame) + cell * CellBytes(head.kind)),
                  sizeof head.first_free);
    }
    if (++head.used == kCells[head.kind]) UnlinkSlab(frame);
    return cell;
  }

  void LinkSlab(std::uint32_t frame) const noexcept {
    std::uint32_t& first = shared_->with_room[frames_[frame].kind];
    frames_[frame].next = first;
    frames_[frame].previous = kNoFrame;
    if (first != kNoFrame) frames_[first].previous = frame;
    first = frame;
  }

  void UnlinkSlab(std::uint32_t frame) const noexcept {
    const Frame& head = frames_[frame];
    if (head.previous == kNoFrame)
      shared_->with_room[head.kind] = head.next;
    else
      frames_[head.previous].next = head.next;
    if (head.next != kNoFrame) frames_[head.next].previous = head.previous;
  }

  Shared* shared_ = nullptr;
  Frame* frames_ = nullptr;
  char* base_ = nullptr;
  FrameLists lists_;
};

}  // namespace tandem::shmem
