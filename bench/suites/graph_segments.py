"""graph-segments: the same rows as 1, 4 and 8 segments: time of a search at equal recall.

Segments come from tandem.build_memory, too small for all rows in one graph; a naptime of a day keeps the worker from merging
them. The three take turns, all in memory.
"""

import tempfile

from harness.context import median, rate, spread
from harness.curves import paired
from suites import engines, graphs

COUNTS = {1: None, 4: 1.8, 8: 2.5}  # segments: time at most, of one segment's
RECALLS = (0.95, 0.99)
# Memory of a build as a function of its rows, beside a byte per dimension: a guess, corrected by what comes out of it.
BYTES_FIXED, BYTES_PER_ROW = 5e6, 2 * 4 * graphs.M + 112
SPARE = 1.03  # a little more than an equal share each, so that the rest makes no segment of its own
ROOMY_KB, LEAST_KB = 2 << 20, 16 << 10  # for one segment of all; the least that can be set
TRIES = 4
ROUNDS = 6


def run(context):
    data = context.set((context.options.sets or ["syn1m"])[0])
    rows = min(data.rows, context.scaled(500_000, 1000))
    context.say("graph-segments: %s rows x %d" % (rate(rows), data.dims))
    db = context.database()
    with tempfile.TemporaryDirectory() as folder, db.configured(naptime="1d"):
        truth = graphs.truth_of(context, data, folder, rows=rows)
        taking_part = []
        for count in COUNTS:
            table = "items%d" % count
            graphs.create_table(db, data, table)
            graphs.load(context, db, data, table, count=rows)
            db.run("VACUUM ANALYZE %s" % table)
            found = _build(context, db, data, rows, table, count)
            if found != count:
                context.require(context.options.scale < 0.5, "%d segments came out, not %d" % (found, count))
                context.say("  %d segments came out for %d" % (found, count))
            taking_part.append(engines.Sql(context, _name(count), db, data, truth, ROUNDS, table))
        db.run("CHECKPOINT")
        for engine in taking_part:
            graphs.prewarm(db, engine.table)
        lines = engines.take_turns(context, taking_part, 0.90, max(RECALLS) + 0.002, context.repeats(7))
        for count in COUNTS:
            left = graphs.segments(db, "items%d_embedding" % count)
            context.require(left == count or context.options.scale < 0.5, "the worker merged segments meanwhile")
    engines.record(context, data, lines, rows=rows)
    _report(context, data, rows, lines)
    context.server.drop_database("tandem_bench")


def _name(count):
    return "%d segment%s" % (count, "" if count == 1 else "s")


def _build(context, db, data, rows, table, count):
    """Builds an index of `count` segments; returns how many there are."""
    per_row = BYTES_PER_ROW + data.dims
    for _ in range(TRIES):
        wish = ROOMY_KB if count == 1 else int((BYTES_FIXED + SPARE * per_row * rows / count) / 1024)
        kilobytes = max(wish, LEAST_KB)
        context.progress("%d of them, building within %d MB" % (count, kilobytes >> 10))
        with context.all_cores():
            db.run("DROP INDEX IF EXISTS %s_embedding" % table, "SET tandem.build_threads = %d" % context.cores(),
                   "SET tandem.build_memory = %d" % kilobytes, graphs.create_index(data, table, "hnsw_inline"))
        found = graphs.segments(db, "%s_embedding" % table)
        if found == count or kilobytes != wish:
            break
        largest = db.number("SELECT max(rows) FROM tandem_segments('%s_embedding')" % table)
        per_row = (kilobytes * 1024 - BYTES_FIXED) / largest
    return found


def _report(context, data, rows, lines):
    curves = {name: engines.curves(turns) for name, turns in lines.items()}
    table = []
    for count, target in COUNTS.items():
        name = _name(count)
        cells = [name]
        for recall in RECALLS:
            # Of rates, the other way round: how many times as long a search takes.
            found = paired(curves[_name(1)], curves[name], recall)
            cells.append("%.2f" % median(found) if found else "-")
            if found:
                context.record("time", data, variant=name, rows=rows, recall=recall, k=10, of_one_segment=spread(found))
        table.append(cells)
        if target is not None and cells[1] != "-":
            context.claim("recall %.2f: time with %s / with one" % (RECALLS[0], name), cells[1] + " x",
                          float(cells[1]) <= target, "<= %g x" % target)
    context.table(("index", *("time at recall %.2f" % recall for recall in RECALLS)), table)
