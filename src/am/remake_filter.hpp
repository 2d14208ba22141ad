#pragma once
// Sets of a filter's term made again, of which nothing is left but the key that the cache had for it.

#include "pg/compat.hpp"

#include "base/span.hpp"

namespace tandem::am {

/// The file of the index of ours that such a key is of, in this database. Zeros: these are no bytes of a key.
[[nodiscard]] pg::RelationFile IndexFileOfKey(base::Span<const char> key);

/// Has the native index asked for the term, and what it says put into the cache, unless it is there. Does nothing if the key is of
/// another index, or nobody could ask so any more: the native index has gone, was built anew or is not for queries, its operators are
/// others; or if somebody has locked it. index: open, locked against commands, of a table that is locked, too. Runs the index's
/// support functions and operators, as the table's owner, in a security-restricted context (H34). In a transaction.
void RemakeFilterSets(Relation index, Relation table, base::Span<const char> key);

}  // namespace tandem::am
