"""flat-size: bytes of the index over bytes of the raw float32 vectors, built at once and grown row by row."""

from harness.context import rate

# About 200 MB each, so that the extents a growing index reserves ahead do not count.
CASES = {128: (400_000, 1.10), 768: (66_000, 1.03), 1024: (50_000, 1.03), 1536: (33_000, 1.03), 3072: (16_500, 1.03)}


def run(context):
    context.say("flat-size: index bytes / raw float32 bytes (random vectors: the contents do not matter)")
    table = []
    claims = []
    for dims, (full, bound) in CASES.items():
        rows = context.scaled(full, 500)
        db = context.database()
        context.progress("%s rows x %d" % (rate(rows), dims))
        sizes = {}
        for name, after in (("built", True), ("grown", False)):
            db.run("CREATE TABLE %s (id bigint, embedding vector(%d))" % (name, dims))
            index = context.create_index(name + "_embedding", name)
            if not after:
                db.run(index)
            context.tools.client("copy", db, sql="COPY %s FROM STDIN (FORMAT binary)" % name, random_dims=dims,
                                 count=rows, seed=context.options.seed, batch=20_000)
            if after:
                db.run(index)
            sizes[name] = db.number("SELECT pg_relation_size('%s_embedding')" % name)
        heap = db.number("SELECT pg_table_size('built')")
        raw = 4 * dims * rows
        shares = {name: size / raw for name, size in sizes.items()}
        table.append((dims, rate(rows), "%.4f" % shares["built"], "%.4f" % shares["grown"], "%.3f" % (heap / raw)))
        context.record("size", dims=dims, rows=rows, raw_bytes=raw, built_bytes=sizes["built"],
                       grown_bytes=sizes["grown"], table_bytes=heap, ratio_built=shares["built"],
                       ratio_grown=shares["grown"])
        claims.append((dims, max(shares.values()), bound))
    context.table(("dims", "rows", "built", "grown", "table"), table)
    for dims, share, bound in claims:
        context.claim("index / raw bytes at %d dims" % dims, "%.4f" % share, share <= bound, "<= %.2f" % bound)
    context.server.drop_database("tandem_bench")
