#include "pg/pg.hpp"

#include "am/options.hpp"
#include "pg/settings.hpp"

extern "C" {
#include "access/reloptions.h"
#include "catalog/index.h"
}

namespace tandem::am {

namespace {

relopt_kind option_kind;

// Bounds: m as in Malkov and Yashunin 2018, section 4.1 (5 to 48 is reasonable), widened to what hnswlib takes;
// ef_* up to what pgvector's users may already have in their scripts.
constexpr int kMinM = 4;
constexpr int kMaxM = 100;
constexpr int kMinEf = 1;
constexpr int kMaxEf = 1000;
constexpr int kMinEfConstruction = 4;

// The server wants non-const arrays.
relopt_enum_elt_def strategy_values[] = {
    {"flat", static_cast<int>(Strategy::kFlat)},
    {"hnsw_batch", static_cast<int>(Strategy::kHnswBatch)},
    {"hnsw_inline", static_cast<int>(Strategy::kHnswInline)},
    {nullptr, 0},
};

relopt_enum_elt_def codec_values[] = {
    {"auto", static_cast<int>(vec::WalkWish::kAuto)},       {"sq8", static_cast<int>(vec::WalkWish::kSq8)},
    {"sq4", static_cast<int>(vec::WalkWish::kSq4)},         {"fp16", static_cast<int>(vec::WalkWish::kFp16)},
    {"float32", static_cast<int>(vec::WalkWish::kFloat32)}, {nullptr, 0},
};

void RejectWithFlat(const char* name, int value) {
  if (value == kUnset) return;
  ereport(ERROR,
          (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
           errmsg("storage parameter \"%s\" does not apply to strategy \"flat\"", name),
           errhint("Choose an hnsw strategy, or remove the parameter: leave it out of WITH (...), or use "
                   "ALTER INDEX ... RESET (%s) first.",
                   name)));
}

void CheckTogether(const IndexOptions& options) {
  switch (options.strategy) {
    case Strategy::kFlat:
      RejectWithFlat("m", options.m);
      RejectWithFlat("ef_construction", options.ef_construction);
      RejectWithFlat("ef_search", options.ef_search);
      RejectWithFlat("codec", options.codec);
      return;
    case Strategy::kHnswBatch:
    case Strategy::kHnswInline:
      return;
  }
}

}  // namespace

const char* StrategyName(Strategy strategy) {
  return strategy_values[static_cast<int>(strategy)].string_val;
}

// ALTER INDEX ... SET takes the lock that its options ask for. What is set is checked together with what stands, so two such
// commands must not run at once: ShareUpdateExclusiveLock sees to that, and lets inserts, searches and folds go on. They
// read the options when they begin; a fold may thus publish into an index that has just become flat, whose searches do not look
// at segments and whose next VACUUM retires them. m and ef_construction shape graphs to come, not those that exist.
void RegisterIndexOptions() {
  constexpr LOCKMODE kLock = ShareUpdateExclusiveLock;
  option_kind = add_reloption_kind();
  add_enum_reloption(option_kind, "strategy", "How the index takes inserts and answers searches.",
                     strategy_values, static_cast<int>(Strategy::kFlat),
                     "Valid values are \"flat\", \"hnsw_batch\" and \"hnsw_inline\".", kLock);
  add_int_reloption(option_kind, "m",
                    "Links of a graph node on the upper levels; twice as many on the lowest.", kUnset, kMinM,
                    kMaxM, kLock);
  add_int_reloption(option_kind, "ef_construction", "Candidates kept while a graph is built.", kUnset,
                    kMinEfConstruction, kMaxEf, kLock);
  add_int_reloption(option_kind, "ef_search", "Candidates kept while this index is searched.", kUnset, kMinEf,
                    kMaxEf, kLock);
  add_enum_reloption(option_kind, "codec", "How vectors are encoded in graph segments.", codec_values, kUnset,
                     "Valid values are \"auto\", \"sq8\", \"sq4\", \"fp16\" and \"float32\".", kLock);
}

bytea* ParseIndexOptions(Datum reloptions, bool validate) {
  static const relopt_parse_elt table[] = {
      {"strategy", RELOPT_TYPE_ENUM, offsetof(IndexOptions, strategy)},
      {"m", RELOPT_TYPE_INT, offsetof(IndexOptions, m)},
      {"ef_construction", RELOPT_TYPE_INT, offsetof(IndexOptions, ef_construction)},
      {"ef_search", RELOPT_TYPE_INT, offsetof(IndexOptions, ef_search)},
      {"codec", RELOPT_TYPE_ENUM, offsetof(IndexOptions, codec)},
  };
  void* options =
      build_reloptions(reloptions, validate, option_kind, sizeof(IndexOptions), table, lengthof(table));
  if (validate && options != nullptr) CheckTogether(*static_cast<IndexOptions*>(options));
  return static_cast<bytea*>(options);
}

static const IndexOptions* OptionsOf(Relation index) {
  return reinterpret_cast<const IndexOptions*>(index->rd_options);
}

Strategy StrategyOf(Relation index) {
  const IndexOptions* options = OptionsOf(index);
  return options != nullptr ? options->strategy : Strategy::kFlat;
}

/// An option's value within its bounds: what is stored may come from a version that knew others (H33).
static int ValueOf(int option, int if_unset, int least, int most) {
  return option == kUnset ? if_unset : Max(least, Min(option, most));
}

static vec::WalkWish ChoiceOf(const IndexOptions& options) {
  const bool known = options.codec >= 0 && options.codec <= static_cast<int>(vec::WalkWish::kFloat32);
  return known ? static_cast<vec::WalkWish>(options.codec) : vec::WalkWish::kAuto;
}

GraphOptions GraphOptionsOf(Relation index) {
  const IndexOptions* options = OptionsOf(index);
  if (options == nullptr) return {pg::kDefaultM, pg::kDefaultEfConstruction, vec::WalkWish::kAuto};
  const int m = ValueOf(options->m, pg::kDefaultM, kMinM, kMaxM);
  const int ef_construction =
      ValueOf(options->ef_construction, pg::kDefaultEfConstruction, kMinEfConstruction, kMaxEf);
  return {static_cast<uint32>(m), static_cast<uint32>(ef_construction), ChoiceOf(*options)};
}

GraphCodes GraphCodesOf(Relation index, vec::Element element, uint32 column_dimensions) {
  const bool are_bits = vec::AreWalkedOnBits(element, column_dimensions, GraphOptionsOf(index).codec);
  const vec::WalkCode code = are_bits ? vec::WalkCode::kBit : vec::WalkCode::kSq8;
  const std::size_t dimensions = vec::WidenedDimensions(element, column_dimensions);
  return {are_bits, static_cast<uint32>(vec::RecordCodeBytes(code, dimensions))};
}

void CheckOptionsWithMetric(Relation index, vec::Metric metric) {
  // TRUNCATE and REINDEX build indexes that exist: these keep working (with 8-bit codes) whatever ALTER INDEX has set.
  if (metric != vec::Metric::kL1 || ReindexIsProcessingIndex(RelationGetRelid(index))) return;
  if (GraphOptionsOf(index).codec != vec::WalkWish::kSq4) return;
  ereport(
      ERROR,
      (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("codec \"sq4\" does not apply to distance L1"),
       errhint(
           "Use codec = 'auto', 'sq8', 'fp16' or 'float32': results are ordered by full precision with any "
           "codec.")));
}

storage::FoldOptions FoldOptionsOf(Relation index) {
  const GraphOptions graph = GraphOptionsOf(index);
  storage::FoldOptions options = {};
  options.m = graph.m;
  options.ef_construction = graph.ef_construction;
  options.codec = graph.codec;
  options.build_memory_bytes = static_cast<uint64>(pg::CurrentSettings().build_memory_kb) * 1024;
  options.tail_bound = ~uint64{0};
  return options;
}

int EfSearchOf(Relation index) {
  if (pg::CurrentSettings().ef_search > 0) return pg::CurrentSettings().ef_search;
  const IndexOptions* options = OptionsOf(index);
  if (options == nullptr) return pg::kDefaultEfSearch;
  return ValueOf(options->ef_search, pg::kDefaultEfSearch, kMinEf, kMaxEf);
}

}  // namespace tandem::am
