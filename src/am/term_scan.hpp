#pragma once
// Scans of native indexes that terms of filters are answered by: what an answer depends on, as bytes, and the scan back from them.

#include "pg/compat.hpp"

#include "base/span.hpp"
#include "base/tid_set.hpp"

extern "C" {
#include "access/skey.h"
#include "nodes/tidbitmap.h"
}

namespace tandem::am {

/// True if index and keys are all that the answer depends on, for as long as the index's file is the same: operators and support
/// functions are IMMUTABLE, and each tuple of the table has entries of its own.
[[nodiscard]] bool KeysSayAll(Relation index, const ScanKeyData* keys, int count);

/// What it depends on then, in the current memory context: the index and its file; column, strategy, operator's function, types,
/// collation, NULL or not, and the whole value of each key. instead: in place of the value of the only key; nullptr: as it is.
[[nodiscard]] base::Span<const char> WriteTermKey(Relation index, const ScanKeyData* keys, int count,
                                                  const Datum* instead);

/// The index's OID; InvalidOid if these are not the bytes of a key.
[[nodiscard]] Oid IndexOfTermKey(base::Span<const char> key);

struct ScanKeys {
  ScanKeyData* keys;
  int count;
};

/// Makes scan keys again of such bytes, in the current memory context. False if the index has another file by now, the bytes are not
/// well-formed, or an operator is not one that the column is indexed for.
[[nodiscard]] bool ReadTermKey(base::Span<const char> key, Relation index, ScanKeys* to);

/// Adds what a bitmap has to a set that is not frozen.
void AddBitmap(TIDBitmap* bitmap, base::TidSet* set);

}  // namespace tandem::am
