"""filtered-recall: what searches by a filter find, from 50 % down to 0.01 % of the rows, at the default settings, and that none
returns fewer rows than there are.

Filters by columns of the set (the conditions of the ACL Anthology, and two of them at a time), and by two columns made here:
`spread`, a permutation that knows nothing of the vectors, and `near`, the rank of a row by its distance from one point.
`spread < n` is independent of every query, `near < n` is correlated with queries that lie near that point and anti-correlated with
those far from it. Truth: the exact answers among the rows that fulfil the condition.

Then the first use of a filter: ranges of `spread` that nobody has asked for, and the same again; against the native index's bitmap
scan, by the server's own clock, plus the second use.
"""

import json

import os
import tempfile

import numpy as np

from data import formats
from harness.context import median
from suites import graphs

K, RECALL, EXACT_RECALL = 10, 0.95, 0.99
PERMILLE = (500, 200, 100, 50, 10, 3, 1, 0.1)
CONDITIONS = {
    "acl": ("year >= 2000", "year >= 2010", "has_abstract", "year >= 2018", "year >= 2020", "year >= 2022", "year >= 2024",
            "n_authors = 1", "year = 2025", "award", "venue = 'acl'", "venue = 'emnlp'", "venue = 'lrec'",
            "'{ws}' <@ venues", "venue = 'naacl'", "n_pages <= 4", "venue = 'semeval'", "n_authors >= 10",
            "venue = 'acl' AND year = 2024", "venue = 'starsem'", "year >= 2018 AND n_pages <= 4",
            "has_abstract AND venue = 'emnlp'", "n_authors = 1 AND year >= 2020"),
    "syn1m": ("cat = 3", "cat = 3 AND price < 10", "sub = 7", "tag = 11"),
}
INDEXES = {
    "acl": ("(year)", "(has_abstract)", "(n_authors)", "(award)", "(venue)", "(n_pages)", "USING gin (venues)"),
    "syn1m": ("(cat)", "(sub)", "(tag)", "(price)"),
}
SETS = ("acl", "syn1m")
QUERIES = 200  # of each kind
LEAST_SEARCHES = 100_000  # in all
FIRST_USES, FIRST_USE = 100, 1.3  # ranges of each share; of bitmap scan and second use together
FIRST_PERMILLE = (100, 10, 1)


def run(context):
    short, searches = 0, 0
    for name in context.options.sets or SETS:
        data = context.set(name)
        with tempfile.TemporaryDirectory() as folder:
            one = Run(context, data, folder)
            one.measure()
            one.measure_first_uses()
            short, searches = short + one.short, searches + one.searches
        context.server.drop_database("tandem_bench")
    context.record("short answers", searches=searches, short=short)
    context.claim("searches that returned fewer rows than there are, of %d" % searches, str(short), short == 0, "0")


class Kind:
    """Some of the queries, in a file of their own."""

    def __init__(self, data, folder, name, chosen):
        self.name, self.path = name, os.path.join(folder, "query_%s.fvecs" % name)
        self.count = len(chosen)
        formats.write_vectors(self.path, np.asarray(formats.read_vectors(data.path("query.fvecs"))[chosen]), "<f4")


class Run:
    def __init__(self, context, data, folder):
        self.context, self.data, self.folder = context, data, folder
        self.short = self.searches = 0
        context.say("filtered-recall: %s, %d rows x %d, %s" % (data.name, data.rows, data.dims, data.metric))
        count = min(QUERIES, data.queries // 2)
        ranks, order = self._ranks()
        any_of_them = np.linspace(0, data.queries - 1, count).astype(int)
        self.any = Kind(data, folder, "any", any_of_them)
        self.near, self.far = Kind(data, folder, "near", order[:count]), Kind(data, folder, "far", order[-count:])
        self.db = context.database()
        self._fill(ranks)

    def _ranks(self):
        """(rank of each row, queries in the order of rank) by distance from the first query."""
        base, queries = (formats.read_vectors(self.data.path(name)) for name in ("base.fvecs", "query.fvecs"))
        point = np.array(queries[0])
        distances = np.concatenate([_distances(np.asarray(base[at : at + 50_000]), point, self.data.metric)
                                    for at in range(0, self.data.rows, 50_000)])
        ranks = np.empty(self.data.rows, np.int64)
        ranks[np.argsort(distances, kind="stable")] = np.arange(self.data.rows)
        return ranks, np.argsort(_distances(np.asarray(queries), point, self.data.metric), kind="stable")

    def _fill(self, ranks):
        self.context.progress("loading")
        db, data = self.db, self.data
        db.run(data.create_table("plain"), "CREATE TABLE ranks (id bigint, embedding vector(2))")
        self.context.tools.client("copy", db, sql="COPY plain FROM STDIN (FORMAT binary)", file=data.path("rows.copy"))
        # Two integers below 2^24 a row, exact as float32, by the client that only knows vectors.
        path = os.path.join(self.folder, "ranks.fvecs")
        spread = np.random.default_rng(self.context.options.seed).permutation(data.rows)
        formats.write_vectors(path, np.stack([spread, ranks], axis=1).astype("<f4"), "<f4")
        self.context.tools.client("copy", db, sql=graphs.COPY % "ranks", vectors=path)
        db.run("CREATE TABLE items AS SELECT p.*, (r.embedding::real[])[1]::int AS spread, (r.embedding::real[])[2]::int AS near "
               "FROM plain AS p JOIN ranks AS r ON r.id = p.id ORDER BY p.id", "DROP TABLE plain, ranks")
        for columns in (*INDEXES[data.name], "(spread)", "(near)"):
            db.run("CREATE INDEX ON items %s" % columns)
        db.run("VACUUM ANALYZE items")
        self.context.progress("building")
        graphs.build(self.context, db, data)
        graphs.prewarm(db)

    def measure(self):
        shapes = [(condition, self.any) for condition in CONDITIONS[self.data.name]]
        for permille in PERMILLE:
            count = max(1, round(self.data.rows * permille / 1000))
            shapes += [("spread < %d" % count, self.any), ("near < %d" % count, self.near), ("near < %d" % count, self.far)]
        each = -(-LEAST_SEARCHES // (len(self.context.options.sets or SETS) * len(shapes)))
        table, worst = [], {}
        for condition, kind in shapes:
            matching = np.array([int(row[0]) for row in self.db.rows("SELECT id FROM items WHERE %s" % condition)], np.int64)
            if len(matching) == 0:
                self.context.require(self.context.options.scale < 1.0, "no row fulfils " + condition)
                continue
            line = self._one(condition, matching, kind, each)
            table.append((condition, kind.name, "%.2f %%" % (100 * line["share"]), line["tactic"], "%.4f" % line["recall"],
                          "%.0f" % line["p50_us"]))
            least = EXACT_RECALL if "set" in line["tactic"] else RECALL
            if line["recall"] < worst.get(least, (2.0,))[0]:
                worst[least] = (line["recall"], condition, kind.name)
        self.context.table(("condition", "queries", "share", "tactic", "recall@10", "p50 us"), table)
        for least, (recall, condition, kind) in sorted(worst.items()):
            what = "sets that are compared whole" if least == EXACT_RECALL else "others"
            self.context.claim("%s, %s: lowest recall@10 (%s, %s queries)" % (self.data.name, what, condition, kind),
                               "%.4f" % recall, recall >= least, ">= %g" % least)

    def measure_first_uses(self):
        data, table = self.data, []
        rng = np.random.default_rng(self.context.options.seed + 1)
        for permille in FIRST_PERMILLE:
            count = max(1, round(data.rows * permille / 1000))
            lows = rng.choice(data.rows - count, min(FIRST_USES, data.rows - count), replace=False).astype("<i4")
            params = os.path.join(self.folder, "lows.ivecs")
            formats.write_vectors(params, np.resize(lows, (self.any.count, 1)), "<i4")
            within = "spread >= %s AND spread < %s + " + str(count)
            sql = "SELECT id FROM items WHERE %s ORDER BY embedding %s $1 LIMIT %d" % (
                within % ("$2", "$2"), graphs.OPERATORS[data.metric][0], K)
            # What a backend does once is done before.
            setup = "SELECT id FROM items WHERE spread = 0 ORDER BY embedding %s (SELECT embedding FROM items LIMIT 1) LIMIT 1" % (
                graphs.OPERATORS[data.metric][0])
            first, second = (self.context.tools.client(
                "query", self.db, sql=sql, queries=self.any.path, params=params, limit=len(lows), rounds=1, warmup=0,
                setup=[setup])["p50_us"] for _ in range(2))
            bitmap = median([self._bitmap_us(within % (low, low)) for low in lows[:30]])
            ratio = first / (bitmap + second)
            self.context.record("first use", data, share=permille / 1000, first_us=first, second_us=second, bitmap_us=bitmap,
                                ratio=ratio)
            table.append(("%g %%" % (permille / 10), *("%.0f" % figure for figure in (first, bitmap, second)), "%.2f" % ratio))
            self.context.claim("%s, %g %%: first use of a filter / (bitmap index scan + second use)" % (data.name, permille / 10),
                               "%.2f x" % ratio, ratio <= FIRST_USE, "<= %g x" % FIRST_USE)
        self.context.table(("share", "first us", "bitmap us", "second us", "ratio"), table)

    def _bitmap_us(self, condition):
        rows = self.db.rows("SET enable_seqscan = off", "SET enable_indexscan = off", "SET enable_indexonlyscan = off",
                            "EXPLAIN (ANALYZE, FORMAT JSON) SELECT count(*) FROM items WHERE " + condition)
        node = json.loads(" ".join(row[0] for row in rows))[0]["Plan"]
        while node["Node Type"] != "Bitmap Index Scan":
            node = node["Plans"][0]
        return 1000 * node["Actual Total Time"]

    def _one(self, condition, matching, kind, searches):
        db, data = self.db, self.data
        truth = graphs.truth_of(self.context, data, self.folder, keep=lambda ids: np.isin(ids, matching), path=kind.path)
        sql = "SELECT id FROM items WHERE %s ORDER BY embedding %s $1 LIMIT %d" % (
            condition, graphs.OPERATORS[data.metric][0], K)
        rounds = max(1, -(-searches // kind.count)) if self.context.options.scale >= 0.5 else 1
        line = self.context.tools.client("query", db, sql=sql, queries=kind.path, truth=truth, k=K, metric=data.metric,
                                         base=data.path("base.fvecs"), rounds=rounds, warmup=5)
        wanted = min(K, len(matching))
        done = rounds * kind.count
        missing = done * wanted - round(line["rows_per_query"] * done)
        if missing:
            self.context.fail("%s, %s queries: %d rows too few in %d answers" % (condition, kind.name, missing, done))
        self.short += missing
        self.searches += done
        figures = dict(share=len(matching) / data.rows, tactic=self._tactic(sql, kind), recall=line["recall"], p50_us=line["p50_us"])
        self.context.record("filtered recall", data, condition=condition, queries=kind.name, k=K, searches=done, **figures)
        return figures

    def _tactic(self, sql, kind):
        vector = "[%s]" % ",".join(map(repr, map(float, formats.read_vectors(kind.path)[0])))
        plan = self.db.rows("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) " + sql.replace("$1", "'%s'" % vector))
        found = [row[0].split(": ", 1)[1] for row in plan if row[0].strip().startswith("Tactic: ")]
        if any("Custom Scan" in row[0] for row in plan):
            return found[0] if any("Bitmap" in row[0] for row in plan) else "no filter, " + found[0]
        return "sort of the set"


def _distances(rows, point, metric):
    if metric == "cosine":
        return -(rows @ point) / np.maximum(np.linalg.norm(rows, axis=1) * np.linalg.norm(point), 1e-30)
    return np.square(rows - point).sum(axis=1)
