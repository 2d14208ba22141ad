#pragma once
// Which rows of two legs are the same: keys of any type with an order and a hash function, numbered as they come.

#include "pg/pg.hpp"

extern "C" {
#include "utils/typcache.h"
}

namespace tandem::hybrid {

/// How keys of a type are compared and copied.
struct KeyType {
  TypeCacheEntry* cache;
  Oid collation;
  bool is_integer;  ///< a Datum's bits tell all
};

/// Errors for a type without order or hash function.
[[nodiscard]] KeyType KeyTypeOf(Oid type);

/// As btree indexes sort them.
[[nodiscard]] int CompareKeys(const KeyType& type, Datum a, Datum b);

/// Plain data in a memory context.
class KeyTable {
 public:
  /// For `most` keys at most.
  KeyTable(const KeyType& type, uint32 most);

  /// The key's number, from 0 in order of arrival. The key must live as long as the table.
  uint32 NumberOf(Datum key);

  [[nodiscard]] Datum KeyAt(uint32 number) const { return keys_[number]; }
  [[nodiscard]] uint32 size() const { return size_; }

 private:
  [[nodiscard]] uint32 HashOf(Datum key) const;
  [[nodiscard]] bool IsEqual(Datum a, Datum b) const;

  KeyType type_;
  Datum* keys_;
  uint32* slots_;  ///< number + 1; 0: free
  uint32 mask_;
  uint32 size_ = 0;
};

}  // namespace tandem::hybrid
