#include "pg/compat.hpp"

#include "am/table_page.hpp"

#include "storage/directory.hpp"

extern "C" {
#include "access/heapam.h"
#include "access/tableam.h"
}

namespace tandem::am {

// As page reads of the index do: a buffer of less use is looked up, which counts as one.
static constexpr uint32 kLeastUsage = 3;

static void RememberPage(Relation index, Buffer buffer) {
  const BlockNumber block = BufferGetBlockNumber(buffer);
  storage::ReserveRecentBlocks(index, block);
  if (Buffer* place = storage::RecentTableBuffer(index, block); place != nullptr) *place = buffer;
}

void PinTablePage(IndexScanDesc scan) {
  const Relation table = scan->heapRelation;
  if (scan->xs_heapfetch == nullptr || table->rd_tableam != GetHeapamTableAmRoutine()) return;
  auto* fetch = reinterpret_cast<IndexFetchHeapData*>(scan->xs_heapfetch);
  const BlockNumber block = ItemPointerGetBlockNumber(&scan->xs_heaptid);
  if (BufferIsValid(fetch->xs_cbuf)) {
    if (BufferGetBlockNumber(fetch->xs_cbuf) == block) return;
    RememberPage(scan->indexRelation, fetch->xs_cbuf);
  }
  const Buffer* recent = storage::RecentTableBuffer(scan->indexRelation, block);
  if (recent == nullptr || !BufferIsValid(*recent)) return;
  const Buffer buffer = *recent;
  if (!pg::ReadRecentPage(table, block, buffer, kLeastUsage)) return;
  if (BufferIsValid(fetch->xs_cbuf)) ReleaseBuffer(fetch->xs_cbuf);
  // The server, which prunes each page that it comes to, takes this one for that of the row before.
  fetch->xs_cbuf = buffer;
  heap_page_prune_opt(table, buffer);
}

}  // namespace tandem::am
