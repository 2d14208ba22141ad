// Recall and speed of hnswlib in this process on a bench set: the reference that a graph behind SQL is held to.
//
//   tandem-bench-hnswlib --base F --query F --truth F [--metric l2|ip|cosine] [--m 16] [--ef-construction 200]
//                        [--ef 10,20,40,57,80,120,200] [--k 10] [--rounds 3] [--threads 1] [--seed 100]
//                        [--limit N] [--queries N] [--index F]
//
// One JSON line for the build and one per ef; searches run on one thread. `--ef -` reads them from standard input, one per
// line, so that searches take turns with those of another program. --index names a cache: the graph is read from it when
// it is there and written to it otherwise. Recall counts equal distances as equally right.

#include <hnswlib/hnswlib.h>

#include <atomic>
#include <cstdio>
#include <exception>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "common/json_line.hpp"
#include "common/options.hpp"
#include "common/recall.hpp"
#include "common/summary.hpp"
#include "common/vector_file.hpp"
#include "inprocess/curve.hpp"

namespace tandem::bench {
namespace {

using Graph = hnswlib::HierarchicalNSW<float>;

void Build(Graph& graph, const VectorFile<float>& base, Metric metric, std::size_t threads) {
  graph.addPoint(Prepared(metric, base.row(0)).data(), 0);
  std::atomic<std::size_t> next{1};
  const auto work = [&] {
    for (std::size_t i = next++; i < base.rows(); i = next++) {
      graph.addPoint(Prepared(metric, base.row(i)).data(), i);
    }
  };
  std::vector<std::thread> workers;
  for (std::size_t t = 1; t < threads; ++t) workers.emplace_back(work);
  work();
  for (std::thread& worker : workers) worker.join();
}

std::unique_ptr<hnswlib::SpaceInterface<float>> MakeSpace(Metric metric, std::size_t dims) {
  switch (metric) {
    case Metric::kL2:
      return std::make_unique<hnswlib::L2Space>(dims);
    case Metric::kInnerProduct:
    case Metric::kCosine:
      return std::make_unique<hnswlib::InnerProductSpace>(dims);
    case Metric::kL1:
      break;
  }
  throw std::invalid_argument("hnswlib has no L1 space");
}

int Run(int argc, char** argv) {
  const Options options(argc, argv, 1,
                        {"base", "query", "truth", "metric", "m", "ef-construction", "ef", "k", "rounds",
                         "threads", "seed", "limit", "queries", "index"});
  const Metric metric = ParseMetric(options.Text("metric", "l2"));
  const std::size_t m = options.Count("m", 16);
  const std::size_t ef_construction = options.Count("ef-construction", 200);
  const std::size_t k = options.Count("k", 10);
  const VectorFile<float> base(options.Text("base"), 0, options.Count("limit", 0));
  const VectorFile<float> query(options.Text("query"), 0, options.Count("queries", 0));
  const VectorFile<std::int32_t> truth(options.Text("truth"));
  const auto space = MakeSpace(metric, base.width());

  const std::string cache = options.Text("index", "");
  const bool cached = !cache.empty() && std::ifstream(cache).good();
  const Stopwatch stopwatch;
  std::unique_ptr<Graph> graph;
  if (cached) {
    graph = std::make_unique<Graph>(space.get(), cache);
    if (graph->cur_element_count != base.rows()) throw std::runtime_error(cache + ": graph of another set");
  } else {
    graph = std::make_unique<Graph>(space.get(), base.rows(), m, ef_construction, options.Count("seed", 100));
    Build(*graph, base, metric, options.Count("threads", 1));
    if (!cache.empty()) graph->saveIndex(cache);
  }
  PrintBuild("hnswlib", cached, base, m, ef_construction, options.Count("threads", 1), stopwatch,
             graph->cur_element_count * graph->size_data_per_element_);

  std::vector<std::vector<float>> queries;
  for (std::size_t q = 0; q < query.rows(); ++q) queries.push_back(Prepared(metric, query.row(q)));
  const RecallJudge judge(&truth, &base, &query, metric, k, 1e-6);
  const Search search = [&](std::size_t q) {
    auto found = graph->searchKnn(queries[q].data(), k);
    std::vector<std::int64_t> ids(found.size());
    for (std::size_t i = found.size(); i-- > 0; found.pop())
      ids[i] = static_cast<std::int64_t>(found.top().second);
    return ids;
  };
  const auto measure = [&](std::size_t ef) {
    graph->setEf(ef);
    JsonLine line;
    line.Text("engine", "hnswlib")
        .Text("step", "search")
        .Integer("ef", static_cast<std::int64_t>(ef))
        .Integer("k", static_cast<std::int64_t>(k));
    MeasureRounds(line, options.Count("rounds", 3), queries.size(), search, &judge);
    std::puts(line.Finish().c_str());
    std::fflush(stdout);
  };
  if (options.Text("ef", "") == "-") {
    for (std::size_t ef = 0; std::cin >> ef;) measure(ef);
  } else {
    for (const std::size_t ef : options.Counts("ef", "10,20,40,57,80,120,200")) measure(ef);
  }
  return 0;
}

}  // namespace
}  // namespace tandem::bench

int main(int argc, char** argv) {
  try {
    return tandem::bench::Run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "tandem-bench-hnswlib: %s\n", error.what());
    return 1;
  }
}
