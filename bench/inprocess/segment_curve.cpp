// The search core alone, without a server: recall and speed of tandem's segments in memory against hnswlib on float32, in one
// process and in turns, so that what else the machine does falls on both.
//
//   tandem-bench-segment --base F --query F --truth F [--metric l2|ip|cosine] [--m 16] [--ef-construction 200]
//                        [--ef 10,20,40,80,160] [--k 10] [--rounds 5] [--threads 1] [--limit N] [--queries N]
//                        [--index F] [--segment F] [--codec auto|sq8|sq4|fp16|float32|bit] [--beam 0,1,2,4] [--segments 1,4,8]
//                        [--order together|one-by-one|both] [--rerank lazy|all|both] [--reference yes|no] [--huge-pages no|yes]
//
// --codec bit: vectors are zeros and ones.
// --index caches hnswlib's graph, --segment ours (a prefix). --beam: nodes expanded at once, 0 is the search's own choice.
// --segments: the set is cut into so many, in row order. --rerank lazy: exact distances only until lower bounds say that the
// rest is farther; all: of everything found. Searches run on one thread. --huge-pages: our segments lie on pages of 2 MB, as the server's
// shared memory does with huge_pages; hnswlib's graph does with GLIBC_TUNABLES=glibc.malloc.hugetlb=1.
//
// One JSON line per build, one per engine and ef, and at the end one per engine and recall 0.9, 0.95 and 0.99: the rate there
// (interpolated), and the median over the rounds of its ratio to hnswlib's in the same round. Rates are queries per second of
// processor time.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/json_line.hpp"
#include "common/options.hpp"
#include "common/recall.hpp"
#include "common/vector_file.hpp"
#include "graph/prefetch.hpp"
#include "inprocess/curve.hpp"
#include "inprocess/memory_graph.hpp"
#include "inprocess/reference_graph.hpp"

namespace tandem::bench {
namespace {

constexpr double kRecalls[] = {0.9, 0.95, 0.99};

/// Full-precision vectors in an array, as re-ranking wants them.
class Vectors {
 public:
  explicit Vectors(const VectorFile<float>& base) : width_(base.width()) {
    values_.reserve(base.rows() * width_);
    for (std::size_t row = 0; row < base.rows(); ++row)
      values_.insert(values_.end(), base.row(row).begin(), base.row(row).end());
  }
  [[nodiscard]] const float* Row(std::uint64_t row) const { return values_.data() + row * width_; }
  [[nodiscard]] std::size_t RowBytes() const { return width_ * sizeof(float); }

 private:
  std::size_t width_;
  std::vector<float> values_;
};

/// The set as `count` segments in memory.
struct SegmentSet {
  std::vector<std::unique_ptr<MemoryGraph>> graphs;
  std::unique_ptr<Frames> frames;
};

struct Variant {
  const SegmentSet* set;
  std::uint32_t beam;
  bool together;
  bool lazy;

  [[nodiscard]] std::string Name() const {
    std::string name = vec::NameOf(static_cast<vec::WalkCode>(set->graphs[0]->header().codec));
    name += " beam " + (beam == 0 ? std::string("auto") : std::to_string(beam));
    if (set->graphs.size() > 1) {
      name += ", " + std::to_string(set->graphs.size()) + " segments ";
      name += together ? "together" : "one by one";
    }
    return name + (lazy ? ", lazy" : ", all");
  }
};

/// Searches one set of segments.
class Searcher {
 public:
  Searcher(const Variant& variant, const Vectors& vectors, Metric metric, std::size_t k)
      : variant_(variant), vectors_(vectors), metric_(MetricOf(metric)), k_(k) {
    const std::size_t count = variant.set->graphs.size();
    const std::size_t dimensions = variant.set->graphs[0]->header().dimensions;
    scratch_lines_ = vec::WalkQuery::ScratchBytes(dimensions) / sizeof(Line) + 1;
    scratch_.resize(count * scratch_lines_);
    queries_.resize(count);
    searches_.resize(count);
    for (const auto& graph : variant.set->graphs) readers_.emplace_back(graph.get());
    for (std::size_t i = 0; i < count; ++i) {
      search_pointers_.push_back(&searches_[i]);
      reader_pointers_.push_back(&readers_[i]);
    }
  }

  [[nodiscard]] std::vector<std::int64_t> Search(const float* query, std::size_t ef) {
    const std::size_t count = searches_.size();
    for (std::size_t i = 0; i < count; ++i) {
      const MemoryGraph& graph = *variant_.set->graphs[i];
      queries_[i] = vec::WalkQuery(graph.Codec(), query, &scratch_[i * scratch_lines_]);
      searches_[i].Start(&graph.header(), queries_[i], static_cast<std::uint32_t>(ef), variant_.beam);
    }
    if (variant_.together && count > 1) {
      graph::NextBatches(search_pointers_.data(), reader_pointers_.data(), count);
    } else {
      for (std::size_t i = 0; i < count; ++i) static_cast<void>(searches_[i].NextBatch(&readers_[i]));
    }
    ListCandidates();
    return ReRank(vec::QueryDistance(metric_, query, variant_.set->graphs[0]->header().dimensions));
  }

  [[nodiscard]] std::size_t re_ranked() const { return re_ranked_; }
  [[nodiscard]] std::uint64_t distances() const {
    std::uint64_t sum = 0;
    for (const auto& search : searches_) sum += search.counters().distances;
    return sum;
  }

 private:
  struct alignas(64) Line {
    char bytes[64];
  };
  struct Candidate {
    double bound;
    std::uint32_t segment;
    std::uint32_t node;
    bool operator<(const Candidate& other) const { return bound < other.bound; }
  };

  /// Ascending by lower bound. Without lower bounds: in the order found.
  void ListCandidates() {
    candidates_.clear();
    for (std::uint32_t i = 0; i < searches_.size(); ++i) {
      for (const graph::FoundNode& found : searches_[i].batch()) {
        const double bound = variant_.lazy ? BoundOf(i, found) : static_cast<double>(found.key);
        candidates_.push_back({bound, i, found.node});
      }
    }
    if (!std::is_sorted(candidates_.begin(), candidates_.end())) {
      std::sort(candidates_.begin(), candidates_.end());
    }
  }

  [[nodiscard]] double BoundOf(std::uint32_t segment, const graph::FoundNode& found) const {
    const vec::WalkQuery& query = queries_[segment];
    return variant_.set->graphs[segment]->HasOneRow(found.node) ? query.LowerBound(found.key)
                                                                : query.SharedLowerBound(found.key);
  }

  [[nodiscard]] std::vector<std::int64_t> ReRank(const vec::QueryDistance& distance) {
    best_.clear();
    std::size_t asked = 0;
    rows_.resize(candidates_.size());
    for (std::size_t i = 0; i < candidates_.size(); ++i) {
      if (variant_.lazy && best_.size() == k_ && candidates_[i].bound > best_.back().first) break;
      // A few ahead, so that their misses overlap.
      for (; asked < std::min(candidates_.size(), i + 1 + k_); ++asked) {
        const Candidate& candidate = candidates_[asked];
        rows_[asked] = variant_.set->graphs[candidate.segment]->RowOf(candidate.node);
        graph::Prefetch(vectors_.Row(rows_[asked]), vectors_.RowBytes());
      }
      ++re_ranked_;
      const std::pair<double, std::int64_t> found(distance.Key(vectors_.Row(rows_[i])),
                                                  static_cast<std::int64_t>(rows_[i]));
      if (best_.size() == k_ && !(found < best_.back())) continue;
      if (best_.size() == k_) best_.pop_back();
      best_.insert(std::upper_bound(best_.begin(), best_.end(), found), found);
    }
    std::vector<std::int64_t> rows;
    for (const auto& entry : best_) rows.push_back(entry.second);
    return rows;
  }

  Variant variant_;
  const Vectors& vectors_;
  vec::Metric metric_;
  std::size_t k_;
  std::size_t scratch_lines_ = 0;
  std::vector<Line> scratch_;
  std::vector<vec::WalkQuery> queries_;
  std::vector<graph::GraphSearch<MemoryReader>> searches_;
  std::vector<MemoryReader> readers_;
  std::vector<graph::GraphSearch<MemoryReader>*> search_pointers_;
  std::vector<MemoryReader*> reader_pointers_;
  std::vector<Candidate> candidates_;
  std::vector<std::uint64_t> rows_;
  std::vector<std::pair<double, std::int64_t>> best_;
  std::size_t re_ranked_ = 0;
};

/// What is measured in turns: a name, and a search at an ef.
struct Engine {
  std::string name;
  std::function<void(std::size_t ef)> prepare;
  std::function<std::vector<std::int64_t>(std::size_t q, std::size_t ef)> search;
  std::function<std::pair<std::uint64_t, std::size_t>()> counters;  ///< distances, re-ranks so far; or empty
  std::vector<std::vector<double>> rates;                           ///< by ef, then round
  std::vector<double> recalls;                                      ///< by ef
};

void MeasureOnce(Engine* engine, std::size_t at, std::size_t ef, std::size_t queries,
                 const RecallJudge& judge, bool first) {
  engine->prepare(ef);
  const auto before = engine->counters ? engine->counters() : std::pair<std::uint64_t, std::size_t>();
  // Processor time: what else the machine does would otherwise be most of what is measured.
  const Stopwatch stopwatch;
  const Pass pass = SearchAll(
      queries, [&](std::size_t q) { return engine->search(q, ef); }, first ? &judge : nullptr);
  engine->rates[at].push_back(static_cast<double>(queries) / stopwatch.cpu_seconds());
  if (!first) return;
  engine->recalls[at] =
      static_cast<double>(pass.hits) / static_cast<double>(std::max<std::size_t>(1, pass.wanted));
  JsonLine line;
  line.Text("engine", engine->name)
      .Text("step", "recall")
      .Integer("ef", static_cast<std::int64_t>(ef))
      .Number("recall", engine->recalls[at]);
  if (engine->counters) {
    const auto after = engine->counters();
    line.Number("distances", static_cast<double>(after.first - before.first) / static_cast<double>(queries))
        .Number("re_ranks", static_cast<double>(after.second - before.second) / static_cast<double>(queries));
  }
  std::puts(line.Finish().c_str());
  std::fflush(stdout);
}

/// The rate at a recall in one round, between two efs by the logarithms of rate and of what recall lacks; NaN outside.
double RateAt(const Engine& engine, std::size_t round, double recall) {
  for (std::size_t i = 0; i + 1 < engine.recalls.size(); ++i) {
    if (engine.recalls[i] > recall || engine.recalls[i + 1] < recall) continue;
    const auto lack = [](double r) { return std::log(std::max(1.0 - r, 1e-5)); };
    const double from = lack(engine.recalls[i]);
    const double to = lack(engine.recalls[i + 1]);
    const double share = from == to ? 0.0 : (lack(recall) - from) / (to - from);
    return std::exp((1.0 - share) * std::log(engine.rates[i][round]) +
                    share * std::log(engine.rates[i + 1][round]));
  }
  return std::numeric_limits<double>::quiet_NaN();
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? std::numeric_limits<double>::quiet_NaN() : values[values.size() / 2];
}

void PrintRates(const Engine& engine, const std::vector<std::size_t>& efs) {
  for (std::size_t i = 0; i < efs.size(); ++i) {
    std::puts(JsonLine()
                  .Text("engine", engine.name)
                  .Text("step", "search")
                  .Integer("ef", static_cast<std::int64_t>(efs[i]))
                  .Number("recall", engine.recalls[i])
                  .Number("qps_median", Median(engine.rates[i]))
                  .Number("qps_max", *std::max_element(engine.rates[i].begin(), engine.rates[i].end()))
                  .Finish()
                  .c_str());
  }
}

void PrintAtRecalls(const Engine& engine, const Engine& reference, std::size_t rounds) {
  for (const double recall : kRecalls) {
    std::vector<double> rates;
    std::vector<double> ratios;
    for (std::size_t round = 0; round < rounds; ++round) {
      rates.push_back(RateAt(engine, round, recall));
      ratios.push_back(rates.back() / RateAt(reference, round, recall));
    }
    if (std::isnan(rates[0])) continue;
    std::puts(JsonLine()
                  .Text("engine", engine.name)
                  .Text("step", "at_recall")
                  .Number("recall", recall)
                  .Number("qps_median", Median(rates))
                  .Text("against", reference.name)
                  .Number("ratio_median", Median(ratios))
                  .Finish()
                  .c_str());
  }
}

vec::WalkWish WishOf(const std::string& name) {
  if (name == "auto") return vec::WalkWish::kAuto;
  if (name == "sq8") return vec::WalkWish::kSq8;
  if (name == "sq4") return vec::WalkWish::kSq4;
  if (name == "fp16") return vec::WalkWish::kFp16;
  if (name == "float32") return vec::WalkWish::kFloat32;
  throw std::invalid_argument("--codec: auto, sq8, sq4, fp16, float32 or bit");
}

SegmentSet MakeSegments(const VectorFile<float>& base, const Options& options, Metric metric,
                        std::size_t count) {
  SegmentSet set;
  const std::string codec = options.Text("codec", "auto");
  std::size_t chunks = 0;
  for (std::size_t i = 0; i < count; ++i) {
    SegmentParameters parameters;
    graph::BuildParameters& build = parameters.build;
    build.graph.metric = MetricOf(metric);
    build.graph.dimensions = static_cast<std::uint32_t>(base.width());
    build.graph.m = static_cast<std::uint32_t>(options.Count("m", 16));
    build.graph.ef_construction = static_cast<std::uint32_t>(options.Count("ef-construction", 200));
    build.graph.bits = codec == "bit";
    build.codec = build.graph.bits ? vec::WalkWish::kAuto : WishOf(codec);
    build.first_row = base.rows() * i / count;
    build.end_row = base.rows() * (i + 1) / count;
    build.max_rows = build.end_row - build.first_row;
    build.threads = static_cast<unsigned>(options.Count("threads", 1));
    if (options.Has("segment")) {
      parameters.cache = options.Text("segment") + "-" + codec + "-" + std::to_string(count) + "-" +
                         std::to_string(i) + ".segment";
    }
    const Stopwatch stopwatch;
    set.graphs.push_back(std::make_unique<MemoryGraph>(base, parameters));
    const MemoryGraph& graph = *set.graphs.back();
    PrintBuild("tandem", graph.from_cache(), base, build.graph.m, build.graph.ef_construction, build.threads,
               stopwatch, std::size_t{graph.Chunks()} * graph::kChunkBytes);
    chunks += graph.Chunks();
  }
  set.frames = std::make_unique<Frames>(chunks, options.Text("huge-pages", "no") == "yes");
  for (const auto& graph : set.graphs) graph->LayOut(set.frames.get());
  return set;
}

/// All combinations that the options ask for.
std::vector<Variant> VariantsOf(const Options& options, const std::vector<SegmentSet>& sets) {
  const std::string order = options.Text("order", "together");
  const std::string rerank = options.Text("rerank", "lazy");
  std::vector<Variant> variants;
  for (const SegmentSet& set : sets) {
    for (const std::size_t beam : options.Counts("beam", "0")) {
      for (const bool together : {true, false}) {
        if (order != "both" && together != (order == "together") && set.graphs.size() > 1) continue;
        if (set.graphs.size() == 1 && !together) continue;
        for (const bool lazy : {true, false}) {
          if (rerank != "both" && lazy != (rerank == "lazy")) continue;
          variants.push_back({&set, static_cast<std::uint32_t>(beam), together, lazy});
        }
      }
    }
  }
  return variants;
}

int Run(int argc, char** argv) {
  const Options options(
      argc, argv, 1, {"base",  "query",  "truth",    "metric", "m",       "ef-construction", "ef",
                      "k",     "rounds", "threads",  "limit",  "queries", "index",           "segment",
                      "codec", "beam",   "segments", "order",  "rerank",  "reference",       "huge-pages"});
  const Metric metric = ParseMetric(options.Text("metric", "l2"));
  const std::size_t k = options.Count("k", 10);
  const VectorFile<float> base(options.Text("base"), 0, options.Count("limit", 0));
  const VectorFile<float> query(options.Text("query"), 0, options.Count("queries", 0));
  const VectorFile<std::int32_t> truth(options.Text("truth"));
  const RecallJudge judge(&truth, &base, &query, metric, k, 1e-6);
  const std::vector<std::size_t> efs = options.Counts("ef", "10,20,40,80,160");
  const std::size_t rounds = std::max<std::size_t>(1, options.Count("rounds", 5));
  std::vector<std::vector<float>> prepared;
  std::vector<std::vector<float>> queries;
  for (std::size_t q = 0; q < query.rows(); ++q) {
    prepared.push_back(Prepared(metric, query.row(q)));
    queries.emplace_back(query.row(q).begin(), query.row(q).end());
  }

  std::vector<Engine> engines;
  std::unique_ptr<ReferenceGraph> reference;
  if (options.Text("reference", "yes") == "yes") {
    ReferenceParameters parameters;
    parameters.metric = metric;
    parameters.m = options.Count("m", 16);
    parameters.ef_construction = options.Count("ef-construction", 200);
    parameters.threads = options.Count("threads", 1);
    parameters.cache = options.Text("index", "");
    const Stopwatch stopwatch;
    reference = std::make_unique<ReferenceGraph>(base, parameters);
    PrintBuild("hnswlib", reference->from_cache(), base, parameters.m, parameters.ef_construction,
               parameters.threads, stopwatch, reference->MemoryBytes());
    engines.push_back({"hnswlib",
                       [&](std::size_t ef) { reference->SetEf(ef); },
                       [&](std::size_t q, std::size_t) { return reference->Search(prepared[q].data(), k); },
                       {},
                       {},
                       {}});
  }

  std::vector<SegmentSet> sets;
  for (const std::size_t count : options.Counts("segments", "1"))
    sets.push_back(MakeSegments(base, options, metric, count));
  const Vectors vectors(base);
  std::vector<std::unique_ptr<Searcher>> searchers;
  for (const Variant& variant : VariantsOf(options, sets)) {
    searchers.push_back(std::make_unique<Searcher>(variant, vectors, metric, k));
    Searcher* searcher = searchers.back().get();
    engines.push_back({variant.Name(),
                       [](std::size_t) {},
                       [&queries, searcher](std::size_t q, std::size_t ef) {
                         return searcher->Search(queries[q].data(), ef);
                       },
                       [searcher] { return std::make_pair(searcher->distances(), searcher->re_ranked()); },
                       {},
                       {}});
  }

  for (Engine& engine : engines) {
    engine.rates.resize(efs.size());
    engine.recalls.resize(efs.size());
  }
  // The first round judges, and warms.
  for (std::size_t round = 0; round <= rounds; ++round) {
    for (std::size_t i = 0; i < efs.size(); ++i) {
      for (Engine& engine : engines) MeasureOnce(&engine, i, efs[i], queries.size(), judge, round == 0);
    }
  }
  for (Engine& engine : engines) {
    for (std::vector<double>& rates : engine.rates) rates.erase(rates.begin());
    PrintRates(engine, efs);
  }
  for (const Engine& engine : engines) PrintAtRecalls(engine, engines[0], rounds);
  return 0;
}

}  // namespace
}  // namespace tandem::bench

int main(int argc, char** argv) {
  try {
    return tandem::bench::Run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "tandem-bench-segment: %s\n", error.what());
    return 1;
  }
}
