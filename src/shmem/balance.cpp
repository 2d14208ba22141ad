#include "pg/pg.hpp"

#include "shmem/balance.hpp"

#include <cmath>

#include "pg/settings.hpp"
#include "shmem/budget.hpp"
#include "shmem/parts.hpp"

extern "C" {
#include "port/atomics.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"
}

namespace tandem::shmem {

namespace {

constexpr char kName[] = "tandem balance";

struct BalanceMemory {
  LWLock* lock;
  pg_atomic_uint64 share;           ///< A: of graphs, in millionths; 0: nobody has moved it
  pg_atomic_uint32 wishes;          ///< A: for graphs
  pg_atomic_uint64 filter_wish_at;  ///< A
  BalanceStatus status;             ///< L
};

constexpr double kMillion = 1e6;

BalanceMemory* memory = nullptr;

uint64 BudgetBytes() {
  return static_cast<uint64>(pg::CurrentSettings().memory_budget_kb) * 1024;
}

void Request() {
  RequestAddinShmemSpace(sizeof(BalanceMemory));
  RequestNamedLWLockTranche(kName, 1);
}

void Attach() {
  bool found;
  memory = static_cast<BalanceMemory*>(ShmemInitStruct(kName, sizeof(BalanceMemory), &found));
  if (found) return;
  memory->lock = &GetNamedLWLockTranche(kName)->lock;
  pg_atomic_init_u64(&memory->share, 0);
  pg_atomic_init_u32(&memory->wishes, 0);
  pg_atomic_init_u64(&memory->filter_wish_at, 0);
  memory->status = {};
}

}  // namespace

const Part kBalancePart = {Request, Attach};

double CurrentGraphShare() {
  const pg::Settings& settings = pg::CurrentSettings();
  if (memory == nullptr || settings.mode != pg::CacheMode::kCoordinated || !settings.auto_balance)
    return settings.graph_share;
  const uint64 moved = pg_atomic_read_u64(&memory->share);
  return moved == 0 ? settings.graph_share : static_cast<double>(moved) / kMillion;
}

policy::BudgetMode ModeOfBudget() {
  switch (pg::CurrentSettings().mode) {
    case pg::CacheMode::kCoordinated:
      return policy::BudgetMode::kCoordinated;
    case pg::CacheMode::kIndependent:
      return policy::BudgetMode::kIndependent;
    case pg::CacheMode::kLru:
      return policy::BudgetMode::kLru;
  }
  return policy::BudgetMode::kCoordinated;
}

BudgetShares SharesOfBudget(uint64 graph_frames, uint64 filter_frames) {
  const uint64 target = GraphTarget(BudgetBytes(), CurrentGraphShare());
  const uint64 floor = FloorFrames(BudgetBytes());
  return {ModeOfBudget(),
          {graph_frames, target, floor, 0},
          {filter_frames, BudgetFrames(BudgetBytes()) - target, floor, 0}};
}

// ---- Rebalancing ----

/// With the lock held.
static void Move(BalanceStatus* status, TimestampTz now) {
  const double from = CurrentGraphShare();
  const double to = policy::StepTowards(from, status->goal);
  status->share = to;
  pg_atomic_write_u64(&memory->share, static_cast<uint64>(to * kMillion + 0.5));
  if (std::fabs(to - from) * kMillion < 1) return;
  status->moves++;
  status->moved_at = now;
  status->moved_from = from;
  status->moved_for = status->pattern;
}

BalanceStatus Rebalance(const policy::PatternCounts& interval) {
  if (memory == nullptr) return {};
  const pg::Settings& settings = pg::CurrentSettings();
  const TimestampTz now = GetCurrentTimestamp();
  LWLockAcquire(memory->lock, LW_EXCLUSIVE);
  BalanceStatus* status = &memory->status;
  status->rounds++;
  status->round_at = now;
  status->counts = policy::AddInterval(status->counts, interval);
  status->pattern = policy::Classify(status->counts, status->pattern);
  status->goal = settings.optimize_for_patterns ? policy::GraphShareOf(status->pattern, settings.graph_share)
                                                : settings.graph_share;
  if (settings.auto_balance && settings.mode == pg::CacheMode::kCoordinated) Move(status, now);
  const BalanceStatus result = *status;
  LWLockRelease(memory->lock);
  return result;
}

void WishForGraphs() {
  if (memory == nullptr) return;
  pg_atomic_fetch_add_u32(&memory->wishes, 1);
  pg_atomic_write_u64(&memory->filter_wish_at, 0);
}

uint32 WishesForGraphs() {
  return memory == nullptr ? 0 : pg_atomic_read_u32(&memory->wishes);
}

void WishForFilters() {
  if (memory != nullptr)
    pg_atomic_write_u64(&memory->filter_wish_at, static_cast<uint64>(GetCurrentTimestamp()));
}

TimestampTz LastWishForFilters() {
  return memory == nullptr ? 0 : static_cast<TimestampTz>(pg_atomic_read_u64(&memory->filter_wish_at));
}

BalanceStatus ReadBalance() {
  if (memory == nullptr) return {};
  LWLockAcquire(memory->lock, LW_SHARED);
  BalanceStatus status = memory->status;
  LWLockRelease(memory->lock);
  status.share = CurrentGraphShare();
  if (status.rounds == 0) status.goal = status.share;
  return status;
}

}  // namespace tandem::shmem
