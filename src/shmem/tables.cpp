#include "pg/compat.hpp"

#include "shmem/tables.hpp"

#include "shmem/parts.hpp"

extern "C" {
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"
}

namespace tandem::shmem {

Mailbox* mailbox = nullptr;

namespace {

constexpr char kName[] = "tandem mailbox";

void Request() {
  RequestAddinShmemSpace(MAXALIGN(sizeof(Mailbox)));
  RequestNamedLWLockTranche(kName, 1);
}

void InitMailbox() {
  std::memset(mailbox, 0, sizeof *mailbox);
  mailbox->lock = &GetNamedLWLockTranche(kName)->lock;
  mailbox->launcher_seen_at = GetCurrentTimestamp();
  ConditionVariableInit(&mailbox->worker_left);
  for (IndexSlot& slot : mailbox->indexes) {
    pg_atomic_init_u64(&slot.key, 0);
    pg_atomic_init_u32(&slot.flags, 0);
  }
}

void Attach() {
  bool found;
  mailbox = static_cast<Mailbox*>(ShmemInitStruct(kName, sizeof(Mailbox), &found));
  if (!found) InitMailbox();
}

/// One entry for each remainder of an OID: an index that meets another's entry looks itself up again.
struct Recollection {
  Oid index;
  IndexSlot* slot;
};
constexpr uint32 kRecollections = 16;
Recollection recollections[kRecollections];

IndexSlot* Remember(Oid index, IndexSlot* slot) {
  recollections[index % kRecollections] = {index, slot};
  return slot;
}

/// A slot that nobody uses: a free one, or the one not used for longest.
IndexSlot* OldestIndex() {
  IndexSlot* oldest = nullptr;
  for (IndexSlot& slot : mailbox->indexes) {
    if (pg_atomic_read_u64(&slot.key) == 0) return &slot;
    if (slot.status.pid == 0 && (oldest == nullptr || slot.used_at < oldest->used_at)) oldest = &slot;
  }
  return oldest;
}

/// What the slot's index was flagged for is then looked for among all indexes of its database.
void GiveUpIndex(IndexSlot* slot) {
  DatabaseSlot* database = FindDatabase(slot->status.database);
  if (database != nullptr && pg_atomic_read_u32(&slot->flags) != 0) database->work |= kAllIndexes;
}

}  // namespace

const Part kMailboxPart = {Request, Attach};

bool MailboxExists() {
  return mailbox != nullptr;
}

IndexSlot* RecallIndex(Oid index) {
  const Recollection& recollection = recollections[index % kRecollections];
  return recollection.index == index ? recollection.slot : nullptr;
}

IndexSlot* FindIndex(Oid index) {
  const uint64 key = KeyOf(MyDatabaseId, index);
  IndexSlot* recalled = RecallIndex(index);
  if (recalled != nullptr && pg_atomic_read_u64(&recalled->key) == key) return recalled;
  for (IndexSlot& slot : mailbox->indexes)
    if (pg_atomic_read_u64(&slot.key) == key) return Remember(index, &slot);
  return nullptr;
}

IndexSlot* TakeIndex(Oid index) {
  IndexSlot* slot = FindIndex(index);
  if (slot == nullptr) {
    slot = OldestIndex();
    if (slot == nullptr) return nullptr;
    GiveUpIndex(slot);
    slot->failures = 0;
    slot->retry_at = 0;
    slot->requested_rows = 0;
    slot->status = {};
    slot->status.database = MyDatabaseId;
    slot->status.index = index;
    pg_atomic_write_u32(&slot->flags, 0);
    pg_atomic_write_u64(&slot->key, KeyOf(MyDatabaseId, index));
    Remember(index, slot);
  }
  slot->used_at = GetCurrentTimestamp();
  return slot;
}

DatabaseSlot* FindDatabase(Oid database) {
  for (DatabaseSlot& slot : mailbox->databases)
    if (slot.database == database) return &slot;
  return nullptr;
}

DatabaseSlot* TakeDatabase(Oid database) {
  DatabaseSlot* slot = FindDatabase(database);
  if (slot == nullptr) {
    for (DatabaseSlot& candidate : mailbox->databases) {
      if (candidate.worker_pid != 0 || candidate.work != 0) continue;
      if (slot == nullptr || candidate.used_at < slot->used_at) slot = &candidate;
    }
    if (slot == nullptr) {
      mailbox->tour_wanted = true;
      return nullptr;
    }
    *slot = {};
    slot->database = database;
  }
  slot->used_at = GetCurrentTimestamp();
  return slot;
}

bool IsEvicted(Oid database) {
  for (const Eviction& eviction : mailbox->evictions)
    if (eviction.database == database) return true;
  return false;
}

Latch* AddWork(Oid database, uint32 work, bool wake_worker) {
  DatabaseSlot* slot = TakeDatabase(database);
  if (slot == nullptr) return mailbox->launcher_latch;
  slot->work |= work;
  if ((work & kAllIndexes) != 0) slot->ready_at = 0;
  if (slot->worker_pid == 0) return mailbox->launcher_latch;
  return wake_worker ? slot->worker_latch : nullptr;
}

}  // namespace tandem::shmem
