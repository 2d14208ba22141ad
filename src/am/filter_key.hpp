#pragma once
// What sets of a filter are kept by: which life of which index of ours they are of, then the key of the filter's term.

#include "pg/pg.hpp"

#include <cstring>
#include <type_traits>

#include "base/span.hpp"

namespace tandem::am {

struct IndexKey {
  uint64 incarnation;
  Oid tablespace;
  Oid file;
};
static_assert(std::has_unique_object_representations_v<IndexKey>);

struct FilterKeyParts {
  IndexKey index;
  base::Span<const char> term;  ///< empty: these are no bytes of a key
};

[[nodiscard]] inline FilterKeyParts SplitFilterKey(base::Span<const char> key) {
  FilterKeyParts parts = {};
  if (key.size() <= sizeof parts.index) return parts;
  std::memcpy(&parts.index, key.data(), sizeof parts.index);
  parts.term = {key.data() + sizeof parts.index, key.size() - sizeof parts.index};
  return parts;
}

}  // namespace tandem::am
