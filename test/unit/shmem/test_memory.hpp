#pragma once
// Frames, epochs and a directory of chunks in ordinary memory, with threads for processes and mutexes for the server's locks.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "shmem/chunk_directory.hpp"
#include "shmem/epochs.hpp"
#include "shmem/filter_memory.hpp"
#include "shmem/frame_lists.hpp"

namespace tandem::shmem {

/// Stops here now and then, as a process may anywhere: what takes nanoseconds otherwise becomes a window for races.
inline void Hesitate() {
  thread_local std::uint32_t calls = 0;
  calls++;
  if (calls % 509 == 0)
    std::this_thread::sleep_for(std::chrono::microseconds(calls % 64));
  else if (calls % 61 == 0)
    std::this_thread::yield();
}

/// As frame_pool.cpp, less what an error gives back.
class TestFrames {
 public:
  TestFrames(std::uint32_t frames, std::uint32_t readers)
      : memory_((std::size_t{frames} + 1) * kFrameBytes),
        links_(frames),
        map_(FrameLists::MapWords(frames)),
        filter_frames_(frames),
        readers_(readers) {
    const auto address = reinterpret_cast<std::uintptr_t>(memory_.data());
    base_ = memory_.data() + (kFrameBytes - address % kFrameBytes);
    epochs = Epochs(&epochs_shared_, readers_.data(), readers);
    epochs.Init();
    lists_ = FrameLists(&lists_shared_, links_.data(), map_.data());
    lists_.Init(frames);
    filters_ = FilterMemory(&filters_shared_, filter_frames_.data(), base_, lists_);
    filters_.Init();
  }

  [[nodiscard]] char* Address(std::uint32_t frame) { return base_ + std::size_t{frame} * kFrameBytes; }

  [[nodiscard]] std::uint32_t Take() {
    const std::lock_guard<std::mutex> guard(lock_);
    if (are_for_filters) return kNoFrame;
    if (lists_.Status().free == 0 && lists_.Status().retired > 0) lists_.Reclaim(epochs.OldestInside());
    return lists_.Take();
  }

  void GiveBack(std::uint32_t frame) {
    const std::lock_guard<std::mutex> guard(lock_);
    lists_.GiveBack(frame);
  }

  void Retire(const std::uint32_t* frames, std::uint32_t count) {
    const std::lock_guard<std::mutex> guard(lock_);
    const std::uint64_t stamp = epochs.Stamp();
    for (std::uint32_t i = 0; i < count; i++) lists_.Retire(frames[i], stamp);
  }

  void SetOwner(std::uint32_t frame, const FrameOwner& owner) { lists_.SetOwner(frame, owner); }
  [[nodiscard]] FrameOwner OwnerOf(std::uint32_t frame) { return lists_.OwnerOf(frame); }

  [[nodiscard]] std::uint32_t FindMovableRun(std::uint32_t count) {
    const std::lock_guard<std::mutex> guard(lock_);
    return lists_.FindMovableRun(count);
  }

  // What the filter cache does with them.

  [[nodiscard]] std::uint64_t Allocate(std::size_t bytes, std::uint64_t most_frames = ~std::uint64_t{0}) {
    const std::lock_guard<std::mutex> guard(lock_);
    if (lists_.Status().retired > 0) lists_.Reclaim(epochs.OldestInside());
    return filters_.Allocate(bytes, most_frames);
  }
  void Free(std::uint64_t at) {
    const std::lock_guard<std::mutex> guard(lock_);
    filters_.Free(at);
  }
  [[nodiscard]] char* PieceAt(std::uint64_t at) const { return filters_.Address(at); }

  [[nodiscard]] FrameLists::Shared Status() {
    const std::lock_guard<std::mutex> guard(lock_);
    return lists_.Status();
  }

  /// Frees what can be freed now.
  void Reclaim() {
    const std::lock_guard<std::mutex> guard(lock_);
    lists_.Reclaim(epochs.OldestInside());
  }

  Epochs epochs;
  bool are_for_filters = false;  ///< what is free; not to be changed while threads run

  // What a test does in the middle of what the directory does; empty: nothing.
  std::function<void()> on_address;
  std::function<void(const std::uint32_t* frames, std::uint32_t count)> on_retire;

 private:
  std::vector<char> memory_;
  char* base_;
  std::mutex lock_;
  Epochs::Shared epochs_shared_;
  FrameLists::Shared lists_shared_;
  FrameLists lists_;
  FilterMemory::Shared filters_shared_;
  FilterMemory filters_;
  std::vector<FrameLists::Link> links_;
  std::vector<std::uint64_t> map_;
  std::vector<FilterMemory::Frame> filter_frames_;
  std::vector<Epochs::Reader> readers_;
};

/// The interface of a pool, by reference.
struct TestPool {
  TestFrames* frames = nullptr;

  [[nodiscard]] char* Address(std::uint32_t frame) const {
    Hesitate();
    if (frames->on_address) frames->on_address();
    return frames->Address(frame);
  }
  [[nodiscard]] std::uint32_t Take() const { return frames->Take(); }
  [[nodiscard]] std::uint32_t TakeInExchange() const { return frames->Take(); }
  void Keep(std::uint32_t /*frame*/) const {}
  void GiveBack(std::uint32_t frame) const { frames->GiveBack(frame); }
  void Retire(const std::uint32_t* retired, std::uint32_t count) const {
    if (frames->on_retire) frames->on_retire(retired, count);
    frames->Retire(retired, count);
    Hesitate();
  }
  [[nodiscard]] bool AnyRetired() const { return frames->Status().retired > 0; }
  [[nodiscard]] bool IsForFilters() const { return frames->are_for_filters; }
  [[nodiscard]] static policy::BudgetMode Mode() { return policy::BudgetMode::kCoordinated; }
  void SetOwner(std::uint32_t frame, const FrameOwner& owner) const { frames->SetOwner(frame, owner); }
  [[nodiscard]] FrameOwner OwnerOf(std::uint32_t frame) const { return frames->OwnerOf(frame); }
  [[nodiscard]] std::uint32_t FindMovableRun(std::uint32_t count) const {
    return frames->FindMovableRun(count);
  }
};

using TestDirectory = ChunkDirectory<TestPool>;

/// Both; frames for a reader with number 0 to `readers` - 1.
class TestCache {
 public:
  TestCache(std::uint32_t frame_count, std::uint32_t readers)
      : frames(frame_count, readers),
        shared_(std::make_unique<TestDirectory::Shared>()),
        directory(shared_.get(), TestPool{&frames}) {}

  TestFrames frames;
  std::mutex lock;  ///< the directory's

 private:
  std::unique_ptr<TestDirectory::Shared> shared_;

 public:
  TestDirectory directory;
};

[[nodiscard]] inline SegmentKey KeyOf(std::uint32_t segment, std::uint32_t file = 100) {
  return {5, 1663, file, segment, 0x1234567890ABCDEFU};
}

}  // namespace tandem::shmem
