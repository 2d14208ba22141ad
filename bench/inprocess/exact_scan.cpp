// Brute force in this process: every base vector against one query at a time on one thread. The floor for an exact
// scan behind SQL: memory read in order, one distance a row, nothing else.
//
//   tandem-bench-exact --base F --query F [--truth F] [--metric l2|ip|cosine|l1] [--k 10] [--limit N] [--queries N]
//                      [--rounds 1]
//
// Distances in float32, sixteen lanes and two accumulators, as an exact scan would compute them; recall against the
// truth is therefore a check on float32, too.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <memory>
#include <vector>

#include "common/options.hpp"
#include "common/vector_file.hpp"
#include "inprocess/curve.hpp"

namespace tandem::bench {
namespace {

constexpr std::size_t kLanes = 16;
using Lanes = float __attribute__((vector_size(kLanes * sizeof(float))));
using LooseLanes = float __attribute__((vector_size(kLanes * sizeof(float)), aligned(4), may_alias));

float Sum(Lanes lanes) {
  float sum = 0;
  for (std::size_t i = 0; i < kLanes; ++i) sum += lanes[i];
  return sum;
}

/// Squared L2, L1 or negative inner product; `step` accumulates one pair of lanes.
template <typename Step>
float Reduce(const float* a, const float* b, std::size_t size, Step step) {
  Lanes first = {};
  Lanes second = {};
  std::size_t i = 0;
  for (; i + 2 * kLanes <= size; i += 2 * kLanes) {
    first =
        step(first, *reinterpret_cast<const LooseLanes*>(a + i), *reinterpret_cast<const LooseLanes*>(b + i));
    second = step(second, *reinterpret_cast<const LooseLanes*>(a + i + kLanes),
                  *reinterpret_cast<const LooseLanes*>(b + i + kLanes));
  }
  for (; i < size; i += kLanes) {  // zeros change none of the three
    Lanes left = {};
    Lanes right = {};
    for (std::size_t j = 0; j < std::min(kLanes, size - i); ++j) {
      left[j] = a[i + j];
      right[j] = b[i + j];
    }
    first = step(first, left, right);
  }
  return Sum(first + second);
}

float Key(Metric metric, const float* a, const float* b, std::size_t size) {
  switch (metric) {
    case Metric::kL2:
      return Reduce(a, b, size, [](Lanes sum, Lanes x, Lanes y) { return sum + (x - y) * (x - y); });
    case Metric::kL1:
      return Reduce(a, b, size, [](Lanes sum, Lanes x, Lanes y) { return sum + (x > y ? x - y : y - x); });
    case Metric::kInnerProduct:
    case Metric::kCosine:
      return -Reduce(a, b, size, [](Lanes sum, Lanes x, Lanes y) { return sum + x * y; });
  }
  return 0;
}

int Run(int argc, char** argv) {
  const Options options(argc, argv, 1,
                        {"base", "query", "truth", "metric", "k", "limit", "queries", "rounds"});
  const Metric metric = ParseMetric(options.Text("metric", "l2"));
  const std::size_t k = options.Count("k", 10);
  const VectorFile<float> base(options.Text("base"), 0, options.Count("limit", 0));
  const VectorFile<float> query(options.Text("query"), 0, options.Count("queries", 0));
  const std::size_t dims = base.width();
  // A copy of its own: the mapped file has a width field between rows.
  std::vector<float> rows(base.rows() * dims);
  for (std::size_t i = 0; i < base.rows(); ++i) {
    const std::vector<float> row = Prepared(metric, base.row(i));
    std::copy(row.begin(), row.end(), rows.begin() + static_cast<std::ptrdiff_t>(i * dims));
  }

  std::vector<std::pair<float, std::int64_t>> best;
  const Search search = [&](std::size_t q) {
    const std::vector<float> wanted = Prepared(metric, query.row(q));
    best.clear();
    for (std::size_t i = 0; i < base.rows(); ++i) {
      const std::pair<float, std::int64_t> candidate{Key(metric, wanted.data(), &rows[i * dims], dims), i};
      if (best.size() < k) {
        best.push_back(candidate);
        std::push_heap(best.begin(), best.end());
      } else if (candidate < best.front()) {
        std::pop_heap(best.begin(), best.end());
        best.back() = candidate;
        std::push_heap(best.begin(), best.end());
      }
    }
    std::sort_heap(best.begin(), best.end());
    std::vector<std::int64_t> ids;
    for (const auto& [key, id] : best) ids.push_back(id);
    return ids;
  };

  std::unique_ptr<VectorFile<std::int32_t>> truth;
  std::unique_ptr<RecallJudge> judge;
  if (options.Has("truth")) {
    truth = std::make_unique<VectorFile<std::int32_t>>(options.Text("truth"));
    judge = std::make_unique<RecallJudge>(truth.get(), &base, &query, metric, k, 1e-6);
  }
  JsonLine line;
  line.Text("engine", "brute force")
      .Integer("rows", static_cast<std::int64_t>(base.rows()))
      .Integer("dims", static_cast<std::int64_t>(dims))
      .Integer("k", static_cast<std::int64_t>(k));
  MeasureRounds(line, options.Count("rounds", 1), query.rows(), search, judge.get());
  std::puts(line.Finish().c_str());
  return 0;
}

}  // namespace
}  // namespace tandem::bench

int main(int argc, char** argv) {
  try {
    return tandem::bench::Run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "tandem-bench-exact: %s\n", error.what());
    return 1;
  }
}
