// Recall and speed of FAISS (IndexHNSWFlat) in this process on a bench set.
//
//   tandem-bench-faiss --base F --query F --truth F [--metric l2|ip|cosine] [--m 16] [--ef-construction 200]
//                      [--ef 10,20,40,57,80,120,200] [--k 10] [--rounds 3] [--threads 1]
//                      [--limit N] [--queries N] [--index F]
//
// One JSON line for the build and one per ef; one query per call on one thread. --index names a cache.

#include <faiss/IndexHNSW.h>
#include <faiss/index_io.h>
#include <omp.h>

#include <cstdio>
#include <exception>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "common/options.hpp"
#include "common/vector_file.hpp"
#include "inprocess/curve.hpp"

namespace tandem::bench {
namespace {

// Its name moved between versions (faiss::Index::idx_t, then faiss::idx_t).
using FaissId = decltype(faiss::Index::ntotal);

std::unique_ptr<faiss::IndexHNSW> Build(const VectorFile<float>& base, Metric metric, std::size_t m,
                                        std::size_t ef_construction) {
  if (metric == Metric::kL1) throw std::invalid_argument("FAISS's HNSW is measured with l2, ip or cosine");
  auto index = std::make_unique<faiss::IndexHNSWFlat>(
      static_cast<int>(base.width()), static_cast<int>(m),
      metric == Metric::kL2 ? faiss::METRIC_L2 : faiss::METRIC_INNER_PRODUCT);
  index->hnsw.efConstruction = static_cast<int>(ef_construction);
  std::vector<float> all;
  all.reserve(base.rows() * base.width());
  for (std::size_t i = 0; i < base.rows(); ++i) {
    const std::vector<float> row = Prepared(metric, base.row(i));
    all.insert(all.end(), row.begin(), row.end());
  }
  index->add(static_cast<FaissId>(base.rows()), all.data());
  return index;
}

int Run(int argc, char** argv) {
  const Options options(argc, argv, 1,
                        {"base", "query", "truth", "metric", "m", "ef-construction", "ef", "k", "rounds",
                         "threads", "limit", "queries", "index"});
  const Metric metric = ParseMetric(options.Text("metric", "l2"));
  const std::size_t m = options.Count("m", 16);
  const std::size_t ef_construction = options.Count("ef-construction", 200);
  const std::size_t k = options.Count("k", 10);
  const std::size_t threads = options.Count("threads", 1);
  const VectorFile<float> base(options.Text("base"), 0, options.Count("limit", 0));
  const VectorFile<float> query(options.Text("query"), 0, options.Count("queries", 0));
  const VectorFile<std::int32_t> truth(options.Text("truth"));

  omp_set_num_threads(static_cast<int>(threads));
  const std::string cache = options.Text("index", "");
  const bool cached = !cache.empty() && std::ifstream(cache).good();
  const Stopwatch stopwatch;
  std::unique_ptr<faiss::IndexHNSW> index;
  if (cached) {
    index.reset(dynamic_cast<faiss::IndexHNSW*>(faiss::read_index(cache.c_str())));
    if (index == nullptr || index->ntotal != static_cast<FaissId>(base.rows())) {
      throw std::runtime_error(cache + ": index of another set");
    }
  } else {
    index = Build(base, metric, m, ef_construction);
    if (!cache.empty()) faiss::write_index(index.get(), cache.c_str());
  }
  const std::size_t row_bytes = 4 * (base.width() + 2 * m);
  PrintBuild("FAISS", cached, base, m, ef_construction, threads, stopwatch, base.rows() * row_bytes);

  omp_set_num_threads(1);
  std::vector<std::vector<float>> queries;
  for (std::size_t q = 0; q < query.rows(); ++q) queries.push_back(Prepared(metric, query.row(q)));
  const RecallJudge judge(&truth, &base, &query, metric, k, 1e-6);
  std::vector<float> distances(k);
  std::vector<FaissId> labels(k);
  const Search search = [&](std::size_t q) {
    index->search(1, queries[q].data(), static_cast<FaissId>(k), distances.data(), labels.data());
    return std::vector<std::int64_t>(labels.begin(), labels.end());
  };
  for (const std::size_t ef : options.Counts("ef", "10,20,40,57,80,120,200")) {
    index->hnsw.efSearch = static_cast<int>(ef);
    JsonLine line;
    line.Text("engine", "FAISS")
        .Text("step", "search")
        .Integer("ef", static_cast<std::int64_t>(ef))
        .Integer("k", static_cast<std::int64_t>(k));
    MeasureRounds(line, options.Count("rounds", 3), queries.size(), search, &judge);
    std::puts(line.Finish().c_str());
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace
}  // namespace tandem::bench

int main(int argc, char** argv) {
  try {
    return tandem::bench::Run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "tandem-bench-faiss: %s\n", error.what());
    return 1;
  }
}
