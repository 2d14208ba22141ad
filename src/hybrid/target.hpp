#pragma once
// What a request is about: columns, operator, text search configuration, key. Found in the catalogs, told as pieces of SQL.

#include "pg/pg.hpp"

#include "hybrid/request.hpp"

extern "C" {
#include "nodes/pg_list.h"
}

namespace tandem::hybrid {

/// Pieces of SQL are complete: names quoted and with schema, columns with the relation's name before them. In one memory context.
struct Target {
  Oid relation;
  const char* from;  ///< for FROM: the relation under its own name, so that a filter can use that

  // If the request has a key_type.
  const char* key;  ///< of that type
  const char* key_name;

  // If the request has a query vector.
  const char* distance;  ///< of the column and $1
  Metric metric;         ///< tells what distances mean
  int dimensions;        ///< of the column; -1: any
  const char* vector_name;

  // If the request has a query text.
  const char* document;  ///< a tsvector
  const char* text_name;
  Oid text_config;  ///< InvalidOid: default_text_search_config
  Oid text_index;  ///< GIN, on all rows, on `document`; InvalidOid without one. Partitioned if the relation is.

  List* relations;  ///< on whose definitions this depends
};

/// Errors name arguments: no such column, none or several to choose from, wrong types. Locks nothing beyond the call.
[[nodiscard]] Target FindTarget(const Request& request);

}  // namespace tandem::hybrid
