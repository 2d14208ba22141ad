#pragma once
// Strategy hnsw_inline: the inserting backend folds.

#include "pg/pg.hpp"

namespace tandem::am {

/// Folds if the tail has grown past policy::kWorthwhileTail: for a bounded time, keeping what was built, and never failing the insert
/// but for a cancelled query. Does nothing where it must not run or has failed a moment ago. Two pages are looked at.
void FoldInline(Relation index);

}  // namespace tandem::am
