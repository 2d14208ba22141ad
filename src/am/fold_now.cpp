#include "pg/compat.hpp"

#include "am/fold_now.hpp"

#include "am/callbacks.hpp"
#include "am/chunk_load.hpp"
#include "am/options.hpp"
#include "pg/settings.hpp"
#include "shmem/mailbox.hpp"
#include "storage/compaction.hpp"
#include "storage/fold.hpp"

extern "C" {
#include "access/relation.h"
#include "access/xact.h"
#include "commands/progress.h"
#include "executor/spi.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/backend_progress.h"
#include "utils/backend_status.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"
}

namespace tandem::am {

namespace {

// How long a step may work on pages before interrupts, the deadline and other commands are looked at.
constexpr int kStepMs = 50;
// Threads that have work for longer than this are left alone so long.
constexpr int kPauseMs = 5;
// A build that is cut to fewer rows than this is not worth its pages: an exact scan of them is as fast.
constexpr uint64 kLeastCutRows = 64;

/// One request at work.
struct FoldSession {
  Oid oid;
  Relation held;  ///< the caller's; nullptr: opened for each step
  bool may_commit;
  const FoldRequest* request;
  uint64 tail_bound;          ///< rows from here on came after the request
  MemoryContext job_context;  ///< of the job that runs; nullptr: none does
  FoldReport report;
};

bool IsPast(TimestampTz deadline) {
  return deadline != 0 && GetCurrentTimestamp() >= deadline;
}

// ---- The index, between steps ----

bool IsFoldable(Relation relation) {
  return relation->rd_rel->relkind == RELKIND_INDEX && relation->rd_indam->ambuild == Build &&
         relation->rd_index->indisvalid && HasGraphs(StrategyOf(relation));
}

/// nullptr if the index is gone. RowExclusiveLock also where a step only reads: to take a stronger lock later invites deadlocks.
Relation OpenForStep(const FoldSession& session) {
  if (session.held != nullptr) return session.held;
  const Relation relation = try_relation_open(session.oid, RowExclusiveLock);
  if (relation == nullptr || IsFoldable(relation)) return relation;
  relation_close(relation, RowExclusiveLock);
  return nullptr;
}

void CloseAfterStep(const FoldSession& session, Relation index) {
  if (session.held != nullptr) return;
  relation_close(index, RowExclusiveLock);
  if (session.may_commit) SPI_commit();
}

int StepMs(const FoldRequest& request) {
  if (request.deadline == 0) return kStepMs;
  const long left_ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), request.deadline);
  return static_cast<int>(Max(1L, Min(static_cast<long>(kStepMs), left_ms)));
}

// ---- Planning ----

storage::FoldOptions OptionsFor(const FoldSession& session, Relation index) {
  storage::FoldOptions options = FoldOptionsOf(index);
  options.threads = session.request->threads;
  options.tail_bound = session.tail_bound;
  return options;
}

uint64 CapacityFor(const FoldRequest& request, const storage::FoldSurvey& survey,
                   const storage::FoldOptions& options) {
  const uint64 fits = storage::RowsThatFit(survey, options);
  return request.most_rows != 0 ? Min(fits, request.most_rows) : fits;
}

policy::FoldPlan PlanFor(FoldSession* session, const storage::FoldSurvey& survey,
                         const storage::FoldOptions& options) {
  const FoldRequest& request = *session->request;
  policy::FoldSituation situation;
  situation.segments = {survey.segments, survey.segment_count};
  situation.tail_rows = session->tail_bound > survey.manifest->root.sealed_rows ? survey.tail_rows : 0;
  situation.tail_is_old = true;
  situation.at_rest = request.at_rest;
  situation.everything = request.everything;
  const policy::FoldSettings settings = {policy::kWorthwhileTail, CapacityFor(request, survey, options)};
  return policy::PlanFold(situation, settings);
}

/// What there is to fold, and the index, open as for a step; nullptr if it is gone.
Relation Survey(const FoldSession& session, storage::SurveyJob** survey) {
  // Inserts look at nothing but the tail; whoever tidies up wants to know who is dead.
  const bool count_dead = session.request->at_rest || session.request->everything;
  *survey = nullptr;
  for (;;) {
    const Relation index = OpenForStep(session);
    if (index == nullptr) return nullptr;
    if (*survey == nullptr) *survey = storage::BeginSurvey(index, count_dead);
    const storage::SurveyStep step = storage::StepSurvey(*survey, index, StepMs(*session.request));
    if (step == storage::SurveyStep::kDone) return index;
    CloseAfterStep(session, index);
    if (step == storage::SurveyStep::kAbandoned) return nullptr;
    CHECK_FOR_INTERRUPTS();
  }
}

/// Plans, and begins a job in `context`; nullptr, with the outcome reported, if there is none.
storage::FoldJob* BeginNext(FoldSession* session, MemoryContext context) {
  storage::SurveyJob* counted;
  const Relation index = Survey(*session, &counted);
  if (index == nullptr) {
    session->report.outcome = FoldOutcome::kGone;
    return nullptr;
  }
  const storage::FoldSurvey& survey = storage::SurveyOf(counted);
  if (session->tail_bound == 0) session->tail_bound = survey.row_bound;
  const storage::FoldOptions options = OptionsFor(*session, index);
  const policy::FoldPlan plan = PlanFor(session, survey, options);
  storage::FoldJob* job = nullptr;
  if (plan.worth_it) {
    job = storage::BeginFold(context, index, survey, plan, options);
  } else {
    session->report.outcome = FoldOutcome::kUpToDate;
    (void)storage::RecycleRetired(index);
    if (survey.tail_rows == 0) shmem::ReportBuildEnd(session->oid, false, true);
  }
  CloseAfterStep(*session, index);
  return job;
}

// ---- Building ----

void ShowProgress(const FoldSession& session, const storage::FoldJob* job) {
  const storage::FoldProgress progress = storage::ProgressOf(job);
  shmem::ReportBuildProgress(session.oid, static_cast<uint32>(progress.phase), progress.rows_done,
                             progress.rows_total);
  if (!session.request->shows_create_index) return;
  const int params[] = {PROGRESS_CREATEIDX_TUPLES_DONE, PROGRESS_CREATEIDX_TUPLES_TOTAL};
  const int64 values[] = {static_cast<int64>(progress.rows_done), static_cast<int64>(progress.rows_total)};
  pgstat_progress_update_multi_param(2, params, values);
}

/// After the deadline: true if the job is to be lost.
bool LosesJob(const FoldSession& session, storage::FoldJob* job) {
  const storage::FoldProgress progress = storage::ProgressOf(job);
  const bool has_read = progress.phase > storage::FoldPhase::kReadingRows;
  if ((has_read || progress.rows_done >= kLeastCutRows) && storage::CutFold(job)) return false;
  return session.request->gives_up;
}

void AwaitThreads() {
  (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, kPauseMs,
                  pg::WaitEvent("TandemBuild"));
  ResetLatch(MyLatch);
}

/// True if the job has published its segment; otherwise the outcome is reported.
bool RunJob(FoldSession* session, storage::FoldJob* job) {
  for (;;) {
    CHECK_FOR_INTERRUPTS();
    if (IsPast(session->request->deadline) && LosesJob(*session, job)) {
      session->report.outcome = FoldOutcome::kOutOfTime;
      return false;
    }
    session->report.outcome = FoldOutcome::kGone;
    const Relation index = OpenForStep(*session);
    if (index == nullptr) return false;
    const storage::FoldStep step = storage::StepFold(job, index, StepMs(*session->request));
    if (step == storage::FoldStep::kPublished) ForgetUnlistedSegments(index, *storage::ReadManifest(index));
    CloseAfterStep(*session, index);
    ShowProgress(*session, job);
    switch (step) {
      case storage::FoldStep::kContinue:
        break;
      case storage::FoldStep::kWait:
        AwaitThreads();
        break;
      case storage::FoldStep::kPublished:
        session->report.published++;
        return true;
      case storage::FoldStep::kAbandoned:
        return false;
    }
  }
}

/// work(context): a job in memory of its own, which an error finds in the session and deletes.
template <typename Work>
bool InJobContext(FoldSession* session, const Work& work) {
  const MemoryContext context =
      AllocSetContextCreate(CurrentMemoryContext, "tandem fold session", ALLOCSET_DEFAULT_SIZES);
  session->job_context = context;
  const MemoryContext old_context = MemoryContextSwitchTo(context);
  const bool result = work(context);
  MemoryContextSwitchTo(old_context);
  session->job_context = nullptr;
  MemoryContextDelete(context);
  return result;
}

/// Plans and builds one segment; false at the end.
bool FoldOnce(FoldSession* session) {
  return InJobContext(session, [session](MemoryContext context) {
    storage::FoldJob* job = BeginNext(session, context);
    if (job == nullptr) return false;
    shmem::ReportBuildStart(session->oid, storage::ProgressOf(job).rows_total);
    const bool published = RunJob(session, job);
    shmem::ReportBuildEnd(session->oid, published, false);
    return published;
  });
}

/// Copies the graphs into shared memory, as the worker does with what it publishes. Left to searches: those of an index that
/// nobody else sees yet, and whatever somebody waits for.
void LoadGraphs(const FoldSession& session) {
  IndexLoad load = {};
  for (bool more = true; more;) {
    CHECK_FOR_INTERRUPTS();
    const Relation index = OpenForStep(session);
    if (index == nullptr) return;
    const TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), kStepMs);
    more = StepIndexLoad(index, *storage::ReadManifest(index), &load, until, false);
    CloseAfterStep(session, index);
  }
}

// ---- Compacting ----

storage::Compaction* BeginCompacting(FoldSession* session, MemoryContext context) {
  const Relation index = OpenForStep(*session);
  if (index == nullptr) return nullptr;
  storage::Compaction* job = storage::BeginCompaction(context, index);
  CloseAfterStep(*session, index);
  return job;
}

/// Once begun, a compaction is finished: it takes some seconds at most, and half of one is nothing.
void FinishCompacting(FoldSession* session, storage::Compaction* job) {
  for (;;) {
    CHECK_FOR_INTERRUPTS();
    const Relation index = OpenForStep(*session);
    if (index == nullptr) return;
    const storage::CompactionStep step = storage::StepCompaction(job, index, kStepMs);
    CloseAfterStep(*session, index);
    if (step != storage::CompactionStep::kContinue) return;
  }
}

/// False if nothing was packed.
bool CompactOnce(FoldSession* session) {
  return InJobContext(session, [session](MemoryContext context) {
    storage::Compaction* job = BeginCompacting(session, context);
    if (job == nullptr) return false;
    FinishCompacting(session, job);
    return storage::HasPacked(job);
  });
}

void FoldAll(FoldSession* session) {
  const FoldRequest& request = *session->request;
  const bool tidies = (request.at_rest || request.everything) && !request.is_new;
  while (FoldOnce(session)) {
    session->report.outcome = FoldOutcome::kOutOfTime;
    if (!IsPast(request.deadline)) continue;
    // Folds that take all the time there is, VACUUM after VACUUM, must not keep dead rows in place for ever.
    if (tidies) (void)CompactOnce(session);
    return;
  }
  if (session->report.published > 0 && request.everything && !request.is_new) LoadGraphs(*session);
  if (session->report.outcome != FoldOutcome::kUpToDate || !tidies) return;
  while (!IsPast(request.deadline) && CompactOnce(session)) continue;
}

/// What a failed build shows of itself. Cancelled ones have not failed.
void ReportFailure(Oid index, MemoryContext context) {
  MemoryContextSwitchTo(context);
  ErrorData* error = CopyErrorData();
  if (error->sqlerrcode != ERRCODE_QUERY_CANCELED)
    shmem::ReportBuildError(index, error->message);
  else
    shmem::ReportBuildEnd(index, false, false);
  FreeErrorData(error);
}

bool TakeBuilderLock(const FoldSession& session) {
  if (session.request->is_new) return true;
  if (!session.request->wait_for_builder) return storage::TryLockBuilder(session.oid);
  storage::LockBuilder(session.oid);
  return true;
}

void GiveBuilderLock(const FoldSession& session) {
  if (!session.request->is_new) storage::UnlockBuilder(session.oid);
}

FoldReport FoldUnderLock(FoldSession* session) {
  if (!TakeBuilderLock(*session)) return {FoldOutcome::kBusy, 0};
  const MemoryContext context = CurrentMemoryContext;
  session->job_context = nullptr;
  PG_TRY();
  { FoldAll(session); }
  PG_CATCH();
  {
    // Threads and graph go now: the transaction may stay aborted for as long as its user likes.
    MemoryContextSwitchTo(context);
    if (session->job_context != nullptr) MemoryContextDelete(session->job_context);
    GiveBuilderLock(*session);
    ReportFailure(session->oid, context);
    PG_RE_THROW();
  }
  PG_END_TRY();
  GiveBuilderLock(*session);
  return session->report;
}

/// What the command at hand shows in a progress view: the end of a subtransaction by an error takes it for the command's end.
struct ShownProgress {
  ProgressCommandType command;
  Oid target;
  int64 values[PGSTAT_NUM_PROGRESS_PARAM];
};

ShownProgress RememberProgress() {
  ShownProgress shown = {PROGRESS_COMMAND_INVALID, InvalidOid, {}};
  if (MyBEEntry == nullptr) return shown;
  shown.command = MyBEEntry->st_progress_command;
  shown.target = MyBEEntry->st_progress_command_target;
  std::memcpy(shown.values, MyBEEntry->st_progress_param, sizeof shown.values);
  return shown;
}

void ShowAgain(const ShownProgress& shown) {
  if (shown.command == PROGRESS_COMMAND_INVALID) return;
  int params[PGSTAT_NUM_PROGRESS_PARAM];
  for (int i = 0; i < PGSTAT_NUM_PROGRESS_PARAM; i++) params[i] = i;
  pgstat_progress_start_command(shown.command, shown.target);
  pgstat_progress_update_multi_param(PGSTAT_NUM_PROGRESS_PARAM, params, shown.values);
}

void WarnOfFailure(Relation index, const ErrorData& error) {
  const char* name = RelationGetRelationName(index);
  const bool has_graphs = HasGraphs(StrategyOf(index));
  ereport(
      WARNING,
      (errcode(error.sqlerrcode),
       has_graphs ? errmsg("could not build graphs of index \"%s\": %s", name, error.message)
                  : errmsg("could not tidy up index \"%s\": %s", name, error.message),
       error.detail != nullptr ? errdetail_internal("%s", error.detail) : 0,
       has_graphs
           ? errhint("Its rows are found all the same, by exact scan. CALL tandem_build(...) tries again.")
           : errhint("What is dead keeps its place in the index until the next VACUUM.")));
}

}  // namespace

// 4 a millisecond at 128 dimensions and 1 at 900: half of what an idle processor does with the default parameters.
uint64 RowsInTime(Relation index, long time_ms) {
  const uint64 dimensions = storage::GetIndexCache(index)->directory.dimensions;
  return static_cast<uint64>(time_ms) * 1000 / (dimensions + 100);
}

FoldReport FoldIndex(Relation index, const FoldRequest& request) {
  FoldSession session = {};
  session.oid = RelationGetRelid(index);
  session.held = index;
  session.request = &request;
  return FoldUnderLock(&session);
}

FoldReport FoldIndexInSteps(Oid index, const FoldRequest& request, bool may_commit) {
  FoldSession session = {};
  session.oid = index;
  session.may_commit = may_commit;
  session.request = &request;
  return FoldUnderLock(&session);
}

bool TryOrWarn(Relation index, void (*work)(Relation index, void* state), void* state) {
  const MemoryContext context = CurrentMemoryContext;
  const ResourceOwner owner = CurrentResourceOwner;
  const MemoryContext scratch = AllocSetContextCreate(context, "tandem try or warn", ALLOCSET_SMALL_SIZES);
  const ShownProgress shown = RememberProgress();
  // What the work holds when it fails - pins, locks, memory - is let go of by the subtransaction's abort. It writes no
  // heap tuple, so it takes no transaction id.
  BeginInternalSubTransaction(nullptr);
  MemoryContextSwitchTo(scratch);
  ErrorData* volatile error = nullptr;
  PG_TRY();
  {
    work(index, state);
    ReleaseCurrentSubTransaction();
  }
  PG_CATCH();
  {
    MemoryContextSwitchTo(context);
    error = CopyErrorData();
    FlushErrorState();
    RollbackAndReleaseCurrentSubTransaction();
    ShowAgain(shown);
  }
  PG_END_TRY();
  MemoryContextSwitchTo(context);
  CurrentResourceOwner = owner;
  MemoryContextDelete(scratch);
  if (error == nullptr) return true;
  if (error->sqlerrcode == ERRCODE_QUERY_CANCELED) ReThrowError(error);
  WarnOfFailure(index, *error);
  FreeErrorData(error);
  return false;
}

namespace {

struct TriedFold {
  const FoldRequest* request;
  FoldReport report;
};

void TryFold(Relation index, void* state) {
  auto* tried = static_cast<TriedFold*>(state);
  tried->report = FoldIndex(index, *tried->request);
}

}  // namespace

FoldReport FoldIndexOrWarn(Relation index, const FoldRequest& request) {
  TriedFold tried = {&request, {}};
  if (!TryOrWarn(index, TryFold, &tried)) return {FoldOutcome::kFailed, 0};
  return tried.report;
}

}  // namespace tandem::am
