"""graph-memory: private memory of a session that builds by itself, with tandem.build_memory of 64 MB and of 1 GB.

Strategy hnsw_inline; counted is what the session takes beyond what it had before.
"""

import subprocess

from harness.context import rate
from suites import graphs


def run(context):
    data = context.set("syn1m")
    context.say("graph-memory: %s rows x %d, m %d, ef_construction %d"
                % (rate(data.rows), data.dims, graphs.M, graphs.EF_CONSTRUCTION))
    db = context.database()
    graphs.create_table(db, data)
    graphs.load(context, db, data, batch=100_000)
    db.run("VACUUM ANALYZE items", "CHECKPOINT")
    table = []
    for megabytes in (64, 1024):
        _build(context, db, data, megabytes, table)
    context.table(("build_memory", "segments", "CPU s", "private MB", "recall@10"), table)
    context.server.drop_database("tandem_bench")


def _build(context, db, data, megabytes, table):
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
    recall = graphs.search(context, db, data, data.path("gt.ivecs"))["recall"]
    peak, count, seconds = watch.peak_mb(), graphs.segments(db), watch.cpu_seconds()
    context.record("memory", data, variant="%d MB" % megabytes, peak_private_mb=peak, cpu_seconds=seconds,
                   segments=count, recall=recall)
    table.append(("%d MB" % megabytes, count, "%.1f" % seconds, "%.0f" % peak, "%.4f" % recall))
    context.claim("private memory at its peak, build_memory %d MB" % megabytes, "%.0f MB" % peak,
                  peak <= 1.1 * megabytes, "<= %.0f MB" % (1.1 * megabytes))
    db.run("DROP INDEX items_embedding")
