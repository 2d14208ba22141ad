#pragma once
// Sets of filters that nobody has asked for yet, made ahead: those that were worth most, of indexes of ours.

#include "pg/pg.hpp"

namespace tandem::worker {

/// Makes the sets again that were hot when they were last written down (filter_file.hpp), the hottest first, until the filter cache has
/// what it may have. In steps of a transaction each; what somebody has locked is left out; an error ends it and is logged. Serves
/// interrupts.
void RemakeHotFilterSets(const Oid* indexes_of_ours, int count);

}  // namespace tandem::worker
