#pragma once
// What native indexes can say of a relation's conditions, as a bitmap of TIDs.

#include "pg/compat.hpp"

namespace tandem::planner {

/// The bitmap heap scan that the planner would choose for the conditions of `relation`; nullptr if no index serves any. It may leave
/// conditions to a check of the rows.
[[nodiscard]] BitmapHeapPath* FindNativeFilter(PlannerInfo* root, RelOptInfo* relation);

/// Bitmap heap scans that are content with one operand of such a scan's And: the planner combines what saves it heap pages, of which a search
/// by distance visits few anyway. NIL if it is no And.
[[nodiscard]] List* PartsOfNativeFilter(PlannerInfo* root, RelOptInfo* relation,
                                        const BitmapHeapPath* filter);

struct NativeFilterCost {
  Cost bitmap;  ///< to have it
  Cost heap;    ///< to visit all rows that it admits, and to check them
  double rows;  ///< these
  // Rows of our index that are found by their TIDs: of each scan in it, as each is a term by itself.
  double collected;  ///< of btrees that deliver TIDs one by one (btree_tids.hpp)
  double looked_up;  ///< of all others
};
[[nodiscard]] NativeFilterCost CostOfNativeFilter(const RelOptInfo* relation, const BitmapHeapPath* filter);

/// Of the plan made of such a path, the node that delivers the bitmap.
[[nodiscard]] Plan* BitmapPlanOf(Plan* plan);

}  // namespace tandem::planner
