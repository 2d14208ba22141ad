#pragma once
// What a session remembers of its hybrid searches: what they are about, and plans of their legs.

#include "pg/pg.hpp"

#include "hybrid/target.hpp"

extern "C" {
#include "executor/spi.h"
}

namespace tandem::hybrid {

/// Of one combination of relation, columns, filter, depth and so on; queries and fusion may differ from call to call.
struct Remembered {
  Target target;
  const char*
      vector_sql;  ///< (key, distance), the nearest first; nullptr without a query vector. $1: the query
  const char* text_sql;  ///< (key, score) or, for BM25, (key, document); nullptr without a text. $1: tsquery
  SPIPlanPtr vector_plan;
  SPIPlanPtr text_plan;
  const char* arguments;
  uint64 last_use;
  int users;
  bool is_stale;
  MemoryContext context;
};

/// Needs a connection to SPI, and holds what it returns until that ends. Errors as FindTarget(), and of parsing the filter.
[[nodiscard]] Remembered* Remember(const Request& request);

}  // namespace tandem::hybrid
