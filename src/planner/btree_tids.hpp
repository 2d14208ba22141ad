#pragma once
// What a btree says, TID by TID instead of by a bitmap of the server's.

#include "pg/pg.hpp"

extern "C" {
#include "nodes/execnodes.h"
}

#include "base/tid_set.hpp"

namespace tandem::planner {

/// True for a scan of a btree whose keys have their values.
[[nodiscard]] bool MayCollectTids(PlanState* plan);

/// Fills `set` with all TIDs of such a scan. False, with the set as it was, if they do not fit into work_mem, where a bitmap
/// would go on by blocks: the scan is at its beginning again.
[[nodiscard]] bool CollectTids(PlanState* plan, base::TidSet* set);

}  // namespace tandem::planner
