"""graph-search: recall and speed of searches through SQL, beside hnswlib in process and pgvector, all in memory.

The same rows in an index at rest, in pgvector's HNSW and in hnswlib on float32, same m and ef_construction. After a restart of
the server everything is read into memory (pgvector's builds and ours, which go before, are timed on all cores); then the three take turns over several ef. Rates at a recall are interpolated in
each turn and divided by the other's of the same turn; the medians of these ratios are held against the targets. Beside them
the floor: a prepared query that only takes the vector, and one that looks up a row by key. Then two connections on two
cores, and the memory that graphs take.
"""

import os
import tempfile

import numpy as np

from data import formats
from harness.context import median, rate, ratios, spread
from harness.curves import paired, rate_at
from suites import engines, graphs, indexed

# One connection never uses two cores, and waking the other one for every query takes as long as many a search.
PIN = "same"
RECALLS = (0.95, 0.99)
# Rates through SQL at equal recall: of hnswlib's and of pgvector's; cached bytes per row of hnswlib's.
TARGETS = {"syn1m": (1.5, 8, 0.45), "fashion": (1.2, 6, None), "acl-title": (1.2, 6, None), "syn768": (None, None, 0.30)}
SETS = ("syn1m", "fashion", "acl-title")  # syn768 with --sets
# Passes over all queries in one measurement: so many that each takes about as long.
ROUNDS = {"tandem": 8, "hnswlib": 4, "pgvector": 1}


def run(context):
    for name in context.options.sets or SETS:
        data = context.set(name)
        context.say("graph-search: %s, %s rows x %d, %s, m %d, ef_construction %d"
                    % (name, rate(data.rows), data.dims, data.metric, graphs.M, graphs.EF_CONSTRUCTION))
        built = indexed.of(context, data)
        db, other = built.db, built.other
        if context.options.scale >= 0.5:
            context.require(graphs.by_graph(db, data), "searches do not go through graphs")
        if built.seconds and built.other_seconds:
            graphs.claim_build(context, data, built.seconds, built.other_seconds)
        if context.tools.has("tandem-bench-hnswlib"):
            context.progress("hnswlib: building")
            with engines.Hnswlib(context, data, data.path("gt.ivecs"), ROUNDS["hnswlib"]) as reference:
                _compare(context, data, db, other, reference)
        else:
            context.say("  hnswlib is not there: its figures are left out")
            _compare(context, data, db, other, None)


# --- comparing --------------------------------------------------------------------------------------------------------


def _compare(context, data, db, other, reference):
    truth = data.path("gt.ivecs")
    taking_part = [engines.Sql(context, "tandem", db, data, truth, ROUNDS["tandem"])]
    if other:
        taking_part.append(engines.Sql(context, "pgvector", other, data, truth, ROUNDS["pgvector"]))
    if reference:
        taking_part.append(reference)
    with tempfile.TemporaryDirectory() as folder:
        floor = Floor(context, db, data, folder)
        lines = engines.take_turns(context, taking_part, 0.90, max(RECALLS) + 0.002, context.repeats(7), floor.measure)
    segments = graphs.segments(db)
    engines.record(context, data, lines, segments=segments)
    floors = floor.report(data)
    curves = {name: engines.curves(turns) for name, turns in lines.items()}
    _show(context, data, lines, curves, floors)
    to_hnswlib, to_pgvector, to_memory = TARGETS.get(data.name, (None, None, None))
    for name, target in (("hnswlib", to_hnswlib), ("pgvector", to_pgvector)):
        if name in curves:
            for recall in RECALLS:
                _claim_ratio(context, data, curves, name, recall, target)
    _claim_percentiles(context, data, lines["tandem"])
    _claim_scaling(context, data, db, _ef_at(lines["tandem"], RECALLS[0]))
    if reference:
        _memory(context, data, db, reference.build, to_memory)


def _show(context, data, lines, curves, floors):
    table = engines.shown(lines)
    for name, figures in floors.items():
        table.append((name, "", "", *map(rate, figures)))
    context.table(("engine", "ef", "recall@10", "QPS", "p50 us", "p99 us"), table)
    for recall in RECALLS:
        for name, turns in curves.items():
            rates = [found for found in (rate_at(curve, recall) for curve in turns) if found is not None]
            text = "%s queries/s" % rate(median(rates)) if rates else "not reached"
            context.say("  recall %.2f, %s: %s" % (recall, name, text))
            context.record("at recall", data, engine=name, recall=recall, k=10, qps=spread(rates) if rates else None)


def _claim_ratio(context, data, curves, name, recall, target):
    text = "%s, recall %.2f: queries/s through SQL / %s" % (data.name, recall,
                                                           "hnswlib in process" if name == "hnswlib" else name)
    found = paired(curves["tandem"], curves[name], recall)
    if not found:
        reached = rate_at(curves["tandem"][0], recall) is not None
        context.claim(text, "not reached by %s" % (name if reached else "tandem"), reached, "reached by both")
        return
    context.record("ratio", data, variant="tandem / " + name, recall=recall, k=10, ratio=spread(found))
    _claim(context, text, median(found), target, ">= %g x", target is None or median(found) >= target)


def _claim(context, text, value, target, form, holds):
    """A claim, or just its figure where there is no target."""
    if target is None:
        context.say("           %s: %.2f x" % (text, value))
    else:
        context.claim(text, "%.2f x" % value, holds, form % target)


def _ef_at(turns, recall):
    """The least ef measured whose recall is at least that; else the greatest."""
    return next((line["ef"] for line in turns[0] if line["recall"] >= recall), turns[0][-1]["ef"])


def _claim_percentiles(context, data, turns):
    ef = _ef_at(turns, RECALLS[0])
    runs = [line for lines in turns for line in lines if line["ef"] == ef]
    shares = ratios([line["p99_us"] for line in runs], [line["p50_us"] for line in runs])
    context.record("p99 / p50", data, engine="tandem", ef=ef, k=10, recall=runs[0]["recall"], ratio=spread(shares))
    context.claim("%s, ef %d: p99 / p50" % (data.name, ef), "%.2f" % median(shares), median(shares) <= 3, "<= 3")


class Floor:
    """What a query costs that hardly does anything, measured once in each turn."""

    def __init__(self, context, db, data, folder):
        self.context, self.db = context, db
        keys = os.path.join(folder, "keys.ivecs")
        chosen = np.random.default_rng(context.options.seed).integers(data.rows, size=(data.queries, 1), dtype=np.int32)
        formats.write_vectors(keys, chosen, "<i4")
        self.queries = {
            "only takes the vector": dict(sql="SELECT vector_dims($1::vector)", queries=data.path("query.fvecs")),
            "looks up a key": dict(sql="SELECT id FROM items WHERE id = $1", params=keys, expect="items_id",
                                   setup="SET enable_seqscan = off"),
        }
        self.lines = {name: [] for name in self.queries}

    def measure(self):
        for name, options in self.queries.items():
            self.lines[name].append(self.context.tools.client("query", self.db, rounds=ROUNDS["tandem"], **options))

    def report(self, data):
        """{name: medians of queries/s, p50, p99}"""
        keys = ("qps_median", "p50_us", "p99_us")
        for name, runs in self.lines.items():
            spreads = [spread(line[key] for line in runs) for key in keys]
            self.context.record("floor", data, variant=name, qps=spreads[0], p50_us=spreads[1], p99_us=spreads[2])
        return {name: [median([line[key] for line in runs]) for key in keys] for name, runs in self.lines.items()}


# --- cores and memory -------------------------------------------------------------------------------------------------


def _claim_scaling(context, data, db, ef):
    """Each connection and its client on one core; one of them against one on every core."""
    cores = context.core_list()
    if context.server.pinned_to() is None or len(cores) < 2:
        context.say("  connections on two cores: needs a server that can be bound to cores; left out")
        return
    used = {"one": [cores[1]], "two": [cores[0], cores[1]]}
    rates = {name: [] for name in used}
    with context.all_cores():
        for _ in range(context.repeats(5)):
            for name, on in used.items():
                line = context.tools.client(
                    "query", db, **graphs.query_options(data, settings=["SET tandem.ef_search = %d" % ef]), rounds=ROUNDS["tandem"],
                    connections=len(on), cores=",".join(map(str, on)), pinned=False)
                rates[name].append(line["qps"])
    found = ratios(rates["two"], rates["one"])
    context.record("connections", data, ef=ef, qps_one=spread(rates["one"]), qps_two=spread(rates["two"]),
                   ratio=spread(found))
    context.claim("%s, ef %d: two connections on two cores / one on one" % (data.name, ef), "%.2f x" % median(found),
                  median(found) >= 1.8, ">= 1.8 x")


def _memory(context, data, db, build, target):
    cached = graphs.cached_bytes(db)
    theirs = build["memory_bytes"] / build["rows"]
    if cached is None:
        context.say("  memory: hnswlib %.0f B/row; this build has no cache of graphs" % theirs)
        return
    ours = cached / data.rows
    context.record("memory", data, cached_bytes_per_row=ours, hnswlib_bytes_per_row=theirs)
    _claim(context, "%s: cached bytes per row %.0f / hnswlib's %.0f" % (data.name, ours, theirs), ours / theirs, target,
           "<= %.2f x", target is None or ours <= target * theirs)
