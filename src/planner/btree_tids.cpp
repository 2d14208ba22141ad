// A bitmap of the server's is a hash table of table pages. Where a page has few of the TIDs, each costs an entry of that table, a place when its
// entries are sorted, and reading it; in an array it costs its share of two or three passes of a radix sort.
//
// The scan is the one that the plan's node has, begun for a bitmap; a btree reads the same pages for either and locks the same for
// SERIALIZABLE. Such a scan knows no table, so nothing in it marks index entries as dead.

#include "pg/compat.hpp"

#include "planner/btree_tids.hpp"

#include "pg/guard.hpp"
#include "pg/heap_tid.hpp"
#include "pg/reserve.hpp"

extern "C" {
#include "access/genam.h"
#include "executor/instrument.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
}

namespace tandem::planner {

namespace {

constexpr Size kFirstRoom = 1024;
constexpr uint64 kInterruptsEvery = 16'384;

/// TIDs by their keys (base::HeapTid::Key()). Plain data in the context that was current when it was begun.
struct TidKeys {
  uint64* keys;
  Size size;
  Size room;
};

/// Of TIDs that there may be, with as many again to sort them.
Size MostTids() {
  return static_cast<Size>(work_mem) * 1024 / (2 * sizeof(uint64));
}

void Add(TidKeys* tids, uint64 key) {
  pg::ReserveOneMore(&tids->keys, tids->size, &tids->room);
  tids->keys[tids->size++] = key;
}

/// False if they are more than MostTids().
bool Read(IndexScanDesc scan, TidKeys* tids) {
  const Size most = MostTids();
  while (const ItemPointerData* tid = index_getnext_tid(scan, ForwardScanDirection)) {
    if (tids->size == most) return false;
    Add(tids, pg::ToHeapTid(*tid).Key());
    if (tids->size % kInterruptsEvery == 0) CHECK_FOR_INTERRUPTS();
  }
  return true;
}

}  // namespace

bool MayCollectTids(PlanState* plan) {
  if (!IsA(plan, BitmapIndexScanState)) return false;
  const auto* node = castNode(BitmapIndexScanState, plan);
  return node->biss_RelationDesc->rd_amhandler == F_BTHANDLER && node->biss_NumArrayKeys == 0 &&
         (node->biss_NumRuntimeKeys == 0 || node->biss_RuntimeKeysReady);
}

bool CollectTids(PlanState* plan, base::TidSet* set) {
  auto* node = castNode(BitmapIndexScanState, plan);
  // Called in the middle of a scan, in whatever context that is: what the node's scan leaves behind lives as long as the node.
  const MemoryContext old_context = MemoryContextSwitchTo(plan->state->es_query_cxt);
  // As the node does that makes a bitmap.
  if (plan->instrument != nullptr) InstrStartNode(plan->instrument);
  TidKeys tids = {static_cast<uint64*>(palloc(kFirstRoom * sizeof(uint64))), 0, kFirstRoom};
  const bool fits = Read(node->biss_ScanDesc, &tids);
  if (!fits) index_rescan(node->biss_ScanDesc, node->biss_ScanKeys, node->biss_NumScanKeys, nullptr, 0);
  if (plan->instrument != nullptr)
    InstrStopNode(plan->instrument, fits ? static_cast<double>(tids.size) : 0.0);
  if (fits && tids.size > 0) {
    auto* scratch =
        static_cast<uint64*>(MemoryContextAllocHuge(CurrentMemoryContext, tids.size * sizeof(uint64)));
    pg::Guard([&] { set->AddKeys(tids.keys, tids.size, scratch); });
    pfree(scratch);
  }
  pfree(tids.keys);
  MemoryContextSwitchTo(old_context);
  return fits;
}

}  // namespace tandem::planner
