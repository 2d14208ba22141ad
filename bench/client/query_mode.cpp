#include <pthread.h>

#include <atomic>
#include <cstdio>
#include <exception>
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
    "conninfo",    "sql",    "queries", "params", "offset", "limit",   "count",     "truth",
    "base",        "metric", "k",       "rounds", "warmup", "seconds", "allowance", "connections",
    "vector-form", "setup",  "finish",  "expect", "forbid", "label",
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
  std::size_t warmup = 0;      ///< untimed executions
  double seconds_at_most = 0;  ///< of the timed part; 0 is no bound
  const RecallJudge* judge = nullptr;
};

struct Tally {
  std::vector<double> latencies;
  Clock::time_point started;
  Clock::time_point ended;
  double backend_cpu = 0;  ///< seconds
  std::size_t rows = 0;
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

/// The ids in the result's first column, which must be int4 or int8.
std::vector<std::int64_t> FirstColumn(const PGresult* result) {
  std::vector<std::int64_t> ids(static_cast<std::size_t>(PQntuples(result)));
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const int row = static_cast<int>(i);
    ids[i] = PQgetisnull(result, row, 0) != 0
                 ? -1
                 : ReadInteger(PQgetvalue(result, row, 0), PQgetlength(result, row, 0));
  }
  return ids;
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
  Worker(const Plan& plan, const Options& options, std::size_t number, pthread_barrier_t& barrier)
      : plan_(plan), options_(options), number_(number), barrier_(barrier), connection_(plan.conninfo) {
    RunHooks(connection_, options, "setup");
    connection_.Prepare(kStatement, plan.sql, plan.types);
    CheckPlan(ExplainPrepared(connection_, plan), options);
  }

  /// Each connection starts at a different entry, so that they do not ask the same thing at the same time.
  void Run(std::size_t connections) {
    const std::size_t first = plan_.entries * number_ / connections;
    for (std::size_t i = 0; i < plan_.warmup; ++i) Execute((first + i) % plan_.entries, false);
    pthread_barrier_wait(&barrier_);
    const double cpu_before = connection_.BackendCpuSeconds();
    tally_.started = Clock::now();
    for (std::size_t i = 0; i < plan_.rounds * plan_.entries; ++i) {
      Execute((first + i) % plan_.entries, true);
      if (plan_.seconds_at_most > 0 && SecondsBetween(tally_.started, Clock::now()) > plan_.seconds_at_most)
        break;
    }
    tally_.ended = Clock::now();
    tally_.backend_cpu = connection_.BackendCpuSeconds() - cpu_before;
    if (number_ == 0) {
      final_plan_ = ExplainPrepared(connection_, plan_);
      CheckPlan(final_plan_, options_);
    }
    RunHooks(connection_, options_, "finish");
  }

  [[nodiscard]] Tally& tally() noexcept { return tally_; }
  [[nodiscard]] const std::string& final_plan() const noexcept { return final_plan_; }

 private:
  void Execute(std::size_t entry, bool timed) {
    const Parameters parameters = BindEntry(plan_, entry);
    const auto begin = Clock::now();
    const Result result = connection_.Execute(kStatement, parameters);
    const auto end = Clock::now();
    if (!timed) return;
    tally_.latencies.push_back(SecondsBetween(begin, end));
    tally_.rows += static_cast<std::size_t>(PQntuples(result.get()));
    if (plan_.judge == nullptr) return;
    const Score score = plan_.judge->Judge(entry, FirstColumn(result.get()));
    tally_.hits += score.hits;
    tally_.wanted += score.wanted;
    tally_.exact += score.exact ? 1 : 0;
    ++tally_.judged;
  }

  const Plan& plan_;
  const Options& options_;
  std::size_t number_;
  pthread_barrier_t& barrier_;
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

std::string ArrayLiteral(const std::string& vector_literal) {
  std::string text = vector_literal;
  text[1] = '{';
  text[text.size() - 2] = '}';
  return text;
}

void EncodeEntries(Plan& plan, const Options& options, const VectorFile<float>* queries) {
  if (queries != nullptr) {
    const std::string form_name = options.Text("vector-form", "vector");
    if (form_name != "vector" && form_name != "array")
      throw std::invalid_argument("--vector-form: vector or array");
    const VectorForm form = form_name == "vector" ? VectorForm::kVector : VectorForm::kArray;
    plan.types.push_back(kUnknownOid);
    plan.entries = queries->rows();
    for (std::size_t i = 0; i < queries->rows(); ++i) {
      plan.vectors.emplace_back();
      PutVector(plan.vectors.back(), queries->row(i), form);
    }
    const std::string literal = VectorLiteral(queries->row(0));
    plan.literals.push_back(form == VectorForm::kVector ? literal : ArrayLiteral(literal));
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

std::string RunWorkers(const Plan& plan, const Options& options, Tally& total) {
  const std::size_t connections = std::max<std::size_t>(1, options.Count("connections", 1));
  pthread_barrier_t barrier;
  pthread_barrier_init(&barrier, nullptr, static_cast<unsigned>(connections));
  // Connected here, one after the other: a failure then leaves no thread waiting at the barrier.
  std::vector<std::unique_ptr<Worker>> workers;
  for (std::size_t i = 0; i < connections; ++i)
    workers.push_back(std::make_unique<Worker>(plan, options, i, barrier));
  std::vector<std::thread> threads;
  for (auto& worker : workers) {
    threads.emplace_back([&worker, connections] {
      try {
        worker->Run(connections);
      } catch (const std::exception& error) {
        // Others may wait at the barrier for this thread: the run is lost, so end the process.
        std::fprintf(stderr, "tandem-bench-client: %s\n", error.what());
        std::_Exit(1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  pthread_barrier_destroy(&barrier);

  total.started = workers[0]->tally().started;
  total.ended = workers[0]->tally().ended;
  for (const auto& worker : workers) {
    const Tally& tally = worker->tally();
    total.latencies.insert(total.latencies.end(), tally.latencies.begin(), tally.latencies.end());
    total.started = std::min(total.started, tally.started);
    total.ended = std::max(total.ended, tally.ended);
    total.backend_cpu += tally.backend_cpu;
    total.rows += tally.rows;
    total.hits += tally.hits;
    total.wanted += tally.wanted;
    total.judged += tally.judged;
    total.exact += tally.exact;
  }
  return workers[0]->final_plan();
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
    plan.judge = judge.get();
  }

  Tally total;
  const std::string final_plan = RunWorkers(plan, options, total);
  JsonLine line;
  line.Text("mode", "query").Text("label", options.Text("label", ""));
  line.Integer("connections",
               static_cast<std::int64_t>(std::max<std::size_t>(1, options.Count("connections", 1))));
  AddLatency(line, total.latencies, SecondsBetween(total.started, total.ended));
  line.Number("backend_cpu_us", total.backend_cpu * 1e6 / static_cast<double>(total.latencies.size()));
  line.Number("rows_per_query",
              static_cast<double>(total.rows) / static_cast<double>(total.latencies.size()));
  if (judge != nullptr) {
    line.Integer("k", static_cast<std::int64_t>(options.Count("k", 10)))
        .Number("recall",
                static_cast<double>(total.hits) / static_cast<double>(std::max<std::size_t>(1, total.wanted)),
                9)
        .Integer("judged", static_cast<std::int64_t>(total.judged))
        .Integer("exact", static_cast<std::int64_t>(total.exact))
        .Flag("ties_by_distance", judge->ByDistance());
  }
  line.Text("plan", final_plan.substr(0, 600));
  std::puts(line.Finish().c_str());
}

}  // namespace tandem::bench
