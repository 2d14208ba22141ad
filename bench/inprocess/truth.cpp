// Exact nearest neighbours in double precision: the ground truth that recall is measured against.
//
//   tandem-bench-truth --base F --query F --out-ids F --out-distances F
//                      [--metric l2|ip|cosine|l1] [--k 100] [--limit N] [--queries N] [--threads 1]
//                      [--labels ivecs --params ivecs]
//
// Every pair is computed in double precision from the stored float32 values, so there is no candidate list that
// could miss a row and nothing to re-rank. Equal distances are ordered by row id. With --labels (one value per base
// row) and --params (one per query) only rows whose label equals the query's parameter take part; a query with
// fewer than k such rows is padded with id -1 and distance infinity.

#include <cmath>
#include <cstdio>
#include <exception>
#include <limits>
#include <memory>
#include <queue>
#include <string>
#include <thread>
#include <vector>

#include "common/distance.hpp"
#include "common/json_line.hpp"
#include "common/options.hpp"
#include "common/summary.hpp"
#include "common/vector_file.hpp"

namespace tandem::bench {
namespace {

constexpr std::size_t kLanes =
    8;  // doubles in a 64-byte register; the compiler splits it where there is none
constexpr std::size_t kQueriesAtOnce = 4;  // a loaded row serves four queries; eight spilled registers
using Lanes = double __attribute__((vector_size(kLanes * sizeof(double))));
using FloatLanes = float __attribute__((vector_size(kLanes * sizeof(float)), aligned(4), may_alias));

using Neighbour = std::pair<double, std::int32_t>;  // ordered by distance, then id

/// Vectors in double precision, rows padded with zeros to a multiple of kLanes (zeros change no metric here).
struct DoubleRows {
  std::size_t stride = 0;  ///< in Lanes
  std::vector<Lanes> values;

  DoubleRows(std::size_t rows, std::size_t width)
      : stride((width + kLanes - 1) / kLanes), values(rows * stride) {}
  void Set(std::size_t row, Span<const float> from) {
    auto* to = reinterpret_cast<double*>(&values[row * stride]);
    for (std::size_t i = 0; i < stride * kLanes; ++i) to[i] = i < from.size() ? from[i] : 0.0;
  }
  [[nodiscard]] const Lanes* row(std::size_t i) const { return &values[i * stride]; }
};

double Sum(Lanes lanes) {
  double sum = 0;
  for (std::size_t i = 0; i < kLanes; ++i) sum += lanes[i];
  return sum;
}

/// Dot product (ip, cosine), squared L2 or L1 of one row with `count` queries from `queries` on.
template <Metric kMetric>
void Accumulate(const Lanes* row, const DoubleRows& queries, std::size_t first, std::size_t count,
                double* out) {
  Lanes sums[kQueriesAtOnce] = {};
  const std::size_t stride = queries.stride;
  const Lanes* at[kQueriesAtOnce];
  for (std::size_t q = 0; q < kQueriesAtOnce; ++q) at[q] = queries.row(first + std::min(q, count - 1));
  for (std::size_t i = 0; i < stride; ++i) {
    const Lanes x = row[i];
    for (std::size_t q = 0; q < kQueriesAtOnce; ++q) {
      if constexpr (kMetric == Metric::kL2) {
        const Lanes difference = at[q][i] - x;
        sums[q] += difference * difference;
      } else if constexpr (kMetric == Metric::kL1) {
        const Lanes difference = at[q][i] - x;
        sums[q] += difference < 0 ? -difference : difference;
      } else {
        sums[q] += at[q][i] * x;
      }
    }
  }
  for (std::size_t q = 0; q < count; ++q) out[q] = Sum(sums[q]);
}

void Accumulate(Metric metric, const Lanes* row, const DoubleRows& queries, std::size_t first,
                std::size_t count, double* out) {
  switch (metric) {
    case Metric::kL2:
      return Accumulate<Metric::kL2>(row, queries, first, count, out);
    case Metric::kL1:
      return Accumulate<Metric::kL1>(row, queries, first, count, out);
    case Metric::kInnerProduct:
    case Metric::kCosine:
      return Accumulate<Metric::kInnerProduct>(row, queries, first, count, out);
  }
}

/// The operator's value from what Accumulate gives.
double Finish(Metric metric, double sum, double norms) {
  switch (metric) {
    case Metric::kL2:
      return std::sqrt(sum);
    case Metric::kL1:
      return sum;
    case Metric::kInnerProduct:
      return -sum;
    case Metric::kCosine:
      return 1.0 - sum / norms;
  }
  return sum;
}

struct Problem {
  const VectorFile<float>* base;
  const VectorFile<std::int32_t>* labels;  ///< null without a filter
  const VectorFile<std::int32_t>* params;
  Metric metric;
  std::size_t k;
};

using Heap = std::priority_queue<Neighbour>;

void Offer(Heap& heap, std::size_t k, double distance, std::size_t id) {
  const Neighbour candidate{distance, static_cast<std::int32_t>(id)};
  if (heap.size() < k) {
    heap.push(candidate);
  } else if (candidate < heap.top()) {
    heap.pop();
    heap.push(candidate);
  }
}

double Norm(const Lanes* row, std::size_t stride) {
  Lanes sum = {};
  for (std::size_t i = 0; i < stride; ++i) sum += row[i] * row[i];
  return std::sqrt(Sum(sum));
}

/// Fills heaps[begin, end). Base rows are taken in blocks that stay in the second-level cache while all queries
/// of the range visit them.
void SearchRange(const Problem& problem, const DoubleRows& queries, std::vector<Heap>& heaps,
                 std::size_t begin, std::size_t end) {
  const std::size_t block_rows = std::max<std::size_t>(1, (256 * 1024) / (queries.stride * sizeof(Lanes)));
  DoubleRows block(block_rows, problem.base->width());
  std::vector<double> norms(block_rows);
  std::vector<double> query_norms(end);
  for (std::size_t q = begin; q < end; ++q) query_norms[q] = Norm(queries.row(q), queries.stride);

  for (std::size_t first = 0; first < problem.base->rows(); first += block_rows) {
    const std::size_t count = std::min(block_rows, problem.base->rows() - first);
    for (std::size_t r = 0; r < count; ++r) {
      block.Set(r, problem.base->row(first + r));
      norms[r] = Norm(block.row(r), block.stride);
    }
    const std::size_t step = problem.labels == nullptr ? kQueriesAtOnce : 1;
    for (std::size_t q = begin; q < end; q += step) {
      const std::size_t width = std::min(step, end - q);
      double sums[kQueriesAtOnce];
      for (std::size_t r = 0; r < count; ++r) {
        if (problem.labels != nullptr && problem.labels->row(first + r)[0] != problem.params->row(q)[0])
          continue;
        Accumulate(problem.metric, block.row(r), queries, q, width, sums);
        for (std::size_t w = 0; w < width; ++w) {
          Offer(heaps[q + w], problem.k, Finish(problem.metric, sums[w], norms[r] * query_norms[q + w]),
                first + r);
        }
      }
    }
  }
}

void WriteAnswers(std::vector<Heap>& heaps, std::size_t k, const Options& options) {
  VectorFileWriter<std::int32_t> ids(options.Text("out-ids"));
  VectorFileWriter<float> distances(options.Text("out-distances"));
  std::vector<std::int32_t> id_row(k);
  std::vector<float> distance_row(k);
  for (Heap& heap : heaps) {
    for (std::size_t i = k; i-- > 0;) {
      const bool padded = i >= heap.size();
      id_row[i] = padded ? -1 : heap.top().second;
      distance_row[i] =
          padded ? std::numeric_limits<float>::infinity() : static_cast<float>(heap.top().first);
      if (!padded) heap.pop();
    }
    ids.Append(id_row);
    distances.Append(distance_row);
  }
  ids.Close();
  distances.Close();
}

int Run(int argc, char** argv) {
  const Options options(argc, argv, 1,
                        {"base", "query", "out-ids", "out-distances", "metric", "k", "limit", "queries",
                         "threads", "labels", "params"});
  const VectorFile<float> base(options.Text("base"), 0, options.Count("limit", 0));
  const VectorFile<float> query(options.Text("query"), 0, options.Count("queries", 0));
  if (base.width() != query.width()) throw std::runtime_error("base and query have different dimensions");
  std::unique_ptr<VectorFile<std::int32_t>> labels;
  std::unique_ptr<VectorFile<std::int32_t>> params;
  if (options.Has("labels")) {
    labels = std::make_unique<VectorFile<std::int32_t>>(options.Text("labels"));
    params = std::make_unique<VectorFile<std::int32_t>>(options.Text("params"));
    if (labels->rows() < base.rows()) throw std::runtime_error("fewer labels than base rows");
    if (params->rows() < query.rows()) throw std::runtime_error("fewer params than queries");
  }
  const std::size_t k = std::min(options.Count("k", 100), base.rows());
  const Problem problem{&base, labels.get(), params.get(), ParseMetric(options.Text("metric", "l2")), k};

  DoubleRows queries(query.rows(), query.width());
  for (std::size_t q = 0; q < query.rows(); ++q) queries.Set(q, query.row(q));
  std::vector<Heap> heaps(query.rows());
  const std::size_t thread_count = std::max<std::size_t>(1, options.Count("threads", 1));
  const auto begin = Clock::now();
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < thread_count; ++t) {
    threads.emplace_back(SearchRange, std::cref(problem), std::cref(queries), std::ref(heaps),
                         query.rows() * t / thread_count, query.rows() * (t + 1) / thread_count);
  }
  for (std::thread& thread : threads) thread.join();
  const double seconds = SecondsBetween(begin, Clock::now());
  WriteAnswers(heaps, k, options);
  std::puts(JsonLine()
                .Integer("base_rows", static_cast<std::int64_t>(base.rows()))
                .Integer("queries", static_cast<std::int64_t>(query.rows()))
                .Integer("dims", static_cast<std::int64_t>(base.width()))
                .Integer("k", static_cast<std::int64_t>(k))
                .Number("seconds", seconds)
                .Finish()
                .c_str());
  return 0;
}

}  // namespace
}  // namespace tandem::bench

int main(int argc, char** argv) {
  try {
    return tandem::bench::Run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "tandem-bench-truth: %s\n", error.what());
    return 1;
  }
}
