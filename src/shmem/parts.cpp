#include "pg/pg.hpp"

#include "shmem/parts.hpp"

extern "C" {
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
}

namespace tandem::shmem {

namespace {

shmem_request_hook_type next_request_hook;
shmem_startup_hook_type next_startup_hook;

const Part* const kParts[] = {&kMailboxPart, &kFramePoolPart,    &kGraphCachePart, &kFilterCachePart,
                              &kBalancePart, &kSearchCountsPart, &kHeatPart};

void RequestMemory() {
  if (next_request_hook != nullptr) next_request_hook();
  for (const Part* part : kParts) part->request();
}

void AttachMemory() {
  if (next_startup_hook != nullptr) next_startup_hook();
  LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
  for (const Part* part : kParts) part->attach();
  LWLockRelease(AddinShmemInitLock);
}

}  // namespace

void RegisterParts() {
  next_request_hook = shmem_request_hook;
  shmem_request_hook = RequestMemory;
  next_startup_hook = shmem_startup_hook;
  shmem_startup_hook = AttachMemory;
}

}  // namespace tandem::shmem
