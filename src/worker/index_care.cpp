// One look at an index, and the builds that follow from it.
//
// Everything that touches the index is a step of at most about 20 ms in a transaction of its own, under a lock that is taken only
// if it is free at once. Between steps the worker holds the builder lock, which conflicts with no command, and nothing else: no
// snapshot, no relation lock, no transaction id at any time (H27). Whoever wants a stronger lock gets it when the step ends, and
// the lock manager lets no new step overtake.

#include "pg/compat.hpp"

#include "am/chunk_load.hpp"
#include "am/options.hpp"
#include "pg/settings.hpp"
#include "pg/stop_point.hpp"
#include "policy/fold_policy.hpp"
#include "shmem/databases.hpp"
#include "storage/compaction.hpp"
#include "storage/flat_relation.hpp"
#include "storage/fold.hpp"
#include "worker/index_care.hpp"
#include "worker/index_list.hpp"
#include "worker/native_pages.hpp"
#include "worker/process.hpp"

extern "C" {
#include "access/relation.h"
#include "access/xact.h"
#include "utils/timestamp.h"
}

namespace tandem::worker {

namespace {

// Long enough that a step does more work than its transaction costs (20 us), short for whoever waits for the lock.
constexpr int kStepMs = 20;
// Threads are busy: looked at again so soon, later and later while there is nothing to hand them.
constexpr int kFirstPauseMs = 10;
constexpr int kLastPauseMs = 100;
// Somebody has locked the index: tried again so soon. A build that is kept out longer than this lets its work go.
constexpr int kLockedPauseMs = 50;
constexpr int kGiveUpMs = 60 * 1000;
// For codes of rows that came while a segment is built.
constexpr int kTailMs = 5;
// A segment that is about to be published waits for so many steps of loading at the most: rows may come faster than they get codes.
constexpr int kMostStepsAhead = 50;
// Another builder is at work, and tells nobody when it is done.
constexpr int kBuilderBusyMs = 1000;
// Sessions come first where processors are short; not so nice that a busy server never gets its graphs.
constexpr int kThreadNiceness = 5;

/// A look and the build that came of it, in a memory context of its own.
struct Care {
  WatchedIndex* watched;
  MemoryContext context;
  storage::SurveyJob* survey;  ///< what there is to do, as far as it is known; nullptr: nothing yet
  uint64 requested_rows;       ///< RequestedFold(), asked for before rows were counted
  storage::FoldJob* job;
  storage::Compaction* compaction;  ///< if there is no job
  bool is_builder;                  ///< holds the builder lock
  char name[NAMEDATALEN];
};

/// The one under way, for StopBuilding(); nullptr if none.
Care* current = nullptr;

TimestampTz In(int delay_ms) {
  return TimestampTzPlusMilliseconds(GetCurrentTimestamp(), delay_ms);
}

// ---- Transactions ----

void EndStep(Care* care) {
  CommitTransactionCommand();
  MemoryContextSwitchTo(care->context);
}

Relation OpenForStep(Care* care) {
  BeginStep();
  bool gone;
  const Relation index = OpenIndexAtOnce(care->watched->index, &gone);
  if (index != nullptr) return index;
  EndStep(care);
  care->watched->gone = gone;
  return nullptr;
}

void CloseAfterStep(Care* care, Relation index) {
  relation_close(index, NoLock);
  EndStep(care);
}

void LeaveBuilder(Care* care) {
  if (!care->is_builder) return;
  storage::UnlockBuilder(care->watched->index);
  care->is_builder = false;
}

// ---- Looking ----

/// Row heads are counted from the time VACUUM has marked some until all is done about them, and for requests, which must
/// know whether rows are waiting.
void BeginSurvey(Care* care, Relation index) {
  WatchedIndex* watched = care->watched;
  storage::MetaPage meta;
  storage::ReadMeta(index, &meta);
  care->requested_rows = shmem::RequestedFold(watched->index);
  care->survey =
      storage::BeginSurvey(index, care->requested_rows != 0 || meta.dead_rows != watched->settled_dead_rows);
  const uint64 row_bound = storage::SurveyOf(care->survey).row_bound;
  if (watched->surveyed && row_bound != watched->row_bound) watched->changed_at = GetCurrentTimestamp();
  watched->surveyed = true;
  watched->row_bound = row_bound;
  watched->dead_rows = meta.dead_rows;
}

void Settle(WatchedIndex* watched) {
  watched->settled = true;
  watched->settled_dead_rows = watched->dead_rows;
}

storage::FoldOptions OptionsFor(Relation index) {
  storage::FoldOptions options = am::FoldOptionsOf(index);
  options.threads = pg::BuildThreads();
  options.nice = kThreadNiceness;
  return options;
}

policy::FoldSettings SettingsFor(const storage::FoldSurvey& survey, const storage::FoldOptions& options) {
  return {static_cast<uint64>(pg::CurrentSettings().seal_rows), storage::RowsThatFit(survey, options)};
}

/// When the tail counts as old, and when the index counts as at rest.
TimestampTz OldAt(const WatchedIndex& watched) {
  return TimestampTzPlusMilliseconds(watched.changed_at, pg::CurrentSettings().naptime_ms);
}

TimestampTz RestAt(const WatchedIndex& watched) {
  return TimestampTzPlusMilliseconds(Max(watched.changed_at, watched.folded_at),
                                     3 * static_cast<int64>(pg::CurrentSettings().naptime_ms));
}

/// What is worth building now. If nothing is, settles the index or says when there may be something.
policy::FoldPlan Plan(WatchedIndex* watched, const policy::FoldSettings& settings,
                      policy::FoldSituation situation, bool has_retired) {
  const TimestampTz now = GetCurrentTimestamp();
  situation.tail_is_old = now >= OldAt(*watched);
  situation.at_rest = now >= RestAt(*watched);
  const policy::FoldPlan plan = policy::PlanFold(situation, settings);
  if (plan.worth_it) return plan;
  if (situation.at_rest) {
    // Retired blobs may be left, waiting for snapshots of their time to end. That can take for ever (H41); the next publication
    // drops them.
    Settle(watched);
    return plan;
  }
  watched->look_at = RestAt(*watched);
  if (!situation.tail_is_old) {
    situation.tail_is_old = true;
    if (policy::PlanFold(situation, settings).worth_it) watched->look_at = OldAt(*watched);
  }
  situation.at_rest = true;
  if (!has_retired && !policy::PlanFold(situation, settings).worth_it) Settle(watched);
  return plan;
}

/// An index of strategy flat has no use for segments it got before.
void LookAtFlat(Care* care, Relation index) {
  const storage::Manifest* manifest = storage::ReadManifest(index);
  if (manifest->segment_count > 0) storage::RetireSegments(index);
  (void)storage::RecycleRetired(index);
  WatchedIndex* watched = care->watched;
  watched->settled = manifest->segment_count == 0 &&
                     (manifest->retired_count == 0 || GetCurrentTimestamp() >= RestAt(*watched));
  if (manifest->segment_count > 0) {
    watched->folded_at = GetCurrentTimestamp();
    watched->loaded = false;
  }
  watched->look_at = RestAt(*watched);
}

/// Nothing is to be folded: what nobody needs any more is let go, and what became mostly dead, packed.
void LookAtSpace(Care* care, Relation index) {
  const bool recycled = storage::RecycleRetired(index);
  if (recycled || care->watched->dead_rows != care->watched->packed_dead_rows)
    care->compaction = storage::BeginCompaction(care->context, index);
  if (care->compaction == nullptr) care->watched->packed_dead_rows = care->watched->dead_rows;
}

/// Plans with what the survey has found, and begins the job if there is something to do.
void PlanAndBegin(Care* care, Relation index) {
  WatchedIndex* watched = care->watched;
  const storage::FoldSurvey& survey = storage::SurveyOf(care->survey);
  const uint64 sealed_rows = survey.manifest->root.sealed_rows;
  shmem::ReportTail(watched->index, sealed_rows, survey.tail_rows);
  policy::FoldSituation situation;
  situation.segments = {survey.segments, survey.segment_count};
  situation.tail_rows = survey.tail_rows;
  situation.everything = care->requested_rows > sealed_rows;
  // The tail of hnsw_inline is its inserts' to fold; the worker merges what they leave.
  const bool is_inline = am::StrategyOf(index) == am::Strategy::kHnswInline;
  if (is_inline && !situation.everything) situation.tail_rows = 0;
  const storage::FoldOptions options = OptionsFor(index);
  const policy::FoldPlan plan =
      Plan(watched, SettingsFor(survey, options), situation, survey.manifest->retired_count > 0);
  if (!plan.worth_it) {
    LookAtSpace(care, index);
    return;
  }
  care->job = storage::BeginFold(care->context, index, survey, plan, options);
  shmem::ReportBuildStart(watched->index, storage::ProgressOf(care->job).rows_total);
}

/// One step of looking at an index with graphs. True when it is done.
bool LookAtGraphs(Care* care, Relation index) {
  MemoryContextSwitchTo(care->context);  // the job may use what the survey found
  if (care->survey == nullptr) BeginSurvey(care, index);
  switch (storage::StepSurvey(care->survey, index, kStepMs)) {
    case storage::SurveyStep::kContinue:
      return false;
    case storage::SurveyStep::kDone:
      PlanAndBegin(care, index);
      return true;
    case storage::SurveyStep::kAbandoned:
      break;
  }
  care->watched->look_at = In(kLockedPauseMs);
  return true;
}

/// One step of a look. True when it is done: there is a job, or the index is settled, gone, or look_at is set.
bool StepLook(Care* care) {
  WatchedIndex* watched = care->watched;
  const Relation index = OpenForStep(care);
  if (index == nullptr) {
    watched->look_at = In(kLockedPauseMs);
    return true;
  }
  bool done = true;
  strlcpy(care->name, RelationGetRelationName(index), NAMEDATALEN);
  const am::Strategy strategy = am::StrategyOf(index);
  if (!am::HasGraphs(strategy) && storage::ReadManifestRoot(index).version == 0) {
    watched->settled = true;
  } else if (!care->is_builder && !storage::TryLockBuilder(watched->index)) {
    watched->look_at = In(kBuilderBusyMs);
  } else {
    care->is_builder = true;
    if (am::HasGraphs(strategy))
      done = LookAtGraphs(care, index);
    else
      LookAtFlat(care, index);
  }
  CloseAfterStep(care, index);
  return done;
}

/// Heads of many rows are counted in steps, so that no command waits for it.
void Look(Care* care) {
  while (!StepLook(care)) {
    ServeInterrupts();
    pg::StopPoint("worker-between-looks");
  }
}

// ---- Building ----

enum class BuildEnd { kPublished, kAbandoned };

void Pause(int pause_ms) {
  SleepUntil(In(pause_ms), pg::WaitEvent("TandemWorkerBuild"));
}

/// Ends a fold of a tail early that grows as fast as it is folded.
void CutIfWorthIt(Care* care, Relation index) {
  policy::FoldReading reading = storage::ReadingOf(care->job);
  if (reading.read_rows == 0) return;
  const uint64 rows = storage::CountRows(index, storage::kHeadStream);
  reading.arrived_rows = rows - Min(rows, care->watched->row_bound);
  const auto seal_rows = static_cast<uint64>(pg::CurrentSettings().seal_rows);
  if (policy::IsWorthCutting(reading, seal_rows)) (void)storage::CutFold(care->job);
}

storage::FoldStep StepJob(Care* care, Relation index) {
  if (!am::HasGraphs(am::StrategyOf(index))) return storage::FoldStep::kAbandoned;
  const storage::FoldStep step = storage::StepFold(care->job, index, kStepMs);
  if (step == storage::FoldStep::kContinue || step == storage::FoldStep::kWait) CutIfWorthIt(care, index);
  return step;
}

/// Makes codes of the rows that have come since, so that searches need not. True if there were some.
bool CodeTail(Care* care, Relation index) {
  const MemoryContext context =
      AllocSetContextCreate(CurrentMemoryContext, "tandem tail codes", ALLOCSET_SMALL_SIZES);
  const MemoryContext old_context = MemoryContextSwitchTo(context);
  uint64 made;
  (void)am::StepTailLoad(index, *storage::ReadManifest(index), In(kTailMs), &made);
  MemoryContextSwitchTo(old_context);
  MemoryContextDelete(context);
  return made > 0;
}

/// Copies the new segment into shared memory that is free, and makes codes of the rows behind it, before searches know of it: the
/// first ones would read its pages, and compare all those rows exactly. True if there is more to do.
bool LoadAhead(Care* care, Relation index, am::IndexLoad* load) {
  const MemoryContext context =
      AllocSetContextCreate(CurrentMemoryContext, "tandem load ahead", ALLOCSET_SMALL_SIZES);
  const MemoryContext old_context = MemoryContextSwitchTo(context);
  const storage::Manifest* preview = storage::PreviewOf(care->job, index);
  const TimestampTz until = In(kStepMs);
  bool more = preview != nullptr && am::StepIndexLoad(index, *preview, load, until, true);
  uint64 made;
  if (preview != nullptr && !more && preview->segments[0].end_row == preview->root.sealed_rows)
    more = am::StepTailLoad(index, *preview, until, &made);
  MemoryContextSwitchTo(old_context);
  MemoryContextDelete(context);
  return more;
}

/// Opens the index for the next step, once nobody locks it; nullptr if the work is to be given up.
Relation AwaitStep(Care* care) {
  const TimestampTz give_up_at = In(kGiveUpMs);
  for (;;) {
    ServeInterrupts();
    pg::StopPoint("worker-between-steps");
    const Relation index = OpenForStep(care);
    // Who keeps us out may be waiting for the builder lock, as REINDEX with hnsw_inline does: neither would move.
    if (index != nullptr || care->watched->gone || GetCurrentTimestamp() >= give_up_at ||
        storage::BuilderIsAwaited(care->watched->index))
      return index;
    Pause(kLockedPauseMs);
  }
}

/// Steps until the job has ended one way or the other.
BuildEnd Build(Care* care) {
  int pause_ms = kFirstPauseMs;
  am::IndexLoad load = {};
  int steps_ahead = 0;
  for (;;) {
    const Relation index = AwaitStep(care);
    if (index == nullptr) return BuildEnd::kAbandoned;
    if (steps_ahead < kMostStepsAhead &&
        storage::ProgressOf(care->job).phase == storage::FoldPhase::kPublishing) {
      steps_ahead = LoadAhead(care, index, &load) ? steps_ahead + 1 : kMostStepsAhead;
      CloseAfterStep(care, index);
      continue;
    }
    const storage::FoldStep step = StepJob(care, index);
    const bool is_under_way = step == storage::FoldStep::kContinue || step == storage::FoldStep::kWait;
    const bool has_coded = is_under_way && CodeTail(care, index);
    CloseAfterStep(care, index);
    const storage::FoldProgress progress = storage::ProgressOf(care->job);
    shmem::ReportBuildProgress(care->watched->index, static_cast<uint32>(progress.phase), progress.rows_done,
                               progress.rows_total);
    switch (step) {
      case storage::FoldStep::kContinue:
        pause_ms = kFirstPauseMs;
        break;
      case storage::FoldStep::kWait:
        Pause(pause_ms);
        if (has_coded)
          pause_ms = kFirstPauseMs;
        else if (progress.phase == storage::FoldPhase::kBuilding)
          pause_ms = Min(2 * pause_ms, kLastPauseMs);
        break;
      case storage::FoldStep::kPublished:
        return BuildEnd::kPublished;
      case storage::FoldStep::kAbandoned:
        return BuildEnd::kAbandoned;
    }
  }
}

/// The same for a compaction.
BuildEnd Compact(Care* care) {
  for (;;) {
    const Relation index = AwaitStep(care);
    if (index == nullptr) return BuildEnd::kAbandoned;
    const storage::CompactionStep step = storage::StepCompaction(care->compaction, index, kStepMs);
    CloseAfterStep(care, index);
    if (step == storage::CompactionStep::kAbandoned) return BuildEnd::kAbandoned;
    if (step == storage::CompactionStep::kDone) return BuildEnd::kPublished;
  }
}

void ShowActivity(const Care& care, const char* what) {
  char activity[NAMEDATALEN + 32];
  (std::snprintf)(activity, sizeof activity, "tandem: %s \"%s\"", what, care.name);
  pgstat_report_activity(STATE_RUNNING, activity);
}

void EndJob(Care* care) {
  if (care->job != nullptr) storage::EndFold(care->job);
  care->job = nullptr;
  if (care->compaction != nullptr) storage::EndCompaction(care->compaction);
  care->compaction = nullptr;
}

/// True if something was packed: then there may be more to do, and extents to recycle later.
bool CompactAll(Care* care) {
  WatchedIndex* watched = care->watched;
  ShowActivity(*care, "compacting");
  const bool is_done = Compact(care) == BuildEnd::kPublished;
  const bool has_packed = storage::HasPacked(care->compaction);
  EndJob(care);
  if (has_packed) {
    watched->settled = false;
    watched->folded_at = GetCurrentTimestamp();
    watched->look_at = 0;
  } else if (is_done) {
    watched->packed_dead_rows = watched->dead_rows;
  } else {
    watched->settled = false;
    watched->look_at = In(kBuilderBusyMs);
  }
  pgstat_report_activity(STATE_IDLE, nullptr);
  return has_packed;
}

// ---- Loading ----

/// Gives back the shared memory of graphs that were replaced, and copies those that hold now into it: after a build even if idle
/// ones have to make room, else into what is free. In steps like a build, under the builder lock, so that nothing is recycled
/// meanwhile. Whoever is in the way ends it: searches load what they need.
void LoadGraphs(Care* care, bool is_shy) {
  care->watched->loaded = true;
  am::IndexLoad load = {};
  for (bool more = true; more && !storage::BuilderIsAwaited(care->watched->index);) {
    ServeInterrupts();
    const Relation index = OpenForStep(care);
    if (index == nullptr) return;
    const storage::Manifest* manifest = storage::ReadManifest(index);
    am::ForgetUnlistedSegments(index, *manifest);
    more = am::StepIndexLoad(index, *manifest, &load, In(kStepMs), is_shy);
    CloseAfterStep(care, index);
    pg::StopPoint("worker-between-loads");
  }
  // Where nothing was to be loaded, some other worker was here since the start.
  care->watched->is_cold = care->watched->past_heat > 0 && load.loaded > 0 && !care->watched->is_warmed;
}

/// Looks, and builds or compacts if there is something to do. True if something was published.
bool LookAndBuild(Care* care) {
  Look(care);
  bool published = false;
  bool folded = false;
  if (care->job != nullptr) {
    ShowActivity(*care, "folding");
    pg::StopPoint("worker-before-fold");
    published = folded = Build(care) == BuildEnd::kPublished;
    const bool sealed_everything = published && storage::SealedAfter(care->job) >= care->watched->row_bound;
    EndJob(care);
    care->watched->folded_at = GetCurrentTimestamp();
    if (!published) care->watched->look_at = In(kBuilderBusyMs);
    shmem::ReportBuildEnd(care->watched->index, published, sealed_everything);
    pgstat_report_activity(STATE_IDLE, nullptr);
  } else if (care->compaction != nullptr) {
    published = CompactAll(care);
  }
  if (care->is_builder && (folded || !care->watched->loaded)) LoadGraphs(care, !folded);
  LeaveBuilder(care);
  return published;
}

// ---- Errors ----

/// Puts the process in order after an error in the middle of a look or a build, and tells of it. An index or a table that
/// vanished is no error: steps never begin on one.
void TellError(Care* care) {
  HOLD_INTERRUPTS();
  // The end of a failed transaction takes session-level locks with it, the builder lock, too.
  if (IsTransactionState()) care->is_builder = false;
  MemoryContextSwitchTo(care->context);
  const ErrorData* error = CopyErrorData();
  FlushErrorState();
  AbortOutOfAnyTransaction();
  MemoryContextSwitchTo(care->context);
  EndJob(care);
  LeaveBuilder(care);
  care->watched->settled = false;  // a compaction begins on an index that is
  shmem::ReportBuildError(care->watched->index, error->message);
  pgstat_report_activity(STATE_IDLE, nullptr);
  ereport(LOG, (errcode(error->sqlerrcode),
                errmsg("could not build a graph for index \"%s\": %s", care->name, error->message),
                error->detail != nullptr ? errdetail_internal("%s", error->detail) : 0,
                error->hint != nullptr ? errhint("%s", error->hint) : 0,
                errcontext("background worker for database %u", MyDatabaseId)));
  RESUME_INTERRUPTS();
}

bool LookAndBuildSafely(Care* care) {
  volatile bool published = false;
  QueryCancelPending = false;  // what somebody wanted to cancel has ended
  RESUME_CANCEL_INTERRUPTS();
  PG_TRY();
  { published = LookAndBuild(care); }
  PG_CATCH();
  { TellError(care); }
  PG_END_TRY();
  HOLD_CANCEL_INTERRUPTS();  // an error has set the count to 0, as RESUME did
  return published;
}

}  // namespace

void NoticeFlags(WatchedIndex* watched) {
  const shmem::IndexWork work = shmem::TakeIndexWork(watched->index);
  if (!work.rows_wait && !work.urgent) return;
  watched->settled = false;
  if (work.rows_wait) watched->changed_at = GetCurrentTimestamp();
  watched->look_at = 0;
}

bool IsDue(const WatchedIndex& watched) {
  return !watched.settled && !watched.gone && watched.look_at <= GetCurrentTimestamp();
}

bool LookAfter(WatchedIndex* watched) {
  ServeInterrupts();
  watched->look_at = Max(watched->look_at, shmem::RetryAt(watched->index));
  if (!IsDue(*watched)) return false;
  const MemoryContext caller = CurrentMemoryContext;
  // Static: whatever goes wrong on the way out of an error, the process's exit still finds it (StopBuilding()).
  static Care care;
  care = {};
  care.watched = watched;
  (std::snprintf)(care.name, sizeof care.name, "%u", watched->index);
  care.context = AllocSetContextCreate(TopMemoryContext, "tandem build", ALLOCSET_DEFAULT_SIZES);
  MemoryContextSwitchTo(care.context);
  current = &care;
  const bool published = LookAndBuildSafely(&care);
  current = nullptr;
  MemoryContextSwitchTo(caller);
  MemoryContextDelete(care.context);
  if (watched->is_cold) {
    watched->is_cold = false;
    watched->is_warmed = true;
    ReadHotPagesIn(watched->index);
  }
  return published;
}

void StopBuilding() {
  if (current == nullptr) return;
  EndJob(current);
  // The end of a process aborts its transaction, and that gives up the builder lock; but without a transaction, nothing does.
  if (!IsTransactionState()) LeaveBuilder(current);
}

}  // namespace tandem::worker
