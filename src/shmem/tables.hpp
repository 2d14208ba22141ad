#pragma once
// The mailbox's memory, for the files of this room only.
//
// Each field says what guards it:
//   L   Mailbox::lock
//   A   atomic: written under the lock, read without it
// The lock is held for a few hundred instructions; nothing under it can fail, wait or allocate. Latches are set after it
// was released.

#include "shmem/mailbox.hpp"

extern "C" {
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
}

namespace tandem::shmem {

constexpr int kDatabases = 64;  // with work at one time; more are found by the launcher's tour
constexpr int kIndexes = 512;   // 300 bytes each; the ones not used for longest make room
constexpr int kEvictions = 64;  // sessions that drop, rename, move or copy a database at one time

/// What is known of an index, IndexSlot::flags.
enum IndexFlag : uint32 {
  kRowsWait = 1,   ///< rows were appended since a worker last looked
  kTailDated = 2,  ///< status.tail_since is set
  kUrgent = 4,     ///< enough rows for a segment, or somebody waits for them
};

/// What a database's worker is to look at, DatabaseSlot::work.
enum DatabaseWork : uint32 {
  kFlaggedIndexes = 1,  ///< some index has a flag
  kAllIndexes = 2,      ///< anything may have changed
};

struct IndexSlot {
  pg_atomic_uint64 key;    ///< A: KeyOf(database, index); 0: free
  pg_atomic_uint32 flags;  ///< A: IndexFlag
  uint32 failures;         ///< L: builds that failed since the last that did not
  TimestampTz used_at;     ///< L
  TimestampTz retry_at;    ///< L: no worker builds before
  uint64 requested_rows;   ///< L: RequestFold(); 0: none
  BuildStatus status;      ///< L
};

struct DatabaseSlot {
  Oid database;           ///< L: InvalidOid: free
  uint32 work;            ///< L: DatabaseWork
  int worker_pid;         ///< L: 0: no worker
  Latch* worker_latch;    ///< L: of that worker
  bool looked;            ///< L: that worker has seen what there is to do
  uint32 failures;        ///< L: workers since the last that left of its own accord
  TimestampTz ready_at;   ///< L: no worker may connect; to be asked about again then. 0: one may
  TimestampTz worker_at;  ///< L: when the last worker came
  TimestampTz used_at;    ///< L
};

/// A session keeps workers away from a database.
struct Eviction {
  Oid database;  ///< L: InvalidOid: free
  int pid;       ///< L: of the session
};

struct Mailbox {
  LWLock* lock;
  ConditionVariable worker_left;
  Latch* launcher_latch;         ///< L: nullptr: no launcher
  TimestampTz launcher_seen_at;  ///< L: when there last was one, or was to come
  bool crowded;                  ///< L: a database waits, and no worker's place is free
  bool tour_wanted;              ///< L: some database's work could not be written down
  TimestampTz short_since;       ///< L: when a worker first found no process; 0: the last one found one
  Eviction evictions[kEvictions];
  DatabaseSlot databases[kDatabases];
  IndexSlot indexes[kIndexes];
};

/// nullptr without preload. Set once, before any other function of the room can run.
extern Mailbox* mailbox;

[[nodiscard]] inline uint64 KeyOf(Oid database, Oid index) {
  return (static_cast<uint64>(database) << 32) | index;
}

/// Where this backend last found `index` of its database; the slot may have been given to another index since.
[[nodiscard]] IndexSlot* RecallIndex(Oid index);

// With the lock held:

/// The slot of `index` of this database; nullptr if it has none.
[[nodiscard]] IndexSlot* FindIndex(Oid index);
/// Gives it one if need be; nullptr only if all are being built.
[[nodiscard]] IndexSlot* TakeIndex(Oid index);
[[nodiscard]] DatabaseSlot* FindDatabase(Oid database);
/// nullptr if all have work or workers; the launcher is then told to look at every database.
[[nodiscard]] DatabaseSlot* TakeDatabase(Oid database);
[[nodiscard]] bool IsEvicted(Oid database);
/// Adds to a database's work. Returns whom to wake after the lock is released, or nullptr.
[[nodiscard]] Latch* AddWork(Oid database, uint32 work, bool wake_worker);

inline void Wake(Latch* latch) {
  if (latch != nullptr) SetLatch(latch);
}

}  // namespace tandem::shmem
