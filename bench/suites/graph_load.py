"""graph-load: what graphs cost those who write: COPY, single-row commits, WAL, and the worker's processor time.

1. COPY into an index of strategy flat and into one of strategy hnsw_batch, in turn, the worker folding meanwhile on the
   other core (nothing is pinned to one in this suite); WAL per row until the worker is at rest; pgvector's HNSW with the
   same parameters, into a graph that is already there.
2. Rows that the worker indexes per second of its processor time, against hnswlib's addPoint alone on the same rows.
3. Latency of single-row commits, the worker idle and busy with another table, in turn.
"""

import tempfile
import time

from harness.context import median, rate, ratios, spread
from suites import graphs

INSERT = "INSERT INTO %s (id, embedding) VALUES ($1, $2)"


def run(context):
    data = context.set("syn1m")
    rows = min(data.rows, context.scaled(200_000, 1000))
    with context.all_cores():
        wal = _copy(context, data, rows)
        _efficiency(context, data, rows)
        _commits(context, data)
        _pgvector(context, data, wal)
    context.server.drop_database("tandem_bench")


def _copy(context, data, rows):
    """Returns (rows/s, WAL bytes per row) of the whole way into hnsw_batch."""
    context.say("graph-load, COPY: %s rows x %d, in turn" % (rate(rows), data.dims))
    db = context.database()
    variants = {"flat": "flat", "batch": "hnsw_batch"}
    for name, strategy in variants.items():
        graphs.create_table(db, data, name)
        db.run(graphs.create_index(data, name, strategy))
    speeds = {name: [] for name in variants}
    busy = {name: [] for name in variants}
    for repeat in range(-1, context.repeats(7)):
        for name in variants:
            # The worker lets go of a table that is truncated.
            db.run("TRUNCATE flat", "TRUNCATE batch", "CHECKPOINT")
            line = graphs.load(context, db, data, name, count=rows)
            if repeat >= 0:
                speeds[name].append(line["rows_per_second"])
                busy[name].append(line["backend_cpu_us"] or float("nan"))
    share = ratios(speeds["batch"], speeds["flat"])
    db.run("TRUNCATE batch", "CHECKPOINT")
    position = db.wal_position()
    graphs.load(context, db, data, "batch", count=rows)
    loaded = db.wal_bytes_since(position) / rows
    settled = graphs.rest(context, db, "batch_embedding")
    total = db.wal_bytes_since(position) / rows
    with tempfile.TemporaryDirectory() as folder:
        truth = graphs.truth_of(context, data, folder, rows=rows)
        recall = graphs.search(context, db, data, truth, "batch")["recall"]
    for name in variants:
        context.record("copy", data, variant=name, rows=rows, rows_per_second=spread(speeds[name]),
                       backend_cpu_us=spread(busy[name]))
    context.record("copy", data, variant="batch, until at rest", rows=rows, wal_bytes_per_row=total,
                   wal_bytes_per_row_copy=loaded, seconds_to_rest=settled, recall=recall,
                   segments=graphs.segments(db, "batch_embedding"))
    context.table(("COPY into", "rows/s", "best", "backend us/row"),
                  [(name, rate(median(speeds[name])), rate(max(speeds[name])), "%.2f" % median(busy[name]))
                   for name in variants])
    context.say("  WAL: %.0f B/row by COPY (table and index), %.0f until at rest %.0f s later; recall@10 %.4f"
                % (loaded, total, settled, recall))
    context.claim("COPY into hnsw_batch / into flat", "%.2f" % median(share), median(share) >= 0.9, ">= 0.9")
    return median(speeds["batch"]), total


def _efficiency(context, data, rows):
    db = context.database()
    graphs.create_table(db, data)
    db.run(graphs.create_index(data))
    context.progress("worker's processor time")
    with graphs.Watch(context.server) as watch:
        graphs.load(context, db, data, count=rows)
        graphs.fold(context, db)
        folded = watch.cpu_seconds()
        graphs.rest(context, db)
    ours, at_rest = rows / folded if folded else float("nan"), watch.cpu_seconds()
    with tempfile.TemporaryDirectory() as folder:
        truth = graphs.truth_of(context, data, folder, rows=rows)
        reference = graphs.hnswlib(context, data, truth, graphs.EF_SEARCH, limit=rows)
    context.record("worker", data, rows=rows, rows_per_cpu_second=ours, cpu_seconds_folded=folded,
                   cpu_seconds_at_rest=at_rest, peak_private_mb=watch.peak_mb())
    context.say("  worker: %s rows per CPU-second until folded (%.1f s, with merges to rest %.1f s), %.0f MB private"
                % (rate(ours), folded, at_rest, watch.peak_mb()))
    if reference:
        theirs = rows / reference[0]["build_cpu_seconds"]
        context.record("hnswlib", data, rows=rows, rows_per_cpu_second=theirs, recall=reference[1]["recall"])
        context.claim("rows per CPU-second, worker / hnswlib's addPoint (%s)" % rate(theirs), "%.2f" % (ours / theirs),
                      ours >= 0.8 * theirs, ">= 0.8")


def _commits(context, data):
    rows = context.scaled(1_500, 100)
    repeats = context.repeats(7)
    context.say("graph-load, single-row commits: %s at a time, the worker idle and busy" % rate(rows))
    db = context.database()
    graphs.create_table(db, data, "items")
    graphs.create_table(db, data, "other")
    db.run(graphs.create_index(data, "items"))
    # So many rows that building their graph takes longer than all turns.
    graphs.load(context, db, data, "other", count=min(data.rows, context.scaled(400_000, 1000)))
    lines = {"idle": [], "busy": []}
    done = 0
    for _ in range(repeats):
        for state in lines:
            if state == "busy":
                db.run(graphs.create_index(data, "other"))
                _await_build(context, db)
            else:
                db.run("DROP INDEX IF EXISTS other_embedding")
                graphs.fold(context, db)
            line = context.tools.client("insert", db, sql=INSERT % "items", vectors=data.path("base.fvecs"), count=rows,
                                        offset=done % (data.rows - rows) if data.rows > rows else 0, id_base=done,
                                        setup="SET synchronous_commit = off")
            if state == "busy":
                context.require(_building(db) or context.options.scale < 0.5, "the build ended too early")
            lines[state].append(line)
            done += rows
    table = []
    for state, runs in lines.items():
        context.record("single-row commits", data, variant="worker " + state, rows=rows, synchronous_commit="off",
                       p50_us=spread(line["p50_us"] for line in runs), p99_us=spread(line["p99_us"] for line in runs))
        table.append((state, "%.1f" % median([line["p50_us"] for line in runs]),
                      "%.1f" % median([line["p99_us"] for line in runs])))
    context.table(("worker", "p50 us", "p99 us"), table)
    ratio = median(ratios([x["p99_us"] for x in lines["busy"]], [x["p99_us"] for x in lines["idle"]]))
    context.claim("p99 of single-row commits, worker busy / idle", "%.2f" % ratio, ratio <= 1.5, "<= 1.5")


def _building(db):
    return db.value("SELECT count(pid) FROM tandem_build_progress WHERE indexname = 'other_embedding'") != "0"


def _await_build(context, db):
    if not graphs.needs_worker(context):
        return
    for _ in range(300):
        if _building(db):
            return
        if context.options.scale < 0.5 and _waiting(db) == "0":
            return
        time.sleep(0.1)
    context.require(False, "the worker does not begin")


def _waiting(db):
    return db.value("SELECT tail_rows FROM tandem_index_stats WHERE indexname = 'other_embedding'")


def _pgvector(context, data, ours):
    db = graphs.pgvector(context)
    if not db:
        return
    rows, more = min(data.rows // 2, context.scaled(100_000, 500)), context.scaled(10_000, 200)
    graphs.create_table(db, data)
    graphs.load(context, db, data, count=rows)
    context.progress("pgvector: building a graph of %s rows" % rate(rows))
    db.run(graphs.create_index(data, method="hnsw"), "CHECKPOINT")
    # The first ones after a checkpoint write full-page images: not its steady state.
    graphs.load(context, db, data, count=more, offset=rows, id_base=rows)
    position = db.wal_position()
    line = graphs.load(context, db, data, count=more, offset=rows + more, id_base=rows + more)
    wal = db.wal_bytes_since(position) / more
    context.record("copy", data, variant="pgvector", rows=more, rows_per_second=line["rows_per_second"],
                   wal_bytes_per_row=wal)
    context.say("  pgvector: COPY at %s rows/s, WAL %.0f B/row" % (rate(line["rows_per_second"]), wal))
    speed, total = ours
    context.claim("COPY into hnsw_batch / into pgvector's HNSW", "%.0f x" % (speed / line["rows_per_second"]),
                  speed >= 100 * line["rows_per_second"], ">= 100 x")
    context.claim("WAL per row until at rest / pgvector's", "%.2f" % (total / wal), total <= 0.5 * wal, "<= 0.5")
    context.server.drop_database("tandem_bench_pgvector")
