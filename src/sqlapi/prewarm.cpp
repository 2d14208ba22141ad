// SELECT tandem_prewarm(index): graphs into shared memory now, not as searches ask for them.

#include "pg/compat.hpp"

#include "am/chunk_load.hpp"
#include "sqlapi/index_access.hpp"

extern "C" {
#include "fmgr.h"
#include "nodes/pg_list.h"

PGDLLEXPORT Datum tandem_prewarm(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(tandem_prewarm);
}

namespace tandem::sqlapi {

namespace {

void RequireFrames() {
  if (shmem::FramesExist()) return;
  ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                  errmsg("there is no shared memory to load graphs into"),
                  errhint("Add \"tandem\" to shared_preload_libraries, set tandem.memory_budget, and restart "
                          "the server.")));
}

/// Also takes the memory of graphs that were not searched for a while.
uint64 Prewarm(Oid index_oid) {
  const OpenIndex open = OpenOwnedIndex(index_oid, AccessShareLock);
  const storage::Manifest* manifest = storage::ReadManifest(open.index);
  am::IndexLoad load = {};
  (void)am::StepIndexLoad(open.index, *manifest, &load, 0, false);
  const uint64 bytes = am::UsesFrames(open.index) ? am::BytesInMemory(open.index, *manifest) : 0;
  CloseIndex(open);
  return bytes;
}

}  // namespace

}  // namespace tandem::sqlapi

using namespace tandem;

Datum tandem_prewarm(PG_FUNCTION_ARGS) {
  const List* indexes = sqlapi::OwnedIndexesOf(PG_GETARG_OID(0));
  sqlapi::RequireFrames();
  am::ForgetLostSegments();
  uint64 bytes = 0;
  const ListCell* cell;
  foreach (cell, indexes) bytes += sqlapi::Prewarm(lfirst_oid(cell));
  PG_RETURN_INT64(static_cast<int64>(bytes));
}
