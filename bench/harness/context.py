"""What a suite gets: the server, the programs, the sets, and where its tables, lines and verdicts go."""

import contextlib
import dataclasses
import os
import statistics
import sys

from data import sets
from harness.record import spread


COMPLETE = "complete"
SMOKE_NAPTIME = "200ms"  # that of merges is three of them


class SuiteFailed(Exception):
    """The suite could not measure what it is for, for example because a plan is not the one it needs."""

@dataclasses.dataclass
class Context:
    server: object
    tools: object
    recorder: object
    options: object  # of the command line: am, extension, opclass, with_clause, scale, repeats, seed
    pin: dict
    suite: str = ""
    failures: list = dataclasses.field(default_factory=list)
    misses: list = dataclasses.field(default_factory=list)
    kept: dict = dataclasses.field(default_factory=dict)  # what suites built for each other
    kept_databases: list = dataclasses.field(default_factory=list)

    # --- data and objects -------------------------------------------------------------------------------------

    def set(self, name):
        return sets.prepare(name, self.tools, self.options.scale)

    def scaled(self, count, least=200):
        """A number of rows at the chosen scale."""
        return max(least, int(count * self.options.scale))

    def naptime(self):
        """The worker's while a suite waits for graphs: shorter than by default, as short as may be in a smoke run."""
        return "1s" if self.options.scale >= 0.5 else SMOKE_NAPTIME

    def repeats(self, default):
        return self.options.repeats or (default if self.options.scale >= 0.5 else min(default, 2))

    def database(self):
        return self.server.fresh_database("tandem_bench", self.options.extension)

    def keep_database(self, name, extension):
        """A fresh one that stays until the run ends."""
        self.kept_databases.append(name)
        return self.server.fresh_database(name, extension)

    def found_database(self, name):
        """That of an earlier run, which has been filled, or None."""
        known = "SELECT count(*) FROM pg_database WHERE datname = '%s' AND shobj_description(oid, 'pg_database') = '%s'"
        found = self.options.keep and self.server.value(known % (name, COMPLETE)) == "1"
        return self.server.on(name) if found else None

    def mark_filled(self, db):
        db.run("COMMENT ON DATABASE %s IS '%s'" % (db.database, COMPLETE))

    def drop_kept(self):
        for name in self.kept_databases:
            self.server.drop_database(name)

    def core_list(self):
        return sorted(os.sched_getaffinity(0))

    def cores(self):
        return len(self.core_list())

    @contextlib.contextmanager
    def bound_to(self, *cores):
        """The server runs on these cores while the block does; afterwards where it was. A server that is not bound stays
        so."""
        before = self.server.pinned_to()
        if before is not None:
            self.server.pin(",".join(map(str, cores)))
        try:
            yield
        finally:
            self.server.pin(before)

    def all_cores(self):
        return self.bound_to(*self.core_list())

    def create_index(self, name, table):
        with_clause = " WITH (%s)" % self.options.with_clause if self.options.with_clause else ""
        return "CREATE INDEX %s ON %s USING %s (embedding %s)%s" % (
            name, table, self.options.am, self.options.opclass, with_clause,
        )

    def claim_chosen(self, db, text, index, **options):
        """Claims that the planner takes the index by itself, default settings, constants as a client sends them."""
        plan = self.tools.client("query", db, limit=1, rounds=1, warmup=0, **options)["plan"]
        node = next((line.strip(" ->") for line in plan.splitlines() if "Scan" in line), "?")
        self.claim("%s: the planner takes the index" % text, node, index in plan, index)

    # --- results ----------------------------------------------------------------------------------------------

    def say(self, text):
        print(text, flush=True)

    def progress(self, text):
        print("  ... %s" % text, file=sys.stderr, flush=True)

    def table(self, header, rows):
        """Right-aligned columns, the first one left-aligned."""
        cells = [[str(cell) for cell in row] for row in [header, *rows]]
        widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
        for number, row in enumerate(cells):
            self.say("  " + "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))))
            if number == 0:
                self.say("  " + "  ".join("-" * width for width in widths))

    def record(self, case, bench_set=None, **fields):
        line = {"case": case, "pin": self.pin, "scale": self.options.scale, "seed": self.options.seed}
        line.update(am=self.options.am, with_clause=self.options.with_clause)
        if bench_set is not None:
            line.update(dataset=bench_set.name, dataset_sha256=bench_set.description["sha256"])
            line.update(dataset_rows=bench_set.rows, dims=bench_set.dims)
        line.update(fields)
        self.recorder.write(self.suite, **line)

    def claim(self, text, value, holds, target):
        """A target of the project and what was measured; a miss is shown, it does not stop the run.

        At a reduced scale a target says nothing, so it is shown but not counted.
        """
        word = "ok" if holds else "MISSED"
        if self.options.scale < 1.0:
            word += " (scale %g: not counted)" % self.options.scale
        elif not holds:
            self.misses.append("%s: %s is %s, target %s" % (self.suite, text, value, target))
        self.say("  %-8s %s: %s (target %s)" % (word, text, value, target))
        self.record("claim", claim=text, value=value, holds=bool(holds), target=target)

    def require(self, holds, text):
        """Something without which the figures mean nothing."""
        if not holds:
            raise SuiteFailed(text)

    def fail(self, text):
        """A wrong answer: remembered, the run goes on and ends with an error."""
        self.say("  WRONG    " + text)
        self.failures.append("%s: %s" % (self.suite, text))


def ratios(numerator, denominator):
    """Pairwise ratios of two alternating series."""
    return [a / b for a, b in zip(numerator, denominator)]


def rate(value):
    return "{:,.0f}".format(value)


def median(values):
    return statistics.median(values)


__all__ = ["Context", "SuiteFailed", "median", "rate", "ratios", "spread"]
