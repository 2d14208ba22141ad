#pragma once
// A relation as the planner would see it with other indexes.

#include "pg/compat.hpp"

namespace tandem::planner {

/// The relation with these indexes alone, and no path yet; for create_index_paths(). Shallow.
[[nodiscard]] inline RelOptInfo* CopyWithIndexes(const RelOptInfo* relation, List* indexes) {
  auto* copy = makeNode(RelOptInfo);
  *copy = *relation;
  copy->indexlist = indexes;
  copy->pathlist = copy->ppilist = copy->partial_pathlist = NIL;
  copy->cheapest_startup_path = copy->cheapest_total_path = copy->cheapest_unique_path = nullptr;
  copy->cheapest_parameterized_paths = NIL;
  copy->consider_parallel = false;
  return copy;
}

}  // namespace tandem::planner
