// Recall and speed of hnswlib in this process on a bench set: the reference that a graph behind SQL is held to.
//
//   tandem-bench-hnswlib --base F --query F --truth F [--metric l2|ip|cosine] [--m 16] [--ef-construction 200]
//                        [--ef 10,20,40,57,80,120,200] [--k 10] [--rounds 3] [--threads 1] [--seed 100]
//                        [--limit N] [--queries N] [--index F]
//
// One JSON line for the build and one per ef; searches run on one thread. `--ef -` reads them from standard input, one per
// line, so that searches take turns with those of another program. --index names a cache: the graph is read from it when
// it is there and written to it otherwise. Recall counts equal distances as equally right.

#include <cstdio>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include "common/json_line.hpp"
#include "common/options.hpp"
#include "common/recall.hpp"
#include "common/vector_file.hpp"
#include "inprocess/curve.hpp"
#include "inprocess/reference_graph.hpp"

namespace tandem::bench {
namespace {

int Run(int argc, char** argv) {
  const Options options(argc, argv, 1,
                        {"base", "query", "truth", "metric", "m", "ef-construction", "ef", "k", "rounds",
                         "threads", "seed", "limit", "queries", "index"});
  ReferenceParameters parameters;
  parameters.metric = ParseMetric(options.Text("metric", "l2"));
  parameters.m = options.Count("m", 16);
  parameters.ef_construction = options.Count("ef-construction", 200);
  parameters.seed = options.Count("seed", 100);
  parameters.threads = options.Count("threads", 1);
  parameters.cache = options.Text("index", "");
  const std::size_t k = options.Count("k", 10);
  const VectorFile<float> base(options.Text("base"), 0, options.Count("limit", 0));
  const VectorFile<float> query(options.Text("query"), 0, options.Count("queries", 0));
  const VectorFile<std::int32_t> truth(options.Text("truth"));

  const Stopwatch stopwatch;
  ReferenceGraph graph(base, parameters);
  PrintBuild("hnswlib", graph.from_cache(), base, parameters.m, parameters.ef_construction,
             parameters.threads, stopwatch, graph.MemoryBytes());

  std::vector<std::vector<float>> queries;
  for (std::size_t q = 0; q < query.rows(); ++q) queries.push_back(Prepared(parameters.metric, query.row(q)));
  const RecallJudge judge(&truth, &base, &query, parameters.metric, k, 1e-6);
  const Search search = [&](std::size_t q) { return graph.Search(queries[q].data(), k); };
  const auto measure = [&](std::size_t ef) {
    graph.SetEf(ef);
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
