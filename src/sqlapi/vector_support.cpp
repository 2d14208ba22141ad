// Planner support for the distance functions: what one call costs.

#include "pg/pg.hpp"

#include "sqlapi/vector_args.hpp"

extern "C" {
#include "access/heaptoast.h"
#include "nodes/nodeFuncs.h"
#include "nodes/pathnodes.h"
#include "nodes/supportnodes.h"
#include "optimizer/cost.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"
}

namespace tandem::sqlapi {

TANDEM_SQL_FUNCTION(tandem_distance_support) {
  PG_RETURN_POINTER(nullptr);
}

}  // namespace tandem::sqlapi
