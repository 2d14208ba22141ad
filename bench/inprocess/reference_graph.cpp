#include "inprocess/reference_graph.hpp"

#include <hnswlib/hnswlib.h>

#include <atomic>
#include <fstream>
#include <stdexcept>
#include <thread>

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

}  // namespace

struct ReferenceGraph::Impl {
  std::unique_ptr<hnswlib::SpaceInterface<float>> space;
  std::unique_ptr<Graph> graph;
  bool from_cache = false;
};

ReferenceGraph::ReferenceGraph(const VectorFile<float>& base, const ReferenceParameters& parameters)
    : impl_(std::make_unique<Impl>()) {
  impl_->space = MakeSpace(parameters.metric, base.width());
  const std::string& cache = parameters.cache;
  impl_->from_cache = !cache.empty() && std::ifstream(cache).good();
  if (impl_->from_cache) {
    impl_->graph = std::make_unique<Graph>(impl_->space.get(), cache);
    if (impl_->graph->cur_element_count != base.rows())
      throw std::runtime_error(cache + ": graph of another set");
    return;
  }
  impl_->graph = std::make_unique<Graph>(impl_->space.get(), base.rows(), parameters.m,
                                         parameters.ef_construction, parameters.seed);
  Build(*impl_->graph, base, parameters.metric, parameters.threads);
  if (!cache.empty()) impl_->graph->saveIndex(cache);
}

ReferenceGraph::~ReferenceGraph() = default;

bool ReferenceGraph::from_cache() const {
  return impl_->from_cache;
}

std::size_t ReferenceGraph::MemoryBytes() const {
  return impl_->graph->cur_element_count * impl_->graph->size_data_per_element_;
}

void ReferenceGraph::SetEf(std::size_t ef) {
  impl_->graph->setEf(ef);
}

std::vector<std::int64_t> ReferenceGraph::Search(const float* query, std::size_t k) const {
  auto found = impl_->graph->searchKnn(query, k);
  std::vector<std::int64_t> rows(found.size());
  for (std::size_t i = found.size(); i-- > 0; found.pop())
    rows[i] = static_cast<std::int64_t>(found.top().second);
  return rows;
}

}  // namespace tandem::bench
