#pragma once
// The state of a bitmap plan as a filter: And and Or of terms, each of which is one scan of a native index.

#include "pg/compat.hpp"

#include "am/filter.hpp"

extern "C" {
#include "nodes/execnodes.h"
}

namespace tandem::planner {

/// What terms did when they were evaluated, summed up.
struct TermCounts {
  uint64 evaluated;
  uint64 blocks;  ///< in their bitmaps, of which nothing more was known
  bool has_more;  ///< of a filter by words: text queries ask for more than its words, such as phrases
};

/// What a text query on a GIN index is as a filter.
enum class TextTerms : uint8 {
  kWhole,  ///< one term
  kByWord,  ///< And and Or of its words, a term each: the words of a query that was never asked before may have been
};

/// The conditions of a plan that TextTerms::kByWord is about, of which all hold for what it admits.
[[nodiscard]] List* TextConditions(PlanState* plan);

/// Makes a filter of `plan`, whose parameters have their values now. It, and what its terms are evaluated to, is in `context`, and
/// refers to `plan` and `counts`. Where an answer may not be kept, because something beside the index and the keys can change it,
/// the largest part of the plan is one term without a key.
[[nodiscard]] const am::Filter* MakeFilter(PlanState* plan, TextTerms text, MemoryContext context,
                                           TermCounts* counts);

}  // namespace tandem::planner
