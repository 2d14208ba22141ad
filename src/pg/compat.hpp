#pragma once
// Everything that differs between the supported server versions (15 to 18). No other file tests
// PG_VERSION_NUM. Guards are written as ">= version", never as lists, so that versions between follow.

#include "pg/pg.hpp"

#if PG_VERSION_NUM < 150000
#error "tandem needs PostgreSQL 15 or later"
#endif

extern "C" {
#include "commands/vacuum.h"
#include "storage/bufmgr.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif
}

namespace tandem::pg {

/// Sleeps as cost-based vacuum delay asks; a cancellation point. No buffer lock may be held.
inline void VacuumDelayPoint() {
#if PG_VERSION_NUM >= 180000
  vacuum_delay_point(false);
#else
  vacuum_delay_point();
#endif
}

}  // namespace tandem::pg
