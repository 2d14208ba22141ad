#pragma once
// The server's TIDs as the core has them.

#include "pg/pg.hpp"

extern "C" {
#include "storage/itemptr.h"
}

#include "base/ids.hpp"

namespace tandem::pg {

[[nodiscard]] inline base::HeapTid ToHeapTid(const ItemPointerData& tid) {
  return {tid.ip_blkid.bi_hi, tid.ip_blkid.bi_lo, tid.ip_posid};
}

[[nodiscard]] inline base::HeapTid ToHeapTid(BlockNumber block, OffsetNumber offset) {
  ItemPointerData tid;
  ItemPointerSet(&tid, block, offset);
  return ToHeapTid(tid);
}

}  // namespace tandem::pg
