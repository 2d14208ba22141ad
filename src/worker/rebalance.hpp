#pragma once
// What the launcher does once in each tandem.rebalance_interval: counts what queries needed, and moves the border between the caches.

#include "pg/pg.hpp"

extern "C" {
#include "datatype/timestamp.h"
}

namespace tandem::worker {

/// Does it if it is due. Returns when it will be.
[[nodiscard]] TimestampTz RebalanceIfDue();

}  // namespace tandem::worker
