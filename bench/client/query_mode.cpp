#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <fstream>
#include <memory>
#include <mutex>
#include <thread>

#include "client/modes.hpp"
#include "client/wire.hpp"
#include "common/json_line.hpp"
#include "common/recall.hpp"
#include "common/summary.hpp"
#include "common/vector_file.hpp"

namespace tandem::bench {

const std::set<std::string> kQueryOptions = {
    "conninfo", "sql",    "queries", "params", "offset",  "limit",     "count",       "truth",       "base",
    "metric",   "k",      "rounds",  "warmup", "seconds", "allowance", "connections", "vector-form", "setup",
    "finish",   "expect", "forbid",  "label",  "sweep",   "cores",     "trace",
};

namespace {

constexpr const char* kStatement = "tandem_bench";

/// What all threads share; written before they start, read only afterwards.
struct Plan {
  std::string conninfo;
  std::string sql;
  std::vector<Oid> types;
  std::vector<std::string> vectors;   ///< encoded, one per entry; empty when the SQL takes none
  std::vector<std::string> params;    ///< encoded int4, one per entry; empty when the SQL takes none
  std::vector<std::string> literals;  ///< arguments of the first entry as SQL, for EXPLAIN EXECUTE
  std::size_t entries = 0;
  std::size_t rounds = 0;
  std::size_t warmup = 0;          ///< untimed executions
  double seconds_at_most = 0;      ///< of the timed part; 0 is no bound
  std::size_t kept = 0;            ///< ids of a result that are judged; 0 if none is
  std::vector<std::size_t> cores;  ///< connection i runs on cores[i], its backend too; empty: anywhere
};

/// What one connection did in one timed part.
struct Tally {
  std::vector<double> latencies;      ///< seconds
  std::vector<double> offsets;        ///< seconds from `started` to the end of each execution
  std::vector<double> round_seconds;  ///< of each whole round
  std::vector<std::int64_t> ids;      ///< first column of every result, at most Plan::kept of each
  std::vector<std::uint32_t> counts;  ///< how many of them belong to each execution
  Clock::time_point started;
  Clock::time_point ended;
  double backend_cpu = 0;  ///< seconds
  std::size_t rows = 0;
};

struct Verdict {
  std::size_t hits = 0;
  std::size_t wanted = 0;
  std::size_t judged = 0;
  std::size_t exact = 0;
};

Parameters BindEntry(const Plan& plan, std::size_t entry) {
  Parameters parameters;
  if (!plan.vectors.empty()) parameters.Add(plan.vectors[entry].data(), plan.vectors[entry].size());
  if (!plan.params.empty()) parameters.Add(plan.params[entry].data(), plan.params[entry].size());
  return parameters;
}

/// Keeps the ids in the result's first column, which must be int4 or int8.
void KeepFirstColumn(const PGresult* result, std::size_t most, Tally& tally) {
  const std::size_t count = std::min(most, static_cast<std::size_t>(PQntuples(result)));
  for (std::size_t i = 0; i < count; ++i) {
    const int row = static_cast<int>(i);
    tally.ids.push_back(PQgetisnull(result, row, 0) != 0
                            ? -1
                            : ReadInteger(PQgetvalue(result, row, 0), PQgetlength(result, row, 0)));
  }
  tally.counts.push_back(static_cast<std::uint32_t>(count));
}

void PinTo(pid_t process, std::size_t core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  if (sched_setaffinity(process, sizeof set, &set) != 0)
    throw std::runtime_error("--cores: process " + std::to_string(process) + " cannot be bound to core " +
                             std::to_string(core));
}

/// Cuts quoted values, which may be vectors of a thousand numbers, to their beginning.
std::string ShortenLiterals(const std::string& text) {
  constexpr std::size_t kKept = 24;
  std::string out;
  std::size_t quoted = 0;  // characters of the literal so far; 0 outside of one
  for (const char c : text) {
    if (c == '\'') {
      if (quoted > kKept) out += "...";
      quoted = quoted == 0 ? 1 : 0;
    } else if (quoted > 0 && ++quoted > kKept) {
      continue;
    }
    out += c;
  }
  return out;
}

/// The plan that the prepared statement runs with now (a generic one once the server has switched to it).
std::string ExplainPrepared(Connection& connection, const Plan& plan) {
  std::string arguments;
  for (const std::string& literal : plan.literals) arguments += (arguments.empty() ? "(" : ", ") + literal;
  if (!arguments.empty()) arguments += ")";
  const Result result = connection.Run(std::string("EXPLAIN (COSTS OFF) EXECUTE ") + kStatement + arguments);
  std::string text;
  for (int i = 0; i < PQntuples(result.get()); ++i)
    text += std::string(PQgetvalue(result.get(), i, 0)) + "\n";
  return ShortenLiterals(text);
}

/// Throws unless the plan holds every --expect and no --forbid text: a bench of the wrong plan is worse than none.
void CheckPlan(const std::string& plan, const Options& options) {
  for (const std::string& text : options.All("expect")) {
    if (plan.find(text) == std::string::npos) {
      throw std::runtime_error("the plan lacks \"" + text + "\":\n" + plan.substr(0, 2000));
    }
  }
  for (const std::string& text : options.All("forbid")) {
    if (plan.find(text) != std::string::npos) {
      throw std::runtime_error("the plan holds \"" + text + "\":\n" + plan.substr(0, 2000));
    }
  }
}

class Worker {
 public:
  Worker(const Plan& plan, const Options& options, std::size_t number)
      : plan_(plan), options_(options), number_(number), connection_(plan.conninfo) {
    if (!plan.cores.empty()) PinTo(connection_.backend_pid(), core());
    RunHooks(connection_, options, "setup");
    connection_.Prepare(kStatement, plan.sql, plan.types);
    CheckPlan(ExplainPrepared(connection_, plan), options);
  }

  /// Before a timed part, on the thread that makes the parts. Room for what Run() keeps is had here: memory that grows
  /// would be counted as the server's time.
  void Begin(const std::string& sql) {
    if (!sql.empty()) connection_.Run(sql);
    tally_ = Tally{};
    const std::size_t most = plan_.seconds_at_most > 0 ? 0 : plan_.rounds * plan_.entries;
    tally_.latencies.reserve(most);
    tally_.offsets.reserve(most);
    tally_.counts.reserve(most);
    tally_.ids.reserve(most * plan_.kept);
  }

  /// Each connection starts at a different entry, so that they do not ask the same thing at the same time.
  void Run(std::size_t connections, std::size_t warmup, pthread_barrier_t& barrier) {
    if (!plan_.cores.empty()) PinTo(0, core());
    first_ = plan_.entries * number_ / connections;
    for (std::size_t i = 0; i < warmup; ++i) (void)Execute((first_ + i) % plan_.entries);
    pthread_barrier_wait(&barrier);
    const double cpu_before = connection_.BackendCpuSeconds();
    tally_.started = tally_.ended = Clock::now();
    for (std::size_t round = 0; round < plan_.rounds && RunRound(); ++round) {
    }
    tally_.backend_cpu = connection_.BackendCpuSeconds() - cpu_before;
    if (number_ == 0) {
      final_plan_ = ExplainPrepared(connection_, plan_);
      CheckPlan(final_plan_, options_);
    }
  }

  void Finish() { RunHooks(connection_, options_, "finish"); }

  /// After the clock has stopped: what a judge reads would push the server's data out of the processor's caches.
  void Judge(const RecallJudge& judge, Verdict& verdict) const {
    std::vector<std::int64_t> ids;
    std::size_t at = 0;
    for (std::size_t i = 0; i < tally_.counts.size(); at += tally_.counts[i++]) {
      const auto begin = tally_.ids.begin() + static_cast<std::ptrdiff_t>(at);
      ids.assign(begin, begin + tally_.counts[i]);
      const Score score = judge.Judge((first_ + i) % plan_.entries, ids);
      verdict.hits += score.hits;
      verdict.wanted += score.wanted;
      verdict.exact += score.exact ? 1 : 0;
      ++verdict.judged;
    }
  }

  [[nodiscard]] Tally& tally() noexcept { return tally_; }
  [[nodiscard]] const std::string& final_plan() const noexcept { return final_plan_; }

 private:
  [[nodiscard]] std::size_t core() const { return plan_.cores[number_ % plan_.cores.size()]; }

  /// False if the time is up.
  bool RunRound() {
    const Clock::time_point begin = tally_.ended;
    for (std::size_t i = 0; i < plan_.entries; ++i) {
      const auto started = Clock::now();
      const Result result = Execute((first_ + i) % plan_.entries);
      tally_.ended = Clock::now();
      tally_.latencies.push_back(SecondsBetween(started, tally_.ended));
      tally_.offsets.push_back(SecondsBetween(tally_.started, tally_.ended));
      tally_.rows += static_cast<std::size_t>(PQntuples(result.get()));
      if (plan_.kept > 0) KeepFirstColumn(result.get(), plan_.kept, tally_);
      if (plan_.seconds_at_most > 0 && tally_.offsets.back() > plan_.seconds_at_most) return false;
    }
    tally_.round_seconds.push_back(SecondsBetween(begin, tally_.ended));
    return true;
  }

  Result Execute(std::size_t entry) { return connection_.Execute(kStatement, BindEntry(plan_, entry)); }

  const Plan& plan_;
  const Options& options_;
  std::size_t number_;
  std::size_t first_ = 0;  ///< entry that it starts with
  Connection connection_;
  Tally tally_;
  std::string final_plan_;
};

std::string VectorLiteral(Span<const float> vector) {
  std::string text = "'[";
  char number[32];
  for (std::size_t i = 0; i < vector.size(); ++i) {
    std::snprintf(number, sizeof number, "%s%.9g", i == 0 ? "" : ",", static_cast<double>(vector[i]));
    text += number;
  }
  return text + "]'";
}

std::string BitLiteral(Span<const float> vector) {
  std::string text = "'";
  for (const float value : vector) text += value > 0 ? '1' : '0';
  return text + "'";
}

std::string Literal(Span<const float> vector, VectorForm form) {
  if (form == VectorForm::kBit) return BitLiteral(vector);
  std::string text = VectorLiteral(vector);
  if (form == VectorForm::kArray) {
    text[1] = '{';
    text[text.size() - 2] = '}';
  }
  return text;
}

VectorForm ParseForm(const std::string& name) {
  if (name == "vector") return VectorForm::kVector;
  if (name == "array") return VectorForm::kArray;
  if (name == "halfvec") return VectorForm::kHalf;
  if (name == "bit") return VectorForm::kBit;
  throw std::invalid_argument("--vector-form: vector, array, halfvec or bit");
}

void EncodeEntries(Plan& plan, const Options& options, const VectorFile<float>* queries) {
  if (queries != nullptr) {
    const VectorForm form = ParseForm(options.Text("vector-form", "vector"));
    plan.types.push_back(kUnknownOid);
    plan.entries = queries->rows();
    for (std::size_t i = 0; i < queries->rows(); ++i) {
      plan.vectors.emplace_back();
      PutVector(plan.vectors.back(), queries->row(i), form);
    }
    plan.literals.push_back(Literal(queries->row(0), form));
  } else {
    plan.entries = options.Count("count", 1000);
  }
  if (options.Has("params")) {
    const VectorFile<std::int32_t> params(options.Text("params"), options.Count("offset", 0), plan.entries);
    if (params.rows() < plan.entries && queries != nullptr)
      throw std::runtime_error("fewer params than queries");
    plan.entries = params.rows();
    plan.types.push_back(kInt4Oid);
    for (std::size_t i = 0; i < params.rows(); ++i) {
      plan.params.emplace_back();
      PutInt32(plan.params.back(), static_cast<std::uint32_t>(params.row(i)[0]));
    }
    plan.literals.push_back(std::to_string(params.row(0)[0]));
  }
}

using Workers = std::vector<std::unique_ptr<Worker>>;

/// One timed part, all connections at once.
void RunPart(Workers& workers, const std::string& sql, std::size_t warmup) {
  const std::size_t connections = workers.size();
  pthread_barrier_t barrier;
  pthread_barrier_init(&barrier, nullptr, static_cast<unsigned>(connections));
  for (auto& worker : workers) worker->Begin(sql);
  std::vector<std::thread> threads;
  for (auto& worker : workers) {
    threads.emplace_back([&worker, &barrier, connections, warmup] {
      try {
        worker->Run(connections, warmup, barrier);
      } catch (const std::exception& error) {
        // Others may wait at the barrier for this thread: the run is lost, so end the process.
        std::fprintf(stderr, "tandem-bench-client: %s\n", error.what());
        std::_Exit(1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  pthread_barrier_destroy(&barrier);
}

Tally Total(const Workers& workers) {
  Tally total;
  total.started = workers[0]->tally().started;
  total.ended = workers[0]->tally().ended;
  for (const auto& worker : workers) {
    const Tally& tally = worker->tally();
    total.latencies.insert(total.latencies.end(), tally.latencies.begin(), tally.latencies.end());
    total.started = std::min(total.started, tally.started);
    total.ended = std::max(total.ended, tally.ended);
    total.backend_cpu += tally.backend_cpu;
    total.rows += tally.rows;
  }
  return total;
}

/// Per execution of the first connection: microseconds from the start to its end, and how many it took.
void WriteTrace(const std::string& path, const Tally& tally) {
  std::ofstream out(path);
  for (std::size_t i = 0; i < tally.latencies.size(); ++i)
    out << tally.offsets[i] * 1e6 << ' ' << tally.latencies[i] * 1e6 << '\n';
  if (!out.flush()) throw std::runtime_error(path + ": cannot be written");
}

/// Rate over the rounds, each taken by itself, so that a pause of the machine costs one of them. Of one connection only.
void AddMedianRate(JsonLine& line, const Plan& plan, std::vector<double> round_seconds) {
  if (round_seconds.empty()) return;
  std::sort(round_seconds.begin(), round_seconds.end());
  const double middle = round_seconds[round_seconds.size() / 2];
  line.Number("qps_median", static_cast<double>(plan.entries) / middle)
      .Integer("rounds", static_cast<std::int64_t>(round_seconds.size()));
}

void PrintPart(const Plan& plan, const Options& options, const Workers& workers, const std::string& sql,
               const RecallJudge* judge) {
  Tally total = Total(workers);
  JsonLine line;
  line.Text("mode", "query").Text("label", options.Text("label", ""));
  if (!sql.empty()) line.Text("sweep", sql);
  line.Integer("connections", static_cast<std::int64_t>(workers.size()));
  // By the clock that Python's time.monotonic() reads, so that a suite knows how long that was after something else.
  line.Number("started", SecondsBetween({}, total.started), 12);
  AddLatency(line, total.latencies, SecondsBetween(total.started, total.ended));
  if (workers.size() == 1) AddMedianRate(line, plan, workers[0]->tally().round_seconds);
  line.Number("backend_cpu_us", total.backend_cpu * 1e6 / static_cast<double>(total.latencies.size()));
  line.Number("rows_per_query",
              static_cast<double>(total.rows) / static_cast<double>(total.latencies.size()));
  if (judge != nullptr) {
    Verdict verdict;
    for (const auto& worker : workers) worker->Judge(*judge, verdict);
    line.Integer("k", static_cast<std::int64_t>(plan.kept))
        .Number(
            "recall",
            static_cast<double>(verdict.hits) / static_cast<double>(std::max<std::size_t>(1, verdict.wanted)),
            9)
        .Integer("judged", static_cast<std::int64_t>(verdict.judged))
        .Integer("exact", static_cast<std::int64_t>(verdict.exact))
        .Flag("ties_by_distance", judge->ByDistance());
  }
  line.Text("plan", workers[0]->final_plan().substr(0, 600));
  std::puts(line.Finish().c_str());
  std::fflush(stdout);
}

}  // namespace

void RunHooks(Connection& connection, const Options& options, const std::string& hook) {
  for (const std::string& sql : options.All(hook)) connection.Run(sql);
}

void RunQueries(const Options& options) {
  const std::size_t offset = options.Count("offset", 0);
  const std::size_t limit = options.Count("limit", 0);
  Plan plan;
  plan.conninfo = options.Text("conninfo");
  plan.sql = options.Text("sql");
  plan.rounds = std::max<std::size_t>(1, options.Count("rounds", 3));

  plan.seconds_at_most = options.Number("seconds", 0);
  if (options.Has("cores")) plan.cores = options.Counts("cores", "");
  std::unique_ptr<VectorFile<float>> queries;
  if (options.Has("queries"))
    queries = std::make_unique<VectorFile<float>>(options.Text("queries"), offset, limit);
  EncodeEntries(plan, options, queries.get());

  plan.warmup = options.Count("warmup", plan.entries);

  std::unique_ptr<VectorFile<std::int32_t>> truth;
  std::unique_ptr<VectorFile<float>> base;
  std::unique_ptr<RecallJudge> judge;
  if (options.Has("truth")) {
    truth = std::make_unique<VectorFile<std::int32_t>>(options.Text("truth"), offset, limit);
    if (truth->rows() < plan.entries) throw std::runtime_error("fewer truth rows than queries");
    if (options.Has("base")) base = std::make_unique<VectorFile<float>>(options.Text("base"));
    judge = std::make_unique<RecallJudge>(truth.get(), base.get(), queries.get(),
                                          ParseMetric(options.Text("metric", "l2")), options.Count("k", 10),
                                          options.Number("allowance", 1e-6));
    plan.kept = options.Count("k", 10);
  }

  // Connected one after the other, and before there are threads: a failure then leaves none waiting for the others.
  Workers workers;
  for (std::size_t i = 0; i < std::max<std::size_t>(1, options.Count("connections", 1)); ++i)
    workers.push_back(std::make_unique<Worker>(plan, options, i));
  std::vector<std::string> parts = options.All("sweep");
  if (parts.empty()) parts.emplace_back();
  std::size_t warmup = plan.warmup;
  for (const std::string& sql : parts) {
    RunPart(workers, sql, warmup);
    PrintPart(plan, options, workers, sql, judge.get());
    warmup = 0;
  }
  if (options.Has("trace")) WriteTrace(options.Text("trace"), workers[0]->tally());
  for (auto& worker : workers) worker->Finish();
}

}  // namespace tandem::bench
