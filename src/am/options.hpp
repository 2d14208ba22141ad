#pragma once
// Storage parameters of a tandem index: WITH (strategy = …).

#include "storage/fold.hpp"

namespace tandem::am {

/// The one choice that decides how an index works (docs/ARCHITECTURE.md, "Strategies").
enum class Strategy : int {
  kFlat,        ///< append, search exactly
  kHnswBatch,   ///< append; the background worker builds graphs
  kHnswInline,  ///< append; the inserting backend builds graphs
};

[[nodiscard]] const char* StrategyName(Strategy strategy);

/// As parsed by the server. Numbers are kUnset when not given; only then may they go with strategy flat.
struct IndexOptions {
  int32 vl_len_;  ///< varlena header, never touched directly
  Strategy strategy;
  int m;
  int ef_construction;
  int ef_search;
  int codec;
};

constexpr int kUnset = -1;

/// Registers the options; once per backend, at load.
void RegisterIndexOptions();

/// amoptions: parses, and if `validate` checks that the options go together. Options of an existing index are
/// never rejected (H33): an index that cannot be opened cannot be dropped either.
[[nodiscard]] bytea* ParseIndexOptions(Datum reloptions, bool validate);

/// The index's strategy; kFlat when no option was given.
[[nodiscard]] Strategy StrategyOf(Relation index);

/// True if graphs are built for the index: by whoever the strategy names.
[[nodiscard]] inline bool HasGraphs(Strategy strategy) {
  return strategy != Strategy::kFlat;
}

/// What new graphs of the index are built with. Segments that exist keep what they were built with.
struct GraphOptions {
  uint32 m;
  uint32 ef_construction;
  vec::WalkWish codec;
};
/// With defaults in place of what was not given, whatever the strategy.
[[nodiscard]] GraphOptions GraphOptionsOf(Relation index);

/// About what graphs of an index are walked on, as new ones are: older ones of bits may have codes of 8 bits.
struct GraphCodes {
  bool are_exact;  ///< they are the bits of rows, and tell distances
  uint32 bytes;    ///< of each
};
[[nodiscard]] GraphCodes GraphCodesOf(Relation index, vec::Element element, uint32 column_dimensions);

/// What a fold of the index, by whomever, is to be built with: the options above and tandem.build_memory. On this very process,
/// however long the tail.
[[nodiscard]] storage::FoldOptions FoldOptionsOf(Relation index);

/// An error if the index is being created with options that do not go with its metric.
void CheckOptionsWithMetric(Relation index, vec::Metric metric);

/// Candidates that a search of the index keeps: the session's tandem.ef_search, else the index's, else
/// pg::kDefaultEfSearch.
[[nodiscard]] int EfSearchOf(Relation index);

}  // namespace tandem::am
