#pragma once
// The plan of a Tandem Scan: what the planner leaves for the executor.
//
//   custom_exprs    the distance by which rows are ordered: an operator, the index's column on its left, and on its right a constant
//                   NULL if they are in no order (set_scan.hpp)
//   custom_private  (index's OID), (number of that column in the index, rows that are wanted, those found for each, whether there is
//                   an order, and when the filter may be asked later: rows, cost, budget)
//   custom_plans    the filter: what delivers a bitmap of TIDs; nothing if there is none
//
// Nothing of custom_exprs is evaluated as it stands. They are there because the server then renumbers their variables and knows
// the parameters they depend on.

#include "pg/compat.hpp"

extern "C" {
#include "nodes/extensible.h"
#include "nodes/plannodes.h"
}

namespace tandem::planner {

/// What EXPLAIN calls the node.
constexpr const char* kScanNodeName = "Tandem Scan";

extern const CustomScanMethods kScanPlanMethods;

struct ScanPlan {
  Oid index;
  AttrNumber column;  ///< of the index, from 1
  int wanted;  ///< with a filter, rows of it that will probably be asked for; else policy::Wanted::rows; 0: nobody knows
  int found_per_row;  ///< policy::Wanted, or policy::AskLater, in hundredths
  bool has_order;     ///< false: rows come by a filter alone (set_scan.hpp)
  int later_rows;     ///< policy::AskLater
  int later_cost;     ///< the same
  int later_budget;   ///< the same
  OpExpr* distance;
};

inline void StoreScanPlan(const ScanPlan& plan, CustomScan* node) {
  node->custom_exprs = list_make1(plan.distance);
  List* numbers =
      list_make5_int(plan.column, plan.wanted, plan.found_per_row, plan.has_order ? 1 : 0, plan.later_rows);
  numbers = lappend_int(lappend_int(numbers, plan.later_cost), plan.later_budget);
  node->custom_private = list_make2(list_make1_oid(plan.index), numbers);
}

[[nodiscard]] inline ScanPlan ScanPlanOf(const CustomScan* node) {
  const auto* index = static_cast<const List*>(linitial(node->custom_private));
  const auto* numbers = static_cast<const List*>(lsecond(node->custom_private));
  return {linitial_oid(index),
          static_cast<AttrNumber>(linitial_int(numbers)),
          lsecond_int(numbers),
          lthird_int(numbers),
          lfourth_int(numbers) != 0,
          list_nth_int(numbers, 4),
          list_nth_int(numbers, 5),
          list_nth_int(numbers, 6),
          linitial_node(OpExpr, node->custom_exprs)};
}

}  // namespace tandem::planner
