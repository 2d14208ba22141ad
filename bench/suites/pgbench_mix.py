"""pgbench: throughput of the scripts in bench/pgbench, alone and together, with and without the index.

Rows of the synthetic 128-dimensional set. The mix is one insert to four queries on two clients.
"""

import os
import re
import subprocess

from harness.context import SuiteFailed, rate, spread
from harness.tools import BENCH


def script(name):
    return os.path.join(BENCH, "pgbench", name + ".sql")


def run(context):
    data = context.set("syn1m")
    rows = min(data.rows, context.scaled(20_000))
    db = context.database()
    seconds = 10 if context.options.scale >= 0.5 else 2
    context.say("pgbench: %d rows x %d, prepared statements, %d s a run" % (rows, data.dims, seconds))
    for table, vectors, count in (("items", "base", rows), ("wanted", "query", data.queries)):
        db.run("CREATE TABLE %s (id bigint PRIMARY KEY, embedding vector(%d))" % (table, data.dims))
        context.tools.client("copy", db, sql="COPY %s FROM STDIN (FORMAT binary)" % table,
                             vectors=data.path(vectors + ".fvecs"), count=count)
    db.run(context.create_index("items_embedding", "items"), "VACUUM ANALYZE")
    nearest = "SELECT id FROM items ORDER BY embedding <-> (SELECT embedding FROM wanted WHERE id = 1) LIMIT 10"
    plan = db.plan(nearest)
    context.claim("pgbench: the planner takes the index", "Index Scan" if "items_embedding" in plan else plan,
                  "items_embedding" in plan, "items_embedding")

    cases = [("query", ["query"], 1), ("query, 2 clients", ["query"], 2), ("insert", ["insert"], 1),
             ("insert, 2 clients", ["insert"], 2), ("4 queries to 1 insert, 2 clients", ["query@4", "insert@1"], 2)]
    table = []
    for case, scripts, clients in cases:
        runs = [_run(db, scripts, clients, seconds, data.queries) for _ in range(context.repeats(3))]
        tps = spread(run[0] for run in runs)
        latency = spread(run[1] for run in runs)
        table.append((case, rate(tps["median"]), "%.3f" % latency["median"]))
        context.record(case, data, clients=clients, seconds=seconds, rows_at_start=rows, tps=tps, latency_ms=latency)
    context.table(("case", "transactions/s", "mean ms"), table)
    context.server.drop_database("tandem_bench")


def _run(db, scripts, clients, seconds, queries):
    line = [db.program("pgbench"), "-n", "-M", "prepared", "-c", str(clients), "-T", str(seconds),
            "-D", "queries=%d" % queries]
    for name in scripts:
        name, _, weight = name.partition("@")
        line += ["-f", script(name) + ("@" + weight if weight else "")]
    for _ in range(5):  # on a machine that stands still for so long it has nothing to tell
        done = subprocess.run(line + [db.conninfo()], capture_output=True, text=True)
        tps = re.search(r"^tps = ([0-9.]+)", done.stdout, re.M)
        latency = re.search(r"^latency average = ([0-9.]+) ms", done.stdout, re.M)
        if done.returncode == 0 and tps and latency:
            return float(tps[1]), float(latency[1])
    raise SuiteFailed("pgbench: " + (done.stderr or done.stdout)[-500:])
