// The bench client: drives any PostgreSQL server through prepared binary statements and measures it.

#include <cstdio>
#include <cstring>
#include <exception>

#include "client/modes.hpp"

namespace {

constexpr const char* kUsage = R"(tandem-bench-client MODE --conninfo STR --sql TEXT [--name value]...

One JSON line comes out: throughput, latency percentiles in microseconds, rows, recall.

MODE query: runs the statement once per query vector ($1, binary) and parameter ($2, or $1 alone; int4)
  --queries FVECS     vectors; --vector-form vector|array|halfvec|bit says how they travel (default vector; a bit is 1 for
                      what is above zero)
  --params IVECS      one integer per query
  --count N           executions per round when there is neither (default 1000)
  --offset N --limit N    use only these entries of the files
  --truth IVECS       exact ids per query; the statement's first column must be an int4 or int8 id. A short result
                      counts as misses.
  --base FVECS        row i is the vector of id i: judge by distance, so that rows at equal distance are equally
                      right; --metric l2|ip|cosine|l1, --allowance relative slack (default 1e-6)
  --k N               ids compared (default 10); "exact" counts queries answered completely, without repeats, in order
  --rounds N          timed passes over all entries (default 3)
  --warmup N          untimed executions before, on each connection (default one pass): a new backend's first
                      ones pay for mapping the server's shared memory
  --seconds S         stop after this long even if rounds remain
  --connections N     one thread each (default 1)
  --sweep SQL         run before a timed part of its own, with a line of its own; repeatable. The connections stay, and
                      warm up before the first part only
  --cores LIST        binds thread i and its backend to core LIST[i], e.g. 0,1 (as superuser or the server's user)
  --trace PATH        writes, of the first connection and the last part, a line for each execution: microseconds from the
                      start to its end, and its latency
  --expect TEXT --forbid TEXT    fail unless the prepared statement's plan, looked at before and after the run,
                      holds / lacks the text; repeatable

MODE insert: one prepared INSERT per row, parameters (id bigint, vector)
  --batch N           rows per transaction (default 1); latencies are per transaction
  --connections N     rows are dealt out in turn (default 1)

  --rate N            at most so many rows/s: a transaction does not begin before its time

MODE copy: COPY ... FROM STDIN (FORMAT binary), columns (id bigint, vector); encoded before the clock starts
  --batch N           rows per COPY (default all in one)
  --file PATH         send this ready stream instead
  --rate N            at most so many rows/s: a COPY does not begin before its time

Rows of insert and copy:
  --vectors FVECS | --random-dims D [--seed N]
  --offset N --count N    rows of the source; a file that ends starts again
  --id-base N         id of the first row (default 0)

All modes:
  --setup SQL --finish SQL    on each connection before anything is prepared, and after the clock stopped; repeatable
  --label TEXT        echoed

Exit status 0, or 1 with a message on stderr.
)";

}  // namespace

int main(int argc, char** argv) {
  using namespace tandem::bench;
  try {
    const char* mode = argc > 1 ? argv[1] : "";
    if (std::strcmp(mode, "query") == 0) {
      RunQueries(Options(argc, argv, 2, kQueryOptions));
    } else if (std::strcmp(mode, "insert") == 0) {
      RunInserts(Options(argc, argv, 2, kInsertOptions));
    } else if (std::strcmp(mode, "copy") == 0) {
      RunCopy(Options(argc, argv, 2, kCopyOptions));
    } else {
      std::fputs(kUsage, argc > 1 && std::strcmp(mode, "--help") == 0 ? stdout : stderr);
      return argc > 1 && std::strcmp(mode, "--help") == 0 ? 0 : 1;
    }
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "tandem-bench-client: %s\n", error.what());
    return 1;
  }
}
