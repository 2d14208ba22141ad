"""What takes part in a comparison of recall and speed: an index behind SQL, or hnswlib in process.

An engine has a `name`, how many `rounds` of all queries make one measurement of it, and measure(efs, rounds), which returns
one line of its program for each ef: recall, qps_median, p50_us, p99_us.
"""

import json
import subprocess

from harness.context import median, rate, spread
from harness.tools import ToolFailed
from suites import graphs

# Each search keeps about 1.4 times as many candidates as the one before. No engine finds ten rows with fewer than ten.
LADDER = (10, 14, 20, 28, 40, 57, 80, 113, 160, 226, 320, 453, 640, 905)


class Sql:
    """Searches through a prepared statement on one connection for each call, warmed up by a pass over all queries."""

    def __init__(self, context, name, db, data, truth, rounds=1, table="items"):
        self.context, self.name, self.db, self.data, self.truth = context, name, db, data, truth
        self.rounds, self.table = rounds, table
        self.setting = "hnsw.ef_search" if name.startswith("pgvector") else "tandem.ef_search"

    def set_ef(self, ef):
        return "SET %s = %d" % (self.setting, ef)

    def measure(self, efs, rounds=None):
        # Most effort first: it touches most of the memory that the connection has to map.
        falling = sorted(efs, reverse=True)
        lines = self.context.tools.client_lines(
            "query", self.db, **graphs.query_options(self.data, self.truth, self.table), rounds=rounds or self.rounds,
            sweep=[self.set_ef(ef) for ef in falling])
        return [dict(line, ef=ef) for ef, line in sorted(zip(falling, lines), key=lambda pair: pair[0])]


class Hnswlib:
    """hnswlib on float32, searching on one thread of a process that stays while the block runs."""

    name = "hnswlib"

    def __init__(self, context, data, truth, rounds=1, limit=None):
        self.rounds = rounds
        # Built on all cores, as only its searches are measured; then bound to the client's core.
        self.command = context.tools.command(
            "tandem-bench-hnswlib", base=data.path("base.fvecs"), query=data.path("query.fvecs"), truth=truth,
            metric=data.metric, m=graphs.M, ef_construction=graphs.EF_CONSTRUCTION, threads=context.cores(), limit=limit,
            ef="-", rounds=1, pinned=False)
        self.core = context.tools.cpu
        self.environment = context.tools.environment

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=self.environment)
        self.build = self._line()
        if self.core is not None:
            subprocess.run(["taskset", "-acp", str(self.core), str(self.process.pid)], capture_output=True, check=False)
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()

    def measure(self, efs, rounds=None):
        lines = []
        for ef in sorted(efs):
            runs = [self._search(ef) for _ in range(rounds or self.rounds)]
            runs.sort(key=lambda line: line["qps_median"])
            lines.append(runs[len(runs) // 2])
        return lines

    def _search(self, ef):
        self.process.stdin.write("%d\n" % ef)
        self.process.stdin.flush()
        return self._line()

    def _line(self):
        text = self.process.stdout.readline()
        if not text:
            raise ToolFailed("hnswlib ended with status %s" % self.process.wait())
        return json.loads(text)


def useful_efs(engine, low, high):
    """The part of LADDER from the last ef whose recall is below `low` to the first whose recall is at least `high`."""
    efs = []
    for ef in LADDER:
        recall = engine.measure([ef], 1)[0]["recall"]
        efs = [ef] if recall < low else [*efs, ef]
        if recall >= high:
            break
    return efs


def take_turns(context, engines, low, high, turns, beside=lambda: None):
    """{engine's name: [a turn's lines]}; within a turn every engine runs all its efs, another one first each time, and
    beside() is called."""
    efs = {}
    for engine in engines:
        context.progress("%s: looking for its ef" % engine.name)
        efs[engine.name] = useful_efs(engine, low, high)
    lines = {engine.name: [] for engine in engines}
    for turn in range(turns):
        context.progress("turn %d of %d" % (turn + 1, turns))
        for engine in engines[turn % len(engines) :] + engines[: turn % len(engines)]:
            lines[engine.name].append(engine.measure(efs[engine.name]))
        beside()
    return lines


def shown(lines):
    """Rows of a table of what take_turns() measured: engine, ef, recall, medians of queries/s, p50 and p99."""
    table = []
    for name, turns in lines.items():
        for runs in zip(*turns):
            figures = [median([line[key] for line in runs]) for key in ("qps_median", "p50_us", "p99_us")]
            table.append((name, runs[0]["ef"], "%.4f" % runs[0]["recall"], rate(figures[0]), *map("{:.0f}".format, figures[1:])))
    return table


def curves(turns):
    """The curves of some turns' lines, as harness.curves takes them."""
    return [[(line["recall"], line["qps_median"]) for line in lines] for lines in turns]


def record(context, data, turns_of, **fields):
    """A line for each engine and ef: what all turns measured."""
    for name, turns in turns_of.items():
        for runs in zip(*turns):
            busy = [line["backend_cpu_us"] for line in runs if line.get("backend_cpu_us") is not None]
            context.record("curve", data, engine=name, ef=runs[0]["ef"], k=10, recall=runs[0]["recall"],
                           qps=spread(line["qps_median"] for line in runs), p50_us=spread(line["p50_us"] for line in runs),
                           p99_us=spread(line["p99_us"] for line in runs), backend_cpu_us=spread(busy) if busy else None,
                           **fields)
