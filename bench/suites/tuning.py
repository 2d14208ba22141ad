"""tuning: shows that the synthetic sets are as hard as their recipes say: the ef that hnswlib needs.

M 16, efConstruction 200, one build thread (so that the graph repeats), recall@10 by linear interpolation between the
ef values tried.
"""

TARGETS = {"syn1m": (0.950, 50, 65), "syn768": (0.952, 45, 55)}
EF = "10,20,30,40,45,50,55,60,65,70,80,128"


def run(context):
    for name in context.options.sets or TARGETS:
        recall, least, most = TARGETS[name]
        data = context.set(name)
        context.progress("hnswlib on %s (%d rows)" % (name, data.rows))
        lines = context.tools.json_lines(
            "tandem-bench-hnswlib", base=data.path("base.fvecs"), query=data.path("query.fvecs"),
            truth=data.path("gt.ivecs"), m=16, ef_construction=200, ef=EF, rounds=1,
            index=data.path("hnswlib-m16-efc200.graph"),
        )
        curve = [(line["ef"], line["recall"]) for line in lines if line["step"] == "search"]
        context.say("tuning: %s, %d rows x %d" % (name, data.rows, data.dims))
        context.table(("ef", "recall@10"), [(ef, "%.4f" % value) for ef, value in curve])
        needed = ef_for(curve, recall)
        context.record("curve", data, curve=curve, recall=recall, ef_needed=needed, build=lines[0])
        context.claim("%s: ef for recall@10 of %.3f" % (name, recall), "%.1f" % needed, least <= needed <= most,
                      "%d to %d" % (least, most))


def ef_for(curve, recall):
    """The ef at which the curve crosses a recall, infinity when it does not."""
    for (low, below), (high, above) in zip(curve, curve[1:]):
        if below < recall <= above:
            return low + (high - low) * (recall - below) / (above - below)
    return float(curve[0][0]) if curve[0][1] >= recall else float("inf")
