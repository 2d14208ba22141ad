"""flat-exact: top 10 of Fashion-MNIST through the index against the exact answer, alone and beside a writer.

Every query is judged by distance in double precision (rows at equal distance are equally right), with its rows in
order and none twice. Two copies of the data: one indexed after loading, one loaded through the index. Then three
times beside a writer: none of its rows may show up.
"""

import json
import subprocess
import time

from harness.context import SuiteFailed
from suites.pgbench_mix import script

QUERY = "SELECT id FROM %s ORDER BY embedding <-> $1 LIMIT 10"
WRITER_IS_DONE = 43  # advisory lock that the writer of the snapshot case holds once it has committed
READER_HAS_SNAPSHOT = 42


def run(context):
    data = context.set("fashion")
    db = context.database()
    context.say("flat-exact: %d rows x %d, %d queries, k 10" % (data.rows, data.dims, data.queries))
    _load(context, db, data)

    results = [
        ("index built after loading", _search(context, db, data, "items")),
        ("loaded through the index", _search(context, db, data, "loaded")),
        ("4 connections", _search(context, db, data, "items", connections=4, limit=-(-data.queries // 4))),
    ]
    results.append(("beside insert, delete, rollback, VACUUM", _beside_churn(context, db, data)))
    results.append(("one snapshot beside committed changes", _in_snapshot(context, db, data)))
    rows = []
    for case, line in results:
        exact = "%d / %d" % (line["exact"], line["judged"])
        rows.append((case, exact, "%.4f" % line["recall"], "%.0f" % line["p50_us"], line.get("other_session", "")))
        context.record(case, data, k=10, recall=line["recall"], exact=line["exact"], judged=line["judged"],
                       qps=line["qps"], p50_us=line["p50_us"], p99_us=line["p99_us"],
                       other_session=line.get("other_session"), plan=line["plan"])
        if line["exact"] != line["judged"]:
            context.fail("%s: only %s queries are exact" % (case, exact))
    context.table(("case", "exact", "recall@10", "p50 us", "other session"), rows)
    wrong = _against_sequential(db, 50 if context.options.scale >= 0.5 else 10)
    if wrong:
        context.fail("after the changes, %d queries differ between index and sequential scan" % wrong)
    context.claim_chosen(db, "top 10", "items_embedding", sql=QUERY % "items", queries=data.path("query.fvecs"))
    exact = min(line["exact"] for _, line in results)
    judged = min(line["judged"] for _, line in results)
    context.claim("queries exact in every case", "%d of %d" % (exact, judged), exact == judged and not wrong, "all")
    context.server.drop_database("tandem_bench")


def _load(context, db, data):
    for table in ("items", "loaded"):
        db.run(data.create_table(table))
        db.run("ALTER TABLE %s ADD PRIMARY KEY (id)" % table)
    db.run("CREATE TABLE wanted (id bigint PRIMARY KEY, embedding vector(%d))" % data.dims)
    db.run("CREATE TABLE distant (embedding vector(%d))" % data.dims)
    db.run("INSERT INTO distant SELECT array_fill(1000::real, ARRAY[%d])::vector" % data.dims)
    copy = "COPY %s FROM STDIN (FORMAT binary)"
    context.progress("loading")
    context.tools.client("copy", db, sql=copy % "items", file=data.path("rows.copy"))
    context.tools.client("copy", db, sql=copy % "wanted", vectors=data.path("query.fvecs"))
    db.run(context.create_index("items_embedding", "items"))
    db.run(context.create_index("loaded_embedding", "loaded"))
    context.tools.client("copy", db, sql=copy % "loaded", file=data.path("rows.copy"))
    db.run("VACUUM ANALYZE")


def _search_options(data, table, **more):
    options = dict(
        sql=QUERY % table, queries=data.path("query.fvecs"), truth=data.path("gt.ivecs"), base=data.path("base.fvecs"),
        metric=data.metric, k=10, rounds=1, warmup=0, expect="%s_embedding" % table,
        setup=["SET enable_seqscan = off"],
    )
    options["setup"] += more.pop("setup", [])
    options.update(more)
    return options


def _search(context, db, data, table, **more):
    context.progress("searching %s" % table)
    return context.tools.client("query", db, **_search_options(data, table, **more))


def _beside_churn(context, db, data):
    """Exact searches while pgbench inserts, deletes, rolls back and vacuums."""
    context.progress("searching beside a writer")
    line = [db.program("pgbench"), "-n", "-c", "2", "-T", "3600", "-D", "queries=%d" % data.queries,
            "-f", script("churn") + "@60", "-f", script("vacuum") + "@1", db.conninfo()]
    before = _transactions(db)
    began = time.monotonic()
    writer = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        time.sleep(1.0)
        result = _search(context, db, data, "items")
        if writer.poll() is not None:
            raise SuiteFailed("the writer stopped: %s" % writer.stderr.read()[-500:])
    finally:
        writer.terminate()
        writer.communicate()
    rate = (_transactions(db) - before) / (time.monotonic() - began)
    result["other_session"] = "%.0f commits/s" % rate
    _wait_until_alone(db)
    db.run("DELETE FROM items WHERE id >= 10000000", "VACUUM items")
    return result


def _in_snapshot(context, db, data):
    """A repeatable-read reader whose snapshot is older than committed changes that would alter every answer."""
    context.progress("searching in a snapshot")
    wait = (
        "DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = %d) LOOP "
        "PERFORM pg_sleep(0.05); END LOOP; END $$" % WRITER_IS_DONE
    )
    setup = ["BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT count(*) FROM wanted",
             "SELECT pg_advisory_lock(%d)" % READER_HAS_SNAPSHOT, wait]
    reader = context.tools.start_client("query", db, **_search_options(data, "items", setup=setup, finish="COMMIT"))
    seen = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = %d AND granted" % READER_HAS_SNAPSHOT
    while db.value(seen) == "0":
        if reader.poll() is not None:
            raise SuiteFailed(reader.stderr.read())
        time.sleep(0.05)
    writer = subprocess.Popen(
        db.psql_command(
            "INSERT INTO items (id, embedding) SELECT 30000000 + id, embedding FROM wanted",
            "DELETE FROM items WHERE id % 7 = 0 AND id < 10000000",
            "VACUUM items",
            "SELECT pg_advisory_lock(%d)" % WRITER_IS_DONE,
            "SELECT pg_advisory_lock(%d)" % READER_HAS_SNAPSHOT,  # to be had when the reader has seen the other one, and is done
        ),
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )
    output, errors = reader.communicate()
    _, writer_errors = writer.communicate()
    if reader.returncode != 0 or writer.returncode != 0:
        raise SuiteFailed(errors + writer_errors)
    result = json.loads(output.splitlines()[-1])
    result["other_session"] = "%d rows in, 1/7 out" % data.queries
    return result


def _against_sequential(db, queries):
    """How many queries get other distances from the index than from a sequential scan, on the table as it is now."""
    answers = (
        "SELECT w.id, (SELECT string_agg(d::text, ' ' ORDER BY d) FROM (SELECT i.embedding <-> w.embedding AS d "
        "FROM items i ORDER BY i.embedding <-> w.embedding LIMIT 10) AS nearest) FROM wanted w ORDER BY w.id LIMIT %d"
        % queries
    )
    with_index = db.rows("SET enable_seqscan = off", answers)
    without = db.rows("SET enable_indexscan = off", answers)
    return sum(a != b for a, b in zip(with_index, without)) + abs(len(with_index) - len(without))


def _transactions(db):
    return db.number("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")


def _wait_until_alone(db):
    others = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND backend_type = 'client backend'"
    )
    for _ in range(1800):
        if db.value(others) == "0":
            return
        time.sleep(0.1)
    raise SuiteFailed("the writer's sessions do not end")
