#pragma once
// Which sets of which filters are kept, and who gives way: the filter cache without processes, which filter_cache.cpp adds.
// Includes no server header, so that threads can attack it under a sanitizer (test/unit/shmem).
//
//   hash of the key's bytes ──► FilterKeyEntry: the bytes
//                                     ▲ key
//   hash of entry and id ─────► CachedSet: what it is of, pins │ its ordinals         ring of a clock
//   hash of key and id ───────► AbsentSet: how often a set was asked for that is not kept
//
// All of it lies in pieces of one piece of memory, which name each other by their offsets.

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <new>

#include "base/ordinal_set.hpp"
#include "policy/cache_policy.hpp"

namespace tandem::shmem {

/// Which set of a filter. Compared whole.
struct FilterSetId {
  std::uint32_t segment;    ///< its id; ~0: rows that no segment holds
  std::uint32_t kind;       ///< the caller's: rows of the graph, its nodes, the rest …
  std::uint64_t first_row;  ///< of the rows that it was made from
};

[[nodiscard]] inline bool operator==(const FilterSetId& a, const FilterSetId& b) noexcept {
  return a.segment == b.segment && a.kind == b.kind && a.first_row == b.first_row;
}

/// What is looked up: bytes that hold everything the answer depends on but the database, compared in full. The caller's memory.
struct FilterKey {
  const char* bytes;
  std::uint32_t size;
  std::uint32_t database;
  std::uint64_t hash;  ///< of bytes
};

/// How much a set knows: the later view of the index first, then up to where its rows go.
struct FilterSetAge {
  std::uint64_t view;     ///< the caller's number of the view of the index it was made in
  std::uint64_t end_row;  ///< of the rows it was made from
};

[[nodiscard]] inline bool operator<(const FilterSetAge& a, const FilterSetAge& b) noexcept {
  return a.view != b.view ? a.view < b.view : a.end_row < b.end_row;
}

/// The head of an allocated piece of memory.
struct FilterPiece {
  std::uint64_t at;     ///< its own offset
  std::uint64_t bytes;  ///< this head included
  std::uint64_t next;   ///< L: in its bucket; or among those to be freed: theirs who free them
};

/// L: guarded by the directory's lock; the others never change.
struct FilterKeyEntry : FilterPiece {
  std::uint64_t hash;
  std::uint32_t database;
  std::uint32_t size;  ///< of the bytes, which follow
  std::uint64_t sets;  ///< L: greater than 0 while it can be found

  [[nodiscard]] const char* key_bytes() const noexcept { return reinterpret_cast<const char*>(this + 1); }
};

/// A set that is kept; its ordinals follow. L: guarded by the directory's lock, A: without it, the others never change.
struct CachedSet : FilterPiece {
  static constexpr std::uint32_t kUnlinked = std::uint32_t{1} << 31;

  FilterSetId id;
  FilterSetAge age;
  std::uint64_t size;  ///< in ordinals
  std::uint32_t bound;
  std::uint32_t is_bitmap;
  std::atomic<std::uint32_t> pins;     ///< A: how many; kUnlinked is added when nobody can find it any more
  std::atomic<std::uint32_t> used_at;  ///< A: a second of the host's clock
  std::atomic<float> uses;             ///< A: as of used_at
  std::atomic<std::uint32_t> since;    ///< A: when it was first asked for, as far as is known
  float cost_us;                       ///< of making it
  std::uint64_t key;                   ///< L: while it can be found
  std::uint64_t ring_next;             ///< L
  std::uint64_t ring_previous;         ///< L

  /// For as long as it is pinned.
  [[nodiscard]] base::OrdinalSet Ordinals() const noexcept {
    return base::OrdinalSet::Borrow(bound, size, is_bitmap != 0, this + 1);
  }
};

static_assert(sizeof(CachedSet) % alignof(std::uint64_t) == 0, "words follow");
static_assert(std::atomic<std::uint64_t>::is_always_lock_free &&
                  std::atomic<std::uint32_t>::is_always_lock_free,
              "processes share them");

/// How often a set is asked for that is not kept. As adaptive replacement keeps ghosts (ARC: Megiddo and Modha, "ARC: A self-tuning, low
/// overhead replacement cache", FAST 2003): without them each set that is made again would begin anew, sets of which there is room
/// for some only would take each other's places for ever, and would all look as if they were worth little. Each word is
/// stored by itself: two at once may mix counts, which decide who gives way, no more.
struct AbsentSet {
  std::atomic<std::uint64_t> what;   ///< a hash of key and id; 0: nothing
  std::atomic<std::uint64_t> count;  ///< AskedFor
};

/// How often a set was asked for.
struct AskedFor {
  policy::UseCount count;
  std::uint32_t since;  ///< the first time, as far as is known
};

/// For the view.
struct FilterCacheStatus {
  std::uint64_t bytes_total;
  std::uint64_t bytes_used;
  std::uint64_t keys;
  std::uint64_t sets;    ///< that can be found
  std::uint64_t pinned;  ///< pins
  std::uint64_t hits;
  std::uint64_t misses;
  std::uint64_t evictions;  ///< of sets
  std::uint64_t cost_us;    ///< of making the sets that can be found
};

/// A key that has sets, and what these are worth: their uses times what making them costs. Without its bytes.
struct UsedKey {
  std::uint64_t hash;
  std::uint32_t database;
  float worth_us;
};

/// The directory. Host: LockShared(), LockExclusive() and Unlock() of its lock; Allocate(bytes, worth), for what is worth so much, 0 if there is no room, kComing if
/// there will be without taking sets away, which is called without the lock, Free(at) and Address(at), which are called with and without it; AreTogether(a, b), whether pieces go
/// back as one; BytesTotal(), how much memory it should have; Mode(), that of the budget; Now(), in seconds; IsAhead(), whether this process makes sets that nobody has asked for. None of them fails or waits for anybody who waits for the lock.
/// What is allocated is aligned to 8.
///
/// The life of a set: made and filled by its publisher, without the lock; linked; unlinked, because a newer one takes its
/// place, or by an eviction, or with its database; freed. Linking and unlinking is done under the exclusive lock, pinning
/// under the shared one: no set is unlinked while somebody is about to pin it. Unpinning needs no lock. Who brings
/// `pins` to exactly kUnlinked, the last to unpin it or the one who unlinks it, frees it: both do so by one atomic
/// operation, so it is one of them.
///
/// Who gives way: of kSample sets that a hand comes to, as that of a clock, the one of least utility (policy/cache_policy.hpp)
/// that is not pinned, if it is worth less than what comes. New sets come behind the hand: they have a turn to be used again, and what is used once gives way before what
/// is used again and again, be it found or made again each time.
template <typename Host>
class FilterDirectory {
 public:
  /// As many as make the worst of them bad enough; each is a cache line or two to look at.
  static constexpr std::uint32_t kSample = 64;
  /// A turn of the hand: a millisecond at the most, which others wait for. The next one goes on from there.
  static constexpr std::uint32_t kMostSteps = 4096;
  /// So far to both sides are sets looked for that lie beside one.
  static constexpr std::uint32_t kNeighbours = 1024;
  /// Taken away at a time at least: two frames.
  static constexpr std::uint64_t kLeastEvicted = std::uint64_t{128} << 10;
  /// What Allocate() of the host says where memory comes free in a moment: no set goes for it.
  static constexpr std::uint64_t kComing = ~std::uint64_t{0};

  /// Memory may be in too small pieces: who has taken away so many times what they need goes without.
  static constexpr std::uint64_t kMostEvicted = 4;
  /// A larger part of the memory is not given to one set.
  static constexpr std::uint64_t kMostPart = 4;

  /// At the start of the memory that processes share; the heads of the buckets follow. L: guarded by the lock, A: without it, the
  /// others never change.
  struct Shared {
    std::uint32_t buckets;  ///< of keys and of sets each; a power of two
    std::uint32_t most_keys;
    std::uint64_t keys;                             ///< L
    std::uint64_t sets;                             ///< L
    std::uint64_t evictions;                        ///< L
    std::uint64_t cost_us;                          ///< L: of all sets
    std::uint64_t hand;                             ///< L: the set that is looked at next; 0: there is none
    std::atomic<std::uint64_t> bytes_used;          ///< A
    alignas(64) std::atomic<std::uint64_t> pinned;  ///< A
    std::atomic<std::uint64_t> hits;                ///< A
    std::atomic<std::uint64_t> misses;              ///< A
    std::atomic<std::uint32_t> asked_at;   ///< A: when a set was asked for last; what follows is as of then
    std::atomic<float> asked;              ///< A: policy::UseCount
    std::atomic<float> asked_recently;     ///< A: policy::RecentUses
    std::atomic<float> asked_before;       ///< A
    std::atomic<std::uint32_t> looked_at;  ///< A: of sets, the bucket that LeastUtility() begins with
  };

  /// For this much memory.
  [[nodiscard]] static std::uint32_t BucketsFor(std::uint64_t bytes) noexcept {
    std::uint32_t buckets = kLeastBuckets;
    while (buckets < kMostBuckets && std::uint64_t{buckets} * kBytesPerBucket < bytes) buckets *= 2;
    return buckets;
  }
  /// Of Shared and what follows it.
  [[nodiscard]] static std::size_t SharedBytes(std::uint32_t buckets) noexcept {
    return sizeof(Shared) + std::size_t{buckets} * (2 * sizeof(std::uint64_t) + sizeof(AbsentSet));
  }

  FilterDirectory() = default;
  FilterDirectory(Shared* shared, Host host) noexcept
      : shared_(shared), heads_(reinterpret_cast<std::uint64_t*>(shared + 1)), host_(host) {}

  /// Once, before anybody else looks: also at the memory behind Shared.
  void Init(std::uint32_t buckets) const noexcept {
    std::memset(static_cast<void*>(shared_), 0, SharedBytes(buckets));
    shared_->buckets = buckets;
    shared_->most_keys = buckets * kKeysPerBucket;
  }

  /// The set, pinned: it stays where it is until Unpin(). nullptr if there is none.
  [[nodiscard]] CachedSet* Pin(const FilterKey& key, const FilterSetId& id) const noexcept {
    const std::uint32_t now = host_.Now();
    host_.LockShared();
    CachedSet* set = FindSet(FindKey(key), id);
    if (set != nullptr) {
      set->pins.fetch_add(1, std::memory_order_relaxed);  // the lock orders it before an unlinking
      if (!host_.IsAhead()) MarkUsed(set, now);
    }
    host_.Unlock();
    if (set != nullptr) shared_->pinned.fetch_add(1, std::memory_order_relaxed);
    if (host_.IsAhead()) return set;
    (set != nullptr ? shared_->hits : shared_->misses).fetch_add(1, std::memory_order_relaxed);
    CountAsked(now);
    if (set == nullptr) CountAbsent(HashOf(key.hash, key.database, id), {{1, now}, now}, now);
    return set;
  }

  void Unpin(CachedSet* set) const noexcept {
    shared_->pinned.fetch_sub(1, std::memory_order_relaxed);
    // Release: what others read comes before it is freed; acquire: in whoever frees it.
    const std::uint32_t before = set->pins.fetch_sub(1, std::memory_order_acq_rel);
    if (before == (CachedSet::kUnlinked | 1)) Free(set);
  }

  /// Keeps a copy of a frozen set, in place of an older one. Does nothing if there is one as new, or no memory. cost_us: what it took
  /// to make it. made_from: another set of the key, without which nobody asks for this one: it is asked for as often, and not kept without.
  void Publish(const FilterKey& key, const FilterSetId& id, const FilterSetAge& age,
               const base::OrdinalSet& ordinals, float cost_us = 0,
               const FilterSetId* made_from = nullptr) const noexcept {
    if (sizeof(CachedSet) + ordinals.DataBytes() > host_.BytesTotal() / kMostPart) return;
    host_.LockShared();
    const FilterKeyEntry* known = FindKey(key);
    const CachedSet* present = FindSet(known, id);
    const bool is_new = present == nullptr || present->age < age;
    const bool is_known = known != nullptr;
    const CachedSet* other = made_from != nullptr ? FindSet(known, *made_from) : nullptr;
    // As often as the one it replaces, or the one it is made from, if there is one.
    const CachedSet* asked_with = present != nullptr ? present : other;
    AskedFor asked = asked_with != nullptr ? AskedOf(*asked_with) : AskedFor{};
    host_.Unlock();
    if (!is_new || (made_from != nullptr && other == nullptr)) return;
    const std::uint64_t hash = HashOf(key.hash, key.database, id);
    if (asked_with == nullptr) asked = AskedWithout(hash);
    // A newer one always comes in: the older one is of less and less use.
    const double worth =
        present != nullptr ? kAlways : WorthToCome(asked, cost_us, sizeof(CachedSet) + ordinals.DataBytes());
    CachedSet* set = MakeSet(id, age, ordinals, worth);
    if (set != nullptr) {
      set->cost_us = cost_us;
      ForgetAbsent(hash);
      SetUses(asked.count, set);
      set->since.store(asked.since, std::memory_order_relaxed);
    }
    // Made beside the lock, too. If a known one goes meanwhile the set is not kept.
    FilterKeyEntry* entry = set == nullptr || is_known ? nullptr : MakeKey(key, worth);
    if (set == nullptr || (entry == nullptr && !is_known)) {
      Free(set);
      return;
    }
    Doomed doomed;
    host_.LockExclusive();
    Link(key, set, entry, &doomed);
    host_.Unlock();
    FreeAll(&doomed);
  }

  /// Of what sets are worth that go first, to another cache: by what is asked for now; 0 if there is nothing. Of sets from anywhere: those
  /// that the hand comes to next were made one after the other, in one phase of the load, and memory went to and fro with them.
  [[nodiscard]] double LeastUtility() const noexcept {
    const std::uint32_t now = host_.Now();
    double utilities[kSample];
    host_.LockShared();
    std::uint32_t count = 0;
    ForAnySample([&](const CachedSet* set) { utilities[count++] = UtilityOfSet(*set, now); });
    host_.Unlock();
    if (count == 0) return 0;
    const std::uint32_t told = (count + kToldPart - 1) / kToldPart;
    std::nth_element(utilities, utilities + (told - 1), utilities + count);
    double sum = 0;
    for (std::uint32_t i = 0; i < told; i++) sum += utilities[i];
    const double utility = sum / told;
    // Among sets it would change nothing.
    const bool is_by_age = host_.Mode() == policy::BudgetMode::kLru;
    return is_by_age ? utility
                     : utility * static_cast<double>(policy::PartLeft(Asked(), AskedRecently(), now));
  }

  /// Takes sets away for another use of their memory: the one that is worth least, and those beside it. Returns their bytes.
  std::uint64_t GiveUp() const noexcept {
    Doomed doomed;
    std::uint64_t taken = 0;
    host_.LockExclusive();
    CachedSet* victim = LeastUseful(&shared_->hand, host_.Now());
    if (victim != nullptr) {
      taken = EvictBeside(victim, &doomed);
      taken += EvictOne(victim, &doomed);
    }
    host_.Unlock();
    FreeAll(&doomed);
    return taken;
  }

  /// Nobody finds the sets of this database any more, but for some that may stay if others evict meanwhile: nothing relies on it.
  void Forget(std::uint32_t database) const noexcept {
    host_.LockShared();
    std::uint64_t left = shared_->sets;
    host_.Unlock();
    while (left > 0) left -= ForgetSome(database, std::min<std::uint64_t>(left, kMostSteps));
  }

  /// Keys of the sets in the next buckets, from *bucket on, as many as are looked at under one hold of the lock; *bucket goes on, and is 0
  /// at the end. A key comes once for each of its sets. Returns how many there are, no more than `room`.
  [[nodiscard]] std::uint32_t ListUsed(std::uint32_t* bucket, UsedKey* to,
                                       std::uint32_t room) const noexcept {
    const std::uint32_t now = host_.Now();
    std::uint32_t count = 0;
    host_.LockShared();
    const std::uint32_t end = std::min(shared_->buckets, *bucket + kBucketsListed);
    for (; *bucket < end; ++*bucket) {
      for (std::uint64_t at = heads_[shared_->buckets + *bucket]; at != 0 && count < room;
           at = SetAt(at)->next) {
        const CachedSet& set = *SetAt(at);
        const FilterKeyEntry& key = *KeyAt(set.key);
        to[count++] = {key.hash, key.database, WorthUs(set, now)};
      }
    }
    host_.Unlock();
    if (*bucket == shared_->buckets) *bucket = 0;
    return count;
  }

  /// The bytes of a key of this hash, whose size is returned; 0 if there is none, or they are more than `room`.
  [[nodiscard]] std::uint32_t CopyKey(std::uint64_t hash, std::uint32_t database, char* to,
                                      std::uint32_t room) const noexcept {
    std::uint32_t size = 0;
    host_.LockShared();
    for (std::uint64_t at = *KeyHead(hash); at != 0 && size == 0; at = KeyAt(at)->next) {
      const FilterKeyEntry& key = *KeyAt(at);
      if (key.hash != hash || key.database != database || key.size > room) continue;
      std::memcpy(to, key.key_bytes(), key.size);
      size = key.size;
    }
    host_.Unlock();
    return size;
  }

  /// Of hits, misses and evictions.
  void ResetCounts() const noexcept {
    host_.LockExclusive();
    shared_->hits.store(0, std::memory_order_relaxed);
    shared_->misses.store(0, std::memory_order_relaxed);
    shared_->evictions = 0;
    host_.Unlock();
  }

  [[nodiscard]] FilterCacheStatus ReadStatus() const noexcept {
    host_.LockShared();
    const FilterCacheStatus status = {host_.BytesTotal(),
                                      shared_->bytes_used.load(std::memory_order_relaxed),
                                      shared_->keys,
                                      shared_->sets,
                                      shared_->pinned.load(std::memory_order_relaxed),
                                      shared_->hits.load(std::memory_order_relaxed),
                                      shared_->misses.load(std::memory_order_relaxed),
                                      shared_->evictions,
                                      shared_->cost_us};
    host_.Unlock();
    return status;
  }

 private:
  static constexpr std::uint32_t kLeastBuckets = 16;
  static constexpr std::uint32_t kMostBuckets = 65'536;
  static constexpr std::uint64_t kBytesPerBucket = 4096;  ///< 0.8 % for heads and counts
  static constexpr std::uint32_t kKeysPerBucket = 2;
  static constexpr std::uint32_t kAbsentPlaces = 4;  ///< a cache line
  /// What another cache is told that sets are worth is the mean of so large a part of a sample: where all are asked for alike, the one that
  /// looks least useful is so by chance; and with it others go that lie in its frame.
  static constexpr std::uint32_t kToldPart = 4;
  /// A set that costs less, or of which that is not known, costs a look-up.
  static constexpr float kLeastCostUs = 20;
  /// Of what comes in whatever the others are worth.
  static constexpr double kAlways = std::numeric_limits<double>::infinity();
  /// Some hundred sets, 10 us.
  static constexpr std::uint32_t kBucketsListed = 512;

  /// Pieces that nobody can find, to be freed without the lock.
  struct Doomed {
    std::uint64_t first = 0;
  };

  [[nodiscard]] CachedSet* SetAt(std::uint64_t at) const noexcept {
    return reinterpret_cast<CachedSet*>(host_.Address(at));
  }
  [[nodiscard]] FilterKeyEntry* KeyAt(std::uint64_t at) const noexcept {
    return reinterpret_cast<FilterKeyEntry*>(host_.Address(at));
  }

  // ---- Buckets ----

  [[nodiscard]] std::uint64_t* KeyHead(std::uint64_t hash) const noexcept {
    return &heads_[hash & (shared_->buckets - 1)];
  }

  /// Multiplied by odd numbers that spread the bits (of the golden ratio and of xxHash64).
  [[nodiscard]] static std::uint64_t Mix(std::uint64_t key, const FilterSetId& id) noexcept {
    const std::uint64_t mixed = (key ^ (std::uint64_t{id.segment} << 32 | id.kind)) * 0x9E3779B97F4A7C15U;
    return (mixed ^ mixed >> 32 ^ id.first_row) * 0xC2B2AE3D27D4EB4FU;
  }
  [[nodiscard]] std::uint64_t* SetHead(std::uint64_t key, const FilterSetId& id) const noexcept {
    return &heads_[shared_->buckets + (Mix(key, id) >> 32 & (shared_->buckets - 1))];
  }

  [[nodiscard]] FilterKeyEntry* FindKey(const FilterKey& key) const noexcept {
    for (std::uint64_t at = *KeyHead(key.hash); at != 0;) {
      FilterKeyEntry* entry = KeyAt(at);
      if (entry->hash == key.hash && entry->size == key.size && entry->database == key.database &&
          std::memcmp(entry->key_bytes(), key.bytes, key.size) == 0)
        return entry;
      at = entry->next;
    }
    return nullptr;
  }

  [[nodiscard]] CachedSet* FindSet(const FilterKeyEntry* key, const FilterSetId& id) const noexcept {
    if (key == nullptr) return nullptr;
    for (std::uint64_t at = *SetHead(key->at, id); at != 0;) {
      CachedSet* set = SetAt(at);
      if (set->key == key->at && set->id == id) return set;
      at = set->next;
    }
    return nullptr;
  }

  void TakeOut(std::uint64_t* link, const FilterPiece* piece) const noexcept {
    while (*link != piece->at) link = &reinterpret_cast<FilterPiece*>(host_.Address(*link))->next;
    *link = piece->next;
  }

  // ---- Under the exclusive lock ----

  /// entry: the key's, if it was not known. What is not needed, or was replaced, is doomed.
  void Link(const FilterKey& key, CachedSet* set, FilterKeyEntry* entry, Doomed* doomed) const noexcept {
    FilterKeyEntry* home = FindKey(key);
    CachedSet* older = FindSet(home, set->id);
    if ((home == nullptr && entry == nullptr) || (older != nullptr && !(older->age < set->age))) {
      Doom(set, doomed);
      if (entry != nullptr) Doom(entry, doomed);
      return;
    }
    if (home == nullptr && HasRoomForKey(WorthToCome(AskedOf(*set), set->cost_us, set->bytes), doomed)) {
      home = entry;
      LinkKey(entry);
    } else if (entry != nullptr) {
      Doom(entry, doomed);
    }
    if (home == nullptr) {
      Doom(set, doomed);
      return;
    }
    LinkSet(home, set);
    if (older == nullptr) return;
    SetUses(AskedOf(*older).count, set);
    set->since.store(AskedOf(*older).since, std::memory_order_relaxed);
    // Not before: the last set takes its key with it.
    Unlink(older, doomed);
  }

  void LinkKey(FilterKeyEntry* entry) const noexcept {
    std::uint64_t* head = KeyHead(entry->hash);
    entry->next = *head;
    *head = entry->at;
    shared_->keys++;
  }

  void LinkSet(FilterKeyEntry* key, CachedSet* set) const noexcept {
    set->key = key->at;
    key->sets++;
    std::uint64_t* head = SetHead(key->at, set->id);
    set->next = *head;
    *head = set->at;
    shared_->cost_us += static_cast<std::uint64_t>(set->cost_us);
    // Behind the hand: it comes there last.
    if (shared_->hand == 0) {
      set->ring_next = set->ring_previous = set->at;
      shared_->hand = set->at;
    } else {
      CachedSet* hand = SetAt(shared_->hand);
      set->ring_next = hand->at;
      set->ring_previous = hand->ring_previous;
      SetAt(hand->ring_previous)->ring_next = set->at;
      hand->ring_previous = set->at;
    }
    shared_->sets++;
  }

  /// Its key goes with the last one. Doomed, if it is not pinned.
  void Unlink(CachedSet* set, Doomed* doomed) const noexcept {
    TakeOut(SetHead(set->key, set->id), set);
    if (shared_->hand == set->at) shared_->hand = set->ring_next == set->at ? 0 : set->ring_next;
    SetAt(set->ring_previous)->ring_next = set->ring_next;
    SetAt(set->ring_next)->ring_previous = set->ring_previous;
    shared_->sets--;
    shared_->cost_us -= static_cast<std::uint64_t>(set->cost_us);
    FilterKeyEntry* key = KeyAt(set->key);
    if (--key->sets == 0) {
      TakeOut(KeyHead(key->hash), key);
      shared_->keys--;
      Doom(key, doomed);
    }
    // From here on it may be freed by the last one who has pinned it.
    if (set->pins.fetch_or(CachedSet::kUnlinked, std::memory_order_acq_rel) == 0) Doom(set, doomed);
  }

  static void Doom(FilterPiece* piece, Doomed* doomed) noexcept {
    piece->next = doomed->first;
    doomed->first = piece->at;
  }

  /// The hand looks at so many, and passes. Returns as many.
  std::uint64_t ForgetSome(std::uint32_t database, std::uint64_t steps) const noexcept {
    Doomed doomed;
    host_.LockExclusive();
    for (std::uint64_t i = 0; i < steps && shared_->hand != 0; i++) {
      CachedSet* set = SetAt(shared_->hand);
      shared_->hand = set->ring_next;
      if (KeyAt(set->key)->database == database) Unlink(set, &doomed);
    }
    host_.Unlock();
    FreeAll(&doomed);
    return steps;
  }

  // ---- Who gives way ----

  [[nodiscard]] static AskedFor AskedOf(const CachedSet& set) noexcept {
    return {{set.uses.load(std::memory_order_relaxed), set.used_at.load(std::memory_order_relaxed)},
            set.since.load(std::memory_order_relaxed)};
  }

  [[nodiscard]] policy::UseCount Asked() const noexcept {
    return {shared_->asked.load(std::memory_order_relaxed),
            shared_->asked_at.load(std::memory_order_relaxed)};
  }
  [[nodiscard]] policy::RecentUses AskedRecently() const noexcept {
    return {shared_->asked_recently.load(std::memory_order_relaxed),
            shared_->asked_before.load(std::memory_order_relaxed),
            shared_->asked_at.load(std::memory_order_relaxed)};
  }

  /// Two at once count as one, or for a moment as too many: it is what decides who gives way, no more.
  void CountAsked(std::uint32_t now) const noexcept {
    const policy::UseCount count = policy::WithUses(Asked(), 1, now);
    const policy::RecentUses recent = policy::WithRecentUses(AskedRecently(), 1, now);
    shared_->asked.store(count.uses, std::memory_order_relaxed);
    shared_->asked_recently.store(recent.uses, std::memory_order_relaxed);
    shared_->asked_before.store(recent.before, std::memory_order_relaxed);
    shared_->asked_at.store(count.at, std::memory_order_relaxed);
  }

  /// Two at once count as one.
  static void MarkUsed(CachedSet* set, std::uint32_t now) noexcept {
    const policy::UseCount count = AskedOf(*set).count;
    if (policy::IsForgotten(count, now)) set->since.store(now, std::memory_order_relaxed);
    SetUses(policy::WithUses(count, 1, now), set);
  }

  static void SetUses(const policy::UseCount& count, CachedSet* set) noexcept {
    set->uses.store(count.uses, std::memory_order_relaxed);
    if (set->used_at.load(std::memory_order_relaxed) != count.at)
      set->used_at.store(count.at, std::memory_order_relaxed);
  }

  /// Never 0.
  [[nodiscard]] static std::uint64_t HashOf(std::uint64_t key_hash, std::uint32_t database,
                                            const FilterSetId& id) noexcept {
    std::uint64_t mixed = Mix(key_hash, id) ^ database * std::uint64_t{0x9E3779B97F4A7C15U};
    mixed = (mixed ^ mixed >> 32) * 0xC2B2AE3D27D4EB4FU;
    return mixed | 1;
  }

  /// Its own place, or the one of kAbsentPlaces whose set is asked for least.
  [[nodiscard]] AbsentSet* AbsentAt(std::uint64_t hash, std::uint32_t now) const noexcept {
    auto* first = reinterpret_cast<AbsentSet*>(heads_ + std::size_t{shared_->buckets} * 2);
    AbsentSet* places = first + (hash >> 32 & (shared_->buckets / kAbsentPlaces - 1)) * kAbsentPlaces;
    AbsentSet* least = places;
    for (AbsentSet* place = places; place != places + kAbsentPlaces; place++) {
      if (place->what.load(std::memory_order_relaxed) == hash) return place;
      if (UsesOf(*place, now) < UsesOf(*least, now)) least = place;
    }
    return least;
  }

  [[nodiscard]] static float UsesOf(const AbsentSet& absent, std::uint32_t now) noexcept {
    return policy::UsesAt(Unpack(absent.count.load(std::memory_order_relaxed), now).count, now);
  }

  /// Who is asked for less than all others that share its places is not remembered.
  void CountAbsent(std::uint64_t hash, const AskedFor& more, std::uint32_t now) const noexcept {
    AbsentSet* absent = AbsentAt(hash, now);
    const float there = UsesOf(*absent, now);
    const bool is_known = absent->what.load(std::memory_order_relaxed) == hash;
    const float uses = policy::UsesAt(more.count, now);
    if (!is_known && uses < there) return;
    const AskedFor before = Unpack(absent->count.load(std::memory_order_relaxed), now);
    const AskedFor sum = {
        {there + uses, now},
        policy::IsForgotten(before.count, now) ? more.since : std::min(before.since, more.since)};
    absent->count.store(Pack(is_known ? sum : AskedFor{{uses, now}, more.since}), std::memory_order_relaxed);
    if (!is_known) absent->what.store(hash, std::memory_order_relaxed);
  }

  /// Of a set that is not kept: what it had when it gave way, and what it was asked for since, this time, too.
  [[nodiscard]] AskedFor AskedWithout(std::uint64_t hash) const noexcept {
    const std::uint32_t now = host_.Now();
    const AbsentSet* absent = AbsentAt(hash, now);
    if (absent->what.load(std::memory_order_relaxed) != hash) return {{1, now}, now};
    const AskedFor asked = Unpack(absent->count.load(std::memory_order_relaxed), now);
    return {{std::max(1.0F, policy::UsesAt(asked.count, now)), now}, asked.since};
  }

  /// It is kept from now on.
  void ForgetAbsent(std::uint64_t hash) const noexcept {
    AbsentSet* absent = AbsentAt(hash, host_.Now());
    if (absent->what.load(std::memory_order_relaxed) != hash) return;
    absent->count.store(0, std::memory_order_relaxed);
    absent->what.store(0, std::memory_order_relaxed);
  }

  /// Into one word: 24 bits of each time, which tell 97 days apart, and the upper half of the float.
  [[nodiscard]] static std::uint64_t Pack(const AskedFor& asked) noexcept {
    std::uint32_t uses = 0;
    std::memcpy(&uses, &asked.count.uses, sizeof uses);
    return std::uint64_t{asked.count.at & kTimeMask} << 40 | std::uint64_t{asked.since & kTimeMask} << 16 |
           uses >> 16;
  }
  [[nodiscard]] static AskedFor Unpack(std::uint64_t packed, std::uint32_t now) noexcept {
    AskedFor asked = {{0, TimeOf(static_cast<std::uint32_t>(packed >> 40), now)},
                      TimeOf(static_cast<std::uint32_t>(packed >> 16), now)};
    const std::uint32_t uses = static_cast<std::uint32_t>(packed) << 16;
    std::memcpy(&asked.count.uses, &uses, sizeof uses);
    return asked;
  }
  static constexpr std::uint32_t kTimeMask = (std::uint32_t{1} << 24) - 1;
  /// The time with these lower bits before `now`; another process may have counted a second ahead.
  [[nodiscard]] static std::uint32_t TimeOf(std::uint32_t bits, std::uint32_t now) noexcept {
    const std::uint32_t before = (now - bits) & kTimeMask;
    return before > kTimeMask / 2 ? now : now - std::min(before, now);
  }

  [[nodiscard]] static float WorthUs(const CachedSet& set, std::uint32_t now) noexcept {
    return policy::UsesAt(AskedOf(set).count, now) * std::max(set.cost_us, kLeastCostUs);
  }

  [[nodiscard]] double UtilityOfSet(const CachedSet& set, std::uint32_t now) const noexcept {
    return WorthOf(AskedOf(set), set.cost_us, set.bytes, now);
  }
  [[nodiscard]] double WorthOf(const AskedFor& asked, float cost_us, std::uint64_t bytes,
                               std::uint32_t now) const noexcept {
    return policy::WorthOf(host_.Mode(), policy::AsAlways(asked.count, asked.since, now),
                           {std::max(cost_us, kLeastCostUs), bytes}, now);
  }

  /// What is asked for the first time always comes in: what it will be worth is not known. It is next to nothing soon, if that was all. What
  /// nobody has asked for comes in only as what was asked for once.
  [[nodiscard]] double WorthToCome(const AskedFor& asked, float cost_us, std::uint64_t bytes) const noexcept {
    return asked.count.uses > 1 || host_.IsAhead() ? WorthOf(asked, cost_us, bytes, host_.Now()) : kAlways;
  }

  /// Calls it with the next sets from *at on that are not pinned; *at goes behind them.
  template <typename Visit>
  void ForSample(std::uint64_t* at, Visit visit) const noexcept {
    for (std::uint32_t i = 0; i < kSample && i < shared_->sets && *at != 0; i++) {
      CachedSet* set = SetAt(*at);
      *at = set->ring_next;
      if (set->pins.load(std::memory_order_relaxed) == 0) visit(set);
    }
  }

  /// Calls it with sets that are not pinned, as many, in the order of their hashes; the next call goes on behind them.
  template <typename Visit>
  void ForAnySample(Visit visit) const noexcept {
    std::uint64_t hand = shared_->hand;
    if (shared_->sets <= kSample) {
      ForSample(&hand, visit);
      return;
    }
    std::uint32_t bucket = shared_->looked_at.load(std::memory_order_relaxed);
    for (std::uint32_t i = 0, seen = 0; i < shared_->buckets && seen < kSample; i++) {
      std::uint64_t at = heads_[shared_->buckets + (bucket++ & (shared_->buckets - 1))];
      for (; at != 0 && seen < kSample; at = SetAt(at)->next) {
        seen++;
        if (SetAt(at)->pins.load(std::memory_order_relaxed) == 0) visit(SetAt(at));
      }
    }
    shared_->looked_at.store(bucket, std::memory_order_relaxed);
  }

  /// nullptr if all of the next ones are pinned.
  [[nodiscard]] CachedSet* LeastUseful(std::uint64_t* at, std::uint32_t now) const noexcept {
    CachedSet* victim = nullptr;
    double least = 0;
    ForSample(at, [&](CachedSet* set) {
      const double utility = UtilityOfSet(*set, now);
      if (victim != nullptr && utility >= least) return;
      victim = set;
      least = utility;
    });
    return victim;
  }

  /// Lets the hand go on until `bytes` were taken away, and there are no more than `most_keys`, or it comes to nothing that is worth less
  /// than what is to come instead. Returns the bytes.
  std::uint64_t Evict(std::uint64_t bytes, std::uint64_t most_keys, double worth,
                      Doomed* doomed) const noexcept {
    const std::uint32_t now = host_.Now();
    std::uint64_t taken = 0;
    for (std::uint32_t step = 0; step < kMostSteps && shared_->hand != 0; step += kSample) {
      if (taken >= bytes && shared_->keys <= most_keys) break;
      CachedSet* victim = LeastUseful(&shared_->hand, now);
      if (victim == nullptr) continue;
      if (!policy::IsAdmitted(host_.Mode(), worth, UtilityOfSet(*victim, now))) break;
      taken += EvictOne(victim, doomed);
    }
    return taken;
  }

  std::uint64_t EvictOne(CachedSet* victim, Doomed* doomed) const noexcept {
    const std::uint64_t bytes = victim->bytes;
    const FilterKeyEntry* key = KeyAt(victim->key);
    CountAbsent(HashOf(key->hash, key->database, victim->id), AskedOf(*victim), host_.Now());
    Unlink(victim, doomed);
    shared_->evictions++;
    return bytes;
  }

  /// Small sets share pieces of memory that are of use to others only as a whole. Sets that were made at about the same time are near
  /// each other in the ring, too.
  std::uint64_t EvictBeside(const CachedSet* victim, Doomed* doomed) const noexcept {
    std::uint64_t taken = 0;
    for (const bool forward : {true, false}) {
      std::uint64_t at = forward ? victim->ring_next : victim->ring_previous;
      for (std::uint32_t i = 0; i < kNeighbours && at != victim->at; i++) {
        CachedSet* set = SetAt(at);
        at = forward ? set->ring_next : set->ring_previous;
        if (!host_.AreTogether(set->at, victim->at) || set->pins.load(std::memory_order_relaxed) != 0)
          continue;
        taken += EvictOne(set, doomed);
      }
    }
    return taken;
  }

  [[nodiscard]] bool HasRoomForKey(double worth, Doomed* doomed) const noexcept {
    if (shared_->keys >= shared_->most_keys) Evict(0, shared_->most_keys - 1, worth, doomed);
    return shared_->keys < shared_->most_keys;
  }

  // ---- Without the lock ----

  [[nodiscard]] CachedSet* MakeSet(const FilterSetId& id, const FilterSetAge& age,
                                   const base::OrdinalSet& ordinals, double worth) const noexcept {
    const std::size_t data_bytes = ordinals.DataBytes();
    CachedSet* set = Make<CachedSet>(data_bytes, worth);
    if (set == nullptr) return nullptr;
    set->id = id;
    set->age = age;
    set->size = ordinals.size();
    set->bound = ordinals.bound();
    set->is_bitmap = ordinals.is_bitmap() ? 1 : 0;
    if (data_bytes > 0) std::memcpy(static_cast<void*>(set + 1), ordinals.data(), data_bytes);
    return set;
  }

  [[nodiscard]] FilterKeyEntry* MakeKey(const FilterKey& key, double worth) const noexcept {
    FilterKeyEntry* entry = Make<FilterKeyEntry>(key.size, worth);
    if (entry == nullptr) return nullptr;
    entry->hash = key.hash;
    entry->database = key.database;
    entry->size = key.size;
    std::memcpy(static_cast<void*>(entry + 1), key.bytes, key.size);
    return entry;
  }

  /// Zeroed but for its head, and with `more` bytes behind. nullptr if there is no room, nor any to be had for what is worth so much.
  template <typename Piece>
  [[nodiscard]] Piece* Make(std::size_t more, double worth) const noexcept {
    const std::size_t bytes = sizeof(Piece) + more;
    const std::uint64_t at = Allocate(bytes, worth);
    if (at == 0) return nullptr;
    auto* piece = new (host_.Address(at)) Piece();
    piece->at = at;
    piece->bytes = bytes;
    shared_->bytes_used.fetch_add(bytes, std::memory_order_relaxed);
    return piece;
  }

  [[nodiscard]] std::uint64_t Allocate(std::size_t bytes, double worth) const noexcept {
    const std::uint64_t wanted = std::max<std::uint64_t>(bytes, kLeastEvicted);
    std::uint64_t at = host_.Allocate(bytes, worth);
    for (std::uint64_t evicted = 0; at == 0 && evicted < kMostEvicted * wanted;) {
      const std::uint64_t more = MakeRoom(wanted, worth);
      if (more == 0) break;
      evicted += more;
      at = host_.Allocate(bytes, worth);
    }
    return at == kComing ? 0 : at;
  }

  std::uint64_t MakeRoom(std::uint64_t bytes, double worth) const noexcept {
    Doomed doomed;
    host_.LockExclusive();
    const std::uint64_t taken = Evict(bytes, shared_->most_keys, worth, &doomed);
    host_.Unlock();
    FreeAll(&doomed);
    return taken;
  }

  void Free(FilterPiece* piece) const noexcept {
    if (piece == nullptr) return;
    shared_->bytes_used.fetch_sub(piece->bytes, std::memory_order_relaxed);
    host_.Free(piece->at);
  }

  void FreeAll(Doomed* doomed) const noexcept {
    while (doomed->first != 0) {
      auto* piece = reinterpret_cast<FilterPiece*>(host_.Address(doomed->first));
      doomed->first = piece->next;
      Free(piece);
    }
  }

  Shared* shared_ = nullptr;
  std::uint64_t* heads_ = nullptr;  ///< L: of keys, then of sets
  Host host_;
};

}  // namespace tandem::shmem
