// The launcher starts a worker for each database that sessions have flagged in the mailbox. After a start of the server
// nobody remembers which databases have unfinished indexes: it then makes a tour of all. One worker at a time looks and
// leaves, or stays if there is something to do. The launcher has no database of its own, so it is in nobody's way (H26).

#include "pg/compat.hpp"

#include "pg/stop_point.hpp"
#include "shmem/databases.hpp"
#include "shmem/heat.hpp"
#include "worker/database_worker.hpp"
#include "worker/heat_file.hpp"
#include "worker/launcher.hpp"
#include "worker/process.hpp"
#include "worker/rebalance.hpp"

#include <algorithm>
#include <csignal>

extern "C" {
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "postmaster/bgworker.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

PGDLLEXPORT void tandem_launcher_main(Datum argument);
}

namespace tandem::worker {

namespace {

// Each may use build_memory and build_threads. More databases than this take turns.
constexpr int kMaxWorkers = 4;
// A failed launcher is started again so soon: sessions count on it (WorkerAvailable()).
constexpr int kRestartSeconds = 5;
// When max_worker_processes is used up, others must end before we can start. Twice within the time for which tandem_wait()
// believes that a worker will come.
constexpr int kNoProcessRetryMs = 4 * 1000;

/// A worker started by this launcher.
struct Seat {
  Oid database;  ///< InvalidOid: empty
  bool on_tour;  ///< not back yet, see TourIsUnderWay()
  BackgroundWorkerHandle* handle;
};

/// The databases of the server, those that workers may connect to.
struct DatabaseList {
  Oid* databases;
  int count;
  int capacity;

  [[nodiscard]] bool Contains(Oid database) const {
    for (int i = 0; i < count; i++)
      if (databases[i] == database) return true;
    return false;
  }
};

struct Launcher {
  MemoryContext context;
  Seat seats[kMaxWorkers];
  DatabaseList tour;  ///< still to be visited
  bool complained;    ///< said that max_worker_processes is too small
  TimestampTz retry_at;
};

void Append(DatabaseList* list, Oid database) {
  if (list->count == list->capacity) {
    list->capacity = Max(16, 2 * list->capacity);
    list->databases = list->databases == nullptr
                          ? static_cast<Oid*>(palloc(sizeof(Oid) * list->capacity))
                          : static_cast<Oid*>(repalloc(list->databases, sizeof(Oid) * list->capacity));
  }
  list->databases[list->count++] = database;
}

/// All databases, in the current memory context; `servable`: those that workers may connect to.
void ReadDatabases(DatabaseList* all, DatabaseList* servable) {
  const MemoryContext caller = CurrentMemoryContext;
  BeginStep();
  const Relation relation = table_open(DatabaseRelationId, AccessShareLock);
  const TableScanDesc scan = table_beginscan_catalog(relation, 0, nullptr);
  for (;;) {
    const HeapTuple tuple = heap_getnext(scan, ForwardScanDirection);
    if (tuple == nullptr) break;
    const auto* row = reinterpret_cast<Form_pg_database>(GETSTRUCT(tuple));
    const MemoryContext in_transaction = MemoryContextSwitchTo(caller);
    Append(all, row->oid);
    if (shmem::WorkersMayConnect(*row)) Append(servable, row->oid);
    MemoryContextSwitchTo(in_transaction);
  }
  table_endscan(scan);
  table_close(relation, AccessShareLock);
  CommitTransactionCommand();
  MemoryContextSwitchTo(caller);
}

/// Of what was hot in it before the server started.
float PastHeatOf(Oid database, const shmem::IndexHeat* heats, uint32 count) {
  float sum = 0;
  for (uint32 i = 0; i < count; i++)
    if (heats[i].database == database) sum += heats[i].utility;
  return sum;
}

/// The hottest last: tours begin at the end.
void SortByPastHeat(DatabaseList* list) {
  auto* heats = static_cast<shmem::IndexHeat*>(palloc(sizeof(shmem::IndexHeat) * shmem::kMostHeats));
  const uint32 count = shmem::ReadPastHeats(heats);
  std::stable_sort(list->databases, list->databases + list->count, [heats, count](Oid a, Oid b) {
    return PastHeatOf(a, heats, count) < PastHeatOf(b, heats, count);
  });
  pfree(heats);
}

void PlanTour(Launcher* launcher) {
  const MemoryContext caller = MemoryContextSwitchTo(launcher->context);
  DatabaseList all = {};
  launcher->tour.count = 0;
  ReadDatabases(&all, &launcher->tour);
  SortByPastHeat(&launcher->tour);
  if (all.databases != nullptr) pfree(all.databases);
  MemoryContextSwitchTo(caller);
}

// ---- Seats ----

void ClearLeftSeats(Launcher* launcher) {
  for (Seat& seat : launcher->seats) {
    pid_t pid;
    if (seat.database == InvalidOid || GetBackgroundWorkerPid(seat.handle, &pid) != BGWH_STOPPED) continue;
    pfree(seat.handle);
    seat = {};
  }
}

Seat* SeatOf(Launcher* launcher, Oid database) {
  for (Seat& seat : launcher->seats)
    if (seat.database == database) return &seat;
  return nullptr;
}

/// An empty seat, unless workers of an earlier launcher take their share.
Seat* EmptySeat(Launcher* launcher, const shmem::DatabaseState* states, int count) {
  int others = 0;
  for (int i = 0; i < count; i++)
    if (states[i].has_worker && SeatOf(launcher, states[i].database) == nullptr) others++;
  int taken = 0;
  for (const Seat& seat : launcher->seats)
    if (seat.database != InvalidOid) taken++;
  return taken + others < kMaxWorkers ? SeatOf(launcher, InvalidOid) : nullptr;
}

void Complain(Launcher* launcher) {
  launcher->retry_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), kNoProcessRetryMs);
  shmem::SayShortOfProcesses(true);
  if (launcher->complained) return;
  launcher->complained = true;
  ereport(LOG, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
                errmsg("tandem cannot start a background worker: no process is left for it"),
                errdetail("Graphs are built later. This is said only once."),
                errhint("Raise max_worker_processes.")));
}

bool StartWorker(Launcher* launcher, Seat* seat, Oid database, bool on_tour) {
  pg::StopPoint("launcher-before-start");
  const MemoryContext caller = MemoryContextSwitchTo(launcher->context);
  seat->handle = StartDatabaseWorker(database);
  MemoryContextSwitchTo(caller);
  if (seat->handle == nullptr) {
    Complain(launcher);
    return false;
  }
  shmem::SayShortOfProcesses(false);
  seat->database = database;
  seat->on_tour = on_tour;
  return true;
}

// ---- Whose turn it is ----

bool IsWaiting(Launcher* launcher, const shmem::DatabaseState& state) {
  return state.has_work && !state.has_worker && !state.evicted && SeatOf(launcher, state.database) == nullptr;
}

/// Has databases wait that no worker can serve.
bool CanServe(Oid database, const DatabaseList& all, const DatabaseList& servable) {
  if (servable.Contains(database)) return true;
  if (all.Contains(database))
    shmem::PutOff(database);
  else
    shmem::ForgetDatabase(database);
  return false;
}

/// Of the waiting databases the one whose last worker came longest ago; nullptr if none waits or may be started now.
/// *next: when the first of those that must still wait may be.
const shmem::DatabaseState* NextWaiting(Launcher* launcher, const shmem::DatabaseState* states, int count,
                                        TimestampTz now, TimestampTz* next) {
  const shmem::DatabaseState* chosen = nullptr;
  for (int i = 0; i < count; i++) {
    if (!IsWaiting(launcher, states[i])) continue;
    if (states[i].not_before > now)
      *next = Min(*next, states[i].not_before);
    else if (chosen == nullptr || states[i].last_worker_at < chosen->last_worker_at)
      chosen = &states[i];
  }
  return chosen;
}

/// True while a worker that was sent on the tour has not seen yet what there is to do.
bool TourIsUnderWay(Launcher* launcher, const shmem::DatabaseState* states, int count) {
  for (Seat& seat : launcher->seats) {
    if (seat.database == InvalidOid || !seat.on_tour) continue;
    for (int i = 0; i < count; i++)
      if (states[i].database == seat.database && states[i].looked) seat.on_tour = false;
    if (seat.on_tour) return true;
  }
  return false;
}

/// Starts what can be started. Returns when to look again, if nothing happens before.
TimestampTz StartWorkers(Launcher* launcher) {
  shmem::DatabaseState states[shmem::kMaxDatabaseStates];
  const TimestampTz now = GetCurrentTimestamp();
  if (launcher->retry_at > now) return launcher->retry_at;
  TimestampTz next = kNever;
  DatabaseList all = {};
  DatabaseList servable = {};
  for (;;) {
    const int count = shmem::ListDatabases(states);
    const shmem::DatabaseState* waiting = NextWaiting(launcher, states, count, now, &next);
    const bool tour_waits = launcher->tour.count > 0 && !TourIsUnderWay(launcher, states, count);
    Seat* seat = EmptySeat(launcher, states, count);
    shmem::SetCrowded(seat == nullptr && (waiting != nullptr || tour_waits));
    if (seat == nullptr || (waiting == nullptr && !tour_waits)) return next;
    if (all.count == 0) ReadDatabases(&all, &servable);
    if (waiting != nullptr) {
      if (CanServe(waiting->database, all, servable) &&
          !StartWorker(launcher, seat, waiting->database, false))
        return launcher->retry_at;
      continue;
    }
    const Oid database = launcher->tour.databases[--launcher->tour.count];
    if (!servable.Contains(database) || SeatOf(launcher, database) != nullptr) continue;
    if (!StartWorker(launcher, seat, database, true)) {
      launcher->tour.count++;
      return launcher->retry_at;
    }
  }
}

[[noreturn]] void Run() {
  auto* launcher = static_cast<Launcher*>(MemoryContextAllocZero(TopMemoryContext, sizeof(Launcher)));
  launcher->context = TopMemoryContext;
  const MemoryContext round =
      AllocSetContextCreate(TopMemoryContext, "tandem launcher", ALLOCSET_SMALL_SIZES);
  // Before any worker asks what was hot.
  BeginHeatFile();
  PlanTour(launcher);
  for (;;) {
    MemoryContextSwitchTo(round);
    ClearLeftSeats(launcher);
    if (shmem::TakeTourWish()) PlanTour(launcher);
    const TimestampTz balance_at = RebalanceIfDue();
    const TimestampTz write_at = WriteHeatFileIfDue();
    const TimestampTz next = Min(StartWorkers(launcher), Min(balance_at, write_at));
    MemoryContextReset(round);
    SleepUntil(next, pg::WaitEvent("TandemLauncherIdle"));
  }
}

}  // namespace

void RegisterLauncher() {
  if (IsBinaryUpgrade) return;
  BackgroundWorker worker = {};
  strlcpy(worker.bgw_name, "tandem launcher", BGW_MAXLEN);
  strlcpy(worker.bgw_type, "tandem launcher", BGW_MAXLEN);
  strlcpy(worker.bgw_library_name, "tandem", BGW_MAXLEN);
  strlcpy(worker.bgw_function_name, "tandem_launcher_main", BGW_MAXLEN);
  worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
  worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
  worker.bgw_restart_time = kRestartSeconds;
  RegisterBackgroundWorker(&worker);
}

}  // namespace tandem::worker

void tandem_launcher_main(Datum /*argument*/) {
  using namespace tandem;
  pqsignal(SIGINT, SIG_IGN);  // there is no statement to cancel
  worker::SetUpSignals(worker::OnTerminate::kLeaveQuietly);
  shmem::EnterLauncher();
  BackgroundWorkerInitializeConnection(nullptr, nullptr, 0);
  // A snapshot of all statistics, if somebody has set that, is of one database; the launcher looks at indexes of all (rebalance.cpp).
  SetConfigOption("stats_fetch_consistency", "cache", PGC_SUSET, PGC_S_OVERRIDE);
  worker::Run();
}
