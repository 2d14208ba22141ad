"""What the suites about graphs share: making indexes, waiting until they are at rest, searching with recall, and watching
the processes that build."""

import os
import re
import threading
import time

import numpy as np

from data import formats
from harness.context import SuiteFailed, rate

M, EF_CONSTRUCTION, EF_SEARCH = 16, 128, 40  # the defaults
OPERATORS = {"l2": ("<->", "vector_l2_ops"), "cosine": ("<=>", "vector_cosine_ops")}
COPY = "COPY %s (id, embedding) FROM STDIN (FORMAT binary)"
REST_SECONDS = 600


def needs_worker(context):
    """True if the server folds by itself; without preload the suites fold by hand, which some cannot use."""
    return "tandem" in context.server.value("SHOW shared_preload_libraries")


def has_pgvector(context):
    """False, and says so, where the server does not offer it or nobody wants to wait for its builds."""
    if context.options.skip_pgvector:
        context.say("  pgvector is skipped")
        return False
    if context.options.extension == "vector" or not context.server.offers("vector"):
        context.say("  the server does not offer pgvector: its figures are left out")
        return False
    return True


def pgvector(context):
    """A fresh database with pgvector, or None."""
    return context.server.fresh_database("tandem_bench_pgvector", "vector") if has_pgvector(context) else None


def create_table(db, data, table="items"):
    db.run("CREATE TABLE %s (id bigint, embedding vector(%d))" % (table, data.dims))


def create_index(data, table="items", strategy="hnsw_batch", method="tandem"):
    options = "m = %d, ef_construction = %d" % (M, EF_CONSTRUCTION)
    if method == "tandem":
        options = "strategy = '%s'" % strategy + ("" if strategy == "flat" else ", " + options)
    return "CREATE INDEX %s_embedding ON %s USING %s (embedding %s) WITH (%s)" % (
        table, table, method, OPERATORS[data.metric][1], options)


def load(context, db, data, table="items", **options):
    return context.tools.client("copy", db, sql=COPY % table, vectors=data.path("base.fvecs"), **options)


def fold(context, db, index="items_embedding"):
    """Waits until every row is in a graph; seconds that took."""
    began = time.monotonic()
    db.run("CALL %s('%s')" % ("tandem_wait" if needs_worker(context) else "tandem_build", index))
    return time.monotonic() - began


def rest(context, db, index="items_embedding"):
    """Waits until every row is in a graph and nothing has been merged for as long as the worker waits before it merges what
    is at rest, three naptimes; seconds until then."""
    began = time.monotonic()
    fold(context, db, index)
    if not needs_worker(context):
        return time.monotonic() - began
    naptime = db.number("SELECT extract(epoch FROM current_setting('tandem.naptime')::interval)")
    pause = 3 * naptime + min(1, naptime)
    last, since = None, began
    while True:
        now = db.rows("SELECT segment_id FROM tandem_segments('%s')" % index), db.value(
            "SELECT count(pid) FROM tandem_build_progress WHERE indexname = '%s'" % index)
        if now != last or now[1] != "0":
            last, since = now, time.monotonic()
        if time.monotonic() - since > pause:
            return since - began
        if time.monotonic() - began > REST_SECONDS:
            raise SuiteFailed("%s does not come to rest" % index)
        time.sleep(0.2)


def segments(db, index="items_embedding"):
    return int(db.number("SELECT count(*) FROM tandem_segments('%s')" % index))


def build(context, db, data, table="items", strategy="hnsw_batch"):
    """CREATE INDEX of a loaded table and the worker's builds, with all cores, then waits until it is at rest; seconds until
    all rows were in graphs."""
    began = time.monotonic()
    with context.all_cores(), db.configured(naptime=context.naptime(), build_threads=context.cores()):
        db.run(create_index(data, table, strategy))
        fold(context, db, "%s_embedding" % table)
        seconds = time.monotonic() - began
        rest(context, db, "%s_embedding" % table)
    return seconds


def build_pgvector(context, db, data, table="items"):
    """pgvector's CREATE INDEX with all cores; seconds."""
    with context.all_cores():
        return db.timed(create_index(data, table, method="hnsw"), "SET maintenance_work_mem = '2GB'",
                        "SET max_parallel_maintenance_workers = %d" % (context.cores() - 1))


def claim_build(context, data, ours, theirs):
    """Claims the share of pgvector's time until all rows of a loaded table are indexed, of seconds on the same cores."""
    context.record("time to all indexed", data, seconds=ours, pgvector_seconds=theirs, cores=context.cores())
    context.claim("%s: seconds until all %s rows are indexed / pgvector's CREATE INDEX, on %d cores"
                  % (data.name, rate(data.rows), context.cores()), "%.1f / %.1f = %.2f x" % (ours, theirs, ours / theirs),
                  ours <= 0.35 * theirs, "<= 0.35 x")


def prewarm(db, table="items"):
    """Reads the table and its indexes into shared memory, and the graphs into theirs."""
    db.run("CREATE EXTENSION IF NOT EXISTS pg_prewarm")
    db.run("SELECT pg_prewarm(c.oid) FROM pg_class t JOIN pg_class c ON c.oid IN (t.oid, t.reltoastrelid) OR "
           "EXISTS (SELECT FROM pg_index WHERE indexrelid = c.oid AND indrelid IN (t.oid, t.reltoastrelid)) "
           "WHERE t.oid = '%s'::regclass" % table)
    method = db.value("SELECT amname FROM pg_class c JOIN pg_am a ON a.oid = relam WHERE c.oid = '%s_embedding'::regclass" % table)
    if method == "tandem":
        db.run("SELECT tandem_prewarm('%s_embedding')" % table)


def prewarm_alone(db):
    """As much of the graph as may be in memory: what was warmed of other databases gives way once it was idle for 10 s."""
    prewarm(db)
    others = db.number("SELECT count(*) FROM tandem_memory WHERE cached_bytes > 0 AND (datname, indexname) IS DISTINCT FROM (current_database(), 'items_embedding')")
    if others > 0:
        time.sleep(11)
        prewarm(db)


def cached_bytes(db, index="items_embedding"):
    """Bytes of shared memory that hold the index's graphs, or None where there is no such memory."""
    text = db.value("SELECT memory_bytes FROM tandem_index_stats WHERE indexname = '%s'" % index)
    return float(text) if text else None


# --- searching within the server, of types that the client cannot judge ------------------------------------------------

# To be filled in: queries, items, operator.
TEN_DISTANCES = ("SELECT q.id, array_agg(d ORDER BY d) FROM %(queries)s q, LATERAL (SELECT i.embedding %(operator)s q.embedding AS d "
                 "FROM %(items)s i ORDER BY i.embedding %(operator)s q.embedding LIMIT 10) n GROUP BY q.id")
# By the index or by a sort, which is exact.
BY_INDEX = ("SET enable_seqscan = off",)
BY_SORT = ("SET enable_indexscan = off", "SET tandem.enable_custom_scan = off")
ALLOWANCE = 1e-6  # of a distance that counts as equal; they are between 0 and 2


def ten_distances(db, statement, settings):
    """({query: its ten distances, ascending}, seconds a query), in one statement: what it takes beside the searches is small."""
    began = time.monotonic()
    rows = db.rows(*settings, statement)
    seconds = (time.monotonic() - began) / len(rows)
    return {row[0]: [float(text) for text in row[1].strip("{}").split(",")] for row in rows}, seconds


def recall_of_distances(found, exact):
    """The part of the exact answers' rows that were found, those at equal distance as good."""
    hits = sum(min(10, sum(d <= distances[-1] + ALLOWANCE for d in found.get(query, []))) for query, distances in exact.items())
    return hits / sum(len(distances) for distances in exact.values())


# --- searching --------------------------------------------------------------------------------------------------------


def nearest(data, table="items", limit=10):
    return "SELECT id FROM %s ORDER BY embedding %s $1 LIMIT %d" % (table, OPERATORS[data.metric][0], limit)


def query_options(data, truth=None, table="items", settings=(), k=10):
    """Options of the client for all queries through the index, for k rows each, judged against `truth` if it is given."""
    judged = dict(truth=truth, base=data.path("base.fvecs"), metric=data.metric, k=k) if truth else {}
    return dict(sql=nearest(data, table, k), queries=data.path("query.fvecs"), setup=["SET enable_seqscan = off", *settings],
                expect="%s_embedding" % table, **judged)


def search(context, db, data, truth, table="items", settings=(), rounds=1, **options):
    """Client line of all queries through the index, judged against `truth`."""
    return context.tools.client("query", db, **query_options(data, truth, table, settings), rounds=rounds, warmup=50,
                                **options)


def by_graph(db, data, table="items"):
    """True if a search goes through graphs: a small table is scanned exactly, which is cheaper."""
    query = nearest(data, table).replace("$1", "(SELECT embedding FROM %s LIMIT 1)" % table)
    plan = "\n".join(row[0] for row in db.rows("SET enable_seqscan = off", "EXPLAIN (ANALYZE, VERBOSE) " + query))
    found = re.search(r"Segments Searched: (\d+)", plan)
    return found is not None and int(found[1]) > 0


def truth_of(context, data, folder, rows=None, keep=None, queries=None, path=None, k=10):
    """Ground truth, the k nearest, of the first `rows` rows, or of those for which keep(ids), of an array, holds; of the first `queries` queries of
    the set, or of the file at `path`, or all."""
    query = path or data.path("query.fvecs")
    ids = os.path.join(folder, "gt.ivecs")
    options = dict(base=data.path("base.fvecs"), query=query, metric=data.metric, k=k,
                   out_ids=ids, out_distances=os.path.join(folder, "gt.fvecs"), limit=rows, queries=queries, threads=2)
    if keep is not None:
        labels = keep(np.arange(rows or data.rows)).astype("<i4")[:, None]
        formats.write_vectors(os.path.join(folder, "label.ivecs"), labels, "<i4")
        formats.write_vectors(os.path.join(folder, "param.ivecs"), np.ones((len(formats.read_vectors(query)), 1), "<i4"), "<i4")
        options.update(labels=os.path.join(folder, "label.ivecs"), params=os.path.join(folder, "param.ivecs"))
    context.tools.json("tandem-bench-truth", **options)
    return ids


def hnswlib(context, data, truth, ef, **options):
    """(build line, search line) of hnswlib with the same parameters on the same rows, or None if it is not built."""
    if not context.tools.has("tandem-bench-hnswlib"):
        context.say("  hnswlib is not there: its figures are left out")
        return None
    lines = context.tools.json_lines(
        "tandem-bench-hnswlib", base=data.path("base.fvecs"), query=data.path("query.fvecs"), truth=truth,
        metric=data.metric, m=M, ef_construction=EF_CONSTRUCTION, ef=ef, rounds=1, **options)
    return lines[0], lines[-1]


# --- processes --------------------------------------------------------------------------------------------------------


class Watch:
    """Looks at server processes 20 times a second while the block runs: processor time and private memory of those that
    build. `pids` are sessions to look at besides the workers. Where the server is on another machine it sees nothing."""

    def __init__(self, server, pids=()):
        self.postmaster = _postmaster(server)
        self.pids = list(pids)
        self.cpu = {}  # pid: seconds so far
        self.peak_kb = {}  # pid: private memory
        self.idle_kb = {}

    def __enter__(self):
        self._look()
        self.cpu_before = dict(self.cpu)
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()
        self._look()

    def cpu_seconds(self):
        return sum(seconds - self.cpu_before.get(pid, 0) for pid, seconds in self.cpu.items())

    def peak_mb(self):
        """Of the process that took most, beyond what it had when it was first seen."""
        return max((self.peak_kb[pid] - self.idle_kb[pid] for pid in self.peak_kb), default=float("nan")) / 1024

    def _run(self):
        while not self.stop.wait(0.05):
            self._look()

    def _look(self):
        for pid in self.pids or _workers(self.postmaster):
            try:
                with open("/proc/%d/stat" % pid, encoding="ascii", errors="replace") as source:
                    fields = source.read().rsplit(") ", 1)[1].split()
                with open("/proc/%d/status" % pid, encoding="ascii", errors="replace") as source:
                    private = int(re.search(r"^RssAnon:\s+(\d+)", source.read(), re.M)[1])
            except (OSError, IndexError, TypeError):
                continue  # it has ended
            self.cpu[pid] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            self.idle_kb.setdefault(pid, private)
            self.peak_kb[pid] = max(private, self.peak_kb.get(pid, 0))


def _postmaster(server):
    try:
        return int(server.value("SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)"))
    except (ValueError, TypeError):
        return 0


def _workers(postmaster):
    """Children of the postmaster whose title says that they are ours."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open("/proc/%s/stat" % name, encoding="ascii", errors="replace") as source:
                parent = int(source.read().rsplit(") ", 1)[1].split()[1])
            if parent != postmaster:
                continue
            with open("/proc/%s/cmdline" % name, "rb") as source:
                title = source.read()
        except (OSError, IndexError, ValueError):
            continue
        if re.match(rb"postgres: (\S+: )?tandem ", title):
            found.append(int(name))
    return found
