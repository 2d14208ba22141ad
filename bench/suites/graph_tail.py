"""graph-tail: median search time at 768 dimensions with 0, 1,000 and almost 10,000 rows that are in no graph yet.

The tail is measured right after it was loaded, before the worker takes it: fewer rows than tandem.seal_rows, younger than
tandem.naptime. That it was still there afterwards is checked.
"""

import tempfile

from harness.context import median, rate, spread
from suites import graphs

TAILS = (0, 1_000, 9_900)


def run(context):
    data = context.set("syn768")
    base = min(data.rows - max(TAILS), context.scaled(100_000, 1000)) if data.rows > max(TAILS) else data.rows // 2
    tails = [min(tail, context.scaled(tail, 20) if tail else 0) for tail in TAILS]
    context.say("graph-tail: %s rows x %d in graphs" % (rate(base), data.dims))
    db = context.database()
    graphs.create_table(db, data)
    db.run(graphs.create_index(data))
    graphs.load(context, db, data, count=base)
    db.run("VACUUM ANALYZE items")
    graphs.rest(context, db)

    lines = {tail: [] for tail in tails}
    loaded = base
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(context.repeats(3)):
            for tail in tails:
                if tail:
                    count = min(tail, data.rows - loaded)
                    if count < tail:
                        continue
                    graphs.load(context, db, data, count=count, offset=loaded, id_base=loaded)
                    loaded += count
                lines[tail].append(_search(context, db, data, tail))
                graphs.fold(context, db)
        graphs.rest(context, db)
        truth = graphs.truth_of(context, data, folder, rows=loaded)
        recall = graphs.search(context, db, data, truth)["recall"]
    table = []
    none = median(line["p50_us"] for line in lines[0])
    for tail, runs in lines.items():
        if not runs:
            continue
        p50 = spread(line["p50_us"] for line in runs)
        context.record("tail", data, variant="%d in the tail" % tail, rows=base, recall_of_graphs=recall, p50_us=p50,
                       backend_cpu_us=spread(line["backend_cpu_us"] for line in runs))
        table.append((rate(tail), "%.0f" % p50["median"], "%.2f" % (p50["median"] / none)))
    context.table(("rows in the tail", "p50 us", "of none"), table)
    context.say("  recall@10 of the graphs: %.4f" % recall)
    if lines[tails[-1]]:
        ratio = median(line["p50_us"] for line in lines[tails[-1]]) / none
        context.claim("p50 with %s rows in the tail / none, %d dims" % (rate(tails[-1]), data.dims), "%.2f x" % ratio,
                      ratio <= 4, "<= 4 x")
    context.server.drop_database("tandem_bench")


def _search(context, db, data, tail):
    line = context.tools.client(
        "query", db, sql=graphs.nearest(data), queries=data.path("query.fvecs"), limit=200, rounds=1, warmup=50,
        expect="Index Scan using items_embedding", setup=["SET enable_seqscan = off"])
    left = int(db.number("SELECT tail_rows FROM tandem_index_stats WHERE indexname = 'items_embedding'"))
    context.require(left == tail, "%d rows were in the tail at the end, not %d" % (left, tail))
    return line
