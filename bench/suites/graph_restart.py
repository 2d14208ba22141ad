"""graph-restart: the first search after a restart of the server, and when searches are as fast as ever, beside pgvector.

With the operating system's cache as a restart leaves it, and with the database's files dropped from it (by
posix_fadvise; what stayed is recorded). The statement is prepared before the first search; no one warms anything. The two
databases take turns at being the first one searched.
"""

import tempfile

from harness import os_cache
from harness.context import median, rate, ratios, spread
from harness.curves import steady, warm_after
from suites import graphs

SETS = ("fashion", "syn1m")
LARGEST = 200_000  # rows; more would only make pgvector's build longer


def run(context):
    if not context.server.can_restart():
        context.say("graph-restart: this server is not ours to restart; left out")
        return
    for name in context.options.sets or SETS:
        data = context.set(name)
        rows = min(data.rows, context.scaled(LARGEST, 1000))
        context.say("graph-restart: %s, %s rows x %d" % (name, rate(rows), data.dims))
        databases = {"tandem": context.database(), "pgvector": graphs.pgvector(context)}
        databases = {kind: db for kind, db in databases.items() if db}
        for kind, db in databases.items():
            graphs.create_table(db, data)
            graphs.load(context, db, data, count=rows)
            db.run("VACUUM ANALYZE items")
            context.progress("%s: building" % kind)
            (graphs.build if kind == "tandem" else graphs.build_pgvector)(context, db, data)
        _measure(context, data, rows, databases)
        context.server.drop_database("tandem_bench")
        context.server.drop_database("tandem_bench_pgvector")


def _measure(context, data, rows, databases):
    built = databases["tandem"].rows("SELECT segment_id FROM tandem_segments('items_embedding')")
    files = os_cache.files_of(databases.values())
    table = []
    for state in ("kept", "dropped"):
        first = {kind: [] for kind in databases}
        warm = {kind: [] for kind in databases}
        usual = {kind: [] for kind in databases}
        left = []
        for turn in range(context.repeats(5)):
            context.server.restart(lambda: left.append(os_cache.drop(files) if state == "dropped" else 1.0))
            for kind in sorted(databases, reverse=turn % 2 == 1):
                trace = _trace(context, databases[kind], data)
                first[kind].append(trace[0][1])
                warm[kind].append(warm_after(trace) / 1e3)
                usual[kind].append(steady(trace))
        if state == "dropped" and None in left:
            context.say("  the server's files are not ours to drop from the operating system's cache: only shared memory"
                        " was cold")
            continue
        for kind in databases:
            context.record("restart", data, variant="%s, cache %s" % (kind, state), rows=rows, first_us=spread(first[kind]),
                           warm_after_ms=spread(warm[kind]), steady_p50_us=spread(usual[kind]), share_in_cache=spread(left))
            table.append((kind, state, *("%.0f" % median(x[kind]) for x in (first, warm, usual))))
        if "pgvector" in databases:
            found = ratios(first["tandem"], first["pgvector"])
            context.claim("%s, system cache %s: first search after a restart / pgvector's" % (data.name, state),
                          "%.2f x" % median(found), median(found) <= 0.2, "<= 0.2 x")
    context.table(("index", "system cache", "first us", "warm after ms", "steady p50 us"), table)
    same = databases["tandem"].rows("SELECT segment_id FROM tandem_segments('items_embedding')") == built
    context.claim("%s: graphs after the restarts" % data.name, "the same" if same else "others", same, "the same")


def _trace(context, db, data):
    """(end, latency) in microseconds of searches from the first one on, for some seconds."""
    with tempfile.NamedTemporaryFile("r") as out:
        context.tools.client("query", db, **graphs.query_options(data), warmup=0, rounds=1000,
                             seconds=3 if context.options.scale >= 0.5 else 1, trace=out.name)
        return [tuple(map(float, line.split())) for line in out]
