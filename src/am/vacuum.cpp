#include "pg/compat.hpp"

#include "am/callbacks.hpp"
#include "storage/flat_relation.hpp"

namespace tandem::am {

static IndexBulkDeleteResult* NewStats() {
  return static_cast<IndexBulkDeleteResult*>(palloc0(sizeof(IndexBulkDeleteResult)));
}

IndexBulkDeleteResult* BulkDelete(IndexVacuumInfo* info, IndexBulkDeleteResult* stats,
                                  IndexBulkDeleteCallback callback, void* callback_state) {
  if (stats == nullptr) stats = NewStats();
  storage::MarkDeadRows(info->index, info->strategy, stats, callback, callback_state);
  return stats;
}

IndexBulkDeleteResult* VacuumCleanup(IndexVacuumInfo* info, IndexBulkDeleteResult* stats) {
  if (info->analyze_only) return stats;
  if (stats == nullptr) {
    // Nothing was deleted this time; what the last VACUUM counted still holds for the rows it saw.
    stats = NewStats();
    storage::MetaPage meta;
    storage::ReadMeta(info->index, &meta);
    const uint64 rows = storage::CountRows(info->index, storage::kHeadStream) +
                        storage::CountRows(info->index, storage::kNullHeadStream);
    stats->num_index_tuples = static_cast<double>(rows - Min(rows, meta.dead_rows + meta.dead_null_rows));
    stats->estimated_count = true;
  }
  stats->num_pages = RelationGetNumberOfBlocks(info->index);
  return stats;
}

}  // namespace tandem::am
