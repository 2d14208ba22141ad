#pragma once
// Conditions that bound the distance by which rows are ordered: behind the first row that is too far there is none that is not.

#include "pg/compat.hpp"

extern "C" {
#include "nodes/execnodes.h"
}

namespace tandem::planner {

/// True if both are the same distance; `a <-> b` and `b <-> a` are if each operator is the other's commutator.
[[nodiscard]] bool IsDistance(const Node* expression, const OpExpr* distance);

/// True for `distance < r`, `distance <= r` and what is written the other way round, r the same for all rows.
[[nodiscard]] bool BoundsDistance(const Node* condition, const OpExpr* distance);

/// Such conditions of a plan, ready to be asked. Empty if there are none.
struct DistanceBounds {
  List* bounds;  ///< of DistanceBound
};

/// state: of the plan, whose conditions are `conditions`. In the current memory context.
[[nodiscard]] DistanceBounds PrepareBounds(const List* conditions, const OpExpr* distance, PlanState* state);
/// Evaluates them anew when they are asked next.
void ForgetBounds(const DistanceBounds& bounds);
/// True if a row at this distance fails one of them, and with it all that are farther, or have none.
[[nodiscard]] bool IsTooFar(const DistanceBounds& bounds, double distance, bool is_null,
                            ExprContext* context);

}  // namespace tandem::planner
