#include "pg/compat.hpp"

#include "am/callbacks.hpp"
#include "pg/vector_datum.hpp"
#include "storage/flat_relation.hpp"

namespace tandem::am {

/// Appends at once, whatever the statement is: no row waits in memory for the end of a statement, where an
/// ON CONFLICT retry, a utility command or a subtransaction's end could lose or falsify it (H6 to H8).
bool Insert(Relation index, Datum* values, bool* isnull, ItemPointer tid, Relation /*heap*/,
            IndexUniqueCheck /*check_unique*/, bool /*index_unchanged*/, IndexInfo* /*info*/) {
  if (isnull[0]) {
    storage::AppendRow(index, *tid, nullptr);
    return false;
  }
  const auto dimensions = static_cast<int>(storage::GetIndexCache(index)->directory.dimensions);
  const pg::VectorDatum* vector = pg::DetoastIndexedVector(values[0], dimensions);
  storage::AppendRow(index, *tid, vector->values);
  // The caller's context may live as long as the statement.
  if (PointerGetDatum(vector) != values[0]) pfree(const_cast<pg::VectorDatum*>(vector));
  return false;
}

}  // namespace tandem::am
