#pragma once
// Which frame holds which chunk of which segment: the graph cache without locks, callbacks and clock, which graph_cache.cpp
// adds. Includes no server header, so that threads can attack it under a sanitizer (test/unit/shmem).
//
// Who finds what, and what is unlinked where (README.md has the argument):
//
//   ref ─► slot: generation ─► table frames ─► entry: frame of the chunk
//              set to 0            │               set to kNoFrame
//              when the segment    └ retired       when the chunk is evicted,
//              goes                  after it      then the frame is retired

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "policy/cache_policy.hpp"
#include "shmem/budget.hpp"
#include "shmem/frame_lists.hpp"

namespace tandem::shmem {

/// What of a segment is cached under a key.
enum class SegmentPart : std::uint32_t {
  kGraph = 0,
  kTail = 1,  ///< codes, in those of the segment, of the rows that follow it (tail_chunk.hpp)
};

/// Names one content for ever, within one life of the server's shared memory: a tail's only grows. Not for temporary relations.
struct SegmentKey {
  std::uint32_t database;
  std::uint32_t tablespace;
  std::uint32_t file_node;  ///< relfilenode
  std::uint32_t segment;
  std::uint64_t incarnation;
  SegmentPart part = SegmentPart::kGraph;
};

[[nodiscard]] inline bool operator==(const SegmentKey& a, const SegmentKey& b) noexcept {
  return a.incarnation == b.incarnation && a.file_node == b.file_node && a.segment == b.segment &&
         a.database == b.database && a.tablespace == b.tablespace && a.part == b.part;
}

/// Where this backend last found a segment; plain data, a hint that is checked at every use.
struct CachedSegmentRef {
  std::uint32_t slot;
  std::uint64_t generation;  ///< 0: never attached
};

/// What a table of chunks holds instead of a frame's number. kNoFrame: not in memory.
constexpr std::uint32_t kLoadingFrame = kNoFrame - 1;

/// The chunks of a segment that are in memory. Valid from EnterFrames() to LeaveFrames().
struct ChunkTable {
  static constexpr std::uint32_t kChunksPerFrame = kFrameBytes / sizeof(std::uint32_t);
  static constexpr std::uint32_t kFrames = 64;  ///< 64 GB of chunks

  const char* base;  ///< FrameBase()
  const std::atomic<std::uint32_t>* frame_of[kFrames];

  /// nullptr if it is not in memory.
  [[nodiscard]] const char* Chunk(std::uint32_t chunk) const noexcept {
    const std::uint32_t frame =
        frame_of[chunk / kChunksPerFrame][chunk % kChunksPerFrame].load(std::memory_order_acquire);
    return frame >= kLoadingFrame ? nullptr : base + static_cast<std::size_t>(frame) * kFrameBytes;
  }
};

static_assert(std::atomic<std::uint32_t>::is_always_lock_free &&
                  sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t),
              "processes share tables of them");

/// What searches of one process have read of a segment since it last counted them for all.
struct SegmentUses {
  float searches = 0;
  policy::GraphReads reads;
};

/// What is cached of a segment, for views.
struct CachedSegmentStatus {
  SegmentKey key;
  std::uint32_t chunks;  ///< of the whole segment
  std::uint32_t cached_chunks;
  std::uint32_t table_frames;
  std::uint32_t idle_seconds;  ///< since the last search or load
  std::uint64_t loads;         ///< of chunks
  std::uint64_t evictions;
  float load_us;  ///< of one chunk, of late; 0: not known
  float uses;     ///< decayed, see policy::UseCount
};

/// The directory in memory that all processes share, zeroed at first. Pool: Address(frame), Take(), TakeInExchange(), Keep(frame),
/// GiveBack(frame), AnyRetired(), IsForFilters(), Retire(frames, count), SetOwner(frame, owner), OwnerOf(frame) and
/// FindMovableRun(count), as in frame_pool.hpp, and Mode(), that of the budget. Times are seconds of a clock that never goes back, greater than 0.
///
/// A reader calls Attach() between Epochs::Enter() and Leave(), without a lock; IsFull() and MayHaveRoom() need none either.
/// Everything else is done under the directory's lock: Find() and ReadStatus() shared, the others exclusive.
template <typename Pool>
class ChunkDirectory {
 public:
  static constexpr std::uint32_t kSlots = 1024;
  static constexpr std::uint32_t kNoSlot = ~std::uint32_t{0};

  /// A segment that was used within this time keeps its chunks, whoever asks for their frames. Longer than the time in which
  /// the whole of an ordinary budget is read again (about a second a GB), so that segments which together exceed it and
  /// are used in turns spend their time in searching, not in loading.
  static constexpr std::uint32_t kIdleSeconds = 10;

  /// Chunks of 256 MB: some 100 us.
  static constexpr std::uint32_t kMostForgotten = 4096;

  /// Chunks evicted at a time, 1 MB: the stamp, and the look at every reader, are paid once for all of them.
  static constexpr std::uint32_t kBatch = 16;

  /// A: read without the lock. What loads write is on other cache lines than what searches read.
  struct alignas(64) Slot {
    std::atomic<std::uint64_t> generation;    ///< A: of the segment here, never used before; 0: none
    std::atomic<std::uint32_t> used_at;       ///< A: written when it changes, that is once a second
    std::atomic<float> uses;                  ///< A: as of used_at
    std::atomic<float> recent_uses;           ///< A: policy::RecentUses, as of used_at
    std::atomic<float> uses_before;           ///< A
    std::atomic<std::uint32_t> since;         ///< A: when `uses` began
    std::atomic<float> codes_read;            ///< A: policy::GraphReads of a search
    std::atomic<float> lists_read;            ///< A
    std::atomic<std::uint32_t> table_frames;  ///< A
    std::atomic<std::uint32_t> tables[ChunkTable::kFrames];  ///< A: frames
    SegmentKey key;
    std::uint32_t chunks;
    std::uint32_t link_chunks;  ///< of a graph: the last of them
    std::uint32_t cached_chunks;
    std::uint32_t chunks_end;  ///< no chunk from here on is cached
    std::uint64_t loads;
    std::uint64_t evictions;
    float load_us;  ///< of one chunk, of late
  };

  struct Shared {
    std::uint64_t last_generation;
    std::atomic<std::uint32_t> full_at;  ///< A: when there last was neither a free frame nor an idle segment
    std::atomic<std::uint32_t>
        crowded_at;                ///< A: when there last was neither a free slot nor an idle segment
    std::uint32_t hashes[kSlots];  ///< of the keys, for a quick look; 0 where no segment is
    Slot slots[kSlots];
  };

  ChunkDirectory() = default;
  ChunkDirectory(Shared* shared, Pool pool) noexcept : shared_(shared), pool_(pool) {}

  /// What is in memory of the segment that `ref` was given for; false if it has gone. Marks it as used.
  [[nodiscard]] bool Attach(const CachedSegmentRef& ref, std::uint32_t now,
                            ChunkTable* table) const noexcept {
    if (ref.generation == 0) return false;
    Slot& slot = shared_->slots[ref.slot];
    if (slot.generation.load(std::memory_order_acquire) != ref.generation) return false;
    table->base = pool_.Address(0);
    const std::uint32_t count = slot.table_frames.load(std::memory_order_acquire);
    for (std::uint32_t i = 0; i < count; i++)
      table->frame_of[i] = Entries(slot.tables[i].load(std::memory_order_acquire));
    // Whoever gave the slot to another segment set the generation before the tables: none of those was read.
    if (slot.generation.load(std::memory_order_relaxed) != ref.generation) return false;
    MarkUsed(&slot, now, 0);
    return true;
  }

  /// Some searches of the segment, together: they do not write to the same line all the time. Should it have gone just now, those of
  /// another are counted: it decides who gives way, no more.
  void Count(const CachedSegmentRef& ref, std::uint32_t now, const SegmentUses& uses) const noexcept {
    Slot* slot = Held(ref);
    if (slot == nullptr) return;
    MarkUsed(slot, now, uses.searches);
    MarkReads(slot, uses);
  }

  /// Nobody looks for memory twice in the second in which there was none: under pressure every search would.
  [[nodiscard]] bool IsFull(std::uint32_t now) const noexcept {
    return shared_->full_at.load(std::memory_order_relaxed) == now;
  }

  /// The same for a place for another segment.
  [[nodiscard]] bool MayHaveRoom(std::uint32_t now) const noexcept {
    return !IsFull(now) && shared_->crowded_at.load(std::memory_order_relaxed) != now;
  }

  /// Generation 0 if the segment has no place.
  [[nodiscard]] CachedSegmentRef Find(const SegmentKey& key) const noexcept {
    const std::uint32_t hash = HashOf(key);
    for (std::uint32_t i = 0; i < kSlots; i++) {
      const Slot& slot = shared_->slots[i];
      if (shared_->hashes[i] == hash && slot.key == key)
        return {i, slot.generation.load(std::memory_order_relaxed)};
    }
    return {0, 0};
  }

  /// Of a segment that Find() has just found.
  [[nodiscard]] std::uint32_t ChunksOf(const CachedSegmentRef& ref) const noexcept {
    return shared_->slots[ref.slot].chunks;
  }

  /// A place for a segment that has none, nothing of it cached; generation 0 if there is no slot or no frame for its table.
  /// link_chunks: of its chunks the last ones, which searches read least.
  [[nodiscard]] CachedSegmentRef Make(const SegmentKey& key, std::uint32_t chunks, std::uint32_t now,
                                      std::uint32_t link_chunks = 0) const noexcept {
    const std::uint32_t tables = (chunks + ChunkTable::kChunksPerFrame - 1) / ChunkTable::kChunksPerFrame;
    if (tables > ChunkTable::kFrames || !MayHaveRoom(now)) return {0, 0};
    const std::uint32_t free = FreeSlot(now);
    if (free == kNoSlot) {
      shared_->crowded_at.store(now, std::memory_order_relaxed);
      return {0, 0};
    }
    if (!MakeTables(free, tables, now)) return {0, 0};
    shared_->slots[free].link_chunks = link_chunks;
    return Publish(free, key, chunks, now);
  }

  /// A frame to load the chunk into, out of the pool; kNoFrame if the segment has gone, somebody else loads the chunk or has
  /// done so, or no memory is to be had.
  [[nodiscard]] std::uint32_t BeginLoad(const CachedSegmentRef& ref, std::uint32_t chunk,
                                        std::uint32_t now) const noexcept {
    Slot* slot = Held(ref);
    if (slot == nullptr || chunk >= slot->chunks) return kNoFrame;
    MarkUsed(slot, now, 0);
    std::atomic<std::uint32_t>& entry = EntryOf(*slot, chunk);
    if (entry.load(std::memory_order_relaxed) != kNoFrame || IsFull(now)) return kNoFrame;
    const std::uint32_t frame = TakeFrame(ref.slot, now);
    if (frame != kNoFrame) entry.store(kLoadingFrame, std::memory_order_relaxed);
    return frame;
  }

  /// The chunk can be seen from now on. False if the segment has gone: the frame is still the caller's. load_us: what it took.
  [[nodiscard]] bool FinishLoad(const CachedSegmentRef& ref, std::uint32_t chunk, std::uint32_t frame,
                                float load_us = 0) const noexcept {
    Slot* slot = Held(ref);
    if (slot == nullptr) return false;
    slot->load_us = policy::WithCost(slot->load_us, load_us);
    pool_.SetOwner(frame, {ref.slot, chunk});
    // Release: whoever reads the frame's number sees what was loaded into it.
    EntryOf(*slot, chunk).store(frame, std::memory_order_release);
    slot->cached_chunks++;
    slot->loads++;
    if (slot->chunks_end <= chunk) slot->chunks_end = chunk + 1;
    return true;
  }

  /// Somebody else may load the chunk. The frame is the caller's.
  void AbandonLoad(const CachedSegmentRef& ref, std::uint32_t chunk) const noexcept {
    Slot* slot = Held(ref);
    if (slot != nullptr) EntryOf(*slot, chunk).store(kNoFrame, std::memory_order_relaxed);
    shared_->full_at.store(0, std::memory_order_relaxed);
  }

  /// Takes segments out whose key `matches`, and at most kMostForgotten of their chunks at a time: others wait for the lock. True if
  /// there are more.
  template <typename Predicate>
  [[nodiscard]] bool Forget(Predicate matches) const noexcept {
    bool more = false;
    std::uint32_t left = kMostForgotten;
    for (std::uint32_t i = 0; i < kSlots && !more; i++) {
      if (shared_->hashes[i] == 0 || !matches(shared_->slots[i].key)) continue;
      more = !DropSome(i, &left);
    }
    shared_->full_at.store(0, std::memory_order_relaxed);
    shared_->crowded_at.store(0, std::memory_order_relaxed);
    return more;
  }

  /// Where there is no memory for a chunk that every search reads some of: makes room by giving up chunks of links of the same segment,
  /// of which each is worth much less. Memory that came back little by little, chunk by chunk as they were missed, has some of both. Only
  /// this way round, so it comes to an end. True if there is room, once readers have left.
  [[nodiscard]] bool GiveLinksUp(const CachedSegmentRef& ref, std::uint32_t chunk) const noexcept {
    Slot* slot = Held(ref);
    if (slot == nullptr || slot->link_chunks == 0 || pool_.AnyRetired() || pool_.IsForFilters()) return false;
    const std::uint32_t others = slot->chunks - slot->link_chunks;
    if (chunk >= others || !policy::AreCodesWorthMore(ReadsOf(*slot), others, slot->link_chunks))
      return false;
    if (Evict(ref.slot, kBatch, others) == 0) return false;
    SayRoom();
    return true;
  }

  // ---- For another cache ----

  /// Of what GiveUp() would take first; 0 if there is nothing.
  [[nodiscard]] double LeastUtility(std::uint32_t now) const noexcept {
    const std::uint32_t victim = LeastUsefulWithChunks(now);
    return victim == kNoSlot ? 0 : WorthOfChunk(shared_->slots[victim], now);
  }

  /// Takes about `count` frames away from what is worth least, in use or not. They can be had once readers have left.
  void GiveUp(std::uint32_t count, std::uint32_t now) const noexcept {
    while (count > 0) {
      const std::uint32_t victim = LeastUsefulWithChunks(now);
      if (victim == kNoSlot) return;
      const std::uint32_t given = Evict(victim, std::min(count, kBatch));
      if (shared_->slots[victim].cached_chunks == 0) Drop(victim);
      count -= given;
    }
  }

  /// Where `count` neighbouring frames can be made free by ClearFrames(); kNoFrame: nowhere.
  [[nodiscard]] std::uint32_t FindClearableRun(std::uint32_t count) const noexcept {
    return pool_.FindMovableRun(count);
  }

  /// Makes frames [from, end) of a run that begins at `first` free, once readers have left: what is in them goes to frames below it,
  /// or, where there is none, is given up. A run may be cleared part by part, the lock being free in between: whatever came into it
  /// meanwhile is moved as well, or stays if it cannot be.
  void ClearFrames(std::uint32_t first, std::uint32_t from, std::uint32_t end) const noexcept {
    for (std::uint32_t frame = from; frame < end; frame++) {
      const FrameOwner owner = pool_.OwnerOf(frame);
      if (owner.slot != FrameOwner::kNobody) Vacate(frame, owner, first);
    }
  }

  /// Somebody has made room: who was refused may try again.
  void SayRoom() const noexcept { shared_->full_at.store(0, std::memory_order_relaxed); }

  /// Copies at most `room`; returns how many there are.
  [[nodiscard]] std::uint32_t ReadStatus(CachedSegmentStatus* to, std::uint32_t room,
                                         std::uint32_t now) const noexcept {
    std::uint32_t count = 0;
    for (std::uint32_t i = 0; i < kSlots; i++) {
      if (shared_->hashes[i] == 0) continue;
      const Slot& slot = shared_->slots[i];
      if (count < room)
        to[count] = {slot.key,
                     slot.chunks,
                     slot.cached_chunks,
                     slot.table_frames.load(std::memory_order_relaxed),
                     IdleSeconds(slot, now),
                     slot.loads,
                     slot.evictions,
                     slot.load_us,
                     policy::UsesAt(CountOf(slot), now)};
      count++;
    }
    return count;
  }

 private:
  using Entry = std::atomic<std::uint32_t>;

  [[nodiscard]] Entry* Entries(std::uint32_t table_frame) const noexcept {
    return reinterpret_cast<Entry*>(pool_.Address(table_frame));
  }

  [[nodiscard]] Entry& EntryOf(const Slot& slot, std::uint32_t chunk) const noexcept {
    const std::uint32_t table =
        slot.tables[chunk / ChunkTable::kChunksPerFrame].load(std::memory_order_relaxed);
    return Entries(table)[chunk % ChunkTable::kChunksPerFrame];
  }

  /// Never 0. The parts are multiplied by odd numbers that spread their bits (of the golden ratio and of xxHash64).
  [[nodiscard]] static std::uint32_t HashOf(const SegmentKey& key) noexcept {
    std::uint64_t mixed = key.incarnation ^ (std::uint64_t{key.file_node} << 32 | key.segment);
    mixed = (mixed + static_cast<std::uint64_t>(key.part)) * 0x9E3779B97F4A7C15U;
    mixed ^= std::uint64_t{key.database} << 32 | key.tablespace;
    mixed *= 0xC2B2AE3D27D4EB4FU;
    return static_cast<std::uint32_t>(mixed >> 32) | 1;
  }

  [[nodiscard]] static policy::UseCount CountOf(const Slot& slot) noexcept {
    return {slot.uses.load(std::memory_order_relaxed), slot.used_at.load(std::memory_order_relaxed)};
  }

  [[nodiscard]] static policy::RecentUses RecentOf(const Slot& slot) noexcept {
    return {slot.recent_uses.load(std::memory_order_relaxed),
            slot.uses_before.load(std::memory_order_relaxed), slot.used_at.load(std::memory_order_relaxed)};
  }

  /// Of two at once one may be lost.
  static void MarkUsed(Slot* slot, std::uint32_t now, float uses) noexcept {
    // Most calls write nothing, so that searches share the line.
    const bool is_later = slot->used_at.load(std::memory_order_relaxed) != now;
    if (!is_later && uses == 0) return;
    // Also who only looks uses it.
    const float more = uses == 0 ? 1 : uses;
    const policy::RecentUses recent = policy::WithRecentUses(RecentOf(*slot), more, now);
    if (policy::IsForgotten(CountOf(*slot), now)) slot->since.store(now, std::memory_order_relaxed);
    const policy::UseCount count = policy::WithUses(CountOf(*slot), more, now);
    slot->uses.store(count.uses, std::memory_order_relaxed);
    slot->recent_uses.store(recent.uses, std::memory_order_relaxed);
    if (is_later) slot->uses_before.store(recent.before, std::memory_order_relaxed);
    if (is_later) slot->used_at.store(now, std::memory_order_relaxed);
  }

  [[nodiscard]] static policy::GraphReads ReadsOf(const Slot& slot) noexcept {
    return {slot.codes_read.load(std::memory_order_relaxed), slot.lists_read.load(std::memory_order_relaxed)};
  }

  /// Of two at once one may be lost.
  static void MarkReads(Slot* slot, const SegmentUses& uses) noexcept {
    const policy::GraphReads reads = policy::WithReads(ReadsOf(*slot), uses.reads, uses.searches);
    slot->codes_read.store(reads.codes, std::memory_order_relaxed);
    slot->lists_read.store(reads.lists, std::memory_order_relaxed);
  }

  /// Among graphs, of which all are used by fits and starts.
  [[nodiscard]] static double UtilityOfChunk(const Slot& slot, std::uint32_t now) noexcept {
    return policy::UtilityOf({PartOfUses(slot, CountOf(slot).uses), CountOf(slot).at},
                             {slot.load_us, kFrameBytes}, now);
  }

  /// To others: by what searches need now.
  [[nodiscard]] double WorthOfChunk(const Slot& slot, std::uint32_t now) const noexcept {
    const policy::UseCount count =
        policy::AsAlways(CountOf(slot), slot.since.load(std::memory_order_relaxed), now);
    const float uses = policy::UsesNow(count, RecentOf(slot), now);
    const bool is_by_age = pool_.Mode() == policy::BudgetMode::kLru;
    return policy::WorthOf(pool_.Mode(), {PartOfUses(slot, uses), is_by_age ? count.at : now},
                           {slot.load_us, kFrameBytes}, now);
  }

  /// Of the chunk that would go first. Of a tail every search reads all.
  [[nodiscard]] static float PartOfUses(const Slot& slot, float uses) noexcept {
    if (slot.key.part != SegmentPart::kGraph) return uses;
    const std::uint32_t others = slot.chunks - slot.link_chunks;
    const policy::GraphReads reads = ReadsOf(slot);
    return slot.chunks_end > others ? policy::UsesOfChunk(uses, slot.link_chunks, reads.lists)
                                    : policy::UsesOfChunk(uses, others, reads.codes);
  }

  /// 0 also for one that was marked after `now` was read.
  [[nodiscard]] static std::uint32_t IdleSeconds(const Slot& slot, std::uint32_t now) noexcept {
    const std::uint32_t used_at = slot.used_at.load(std::memory_order_relaxed);
    return now > used_at ? now - used_at : 0;
  }

  [[nodiscard]] Slot* Held(const CachedSegmentRef& ref) const noexcept {
    if (ref.generation == 0) return nullptr;
    Slot* slot = &shared_->slots[ref.slot];
    return slot->generation.load(std::memory_order_relaxed) == ref.generation ? slot : nullptr;
  }

  /// A slot without a segment, if need be after one that was not used for a while has gone from it.
  [[nodiscard]] std::uint32_t FreeSlot(std::uint32_t now) const noexcept {
    for (std::uint32_t i = 0; i < kSlots; i++)
      if (shared_->hashes[i] == 0) return i;
    const std::uint32_t victim = LeastUsefulIdle(kNoSlot, now);
    std::uint32_t left = kMostForgotten;
    // The rest of a large one goes the next time.
    return victim != kNoSlot && DropSome(victim, &left) ? victim : kNoSlot;
  }

  /// Of those that were not used for kIdleSeconds; not `asker`.
  [[nodiscard]] std::uint32_t LeastUsefulIdle(std::uint32_t asker, std::uint32_t now) const noexcept {
    return LeastUseful(
        [asker, now](std::uint32_t i, const Slot& slot) {
          return i != asker && IdleSeconds(slot, now) >= kIdleSeconds;
        },
        [now](const Slot& slot) { return UtilityOfChunk(slot, now); }, now);
  }

  /// Used or not. One without chunks has nothing to give, and is being loaded: what it will be worth is not known.
  [[nodiscard]] std::uint32_t LeastUsefulWithChunks(std::uint32_t now) const noexcept {
    return LeastUseful([](std::uint32_t, const Slot& slot) { return slot.cached_chunks > 0; },
                       [this, now](const Slot& slot) { return WorthOfChunk(slot, now); }, now);
  }

  /// Of those that `may_give` the one whose chunks are worth least, of several the longest unused. kNoSlot: there is none.
  template <typename Predicate, typename Worth>
  [[nodiscard]] std::uint32_t LeastUseful(Predicate may_give, Worth worth_of,
                                          std::uint32_t now) const noexcept {
    std::uint32_t found = kNoSlot;
    double least = 0;
    std::uint32_t longest = 0;
    for (std::uint32_t i = 0; i < kSlots; i++) {
      if (shared_->hashes[i] == 0 || !may_give(i, shared_->slots[i])) continue;
      const std::uint32_t idle = IdleSeconds(shared_->slots[i], now);
      const double utility = worth_of(shared_->slots[i]);
      if (found != kNoSlot && (utility > least || (utility == least && idle <= longest))) continue;
      found = i;
      least = utility;
      longest = idle;
    }
    return found;
  }

  /// A free frame, if need be one of a segment that is not in use.
  [[nodiscard]] std::uint32_t TakeFrame(std::uint32_t asker, std::uint32_t now) const noexcept {
    const std::uint32_t frame = pool_.Take();
    if (frame != kNoFrame) return frame;
    // Frames that wait for a reader to leave come back by themselves; taking more away would only empty the cache.
    if (pool_.AnyRetired()) return kNoFrame;
    const std::uint32_t victim = pool_.IsForFilters() ? kNoSlot : LeastUsefulIdle(asker, now);
    if (victim == kNoSlot) {
      shared_->full_at.store(now, std::memory_order_relaxed);
      return kNoFrame;
    }
    if (Evict(victim, kBatch) < kBatch) Drop(victim);
    return pool_.Take();
  }

  /// Takes at most `limit` <= kBatch chunks away, the last ones first: those that every search needs come first. None before `from`.
  std::uint32_t Evict(std::uint32_t victim, std::uint32_t limit, std::uint32_t from = 0) const noexcept {
    Slot& slot = shared_->slots[victim];
    std::uint32_t frames[kBatch];
    std::uint32_t count = 0;
    while (slot.chunks_end > from && count < limit) {
      Entry& entry = EntryOf(slot, --slot.chunks_end);
      const std::uint32_t frame = entry.load(std::memory_order_relaxed);
      if (frame >= kLoadingFrame) continue;
      entry.store(kNoFrame, std::memory_order_relaxed);
      pool_.SetOwner(frame, {});
      frames[count++] = frame;
    }
    slot.cached_chunks -= count;
    slot.evictions += count;
    if (count > 0) pool_.Retire(frames, count);
    return count;
  }

  /// The chunk's content goes to a frame below `below`, or is given up. A tail's chunk is: somebody may be adding to it.
  void Vacate(std::uint32_t frame, const FrameOwner& owner, std::uint32_t below) const noexcept {
    Slot& slot = shared_->slots[owner.slot];
    std::uint32_t to = slot.key.part == SegmentPart::kGraph ? pool_.TakeInExchange() : kNoFrame;
    if (to != kNoFrame) pool_.Keep(to);
    if (to != kNoFrame && to >= below) {
      pool_.GiveBack(to);
      to = kNoFrame;
    }
    if (to != kNoFrame) {
      // Nobody writes to a graph's chunk, and nobody has seen the new frame.
      std::memcpy(pool_.Address(to), pool_.Address(frame), kFrameBytes);
      pool_.SetOwner(to, owner);
    } else {
      slot.cached_chunks--;
      slot.evictions++;
    }
    pool_.SetOwner(frame, {});
    // Release: whoever reads the frame's number sees what was copied.
    EntryOf(slot, owner.chunk).store(to, std::memory_order_release);
    pool_.Retire(&frame, 1);
  }

  /// False if it has more chunks than `left`, which becomes less by what was evicted.
  bool DropSome(std::uint32_t index, std::uint32_t* left) const noexcept {
    for (std::uint32_t evicted = kBatch; evicted == kBatch; *left -= evicted) {
      if (*left < kBatch) return false;
      evicted = Evict(index, kBatch);
    }
    Drop(index);
    return true;
  }

  /// A segment without chunks.
  void Drop(std::uint32_t index) const noexcept {
    Slot& slot = shared_->slots[index];
    shared_->hashes[index] = 0;
    slot.generation.store(0, std::memory_order_relaxed);
    std::uint32_t frames[ChunkTable::kFrames];
    const std::uint32_t count = slot.table_frames.load(std::memory_order_relaxed);
    for (std::uint32_t i = 0; i < count; i++) frames[i] = slot.tables[i].load(std::memory_order_relaxed);
    if (count > 0) pool_.Retire(frames, count);
  }

  [[nodiscard]] bool MakeTables(std::uint32_t index, std::uint32_t tables, std::uint32_t now) const noexcept {
    Slot& slot = shared_->slots[index];
    for (std::uint32_t i = 0; i < tables; i++) {
      const std::uint32_t frame = TakeFrame(index, now);
      if (frame == kNoFrame) {
        for (std::uint32_t j = 0; j < i; j++) pool_.GiveBack(slot.tables[j].load(std::memory_order_relaxed));
        return false;
      }
      pool_.Keep(frame);
      Entry* entries = Entries(frame);
      for (std::uint32_t j = 0; j < ChunkTable::kChunksPerFrame; j++)
        entries[j].store(kNoFrame, std::memory_order_relaxed);
      // Release, here and below: a reader that sees it sees that the generation before has ended.
      slot.tables[i].store(frame, std::memory_order_release);
    }
    slot.table_frames.store(tables, std::memory_order_release);
    return true;
  }

  [[nodiscard]] CachedSegmentRef Publish(std::uint32_t index, const SegmentKey& key, std::uint32_t chunks,
                                         std::uint32_t now) const noexcept {
    Slot& slot = shared_->slots[index];
    slot.key = key;
    slot.chunks = chunks;
    slot.cached_chunks = 0;
    slot.chunks_end = 0;
    slot.loads = 0;
    slot.evictions = 0;
    slot.load_us = 0;
    // Whoever makes it is about to use it: it is not the first to give way while it is loaded.
    slot.uses.store(1, std::memory_order_relaxed);
    slot.recent_uses.store(1, std::memory_order_relaxed);
    slot.uses_before.store(0, std::memory_order_relaxed);
    slot.since.store(now, std::memory_order_relaxed);
    slot.codes_read.store(policy::kUsualReads.codes, std::memory_order_relaxed);
    slot.lists_read.store(policy::kUsualReads.lists, std::memory_order_relaxed);
    slot.used_at.store(now, std::memory_order_relaxed);
    shared_->hashes[index] = HashOf(key);
    const std::uint64_t generation = ++shared_->last_generation;
    slot.generation.store(generation, std::memory_order_release);
    return {index, generation};
  }

  Shared* shared_ = nullptr;
  Pool pool_;
};

}  // namespace tandem::shmem
