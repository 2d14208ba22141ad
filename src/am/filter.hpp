#pragma once
// What a filtered search is told of its filter: And and Or of what single scans of native indexes say.
//
// A term is evaluated only if it must be: what it admits may be known from the cache (filter_map.hpp).

#include "pg/pg.hpp"

#include "base/span.hpp"
#include "base/tid_set.hpp"

namespace tandem::am {

/// One term: rows that one way of asking native indexes admits. What it says of a row must hold as long as the row does, but for rows
/// whose inserting transaction may still be at work. It may admit rows that do not fulfil the conditions: these are checked anyway.
struct FilterTerm {
  /// Everything that the answer depends on, within this database; empty: it depends on more.
  base::Span<const char> key;
  /// The TIDs it admits, frozen: all rows that the search's snapshot sees and that fulfil the condition are among them, in whole blocks
  /// where nothing more is known. Called at most once; the set lives as long as the filter.
  const base::TidSet* (*evaluate)(void* arg);
  void* arg;
};

enum class FilterOp : unsigned char {
  kTerm,
  kAnd,
  kOr,
  kAndNot,  ///< the first operand's rows without the second's, as far as these are known for certain
};

/// A tree, in which a term may have several places.
struct Filter {
  FilterOp op;
  FilterTerm term;                           ///< of kTerm
  base::Span<const Filter* const> operands;  ///< of kAnd and kOr: at least two; of kAndNot: two
};

}  // namespace tandem::am
