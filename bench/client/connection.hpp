#pragma once
// libpq with owners: connections and results that close themselves, errors as exceptions.

#include <libpq-fe.h>

#include <cstdint>
#include <fstream>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace tandem::bench {

struct ClearResult {
  void operator()(PGresult* result) const noexcept { PQclear(result); }
};
using Result = std::unique_ptr<PGresult, ClearResult>;

/// Built-in type oids that the client names in prepared statements; 0 lets the server decide.
constexpr Oid kUnknownOid = 0;
constexpr Oid kInt8Oid = 20;
constexpr Oid kInt4Oid = 23;

/// Parameters of one execution, all in binary. The buffers must live until the call returns.
struct Parameters {
  std::vector<const char*> values;
  std::vector<int> lengths;
  std::vector<int> formats;

  void Add(const char* value, std::size_t bytes) {
    values.push_back(value);
    lengths.push_back(static_cast<int>(bytes));
    formats.push_back(1);
  }
};

/// One connection. Not thread-safe: one per thread. Every failure is a std::runtime_error with the server's text.
class Connection {
 public:
  explicit Connection(const std::string& conninfo) : connection_(PQconnectdb(conninfo.c_str())) {
    if (PQstatus(connection_.get()) != CONNECTION_OK) throw std::runtime_error(ErrorText());
  }

  /// Runs SQL text, which may hold several statements and may return rows.
  Result Run(const std::string& sql) { return Expect(Result(PQexec(connection_.get(), sql.c_str())), sql); }

  void Prepare(const char* name, const std::string& sql, const std::vector<Oid>& types) {
    Expect(
        Result(PQprepare(connection_.get(), name, sql.c_str(), static_cast<int>(types.size()), types.data())),
        sql);
  }

  /// Executes a prepared statement; results come back in binary.
  Result Execute(const char* name, const Parameters& parameters) {
    return Expect(Result(PQexecPrepared(connection_.get(), name, static_cast<int>(parameters.values.size()),
                                        parameters.values.data(), parameters.lengths.data(),
                                        parameters.formats.data(), 1)),
                  name);
  }

  void BeginCopy(const std::string& sql) {
    const Result result(PQexec(connection_.get(), sql.c_str()));
    if (PQresultStatus(result.get()) != PGRES_COPY_IN) throw std::runtime_error(sql + ": " + ErrorText());
  }
  void SendCopy(const char* bytes, std::size_t count) {
    if (PQputCopyData(connection_.get(), bytes, static_cast<int>(count)) != 1)
      throw std::runtime_error(ErrorText());
  }
  /// Ends the COPY and waits for the server; returns its row count.
  std::size_t EndCopy() {
    if (PQputCopyEnd(connection_.get(), nullptr) != 1) throw std::runtime_error(ErrorText());
    const Result result = Expect(Result(PQgetResult(connection_.get())), "COPY");
    const std::size_t rows = std::stoull(std::string("0") + PQcmdTuples(result.get()));
    while (Result(PQgetResult(connection_.get())) != nullptr) {
    }
    return rows;
  }

  [[nodiscard]] int backend_pid() const { return PQbackendPID(connection_.get()); }

  /// Seconds that the backend has spent on a processor so far: what remains comparable when the machine is also
  /// busy with other work. NaN unless the backend is a process of this machine.
  [[nodiscard]] double BackendCpuSeconds() const {
    const std::string process = "/proc/" + std::to_string(backend_pid());
    std::string name;
    double nanoseconds = 0;
    std::ifstream(process + "/comm") >> name;
    if (name.rfind("postgres", 0) != 0 || !(std::ifstream(process + "/schedstat") >> nanoseconds)) {
      return std::numeric_limits<double>::quiet_NaN();
    }
    return nanoseconds * 1e-9;
  }

 private:
  struct Finish {
    void operator()(PGconn* connection) const noexcept { PQfinish(connection); }
  };

  Result Expect(Result result, const std::string& what) {
    const ExecStatusType status = PQresultStatus(result.get());
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY) return result;
    throw std::runtime_error(what.substr(0, 200) + ": " + ErrorText());
  }
  [[nodiscard]] std::string ErrorText() const { return PQerrorMessage(connection_.get()); }

  std::unique_ptr<PGconn, Finish> connection_;
};

}  // namespace tandem::bench
