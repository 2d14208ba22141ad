"""graph-build: CREATE INDEX of a large table: when it returns, when all is in graphs, how much memory; beside pgvector.

A plain copy of the vectors (CREATE TABLE AS) is what returning is held against. Memory is that of a session which builds
by itself (strategy hnsw_inline) with tandem.build_memory of 64 MB and of 1 GB, beyond what it had before.
"""

import subprocess
import tempfile

from harness.context import median, rate, ratios, spread
from suites import graphs


def run(context):
    data = context.set("syn1m")
    rows = data.rows
    context.say("graph-build: %s rows x %d, m %d, ef_construction %d"
                % (rate(rows), data.dims, graphs.M, graphs.EF_CONSTRUCTION))
    db = context.database()
    graphs.create_table(db, data)
    graphs.load(context, db, data, batch=100_000)
    db.run("VACUUM ANALYZE items", "CHECKPOINT")
    copies, returns = [], []
    for _ in range(context.repeats(3)):
        db.run("DROP INDEX IF EXISTS items_embedding", "CHECKPOINT")
        copies.append(db.timed("CREATE TABLE copied AS SELECT embedding FROM items"))
        db.run("DROP TABLE copied", "CHECKPOINT")
        returns.append(db.timed(graphs.create_index(data)))
    copy, returned = median(copies), median(returns)
    context.progress("the worker builds")
    total = returns[-1] + graphs.fold(context, db)
    settled = total + graphs.rest(context, db)
    line = graphs.search(context, db, data, data.path("gt.ivecs"))
    context.record("build", data, variant="hnsw_batch", rows=rows, seconds_copy=spread(copies),
                   seconds_returned=spread(returns), seconds_all_indexed=total, seconds_at_rest=settled,
                   recall=line["recall"], p50_us=line["p50_us"], segments=graphs.segments(db))
    table = [("plain copy", "%.1f" % copy, "", ""),
             ("hnsw_batch, returned", "%.1f" % returned, "", ""),
             ("hnsw_batch, all in graphs", "%.1f" % total, "", "%.4f" % line["recall"])]
    context.claim("CREATE INDEX returns after, of a plain copy", "%.2f x" % median(ratios(returns, copies)),
                  median(ratios(returns, copies)) <= 2, "<= 2 x")
    db.run("DROP INDEX items_embedding")
    for megabytes in (64, 1024):
        _memory(context, db, data, rows, megabytes, table)
    context.server.drop_database("tandem_bench")
    other = graphs.pgvector(context)
    if other:
        graphs.create_table(other, data)
        graphs.load(context, other, data, batch=100_000)
        context.progress("pgvector: building")
        theirs = other.timed(graphs.create_index(data, method="hnsw"), "SET maintenance_work_mem = '4GB'")
        recall = graphs.search(context, other, data, data.path("gt.ivecs"))["recall"]
        context.record("build", data, variant="pgvector", rows=rows, seconds_all_indexed=theirs, recall=recall)
        table.append(("pgvector", "%.1f" % theirs, "", "%.4f" % recall))
        context.claim("all in graphs / pgvector's CREATE INDEX", "%.2f x" % (total / theirs), total <= 0.6 * theirs,
                      "<= 0.6 x")
        context.server.drop_database("tandem_bench_pgvector")
    context.table(("what", "seconds", "private MB", "recall@10"), table)


def _memory(context, db, data, rows, megabytes, table):
    context.progress("building within %d MB" % megabytes)
    session = subprocess.Popen(db.psql_command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    session.stdin.write("SET tandem.build_memory = '%dMB';\nSET maintenance_work_mem = '8MB';\n" % megabytes)
    session.stdin.write("SELECT pg_backend_pid();\n")
    session.stdin.flush()
    pid = int(session.stdout.readline())
    with graphs.Watch(context.server, [pid]) as watch:
        session.stdin.write(graphs.create_index(data, strategy="hnsw_inline") + ";\nSELECT 'built';\n")
        session.stdin.flush()
        context.require(session.stdout.readline().strip() == "built", "CREATE INDEX failed")
    session.stdin.close()
    session.wait()
    with tempfile.TemporaryDirectory() as folder:
        truth = graphs.truth_of(context, data, folder, rows=rows) if rows != data.rows else data.path("gt.ivecs")
        recall = graphs.search(context, db, data, truth)["recall"]
    peak, count, seconds = watch.peak_mb(), graphs.segments(db), watch.cpu_seconds()
    context.record("memory", data, variant="%d MB" % megabytes, rows=rows, peak_private_mb=peak, cpu_seconds=seconds,
                   segments=count, recall=recall)
    table.append(("hnsw_inline within %d MB, %d segments (CPU)" % (megabytes, count), "%.1f" % seconds, "%.0f" % peak,
                  "%.4f" % recall))
    context.claim("private memory at its peak, build_memory %d MB" % megabytes, "%.0f MB" % peak,
                  peak <= 1.1 * megabytes, "<= %.0f MB" % (1.1 * megabytes))
    db.run("DROP INDEX items_embedding")
