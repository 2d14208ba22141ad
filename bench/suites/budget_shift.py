"""budget-shift: one budget under a load that shifts: searches, searches with filters, conditions alone, and searches again.

The working set of graphs and sets of filters is twice the budget. Mode `coordinated`, which moves memory between the two, against
`independent`, which does not, in turns, each from a restart on. Beside the rate of each phase, what the caches had second by second
is drawn into bench/results/budget-shift.png, where matplotlib is installed.
"""

import os
import re
import subprocess
import tempfile
import time

from harness.context import SuiteFailed, median, rate, ratios, spread
from harness.tools import BENCH
from suites import graphs

ROWS, SECONDS, CLIENTS = 400_000, 30, 2
MODES = ("coordinated", "independent")
WANTED = "(SELECT embedding FROM wanted WHERE id = :q)"
NEAREST = "SELECT id FROM items %s ORDER BY embedding <-> " + WANTED + " LIMIT 10;\n"
# By Zipf's law: some conditions are asked again and again, others seldom.
PICK = "\\set q random(1, :queries)\n\\set tag random_zipfian(1, 1000, 1.05) - 1\n\\set sub random_zipfian(1, 100, 1.05) - 1\n"
PHASES = (
    ("searches", PICK + NEAREST % ""),
    ("with filters", PICK + NEAREST % "WHERE sub = :sub OR tag = :tag" + NEAREST % "WHERE sub = :sub AND price < 20"),
    ("conditions", PICK + "SELECT count(*) FROM items WHERE tag = :tag;\n" * 4 + NEAREST % "WHERE sub = :sub"),
    ("searches again", PICK + NEAREST % ""),
)


def run(context):
    if not context.server.can_restart():
        context.say("budget-shift: this server is not ours to restart; left out")
        return
    data = context.set("syn1m")
    rows = min(data.rows, context.scaled(ROWS, 20_000))
    db = context.database()
    _fill(context, db, data, rows)
    budget = _budget(db)
    context.say("budget-shift: %s, %s rows x %d, a budget of %d MB" % (data.name, rate(rows), data.dims, budget))
    seconds = SECONDS if context.options.scale >= 0.5 else 5
    runs = {mode: [] for mode in MODES}
    with context.all_cores(), db.configured(memory_budget="%dMB" % budget, rebalance_interval="5s"):
        for turn in range(context.repeats(3)):
            for mode in sorted(MODES, reverse=turn % 2 == 1):
                context.progress("%s, turn %d" % (mode, turn + 1))
                with db.configured(mode=mode):
                    context.server.restart()
                    runs[mode].append(_shift(db, data, seconds))
    context.server.restart()
    _report(context, data, runs, rows, budget)
    _draw(runs)
    context.server.drop_database("tandem_bench")


def _fill(context, db, data, rows):
    context.progress("loading")
    db.run(data.create_table("items"), "CREATE TABLE wanted (id bigint PRIMARY KEY, embedding vector(%d))" % data.dims)
    context.tools.client("copy", db, sql="COPY items FROM STDIN (FORMAT binary)", file=data.path("rows.copy"))
    context.tools.client("copy", db, sql=graphs.COPY % "wanted", vectors=data.path("query.fvecs"))
    db.run("DELETE FROM items WHERE id >= %d" % rows, "VACUUM FULL items",
           *("CREATE INDEX ON items (%s)" % column for column in ("sub", "tag", "price")), "VACUUM ANALYZE items")
    context.progress("building")
    graphs.build(context, db, data)
    graphs.prewarm(db)


def _budget(db):
    """Half of what the graph wants, in megabytes; the sets come on top."""
    wanted = db.number("SELECT sum(wanted_bytes) FROM tandem_memory WHERE indexname = 'items_embedding' AND kind = 'graph'")
    return max(8, round(wanted / 2 / (1 << 20)))


def _shift(db, data, seconds):
    """One pass through the phases: [(phase, rate, mean ms, samples)]."""
    return [(name, *_phase(db, data, script, seconds)) for name, script in PHASES]


def _phase(db, data, script, seconds):
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(script)
        file.flush()
        line = [db.program("pgbench"), "-n", "-M", "prepared", "-c", str(CLIENTS), "-T", str(seconds), "-P", "1",
                "-D", "queries=%d" % (data.queries - 1), "-f", file.name, db.conninfo()]
        samples = []
        with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as bench:
            while bench.poll() is None:
                samples.append(_sample(db))
                time.sleep(1)
            out, progress = bench.stdout.read(), bench.stderr.read()
    tps = re.search(r"^tps = ([0-9.]+)", out, re.M)
    latency = re.search(r"^latency average = ([0-9.]+) ms", out, re.M)
    if not tps or not latency:
        raise SuiteFailed("pgbench: " + (progress or out)[-500:])
    rates = [float(text) for text in re.findall(r"([0-9.]+) tps", progress)]
    return float(tps[1]), float(latency[1]), samples, rates


def _sample(db):
    """Megabytes of graphs and of filters, and the share that graphs are to have."""
    row = db.rows("SELECT graph_bytes / 1048576, filter_bytes / 1048576, graph_share FROM tandem_coordination")[0]
    return tuple(map(float, row))


def _report(context, data, runs, rows, budget):
    table, worst = [], None
    for number, (name, _) in enumerate(PHASES):
        rates = {mode: [one[number][1] for one in runs[mode]] for mode in MODES}
        ratio = median(ratios(rates["coordinated"], rates["independent"]))
        worst = ratio if worst is None else min(worst, ratio)
        table.append((name, *("%s" % rate(median(rates[mode])) for mode in MODES), "%.2f x" % ratio))
        for mode in MODES:
            context.record("phase", data, phase=name, variant=mode, rows=rows, budget_mb=budget, tps=spread(rates[mode]))
    totals = {mode: [sum(phase[1] for phase in one) for one in runs[mode]] for mode in MODES}
    total = median(ratios(totals["coordinated"], totals["independent"]))
    context.table(("phase", *("%s tps" % mode for mode in MODES), "ratio"), table)
    context.claim("throughput of all phases, coordinated / independent", "%.2f x" % total, total >= 1.5, ">= 1.5 x")
    context.claim("the worst phase", "%.2f x" % worst, worst >= 0.95, ">= 0.95 x")


def _draw(runs):
    try:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as pyplot
    except ImportError:
        return
    chart, axes = pyplot.subplots(2, len(MODES), figsize=(11, 6), sharex="col", sharey="row", squeeze=False)
    for column, mode in enumerate(MODES):
        phases = runs[mode][-1]
        samples = [sample for phase in phases for sample in phase[3]]
        rates = [one for phase in phases for one in phase[4]]
        axes[0][column].plot([s[0] for s in samples], label="graphs, MB")
        axes[0][column].plot([s[1] for s in samples], label="filters, MB")
        axes[1][column].plot(rates, label="transactions/s")
        at = 0
        for name, _, _, samples_of_phase, _ in phases:
            axes[0][column].axvline(at, color="grey", linewidth=0.5)
            axes[0][column].annotate(name, (at, 0), fontsize=8)
            at += len(samples_of_phase)
        axes[0][column].set_title(mode)
        for row in axes:
            row[column].legend()
    axes[1][0].set_xlabel("seconds")
    chart.tight_layout()
    chart.savefig(os.path.join(BENCH, "results", "budget-shift.png"))
    pyplot.close(chart)
