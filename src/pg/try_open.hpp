#pragma once
// Opening a relation without ever waiting for a lock.

#include "pg/pg.hpp"

extern "C" {
#include "access/relation.h"
#include "storage/lmgr.h"
#include "utils/rel.h"
}

namespace tandem::pg {

/// Of any kind. nullptr, with no lock held, if there is none of that OID, or somebody has locked it against this.
[[nodiscard]] inline Relation TryOpen(Oid relation_oid, LOCKMODE lock) {
  if (!OidIsValid(relation_oid) || !ConditionalLockRelationOid(relation_oid, lock)) return nullptr;
  const Relation relation = try_relation_open(relation_oid, NoLock);
  if (relation == nullptr) UnlockRelationOid(relation_oid, lock);
  return relation;
}

}  // namespace tandem::pg
