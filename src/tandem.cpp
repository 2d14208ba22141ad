// Front door of the module: registers everything, holds no logic.

#include "pg/pg.hpp"

#include "am/options.hpp"
#include "pg/stop_point.hpp"

extern "C" {
#include "utils/guc.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);
}

void _PG_init(void) {
  tandem::am::RegisterIndexOptions();
  tandem::pg::RegisterStopPoints();
  MarkGUCPrefixReserved("tandem");
}
