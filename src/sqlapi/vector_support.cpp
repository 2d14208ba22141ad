// Planner support for the distance functions: what one call costs.
//
// The default, one cpu_operator_cost per call, is right for 2 dimensions and hundreds of times too low where the
// vector is stored out of line: then each call fetches it from the TOAST table. A planner that does not know this
// prefers sorting by distance to any index that would avoid it.

#include "pg/pg.hpp"

#include "sqlapi/vector_args.hpp"

extern "C" {
#include "access/detoast.h"
#include "access/heaptoast.h"
#include "nodes/nodeFuncs.h"
#include "nodes/pathnodes.h"
#include "nodes/supportnodes.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"
}

namespace tandem::sqlapi {
namespace {

// Units of cpu_operator_cost. Measured on PostgreSQL 15 as CPU time of SELECT count(*) with and without the distance
// in WHERE, 16 to 4,000 dimensions, everything in shared buffers, where a narrow tuple took 33 ns (cpu_tuple_cost and
// one transition: 5 units) and an integer comparison 5 ns (1 unit), so that a unit is about 6 ns:
//   16 dimensions 38 ns, 128: 183 ns, 256: 235 ns, 480: 361 ns (in line); 784: 2.9 us, 1,536: 4.6 us, 4,000: 7.2 us
//   (out of line, in 2, 4 and 9 chunks).
constexpr double kCallUnits = 5.0;            // call, header check, copy of a short value
constexpr double kUnitsPerDimension = 0.1;    // bound by reading the vector from memory
constexpr double kToastFetchUnits = 280.0;    // opening the TOAST table and its index, descending it
constexpr double kUnitsPerToastChunk = 70.0;  // per chunk of TOAST_MAX_CHUNK_SIZE (1,996) bytes
constexpr int kAssumedToastedDimensions =
    1024;  // stored out of line, dimensions not declared: a common embedding

/// What is known at plan time about one argument of the call.
struct ArgumentWidth {
  int dimensions = 0;  ///< 0: unknown
  bool toasted = false;
};

/// How a type stores its values: a header, then so many bits a dimension.
struct StoredForm {
  int header_bytes;
  int bits_per_dimension;
  double units_per_dimension;  ///< of a distance call

  [[nodiscard]] double Bytes(int dimensions) const {
    return header_bytes + dimensions * static_cast<double>(bits_per_dimension) / BITS_PER_BYTE;
  }

  /// Dimensions of a value that takes `bytes` bytes after its header.
  [[nodiscard]] int Dimensions(int bytes) const {
    return static_cast<int>(Max(bytes, 0) * static_cast<int64>(BITS_PER_BYTE) / bits_per_dimension);
  }
};

constexpr StoredForm kVectorForm = {offsetof(VectorDatum, values), 32, kUnitsPerDimension};
// Half the bytes from memory, but a conversion for each, of the left side twice.
constexpr StoredForm kHalfvecForm = {offsetof(HalfvecDatum, values), 16, kUnitsPerDimension};
constexpr StoredForm kBitForm = {VARHDRSZ + sizeof(int32), 1, kUnitsPerDimension / 32.0};

/// The relation column that `variable` reads, as average stored width in bytes from statistics; 0 if unknown.
int StoredWidth(PlannerInfo* root, const Var* variable) {
  if (root == nullptr || variable->varlevelsup != 0 || IS_SPECIAL_VARNO(variable->varno)) return 0;
  const RangeTblEntry* entry = planner_rt_fetch(variable->varno, root);
  if (entry == nullptr || entry->rtekind != RTE_RELATION) return 0;
  return get_attavgwidth(entry->relid, variable->varattno);
}

ArgumentWidth ColumnWidth(PlannerInfo* root, const Var* variable, const StoredForm& form) {
  constexpr int kPointerWidth =
      100;  // above a TOAST pointer (18 bytes), below anything worth storing elsewhere
  const int stored_bytes = StoredWidth(root, variable);
  ArgumentWidth width;
  if (variable->vartypmod > 0) {
    width.dimensions = variable->vartypmod;
    const double raw_bytes = form.Bytes(width.dimensions);
    // Statistics see what the table holds; without them, what an otherwise narrow tuple would do.
    width.toasted = raw_bytes > kPointerWidth &&
                    (stored_bytes > 0 ? stored_bytes < kPointerWidth : raw_bytes > TOAST_TUPLE_THRESHOLD);
  } else if (stored_bytes > kPointerWidth) {
    width.dimensions = form.Dimensions(stored_bytes - form.header_bytes);
  } else if (stored_bytes > 0) {
    // A short vector takes 5 + 4n bytes, so an average of 18 means pointers.
    width.toasted = stored_bytes == TOAST_POINTER_SIZE;
    width.dimensions = width.toasted ? kAssumedToastedDimensions : form.Dimensions(stored_bytes);
  }
  return width;
}

ArgumentWidth WidthOf(PlannerInfo* root, Node* argument, const StoredForm& form) {
  if (IsA(argument, Var)) return ColumnWidth(root, castNode(Var, argument), form);
  ArgumentWidth width;
  width.dimensions = Max(exprTypmod(argument), 0);
  if (width.dimensions == 0 && IsA(argument, Const)) {
    const Const* constant = castNode(Const, argument);
    if (!constant->constisnull && !VARATT_IS_EXTENDED(DatumGetPointer(constant->constvalue))) {
      width.dimensions = form.Dimensions(static_cast<int>(VARSIZE(DatumGetPointer(constant->constvalue))) -
                                         form.header_bytes);
    }
  }
  return width;
}

List* ArgumentsOf(Node* call) {
  if (call == nullptr) return NIL;
  if (IsA(call, FuncExpr)) return castNode(FuncExpr, call)->args;
  if (IsA(call, OpExpr)) return castNode(OpExpr, call)->args;
  return NIL;
}

/// Fills in the cost of one call; false if nothing is known about the arguments.
bool EstimateCost(SupportRequestCost* request, const StoredForm& form) {
  int dimensions = 0;
  int toasted_arguments = 0;
  ListCell* cell = nullptr;
  foreach (cell, ArgumentsOf(request->node)) {
    const ArgumentWidth width = WidthOf(request->root, static_cast<Node*>(lfirst(cell)), form);
    dimensions = Max(dimensions, width.dimensions);
    toasted_arguments += width.toasted ? 1 : 0;
  }
  if (dimensions == 0) return false;
  const double chunks =
      std::ceil((form.Bytes(dimensions) - VARHDRSZ) / static_cast<double>(TOAST_MAX_CHUNK_SIZE));
  const double units = kCallUnits + form.units_per_dimension * dimensions +
                       toasted_arguments * (kToastFetchUnits + kUnitsPerToastChunk * chunks);
  request->startup = 0.0;
  request->per_tuple = units * cpu_operator_cost;
  return true;
}

Datum Support(FunctionCallInfo fcinfo, const StoredForm& form) {
  auto* request = reinterpret_cast<Node*>(PG_GETARG_POINTER(0));
  if (IsA(request, SupportRequestCost) &&
      EstimateCost(reinterpret_cast<SupportRequestCost*>(request), form)) {
    PG_RETURN_POINTER(request);
  }
  PG_RETURN_POINTER(nullptr);
}

}  // namespace

TANDEM_SQL_FUNCTION(tandem_distance_support) {
  return Support(fcinfo, kVectorForm);
}

TANDEM_SQL_FUNCTION(tandem_halfvec_distance_support) {
  return Support(fcinfo, kHalfvecForm);
}

TANDEM_SQL_FUNCTION(tandem_bit_distance_support) {
  return Support(fcinfo, kBitForm);
}

}  // namespace tandem::sqlapi
