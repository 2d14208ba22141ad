"""column-types: the same rows as vector, halfvec and bit, indexed and searched at the default settings: recall@10 of each against exact
answers of its own type, queries/s in turns, bytes of a row in the flat relation and in the graphs.

Bits are the signs of the elements (ACL abstracts, centred as embeddings are) or whether a pixel is brighter than half (Fashion-MNIST). They
are stored in a column; their exact answers are by Hamming distance. Where the server offers pgvector, its HNSW indexes of the same types
take part, with our m and ef_construction. Last, recall of the same bits by Jaccard distance, against a sort.
"""

import dataclasses
import os
import tempfile

import numpy as np

from data import formats
from harness.context import median, rate, ratios, spread
from suites import graphs

PIN = "same"
RECALL = 0.95
THRESHOLDS = {"fashion": 127.5, "acl": 0.0}  # set: a bit says whether the element is above it
ROUNDS = 4  # of all queries, in a turn
JACCARD_QUERIES = 200


@dataclasses.dataclass(frozen=True)
class Kind:
    """One type of column, with its rows and queries as the client judges them: numbers whose distance is the type's."""

    name: str
    column: str
    operator: str
    opclass: str
    made: str  # of the column `embedding` of type vector, in SQL
    metric: str
    base: str
    queries: str
    truth: str

    @property
    def table(self):
        return "as_" + self.name


def run(context):
    for name in context.options.sets or THRESHOLDS:
        data = context.set(name)
        context.say("column-types: %s, %s rows x %d, defaults" % (name, rate(data.rows), data.dims))
        with tempfile.TemporaryDirectory() as folder:
            context.progress("exact answers")
            kinds = [_vector(data), _halfvec(context, data, folder), _bit(context, data, folder)]
            _compare(context, data, kinds)


def _compare(context, data, kinds):
    databases = {"tandem": _filled(context, data, kinds, "tandem", context.database())}
    other = graphs.pgvector(context)
    if other:
        databases["pgvector"] = _filled(context, data, kinds, "pgvector", other)
    lines = _take_turns(context, databases, kinds)
    sizes = {kind.name: _bytes(databases["tandem"], kind, data.rows) for kind in kinds}
    _report(context, data, lines, sizes)
    _jaccard(context, data, kinds[-1], databases["tandem"])
    for db in databases.values():
        context.server.drop_database(db.database)


# --- the three types --------------------------------------------------------------------------------------------------


def _vector(data):
    operator, opclass = graphs.OPERATORS[data.metric]
    return Kind("vector", "vector(%d)" % data.dims, operator, opclass, "embedding", data.metric,
                data.path("base.fvecs"), data.path("query.fvecs"), data.path("gt.ivecs"))


def _halfvec(context, data, folder):
    operator, opclass = graphs.OPERATORS[data.metric]
    column = "halfvec(%d)" % data.dims
    files = _files(context, data, folder, "halfvec", lambda rows: rows.astype("<f2").astype("<f4"), data.metric)
    return Kind("halfvec", column, operator, opclass.replace("vector", "halfvec"), "embedding::" + column, data.metric, *files)


def _bit(context, data, folder):
    threshold, column = THRESHOLDS[data.name], "bit(%d)" % data.dims
    above = "embedding - array_fill(%r::real, ARRAY[%d])::vector" % (threshold, data.dims)
    made = "binary_quantize(%s)::%s" % (above if threshold else "embedding", column)
    files = _files(context, data, folder, "bit", lambda rows: (rows > threshold).astype("<f4"), "l1")
    return Kind("bit", column, "<~>", "bit_hamming_ops", made, "l1", *files)


def _files(context, data, folder, name, convert, metric):
    """Base, queries and exact answers of converted rows; those of the set where it has such rows already."""
    base, queries = (formats.read_vectors(data.path(file)) for file in ("base.fvecs", "query.fvecs"))
    if metric == data.metric and all(np.array_equal(convert(block), block) for block in (*_blocks(base), queries)):
        return tuple(data.path(file) for file in ("base.fvecs", "query.fvecs", "gt.ivecs"))
    paths = [os.path.join(folder, name + suffix) for suffix in ("-base.fvecs", "-query.fvecs", "-gt.ivecs", "-gt.fvecs")]
    formats.write_vectors(paths[0], (convert(block) for block in _blocks(base)), "<f4")
    formats.write_vectors(paths[1], convert(np.asarray(queries)), "<f4")
    context.tools.json("tandem-bench-truth", base=paths[0], query=paths[1], metric=metric, k=10, out_ids=paths[2],
                       out_distances=paths[3], threads=context.cores(), pinned=False)
    return tuple(paths[:3])


def _blocks(rows):
    return (np.asarray(rows[low : low + formats.BLOCK_ROWS]) for low in range(0, len(rows), formats.BLOCK_ROWS))


# --- tables -----------------------------------------------------------------------------------------------------------


def _filled(context, data, kinds, engine, db):
    """The database, with a table and an index for each type, all rows in graphs, in memory."""
    context.progress("%s: loading" % engine)
    graphs.create_table(db, data, "source")
    graphs.load(context, db, data, "source")
    for kind in kinds:
        db.run("CREATE TABLE %s (id bigint, embedding %s)" % (kind.table, kind.column),
               "INSERT INTO %s SELECT id, %s FROM source ORDER BY id" % (kind.table, kind.made))
    db.run("DROP TABLE source")
    for kind in kinds:
        context.progress("%s: an index of %s" % (engine, kind.name))
        db.run("VACUUM ANALYZE %s" % kind.table)
        _build(context, db, kind, engine)
    db.run("CHECKPOINT")
    for kind in kinds:
        graphs.prewarm(db, kind.table)
    return db


def _build(context, db, kind, engine):
    index = "%s_embedding" % kind.table
    create = "CREATE INDEX %s ON %s USING %%s (embedding %s) WITH (%%s)" % (index, kind.table, kind.opclass)
    with context.all_cores():
        if engine == "pgvector":
            db.timed(create % ("hnsw", "m = %d, ef_construction = %d" % (graphs.M, graphs.EF_CONSTRUCTION)),
                     "SET maintenance_work_mem = '2GB'", "SET max_parallel_maintenance_workers = %d" % (context.cores() - 1))
            return
        with db.configured(naptime=context.naptime(), build_threads=context.cores()):
            db.run(create % ("tandem", "strategy = 'hnsw_batch'"))
            graphs.rest(context, db, index)


def _bytes(db, kind, rows):
    """Bytes of a row by what holds them: full precision in the flat relation, its heads, the graphs' pages, the graphs in memory."""
    names = ("vector_bytes", "head_bytes", "segment_bytes", "memory_bytes")
    found = db.rows("SELECT %s FROM tandem_index_stats WHERE indexname = '%s_embedding'" % (", ".join(names), kind.table))[0]
    return {name.replace("_bytes", "_bytes_per_row"): float(text) / rows if text else None for name, text in zip(names, found)}


# --- searches ---------------------------------------------------------------------------------------------------------


def _take_turns(context, databases, kinds):
    """{(engine, type's name): a line of the client for each turn}; another one first each time."""
    pairs = [(engine, kind) for engine in databases for kind in kinds]
    lines = {(engine, kind.name): [] for engine, kind in pairs}
    turns = context.repeats(5)
    for turn in range(turns):
        context.progress("turn %d of %d" % (turn + 1, turns))
        first = turn % len(pairs)
        for engine, kind in pairs[first:] + pairs[:first]:
            lines[engine, kind.name].append(_search(context, databases[engine], kind))
    return lines


def _search(context, db, kind):
    sql = "SELECT id FROM %s ORDER BY embedding %s $1 LIMIT 10" % (kind.table, kind.operator)
    return context.tools.client("query", db, sql=sql, queries=kind.queries, vector_form=kind.name, setup=["SET enable_seqscan = off"],
                                expect="%s_embedding" % kind.table, truth=kind.truth, base=kind.base, metric=kind.metric, k=10,
                                rounds=ROUNDS)


def _report(context, data, lines, sizes):
    table = []
    for (engine, name), turns in lines.items():
        figures = {key: spread(line[key] for line in turns) for key in ("qps_median", "p50_us", "p99_us", "backend_cpu_us")}
        size = sizes[name] if engine == "tandem" else {key: None for key in sizes[name]}
        context.record("type", data, engine=engine, variant=name, ef=graphs.EF_SEARCH, k=10, recall=turns[0]["recall"],
                       qps=figures["qps_median"], **{key: figures[key] for key in ("p50_us", "p99_us", "backend_cpu_us")}, **size)
        table.append((engine, name, "%.4f" % turns[0]["recall"], rate(figures["qps_median"]["median"]),
                      "%.0f" % figures["p50_us"]["median"], "%.0f" % figures["p99_us"]["median"],
                      *("-" if value is None else "%.0f" % value for value in size.values())))
    context.table(("index", "type", "recall@10", "QPS", "p50 us", "p99 us", "vectors B/row", "heads", "graph pages", "graph memory"), table)
    _claims(context, data, lines, sizes)


def _claims(context, data, lines, sizes):
    for name in ("vector", "halfvec", "bit"):
        recall = lines["tandem", name][0]["recall"]
        context.claim("%s, %s: recall@10 against exact answers of the type" % (data.name, name), "%.4f" % recall,
                      recall >= RECALL, ">= %g" % RECALL)
    share = sizes["halfvec"]["vector_bytes_per_row"] / sizes["vector"]["vector_bytes_per_row"]
    context.claim("%s: bytes of halfvec's rows in the flat relation / vector's" % data.name, "%.3f" % share, share <= 0.51, "<= 0.51")
    for name, least in (("halfvec", 1), ("bit", 1)):
        found = _ratio(context, data, lines, ("tandem", name), ("tandem", "vector"))
        context.claim("%s: queries/s of %s / of vector" % (data.name, name), "%.3f x" % found, found >= least, ">= %g x" % least)
    for engine, name in lines:
        if engine == "pgvector":
            found = _ratio(context, data, lines, ("tandem", name), (engine, name))
            context.claim("%s, %s: queries/s / pgvector's at the same ef (recall %.4f against %.4f)" % (
                data.name, name, lines["tandem", name][0]["recall"], lines[engine, name][0]["recall"]), "%.2f x" % found, found >= 1, ">= 1 x")


def _ratio(context, data, lines, one, other):
    found = ratios(*([line["qps_median"] for line in lines[key]] for key in (one, other)))
    context.record("ratio", data, variant="%s %s / %s %s" % (*one, *other), ratio=spread(found))
    return median(found)


def _jaccard(context, data, kind, db):
    """Recall of an index of the bits by their other distance, which it takes the place of the first for."""
    context.progress("an index of bits by Jaccard distance")
    graphs.create_table(db, data, "asked_vectors")
    context.tools.client("copy", db, sql=graphs.COPY % "asked_vectors", vectors=data.path("query.fvecs"), count=JACCARD_QUERIES)
    db.run("CREATE TABLE asked AS SELECT id, %s AS embedding FROM asked_vectors" % kind.made, "DROP INDEX %s_embedding" % kind.table)
    statement = graphs.TEN_DISTANCES % dict(queries="asked", items=kind.table, operator="<%>")
    exact, exact_seconds = graphs.ten_distances(db, statement, graphs.BY_SORT)
    _build(context, db, dataclasses.replace(kind, opclass="bit_jaccard_ops"), "tandem")
    for ef in (graphs.EF_SEARCH, 2 * graphs.EF_SEARCH):
        settings = (*graphs.BY_INDEX, "SET tandem.ef_search = %d" % ef)
        found, seconds = [graphs.ten_distances(db, statement, settings) for _ in range(2)][-1]  # the first one warms up
        recall = graphs.recall_of_distances(found, exact)
        context.record("jaccard", data, ef=ef, k=10, recall=recall, queries=len(exact), ms=1000 * seconds, exact_ms=1000 * exact_seconds)
        context.claim("%s, bit, Jaccard, ef_search %d: recall@10 against a sort" % (data.name, ef), "%.4f" % recall, recall >= RECALL,
                      ">= %g" % RECALL)
