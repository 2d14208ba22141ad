"""graph-recall: recall of graphs built in the background, at the defaults, beside hnswlib with the same parameters.

Fashion-MNIST with every setting at its default, and ACL abstracts with ef_search 100, loaded by COPY. Then, on
Fashion-MNIST: half of the rows deleted and put back in five steps of a tenth, with VACUUM in between, as a table lives;
20 % deleted; each time against a fresh build (REINDEX) of the same rows.
"""

import tempfile

from suites import graphs

CASES = (("fashion", graphs.EF_SEARCH), ("acl", 100))


def run(context):
    context.say("graph-recall: m %d, ef_construction %d" % (graphs.M, graphs.EF_CONSTRUCTION))
    table = []
    for name, ef in CASES:
        data = context.set(name)
        db = _load(context, data)
        line = _measure(context, db, data, data.path("gt.ivecs"), "loaded", ef, table)
        context.claim("%s, ef_search %d: recall@10 after COPY and background build" % (name, ef),
                      "%.4f" % line["recall"], line["recall"] >= 0.95, ">= 0.95")
        reference = graphs.hnswlib(context, data, data.path("gt.ivecs"), ef,
                                   index=data.path("hnswlib-m16-efc128.graph"))
        if reference:
            other = reference[1]
            table.append((name, "hnswlib in process", ef, "-", "%.4f" % other["recall"], "%.0f" % other["p50_us"]))
            context.record("loaded", data, variant="hnswlib in process", ef=ef, k=10, recall=other["recall"],
                           p50_us=other["p50_us"], p99_us=other["p99_us"], backend_cpu_us=None, segments=None)
            context.claim("%s: recall below hnswlib's" % name, "%.4f" % (other["recall"] - line["recall"]),
                          line["recall"] >= other["recall"] - 0.01, "<= 0.01")
        if name == "fashion":
            _churn(context, db, data, table)
            _delete(context, db, data, table)
    context.table(("set", "state", "ef", "segments", "recall@10", "p50 us"), table)
    context.server.drop_database("tandem_bench")


def _load(context, data):
    context.progress("%s: loading" % data.name)
    db = context.database()
    graphs.create_table(db, data)
    db.run(graphs.create_index(data))
    graphs.load(context, db, data)
    db.run("VACUUM ANALYZE items")
    seconds = graphs.rest(context, db)
    context.progress("%s: at rest after %.0f s" % (data.name, seconds))
    if context.options.scale >= 0.5:
        context.require(graphs.by_graph(db, data), "searches do not go through graphs")
    return db


def _measure(context, db, data, truth, state, ef, table):
    settings = [] if ef == graphs.EF_SEARCH else ["SET tandem.ef_search = %d" % ef]
    line = graphs.search(context, db, data, truth, settings=settings, rounds=context.repeats(3))
    count = graphs.segments(db)
    table.append((data.name, state, ef, count, "%.4f" % line["recall"], "%.0f" % line["p50_us"]))
    context.record(state, data, variant="tandem", ef=ef, k=10, recall=line["recall"], p50_us=line["p50_us"],
                   p99_us=line["p99_us"], backend_cpu_us=line["backend_cpu_us"], segments=count, plan=line["plan"])
    return line


def _fresh(context, db, data, truth, state, table):
    db.run("REINDEX INDEX items_embedding")
    graphs.rest(context, db)
    return _measure(context, db, data, truth, state + ", fresh build", graphs.EF_SEARCH, table)["recall"]


def _churn(context, db, data, table):
    context.progress("replacing half of the rows")
    db.run("CREATE UNLOGGED TABLE kept AS SELECT * FROM items WHERE id % 2 = 0")
    for step in range(0, 10, 2):
        db.run("DELETE FROM items WHERE id %% 10 = %d" % step, "VACUUM (INDEX_CLEANUP ON) items",
               "INSERT INTO items SELECT * FROM kept WHERE id %% 10 = %d" % step)
    graphs.rest(context, db)
    truth = data.path("gt.ivecs")
    after = _measure(context, db, data, truth, "half replaced", graphs.EF_SEARCH, table)["recall"]
    fresh = _fresh(context, db, data, truth, "half replaced", table)
    context.claim("recall after replacing half of the rows, below a fresh build's", "%.4f" % (fresh - after),
                  after >= fresh - 0.01, "<= 0.01")


def _delete(context, db, data, table):
    context.progress("deleting a fifth of the rows")
    with tempfile.TemporaryDirectory() as folder:
        truth = graphs.truth_of(context, data, folder, keep=lambda i: i % 5 != 3)
        db.run("DELETE FROM items WHERE id % 5 = 3", "VACUUM (INDEX_CLEANUP ON) items")
        before = _measure(context, db, data, truth, "a fifth deleted", graphs.EF_SEARCH, table)["recall"]
        graphs.rest(context, db)
        after = _measure(context, db, data, truth, "a fifth deleted, at rest", graphs.EF_SEARCH, table)["recall"]
        fresh = _fresh(context, db, data, truth, "a fifth deleted", table)
    context.claim("recall after deleting a fifth, before any merge, below a fresh build's", "%.4f" % (fresh - before),
                  before >= fresh - 0.005, "<= 0.005")
    context.claim("recall after deleting a fifth, at rest, below a fresh build's", "%.4f" % (fresh - after),
                  after >= fresh - 0.005, "<= 0.005")
