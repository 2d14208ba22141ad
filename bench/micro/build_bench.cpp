// Building graphs: rows per CPU-second of the builder, beside those of hnswlib on float32.
//
//   cmake --preset release && cmake --build --preset release && build/release/build_bench
//
// One thread, m = 16, ef_construction = 128, clustered vectors, in memory. `items_per_second` counts rows by CPU time.

#include <benchmark/benchmark.h>
#include <hnswlib/hnswlib.h>

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "graph/graph_builder.hpp"

namespace {

using tandem::graph::BuildParameters;
using tandem::graph::GraphBuilder;
namespace base = tandem::base;
namespace vec = tandem::vec;

constexpr std::size_t kRows = 50'000;
constexpr std::uint32_t kM = 16;
constexpr std::uint32_t kEfConstruction = 128;
constexpr std::size_t kLatentDimensions = 24;
constexpr std::size_t kClusters = 50;

/// Points of a mixture in few dimensions, mapped linearly to many, and noise: about as hard as real embeddings.
const std::vector<float>& Vectors(std::size_t dimensions) {
  static std::vector<float> vectors;
  static std::size_t made_for = 0;
  if (made_for == dimensions) return vectors;
  made_for = dimensions;
  std::mt19937 generator(1);
  std::normal_distribution<float> normal;
  std::vector<float> centres(kClusters * kLatentDimensions);
  for (float& x : centres) x = normal(generator);
  std::vector<float> map(kLatentDimensions * dimensions);
  for (float& x : map) x = normal(generator);
  vectors.assign(kRows * dimensions, 0.0F);
  for (std::size_t row = 0; row < kRows; ++row) {
    const std::size_t cluster = generator() % kClusters;
    float* vector = vectors.data() + row * dimensions;
    for (std::size_t l = 0; l < kLatentDimensions; ++l) {
      const float latent = centres[cluster * kLatentDimensions + l] + 0.7F * normal(generator);
      for (std::size_t d = 0; d < dimensions; ++d) vector[d] += latent * map[l * dimensions + d];
    }
    for (std::size_t d = 0; d < dimensions; ++d) vector[d] += 0.5F * normal(generator);
  }
  return vectors;
}

void Hnswlib(benchmark::State& state, std::size_t dimensions) {
  const std::vector<float>& vectors = Vectors(dimensions);
  while (state.KeepRunning()) {
    hnswlib::L2Space space(dimensions);
    hnswlib::HierarchicalNSW<float> graph(&space, kRows, kM, kEfConstruction);
    for (std::size_t row = 0; row < kRows; ++row) graph.addPoint(vectors.data() + row * dimensions, row);
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations() * kRows));
}

/// From float32 rows to the bytes of the frozen segment.
void Builder(benchmark::State& state, std::size_t dimensions, vec::Metric metric) {
  const std::vector<float>& vectors = Vectors(dimensions);
  while (state.KeepRunning()) {
    BuildParameters parameters;
    parameters.graph = {metric, static_cast<std::uint32_t>(dimensions), kM, kEfConstruction};
    parameters.end_row = parameters.max_rows = kRows;
    GraphBuilder builder(parameters);
    const std::size_t stride = kRows / builder.MaxSamples();
    for (std::size_t row = 0; row < kRows; row += stride)
      builder.AddSample(vectors.data() + row * dimensions);
    builder.FinishTraining();
    for (std::size_t row = 0; row < kRows; ++row) {
      const base::HeapTid tid{0, static_cast<std::uint16_t>(row / 100),
                              static_cast<std::uint16_t>(row % 100 + 1)};
      builder.AddRow(static_cast<base::RowId>(row), tid, vectors.data() + row * dimensions);
    }
    if (!builder.Finish().ok()) state.SkipWithError("the build failed");
    std::vector<char> page(8144);
    for (std::uint64_t at = 0; at + page.size() <= builder.header().bytes; at += page.size()) {
      builder.ReadImage(at, page.size(), page.data());
      benchmark::DoNotOptimize(page.data());
    }
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations() * kRows));
}

void RegisterAll() {
  for (const std::size_t dimensions : {std::size_t{128}, std::size_t{784}}) {
    const std::string suffix = "/" + std::to_string(dimensions);
    const auto add = [](const std::string& name, auto run) {
      benchmark::RegisterBenchmark(name.c_str(), run)->Iterations(1)->Unit(benchmark::kMillisecond);
    };
    add("hnswlib/l2" + suffix, [=](benchmark::State& state) { Hnswlib(state, dimensions); });
    add("builder/l2" + suffix,
        [=](benchmark::State& state) { Builder(state, dimensions, vec::Metric::kL2); });
    add("builder/ip" + suffix,
        [=](benchmark::State& state) { Builder(state, dimensions, vec::Metric::kInnerProduct); });
  }
}

}  // namespace

int main(int argc, char** argv) {
  RegisterAll();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
