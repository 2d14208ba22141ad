#include "pg/pg.hpp"

#include "hybrid/key_table.hpp"

#include <algorithm>

extern "C" {
#include "catalog/pg_type.h"
#include "port/pg_bitutils.h"
#include "utils/lsyscache.h"
}

namespace tandem::hybrid {

KeyType KeyTypeOf(Oid type) {
  constexpr int kWanted = TYPECACHE_CMP_PROC_FINFO | TYPECACHE_HASH_PROC_FINFO | TYPECACHE_EQ_OPR_FINFO;
  KeyType key_type = {lookup_type_cache(type, kWanted), get_typcollation(type), false};
  key_type.is_integer = type == INT8OID || type == INT4OID || type == INT2OID || type == OIDOID;
  if (!OidIsValid(key_type.cache->cmp_proc_finfo.fn_oid) ||
      !OidIsValid(key_type.cache->hash_proc_finfo.fn_oid))
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_FUNCTION),
                    errmsg("keys of type %s cannot be told apart", format_type_be(type)),
                    errdetail("The type has no ordering or no hash function."),
                    errhint("Name another column in argument \"key_column\".")));
  return key_type;
}

int CompareKeys(const KeyType& type, Datum a, Datum b) {
  return DatumGetInt32(FunctionCall2Coll(&type.cache->cmp_proc_finfo, type.collation, a, b));
}

KeyTable::KeyTable(const KeyType& type, uint32 most) : type_(type) {
  // Half full at most.
  const uint32 slots = pg_nextpower2_32(std::max<uint32>(16, 2 * most));
  mask_ = slots - 1;
  slots_ = static_cast<uint32*>(palloc0(sizeof(uint32) * slots));
  keys_ = static_cast<Datum*>(palloc(sizeof(Datum) * (static_cast<size_t>(most) + 1)));
}

uint32 KeyTable::NumberOf(Datum key) {
  for (uint32 at = HashOf(key) & mask_;; at = (at + 1) & mask_) {
    if (slots_[at] == 0) {
      keys_[size_] = key;
      slots_[at] = ++size_;
      return size_ - 1;
    }
    if (IsEqual(keys_[slots_[at] - 1], key)) return slots_[at] - 1;
  }
}

uint32 KeyTable::HashOf(Datum key) const {
  // Fibonacci hashing: the upper half of a product with 2^64 / golden ratio.
  if (type_.is_integer)
    return static_cast<uint32>((static_cast<uint64>(key) * UINT64CONST(0x9E3779B97F4A7C15)) >> 32);
  return DatumGetUInt32(FunctionCall1Coll(&type_.cache->hash_proc_finfo, type_.collation, key));
}

bool KeyTable::IsEqual(Datum a, Datum b) const {
  if (type_.is_integer) return a == b;
  return DatumGetBool(FunctionCall2Coll(&type_.cache->eq_opr_finfo, type_.collation, a, b));
}

}  // namespace tandem::hybrid
