// Front door of the module: registers everything, holds no logic.

#include "pg/pg.hpp"

#include "am/options.hpp"
#include "pg/settings.hpp"
#include "pg/stop_point.hpp"
#include "planner/explain.hpp"
#include "planner/scan_path.hpp"
#include "shmem/parts.hpp"
#include "sqlapi/operators.hpp"
#include "sqlapi/pgvector_commands.hpp"
#include "worker/launcher.hpp"
#include "worker/utility_hook.hpp"

extern "C" {
#include "utils/guc.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);
}

using namespace tandem;

void _PG_init(void) {
  am::RegisterIndexOptions();
  pg::RegisterSettings();
  pg::RegisterStopPoints();
  MarkGUCPrefixReserved("tandem");
  sqlapi::RegisterOperators();
  sqlapi::InstallPgvectorCommands();
  planner::RegisterExplain();
  planner::RegisterScanPaths();
  if (!process_shared_preload_libraries_in_progress) return;
  shmem::RegisterParts();
  worker::RegisterLauncher();
  worker::InstallUtilityHook();
}
