"""graph-size: bytes of the index, flat copy and one segment together, over bytes of the raw float32 vectors.

Built at once (strategy hnsw_inline, so that the graph is there when CREATE INDEX returns), and grown in the background.
"""

from harness.context import rate
from suites import graphs

CASES = (("syn1m", 100_000, 1.65), ("syn768", 30_000, 1.32))


def run(context):
    context.say("graph-size: index bytes / raw float32 bytes")
    table = []
    for name, full, bound in CASES:
        data = context.set(name)
        rows = min(data.rows, context.scaled(full, 1000))
        db = context.database()
        shares = {}
        for variant, strategy in (("built", "hnsw_inline"), ("grown", "hnsw_batch")):
            context.progress("%s, %s rows x %d" % (variant, rate(rows), data.dims))
            graphs.create_table(db, data, variant)
            if variant == "grown":
                db.run(graphs.create_index(data, variant, strategy))
            graphs.load(context, db, data, variant, count=rows, batch=20_000)
            if variant == "built":
                db.run(graphs.create_index(data, variant, strategy))
            else:
                graphs.rest(context, db, "grown_embedding")
            shares[variant] = _shares(context, db, data, rows, variant)
        pieces = shares["built"]
        table.append((data.dims, rate(rows), *("%.3f" % pieces[key] for key in ("heads", "vectors", "segments", "file")),
                      "%.3f" % shares["grown"]["file"], "%.3f" % shares["grown"]["free"]))
        context.claim("index / raw bytes at %d dims, built" % data.dims, "%.3f" % pieces["file"],
                      pieces["file"] <= bound, "<= %.2f" % bound)
    context.table(("dims", "rows", "heads", "vectors", "segments", "file", "file, grown", "of it free or retired"), table)
    context.server.drop_database("tandem_bench")


def _shares(context, db, data, rows, variant):
    raw = 4 * data.dims * rows
    row = db.rows("SELECT head_bytes, vector_bytes, segment_bytes, total_bytes, free_bytes + retired_bytes, segments, "
                  "tail_rows FROM tandem_index_stats WHERE indexname = '%s_embedding'" % variant)[0]
    heads, vectors, segments, total, free, count, tail = (int(field) for field in row)
    context.require(tail == 0, "%d rows are in no segment" % tail)
    shares = {"heads": heads / raw, "vectors": vectors / raw, "segments": segments / raw, "file": total / raw,
              "free": free / raw}
    context.record("size", data, variant=variant, rows=rows, raw_bytes=raw, total_bytes=total, head_bytes=heads,
                   vector_bytes=vectors, segment_bytes=segments, free_bytes=free, segments=count,
                   ratio=shares["file"])
    return shares
