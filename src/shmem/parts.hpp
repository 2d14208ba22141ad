#pragma once
// The parts of the extension's shared memory, and the hooks that request and attach all of them.

#include "pg/pg.hpp"

namespace tandem::shmem {

/// request(): in shmem_request_hook. attach(): in shmem_startup_hook, with AddinShmemInitLock held; also after a crash, in a
/// postmaster that goes on: the memory is then new. Either does nothing if the settings leave the part out.
struct Part {
  void (*request)();
  void (*attach)();
};

// Each in the file of its name.
extern const Part kMailboxPart;
extern const Part kFramePoolPart;
extern const Part kGraphCachePart;
extern const Part kFilterCachePart;
extern const Part kBalancePart;
extern const Part kSearchCountsPart;
extern const Part kHeatPart;

/// From _PG_init during preload only, after RegisterSettings().
void RegisterParts();

}  // namespace tandem::shmem
