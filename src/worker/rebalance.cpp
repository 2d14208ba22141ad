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

/// Sums over all indexes, since the server started; of those beside them each one's own, which are older.
struct Totals {
  static constexpr int kMostNative = shmem::kMostCounted * 4;

  uint64 vector_only;
  uint64 hybrid;
  uint64 filters_asked;  ///< of native indexes, by searches of ours
  int native_count;
  policy::IndexScans native[kMostNative];
};

/// Indexes of ours on one table have the same ones beside them: each counts once.
bool IsNew(const Totals& totals, Oid database, Oid index) {
  for (int i = 0; i < totals.native_count; i++)
    if (totals.native[i].database == database && totals.native[i].index == index) return false;
  return totals.native_count < Totals::kMostNative;
}

void CountTotals(Totals* to) {
  auto* all = static_cast<shmem::SearchCounts*>(palloc(sizeof(shmem::SearchCounts) * shmem::kMostCounted));
  Totals& totals = *to;
  totals.vector_only = totals.hybrid = totals.filters_asked = 0;
  totals.native_count = 0;
  const int count = shmem::ReadAllSearchCounts(all);
  for (int i = 0; i < count; i++) {
    totals.vector_only += all[i].searches - Min(all[i].filtered, all[i].searches);
    totals.hybrid += all[i].filtered;
    totals.filters_asked += all[i].filters_asked;
    shmem::Siblings siblings;
    if (!shmem::ReadSiblings(all[i].database, all[i].index, &siblings)) continue;
    for (int j = 0; j < siblings.count; j++) {
      const Oid index = siblings.indexes[j];
      if (!IsNew(totals, all[i].database, index)) continue;
      totals.native[totals.native_count++] = {all[i].database, index,
                                              pg::IndexScansOf(all[i].database, index)};
    }
  }
  // What the server's statistics said is kept by the process until then.
  pgstat_clear_snapshot();
  pfree(all);
}

/// What came since; nothing where numbers were reset.
double Since(uint64 before, uint64 now) {
  return now > before ? static_cast<double>(now - before) : 0;
}

policy::PatternCounts CountInterval(const Totals& before, const Totals& now) {
  const auto scans = static_cast<double>(
      policy::ScansBetween(before.native, before.native_count, now.native, now.native_count));
  const double ours = Since(before.filters_asked, now.filters_asked);
  return {Since(before.vector_only, now.vector_only), Since(before.hybrid, now.hybrid),
          Max(0.0, scans - ours)};
}

/// For the workers of all databases whose indexes are searched.
void TellWorkers() {
  auto* all = static_cast<shmem::SearchCounts*>(palloc(sizeof(shmem::SearchCounts) * shmem::kMostCounted));
  const int count = shmem::ReadAllSearchCounts(all);
  for (int i = 0; i < count; i++)
    if (all[i].searches > 0) shmem::NotifyWork(all[i].database);
  pfree(all);
}

/// The side that gains is filled: graphs from their pages, with each step of the border. Of filters, the sets that were hot, and the pages of
/// the native indexes that others are made from, once, when the border is about to move that way.
void Prewarm(double from, double to, double goal) {
  static double last_goal = 1;
  const bool filters_gain = to < from && goal < last_goal;
  last_goal = goal;
  if (to > from) shmem::WishForGraphs();
  if (filters_gain) shmem::WishForFilters();
  if (to > from || filters_gain) TellWorkers();
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
  Prewarm(share, to, status.goal);
}

TimestampTz NextAfter(TimestampTz at) {
  return TimestampTzPlusMilliseconds(at, pg::CurrentSettings().rebalance_interval_s * INT64CONST(1000));
}

}  // namespace

TimestampTz RebalanceIfDue() {
  static bool is_begun = false;
  static Totals looks[2];  // the last one, and this one, in turns
  static int current;
  static TimestampTz last_at;
  if (!shmem::FramesExist()) return kNever;
  const TimestampTz now = GetCurrentTimestamp();
  if (is_begun && now < NextAfter(last_at)) return NextAfter(last_at);
  const Totals& before = looks[current];
  current = 1 - current;
  CountTotals(&looks[current]);
  if (is_begun) Round(before, looks[current]);
  is_begun = true;
  last_at = now;
  return NextAfter(now);
}

}  // namespace tandem::worker
