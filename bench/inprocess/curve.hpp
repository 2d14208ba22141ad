#pragma once
// The measuring part that all in-process engines share: queries one by one on one thread, judged afterwards.

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <functional>
#include <string>
#include <vector>

#include "common/json_line.hpp"
#include "common/recall.hpp"
#include "common/summary.hpp"

namespace tandem::bench {

/// The k nearest ids of query number q, nearest first.
using Search = std::function<std::vector<std::int64_t>(std::size_t q)>;

struct Pass {
  std::vector<double> latencies;  ///< seconds
  double elapsed = 0;
  std::size_t hits = 0;
  std::size_t wanted = 0;
};

inline Pass SearchAll(std::size_t queries, const Search& search, const RecallJudge* judge) {
  Pass pass;
  std::vector<std::vector<std::int64_t>> answers;
  answers.reserve(queries);
  const auto begin = Clock::now();
  for (std::size_t q = 0; q < queries; ++q) {
    const auto started = Clock::now();
    answers.push_back(search(q));
    pass.latencies.push_back(SecondsBetween(started, Clock::now()));
  }
  pass.elapsed = SecondsBetween(begin, Clock::now());
  for (std::size_t q = 0; judge != nullptr && q < queries; ++q) {
    const Score score = judge->Judge(q, answers[q]);
    pass.hits += score.hits;
    pass.wanted += score.wanted;
  }
  return pass;
}

/// One untimed pass, then `rounds` timed ones; adds the rate over them, the recall, and the best pass's latencies.
inline void MeasureRounds(JsonLine& line, std::size_t rounds, std::size_t queries, const Search& search,
                          const RecallJudge* judge) {
  std::vector<double> rates;
  Pass best;
  SearchAll(queries, search, nullptr);
  for (std::size_t round = 0; round < std::max<std::size_t>(1, rounds); ++round) {
    Pass pass = SearchAll(queries, search, judge);
    rates.push_back(static_cast<double>(queries) / pass.elapsed);
    if (round == 0 || pass.elapsed < best.elapsed) best = std::move(pass);
  }
  std::sort(rates.begin(), rates.end());
  if (judge != nullptr) {
    line.Number("recall",
                static_cast<double>(best.hits) / static_cast<double>(std::max<std::size_t>(1, best.wanted)));
  }
  line.Number("qps_median", rates[rates.size() / 2])
      .Number("qps_min", rates.front())
      .Integer("rounds", static_cast<std::int64_t>(rates.size()));
  AddLatency(line, best.latencies, best.elapsed);
}

/// A copy, scaled to length one for cosine: the engines that have no cosine space order unit vectors the same way
/// under inner product.
inline std::vector<float> Prepared(Metric metric, Span<const float> vector) {
  std::vector<float> copy(vector.begin(), vector.end());
  if (metric != Metric::kCosine) return copy;
  double norm = 0;
  for (const float value : copy) norm += static_cast<double>(value) * value;
  for (float& value : copy) value = static_cast<float>(value / std::sqrt(norm));
  return copy;
}

/// Wall and processor time from the construction on; the latter over all threads.
class Stopwatch {
 public:
  [[nodiscard]] double seconds() const { return SecondsBetween(begin_, Clock::now()); }
  [[nodiscard]] double cpu_seconds() const {
    return static_cast<double>(std::clock() - cpu_begin_) / CLOCKS_PER_SEC;
  }

 private:
  Clock::time_point begin_ = Clock::now();
  std::clock_t cpu_begin_ = std::clock();
};

/// One line for how the index came to be.
inline void PrintBuild(const std::string& engine, bool from_cache, const VectorFile<float>& base,
                       std::size_t m, std::size_t ef_construction, std::size_t threads,
                       const Stopwatch& stopwatch, std::size_t memory_bytes) {
  std::puts(JsonLine()
                .Text("engine", engine)
                .Text("step", from_cache ? "read" : "build")
                .Integer("rows", static_cast<std::int64_t>(base.rows()))
                .Integer("dims", static_cast<std::int64_t>(base.width()))
                .Integer("m", static_cast<std::int64_t>(m))
                .Integer("ef_construction", static_cast<std::int64_t>(ef_construction))
                .Integer("threads", static_cast<std::int64_t>(threads))
                .Number("build_seconds", stopwatch.seconds())
                .Number("build_cpu_seconds", stopwatch.cpu_seconds())
                .Integer("memory_bytes", static_cast<std::int64_t>(memory_bytes))
                .Finish()
                .c_str());
  std::fflush(stdout);
}

}  // namespace tandem::bench
