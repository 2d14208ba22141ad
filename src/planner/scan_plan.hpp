#pragma once
// The plan of a Tandem Scan: what the planner leaves for the executor.
//
//   custom_exprs    the distance by which rows are ordered: an operator, the index's column on its left, and on its right a constant
//                   NULL if they are in no order (set_scan.hpp)
//   custom_private  (index's OID), the numbers of ScanPlan
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
  bool has_order;     ///< false: rows come by a filter alone (set_scan.hpp)
  int wanted;         ///< policy::Wanted::rows of a scan that goes without a filter
  int found_per_row;  ///< policy::Wanted, in hundredths
  int of_filter;      ///< rows of the filter that will probably be asked for; 0: nobody knows
  int asks_after;     ///< am::FilterHints
  OpExpr* distance;
};

inline void StoreScanPlan(const ScanPlan& plan, CustomScan* node) {
  node->custom_exprs = list_make1(plan.distance);
  List* numbers = list_make3_int(plan.column, plan.has_order ? 1 : 0, plan.wanted);
  numbers =
      lappend_int(lappend_int(lappend_int(numbers, plan.found_per_row), plan.of_filter), plan.asks_after);
  node->custom_private = list_make2(list_make1_oid(plan.index), numbers);
}

[[nodiscard]] inline ScanPlan ScanPlanOf(const CustomScan* node) {
  const auto* index = static_cast<const List*>(linitial(node->custom_private));
  const auto* numbers = static_cast<const List*>(lsecond(node->custom_private));
  return {linitial_oid(index),       static_cast<AttrNumber>(linitial_int(numbers)),
          lsecond_int(numbers) != 0, lthird_int(numbers),
          list_nth_int(numbers, 3),  list_nth_int(numbers, 4),
          list_nth_int(numbers, 5),  linitial_node(OpExpr, node->custom_exprs)};
}

}  // namespace tandem::planner
