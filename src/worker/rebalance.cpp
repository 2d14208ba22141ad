#include "pg/compat.hpp"

#include "worker/rebalance.hpp"

#include "pg/settings.hpp"
#include "shmem/balance.hpp"
#include "shmem/databases.hpp"
#include "shmem/frame_pool.hpp"
#include "shmem/mailbox.hpp"
#include "shmem/search_counts.hpp"
#include "worker/process.hpp"

extern "C" {
#include "utils/timestamp.h"
}

namespace tandem::worker {

namespace {

/// Sums over all indexes, since the server started.
struct Totals {
  uint64 vector_only;
  uint64 hybrid;
  uint64 native_scans;   ///< of the indexes beside ours
  uint64 filters_asked;  ///< of those, for searches of ours
};

struct NativeIndex {
  Oid database;
  Oid index;
};

constexpr int kMostNative = shmem::kMostCounted * 4;

/// Indexes of ours on one table have the same ones beside them: each counts once.
bool IsNew(const NativeIndex* seen, int count, const NativeIndex& index) {
  for (int i = 0; i < count; i++)
    if (seen[i].database == index.database && seen[i].index == index.index) return false;
  return count < kMostNative;
}

Totals CountTotals() {
  auto* all = static_cast<shmem::SearchCounts*>(palloc(sizeof(shmem::SearchCounts) * shmem::kMostCounted));
  auto* seen = static_cast<NativeIndex*>(palloc(sizeof(NativeIndex) * kMostNative));
  int seen_count = 0;
  Totals totals = {};
  const int count = shmem::ReadAllSearchCounts(all);
  for (int i = 0; i < count; i++) {
    totals.vector_only += all[i].searches - Min(all[i].filtered, all[i].searches);
    totals.hybrid += all[i].filtered;
    totals.filters_asked += all[i].filters_asked;
    shmem::Siblings siblings;
    if (!shmem::ReadSiblings(all[i].database, all[i].index, &siblings)) continue;
    for (int j = 0; j < siblings.count; j++) {
      const NativeIndex index = {all[i].database, siblings.indexes[j]};
      if (!IsNew(seen, seen_count, index)) continue;
      seen[seen_count++] = index;
      totals.native_scans += pg::IndexScansOf(index.database, index.index);
    }
  }
  // What the server's statistics said is kept by the process until then.
  pgstat_clear_snapshot();
  pfree(all);
  pfree(seen);
  return totals;
}

/// What came since; nothing where numbers were reset.
double Since(uint64 before, uint64 now) {
  return now > before ? static_cast<double>(now - before) : 0;
}

policy::PatternCounts CountInterval(const Totals& before, const Totals& now) {
  const double scans = Since(before.native_scans, now.native_scans);
  const double ours = Since(before.filters_asked, now.filters_asked);
  return {Since(before.vector_only, now.vector_only), Since(before.hybrid, now.hybrid),
          Max(0.0, scans - ours)};
}

/// The side that has gained is to be filled: graphs by the workers of the databases they are in. Sets of filters come back with the
/// next query: evaluating a condition runs functions of whoever made it, with the rights of whoever asks (H34).
void PrewarmGraphs() {
  auto* all = static_cast<shmem::SearchCounts*>(palloc(sizeof(shmem::SearchCounts) * shmem::kMostCounted));
  const int count = shmem::ReadAllSearchCounts(all);
  shmem::WishForGraphs();
  for (int i = 0; i < count; i++)
    if (all[i].searches > 0) shmem::NotifyWork(all[i].database);
  pfree(all);
}

void Round(const Totals& before, const Totals& now) {
  const double share = shmem::CurrentGraphShare();
  const shmem::BalanceStatus status = shmem::Rebalance(CountInterval(before, now));
  const policy::PatternCounts shares = policy::SharesOf(status.counts);
  const double to = shmem::CurrentGraphShare();
  ereport(DEBUG1,
          (errmsg_internal("tandem rebalanced: graphs have %.0f %% of the budget, had %.0f %%, go to %.0f %%",
                           to * 100, share * 100, status.goal * 100),
           errdetail_internal(
               "Queries are %s: %.0f %% searches, %.0f %% filtered searches, %.0f %% conditions alone.",
               policy::NameOf(status.pattern), shares.vector_only * 100, shares.hybrid * 100,
               shares.metadata_only * 100)));
  if (to > share) PrewarmGraphs();
}

TimestampTz NextAfter(TimestampTz at) {
  return TimestampTzPlusMilliseconds(at, pg::CurrentSettings().rebalance_interval_s * INT64CONST(1000));
}

}  // namespace

TimestampTz RebalanceIfDue() {
  static bool is_begun = false;
  static Totals before;
  static TimestampTz last_at;
  if (!shmem::FramesExist()) return kNever;
  const TimestampTz now = GetCurrentTimestamp();
  if (is_begun && now < NextAfter(last_at)) return NextAfter(last_at);
  const Totals totals = CountTotals();
  if (is_begun) Round(before, totals);
  is_begun = true;
  before = totals;
  last_at = now;
  return NextAfter(now);
}

}  // namespace tandem::worker
