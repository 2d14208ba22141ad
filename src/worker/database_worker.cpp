// A worker goes round the database's indexes, looks after each in turn, one build at a time, and sleeps until the next look is
// due or somebody flags an index. It leaves when nothing was to do for a while; the launcher starts another one when needed.

#include "pg/compat.hpp"

#include <algorithm>

#include "pg/settings.hpp"
#include "shmem/balance.hpp"
#include "shmem/databases.hpp"
#include "shmem/filter_cache.hpp"
#include "shmem/heat.hpp"
#include "worker/database_worker.hpp"
#include "worker/filter_sets.hpp"
#include "worker/index_care.hpp"
#include "worker/index_list.hpp"
#include "worker/native_pages.hpp"
#include "worker/process.hpp"

extern "C" {
#include "storage/ipc.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"

PGDLLEXPORT void tandem_worker_main(Datum argument);
}

namespace tandem::worker {

namespace {

constexpr char kWorkerName[] = "tandem worker";

// How long a worker stays without work: a new process and its catalog caches cost more than sleeping.
constexpr int kIdleNaptimes = 3;
// How long it keeps its place while other databases wait for one: long enough to see a tail grow old.
constexpr int kFairNaptimes = 2;
// A wish for filters is answered by workers that are there, or come so soon.
constexpr int kWishMs = 60 * 1000;

struct Worker {
  HTAB* watched;  ///< WatchedIndex by OID
  bool more_soon;
  TimestampTz entered_at;
  TimestampTz active_at;  ///< when something was last done or flagged; 0: never
};

TimestampTz Naptimes(TimestampTz from, int naptimes) {
  return TimestampTzPlusMilliseconds(from, naptimes * static_cast<int64>(pg::CurrentSettings().naptime_ms));
}

/// Calls body(WatchedIndex*) for each; it may remove that one. Those that were hottest before the server started come first, as their
/// graphs are then loaded first. Collected first: a scan of a hash table must not outlive a transaction, and looking after an
/// index takes many.
template <typename Body>
void ForEach(HTAB* watched, Body body) {
  auto* listed = static_cast<ListedIndex*>(palloc(sizeof(ListedIndex) * (hash_get_num_entries(watched) + 1)));
  int count = 0;
  HASH_SEQ_STATUS sequence;
  hash_seq_init(&sequence, watched);
  for (;;) {
    const auto* index = static_cast<WatchedIndex*>(hash_seq_search(&sequence));
    if (index == nullptr) break;
    listed[count++] = {index->index, index->past_heat};
  }
  std::sort(listed, listed + count, [](const ListedIndex& a, const ListedIndex& b) {
    return a.past_heat != b.past_heat ? a.past_heat > b.past_heat : a.index < b.index;
  });
  for (int i = 0; i < count; i++)
    body(static_cast<WatchedIndex*>(hash_search(watched, &listed[i].index, HASH_FIND, nullptr)));
  pfree(listed);
}

void Forget(Worker* worker, const WatchedIndex& index) {
  const Oid oid = index.index;
  hash_search(worker->watched, &oid, HASH_REMOVE, nullptr);
}

void Watch(Worker* worker, const ListedIndex& listed) {
  bool found;
  auto* index = static_cast<WatchedIndex*>(hash_search(worker->watched, &listed.index, HASH_ENTER, &found));
  if (!found) {
    *index = {};
    index->index = listed.index;
    index->past_heat = listed.past_heat;
    index->changed_at = index->folded_at = GetCurrentTimestamp();
  }
  index->listed = true;
}

void Refresh(Worker* worker) {
  const IndexList list = ListIndexes();
  ForEach(worker->watched, [](WatchedIndex* index) { index->listed = false; });
  for (int i = 0; i < list.count; i++) Watch(worker, list.indexes[i]);
  ForEach(worker->watched, [worker](const WatchedIndex* index) {
    if (!index->listed) Forget(worker, *index);
  });
  worker->more_soon = list.more_soon;
  ForgetLostGraphs();
  if (list.indexes != nullptr) pfree(list.indexes);
}

/// Graphs have gained memory: they are to be loaded into it.
void NoticeWishes(Worker* worker) {
  static uint32 seen = shmem::WishesForGraphs();
  if (seen == shmem::WishesForGraphs()) return;
  seen = shmem::WishesForGraphs();
  ForEach(worker->watched, [](WatchedIndex* index) {
    index->loaded = false;
    index->settled = false;
    index->look_at = 0;
  });
}

template <typename Body>
void ForAll(const Worker& worker, Body body) {
  auto* ours = static_cast<Oid*>(palloc(sizeof(Oid) * (hash_get_num_entries(worker.watched) + 1)));
  int count = 0;
  ForEach(worker.watched, [ours, &count](const WatchedIndex* index) { ours[count++] = index->index; });
  body(ours, count);
  pfree(ours);
}

/// Filters gain memory: sets that were hot are made again, and what others are made from is to be at hand.
void NoticeWishForFilters(const Worker& worker) {
  const TimestampTz wish = shmem::LastWishForFilters();
  if (GetCurrentTimestamp() >= TimestampTzPlusMilliseconds(wish, kWishMs)) return;
  if (!shmem::BeginRemakingFor(wish)) return;
  ForAll(worker, ReadNativePagesIn);
  ForAll(worker, RemakeHotFilterSets);
}

/// Takes notice of what happened since the last round.
void NoticeWork(Worker* worker) {
  static bool first = true;
  const shmem::WorkTaken work = shmem::TakeWork();
  if (first || worker->more_soon || work.some || work.all) Refresh(worker);
  if (first) shmem::SayLooked();
  first = false;
  if (work.some) worker->active_at = GetCurrentTimestamp();
  NoticeWishes(worker);
  NoticeWishForFilters(*worker);
  ForEach(worker->watched, [&work](WatchedIndex* index) {
    NoticeFlags(index);
    if (!work.all) return;
    index->settled = false;
    index->look_at = 0;
  });
}

bool OthersTurn(const Worker& worker) {
  return shmem::Crowded() && GetCurrentTimestamp() >= Naptimes(worker.entered_at, kFairNaptimes);
}

/// Looks after every index that is due. Returns when the next one is; kNever: all are settled.
TimestampTz GoRound(Worker* worker) {
  TimestampTz next = kNever;
  ForEach(worker->watched, [worker, &next](WatchedIndex* index) {
    while (IsDue(*index) && !OthersTurn(*worker))
      if (LookAfter(index)) worker->active_at = GetCurrentTimestamp();
    if (index->gone) {
      // Its file may go on under another OID, of which nobody tells: ALTER TABLE … ALTER COLUMN … TYPE without a rewrite.
      worker->more_soon = true;
      Forget(worker, *index);
    } else if (!index->settled) {
      next = Min(next, index->look_at);
    }
  });
  return next;
}

[[noreturn]] void Leave(bool work_left) {
  shmem::SayDone(work_left);
  proc_exit(0);
}

[[noreturn]] void Run() {
  Worker worker = {};
  HASHCTL control = {};
  control.keysize = sizeof(Oid);
  control.entrysize = sizeof(WatchedIndex);
  control.hcxt = TopMemoryContext;
  worker.watched = hash_create("tandem indexes", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
  worker.entered_at = GetCurrentTimestamp();
  const MemoryContext round =
      AllocSetContextCreate(TopMemoryContext, "tandem worker", ALLOCSET_DEFAULT_SIZES);
  for (;;) {
    MemoryContextSwitchTo(round);
    (void)TakeWoken();
    NoticeWork(&worker);
    const TimestampTz next = GoRound(&worker);
    // The first one since the server started; graphs are there now.
    if (shmem::BeginRemaking(shmem::LastWishForFilters())) ForAll(worker, RemakeHotFilterSets);
    if (OthersTurn(worker)) Leave(next != kNever || worker.more_soon);
    const TimestampTz now = GetCurrentTimestamp();
    if (next == kNever && !worker.more_soon && now >= Naptimes(worker.active_at, kIdleNaptimes)) Leave(false);
    MemoryContextReset(round);
    pgstat_report_stat(true);
    // What was asked for while a build slept between its steps must not wait for the next nap.
    if (!TakeWoken()) SleepUntil(Min(next, Naptimes(now, 1)), pg::WaitEvent("TandemWorkerIdle"));
  }
}

/// Settings that are meant for sessions, as autovacuum does it.
void OverrideSettings() {
  SetConfigOption("application_name", kWorkerName, PGC_USERSET, PGC_S_OVERRIDE);
  SetConfigOption("zero_damaged_pages", "false", PGC_SUSET, PGC_S_OVERRIDE);
  SetConfigOption("statement_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
  SetConfigOption("lock_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
  if (pg::kHasTransactionTimeout) SetConfigOption("transaction_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
  SetConfigOption("default_transaction_isolation", "read committed", PGC_SUSET, PGC_S_OVERRIDE);
}

void StopBuildingAtExit(int /*code*/, Datum /*unused*/) {
  StopBuilding();
}

}  // namespace

BackgroundWorkerHandle* StartDatabaseWorker(Oid database) {
  BackgroundWorker worker = {};
  strlcpy(worker.bgw_name, kWorkerName, BGW_MAXLEN);
  strlcpy(worker.bgw_type, kWorkerName, BGW_MAXLEN);
  strlcpy(worker.bgw_library_name, "tandem", BGW_MAXLEN);
  strlcpy(worker.bgw_function_name, "tandem_worker_main", BGW_MAXLEN);
  worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
  worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
  worker.bgw_restart_time = BGW_NEVER_RESTART;  // the launcher decides whether there is still something to do
  worker.bgw_main_arg = ObjectIdGetDatum(database);
  worker.bgw_notify_pid = MyProcPid;
  BackgroundWorkerHandle* handle = nullptr;
  return RegisterDynamicBackgroundWorker(&worker, &handle) ? handle : nullptr;
}

}  // namespace tandem::worker

void tandem_worker_main(Datum argument) {
  using namespace tandem;
  worker::SetUpSignals(worker::OnTerminate::kReport);
  HOLD_CANCEL_INTERRUPTS();  // there is nothing to cancel but builds, which let it through
  if (!shmem::EnterDatabase(DatumGetObjectId(argument))) proc_exit(0);
  BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(argument), InvalidOid, 0);
  // After the connection was made, so that it runs before the connection is closed: threads end first.
  before_shmem_exit(worker::StopBuildingAtExit, 0);
  worker::OverrideSettings();
  shmem::MakeFilterSetsAhead();
  worker::Run();
}
