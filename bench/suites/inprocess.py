"""inprocess: recall and speed of hnswlib, FAISS, brute force and tandem's own search core on the bench sets, without a server.

What a search behind SQL is held against. Programs whose library is not installed are left out.
"""

import os

from harness.context import rate

SETS = ("fashion", "acl", "syn768", "syn1m")
EF = "10,20,40,57,80,120,200,400"


def segments(context, data, paths):
    """tandem's search core in the same process as hnswlib, in turns; ratios at equal recall are in the lines."""
    context.progress("segments on %s" % data.name)
    index, segment = data.path("hnswlib-m16-efc200.graph"), data.path("tandem-m16-efc200")
    lines = context.tools.json_lines("tandem-bench-segment", metric=data.metric, m=16, ef_construction=200, ef=EF,
                                     rounds=context.repeats(5), index=index, segment=segment, segments="1,4,8",
                                     order="both", **paths)
    table = []
    for line in lines:
        context.record("core", data, **line)
        if line["step"] == "at_recall":
            table.append(("core: " + line["engine"], "-", "%.4f" % line["recall"], rate(line["qps_median"]),
                          "%.2fx" % line["ratio_median"]))
    if context.options.scale < 1.0:
        for name in os.listdir(os.path.dirname(index)):
            if name.endswith((".segment", ".graph")):
                os.remove(data.path(name))
    return table


def run(context):
    for name in context.options.sets or SETS:
        data = context.set(name)
        paths = dict(base=data.path("base.fvecs"), query=data.path("query.fvecs"), truth=data.path("gt.ivecs"))
        context.say("inprocess: %s, %s rows x %d, %s" % (name, rate(data.rows), data.dims, data.metric))
        table = []
        if context.tools.has("tandem-bench-exact"):
            line = context.tools.json("tandem-bench-exact", base=paths["base"], query=paths["query"],
                                      truth=paths["truth"], queries=20, metric=data.metric)
            table.append(("brute force", "-", "%.4f" % line["recall"], rate(line["qps"]), "%.0f" % line["p50_us"]))
            context.record("exact", data, **line)
        for program, engine in (("tandem-bench-hnswlib", "hnswlib"), ("tandem-bench-faiss", "FAISS")):
            if not context.tools.has(program):
                context.say("  %s is not built: %s left out" % (program, engine))
                continue
            context.progress("%s on %s" % (engine, name))
            index = data.path("%s-m16-efc200.graph" % engine)
            lines = context.tools.json_lines(program, metric=data.metric, m=16, ef_construction=200, ef=EF,
                                             rounds=context.repeats(5), index=index, **paths)
            for line in lines:
                context.record("curve", data, **line)
                if line["step"] == "search":
                    table.append((engine, line["ef"], "%.4f" % line["recall"], rate(line["qps_median"]),
                                  "%.0f" % line["p50_us"]))
            if context.options.scale < 1.0:
                os.remove(index)
        if context.tools.has("tandem-bench-segment"):
            table += segments(context, data, paths)
        context.table(("engine", "ef", "recall@10", "QPS", "p50 us, or ratio to hnswlib"), table)
