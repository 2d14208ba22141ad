#pragma once
// Which indexes are hot, written down once in each tandem.persistence_interval, so that after a start their graphs are loaded in the order
// of what they are worth. The launcher's business.

#include "pg/pg.hpp"

extern "C" {
#include "datatype/timestamp.h"
}

namespace tandem::worker {

/// Reads what the last server wrote, if this one has not yet; from then on writes at the end of the process, too.
void BeginHeatFile();

/// Writes if it is due. Returns when it will be.
[[nodiscard]] TimestampTz WriteHeatFileIfDue();

}  // namespace tandem::worker
