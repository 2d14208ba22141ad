"""flat-load: what the index costs while rows are written.

1. COPY (binary, one client) into a bare table, one with only a btree on the id, and one with only the vector index,
   in turn, at 128 and 784 dimensions: rows/s, and WAL bytes per row between checkpoints.
2. COPY into an indexed table that holds 10,000 rows against one that holds 1,000,000.
3. Single-row INSERT transactions (prepared, binary), bare and indexed in turn, synchronous_commit off and on.

Each measured COPY starts right after TRUNCATE (part 2: on the tail as it is) and a CHECKPOINT, so each carries its
own full-page images and none of its predecessor's writes.
"""

from harness.context import median, rate, ratios, spread

COPY = "COPY %s FROM STDIN (FORMAT binary)"
INSERT = "INSERT INTO %s (id, embedding) VALUES ($1, $2)"
VARIANTS = ("bare", "btree", "flat")


def run(context):
    sources = {128: context.set("syn1m"), 784: context.set("fashion")}
    for dims, data in sources.items():
        _copy(context, data, dims)
    _copy_by_size(context, sources[128])
    for dims, data in sources.items():
        _single_rows(context, data, dims)
    context.server.drop_database("tandem_bench")


def _tables(context, dims, variants=VARIANTS):
    db = context.database()
    for name in variants:
        db.run("CREATE TABLE %s (id bigint, embedding vector(%d))" % (name, dims))
        if name == "btree":
            db.run("CREATE INDEX btree_id ON btree (id)")
        if name.startswith("flat"):
            db.run(context.create_index(name + "_embedding", name))
    return db


def _copy(context, data, dims):
    rows = context.scaled({128: 200_000, 784: 40_000}[dims], 1000)
    context.say("flat-load, COPY: %s rows x %d, in turn" % (rate(rows), dims))
    db = _tables(context, dims)
    speeds = {name: [] for name in VARIANTS}
    wal = {name: [] for name in VARIANTS}
    busy = {name: [] for name in VARIANTS}
    # Once untimed: the files' first extension and cold caches belong to nobody.
    for repeat in range(-1, context.repeats(7)):
        for name in VARIANTS:
            db.run("TRUNCATE %s" % name, "CHECKPOINT")
            position = db.wal_position()
            line = context.tools.client("copy", db, sql=COPY % name, vectors=data.path("base.fvecs"), count=rows)
            if repeat >= 0:
                speeds[name].append(line["rows_per_second"])
                busy[name].append(line["backend_cpu_us"] or float("nan"))
                wal[name].append(db.wal_bytes_since(position) / rows)
        context.progress("round %d: %s rows/s" % (repeat + 1, ", ".join(rate(s[-1]) for s in speeds.values() if s)))
    _require_complete(context, db, "flat", rows)

    share = {name: ratios(speeds[name], speeds["bare"]) for name in VARIANTS}
    index_wal = [flat - bare for flat, bare in zip(wal["flat"], wal["bare"])]
    table = []
    for name in VARIANTS:
        table.append((name, rate(median(speeds[name])), rate(max(speeds[name])), "%.2f" % median(share[name]),
                      "%.2f" % median(busy[name]), rate(median(wal[name]))))
        context.record("copy", data, variant=name, rows=rows, rows_per_second=spread(speeds[name]),
                       share_of_bare=spread(share[name]), backend_cpu_us=spread(busy[name]),
                       wal_bytes_per_row=spread(wal[name]))
    context.table(("COPY into", "rows/s", "best", "of bare", "backend us/row", "WAL B/row"), table)
    kept = median(share["flat"])
    by_cpu = median(ratios(busy["bare"], busy["flat"]))
    context.claim("COPY with flat index / without, %d dims" % dims,
                  "%.2f (by processor time %.2f)" % (kept, by_cpu), kept >= 0.6, ">= 0.6")
    if dims == 128:
        speed, best = median(speeds["flat"]), max(speeds["flat"])
        context.claim("COPY with flat index, 128 dims", "%s rows/s (best %s)" % (rate(speed), rate(best)),
                      speed >= 100_000, ">= 100,000 rows/s")
    _claim_wal(context, "COPY", dims, median(index_wal))


def _claim_wal(context, way, dims, index_wal):
    """The index's own WAL: what the table with it writes beyond the one without."""
    bound = 4 * dims + 200
    context.claim("%s, WAL of the index per row, %d dims" % (way, dims), "%.0f B" % index_wal, index_wal <= bound,
                  "<= %d B (vector + 200)" % bound)


def _copy_by_size(context, data):
    small, large = context.scaled(10_000, 1000), context.scaled(1_000_000, 5000)
    rows = context.scaled(50_000, 500)
    context.say("flat-load, COPY of %s rows onto %s and onto %s rows, %d dims"
                % (rate(rows), rate(small), rate(large), data.dims))
    repeats = range(-1, context.repeats(7))
    # A table of its own for each repeat: truncating one would hand its buffers to the next, memory that is already
    # mapped and warm, while the large table's new pages go where nobody has been.
    small_tables = {repeat: "flat_small_%d" % (repeat + 1) for repeat in repeats}
    db = _tables(context, data.dims, (*small_tables.values(), "flat_large"))
    vectors = data.path("base.fvecs")
    context.progress("loading %s rows" % rate(large))
    context.tools.client("copy", db, sql=COPY % "flat_large", vectors=vectors, count=large, batch=100_000)
    speeds = {"flat_small": [], "flat_large": []}
    for repeat in repeats:
        context.tools.client("copy", db, sql=COPY % small_tables[repeat], vectors=vectors, count=small)
        for name, table in (("flat_small", small_tables[repeat]), ("flat_large", "flat_large")):
            db.run("CHECKPOINT")
            line = context.tools.client("copy", db, sql=COPY % table, vectors=vectors, count=rows, offset=small)
            if repeat >= 0:
                speeds[name].append(line["rows_per_second"])
    share = ratios(speeds["flat_large"], speeds["flat_small"])
    for name, values in speeds.items():
        context.record("copy by size", data, variant=name, rows=rows, rows_per_second=spread(values))
    context.record("copy by size", data, variant="ratio large/small", ratio=spread(share), small=small, large=large)
    context.table(("existing rows", "rows/s"), [(rate(small), rate(median(speeds["flat_small"]))),
                                                (rate(large), rate(median(speeds["flat_large"])))])
    context.claim("COPY rate at 1,000,000 / at 10,000 rows", "%.3f" % median(share), median(share) >= 0.95, ">= 0.95")


def _single_rows(context, data, dims):
    # Short turns and many: on a machine that does other things too, a pair must see the same disturbance.
    rows = context.scaled({128: 2_000, 784: 1_000}[dims], 200)
    repeats = context.repeats(15)
    for commit in ("off", "on"):
        context.say("flat-load, single-row commits: %s x %d dims, synchronous_commit %s" % (rate(rows), dims, commit))
        variants = ("bare", "flat")
        db = _tables(context, dims, variants)
        lines = {name: [] for name in variants}
        wal = {name: [] for name in variants}
        for repeat in range(-1, repeats):
            for name in variants:
                db.run("CHECKPOINT")
                position = db.wal_position()
                line = context.tools.client("insert", db, sql=INSERT % name, vectors=data.path("base.fvecs"),
                                            count=rows, id_base=(repeat + 1) * rows, offset=(repeat + 1) * rows,
                                            setup="SET synchronous_commit = %s" % commit)
                if repeat >= 0:
                    lines[name].append(line)
                    wal[name].append(db.wal_bytes_since(position) / rows)
        table = []
        for name in variants:
            middle, tail, speed, busy = (
                [line[key] or float("nan") for line in lines[name]]
                for key in ("p50_us", "p99_us", "rows_per_second", "backend_cpu_us")
            )
            context.record("single-row commits", data, variant=name, synchronous_commit=commit, rows=rows,
                           p50_us=spread(middle), p99_us=spread(tail), rows_per_second=spread(speed),
                           backend_cpu_us=spread(busy), wal_bytes_per_row=spread(wal[name]))
            table.append((name, "%.1f" % median(middle), "%.1f" % median(tail), rate(median(speed)),
                          "%.1f" % median(busy), rate(median(wal[name]))))
        context.table(("INSERT into", "p50 us", "p99 us", "rows/s", "backend us", "WAL B/row"), table)
        _require_complete(context, db, "flat", rows * (repeats + 1))
        for key, label, target in (("p50_us", "p50", 1.3), ("p99_us", "p99", None)):
            ratio = median(ratios([x[key] for x in lines["flat"]], [x[key] for x in lines["bare"]]))
            context.record("single-row commits", data, variant="ratio %s" % label, synchronous_commit=commit, ratio=ratio)
            if target:
                context.claim("single-row commit %s with / without index, %d dims, synchronous_commit %s"
                              % (label, dims, commit), "%.2f" % ratio, ratio <= target, "<= %.1f" % target)
        if commit == "off":
            _claim_wal(context, "single rows", dims, median([a - b for a, b in zip(wal["flat"], wal["bare"])]))


def _require_complete(context, db, table, rows):
    """The index holds every row just loaded: a fast load that lost rows would be no load."""
    count = "SELECT count(*) FROM (SELECT id FROM %s ORDER BY embedding <-> (SELECT embedding FROM %s LIMIT 1)) AS t"
    if context.options.am == "tandem":
        plan = db.plan(count % (table, table), "SET enable_seqscan = off", "SET enable_sort = off")
        context.require("%s_embedding" % table in plan, "the index is not used to count:\n" + plan)
        found = db.number("SET enable_seqscan = off", "SET enable_sort = off", count % (table, table))
        if found != rows:
            context.fail("the index of table %s returns %d of %d rows" % (table, found, rows))
