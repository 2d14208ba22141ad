"""budget-pressure: searches with a budget of one half and one eighth of what the graph wants; what counting them costs; who waits.

Rates with all, half and an eighth of the graph in memory, everything else being in shared_buffers, each judged against the exact
answers. With half, also in as much memory as pgvector gets: shared_buffers of pgvector are as large as shared_buffers and the
budget of ours together, and neither holds its index. Then tandem.track_query_patterns on against off on one connection, and what
eight searchers at once wait for.
"""

import contextlib
import subprocess
import tempfile
import time

from harness.context import SuiteFailed, median, rate, ratios, spread
from suites import graphs, indexed

# One connection never uses two cores, and waking the other one for every query takes as long as many a search.
PIN = "same"
SETS = ("syn1m", "acl")
PARTS = {"all": 1.1, "half": 0.5, "an eighth": 0.125}  # of what the graph wants
SMALL_BUFFERS_MB = 128  # the server's default
TRACKED_TURNS, SEARCHERS, LOOKS = 60, 8, 100
# What each search in flight waits for.
LOOK = ("SELECT string_agg(coalesce(wait_event_type || ' ' || wait_event, 'none'), ',') FROM pg_stat_activity "
        "WHERE application_name = 'pgbench' AND state = 'active'")
LOCKS = ("LWLock", "Lock", "BufferPin")


def run(context):
    if not context.server.can_restart():
        context.say("budget-pressure: this server is not ours to restart; left out")
        return
    for name in context.options.sets or (SETS if context.options.scale >= 0.5 else SETS[:1]):
        data = context.set(name)
        context.say("budget-pressure: %s, %s rows x %d" % (data.name, rate(data.rows), data.dims))
        built = indexed.of(context, data)
        measure(context, built.db, built.other, data)


def measure(context, db, other, data):
    graphs.prewarm(db)
    wanted_mb = db.number("SELECT sum(wanted_bytes) FROM tandem_memory WHERE indexname = 'items_embedding' AND kind = 'graph'") / (1 << 20)
    by_part(context, db, data, wanted_mb)
    if other:
        beside_pgvector(context, db, other, data, wanted_mb)
    context.server.restart()
    graphs.prewarm(db)
    tracking(context, db, data)
    with context.all_cores():
        waits(context, db, data)


def by_part(context, db, data, wanted_mb):
    """All queries, warm, with each budget; restarts in turns."""
    lines = {part: [] for part in PARTS}
    for turn in range(context.repeats(3)):
        for part in sorted(PARTS, reverse=turn % 2 == 1):
            context.progress("%s in memory, turn %d" % (part, turn + 1))
            with restarted(context, {"tandem.memory_budget": "%dMB" % max(1, wanted_mb * PARTS[part]), "tandem.graph_share": "0.9",
                                     "tandem.auto_balance": "off"}):
                graphs.prewarm_alone(db)
                lines[part].append(graphs.search(context, db, data, data.path("gt.ivecs"), rounds=3))
    table = []
    for part, runs in lines.items():
        qps, recall = [line["qps_median"] for line in runs], runs[0]["recall"]
        share = ratios(qps, [line["qps_median"] for line in lines["all"]])
        table.append((part, "%.0f" % (wanted_mb * PARTS[part]), "%.4f" % recall, rate(median(qps)), "%.2f x" % median(share),
                      *("%.0f" % median([line[key] for line in runs]) for key in ("p50_us", "p99_us"))))
        context.record("part in memory", data, variant=part, budget_mb=wanted_mb * PARTS[part], recall=recall, k=10, qps=spread(qps),
                       share_of_all=spread(share), p99_us=spread(line["p99_us"] for line in runs))
    context.table(("in memory", "MB", "recall@10", "QPS", "of all", "p50 us", "p99 us"), table)
    same = len({"%.6f" % runs[0]["recall"] for runs in lines.values()}) == 1
    context.claim("%s: recall with each budget" % data.name, "the same" if same else "differs", same, "the same")
    half = median(ratios([line["qps_median"] for line in lines["half"]], [line["qps_median"] for line in lines["all"]]))
    context.claim("%s: QPS with half of it in memory / with all" % data.name, "%.2f x" % half, half >= 0.6, ">= 0.6 x")


@contextlib.contextmanager
def restarted(context, settings):
    """The server has these settings while the block runs."""
    context.server.run(*("ALTER SYSTEM SET %s = '%s'" % item for item in settings.items()))
    context.server.restart()
    try:
        yield
    finally:
        context.server.run(*("ALTER SYSTEM RESET %s" % name for name in settings))


def beside_pgvector(context, db, other, data, wanted_mb):
    """The same memory for both: ours a budget of half of what the graph wants and small buffers, pgvector's all as buffers."""
    budget = max(8, wanted_mb / 2)
    memory = {
        "tandem": (db, {"shared_buffers": "%dMB" % SMALL_BUFFERS_MB, "tandem.memory_budget": "%dMB" % budget, "tandem.graph_share": "0.9"}),
        "pgvector": (other, {"shared_buffers": "%dMB" % (SMALL_BUFFERS_MB + budget), "tandem.memory_budget": "0"})}
    lines = {name: [] for name in memory}
    for turn in range(context.repeats(3)):
        for name in sorted(memory, reverse=turn % 2 == 1):
            database, settings = memory[name]
            context.progress("%s in %.0f MB, turn %d" % (name, SMALL_BUFFERS_MB + budget, turn + 1))
            with restarted(context, settings):
                (graphs.prewarm_alone if name == "tandem" else graphs.prewarm)(database)
                lines[name].append(graphs.search(context, database, data, data.path("gt.ivecs"), rounds=2))
    for name, runs in lines.items():
        context.record("the same memory", data, engine=name, budget_mb=budget, recall=runs[0]["recall"], k=10,
                       qps=spread(line["qps_median"] for line in runs))
    found = ratios(*([line["qps_median"] for line in lines[name]] for name in ("tandem", "pgvector")))
    context.claim("%s: QPS in %.0f MB, half of it for the graph / pgvector's (recall %.3f, %.3f)" % (
        data.name, SMALL_BUFFERS_MB + budget, lines["tandem"][0]["recall"], lines["pgvector"][0]["recall"]),
        "%.1f x" % median(found), median(found) >= 10, ">= 10 x")


def tracking(context, db, data):
    """On one connection, on and off in turns, short ones: what else the machine does then falls on both of a pair."""
    context.progress("counting on and off")
    settings = ["SET tandem.track_query_patterns = %s" % value for turn in range(TRACKED_TURNS)
                for value in (("on", "off") if turn % 2 else ("off", "on"))]
    lines = context.tools.client_lines("query", db, **graphs.query_options(data), rounds=1, sweep=settings)
    rates = {value: [line["qps_median"] for setting, line in zip(settings, lines) if setting.endswith(value)] for value in ("on", "off")}
    cpu = {value: [line["backend_cpu_us"] for setting, line in zip(settings, lines) if setting.endswith(value)] for value in ("on", "off")}
    found = ratios(rates["on"], rates["off"])
    context.record("counting", data, variant="on / off", ratio=spread(found), qps_on=spread(rates["on"]), qps_off=spread(rates["off"]),
                   backend_cpu_ratio=spread(ratios(cpu["off"], cpu["on"])))
    context.say("  processor time of the backend, off / on: %.3f x" % median(ratios(cpu["off"], cpu["on"])))
    context.claim("%s: QPS with tandem.track_query_patterns on / off" % data.name, "%.3f x" % median(found), median(found) >= 0.98, ">= 0.98 x")


def waits(context, db, data):
    """What searchers wait for, as a sample of pg_stat_activity; and that there are as many at work."""
    context.progress("%d searchers" % SEARCHERS)
    looks_wanted = LOOKS if context.options.scale >= 0.5 else LOOKS // 5
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        # Many searches in a statement: with one, pgbench is what eight sessions wait for, and hardly any is at work when looked at.
        statement = ("SELECT count(n.id) FROM (SELECT embedding FROM items WHERE id BETWEEN :q AND :q + 99) q, "
                     "LATERAL (SELECT id FROM items ORDER BY embedding %s q.embedding LIMIT 10) n" % graphs.OPERATORS[data.metric][0])
        plan = db.plan(statement.replace(":q", "5"))
        context.require("items_embedding" in plan or context.options.scale < 0.5, "searches do not go by the index:\n" + plan)
        file.write("\\set q random(1, :rows - 100)\n%s;\n" % statement)
        file.flush()
        seen = {}
        with subprocess.Popen([db.program("pgbench"), "-n", "-M", "prepared", "-c", str(SEARCHERS), "-j", "2", "-T", str(looks_wanted // 20 + 7), "-D", "rows=%d" % data.rows,
                               "-f", file.name, db.conninfo()], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as bench:
            time.sleep(1)
            # Each look a statement of its own, every 50 ms: within one the server does not look again.
            for row in db.rows(*["SELECT pg_sleep(0.05)", LOOK] * looks_wanted):
                for event in filter(None, row[0].split(",")):
                    seen[event] = seen.get(event, 0) + 1
            out = bench.communicate()[0]
        if "tps = " not in out:
            raise SuiteFailed("pgbench: " + out[-500:])
    looks = sum(seen.values())
    locks = sum(count for event, count in seen.items() if event.split()[0] in LOCKS)
    text = ", ".join("%s %.1f %%" % (event, 100 * count / looks) for event, count in sorted(seen.items(), key=lambda item: -item[1]))
    context.record("waits", data, searchers=SEARCHERS, looks=looks, seen=seen)
    context.say("  %s searches seen in flight: %s" % (rate(looks), text))
    context.claim("%s: %d searchers: of searches in flight, those that wait for a lock, ours or the server's" % (data.name, SEARCHERS),
                  "%.2f %% of %s" % (100 * locks / max(1, looks), rate(looks)), looks > looks_wanted * SEARCHERS / 2 and locks <= 0.005 * looks, "<= 0.5 %, of more than half of all looks")
