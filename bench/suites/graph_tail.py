"""graph-tail: median search time at 768 dimensions with 0, 1,000, 10,000 and 50,000 rows that are in no graph yet.

The worker is held off by a naptime of a day and seal_rows beyond reach; that the tail was there afterwards is checked. Each
turn goes through the tails from none up; before the next one they are folded. Ratios are of the same turn.
"""

import tempfile

from harness.context import median, rate, ratios, spread
from suites import graphs

# Rows in the tail: time at most, of none; the second one is the older target.
TAILS = {0: (), 1_000: (1.1,), 10_000: (1.6, 4), 50_000: (4,)}
QUERIES = 200


def run(context):
    data = context.set("syn768")
    turns = context.repeats(2)
    grown = turns * max(TAILS)
    base = data.rows - grown if data.rows > grown else data.rows // 2
    tails = {context.scaled(tail, 20) if tail else 0: targets for tail, targets in TAILS.items()}
    context.say("graph-tail: %s rows x %d in graphs" % (rate(base), data.dims))
    db = context.database()
    graphs.create_table(db, data)
    graphs.load(context, db, data, count=base)
    db.run("VACUUM ANALYZE items")
    graphs.build(context, db, data)
    lines = {tail: [] for tail in tails}
    loaded = base
    held_off = db.configured(naptime="1d", seal_rows=2**31 - 1, build_threads=context.cores())
    with tempfile.TemporaryDirectory() as folder, held_off:
        for turn in range(turns):
            context.progress("turn %d" % (turn + 1))
            graphs.prewarm(db)
            first = loaded
            for tail in tails:
                more = min(first + tail, data.rows) - loaded
                if more:
                    graphs.load(context, db, data, count=more, offset=loaded, id_base=loaded)
                    loaded += more
                if loaded - first == tail:
                    lines[tail].append(_search(context, db, data, loaded, tail, folder))
            if turn + 1 < turns:
                with context.all_cores():
                    graphs.fold(context, db)
    _report(context, data, base, lines, tails)
    context.server.drop_database("tandem_bench")


def _search(context, db, data, rows, tail, folder):
    truth = graphs.truth_of(context, data, folder, rows=rows, queries=min(QUERIES, data.queries))
    line = context.tools.client("query", db, **graphs.query_options(data, truth), limit=QUERIES, rounds=3)
    left = int(db.number("SELECT tail_rows FROM tandem_index_stats WHERE indexname = 'items_embedding'"))
    context.require(left == tail, "%d rows were in the tail at the end, not %d" % (left, tail))
    return line


def _report(context, data, base, lines, tails):
    table = []
    for tail, runs in lines.items():
        if not runs:
            continue
        p50 = spread(line["p50_us"] for line in runs)
        found = spread(ratios([line["p50_us"] for line in runs], [line["p50_us"] for line in lines[0]]))
        recall = min(line["recall"] for line in runs)
        context.record("tail", data, variant="%d in the tail" % tail, rows=base, recall=recall, k=10, p50_us=p50,
                       of_none=found, backend_cpu_us=spread(line["backend_cpu_us"] for line in runs))
        table.append((rate(tail), "%.0f" % p50["median"], "%.2f" % found["median"], "%.4f" % recall))
    context.table(("rows in the tail", "p50 us", "of none", "recall@10"), table)
    none = min(line["recall"] for line in lines[0])
    for tail, targets in tails.items():
        if not lines[tail]:
            continue
        found = median(ratios([line["p50_us"] for line in lines[tail]], [line["p50_us"] for line in lines[0]]))
        for target in targets:
            context.claim("p50 with %s rows in the tail / none, %d dims" % (rate(tail), data.dims), "%.2f x" % found,
                          found <= target, "<= %g x" % target)
        if tail:
            recall = min(line["recall"] for line in lines[tail])
            context.claim("recall@10 with %s rows in the tail, below none" % rate(tail), "%.4f" % (none - recall),
                          recall >= none - 0.01, "<= 0.01")
