#include "pg/compat.hpp"

#include "worker/filter_sets.hpp"

#include <cerrno>

#include <fcntl.h>
#include <unistd.h>

#include "am/remake_filter.hpp"
#include "pg/stop_point.hpp"
#include "pg/try_open.hpp"
#include "shmem/balance.hpp"
#include "shmem/filter_cache.hpp"
#include "shmem/heat.hpp"
#include "worker/filter_file.hpp"
#include "worker/index_list.hpp"
#include "worker/process.hpp"

extern "C" {
#include "access/relation.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"
}

namespace tandem::worker {

namespace {

// For all of a database: folds wait meanwhile. And for one: so do commands that want its table.
constexpr int kMostMs = 15 * 1000;
constexpr int kMostMsOfOne = 500;

// Who asks for sets meanwhile is to feel little of it: so many times as long as it works the worker rests, at least for some milliseconds.
constexpr int kRests = 3;
constexpr int64 kLeastRestUs = 10 * 1000;

// ---- Not twice what has ended the server ----
//
// Nobody has asked for these sets: if asking an index ever ended the server, it is not to happen again at each start. A file is there
// while sets are made, and after an end that nobody had prepared for.

char marker[MAXPGPATH];

void RemoveMarker(int /*code*/, Datum /*unused*/) {
  if (marker[0] != '\0') (void)unlink(marker);
  marker[0] = '\0';
}

/// False if the last time did not end: then not before the next start.
bool LeaveMarker() {
  static bool is_prepared = false;
  if (!is_prepared) before_shmem_exit(RemoveMarker, 0);
  is_prepared = true;
  (std::snprintf)(marker, sizeof marker, "pg_stat/tandem.filters.%u", MyDatabaseId);
  const int descriptor = OpenTransientFile(marker, O_CREAT | O_EXCL | O_WRONLY | PG_BINARY);
  if (descriptor >= 0) {
    (void)CloseTransientFile(descriptor);
    return true;
  }
  if (errno == EEXIST) {
    ereport(LOG, (errmsg("sets of filters are not made ahead this time"),
                  errdetail("The server ended while they were made.")));
    shmem::RefuseRemaking();
  }
  RemoveMarker(0, 0);
  return false;
}

// ---- Making ----

bool HasRoom() {
  const shmem::FilterCacheStatus status = shmem::ReadFilterCacheStatus();
  return status.bytes_used < status.bytes_total;
}

/// An index of ours.
struct IndexFile {
  Oid index;
  Oid tablespace;
  Oid file;
};

/// Those that could be opened at once. A transaction of its own.
int FindFiles(const Oid* indexes, int count, IndexFile* to) {
  int found = 0;
  BeginStep();
  for (int i = 0; i < count; i++) {
    bool gone;
    const Relation index = OpenIndexAtOnce(indexes[i], &gone);
    if (index == nullptr) continue;
    const pg::RelationFile file = pg::FileOf(index);
    to[found++] = {indexes[i], file.tablespace, file.number};
    relation_close(index, NoLock);
  }
  CommitTransactionCommand();
  return found;
}

/// A step: one filter.
void Remake(Oid oid, base::Span<const char> key) {
  BeginStep();
  const Relation table = pg::TryOpen(IndexGetRelation(oid, true), AccessShareLock);
  bool gone;
  const Relation index = table != nullptr ? OpenIndexAtOnce(oid, &gone) : nullptr;
  if (index != nullptr) {
    am::RemakeFilterSets(index, table, key);
    relation_close(index, NoLock);
  }
  if (table != nullptr) relation_close(table, NoLock);
  CommitTransactionCommand();
}

/// The same, no longer than that takes, whatever comes of it.
void RemakeSafely(Oid index, base::Span<const char> key, MemoryContext context) {
  PG_TRY();
  {
    // As for a statement of a session. Who wants the worker to leave waits for as long.
    RESUME_CANCEL_INTERRUPTS();
    enable_timeout_after(STATEMENT_TIMEOUT, pg::TimeLimit(kMostMsOfOne));
    Remake(index, key);
    disable_timeout(STATEMENT_TIMEOUT, false);
    HOLD_CANCEL_INTERRUPTS();
  }
  PG_CATCH();
  {
    disable_timeout(STATEMENT_TIMEOUT, false);
    // Values that somebody has asked for are nobody else's business.
    LogAndGoOn(context, "could not make a set of a filter ahead", ErrorDetail::kSqlState);
  }
  PG_END_TRY();
  // A timeout that came at the last moment is not the next one's.
  QueryCancelPending = false;
  MemoryContextSwitchTo(context);
}

/// After each step: rests, once it has worked for long enough. *owed_us: the rest that is left.
void Rest(TimestampTz begun_at, int64* owed_us) {
  *owed_us += kRests * (GetCurrentTimestamp() - begun_at);
  if (*owed_us < kLeastRestUs) return;
  SleepUntil(GetCurrentTimestamp() + *owed_us, pg::WaitEvent("TandemWorkerRest"));
  *owed_us = 0;
}

void RemakeAll(const Oid* indexes, int count, MemoryContext context) {
  if (!LeaveMarker()) return;
  const base::Span<const PastFilter> filters = ReadFilterFile();
  ereport(DEBUG1,
          (errmsg_internal("tandem makes sets of filters again, %zu keys are known", filters.size())));
  auto* files = static_cast<IndexFile*>(palloc(sizeof(IndexFile) * static_cast<Size>(count + 1)));
  const int file_count = FindFiles(indexes, count, files);
  MemoryContextSwitchTo(context);
  int64 owed_us = 0;
  const TimestampTz wish = shmem::LastWishForFilters();
  const TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), pg::TimeLimit(kMostMs));
  for (const PastFilter& filter : filters) {
    if (filter.database != MyDatabaseId) continue;
    const pg::RelationFile wanted = am::IndexFileOfKey(filter.key);
    for (int i = 0; i < file_count; i++) {
      if (files[i].tablespace != wanted.tablespace || files[i].file != wanted.number) continue;
      // The load may have shifted back meanwhile.
      if (!HasRoom() || GetCurrentTimestamp() >= until || shmem::LastWishForFilters() != wish) return;
      const TimestampTz begun_at = GetCurrentTimestamp();
      RemakeSafely(files[i].index, filter.key, context);
      Rest(begun_at, &owed_us);
      ServeInterrupts();
      pg::StopPoint("worker-between-filters");
    }
  }
}

}  // namespace

void RemakeHotFilterSets(const Oid* indexes_of_ours, int count) {
  if (!shmem::FilterCacheExists() || count == 0 || shmem::IsRemakingRefused()) return;
  const MemoryContext caller = CurrentMemoryContext;
  const MemoryContext context =
      AllocSetContextCreate(TopMemoryContext, "tandem filters made again", ALLOCSET_DEFAULT_SIZES);
  MemoryContextSwitchTo(context);
  PG_TRY();
  { RemakeAll(indexes_of_ours, count, context); }
  PG_CATCH();
  { LogAndGoOn(caller, "could not make sets of filters ahead", ErrorDetail::kSqlState); }
  PG_END_TRY();
  RemoveMarker(0, 0);
  MemoryContextSwitchTo(caller);
  MemoryContextDelete(context);
}

}  // namespace tandem::worker
