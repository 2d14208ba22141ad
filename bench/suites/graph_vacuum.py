"""graph-vacuum: VACUUM after deleting a fifth of the rows, against pgvector; recall before and after the merge."""

import tempfile

from harness.context import rate
from suites import graphs

DELETE = "DELETE FROM items WHERE id % 5 = 3"


def run(context):
    data = context.set("syn1m")
    rows = min(data.rows, context.scaled(100_000, 1000))
    context.say("graph-vacuum: %s rows x %d, 20 %% deleted" % (rate(rows), data.dims))
    table = []
    db = context.database()
    ours = _tandem(context, db, data, rows, table)
    context.server.drop_database("tandem_bench")
    other = graphs.pgvector(context)
    if other:
        theirs = _pgvector(context, other, data, rows, table)
        context.claim("VACUUM / pgvector's", "%.4f x" % (ours / theirs), ours <= 0.01 * theirs, "<= 0.01 x")
        context.server.drop_database("tandem_bench_pgvector")
    context.table(("index", "state", "VACUUM s", "segments", "recall@10"), table)


def _tandem(context, db, data, rows, table):
    graphs.create_table(db, data)
    db.run(graphs.create_index(data))
    graphs.load(context, db, data, count=rows)
    graphs.rest(context, db)
    db.run("VACUUM ANALYZE items", DELETE, "CHECKPOINT")
    seconds = db.timed("VACUUM (INDEX_CLEANUP ON) items")
    recall = {}
    with tempfile.TemporaryDirectory() as folder:
        truth = graphs.truth_of(context, data, folder, rows=rows, keep=lambda i: i % 5 != 3)

        def look(state):
            recall[state] = graphs.search(context, db, data, truth)["recall"]
            count = graphs.segments(db)
            table.append(("tandem", state, "%.3f" % seconds if state == "vacuumed" else "", count,
                          "%.4f" % recall[state]))
            context.record("vacuum", data, variant="tandem, " + state, rows=rows, seconds=seconds, recall=recall[state],
                           segments=count)

        look("vacuumed")
        graphs.rest(context, db)
        look("at rest")
        db.run("REINDEX INDEX items_embedding")
        graphs.rest(context, db)
        look("fresh build")
    for state in ("vacuumed", "at rest"):
        context.claim("recall, %s, below a fresh build's" % state, "%.4f" % (recall["fresh build"] - recall[state]),
                      recall[state] >= recall["fresh build"] - 0.005, "<= 0.005")
    return seconds


def _pgvector(context, db, data, rows, table):
    graphs.create_table(db, data)
    graphs.load(context, db, data, count=rows)
    context.progress("pgvector: building")
    db.run(graphs.create_index(data, method="hnsw"), "VACUUM ANALYZE items", DELETE, "CHECKPOINT")
    context.progress("pgvector: VACUUM")
    seconds = db.timed("VACUUM (INDEX_CLEANUP ON) items")
    with tempfile.TemporaryDirectory() as folder:
        truth = graphs.truth_of(context, data, folder, rows=rows, keep=lambda i: i % 5 != 3)
        recall = graphs.search(context, db, data, truth)["recall"]
    table.append(("pgvector", "vacuumed", "%.3f" % seconds, "", "%.4f" % recall))
    context.record("vacuum", data, variant="pgvector", rows=rows, seconds=seconds, recall=recall)
    return seconds
