// Front door of the module: registers everything, holds no logic.

#include "pg/pg.hpp"

extern "C" {
PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);
}

void _PG_init(void) {}
