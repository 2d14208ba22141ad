#pragma once
// Opening the index that a caller named: what it must be, who may ask, and how to look without waiting.

#include "pg/pg.hpp"

extern "C" {
#include "nodes/pg_list.h"
#include "storage/lockdefs.h"
}

namespace tandem::sqlapi {

/// True for an index of ours, whatever its access method is called (H37): told by the handler's callbacks.
[[nodiscard]] bool IsTandemIndex(Relation relation);

/// Index and table, table locked first as everywhere in the server.
struct OpenIndex {
  Relation heap;
  Relation index;
  LOCKMODE lock;
};

/// Opens an index that the caller owns and whose contents this backend can reach. Errors: no such index, not ours, not
/// the caller's, partitioned, another session's temporary one, unlogged on a standby, not ready. May wait for the lock.
[[nodiscard]] OpenIndex OpenOwnedIndex(Oid index, LOCKMODE lock);
/// Releases the locks, too.
void CloseIndex(const OpenIndex& open);

/// Errors unless `relation` is a tandem index whose contents this backend can reach.
void RequireTandemIndex(Relation relation);

/// False while an index is being built, and for those whose contents are elsewhere: another session's temporary ones,
/// and unlogged ones on a standby.
[[nodiscard]] bool IsReadable(Relation index);

/// The indexes with contents that `index` stands for: itself, or, if it is partitioned, those of all partitions, in the
/// order of their OIDs. Errors unless the caller owns it. Nothing stays locked; a list of OIDs in the current context.
[[nodiscard]] List* OwnedIndexesOf(Oid index);

}  // namespace tandem::sqlapi
