"""budget-restart: after a restart with a cold cache of the operating system, how long until searches are as fast as before, beside pgvector.

One index at a time, each warm before its server is stopped: ours comes back by the worker, which loads what was hot; pgvector's table and index
by pg_prewarm, which is preloaded and reads what was in shared_buffers when the server was stopped; and ours with pg_prewarm as well. The
database's files are dropped from the operating system's cache in between. Searches start as soon as the server takes connections and
wait for nothing; no query comes twice. The figure is when their rate has come to nine tenths of what it was, counted from when the server
was told to start, and from when it took connections.
"""

import contextlib
import tempfile
import time

from harness import os_cache
from harness.context import median, rate, ratios, spread
from harness.curves import reaches
from suites import graphs

SETS = ("syn1m",)
ROWS = 200_000  # more would only make pgvector's build longer
QUERIES = 60_000  # rows of the set that are not in the table, at the most
WARM_SECONDS, TRACE_SECONDS = 4, 8
PRELOADED = {"tandem": "tandem", "pgvector with pg_prewarm": "pg_prewarm", "tandem with pg_prewarm": "tandem, pg_prewarm"}


def run(context):
    if not context.server.can_restart():
        context.say("budget-restart: this server is not ours to restart; left out")
        return
    for name in context.options.sets or SETS:
        data = context.set(name)
        rows = min(context.scaled(ROWS, 1000), data.rows // 2)
        context.say("budget-restart: %s, %s rows x %d" % (name, rate(rows), data.dims))
        databases = {"tandem": context.database(), "pgvector": graphs.pgvector(context)}
        databases = {kind: db for kind, db in databases.items() if db}
        for kind, db in databases.items():
            graphs.create_table(db, data)
            graphs.load(context, db, data, count=rows)
            db.run("VACUUM ANALYZE items")
            context.progress("%s: building" % kind)
            (graphs.build if kind == "tandem" else graphs.build_pgvector)(context, db, data)
            db.run("CHECKPOINT")
        with context.all_cores():
            _measure(context, data, rows, databases)
        for db in databases.values():
            context.server.drop_database(db.database)


def _measure(context, data, rows, databases):
    variants = {name: databases[name.split()[0]] for name in PRELOADED if name.split()[0] in databases}
    found = {name: [] for name in variants}
    for turn in range(context.repeats(5)):
        for name in sorted(variants, reverse=turn % 2 == 1):
            context.progress("%s, turn %d" % (name, turn + 1))
            one = _restart(context, variants[name], data, rows, PRELOADED[name])
            if one is None:
                context.say("  the server's files are not ours to drop from the operating system's cache; left out")
                return
            context.progress("%s/s again after %.0f ms, %.0f ms from when connections are taken" % (rate(one["qps"]), one["ms"], one["connected_ms"]))
            found[name].append(one)
    table = []
    for name, runs in found.items():
        of = {key: [one[key] for one in runs] for key in runs[0]}
        context.record("restart", data, variant=name, rows=rows, qps=spread(of["qps"]), warm_after_ms=spread(of["ms"]),
                       warm_after_connected_ms=spread(of["connected_ms"]), first_us=spread(of["first_us"]), share_in_cache=spread(of["left"]))
        table.append((name, rate(median(of["qps"])), *("%.0f" % median(of[key]) for key in ("ms", "connected_ms", "first_us"))))
    context.table(("index", "warm QPS", "0.9 of it after ms", "from connections on", "first us"), table)
    for name in found:
        if name == "pgvector with pg_prewarm" or "pgvector" not in databases:
            continue
        compared = {key: median(ratios(*([one[key] for one in found[side]] for side in (name, "pgvector with pg_prewarm"))))
                    for key in ("ms", "connected_ms")}
        context.claim("%s: time until %s is at nine tenths of its rate after a restart / pgvector's with pg_prewarm; from when connections are taken"
                      % (data.name, name), "%.2f x; %.2f x" % (compared["ms"], compared["connected_ms"]), compared["ms"] <= 0.5, "<= 0.5 x")


def _restart(context, db, data, rows, preloaded):
    """One restart from a warm server: its rate before, and how long until there again. None if files could not be dropped."""
    with _preloaded(context.server, preloaded):
        graphs.prewarm(db)
        queries = dict(graphs.query_options(data), queries=data.path("base.fvecs"))
        scale = min(1, 2 * context.options.scale)
        warm = min(QUERIES, data.rows - rows) // 4
        before = context.tools.client("query", db, **queries, offset=rows, limit=warm, warmup=500, rounds=1000, seconds=WARM_SECONDS * scale)
        files, left, ordered = os_cache.files_of([db]), [], []

        def while_down():
            left.append(os_cache.drop(files))
            ordered.append(time.monotonic())

        context.server.restart(while_down)
        connected = time.monotonic()
        if left[0] is None:
            return None
        with tempfile.NamedTemporaryFile("r") as out:
            line = context.tools.client("query", db, **queries, offset=rows + warm, limit=min(QUERIES, data.rows - rows) - warm,
                                        warmup=0, rounds=1000, seconds=TRACE_SECONDS * scale, trace=out.name)
            trace = [tuple(map(float, text.split())) for text in out]
    after = reaches(trace, 0.9 * before["qps"])
    after = trace[-1][0] if after is None else after  # at the least
    return dict(qps=before["qps"], left=left[0], first_us=trace[0][1], ms=1e3 * (line["started"] - ordered[0]) + after / 1e3,
                connected_ms=1e3 * (line["started"] - connected) + after / 1e3)


@contextlib.contextmanager
def _preloaded(server, libraries):
    """The server preloads these while the block runs."""
    server.run("ALTER SYSTEM SET shared_preload_libraries = %s" % libraries)
    server.restart()
    try:
        yield
    finally:
        server.run("ALTER SYSTEM RESET shared_preload_libraries")
        server.restart()
