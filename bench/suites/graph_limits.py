"""graph-limits: recall and time of long answers, from a LIMIT of 10 to one of 10,000, in strict order at the defaults.

Twice: as the scan knows the LIMIT, and makes room for it; and as the server's own index scan, which is told nothing of it, as it is
below a join. Beside them pgvector's iterative scan in strict order, with as much memory and as many tuples as it likes, and, as a ratio, the
exact answer by the same server: a scan of the table and a sort. All in memory; truth: the exact answers.
"""

import tempfile

from harness.context import median, ratios
from suites import graphs, indexed

# One connection never uses two cores, and waking the other one for every query takes as long as many a search.
PIN = "same"
LIMITS = (10, 100, 1000, 2000, 5000, 10000)
QUERIES = 40
LONG = 2000  # from here on answers are longer than what is planned for
WAYS = {
    "LIMIT known": [],
    "LIMIT unknown": ["SET tandem.enable_custom_scan = off"],
    "pgvector strict": ["SET hnsw.iterative_scan = strict_order", "SET hnsw.max_scan_tuples = 2147483647", "SET hnsw.scan_mem_multiplier = 1000"],
    "sort": ["SET enable_indexscan = off", "SET tandem.enable_custom_scan = off", "SET enable_seqscan = on"],
}


def run(context):
    for name in context.options.sets or ("acl", "syn1m"):
        data = context.set(name)
        context.say("graph-limits: %s, %d rows x %d, m %d, ef_construction %d, ef_search %d"
                    % (name, data.rows, data.dims, graphs.M, graphs.EF_CONSTRUCTION, graphs.EF_SEARCH))
        built = indexed.of(context, data)
        with tempfile.TemporaryDirectory() as folder:
            limits = [limit for limit in LIMITS if limit <= data.rows // 2]
            truth = graphs.truth_of(context, data, folder, queries=QUERIES, k=limits[-1])
            _compare(context, data, built, truth, limits)


def _compare(context, data, built, truth, limits):
    lines = {}
    for turn in range(context.repeats(3)):
        context.progress("turn %d" % (turn + 1))
        for limit in limits:
            for way in WAYS:
                db = built.other if way.startswith("pgvector") else built.db
                if db:
                    lines.setdefault((limit, way), []).append(_ask(context, data, db, truth, limit, WAYS[way]))
    table = []
    for (limit, way), turns in lines.items():
        recall, micros = turns[0]["recall"], [line["p50_us"] for line in turns]
        slower = ratios(micros, [line["p50_us"] for line in lines[limit, "sort"]])
        table.append((limit, way, "%.4f" % recall, "%.0f" % median(micros), "%.3f" % median(slower)))
        context.record("limit", data, variant=way, limit=limit, ef=graphs.EF_SEARCH, k=limit, recall=recall, p50_us=micros,
                       p99_us=[line["p99_us"] for line in turns])
        if way.startswith("LIMIT") and limit >= LONG:
            first = lines[limits[0], "LIMIT known"][0]["recall"]
            context.claim("%s, LIMIT %d, %s: recall below that of ten rows" % (data.name, limit, way.split()[1]),
                          "%.4f" % (first - recall), recall >= first - 0.02, "<= 0.02")
            context.claim("%s, LIMIT %d, %s: p50 / a sort of everything" % (data.name, limit, way.split()[1]),
                          "%.2f x" % median(slower), median(slower) <= 1, "<= 1 x")
    context.table(("LIMIT", "way", "recall", "p50 us", "/ sort"), table)


def _ask(context, data, db, truth, limit, settings):
    options = graphs.query_options(data, truth, settings=settings, k=limit)
    if settings == WAYS["sort"]:
        options["forbid"] = options.pop("expect")
    return context.tools.client("query", db, **options, limit=QUERIES, rounds=1, warmup=5)
