"""budget-shift: one budget under a load that shifts: searches, searches with filters, mostly conditions, and searches again.

What is used in the course of it is three times the budget, half of it a graph and half of it sets of filters: a phase of searches alone
could do with more than all of the budget, and so could one of searches with filters. Three ways of sharing the memory out take turns,
each from a restart on: tandem.mode coordinated, independent, and lru, which keeps what was used last wherever it is and is there for
this comparison only. A phase is as long as the next; transactions are single statements. What the caches had, what they found and how
long queries took, second by second, is drawn into bench/results/budget-shift-SET.png where matplotlib is installed.
"""

import contextlib
import math
import os
import statistics
import subprocess
import tempfile
import time

from harness.context import SuiteFailed, median, rate, ratios, spread
from harness.tools import BENCH
from suites import graphs, indexed

SETS = ("acl", "syn1m")
MODES = ("coordinated", "independent", "lru")
SECONDS, CLIENTS = 24, 2
REBALANCE = "2s"  # the default of 5 minutes is meant for phases of hours
# Of the budget: what the graph wants, and the sets of the conditions that the two phases with filters ask for; three times as much as there
# is. Were it little more than the budget, a fixed share would do nearly as well: it has all codes of a graph that wants 0.85 of it, and of
# the rest a search reads little.
GRAPH, WALKED, LISTED = 1.5, 0.75, 0.75
# A tenth of the rows, of a column of 1,000 values that says nothing of the vector, and some more with each time round.
RANGE = "tag >= :low AND tag < :high"
PICK = "\\set q random(0, :queries - 1)\n"
PICK_RANGE = "\\set low :i %% 897\n\\set high :low + %d + :i / 897\n"
PICK_WALKED = PICK + "\\set i random(0, :walked - 1)\n" + PICK_RANGE % 90
PICK_LISTED = PICK + "\\set i random(0, :listed - 1)\n" + PICK_RANGE % 60 + "\\set sub random(0, 99)\n"
NEAREST = "SELECT id FROM items %s ORDER BY embedding %s (SELECT embedding FROM wanted WHERE id = :q) LIMIT 10;\n"
# What is measured is memory, not planning; which plan that is, is looked at before.
ONE_PLAN = "plan_cache_mode=force_generic_plan"
# (name, [(script, weight)]); %s is the operator.
PHASES = (
    ("searches", ((PICK + NEAREST % ("", "%s"), 1),)),
    ("with filters", ((PICK_WALKED + NEAREST % ("WHERE " + RANGE, "%s"), 9), (PICK + NEAREST % ("", "%s"), 1))),
    ("mostly conditions", (
        (PICK_LISTED + "SELECT count(*) FROM items WHERE sub = :sub;\n", 4),
        (PICK_LISTED + NEAREST % ("WHERE " + RANGE, "%s"), 1))),
    ("searches again", ((PICK + NEAREST % ("", "%s"), 1),)),
)


def run(context):
    if not context.server.can_restart():
        context.say("budget-shift: this server is not ours to restart; left out")
        return
    for name in context.options.sets or (SETS if context.options.scale >= 0.5 else SETS[:1]):
        data = context.set(name)
        db = indexed.of(context, data, beside_pgvector=False).db
        if db.value("SELECT to_regclass('wanted')") is None:
            db.run("CREATE TABLE wanted (id bigint PRIMARY KEY, embedding vector(%d))" % data.dims)
            context.tools.client("copy", db, sql=graphs.COPY % "wanted", vectors=data.path("query.fvecs"))
        measure(context, db, data)


def measure(context, db, data):
    """Turns of all modes."""
    plan = plan_of(db, data)
    check_plans(context, db, data)
    context.say("budget-shift: %s, %s rows x %d; a budget of %d MB, of which the graph wants %.0f %%; %s and %s conditions"
                % (data.name, rate(data.rows), data.dims, plan["budget_mb"], 100 * GRAPH, plan["walked"], plan["listed"]))
    runs = {mode: [] for mode in MODES}
    with context.all_cores(), db.configured(memory_budget="%dMB" % plan["budget_mb"], rebalance_interval=REBALANCE):
        for turn in range(context.repeats(1)):
            for mode in sorted(MODES, reverse=turn % 2 == 1):
                context.progress("%s: %s, turn %d" % (data.name, mode, turn + 1))
                with db.configured(mode=mode):
                    context.server.restart()
                    graphs.prewarm_alone(db)
                    runs[mode].append(shift(context, db, data, plan))
                context.progress(", ".join("%s %s/s" % (each["name"], rate(each["tps"])) for each in runs[mode][-1]))
    context.server.restart()
    report(context, data, runs, plan)
    if context.options.scale == 1.0:
        draw(data, runs, plan)


def plan_of(db, data):
    """The budget, and how many conditions make as many sets as wanted: a bit for each row, and one for each node."""
    wanted = db.number("SELECT sum(wanted_bytes) FROM tandem_memory WHERE indexname = 'items_embedding' AND kind = 'graph'")
    budget = max(8, round(wanted / GRAPH / (1 << 20)))
    set_bytes = data.rows / 8
    return dict(budget_mb=budget, walked=max(2, round(WALKED * budget * (1 << 20) / (2 * set_bytes))),
                listed=max(2, round(LISTED * budget * (1 << 20) / (2 * set_bytes))))


def check_plans(context, db, data):
    """Searches go by the index, those with a filter by sets; not so in a smoke run, where a few rows are sorted sooner."""
    if context.options.scale < 0.5:
        return
    operator = graphs.OPERATORS[data.metric][0]
    for where, sign in (("", "Tandem Scan"), ("WHERE tag >= $2 AND tag < $3", "Bitmap Index Scan")):
        query = (NEAREST % (where, operator)).replace(":q", "$1").strip("\n;")
        text = "\n".join(row[0] for row in db.rows("SET " + ONE_PLAN, "PREPARE p(int, int, int) AS " + query, "EXPLAIN EXECUTE p(1, 100, 200)"))
        context.require("Tandem Scan" in text and sign in text, "searches do not go by the index:\n" + text)


def shift(context, db, data, plan):
    """One pass through the phases."""
    seconds = max(1, round(SECONDS * min(1, 2 * context.options.scale)))
    operator = graphs.OPERATORS[data.metric][0]
    return [phase(db, data, plan, name, [(text.replace("%s", operator), weight) for text, weight in scripts], seconds)
            for name, scripts in PHASES]


def phase(db, data, plan, name, scripts, seconds):
    """What one phase did: transactions/s, all latencies in ms, and what was seen second by second."""
    with tempfile.TemporaryDirectory() as folder:
        line = [db.program("pgbench"), "-n", "-M", "prepared", "-c", str(CLIENTS), "-j", str(CLIENTS), "-T", str(seconds), "-l",
                "--log-prefix=" + os.path.join(folder, "log")]
        for variable, value in (("queries", data.queries), ("walked", plan["walked"]), ("listed", plan["listed"])):
            line += ["-D", "%s=%d" % (variable, value)]
        for number, (text, weight) in enumerate(scripts):
            path = os.path.join(folder, "%d.sql" % number)
            with open(path, "w", encoding="ascii") as file:
                file.write(text)
            line += ["-f", "%s@%d" % (path, weight)]
        samples, cpu = [], ended_cpu_seconds(db)
        options = dict(os.environ, PGOPTIONS="-c " + ONE_PLAN)
        with subprocess.Popen([*line, db.conninfo()], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=options) as bench:
            while bench.poll() is None:
                samples.append(sample(db))
                with contextlib.suppress(subprocess.TimeoutExpired):
                    bench.wait(1)
            out, problems = bench.stdout.read(), bench.stderr.read()
        if bench.returncode != 0:
            raise SuiteFailed("pgbench: " + (problems or out)[-500:])
        done = [line for path in os.listdir(folder) if path.startswith("log") for line in log_of(os.path.join(folder, path))]
    # Not none, of which there are no ratios, where the machine stood still for a second.
    return dict(name=name, tps=max(1, len(done)) / seconds, ms=sorted(ms for _, ms in done), samples=samples, seconds=by_second(done),
                cpu_us=1e6 * (ended_cpu_seconds(db) - cpu) / max(1, len(done)))


def ended_cpu_seconds(db):
    """Processor time of the server's processes that have ended, as all of a phase's have: it stays comparable on a machine that does other
    things, too."""
    time.sleep(0.2)  # the last ones are ending
    postmaster = int(db.value("SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)"))
    with open("/proc/%d/stat" % postmaster, encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")  # cutime, cstime


def log_of(path):
    """(second, latency in ms) of each transaction."""
    with open(path, encoding="ascii") as lines:
        for line in lines:
            fields = line.split()
            yield int(fields[4]), float(fields[2]) / 1000


def by_second(done):
    """[(second of the phase, transactions, p50, p99)]."""
    seconds = {}
    for second, ms in done:
        seconds.setdefault(second, []).append(ms)
    first = min(seconds, default=0)
    return [(second - first, len(times), percentile(sorted(times), 0.5), percentile(sorted(times), 0.99))
            for second, times in sorted(seconds.items())]


def settled(seconds):
    """From which second of a phase on its rate is nearly that of its end: so long a shift of the load is felt."""
    counts = [count for _, count, _, _ in seconds]
    end = statistics.median(counts[-max(1, len(counts) // 4):]) if counts else 0
    return next((second for (second, count, _, _) in seconds if count >= 0.9 * end), math.nan)


def percentile(ordered, part):
    return ordered[min(len(ordered) - 1, math.ceil(part * len(ordered)) - 1)] if ordered else float("nan")


def sample(db):
    """Megabytes of graphs and of sets, the graphs' target, and how often was found what was looked for, in sums."""
    row = db.rows("SELECT c.graph_bytes / 1048576.0, c.filter_bytes / 1048576.0, c.graph_target_bytes / 1048576.0, f.hits, f.misses, "
                  "coalesce(m.hits, 0), coalesce(m.misses, 0) FROM tandem_coordination c, tandem_filter_cache f, "
                  "(SELECT sum(hits) AS hits, sum(misses) AS misses FROM tandem_memory WHERE kind = 'graph') m")[0]
    return [float(field) for field in row]


# --- figures ----------------------------------------------------------------------------------------------------------


def total_of(one):
    """(transactions/s, p99 in ms) over all phases, which are equally long."""
    times = sorted(ms for each in one for ms in each["ms"])
    return statistics.mean(each["tps"] for each in one), percentile(times, 0.99)


def work_ratio(ones, others):
    """Time for as many transactions in each phase as in any other."""
    def seconds(one):
        return sum(1 / each["tps"] for each in one)
    return median([seconds(other) / seconds(one) for one, other in zip(ones, others)])


def mean_ratio(ones, others):
    """Phases count alike, however many transactions there are in one."""
    return median([statistics.geometric_mean(a["tps"] / b["tps"] for a, b in zip(*pair)) for pair in zip(ones, others)])


def report(context, data, runs, plan):
    table, worst = [], math.inf
    for number, (name, _) in enumerate(PHASES):
        rates = {mode: [one[number]["tps"] for one in runs[mode]] for mode in MODES}
        slow = {mode: [percentile(one[number]["ms"], 0.99) for one in runs[mode]] for mode in MODES}
        ratio = median(ratios(rates["coordinated"], rates["independent"]))
        worst = min(worst, ratio)
        table.append((name, *(rate(median(rates[mode])) for mode in MODES), "%.2f x" % ratio,
                      "%.2f x" % median(ratios(rates["coordinated"], rates["lru"])), *("%.2f" % median(slow[mode]) for mode in MODES),
                      *("%.0f" % median([one[number]["cpu_us"] for one in runs[mode]]) for mode in MODES)))
        for mode in MODES:
            context.record("phase", data, phase=name, variant=mode, tps=spread(rates[mode]), p99_ms=spread(slow[mode]),
                           settled_s=spread(settled(one[number]["seconds"]) for one in runs[mode]),
                           server_cpu_us=spread(one[number]["cpu_us"] for one in runs[mode]), **plan)
    totals = {mode: [total_of(one) for one in runs[mode]] for mode in MODES}
    for mode in MODES:
        context.record("all phases", data, variant=mode, tps=spread([one[0] for one in totals[mode]]),
                       p99_ms=spread([one[1] for one in totals[mode]]), **plan)
    rates, slow = ({mode: [one[field] for one in totals[mode]] for mode in MODES} for field in (0, 1))
    table.append(("all of it", *(rate(median(rates[mode])) for mode in MODES),
                  *("%.2f x" % median(ratios(rates["coordinated"], rates[other])) for other in MODES[1:]),
                  *("%.2f" % median(slow[mode]) for mode in MODES), *("" for _ in MODES)))
    context.table(("phase", *("%s tps" % mode for mode in MODES), "/ indep.", "/ lru", *("p99 ms, %s" % mode for mode in MODES),
                   *("CPU us, %s" % mode for mode in MODES)), table)
    for other, target in (("independent", 1.5), ("lru", 1.2)):
        gains = [median(ratios([one[0] for one in totals["coordinated"]], [one[0] for one in totals[other]])),
                 mean_ratio(runs["coordinated"], runs[other]), work_ratio(runs["coordinated"], runs[other]),
                 median(ratios([one[1] for one in totals[other]], [one[1] for one in totals["coordinated"]]))]
        context.record("gain", data, variant="coordinated / " + other, tps=gains[0], tps_mean_of_phases=gains[1],
                       time_for_the_same=gains[2], p99=gains[3])
        context.claim("%s: coordinated against %s: transactions in all; mean of the phases; time for the same work in each; p99" % (data.name, other),
                      "%.2f x; %.2f x; %.2f x; %.2f x better" % tuple(gains), max(gains) >= target, "one of them >= %.1f x" % target)
    context.claim("%s: the worst phase, coordinated / independent" % data.name, "%.2f x" % worst, worst >= 0.95, ">= 0.95 x")


def draw(data, runs, plan):
    """The last turn of each mode: memory, hit rates, latency, second by second."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as pyplot
    except ImportError:
        return
    chart, axes = pyplot.subplots(3, len(MODES), figsize=(13, 7.5), sharex=True, sharey="row", squeeze=False)
    for column, mode in enumerate(MODES):
        _draw_mode([row[column] for row in axes], mode, runs[mode][-1], plan)
    for row, text in zip(axes, ("MB", "found, % of what was looked for", "ms")):
        row[0].set_ylabel(text)
        row[0].legend(fontsize=8, loc="center left")
    chart.suptitle("%s, %s rows x %d, a budget of %d MB: searches, with filters, mostly conditions, searches again"
                   % (data.name, rate(data.rows), data.dims, plan["budget_mb"]), fontsize=10)
    chart.tight_layout()
    chart.savefig(os.path.join(BENCH, "results", "budget-shift-%s.png" % data.name), dpi=80)
    pyplot.close(chart)


def _draw_mode(axes, mode, phases, plan):
    memory, found, latency = axes
    memory.set_title("%s: %s transactions/s" % (mode, rate(total_of(phases)[0])))
    begin = 0
    for number, each in enumerate(phases):
        label = (lambda text: text if number == 0 else None)
        rows = each["samples"]
        at = [begin + i for i in range(len(rows))]
        memory.stackplot(at, [row[0] for row in rows], [row[1] for row in rows], colors=("tab:blue", "tab:orange"), alpha=0.7,
                         labels=("graphs", "sets of filters") if number == 0 else ())
        memory.plot(at, [row[2] for row in rows], color="black", linewidth=1, linestyle="--", label=label("the graphs' target"))
        for hits, color, text in ((5, "tab:blue", "codes and links"), (3, "tab:orange", "sets of filters")):
            shares = [_share(before, after, hits) for before, after in zip(rows, rows[1:])]
            found.plot(at[1:], shares, color=color, label=label(text))
        latency.plot([begin + s[0] for s in each["seconds"]], [s[2] for s in each["seconds"]], color="tab:green", label=label("p50"))
        latency.plot([begin + s[0] for s in each["seconds"]], [s[3] for s in each["seconds"]], color="tab:red", label=label("p99"))
        begin += len(rows)
        for axis in axes:
            axis.axvline(begin, color="grey", linewidth=0.5)
    memory.set_ylim(0, plan["budget_mb"] * 1.05)
    found.set_ylim(0, 103)
    latency.set_yscale("log")
    latency.set_xlabel("seconds")


def _share(before, after, hits):
    asked = after[hits] + after[hits + 1] - before[hits] - before[hits + 1]
    return 100 * (after[hits] - before[hits]) / asked if asked > 0 else math.nan
