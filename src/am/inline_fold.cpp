// When and how much an insert folds (H29). README.md has the policy in words.

#include "pg/compat.hpp"

#include "am/fold_now.hpp"
#include "am/inline_fold.hpp"
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

/// What this backend remembers of an index where folding did not go well.
struct Backoff {
  Oid index;
  int failures;  ///< in a row
  TimestampTz not_before;
};

constexpr int kBackoffs = 16;
Backoff backoffs[kBackoffs];
int next_backoff;

Backoff* FindBackoff(Oid index) {
  for (Backoff& backoff : backoffs)
    if (backoff.index == index) return &backoff;
  return nullptr;
}

void BackOff(Oid index, int delay_ms, bool failed) {
  Backoff* backoff = FindBackoff(index);
  if (backoff == nullptr) {
    backoff = &backoffs[next_backoff];
    next_backoff = (next_backoff + 1) % kBackoffs;
    *backoff = {index, 0, 0};
  }
  if (failed) {
    delay_ms <<= Min(backoff->failures, kMostDoublings);
    backoff->failures++;
  }
  backoff->not_before = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), delay_ms);
}

void ForgetBackoff(Oid index) {
  Backoff* backoff = FindBackoff(index);
  if (backoff != nullptr) *backoff = {};
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
  if (deadline == 0) return kMostMs;
  if (deadline != allowance.deadline)
    allowance = {deadline,
                 TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline) / kShareOfTimeout};
  return allowance.left_ms >= kLeastMs ? Min(allowance.left_ms, kMostMs) : 0;
}

/// Rows that can be built into a graph in that time, going by 4 a millisecond at 128 dimensions and 1 at 900, half of what an
/// idle processor does; half of it after each failure. A segment of more would have to be given up.
uint64 RowsToBuild(Relation index, long spend_ms, int failures) {
  const uint64 dimensions = storage::GetIndexCache(index)->directory.dimensions;
  const uint64 rows = static_cast<uint64>(spend_ms) * 1000 / (dimensions + 100);
  return Max(kLeastRows, Min(kMostRows, rows) >> Min(failures, kMostDoublings));
}

void FoldFor(Relation index, long spend_ms, int failures) {
  const Oid oid = RelationGetRelid(index);
  const TimestampTz begin = GetCurrentTimestamp();
  FoldRequest request = {};
  request.gives_up = true;
  request.most_rows = RowsToBuild(index, spend_ms, failures);
  request.deadline = TimestampTzPlusMilliseconds(begin, spend_ms);
  const FoldReport report = FoldIndexOrWarn(index, request);
  allowance.left_ms -= TimestampDifferenceMilliseconds(begin, GetCurrentTimestamp());
  if (report.published > 0) {
    ForgetBackoff(oid);
    shmem::NotifyWork(MyDatabaseId);  // small segments are to be merged
  } else if (report.outcome == FoldOutcome::kBusy) {
    BackOff(oid, kBusyBackoffMs, false);
  } else {
    BackOff(oid, kFirstBackoffMs, true);
  }
}

}  // namespace

void FoldInline(Relation index) {
  if (!TailIsLong(index) || !MayFold(index)) return;
  const Backoff* backoff = FindBackoff(RelationGetRelid(index));
  if (backoff != nullptr && GetCurrentTimestamp() < backoff->not_before) return;
  const long spend_ms = TimeToSpend();
  if (spend_ms > 0) FoldFor(index, spend_ms, backoff != nullptr ? backoff->failures : 0);
}

}  // namespace tandem::am
