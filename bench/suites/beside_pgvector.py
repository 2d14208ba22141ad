"""beside-pgvector: one database with both extensions, one type of column, an index of each: time until all rows are indexed, recall and
speed; and exact searches of pgvector's type against those of ours.

The column is pgvector's `vector`, the operators are pgvector's, ours is the index that extension tandem_pgvector has a class for. Two tables
with the same rows, as of two indexes on one the planner takes what it thinks cheaper; at the end it is asked to, and left with ours alone.
"""

from harness.context import median, rate, ratios, spread
from harness.curves import paired
from suites import engines, graphs

PIN = "same"
RECALL = 0.95
SETS = ("fashion", "acl-title")
DATABASE = "tandem_bench_pgvector"
TABLES = {"tandem": "ours", "pgvector": "items"}
ROUNDS = {"tandem": 4, "pgvector": 1}
EXACT_QUERIES = 20


def run(context):
    if context.options.extension != "tandem" or not context.server.offers("vector"):
        context.say("  the server does not offer pgvector: nothing to be beside of")
        return
    for name in context.options.sets or SETS:
        data = context.set(name)
        context.say("beside-pgvector: %s, %s rows x %d, %s, m %d, ef_construction %d"
                    % (name, rate(data.rows), data.dims, data.metric, graphs.M, graphs.EF_CONSTRUCTION))
        db = _database(context)
        _load(context, db, data)
        _compare(context, data, db)
        _plans(context, data, db)
        _exact(context, data, db)
        context.server.drop_database(DATABASE)


def _database(context):
    db = context.server.fresh_database(DATABASE, "vector")
    db.run("CREATE SCHEMA tandem", "CREATE EXTENSION tandem SCHEMA tandem", "CREATE EXTENSION tandem_pgvector",
           "ALTER DATABASE %s SET search_path = public, tandem" % DATABASE)
    return db


def _load(context, db, data):
    for table in TABLES.values():
        graphs.create_table(db, data, table)
        graphs.load(context, db, data, table)
        db.run("VACUUM ANALYZE %s" % table)
    context.progress("the worker builds")
    ours = graphs.build(context, db, data, TABLES["tandem"])
    context.progress("pgvector: building")
    graphs.claim_build(context, data, ours, graphs.build_pgvector(context, db, data, TABLES["pgvector"]))
    db.run("CHECKPOINT")
    for table in TABLES.values():
        graphs.prewarm(db, table)


def _compare(context, data, db):
    both = [engines.Sql(context, name, db, data, data.path("gt.ivecs"), ROUNDS[name], table) for name, table in TABLES.items()]
    lines = engines.take_turns(context, both, 0.90, RECALL + 0.002, context.repeats(3))
    engines.record(context, data, lines, segments=graphs.segments(db, "ours_embedding"))
    context.table(("index", "ef", "recall@10", "QPS", "p50 us", "p99 us"), engines.shown(lines))
    found = paired(*(engines.curves(lines[name]) for name in TABLES), RECALL)
    if found:
        context.record("ratio", data, variant="tandem / pgvector", recall=RECALL, k=10, ratio=spread(found))
        context.claim("%s, recall %.2f: queries/s / pgvector's index, same column type" % (data.name, RECALL),
                      "%.2f x" % median(found), median(found) >= 1, ">= 1 x")


def _plans(context, data, db):
    """On one table: with both indexes either, without pgvector's ours, at a recall that is worth it."""
    table = TABLES["pgvector"]
    db.run("ALTER INDEX %s_embedding RENAME TO theirs" % table)
    with context.all_cores(), db.configured(naptime=context.naptime(), build_threads=context.cores()):
        db.run(graphs.create_index(data, table))
        graphs.fold(context, db, "%s_embedding" % table)
    with_both = _chosen(data, db, table)
    db.run("DROP INDEX theirs")
    alone = _chosen(data, db, table)
    context.claim("%s: what the planner takes without pgvector's index (with both: %s)" % (data.name, with_both), alone, alone == "ours", "ours")
    # On the way to that recall the effort is doubled: defaults are for the sets that pgvector's were chosen for.
    for ef in (graphs.EF_SEARCH, 2 * graphs.EF_SEARCH, 4 * graphs.EF_SEARCH):
        line = graphs.search(context, db, data, data.path("gt.ivecs"), table, settings=["SET tandem.ef_search = %d" % ef])
        if line["recall"] >= RECALL:
            break
    context.claim("%s: recall@10 against exact search, at ef %d" % (data.name, ef), "%.4f" % line["recall"],
                  line["recall"] >= RECALL, ">= %g" % RECALL)


def _chosen(data, db, table):
    plan = db.plan(graphs.nearest(data, table).replace("$1", "(SELECT embedding FROM %s LIMIT 1)" % table))
    return "pgvector's" if "theirs" in plan else "ours" if "%s_embedding" % table in plan else "a sort"


def _exact(context, data, db):
    """Strategy flat on pgvector's type, whose function is called for each row, on ours, and pgvector's way: a sort."""
    db.run("DROP INDEX items_embedding", "DROP INDEX ours_embedding", "ALTER TABLE ours ALTER COLUMN embedding TYPE tandem.vector(%d)" % data.dims)
    ways = {"flat, pgvector's type": ("items", "tandem"), "flat, our type": ("ours", "tandem"), "sort, pgvector's type": ("items", None)}
    for table in TABLES.values():
        db.run("CREATE INDEX %s_embedding ON %s USING tandem (embedding %s)"
               % (table, table, ("tandem." if table == "ours" else "") + graphs.OPERATORS[data.metric][1]))
        _prewarm_flat(db, table)
    times = {way: [] for way in ways}
    for _ in range(context.repeats(5)):
        for way, (table, method) in ways.items():
            index = method is not None
            times[way].append(_seconds(context, db, data, table, index))
    context.table(("exact search", "ms"), [(way, "%.1f" % (1000 * median(values))) for way, values in times.items()])
    for way in ("flat, our type", "sort, pgvector's type"):
        found = ratios(times["flat, pgvector's type"], times[way])
        context.record("exact", data, variant="flat of pgvector's type / " + way, ratio=spread(found))
        context.say("           %s: flat of pgvector's type / %s: %.2f x" % (data.name, way, median(found)))


def _prewarm_flat(db, table):
    db.run("SELECT pg_prewarm('%s_embedding')" % table, "VACUUM ANALYZE %s" % table)


def _seconds(context, db, data, table, by_index):
    setup = ["SET enable_seqscan = off"] if by_index else ["SET enable_indexscan = off", "SET tandem.enable_custom_scan = off"]
    shown = {"expect": "%s_embedding" % table} if by_index else {"forbid": "%s_embedding" % table}
    sql = "SELECT id FROM %s ORDER BY embedding %s $1 LIMIT 10" % (
        table, ("OPERATOR(tandem.%s)" if table == "ours" else "%s") % graphs.OPERATORS[data.metric][0])
    line = context.tools.client("query", db, sql=sql, queries=data.path("query.fvecs"), setup=setup, limit=EXACT_QUERIES, rounds=1,
                                warmup=1, **shown)
    return line["p50_us"] / 1e6
