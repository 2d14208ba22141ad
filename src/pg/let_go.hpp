#pragma once
// Giving back what this process holds in shared memory when a transaction, a subtransaction or the process ends.

#include "pg/pg.hpp"

namespace tandem::pg {

/// Must live for ever. let_go(since): gives back what was taken in subtransaction `since` or one that began after it; all, if
/// it is InvalidSubTransactionId. May take locks, must not fail.
struct Holder {
  void (*let_go)(SubTransactionId since);
};

/// From now on let_go() is called with InvalidSubTransactionId at the end of every transaction and of the process, and at the abort
/// of every subtransaction. Once a process and holder.
void WatchEnds(const Holder& holder);

}  // namespace tandem::pg
