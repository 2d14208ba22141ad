#pragma once
// The table's page that the server looks at for a row that a scan has found.

#include "pg/pg.hpp"

extern "C" {
#include "access/relscan.h"
}

namespace tandem::am {

/// Pins the page of the row in scan->xs_heaptid, which the server fetches next, if this backend remembers its buffer: the server
/// would look it up in the buffer table. Remembers that of the row before. For tables of the server's own heap; does nothing for
/// others.
void PinTablePage(IndexScanDesc scan);

}  // namespace tandem::am
