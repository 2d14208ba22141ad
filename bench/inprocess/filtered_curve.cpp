// Filtered searches of one segment in memory: what each way of searching finds and costs, by the share of nodes that the
// filter admits, in one process and in turns.
//
//   tandem-bench-filtered --base F --query F [--metric l2|ip|cosine] [--m 16] [--ef-construction 128] [--threads 1]
//                         [--limit N] [--queries N] [--segment F] [--k 10] [--rounds 3]
//                         [--permille 500,200,100,50,20,10,3,1] [--kinds independent,near,far]
//                         [--ef 40,80] [--enough 0,16] [--beam 1,4]
//
// Kinds of filters: independent of everything; near: the nodes nearest to one point, and the queries nearest to it; far: the
// same nodes, and the queries farthest from it.
// Ways: vectors (all wanted rows by their full vectors), codes (the same by their codes, and re-rank), walk (the filtered walk,
// for each ef, beam, and number of wanted neighbours that is enough), stream (the plain walk with as much larger an ef).
// A way is asked for batches until it has k rows; recall is against exact answers among the wanted rows.

#include <algorithm>
#include <cstdio>
#include <exception>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "base/ordinal_set.hpp"
#include "common/json_line.hpp"
#include "common/options.hpp"
#include "common/vector_file.hpp"
#include "graph/prefetch.hpp"
#include "inprocess/curve.hpp"
#include "inprocess/memory_graph.hpp"

namespace tandem::bench {
namespace {

using Answer = std::vector<std::pair<double, std::uint64_t>>;  // key, row; ascending

struct alignas(64) Line {
  char bytes[64];
};

/// One filter: its nodes, and queries for it with their exact answers.
struct Workload {
  std::string kind;
  std::size_t permille;
  base::OrdinalSet nodes;
  std::vector<std::size_t> queries;
  std::vector<Answer> truth;
};

/// The k nearest of those offered.
class Best {
 public:
  Best(std::size_t k, Answer* answer) : k_(k), answer_(answer) { answer_->clear(); }
  [[nodiscard]] bool IsFull() const { return answer_->size() == k_; }
  [[nodiscard]] double Last() const { return answer_->back().first; }
  void Offer(double key, std::uint64_t row) {
    const std::pair<double, std::uint64_t> found(key, row);
    if (IsFull() && !(found < answer_->back())) return;
    if (IsFull()) answer_->pop_back();
    answer_->insert(std::upper_bound(answer_->begin(), answer_->end(), found), found);
  }

 private:
  std::size_t k_;
  Answer* answer_;
};

/// Full vectors in an array, the graph in frames, and one search at a time.
class Bench {
 public:
  Bench(const VectorFile<float>& base, const VectorFile<float>& queries, const MemoryGraph* graph,
        Metric metric, std::size_t k)
      : queries_(queries),
        graph_(graph),
        reader_(graph),
        metric_(MetricOf(metric)),
        width_(base.width()),
        k_(k),
        scratch_(vec::WalkQuery::ScratchBytes(base.width()) / sizeof(Line) + 1) {
    vectors_.reserve(base.rows() * width_);
    for (std::size_t row = 0; row < base.rows(); ++row)
      vectors_.insert(vectors_.end(), base.row(row).begin(), base.row(row).end());
  }

  [[nodiscard]] const float* Row(std::uint64_t row) const { return vectors_.data() + row * width_; }
  [[nodiscard]] const float* Query(std::size_t q) const { return queries_.row(q).data(); }
  [[nodiscard]] vec::QueryDistance DistanceTo(const float* query) const { return {metric_, query, width_}; }
  [[nodiscard]] const MemoryGraph& graph() const { return *graph_; }
  [[nodiscard]] std::uint64_t distances() const { return search_.counters().distances + vector_distances_; }
  [[nodiscard]] std::uint64_t re_ranked() const { return re_ranked_; }

  void Vectors(const Workload& workload, std::size_t q, Answer* answer) {
    constexpr std::size_t kAhead = 16;
    const vec::QueryDistance distance = DistanceTo(Query(q));
    Best best(k_, answer);
    base::OrdinalWalk walk(&workload.nodes);
    base::OrdinalWalk ahead(&workload.nodes);
    std::uint32_t node;
    for (std::size_t i = 0; i < kAhead && ahead.Next(&node); ++i) Prefetch(graph_->RowOf(node));
    while (walk.Next(&node)) {
      const std::uint64_t row = graph_->RowOf(node);
      if (ahead.Next(&node)) Prefetch(graph_->RowOf(node));
      best.Offer(distance.Key(Row(row)), row);
      ++vector_distances_;
    }
  }

  void Codes(const Workload& workload, std::size_t q, Answer* answer) {
    Start(q, 40, 0);
    search_.ScoreNodes(&reader_, workload.nodes);
    Best best(k_, answer);
    while (ReRank(search_.NextScoredBatch(), workload, q, &best)) {
    }
  }

  void Walk(const Workload& workload, std::size_t q, std::uint32_t ef, std::uint32_t enough,
            std::uint32_t beam, Answer* answer) {
    Start(q, ef, beam);
    search_.SetFilter({&workload.nodes, enough});
    Best best(k_, answer);
    do {
      const auto batch = search_.NextFilteredBatch(&reader_);
      if (batch.empty()) break;
      static_cast<void>(ReRank(batch, workload, q, &best));
    } while (!best.IsFull());
  }

  void Stream(const Workload& workload, std::size_t q, std::uint32_t ef, Answer* answer) {
    const std::size_t widened = ef * 1000 / std::max<std::size_t>(workload.permille, 1);
    Start(q, static_cast<std::uint32_t>(widened), 0);
    Best best(k_, answer);
    do {
      const auto batch = search_.NextBatch(&reader_);
      if (batch.empty()) break;
      static_cast<void>(ReRank(batch, workload, q, &best));
    } while (!best.IsFull());
  }

 private:
  void Prefetch(std::uint64_t row) const { graph::Prefetch(Row(row), width_ * sizeof(float)); }

  void Start(std::size_t q, std::uint32_t ef, std::uint32_t beam) {
    query_ = vec::WalkQuery(graph_->Codec(), Query(q), scratch_.data());
    search_.Start(&graph_->header(), query_, ef, beam);
  }

  /// Exact distances until lower bounds say that the rest is farther. False if the rest of all batches is.
  [[nodiscard]] bool ReRank(base::Span<const graph::FoundNode> batch, const Workload& workload, std::size_t q,
                            Best* best) {
    constexpr std::size_t kAhead = 12;
    const vec::QueryDistance distance = DistanceTo(Query(q));
    for (std::size_t i = 0; i < std::min(kAhead, batch.size()); ++i) Prefetch(graph_->RowOf(batch[i].node));
    for (std::size_t i = 0; i < batch.size(); ++i) {
      if (i + kAhead < batch.size()) Prefetch(graph_->RowOf(batch[i + kAhead].node));
      if (best->IsFull() && query_.LowerBound(batch[i].key) > best->Last()) return false;
      if (!workload.nodes.Contains(batch[i].node)) continue;
      const std::uint64_t row = graph_->RowOf(batch[i].node);
      best->Offer(distance.Key(Row(row)), row);
      ++re_ranked_;
    }
    return !batch.empty();
  }

  const VectorFile<float>& queries_;
  const MemoryGraph* graph_;
  MemoryReader reader_;
  vec::Metric metric_;
  std::size_t width_;
  std::size_t k_;
  std::vector<float> vectors_;
  std::vector<Line> scratch_;
  vec::WalkQuery query_;
  graph::GraphSearch<MemoryReader> search_;
  std::uint64_t vector_distances_ = 0;
  std::uint64_t re_ranked_ = 0;
};

/// Ordinals by their distance from one of the base's rows, ascending.
template <typename VectorOf>
std::vector<std::uint32_t> ByDistance(const vec::QueryDistance& distance, std::size_t count,
                                      const VectorOf& vector_of) {
  std::vector<double> keys(count);
  std::vector<std::uint32_t> order(count);
  std::iota(order.begin(), order.end(), 0U);
  for (std::uint32_t i = 0; i < count; ++i) keys[i] = distance.Key(vector_of(i));
  std::sort(order.begin(), order.end(), [&](auto a, auto b) { return keys[a] < keys[b]; });
  return order;
}

Workload MakeWorkload(const Bench& bench, const std::string& kind, std::size_t permille,
                      std::size_t all_queries, std::size_t queries, std::size_t k) {
  Workload workload;
  workload.kind = kind;
  workload.permille = permille;
  const std::uint32_t nodes = bench.graph().header().nodes;
  workload.nodes = base::OrdinalSet(nodes);
  const auto row_of = [&](std::uint32_t node) { return bench.Row(bench.graph().RowOf(node)); };
  if (kind == "independent") {
    for (std::uint32_t node = 0; node < nodes; ++node)
      if ((node * std::uint64_t{0x9E3779B97F4A7C15} >> 40) % 1000 < permille) workload.nodes.Add(node);
    for (std::size_t q = 0; q < queries; ++q) workload.queries.push_back(q);
  } else {
    const vec::QueryDistance from_anchor = bench.DistanceTo(row_of(nodes / 3));
    const std::vector<std::uint32_t> near = ByDistance(from_anchor, nodes, row_of);
    for (std::size_t i = 0; i < nodes * permille / 1000; ++i) workload.nodes.Add(near[i]);
    std::vector<std::uint32_t> order =
        ByDistance(from_anchor, all_queries, [&](std::uint32_t q) { return bench.Query(q); });
    if (kind == "far") std::reverse(order.begin(), order.end());
    workload.queries.assign(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(queries));
  }
  workload.nodes.ToBitmap();
  workload.nodes.Freeze();
  for (const std::size_t q : workload.queries) {
    const vec::QueryDistance distance = bench.DistanceTo(bench.Query(q));
    workload.truth.emplace_back();
    Best best(k, &workload.truth.back());
    base::OrdinalWalk walk(&workload.nodes);
    for (std::uint32_t node; walk.Next(&node);) {
      const std::uint64_t row = bench.graph().RowOf(node);
      best.Offer(distance.Key(bench.Row(row)), row);
    }
  }
  return workload;
}

/// One way of searching, measured in turns with the others.
struct Way {
  std::string name;
  std::function<void(const Workload&, std::size_t q, Answer*)> search;
  std::vector<double> seconds;  ///< of a query, by round
};

void Measure(Bench* bench, const Workload& workload, std::vector<Way>* ways, std::size_t rounds) {
  for (Way& way : *ways) way.seconds.clear();
  std::vector<JsonLine> lines(ways->size());
  for (std::size_t round = 0; round <= rounds; ++round) {
    for (std::size_t w = 0; w < ways->size(); ++w) {
      Way& way = (*ways)[w];
      const std::uint64_t distances = bench->distances();
      const std::uint64_t re_ranked = bench->re_ranked();
      std::size_t hits = 0;
      std::size_t wanted = 0;
      std::size_t fallen_short = 0;
      const Stopwatch stopwatch;
      for (std::size_t i = 0; i < workload.queries.size(); ++i) {
        Answer answer;
        way.search(workload, workload.queries[i], &answer);
        const Answer& truth = workload.truth[i];
        wanted += truth.size();
        for (const auto& found : answer) hits += !truth.empty() && found.first <= truth.back().first ? 1 : 0;
        fallen_short += answer.size() < truth.size() ? 1 : 0;
      }
      const double seconds = stopwatch.cpu_seconds() / static_cast<double>(workload.queries.size());
      if (round > 0) {
        way.seconds.push_back(seconds);
        continue;
      }
      const auto queries = static_cast<double>(workload.queries.size());
      lines[w]
          .Text("kind", workload.kind)
          .Integer("permille", static_cast<std::int64_t>(workload.permille))
          .Integer("nodes", static_cast<std::int64_t>(workload.nodes.size()))
          .Text("way", way.name)
          .Number("recall", static_cast<double>(hits) / static_cast<double>(std::max<std::size_t>(wanted, 1)))
          .Integer("short", static_cast<std::int64_t>(fallen_short))
          .Number("distances", static_cast<double>(bench->distances() - distances) / queries)
          .Number("re_ranked", static_cast<double>(bench->re_ranked() - re_ranked) / queries);
    }
  }
  for (std::size_t w = 0; w < ways->size(); ++w) {
    std::vector<double>& seconds = (*ways)[w].seconds;
    std::sort(seconds.begin(), seconds.end());
    std::puts(lines[w].Number("us_median", seconds[seconds.size() / 2] * 1e6).Finish().c_str());
  }
  std::fflush(stdout);
}

std::vector<std::string> Words(const std::string& text) {
  std::vector<std::string> words;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    words.push_back(text.substr(at, comma - at));
    at = comma + 1;
  }
  return words;
}

std::vector<Way> WaysOf(const Options& options, Bench* bench) {
  std::vector<Way> ways;
  const auto has = [&](const char* name) {
    const std::vector<std::string> words = Words(options.Text("ways", "vectors,codes,walk,stream"));
    return std::find(words.begin(), words.end(), name) != words.end();
  };
  if (has("vectors"))
    ways.push_back({"vectors", [bench](auto& w, auto q, auto* answer) { bench->Vectors(w, q, answer); }, {}});
  if (has("codes"))
    ways.push_back({"codes", [bench](auto& w, auto q, auto* answer) { bench->Codes(w, q, answer); }, {}});
  for (const std::size_t ef : options.Counts("ef", "40,80")) {
    const auto size = static_cast<std::uint32_t>(ef);
    for (const std::size_t enough : options.Counts("enough", "16")) {
      for (const std::size_t beam : options.Counts("beam", "0")) {
        if (!has("walk")) continue;
        ways.push_back({"walk " + std::to_string(ef) + " enough " + std::to_string(enough) + " beam " +
                            std::to_string(beam),
                        [=](auto& w, auto q, auto* answer) {
                          bench->Walk(w, q, size, static_cast<std::uint32_t>(enough),
                                      static_cast<std::uint32_t>(beam), answer);
                        },
                        {}});
      }
    }
    if (has("stream"))
      ways.push_back({"stream " + std::to_string(ef),
                      [=](auto& w, auto q, auto* answer) { bench->Stream(w, q, size, answer); },
                      {}});
  }
  return ways;
}

int Run(int argc, char** argv) {
  const Options options(argc, argv, 1,
                        {"base", "query", "metric", "m", "ef-construction", "threads", "limit", "queries",
                         "segment", "k", "rounds", "permille", "kinds", "ef", "enough", "beam", "ways"});
  const Metric metric = ParseMetric(options.Text("metric", "l2"));
  const std::size_t k = options.Count("k", 10);
  const VectorFile<float> base(options.Text("base"), 0, options.Count("limit", 0));
  const VectorFile<float> query(options.Text("query"));
  SegmentParameters parameters;
  graph::BuildParameters& build = parameters.build;
  build.graph.metric = MetricOf(metric);
  build.graph.dimensions = static_cast<std::uint32_t>(base.width());
  build.graph.m = static_cast<std::uint32_t>(options.Count("m", 16));
  build.graph.ef_construction = static_cast<std::uint32_t>(options.Count("ef-construction", 128));
  build.end_row = build.max_rows = base.rows();
  build.threads = static_cast<unsigned>(options.Count("threads", 1));
  if (options.Has("segment")) parameters.cache = options.Text("segment");
  const Stopwatch stopwatch;
  MemoryGraph graph(base, parameters);
  PrintBuild("tandem", graph.from_cache(), base, build.graph.m, build.graph.ef_construction, build.threads,
             stopwatch, std::size_t{graph.Chunks()} * graph::kChunkBytes);
  Frames frames(graph.Chunks());
  graph.LayOut(&frames);

  Bench bench(base, query, &graph, metric, k);
  std::vector<Way> ways = WaysOf(options, &bench);
  const std::size_t queries = std::min(query.rows(), options.Count("queries", 200));
  for (const std::string& kind : Words(options.Text("kinds", "independent,near,far"))) {
    for (const std::size_t permille : options.Counts("permille", "500,200,100,50,20,10,3,1")) {
      const Workload workload = MakeWorkload(bench, kind, permille, query.rows(), queries, k);
      Measure(&bench, workload, &ways, std::max<std::size_t>(1, options.Count("rounds", 3)));
    }
  }
  return 0;
}

}  // namespace
}  // namespace tandem::bench

int main(int argc, char** argv) {
  try {
    return tandem::bench::Run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "tandem-bench-filtered: %s\n", error.what());
    return 1;
  }
}
