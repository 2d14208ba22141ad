"""filtered-search: recall and speed of the ten nearest rows WHERE a column has a value, beside pgvector's ways to them.

The same rows with btrees on columns whose values leave 10 %, 1 % and 0.1 % of them; statements prepared, value and vector as parameters, all in memory
after a restart. tandem at its default settings, against the fastest of pgvector's: iterative scans in strict and in relaxed order, over
several ef, and the btree with a sort. Beside them the rate without a filter. Truth: the exact answers among the rows with the value.
"""

import os
import tempfile

import numpy as np

from data import formats
from harness.context import median, rate, ratios, spread
from harness.curves import rate_at
from suites import engines, graphs, indexed

# One connection never uses two cores, and waking the other one for every query takes as long as many a search.
PIN = "same"
RECALL = 0.95
# By column, the rate of the best of pgvector's ways; by how much a filter that leaves 1 % or more may slow a search down.
TARGETS = {"syn1m": {"cat": 5, "sub": 25, "tag": 5}, "fashion": {"cat": 5, "sub": 8, "tag": 2}}
SLOWEST = 2
WAYS = {
    "pgvector strict": ["SET hnsw.iterative_scan = strict_order", "SET hnsw.max_scan_tuples = 2147483647"],
    "pgvector relaxed": ["SET hnsw.iterative_scan = relaxed_order", "SET hnsw.max_scan_tuples = 2147483647"],
}


def run(context):
    for name in context.options.sets or TARGETS:
        data = context.set(name)
        context.say("filtered-search: %s, %s rows x %d, %s, m %d, ef_construction %d"
                    % (name, rate(data.rows), data.dims, data.metric, graphs.M, graphs.EF_CONSTRUCTION))
        with tempfile.TemporaryDirectory() as folder:
            filters = {column: Filter(context, data, folder, column, values) for column, values in indexed.VALUES.items()}
            built = indexed.of(context, data)
            _compare(context, data, built.db, built.other, filters)


class Filter:
    """The queries' values of a column, and the truth. A set has the column, or it is made of the ids."""

    def __init__(self, context, data, folder, column, values):
        self.column = column
        if column in data.description["filters"]:
            self.params, self.truth = data.path("param_%s.ivecs" % column), data.path("gt_%s.ivecs" % column)
            return
        context.progress("truth for %s" % column)
        self.params = os.path.join(folder, "param_%s.ivecs" % column)
        self.truth = os.path.join(folder, "gt_%s.ivecs" % column)
        labels = os.path.join(folder, "label_%s.ivecs" % column)
        wanted = np.random.default_rng(context.options.seed).integers(values, size=(data.queries, 1), dtype=np.int32)
        formats.write_vectors(self.params, wanted, "<i4")
        formats.write_vectors(labels, indexed.scattered(np.arange(data.rows), values).astype("<i4")[:, None], "<i4")
        context.tools.json("tandem-bench-truth", base=data.path("base.fvecs"), query=data.path("query.fvecs"),
                           metric=data.metric, k=10, out_ids=self.truth, out_distances=os.path.join(folder, "distances.fvecs"),
                           labels=labels, params=self.params, threads=2)

    def sql(self, data):
        return "SELECT id FROM items WHERE %s = $2 ORDER BY embedding %s $1 LIMIT 10" % (
            self.column, graphs.OPERATORS[data.metric][0])


def _compare(context, data, db, other, filters):
    plain = engines.Sql(context, "tandem", db, data, data.path("gt.ivecs"))
    unfiltered = []
    lines = {column: [] for column in filters}
    theirs = {column: _ladders(context, data, other, filters[column]) if other else {} for column in filters}
    for turn in range(context.repeats(5)):
        context.progress("turn %d" % (turn + 1))
        unfiltered.append(plain.measure([graphs.EF_SEARCH], 2)[0])
        for column, one in filters.items():
            lines[column].append(_ours(context, data, db, one))
            for way in theirs[column].values():
                way.measure()
    table = [("no filter", "tandem", "%.4f" % unfiltered[0]["recall"], rate(median([line["qps_median"] for line in unfiltered])),
              "%.0f" % median([line["p50_us"] for line in unfiltered]))]
    for column in filters:
        table += _show(column, lines[column], theirs[column])
    context.table(("filter", "way", "recall@10", "QPS", "p50 us"), table)
    for column in filters:
        _claim(context, data, column, lines[column], theirs[column], unfiltered)


def _judged(data, one):
    return dict(sql=one.sql(data), queries=data.path("query.fvecs"), params=one.params, truth=one.truth,
                base=data.path("base.fvecs"), metric=data.metric, k=10)


def _ours(context, data, db, one):
    return context.tools.client("query", db, **_judged(data, one), rounds=2, warmup=100)


class Way:
    """One of pgvector's: its settings, the ef to measure, and its curves of (recall, queries/s)."""

    def __init__(self, context, data, db, one, settings, efs, warmup=20, limit=None):
        self.efs, self.curves, self.p50 = efs, [], []
        self.options = dict(_judged(data, one), rounds=1, warmup=warmup, setup=settings, limit=limit,
                            sweep=["SET hnsw.ef_search = %d" % ef for ef in efs])
        self.context, self.db = context, db

    def measure(self):
        lines = self.context.tools.client_lines("query", self.db, **self.options)
        self.curves.append([(line["recall"], line["qps_median"]) for line in lines])
        self.p50.append([line["p50_us"] for line in lines])

    def rates(self):
        return [rate_at(curve, RECALL) for curve in self.curves]


def _ladders(context, data, db, one):
    """{name: Way} with the efs up to the first that reaches the recall, looked for on a part of the queries."""
    found = {}
    limit = min(data.queries, 200)
    for name, settings in WAYS.items():
        efs = []
        for ef in engines.LADDER:
            efs = [*efs[-1:], ef]
            line = context.tools.client("query", db, **_judged(data, one), rounds=1, warmup=10, limit=limit,
                                        setup=["SET enable_seqscan = off", "SET enable_sort = off", "SET enable_bitmapscan = off", *settings, "SET hnsw.ef_search = %d" % ef])
            if line["recall"] >= RECALL + 0.01:
                break
        found[name] = Way(context, data, db, one, ["SET enable_seqscan = off", "SET enable_sort = off", "SET enable_bitmapscan = off", *settings], efs, limit=limit)
    found["pgvector exact"] = Way(context, data, db, one, ["SET enable_indexscan = off"], [40], limit=limit)
    return found


def _show(column, ours, theirs):
    rows = [(column, "tandem", "%.4f" % ours[0]["recall"], rate(median([line["qps_median"] for line in ours])),
             "%.0f" % median([line["p50_us"] for line in ours]))]
    for name, way in theirs.items():
        recall, qps = way.curves[0][-1]
        rows.append((column, name, "%.4f" % recall, rate(qps), "%.0f" % way.p50[0][-1]))
    return rows


def _claim(context, data, column, ours, theirs, unfiltered):
    share = 100 / indexed.VALUES[column]
    text = "%s, %g %% of the rows" % (data.name, share)
    recall = ours[0]["recall"]
    least = 0.99 if share * data.rows / 100 <= 2000 else RECALL
    context.claim("%s: recall@10 at default settings" % text, "%.4f" % recall, recall >= least, ">= %g" % least)
    context.record("filtered", data, engine="tandem", column=column, k=10, recall=recall,
                   qps=spread(line["qps_median"] for line in ours), p50_us=spread(line["p50_us"] for line in ours))
    for name, way in theirs.items():
        context.record("filtered", data, engine=name, column=column, k=10, efs=way.efs, curves=way.curves)
    if theirs:
        best = [max(filter(None, rates), default=None) for rates in zip(*(way.rates() for way in theirs.values()))]
        found = [line["qps_median"] / one for line, one in zip(ours, best) if one]
        target = TARGETS.get(data.name, {}).get(column)
        if found:
            context.record("ratio", data, variant="tandem / pgvector", column=column, recall=RECALL, k=10, ratio=spread(found))
            context.claim("%s: queries/s / the best of pgvector's ways at recall %g" % (text, RECALL), "%.2f x" % median(found),
                          target is None or median(found) >= target, ">= %s x" % target)
    if share >= 1:
        slower = ratios([line["p50_us"] for line in ours], [line["p50_us"] for line in unfiltered])
        context.record("filtered p50 / unfiltered", data, column=column, k=10, ratio=spread(slower))
        context.claim("%s: p50 / without a filter" % text, "%.2f x" % median(slower), median(slower) <= SLOWEST, "<= %g x" % SLOWEST)
