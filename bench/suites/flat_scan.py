"""flat-scan: rows per second of an exact top 10 through the index against sequential scan + sort, one core each.

Three tables: Fashion-MNIST with the type's own storage (out of line), the same stored inline (STORAGE PLAIN), and
128 dimensions, which are inline by themselves. Sequential scans of our own type and, where the server offers the
extension vector (pgvector), of its type in a database of its own. A brute-force scan in process is the floor.
All variants take turns within each repeat; ratios are of the same repeat.
"""

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
        "index": (db, INDEX, "Index Scan using items_embedding", "Seq Scan"),
    }
    if pgvector:
        other = context.server.fresh_database("tandem_bench_pgvector", "vector")
        _load(context, other, data, rows, storage, index=False)
        variants["pgvector"] = (other, SEQUENTIAL, "Seq Scan on items", "Index Scan")

    whole = rows == data.rows  # else the ground truth is that of more rows than the table has
    truth = dict(truth=data.path("gt.ivecs"), base=data.path("base.fvecs"), metric=data.metric) if whole else {}
    queries = 20 if context.options.scale >= 0.5 else 5
    speeds = {name: [] for name in variants}
    busy = {name: [] for name in variants}
    lines = {}
    in_process = []
    for _ in range(context.repeats(7)):
        for name, (where, setup, expect, forbid) in variants.items():
            line = context.tools.client(
                "query", where, sql=NEAREST, queries=data.path("query.fvecs"), limit=queries, rounds=1,
                warmup=WARMUP, setup=setup, expect=expect, forbid=forbid, **truth,
            )
            if whole and line["exact"] != line["judged"]:
                context.fail("%s, %s: %d of %d queries exact" % (case, name, line["exact"], line["judged"]))
            speeds[name].append(rows / (line["p50_us"] / 1e6))
            busy[name].append(line["backend_cpu_us"] or float("nan"))
            lines[name] = line
        if context.tools.has("tandem-bench-exact"):
            floor = context.tools.json("tandem-bench-exact", base=data.path("base.fvecs"), limit=rows,
                                       query=data.path("query.fvecs"), queries=queries)
            in_process.append(rows / (floor["p50_us"] / 1e6))

    context.claim_chosen(db, case, "items_embedding", sql=NEAREST, queries=data.path("query.fvecs"))
    gain = ratios(speeds["index"], speeds["sequential"])
    for name, values in speeds.items():
        context.record(case, data, variant=name, rows=rows, storage=storage or "default", queries=queries, k=10,
                       rows_per_second=spread(values), backend_cpu_us=spread(busy[name]), p50_us=lines[name]["p50_us"], p99_us=lines[name]["p99_us"],
                       recall=lines[name].get("recall"), plan=lines[name]["plan"])
    if in_process:
        context.record(case, data, variant="in process", rows=rows, queries=queries, k=10, recall=1.0,
                       rows_per_second=spread(in_process))
    cpu_gain = ratios(busy["sequential"], busy["index"])
    context.record(case, data, variant="ratio index/sequential", ratio=spread(gain), ratio_of_cpu=spread(cpu_gain))
    context.claim("%s: index / sequential scan of our own type" % case,
                  "%.1f x (by processor time %.1f x)" % (median(gain), median(cpu_gain)), median(gain) >= 8,
                  ">= 8 x, stretch 20 x")
    if pgvector:
        other_gain = ratios(speeds["index"], speeds["pgvector"])
        context.claim("%s: index / sequential scan of pgvector's type" % case, "%.1f x" % median(other_gain),
                      median(other_gain) >= 8, ">= 8 x, stretch 20 x")
    cells = [case, rate(rows), rate(median(speeds["sequential"])), rate(median(speeds["index"])),
             "%.1f" % median(gain), "-", "-", rate(median(in_process)) if in_process else "-"]
    if pgvector:
        context.record(case, data, variant="ratio index/pgvector", ratio=spread(other_gain))
        cells[5:7] = [rate(median(speeds["pgvector"])), "%.1f" % median(other_gain)]
        context.server.drop_database("tandem_bench_pgvector")
    context.server.drop_database("tandem_bench")
    return cells


def _load(context, db, data, rows, storage, index):
    db.run("CREATE TABLE items (id bigint, embedding vector(%d))" % data.dims)
    if storage:
        db.run("ALTER TABLE items ALTER COLUMN embedding SET STORAGE %s" % storage)
    context.tools.client("copy", db, sql="COPY items FROM STDIN (FORMAT binary)", vectors=data.path("base.fvecs"),
                         count=rows)
    if index:
        db.run(context.create_index("items_embedding", "items"))
    db.run("VACUUM ANALYZE items", "CHECKPOINT")
