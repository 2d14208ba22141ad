// What a build takes. README.md has the formula; the tests compare it with what the allocator was asked for.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <mutex>

#include "graph/build_queue.hpp"
#include "graph/code_table.hpp"
#include "graph/graph_builder.hpp"
#include "graph/node_data.hpp"
#include "vec/scalar_quantizer.hpp"

namespace tandem::graph {
namespace {

// Locks that hnswlib has whatever the size (max_update_element_locks).
constexpr double kFixedLocks = 65536.0 * sizeof(std::mutex);
// The base's records read ahead, heads of allocations, queues of one insertion, and what the allocator keeps at hand.
constexpr double kSlack = 1 << 20;

/// A sum of `count` independent things that is `mean` on average, nearly surely: eight standard deviations of a variance
/// that is at most 4/3 of the mean (levels for m = 4; less for larger m).
double NearlySurely(double mean) noexcept {
  return mean + 8.0 * std::sqrt(4.0 / 3.0 * mean) + 8.0;
}

double UpperBytes(const GraphParameters& graph, double rows) noexcept {
  constexpr double kAllocation = 32.0;  // head and rounding of a small one, and the byte that hnswlib adds
  const double nodes = NearlySurely(rows / graph.m);
  const double lists = NearlySurely(rows / (graph.m - 1.0));
  return nodes * (kAllocation + sizeof(UpperNode)) + lists * (graph.m + 1.0) * sizeof(std::uint32_t);
}

double BytesPerRow(const GraphParameters& graph, unsigned threads) noexcept {
  const double element = (2.0 * graph.m + 1.0) * sizeof(std::uint32_t) +
                         static_cast<double>(NodeDataBytes(graph.metric, graph.CodeBytes())) +
                         sizeof(std::size_t);
  const double lock_level_lists = sizeof(std::mutex) + sizeof(int) + sizeof(void*);
  const double visited = sizeof(std::uint16_t) * (threads > 0 ? threads : 1.0);
  const double ids = 2.0 * sizeof(std::uint32_t);                // of a label and back
  const double rows = sizeof(TidEntry) + sizeof(std::uint32_t);  // TID and row; node
  const double base =
      2.0 * sizeof(std::uint32_t);  // rows of the base; gone before rows and their starts come
  return element + lock_level_lists + visited + ids + rows + base;
}

/// The sample, and as much again while it is looked at.
double TrainingBytes(const GraphParameters& graph) noexcept {
  if (graph.bits) return 0.0;
  const vec::ScalarQuantizerTrainer trainer(graph.metric, graph.dimensions);
  return 2.0 * sizeof(float) * static_cast<double>(trainer.MaxSamples()) * graph.dimensions;
}

double BytesForRows(const GraphParameters& graph, double rows, unsigned threads) noexcept {
  const auto count = static_cast<std::size_t>(rows);
  const std::size_t data = NodeDataBytes(graph.metric, graph.CodeBytes());
  const double built = rows * BytesPerRow(graph, threads) + UpperBytes(graph, rows) +
                       static_cast<double>(CodeTable::MemoryBytes(count)) + kFixedLocks;
  return std::max(built, TrainingBytes(graph)) + static_cast<double>(BuildQueue::MemoryBytes(data, threads)) +
         kSlack;
}

}  // namespace

std::size_t BuildBytes(const GraphParameters& graph, std::uint64_t rows, unsigned threads) noexcept {
  return static_cast<std::size_t>(BytesForRows(graph, static_cast<double>(rows), threads));
}

std::uint64_t RowsForBytes(const GraphParameters& graph, std::size_t budget_bytes,
                           unsigned threads) noexcept {
  std::uint64_t fits = 0;
  for (std::uint64_t bit = std::uint64_t{1} << 30; bit > 0; bit >>= 1) {
    if (BuildBytes(graph, fits + bit, threads) <= budget_bytes) fits += bit;
  }
  return std::max(fits, kLeastRows);
}

}  // namespace tandem::graph
