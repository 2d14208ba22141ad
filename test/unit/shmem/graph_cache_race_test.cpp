// Readers, loaders, evictors, and filters that want runs of the same frames, at once, on too few of them: whatever a reader finds belongs to the chunk that it looked up,
// and stays so until it leaves. Best under the thread sanitizer, which also sees whether the content was there before the
// number of its frame, and gone only after the last look.
//
// Seen to fail with: frames reused without asking the epochs; a load finished in another segment's table; a frame's number
// stored without release (sanitizer); Leave() without release (sanitizer); a chunk moved without waiting for readers; a chunk
// moved while it is loaded; a run that is given to filters without waiting for readers. What is too short to be met by chance is staged in
// chunk_directory_test.cpp.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "unit/shmem/test_memory.hpp"

namespace tandem::shmem {
namespace {

constexpr std::uint32_t kSegments = 12;
constexpr std::uint32_t kChunks = 20;  // of a segment
constexpr std::uint32_t kFrameCount = 90;
constexpr std::uint32_t kReaders = 3;
constexpr std::uint32_t kLoaders = 2;
constexpr std::uint32_t kStride = 1024;  // bytes between the words that are written and read of a chunk

/// In every word of a chunk's frame.
std::uint64_t ContentOf(std::uint32_t segment, std::uint32_t chunk) {
  return (std::uint64_t{segment} << 32 | chunk) * 0x9E3779B97F4A7C15U + 1;
}

class Random {
 public:
  explicit Random(std::uint32_t seed) : engine_(seed) {}
  std::uint32_t Below(std::uint32_t bound) { return static_cast<std::uint32_t>(engine_()) % bound; }

 private:
  std::mt19937 engine_;
};

class GraphCacheRace {
 public:
  GraphCacheRace() : cache_(kFrameCount, kReaders + kLoaders) {}

  /// So long at least, and until it was a race; a busy machine may take long.
  void Run(std::chrono::milliseconds time) {
    std::vector<std::thread> threads;
    for (std::uint32_t i = 0; i < kReaders; i++) threads.emplace_back([this, i] { Read(i); });
    for (std::uint32_t i = 0; i < kLoaders; i++) threads.emplace_back([this, i] { Load(kReaders + i); });
    threads.emplace_back([this] { Evict(); });
    threads.emplace_back([this] { Filter(); });
    std::this_thread::sleep_for(time);
    for (int i = 0; i < 40'000 && !WasRace(); i++) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    done_ = true;
    for (std::thread& thread : threads) thread.join();
  }

  [[nodiscard]] bool WasRace() const {
    return found > 1000 && loaded > 1000 && forgotten > 100 && runs > 100;
  }

  /// All frames are somewhere: free or retired, after everything was forgotten.
  std::uint32_t FramesAfterAll() {
    while (cache_.directory.Forget([](const SegmentKey&) { return true; })) {
    }
    cache_.frames.Reclaim();
    return cache_.frames.Status().free;
  }

  std::atomic<std::uint64_t> found{0};
  std::atomic<std::uint64_t> wrong{0};
  std::atomic<std::uint64_t> loaded{0};
  std::atomic<std::uint64_t> forgotten{0};
  std::atomic<std::uint64_t> runs{0};
  std::atomic<std::uint64_t> runs_wrong{0};

 private:
  /// As FindSegment() does it.
  bool Find(std::uint32_t segment, CachedSegmentRef* ref, ChunkTable* table) {
    if (cache_.directory.Attach(*ref, now_, table)) return true;
    {
      const std::lock_guard<std::mutex> guard(cache_.lock);
      *ref = cache_.directory.Find(KeyOf(segment));
      if (ref->generation == 0) *ref = cache_.directory.Make(KeyOf(segment), kChunks, now_);
    }
    return cache_.directory.Attach(*ref, now_, table);
  }

  bool IsIntact(const char* chunk, std::uint64_t content) {
    for (std::uint32_t at = 0; at < kFrameBytes; at += kStride) {
      std::uint64_t word;
      std::memcpy(&word, chunk + at, sizeof word);
      if (word != content) return false;
    }
    return true;
  }

  void Read(std::uint32_t number) {
    Random random(number);
    CachedSegmentRef refs[kSegments] = {};
    while (!done_) {
      const std::uint32_t segment = random.Below(kSegments);
      ChunkTable table;
      cache_.frames.epochs.Enter(number);
      if (Find(segment, &refs[segment], &table)) ReadChunks(table, segment, &random);
      cache_.frames.epochs.Leave(number);
      Hesitate();
    }
  }

  void ReadChunks(const ChunkTable& table, std::uint32_t segment, Random* random) {
    const char* held[kChunks];
    for (std::uint32_t i = 0; i < kChunks; i++) held[i] = table.Chunk(i);
    if (random->Below(16) == 0) Hesitate();
    for (std::uint32_t i = 0; i < kChunks; i++) {
      const char* now = table.Chunk(i);
      for (const char* chunk : {held[i], now}) {
        if (chunk == nullptr) continue;
        found++;
        if (!IsIntact(chunk, ContentOf(segment, i))) wrong++;
      }
    }
  }

  void Load(std::uint32_t number) {
    Random random(number);
    CachedSegmentRef refs[kSegments] = {};
    while (!done_) {
      const std::uint32_t segment = random.Below(kSegments);
      ChunkTable table;
      cache_.frames.epochs.Enter(number);
      const bool there = Find(segment, &refs[segment], &table);
      cache_.frames.epochs.Leave(number);
      if (!there) continue;
      for (std::uint32_t i = 0; i < 4; i++)
        LoadChunk(refs[segment], segment, random.Below(kChunks), random.Below(16) == 0);
    }
  }

  void LoadChunk(const CachedSegmentRef& ref, std::uint32_t segment, std::uint32_t chunk, bool abandon) {
    std::uint32_t frame;
    {
      const std::lock_guard<std::mutex> guard(cache_.lock);
      frame = cache_.directory.BeginLoad(ref, chunk, now_);
    }
    if (frame == kNoFrame) return;
    const std::uint64_t content = ContentOf(segment, chunk);
    for (std::uint32_t at = 0; at < kFrameBytes; at += kStride)
      std::memcpy(cache_.frames.Address(frame) + at, &content, sizeof content);
    bool kept = false;
    {
      const std::lock_guard<std::mutex> guard(cache_.lock);
      if (abandon)
        cache_.directory.AbandonLoad(ref, chunk);
      else
        kept = cache_.directory.FinishLoad(ref, chunk, frame);
    }
    if (kept)
      loaded++;
    else
      cache_.frames.GiveBack(frame);
  }

  /// Time flies, so that segments grow idle and are evicted by those who load; now and then one is forgotten.
  void Evict() {
    Random random(99);
    while (!done_) {
      now_ += random.Below(12);
      std::this_thread::sleep_for(std::chrono::microseconds(random.Below(200)));
      if (random.Below(4) != 0) continue;
      const SegmentKey key = KeyOf(random.Below(kSegments));
      const std::lock_guard<std::mutex> guard(cache_.lock);
      while (cache_.directory.Forget([&key](const SegmentKey& other) { return other == key; })) {
      }
      forgotten++;
    }
  }

  struct FilterRun {
    std::uint64_t at = 0;
    std::uint32_t frames = 0;
    std::uint64_t content = 0;
  };

  /// Some runs at a time, each written whole when it is had and looked at when it is given back. Nobody else writes there meanwhile.
  void Filter() {
    Random random(77);
    FilterRun held[5];
    while (!done_) {
      FilterRun& run = held[random.Below(5)];
      GiveBack(&run);
      run.frames = 1 + random.Below(6);
      MakeRoom(run.frames, &random);
      run.at = cache_.frames.Allocate(std::size_t{run.frames} * kFrameBytes);
      run.content = random.Below(~0U);
      if (run.at != 0)
        ForEachWord(run, [&run](char* word) { std::memcpy(word, &run.content, sizeof run.content); });
      Hesitate();
    }
    for (FilterRun& run : held) GiveBack(&run);
  }

  void MakeRoom(std::uint32_t frames, Random* random) {
    if (random->Below(2) == 0) {
      const std::lock_guard<std::mutex> guard(cache_.lock);
      cache_.directory.GiveUp(frames, now_);
      return;
    }
    std::uint32_t first;
    {
      const std::lock_guard<std::mutex> guard(cache_.lock);
      first = cache_.directory.FindClearableRun(frames);
    }
    // Frame by frame, others being let in between.
    for (std::uint32_t frame = first; first != kNoFrame && frame < first + frames; frame++) {
      const std::lock_guard<std::mutex> guard(cache_.lock);
      cache_.directory.ClearFrames(first, frame, frame + 1);
    }
  }

  template <typename Body>
  void ForEachWord(const FilterRun& run, Body body) {
    for (std::size_t at = 0; at < std::size_t{run.frames} * kFrameBytes; at += kStride)
      body(cache_.frames.PieceAt(run.at) + at);
  }

  void GiveBack(FilterRun* run) {
    if (run->at == 0) return;
    ForEachWord(*run, [this, run](const char* word) {
      if (std::memcmp(word, &run->content, sizeof run->content) != 0) runs_wrong++;
    });
    runs++;
    cache_.frames.Free(run->at);
    run->at = 0;
  }

  TestCache cache_;
  std::atomic<std::uint32_t> now_{1000};
  std::atomic<bool> done_{false};
};

TEST(GraphCache, AReaderFindsTheChunkItLookedUpOrNone) {
  GraphCacheRace race;
  race.Run(std::chrono::milliseconds(1500));
  EXPECT_EQ(race.wrong, 0U) << "of " << race.found;
  EXPECT_TRUE(race.WasRace()) << race.found << " found, " << race.loaded << " loaded, " << race.forgotten
                              << " forgotten, " << race.runs << " runs";
  EXPECT_EQ(race.runs_wrong, 0U);
  EXPECT_EQ(race.FramesAfterAll(), kFrameCount);
}

}  // namespace
}  // namespace tandem::shmem
