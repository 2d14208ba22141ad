#include <chrono>
#include <cstdio>
#include <exception>
#include <fstream>
#include <iterator>
#include <thread>

#include "client/modes.hpp"
#include "client/vector_source.hpp"
#include "client/wire.hpp"
#include "common/json_line.hpp"
#include "common/summary.hpp"

namespace tandem::bench {

const std::set<std::string> kInsertOptions = {"conninfo", "sql",   "vectors",     "random-dims", "seed",
                                              "offset",   "count", "id-base",     "batch",       "setup",
                                              "finish",   "label", "connections", "rate"};
const std::set<std::string> kCopyOptions = {"conninfo", "sql",   "vectors", "random-dims", "seed",
                                            "offset",   "count", "id-base", "setup",       "finish",
                                            "file",     "label", "batch",   "rate"};

namespace {

constexpr const char* kStatement = "tandem_bench";
constexpr std::size_t kCopyChunkBytes = 256 * 1024;  // per PQputCopyData; larger gained nothing

/// Rows (id bigint, vector) in wire form, ready to be bound.
struct EncodedRow {
  std::string id;
  std::string vector;
};

std::vector<EncodedRow> EncodeRows(const VectorSource& source, std::size_t id_base) {
  std::vector<EncodedRow> rows(source.count());
  std::vector<float> scratch;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    PutInt64(rows[i].id, id_base + i);
    PutVector(rows[i].vector, source.Row(i, scratch), VectorForm::kVector);
  }
  return rows;
}

/// Lets rows through at a steady rate. What came late is caught up with.
class Pace {
 public:
  /// rows_per_second 0: no bound.
  explicit Pace(double rows_per_second) : rows_per_second_(rows_per_second) {}

  /// Returns when it is time for row number `row`.
  void Await(std::size_t row) const {
    if (rows_per_second_ <= 0) return;
    const std::chrono::duration<double> due(static_cast<double>(row) / rows_per_second_);
    std::this_thread::sleep_until(begin_ + std::chrono::duration_cast<Clock::duration>(due));
  }

 private:
  double rows_per_second_;
  Clock::time_point begin_ = Clock::now();
};

/// Inserts rows number, number + step, ... and records the time of each transaction.
std::vector<double> InsertShare(Connection& connection, const std::vector<EncodedRow>& rows,
                                std::size_t number, std::size_t step, std::size_t batch, const Pace& pace) {
  std::vector<double> latencies;
  for (std::size_t i = number; i < rows.size();) {
    pace.Await(i);
    const auto begin = Clock::now();
    if (batch > 1) connection.Run("BEGIN");
    for (std::size_t done = 0; done < batch && i < rows.size(); ++done, i += step) {
      Parameters parameters;
      parameters.Add(rows[i].id.data(), rows[i].id.size());
      parameters.Add(rows[i].vector.data(), rows[i].vector.size());
      connection.Execute(kStatement, parameters);
    }
    if (batch > 1) connection.Run("COMMIT");
    latencies.push_back(SecondsBetween(begin, Clock::now()));
  }
  return latencies;
}

/// The whole COPY stream of (id bigint, vector) rows in memory, so that encoding costs no timed second.
std::string EncodeCopy(const VectorSource& source, std::size_t id_base, std::size_t first,
                       std::size_t count) {
  std::string stream;
  stream.reserve(64 + count * (2 + 4 + 8 + 4 + 4 + 4 * source.dims()));
  PutCopyHeader(stream);
  std::vector<float> scratch;
  for (std::size_t i = first; i < first + count; ++i) {
    PutInt16(stream, 2);
    PutInt32(stream, 8);
    PutInt64(stream, id_base + i);
    PutInt32(stream, static_cast<std::uint32_t>(4 + 4 * source.dims()));
    PutVector(stream, source.Row(i, scratch), VectorForm::kVector);
  }
  PutInt16(stream, 0xFFFF);
  return stream;
}

std::size_t SendStream(Connection& connection, const std::string& sql, const std::string& stream) {
  connection.BeginCopy(sql);
  for (std::size_t at = 0; at < stream.size(); at += kCopyChunkBytes) {
    connection.SendCopy(stream.data() + at, std::min(kCopyChunkBytes, stream.size() - at));
  }
  return connection.EndCopy();
}

/// Sends a ready COPY stream from disk without holding it in memory.
std::size_t SendFile(Connection& connection, const std::string& sql, const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(path + ": cannot be read");
  connection.BeginCopy(sql);
  std::vector<char> chunk(kCopyChunkBytes);
  while (file.read(chunk.data(), static_cast<std::streamsize>(chunk.size())) || file.gcount() > 0) {
    connection.SendCopy(chunk.data(), static_cast<std::size_t>(file.gcount()));
  }
  return connection.EndCopy();
}

/// What a load came to; `backend_cpu` in seconds.
struct LoadResult {
  std::size_t rows = 0;
  double seconds = 0;
  double backend_cpu = 0;
  std::vector<double> latencies;
};

void PrintLoad(const Options& options, const char* mode, std::size_t dims, LoadResult result) {
  JsonLine line;
  line.Text("mode", mode)
      .Text("label", options.Text("label", ""))
      .Integer("rows", static_cast<std::int64_t>(result.rows))
      .Integer("dims", static_cast<std::int64_t>(dims))
      .Number("rows_per_second", static_cast<double>(result.rows) / result.seconds)
      .Number("backend_cpu_us", result.backend_cpu * 1e6 / static_cast<double>(result.rows));
  AddLatency(line, result.latencies, result.seconds);
  std::puts(line.Finish().c_str());
}

}  // namespace

void RunInserts(const Options& options) {
  const VectorSource source(options);
  const std::size_t connections = std::max<std::size_t>(1, options.Count("connections", 1));
  const std::size_t batch = std::max<std::size_t>(1, options.Count("batch", 1));
  const std::vector<EncodedRow> rows = EncodeRows(source, options.Count("id-base", 0));
  std::vector<Connection> open;
  for (std::size_t i = 0; i < connections; ++i) {
    open.emplace_back(options.Text("conninfo"));
    RunHooks(open.back(), options, "setup");
    open.back().Prepare(kStatement, options.Text("sql"), {kInt8Oid, kUnknownOid});
  }

  LoadResult result;
  result.rows = rows.size();
  for (const Connection& connection : open) result.backend_cpu -= connection.BackendCpuSeconds();
  std::vector<std::vector<double>> shares(connections);
  std::vector<std::string> errors(connections);
  const Pace pace(options.Number("rate", 0));
  const auto begin = Clock::now();
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < connections; ++i) {
    threads.emplace_back([&, i] {
      try {
        shares[i] = InsertShare(open[i], rows, i, connections, batch, pace);
      } catch (const std::exception& error) {
        errors[i] = error.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  result.seconds = SecondsBetween(begin, Clock::now());
  for (const std::string& error : errors) {
    if (!error.empty()) throw std::runtime_error(error);
  }
  for (Connection& connection : open) {
    result.backend_cpu += connection.BackendCpuSeconds();
    RunHooks(connection, options, "finish");
  }
  for (const auto& share : shares)
    result.latencies.insert(result.latencies.end(), share.begin(), share.end());
  PrintLoad(options, "insert", source.dims(), std::move(result));
}

void RunCopy(const Options& options) {
  const std::string sql = options.Text("sql");
  const std::string file = options.Text("file", "");
  std::vector<std::string> streams;
  std::size_t dims = 0;  // of a ready stream: unknown
  if (file.empty()) {
    const VectorSource source(options);
    dims = source.dims();
    const std::size_t batch = std::max<std::size_t>(1, options.Count("batch", source.count()));
    for (std::size_t first = 0; first < source.count(); first += batch) {
      const std::size_t count = std::min(batch, source.count() - first);
      streams.push_back(EncodeCopy(source, options.Count("id-base", 0), first, count));
    }
  }

  Connection connection(options.Text("conninfo"));
  RunHooks(connection, options, "setup");
  LoadResult result;
  result.backend_cpu = -connection.BackendCpuSeconds();
  const auto begin = Clock::now();
  const Pace pace(options.Number("rate", 0));
  for (std::size_t i = 0; i < (file.empty() ? streams.size() : 1); ++i) {
    pace.Await(result.rows);
    const auto started = Clock::now();
    result.rows += file.empty() ? SendStream(connection, sql, streams[i]) : SendFile(connection, sql, file);
    result.latencies.push_back(SecondsBetween(started, Clock::now()));
  }
  result.seconds = SecondsBetween(begin, Clock::now());
  result.backend_cpu += connection.BackendCpuSeconds();
  RunHooks(connection, options, "finish");
  PrintLoad(options, "copy", dims, std::move(result));
}

}  // namespace tandem::bench
