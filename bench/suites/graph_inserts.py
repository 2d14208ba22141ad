"""graph-inserts: latency of searches while rows come in steadily and the worker folds them on the other core.

Held against the same index at rest right before, in memory both times. The searching client and its backend have one core;
the inserts, their backend and the worker have the other one.
"""

import json
import time

from harness.context import median, rate, ratios, spread
from suites import graphs

PER_SECOND, BATCH = 10_000, 100  # rows; of one COPY, which is one transaction


def run(context):
    data = context.set("syn1m")
    rows = min(data.rows, context.scaled(200_000, 1000))
    cores = context.core_list()
    if context.server.pinned_to() is None or len(cores) < 2:
        context.say("graph-inserts: needs a server that can be bound to a core; left out")
        return
    context.say("graph-inserts: %s rows x %d at the beginning, then %s rows/s by COPY of %d"
                % (rate(rows), data.dims, rate(PER_SECOND), BATCH))
    db = context.database()
    graphs.create_table(db, data)
    graphs.load(context, db, data, count=rows)
    db.run("VACUUM ANALYZE items")
    graphs.build(context, db, data)
    lines = {"at rest": [], "during inserts": []}
    tails, speeds = [], []
    for turn in range(context.repeats(3)):
        context.progress("turn %d" % (turn + 1))
        graphs.prewarm(db)
        with context.bound_to(cores[0]):
            lines["at rest"].append(_search(context, db, data, cores[1]))
            loader, count = _start_inserts(context, db, data, rows)
            lines["during inserts"].append(_search(context, db, data, cores[1]))
            tails.append(_tail(db))
            out, errors = loader.communicate()
            context.require(loader.returncode == 0, "the inserts failed: %s" % errors)
        speeds.append(json.loads(out)["rows_per_second"])
        rows += count
        with context.all_cores(), db.configured(naptime=context.naptime(), build_threads=context.cores()):
            graphs.rest(context, db)
    _report(context, data, lines, tails, speeds)
    context.server.drop_database("tandem_bench")


def _seconds(context):
    return 10 if context.options.scale >= 0.5 else 2


def _search(context, db, data, core):
    return context.tools.client("query", db, **graphs.query_options(data), rounds=1_000_000, seconds=_seconds(context),
                                cores=core)


def _start_inserts(context, db, data, rows):
    """(process, rows that it will have inserted), some seconds more than the searches take."""
    count = PER_SECOND * (_seconds(context) + 3)
    process = context.tools.start_client("copy", db, sql=graphs.COPY % "items", vectors=data.path("base.fvecs"),
                                         batch=BATCH, rate=PER_SECOND, offset=rows, id_base=rows, count=count)
    time.sleep(1)  # until it has encoded its rows and begun
    return process, count


def _tail(db):
    return int(db.number("SELECT tail_rows FROM tandem_index_stats WHERE indexname = 'items_embedding'"))


def _report(context, data, lines, tails, speeds):
    table = []
    for state, runs in lines.items():
        figures = {key: spread(line[key] for line in runs) for key in ("qps", "p50_us", "p99_us")}
        context.record("searches", data, variant=state, inserted_per_second=spread(speeds), tail_rows=spread(tails), **figures)
        table.append((state, *("%.0f" % figure["median"] for figure in figures.values())))
    context.table(("index", "QPS", "p50 us", "p99 us"), table)
    context.say("  at the end of a turn %s rows were in no graph (median)" % rate(median(tails)))
    context.claim("rows/s inserted", rate(median(speeds)), median(speeds) >= 0.98 * PER_SECOND, ">= 98 %% of %d" % PER_SECOND)
    found = ratios([line["p99_us"] for line in lines["during inserts"]], [line["p99_us"] for line in lines["at rest"]])
    context.claim("p99 of searches, during inserts / at rest", "%.2f" % median(found), median(found) <= 1.5, "<= 1.5")
