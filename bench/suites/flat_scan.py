"""flat-scan: rows per second of an exact top 10 through the index against sequential scan + sort, one core each.

Three tables: Fashion-MNIST with the type's own storage (out of line), the same stored inline (STORAGE PLAIN), and
128 dimensions, which are inline by themselves. Sequential scans of our own type and, where the server offers the
extension vector (pgvector), of its type in a database of its own. A brute-force scan in process is the floor.
All variants take turns within each repeat; ratios are of the same repeat.
"""

import os
import tempfile

from harness.context import median, rate, ratios, spread

NEAREST = "SELECT id FROM items ORDER BY embedding <-> $1 LIMIT 10"
WARMUP = 2  # untimed queries on each connection: the first one maps every page of shared memory that it touches
SEQUENTIAL = ["SET enable_indexscan = off", "SET enable_bitmapscan = off", "SET max_parallel_workers_per_gather = 0"]
# Forced, so that a planner's mistake is shown as one and does not hide the scan's speed.
INDEX = ["SET enable_seqscan = off", "SET max_parallel_workers_per_gather = 0"]


def run(context):
    pgvector = context.options.extension != "vector" and context.server.offers("vector")
    if not pgvector:
        context.say("flat-scan: the server does not offer pgvector as a second extension; its columns are left out")
    cases = [
        ("784 out of line", "fashion", None, None),
        ("784 inline", "fashion", "plain", None),
        ("128 inline", "syn1m", None, 500_000),
    ]
    table = []
    for case, set_name, storage, most in cases:
        data = context.set(set_name)
        rows = data.rows if most is None else min(data.rows, context.scaled(most, 1000))
        table.append(_case(context, case, data, rows, storage, pgvector))
    context.table(("table", "rows", "sequential rows/s", "index rows/s", "index/seq", "pgvector rows/s",
                   "index/pgvector", "in process rows/s"), table)


def _case(context, case, data, rows, storage, pgvector):
    context.progress("%s: loading %d rows" % (case, rows))
    db = context.database()
    _load(context, db, data, rows, storage, index=True)
    variants = {
        "sequential": (db, SEQUENTIAL, "Seq Scan on items", "Index Scan"),
        "index": (db, INDEX, "items_embedding", "Seq Scan"),
    }
    if pgvector:
        other = context.server.fresh_database("tandem_bench_pgvector", "vector")
        _load(context, other, data, rows, storage, index=False)
        variants["pgvector"] = (other, SEQUENTIAL, "Seq Scan on items", "Index Scan")

    queries = 20 if context.options.scale >= 0.5 else 5
    lines, in_process = _measure(context, case, data, rows, queries, variants)
    context.claim_chosen(db, case, "items_embedding", sql=NEAREST, queries=data.path("query.fvecs"))

    speeds = {name: [rows / (line["p50_us"] / 1e6) for line in runs] for name, runs in lines.items()}
    busy = {name: [line["backend_cpu_us"] or float("nan") for line in runs] for name, runs in lines.items()}
    for name, runs in lines.items():
        context.record(case, data, variant=name, rows=rows, storage=storage or "default", queries=queries, k=10,
                       recall=min(line["recall"] for line in runs), rows_per_second=spread(speeds[name]),
                       backend_cpu_us=spread(busy[name]), p99_us=spread(line["p99_us"] for line in runs),
                       plan=runs[-1]["plan"])
    context.record(case, data, variant="in process", rows=rows, queries=queries, k=10,
                   rows_per_second=spread(in_process))
    cells = [case, rate(rows), rate(median(speeds["sequential"])), rate(median(speeds["index"])), "-", "-", "-",
             rate(median(in_process))]
    cells[4] = _compare(context, case, data, speeds, busy, "sequential", "our own type")
    if pgvector:
        cells[5] = rate(median(speeds["pgvector"]))
        cells[6] = _compare(context, case, data, speeds, busy, "pgvector", "pgvector's type")
        context.server.drop_database("tandem_bench_pgvector")
    context.server.drop_database("tandem_bench")
    return cells


def _measure(context, case, data, rows, queries, variants):
    """({variant: client lines}, in-process rows/s), one of each per repeat, in turn; every answer is judged."""
    lines = {name: [] for name in variants}
    in_process = []
    with tempfile.TemporaryDirectory() as folder:
        # Of the rows in the table, which may be a part of the set.
        truth = os.path.join(folder, "gt.ivecs")
        paths = dict(base=data.path("base.fvecs"), query=data.path("query.fvecs"), limit=rows, queries=queries)
        context.tools.json("tandem-bench-truth", metric=data.metric, k=10, out_ids=truth,
                           out_distances=os.path.join(folder, "gt.fvecs"), **paths)
        for _ in range(context.repeats(7)):
            for name, (where, setup, expect, forbid) in variants.items():
                line = context.tools.client(
                    "query", where, sql=NEAREST, queries=data.path("query.fvecs"), limit=queries, rounds=1,
                    warmup=WARMUP, setup=setup, expect=expect, forbid=forbid, truth=truth,
                    base=data.path("base.fvecs"), metric=data.metric,
                )
                if line["exact"] != line["judged"]:
                    context.fail("%s, %s: %d of %d queries exact" % (case, name, line["exact"], line["judged"]))
                lines[name].append(line)
            floor = context.tools.json("tandem-bench-exact", metric=data.metric, truth=truth, **paths)
            context.require(floor["recall"] == 1.0, "brute force in process is not exact")
            in_process.append(rows / (floor["p50_us"] / 1e6))
    return lines, in_process


def _compare(context, case, data, speeds, busy, other, whose):
    """Claims the index's gain over a sequential scan; returns it for the table."""
    gain = ratios(speeds["index"], speeds[other])
    by_cpu = ratios(busy[other], busy["index"])
    context.record(case, data, variant="ratio index/" + other, ratio=spread(gain), ratio_of_cpu=spread(by_cpu))
    context.claim("%s: index / sequential scan of %s" % (case, whose),
                  "%.1f x (by processor time %.1f x)" % (median(gain), median(by_cpu)), median(gain) >= 8,
                  ">= 8 x, stretch 20 x")
    return "%.1f" % median(gain)


def _load(context, db, data, rows, storage, index):
    db.run("CREATE TABLE items (id bigint, embedding vector(%d))" % data.dims)
    if storage:
        db.run("ALTER TABLE items ALTER COLUMN embedding SET STORAGE %s" % storage)
    context.tools.client("copy", db, sql="COPY items FROM STDIN (FORMAT binary)", vectors=data.path("base.fvecs"),
                         count=rows)
    if index:
        db.run(context.create_index("items_embedding", "items"))
    db.run("VACUUM ANALYZE items", "CHECKPOINT")
