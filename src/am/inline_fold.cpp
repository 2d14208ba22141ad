// When and how much an insert folds (H29). README.md has the policy in words.

#include "pg/compat.hpp"

#include "am/fold_now.hpp"
#include "am/inline_fold.hpp"
#include "pg/stop_point.hpp"
#include "policy/fold_policy.hpp"
#include "shmem/mailbox.hpp"
#include "storage/manifest.hpp"

extern "C" {
#include "access/xact.h"
#include "utils/timestamp.h"
}

namespace tandem::am {

namespace {

// An insert computes for no longer than this; all inserts of a statement together for no more than a quarter of the time that
// its timeout left the first of them.
constexpr long kMostMs = 500;
constexpr long kShareOfTimeout = 4;
// With less time not even a small graph would be finished.
constexpr long kLeastMs = 5;

// Segments of inserts are no larger: larger ones are VACUUM's, tandem_build()'s or the worker's to make.
constexpr uint64 kMostRows = 10'000;
constexpr uint64 kLeastRows = 64;

// After a failure an insert lets the index be for so long, twice as long after each.
constexpr int kFirstBackoffMs = 1000;
constexpr int kMostDoublings = 6;
// Somebody else builds.
constexpr int kBusyBackoffMs = 100;

/// What this backend has learned of folding an index: how many rows it gets done in time, and whether to leave it alone for a
/// while. Grows by an eighth with each success and is halved by each failure.
struct Experience {
  Oid index;
  uint64 most_rows;
  int failures;  ///< in a row
  TimestampTz not_before;
};

constexpr int kExperiences = 16;
Experience experiences[kExperiences];
int next_experience;

Experience* ExperienceWith(Oid index) {
  for (Experience& experience : experiences)
    if (experience.index == index) return &experience;
  Experience* experience = &experiences[next_experience];
  next_experience = (next_experience + 1) % kExperiences;
  *experience = {index, kMostRows, 0, 0};
  return experience;
}

void LetBe(Experience* experience, int delay_ms) {
  experience->not_before = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), delay_ms);
}

void Learn(Experience* experience, uint64 tried_rows, const FoldReport& report) {
  if (report.published > 0) {
    experience->failures = 0;
    experience->most_rows = Min(kMostRows, experience->most_rows + experience->most_rows / 8);
  } else if (report.outcome == FoldOutcome::kBusy) {
    LetBe(experience, kBusyBackoffMs);
  } else {
    LetBe(experience, kFirstBackoffMs << Min(experience->failures, kMostDoublings));
    experience->failures++;
    experience->most_rows = Max(kLeastRows, tried_rows / 2);
  }
}

bool TailIsLong(Relation index) {
  const uint64 rows = storage::CountRows(index, storage::kHeadStream);
  return rows >= storage::ReadManifestRoot(index).sealed_rows + policy::kWorthwhileTail;
}

/// Parallel mode has no subtransactions; an index that CREATE INDEX CONCURRENTLY has not finished is nobody's to fold (H13).
bool MayFold(Relation index) {
  return !IsInParallelMode() && CritSectionCount == 0 && index->rd_index->indisvalid;
}

/// What the statement that ends at `deadline` may still spend.
struct Allowance {
  TimestampTz deadline;
  long left_ms;
};
Allowance allowance;

/// Milliseconds to compute for; 0 if there are none.
long TimeToSpend() {
  const TimestampTz deadline = pg::StatementDeadline();
  const long most_ms = pg::IsSwitchedOn("long-folds") ? 20 * kMostMs : kMostMs;
  if (deadline == 0) return most_ms;
  if (deadline != allowance.deadline)
    allowance = {deadline,
                 TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline) / kShareOfTimeout};
  return allowance.left_ms >= kLeastMs ? Min(allowance.left_ms, most_ms) : 0;
}

void FoldFor(Relation index, long spend_ms, Experience* experience) {
  const TimestampTz begin = GetCurrentTimestamp();
  FoldRequest request = {};
  request.gives_up = true;
  request.most_rows = Min(Max(RowsInTime(index, spend_ms), kLeastRows), experience->most_rows);
  request.deadline = TimestampTzPlusMilliseconds(begin, spend_ms);
  const FoldReport report = FoldIndexOrWarn(index, request);
  allowance.left_ms -= TimestampDifferenceMilliseconds(begin, GetCurrentTimestamp());
  Learn(experience, request.most_rows, report);
  if (report.published > 0) shmem::NotifyWork(MyDatabaseId);  // small segments are to be merged
}

}  // namespace

void FoldInline(Relation index) {
  if (!TailIsLong(index) || !MayFold(index)) return;
  Experience* experience = ExperienceWith(RelationGetRelid(index));
  if (experience->not_before != 0 && GetCurrentTimestamp() < experience->not_before) return;
  const long spend_ms = TimeToSpend();
  if (spend_ms > 0) FoldFor(index, spend_ms, experience);
}

}  // namespace tandem::am
