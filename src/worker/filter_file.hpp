#pragma once
// Which filters' sets are worth most, written down with what the graphs are worth, so that sets can be made again: after a start, and when
// filters gain memory. Keys hold values that queries have asked for, so the file is for the server's own user alone (H34).

#include "pg/pg.hpp"

#include "base/span.hpp"

namespace tandem::worker {

struct PastFilter {
  Oid database;
  float worth_us;  ///< uses of its sets, times what making them took
  base::Span<const char> key;
};

/// What is worth most now, and what was before and is not there any more: that counts half from time to time. The launcher's business.
void WriteFilterFile();

/// Where nothing is to be written down, what was before goes, too: it holds values.
void RemoveFilterFile();

/// What was written last, the hottest first, in the current memory context.
[[nodiscard]] base::Span<const PastFilter> ReadFilterFile();

}  // namespace tandem::worker
