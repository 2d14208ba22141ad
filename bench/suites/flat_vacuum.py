"""flat-vacuum: VACUUM after deleting 10 % of a table that has only the vector index, only a btree, or no index.

The tables hold the same rows and lose the same ones: in repeat r those with id % 10 = r. Pages of the index touched
come from pg_statio_user_indexes: reading more than a small share of them means that vectors were read, which VACUUM
must not do.
"""

from harness.context import median, rate, ratios, spread

VARIANTS = ("bare", "btree", "flat")


def run(context):
    data = context.set("syn1m")
    rows = data.rows
    context.say("flat-vacuum: %s rows x %d, 10 %% deleted each time" % (rate(rows), data.dims))
    db = context.database()
    for name in VARIANTS:
        context.progress("loading table %s" % name)
        db.run("CREATE TABLE %s (id bigint, embedding vector(%d))" % (name, data.dims))
        context.tools.client("copy", db, sql="COPY %s FROM STDIN (FORMAT binary)" % name,
                             vectors=data.path("base.fvecs"), count=rows, batch=100_000)
    db.run("CREATE INDEX btree_id ON btree (id)", context.create_index("flat_embedding", "flat"))
    # The first VACUUM sets hint bits and the visibility map; it is no part of what is compared.
    db.run(*["VACUUM ANALYZE %s" % name for name in VARIANTS])

    seconds = {name: [] for name in VARIANTS}
    pages = {name: [] for name in VARIANTS}
    wal = {name: [] for name in VARIANTS}
    for repeat in range(min(context.repeats(5), 9)):
        for name in VARIANTS:
            db.run("DELETE FROM %s WHERE id %% 10 = %d" % (name, repeat), "CHECKPOINT")
            before, position = _pages(db, name), db.wal_position()
            seconds[name].append(db.timed("VACUUM (INDEX_CLEANUP ON) %s" % name))
            wal[name].append(db.wal_bytes_since(position))
            pages[name].append(_pages(db, name) - before)
        context.progress("repeat %d: %s s" % (repeat + 1, ", ".join("%.2f" % s[-1] for s in seconds.values())))

    gain = ratios(seconds["flat"], seconds["btree"])
    table = []
    for name in VARIANTS:
        index = {"btree": "btree_id", "flat": "flat_embedding"}.get(name)
        size = db.number("SELECT pg_relation_size('%s') / current_setting('block_size')::int" % index) if index else 0
        touched = median(pages[name])
        table.append((name, "%.2f" % median(seconds[name]), "%.1f" % (median(wal[name]) / 1e6), rate(size),
                      rate(touched), "%.3f" % (touched / size) if size else "-"))
        context.record("vacuum", data, variant=name, rows=rows, seconds=spread(seconds[name]),
                       wal_bytes=spread(wal[name]), index_pages=size, index_pages_touched=spread(pages[name]))
    context.table(("only index", "VACUUM s", "WAL MB", "index pages", "touched", "share"), table)
    context.record("vacuum", data, variant="ratio flat/btree", ratio=spread(gain))
    context.claim("VACUUM, flat index / btree", "%.2f x" % median(gain), median(gain) <= 3, "<= 3 x")
    # Row heads are about 8 of 520 bytes a row; a page visited twice counts twice.
    size = db.number("SELECT pg_relation_size('flat_embedding') / current_setting('block_size')::int")
    share = median(pages["flat"]) / size
    context.claim("index pages that VACUUM touches / index pages", "%.3f" % share, share <= 0.1,
                  "<= 0.1 (row heads, not vectors)")
    context.server.drop_database("tandem_bench")


def _pages(db, table):
    """Index page accesses so far, hits and reads."""
    return db.number(
        "SELECT pg_stat_force_next_flush()",
        "SELECT coalesce(sum(idx_blks_hit + idx_blks_read), 0) FROM pg_statio_user_indexes WHERE relname = '%s'" % table,
    )
