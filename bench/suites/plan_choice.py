"""plan-choice: the planner's choice among ways to the nearest rows WHERE …, against the best way that it can be forced to.

Shapes of queries (condition, LIMIT, table) on tables of 1,000, 60,000 and 200,000 rows: equality, ranges, AND, OR, = ANY, from 0.01 % of
the rows to all, scattered, near the query and far from it. Each is run in every way there is, by turns: through the tandem index with
the condition checked row by row, or with a filter from native indexes; by a bitmap, a btree or a sequential scan, each sorted.
Times are the executor's own, of data at hand. A way's *first* time is that of a condition that nobody has used before, *again* of its
repetition. A way that finds less than the one chosen, and less than it should, is not the best. A scan that checks the condition row by
row and takes the filter along, to go by it when need be, has the plan of one that asks native indexes; costs tell them apart. It cannot be
forced, and is timed where it is chosen.
"""

import dataclasses
import os
import statistics
import tempfile

import numpy as np

from data import formats, sets
from harness.context import median
from suites import graphs

# One connection never uses two cores, and waking the other one takes as long as many a search.
PIN = "same"
WORST, ENOUGH = 1.5, 0.9  # a choice is good within that ratio; so many of them must be
LEAST_RECALL, SLACK = 0.9, 0.02  # a way that finds less than that, and than the choice, is no better; sorts are exact
LEAST_SHAPES = 40

# A shape is tried with a few conditions in all ways, then with more in those that are not out of the question.
PROBES = 4
MOST_QUERIES = 24
SHAPE_MS = 2_500.0
HOPELESS = 4.0

WORDINGS = 4
VALUES = {"cat": 10, "sub": 100, "tag": 1000}  # of a column

# A sort key that no index of ours can deliver: everything else about the plan stays as it is.
UNORDERED = " + 0"
WAYS = {
    "index": (["enable_sort = off", "tandem.enable_filtered_scan = off"], ""),
    "filtered": (["enable_sort = off", "enable_indexscan = off"], ""),
    "bitmap": (["enable_seqscan = off", "enable_indexscan = off"], UNORDERED),
    "btree": (["enable_seqscan = off", "enable_bitmapscan = off"], UNORDERED),
    "sequential": (["enable_indexscan = off", "enable_bitmapscan = off"], UNORDERED),
}
# A scan without a filter that takes one along, if the planner chooses that by itself.
ALONG = "along"
# What the plan of a way must hold; one that cannot be had has another way's plan.
MARKS = {
    "index": ("Tandem Scan",), "filtered": ("Tandem Scan", "Bitmap Index Scan"), "bitmap": ("Sort", "Bitmap Heap Scan"),
    "btree": ("Sort", "Index Scan using"), "sequential": ("Sort", "Seq Scan"),
}
EXACT = "sequential"


@dataclasses.dataclass(frozen=True)
class Shape:
    table: object
    condition: object  # see Table
    text: str
    limit: int
    first: int  # number of its first query: no other shape has the same ones

    @property
    def name(self):
        return "%s, %s, LIMIT %d" % (self.table.name, self.text, self.limit)


class Table:
    """Rows with columns to filter by. cat, sub, tag: 10, 100, 1,000 values at random. rank: 0, 1, 2 … at random. place: 0, 1, 2 …
    along a line through the set. cell: the nearest of 64 rows."""

    COLUMNS = ("cat", "sub", "tag", "rank", "place", "cell")

    def __init__(self, name, data, rows, seed):
        self.name, self.data, self.rows = name, data, min(rows, data.rows)
        self.base = np.asarray(formats.read_vectors(data.path("base.fvecs"))[: self.rows])
        self.queries = np.asarray(formats.read_vectors(data.path("query.fvecs")))
        rng = np.random.default_rng(seed)
        self.values = {column: rng.integers(count, size=self.rows) for column, count in VALUES.items()}
        self.values["rank"] = rng.permutation(self.rows)
        one, other = self.base[rng.choice(self.rows, 2, replace=False)]
        self.line = (other - one) / np.linalg.norm(other - one)
        along = self.base @ self.line
        self.along = np.sort(along)
        self.values["place"] = np.argsort(np.argsort(along, kind="stable"), kind="stable")
        self.centres = self.base[rng.choice(self.rows, 64, replace=False)]
        self.values["cell"] = np.concatenate([self._cells(self.base[low: low + 10_000]).argmin(axis=1)
                                              for low in range(0, self.rows, 10_000)])
        self.order = {column: rng.permutation(count) for column, count in VALUES.items()}
        self.given = {column: {} for column in VALUES}

    def _cells(self, vectors):
        """Squared distances to the centres, but for what does not depend on the centre."""
        return (self.centres ** 2).sum(axis=1) - 2.0 * (vectors @ self.centres.T)

    def create(self, db, folder):
        path = os.path.join(folder, self.name + ".copy")
        columns = [("id", "int", np.arange(self.rows))] + [(name, "int", self.values[name]) for name in self.COLUMNS]
        formats.write_copy(path, columns, self.base)
        db.run("CREATE TABLE %s (%s, embedding vector(%d))" % (
            self.name, ", ".join("%s int" % column for column, _, _ in columns), self.data.dims))
        db.script("\\copy %s from '%s' (format binary)" % (self.name, path))
        os.remove(path)
        for column in self.COLUMNS:
            db.run("CREATE INDEX %s_%s ON %s (%s)" % (self.name, column, self.name, column))

    # --- conditions ---------------------------------------------------------------------------------------------------
    # Functions of a query's number, no two have the same constants, and of which of WORDINGS wordings: a condition that admits the same
    # rows and is another one to whoever keeps what conditions admit. Where there are too few values for that, one that no row has is
    # added.

    def vector(self, number):
        return self.queries[number % len(self.queries)]

    def equal(self, column):
        return lambda number, wording: self._one_of(column, [self._value(column, number)], number, wording)

    def any_of(self, column, count):
        def condition(number, wording):
            first = self._value(column, number)
            return self._one_of(column, [(first + i) % VALUES[column] for i in range(count)], number, wording)
        return condition

    def both(self, *conditions):
        return lambda *how: " AND ".join(condition(*how) for condition in conditions)

    def either(self, *conditions):
        return lambda *how: "(%s)" % " OR ".join("(%s)" % condition(*how) for condition in conditions)

    def ranked(self, share):
        """A share of the rows, of all places."""
        def condition(number, wording):
            width = max(1, round(share * self.rows))
            if width >= self.rows:
                return self._between("rank", -number, self.rows, wording)
            low = int(np.random.default_rng(number).integers(self.rows - width + 1))
            return self._between("rank", low, low + width - 1, wording)
        return condition

    def near(self, share):
        """A share of the rows, those about as far along the line as the query."""
        def condition(number, wording):
            width = max(1, round(share * self.rows)) + number % 97
            low = min(max(self._place(number) - width // 2, 0), self.rows - width)
            return self._between("place", low, low + width - 1, wording)
        return condition

    def far(self, share):
        """A share of the rows, those at the end of the line that is farther from the query."""
        def condition(number, wording):
            width = max(1, round(share * self.rows))
            if self._place(number) < self.rows // 2:
                return self._between("place", self.rows - width, self.rows + number, wording)
            return self._between("place", -number, width - 1, wording)
        return condition

    def own_cell(self, number, wording):
        return self._one_of("cell", [self._cells(self.vector(number)).argmin()], number, wording)

    def far_cell(self, number, wording):
        return self._one_of("cell", [self._cells(self.vector(number)).argmax()], number, wording)

    def _one_of(self, column, values, number, wording):
        if len(values) == 1 and wording == 0 and column in ("sub", "tag"):
            return "%s = %d" % (column, values[0])
        if len(values) == 1 or wording > 0:
            values = [*values, -1 - WORDINGS * number - wording]
        return "%s = ANY ('{%s}')" % (column, ",".join(map(str, values)))

    @staticmethod
    def _between(column, low, high, wording):
        above = "> %d" % (low - 1) if wording in (1, 2) else ">= %d" % low
        below = "< %d" % (high + 1) if wording in (1, 3) else "<= %d" % high
        return "%s %s AND %s %s" % (column, above, column, below)

    def _value(self, column, number):
        """Each number asked for gets the next value: every one comes once before one comes again."""
        given = self.given[column].setdefault(number, len(self.given[column]))
        return int(self.order[column][given % VALUES[column]])

    def _place(self, number):
        return int(np.searchsorted(self.along, float(self.vector(number) @ self.line)))


def run(context):
    with tempfile.TemporaryDirectory() as folder:
        db = context.database()
        shapes = []
        for table in _tables(context):
            context.progress("%s: loading" % table.name)
            table.create(db, folder)
            graphs.build(context, db, table.data, table.name)
            db.run("VACUUM ANALYZE %s" % table.name)
            graphs.prewarm(db, table.name)
            shapes += _shapes(table)
        db.run("CHECKPOINT")
        if context.options.scale < 0.1:
            shapes = shapes[::4]
        context.say("plan-choice: %d shapes" % len(shapes))
        found = []
        for shape in shapes:
            found.append(_measure(context, db, shape))
            context.progress("%s: %.2f" % (shape.name, found[-1].ratio("first")))
        _show(context, found)
    context.server.drop_database("tandem_bench")


def _tables(context):
    seed = context.options.seed
    large = sets.prepare("syn1m", context.tools, 0.2 * context.options.scale)
    fashion = context.set("fashion")
    return [Table("small", large, 1_000, seed), Table("fashion", fashion, fashion.rows, seed),
            Table("large", large, large.rows, seed)]


def _shapes(t):
    """Conditions, each with the LIMITs that it is tried with."""
    def percent(share):
        return "%g %%" % (100 * share)

    def ranked(share, *limits):
        return t.ranked(share), percent(share), limits

    def near(share, *limits):
        return t.near(share), percent(share) + " near", limits

    def far(share, *limits):
        return t.far(share), percent(share) + " far", limits

    small = [
        ranked(0.01, 10), ranked(0.1, 1, 10), ranked(0.5, 10, 100), ranked(1.0, 10, 1000), (t.equal("cat"), "cat =", (10,)),
        near(0.1, 10), far(0.1, 10),
    ]
    common = [
        ranked(0.0001, 10), ranked(0.001, 1, 10, 100), ranked(0.01, 10, 1000), ranked(0.05, 100), ranked(0.2, 10, 1000),
        ranked(0.5, 1, 100), ranked(1.0, 10, 1000),
        (t.both(t.equal("sub"), t.ranked(0.2)), "sub = AND 20 %", (10,)),
        (t.either(t.equal("sub"), t.equal("tag")), "sub = OR tag =", (10,)),
        (t.any_of("tag", 20), "tag = ANY 20", (10,)),
        (t.own_cell, "own cell", (10, 100)), (t.far_cell, "far cell", (10,)),
        near(0.05, 10), far(0.05, 10, 1000),
    ]
    more = [
        (t.equal("cat"), "cat =", (10,)), (t.equal("sub"), "sub =", (1, 100)), (t.equal("tag"), "tag =", (10,)),
        (t.both(t.equal("cat"), t.ranked(0.1)), "cat = AND 10 %", (10,)),
        (t.either(t.equal("cat"), t.ranked(0.3)), "cat = OR 30 %", (10,)),
        (t.any_of("sub", 5), "sub = ANY 5", (10, 1000)),
        near(0.2, 100), far(0.2, 10), far(0.5, 10),
    ]
    chosen = {"small": small, "fashion": common, "large": common + more}[t.name]
    listed = [(condition, text, limit) for condition, text, limits in chosen for limit in limits]
    return [Shape(t, *shape, number * (MOST_QUERIES + 1)) for number, shape in enumerate(listed)]


# --- measuring --------------------------------------------------------------------------------------------------------


class Found:
    """What was measured of a shape: per way milliseconds by query, and the way chosen for each query."""

    def __init__(self, shape, ways):
        self.shape, self.ways = shape, ways
        self.times = {phase: {way: {} for way in ways} for phase in ("first", "again")}
        self.chosen = {}
        self.recall = {way: [] for way in ways}
        self.rows = []

    def contenders(self):
        """Ways that may be the best, and the ones chosen."""
        times = {way: median(list(self.times["first"][way].values())) for way in self.ways}
        best = min(times.values())
        return [way for way in self.ways if times[way] <= HOPELESS * best or way in self.chosen.values()]

    def way_ms(self, phase, way):
        return median(list(self.times[phase][way].values()))

    def best(self, phase):
        least = min(LEAST_RECALL, self.recall_of(self.choice()) - SLACK)
        fair = [way for way in self.ways if self.recall_of(way) >= least]
        return min(fair, key=lambda way: self.way_ms(phase, way))

    def recall_of(self, way):
        return statistics.mean(self.recall[way])

    def choice_ms(self, phase):
        return median([self.times[phase][way][number] for number, way in self.chosen.items()
                       if number in self.times[phase][way]])

    def ratio(self, phase):
        return self.choice_ms(phase) / self.way_ms(phase, self.best(phase))

    def choice(self):
        return statistics.mode(self.chosen.values())


def _wording(way, phase):
    """What a way keeps is not at hand for another one's first time, nor is what it kept to get the answer."""
    return 2 * (way == ALONG) + (phase == "answer")


def _statement(shape, number, tail="", columns="id", wording=0):
    operator = graphs.OPERATORS[shape.table.data.metric][0]
    distance = "(embedding %s :'q%d')" % (operator, number)
    return "SELECT %s FROM %s WHERE %s ORDER BY %s%s LIMIT %d" % (
        columns.replace("distance", distance), shape.table.name, shape.condition(number, wording), distance, tail, shape.limit)


def _settings(way):
    return ["SET %s;" % setting for setting in WAYS[way][0]] if way in WAYS else []


def _tail(way):
    return WAYS[way][1] if way in WAYS else ""


def _vectors(shape, numbers):
    return ["\\set q%d [%s]" % (number, ",".join("%.9g" % x for x in shape.table.vector(number))) for number in numbers]


def _parts(lines):
    """The output of a script by its \\echo marks: [(words of the mark, lines)]."""
    parts = []
    for line in lines:
        if line.startswith("@ "):
            parts.append((line.split()[1:], []))
        elif parts:
            parts[-1][1].append(line)
    return parts


def _nodes(plan):
    """The plan's nodes, without conditions and what else depends on constants."""
    return " / ".join(line.split("  (cost=")[0].strip(" ->") for line in plan
                      if line.lstrip().startswith("->") or not line.startswith(" "))


def _cost_of_scan(plan):
    """What the planner says of the scan in order of distance; None if there is none."""
    return next((line.split("(cost=")[1].split(" ")[0] for line in plan if "Tandem Scan" in line), None)


def _plans(db, shape, numbers):
    """{(way, query): (nodes, cost of the scan)}; of way "free" what the planner chooses by itself."""
    script = _vectors(shape, numbers)
    for way in ["free", *WAYS]:
        script += ["RESET ALL;", *_settings(way)]
        for number in numbers:
            script += ["\\echo @ %s %d" % (way, number), "EXPLAIN %s;" % _statement(shape, number, _tail(way))]
    return {(mark[0], int(mark[1])): (_nodes(lines), _cost_of_scan(lines)) for mark, lines in _parts(db.script(*script))}


def _available(plans, numbers):
    """Ways that can be had for every query."""
    return [way for way in WAYS if all(all(mark in plans[way, number][0] for mark in MARKS[way])
                                       and (way != "index" or "Bitmap" not in plans[way, number][0]) for number in numbers)]


def _way_of(context, shape, plans, number):
    """The planner's choice by what the plan does, whichever of the indexes it does it with."""
    nodes, cost = plans["free", number]
    if all(mark in nodes for mark in MARKS["filtered"]) and cost != plans["filtered", number][1]:
        return ALONG
    for way in ("filtered", "index", "bitmap", "btree", "sequential"):
        if all(mark in nodes for mark in MARKS[way]):
            return way
    context.require("Index Scan using" in nodes, "%s: the planner chose a plan of no known kind: %s" % (shape.name, nodes))
    return "index"


def _run(db, found, ways, numbers, warm):
    """{(way, query): answer}. Each query in each way, by turns: its answer, in other words, so that what it reads is at hand; then timed, for the first
    time and again."""
    shape = found.shape
    script = _vectors(shape, [*numbers, warm])
    for turn, number in enumerate([warm, *numbers]):
        order = ways[turn % len(ways):] + ways[: turn % len(ways)]
        for phase in ("answer", "first", "again"):
            for way in order:
                script += ["RESET ALL;", *_settings(way), "\\echo @ %s %s %d" % (phase, way, number)]
                wording = _wording(way, phase)
                if phase == "answer":
                    script.append("%s;" % _statement(shape, number, _tail(way), "id, distance", wording))
                else:
                    script.append("EXPLAIN (ANALYZE, TIMING OFF, COSTS OFF) %s;" % _statement(shape, number, _tail(way), wording=wording))
    answers = {}
    for (phase, way, number), lines in _parts(db.script(*script)):
        if int(number) == warm:
            continue
        if phase == "answer":
            answers[way, int(number)] = [(int(one), float(far)) for one, far in (line.split("\x1f") for line in lines)]
        else:
            ms = next(float(line.split()[2]) for line in lines if line.startswith("Execution Time:"))
            found.times[phase][way][int(number)] = ms
    return answers


def _judge(context, db, found, answers, numbers):
    """Recall by distance against the sequential scan's answer. Every other way without graphs must have the same."""
    shape = found.shape
    for number in numbers:
        exact = [far for _, far in answers[EXACT, number]]
        found.rows.append(len(exact))
        for way in found.ways:
            answer = answers[way, number]
            distances = [far for _, far in answer]
            ids = [one for one, _ in answer]
            if distances != sorted(distances) or len(set(ids)) != len(ids):
                context.fail("%s, way %s: rows out of order, or twice" % (shape.name, way))
            hits = sum(far <= exact[-1] * (1 + 1e-6) for far in distances) if exact else len(exact)
            found.recall[way].append(hits / len(exact) if exact else 1.0)
            if way not in ("index", "filtered", ALONG) and found.recall[way][-1] < 1:
                context.fail("%s, way %s: not the exact answer" % (shape.name, way))
            if ids and way != EXACT:
                wrong = db.value("SELECT count(*) FROM %s WHERE id = ANY ('{%s}') AND NOT (%s)" % (
                    shape.table.name, ",".join(map(str, ids)), shape.condition(number, 0)))
                if wrong != "0":
                    context.fail("%s, way %s: %s rows that the condition excludes" % (shape.name, way, wrong))


def _measure(context, db, shape):
    everything = range(shape.first, shape.first + MOST_QUERIES)
    warm, numbers = everything.stop, list(everything[:PROBES])
    plans = _plans(db, shape, everything)
    chosen = {number: _way_of(context, shape, plans, number) for number in everything}
    found = Found(shape, _available(plans, numbers) + [ALONG] * (ALONG in chosen.values()))
    found.plan = plans["free", shape.first][0]
    context.require(EXACT in found.ways and len(found.ways) >= 3, "%s: no plans to compare" % shape.name)
    for number in numbers:
        found.chosen[number] = chosen[number]
    answers = _run(db, found, found.ways, numbers, warm)
    _judge(context, db, found, answers, numbers)
    ways = found.contenders()
    cost = sum(found.way_ms("first", way) * 2 for way in ways) * 1.5
    further = list(everything[PROBES: PROBES + max(2, int(SHAPE_MS / cost))])
    if context.options.scale >= 0.1:
        for number in further:
            found.chosen[number] = chosen[number]
            if found.chosen[number] not in ways:
                ways.append(found.chosen[number])
        _run(db, found, ways, further, warm)
    where = shape.condition(shape.first, 0)
    found.share = db.number("SELECT avg((%s)::int) FROM %s" % (where, shape.table.name))
    return found


# --- results ----------------------------------------------------------------------------------------------------------


def _show(context, found):
    rows = []
    for one in found:
        best = one.best("first")
        rows.append((one.shape.name, "%.3g %%" % (100 * one.share), one.choice(), "%.2f" % one.choice_ms("first"), best,
                     "%.2f" % one.way_ms("first", best), "%.2f%s" % (one.ratio("first"), "" if _is_good(one, "first") else " !"),
                     "%.2f%s" % (one.ratio("again"), "" if _is_good(one, "again") else " !"),
                     "%.3f" % one.recall_of(one.choice()),
                     " ".join("%s %.2f" % (way, one.way_ms("first", way)) for way in one.ways)))
        context.record("shape", one.shape.table.data, shape=one.shape.name, rows=one.shape.table.rows, limit=one.shape.limit,
                       share=one.share, choice=one.choice(), plan=one.plan,
                       ratio={phase: one.ratio(phase) for phase in one.times},
                       ms={phase: {way: one.way_ms(phase, way) for way in one.ways} for phase in one.times},
                       best={phase: one.best(phase) for phase in one.times}, queries=len(one.chosen),
                       recall={way: one.recall_of(way) for way in one.ways})
    context.table(("shape", "rows", "choice", "ms", "best", "ms", "ratio", "again", "recall", "all ways, ms"), rows)
    context.require(len(found) >= LEAST_SHAPES or context.options.scale < 0.1, "too few shapes")
    good = {phase: sum(_is_good(one, phase) for one in found) for phase in ("first", "again")}
    context.claim("shapes whose choice is within %g x of the best way" % WORST, "%d of %d" % (good["first"], len(found)),
                  good["first"] >= ENOUGH * len(found), ">= %g %%" % (100 * ENOUGH))
    # The planner does not know of which conditions something is kept.
    context.say("  of conditions used again: %d of %d" % (good["again"], len(found)))
    context.record("good choices", shapes=len(found), **good)


def _is_good(one, phase):
    return one.ratio(phase) <= WORST
