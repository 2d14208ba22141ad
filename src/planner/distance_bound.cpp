#include "pg/compat.hpp"

#include "planner/distance_bound.hpp"

extern "C" {
#include "executor/executor.h"
#include "optimizer/optimizer.h"
#include "utils/float.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
}

namespace tandem::planner {

namespace {

bool IsCommuted(const OpExpr* one, const OpExpr* other) {
  return list_length(one->args) == 2 && list_length(other->args) == 2 &&
         get_commutator(one->opno) == other->opno && one->inputcollid == other->inputcollid &&
         equal(linitial(one->args), lsecond(other->args)) && equal(lsecond(one->args), linitial(other->args));
}

/// A condition taken apart; limit is nullptr if it is not one of ours.
struct Bound {
  Expr* limit;
  bool is_open;  ///< a row at the very distance fails
};

bool IsSameForAllRows(const Node* expression) {
  return !contain_var_clause(const_cast<Node*>(expression)) &&
         !contain_volatile_functions(const_cast<Node*>(expression));
}

Bound TakeApart(const Node* condition, const OpExpr* distance) {
  if (!IsA(condition, OpExpr)) return {};
  const auto* comparison = reinterpret_cast<const OpExpr*>(condition);
  if (list_length(comparison->args) != 2) return {};
  auto* left = static_cast<Node*>(linitial(comparison->args));
  auto* right = static_cast<Node*>(lsecond(comparison->args));
  const Oid function = OidIsValid(comparison->opfuncid) ? comparison->opfuncid : get_opcode(comparison->opno);
  const bool is_less = function == F_FLOAT8LT || function == F_FLOAT8LE;
  const bool is_greater = function == F_FLOAT8GT || function == F_FLOAT8GE;
  if (!is_less && !is_greater) return {};
  Node* nearer = is_less ? left : right;
  Node* limit = is_less ? right : left;
  if (!IsDistance(nearer, distance) || !IsSameForAllRows(limit)) return {};
  return {reinterpret_cast<Expr*>(limit), function == F_FLOAT8LT || function == F_FLOAT8GT};
}

/// Evaluated when the first row asks, as the condition itself would be: with no row there is no error.
struct DistanceBound {
  ExprState* limit;
  bool is_open;
  bool is_known;
  bool is_null;
  float8 value;
};

bool Fails(DistanceBound* bound, double distance, ExprContext* context) {
  if (!bound->is_known) {
    const Datum value = ExecEvalExprSwitchContext(bound->limit, context, &bound->is_null);
    if (!bound->is_null) bound->value = DatumGetFloat8(value);
    bound->is_known = true;
  }
  if (bound->is_null) return true;
  // As the server compares them: NaN is greater than all numbers.
  return bound->is_open ? !float8_lt(distance, bound->value) : !float8_le(distance, bound->value);
}

}  // namespace

bool IsDistance(const Node* expression, const OpExpr* distance) {
  if (!IsA(expression, OpExpr)) return false;
  return equal(expression, distance) || IsCommuted(reinterpret_cast<const OpExpr*>(expression), distance);
}

bool BoundsDistance(const Node* condition, const OpExpr* distance) {
  return TakeApart(condition, distance).limit != nullptr;
}

DistanceBounds PrepareBounds(const List* conditions, const OpExpr* distance, PlanState* state) {
  DistanceBounds bounds = {NIL};
  ListCell* cell;
  foreach (cell, conditions) {
    const Bound bound = TakeApart(static_cast<const Node*>(lfirst(cell)), distance);
    if (bound.limit == nullptr) continue;
    auto* prepared = static_cast<DistanceBound*>(palloc0(sizeof(DistanceBound)));
    prepared->limit = ExecInitExpr(bound.limit, state);
    prepared->is_open = bound.is_open;
    bounds.bounds = lappend(bounds.bounds, prepared);
  }
  return bounds;
}

void ForgetBounds(const DistanceBounds& bounds) {
  ListCell* cell;
  foreach (cell, bounds.bounds) static_cast<DistanceBound*>(lfirst(cell))->is_known = false;
}

bool IsTooFar(const DistanceBounds& bounds, double distance, bool is_null, ExprContext* context) {
  ListCell* cell;
  foreach (cell, bounds.bounds)
    if (is_null || Fails(static_cast<DistanceBound*>(lfirst(cell)), distance, context)) return true;
  return false;
}

}  // namespace tandem::planner
