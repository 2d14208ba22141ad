"""The suites that bench/run offers, in the order it runs them."""

from suites import flat_exact, flat_load, flat_scan, flat_size, flat_vacuum, inprocess, pgbench_mix, tuning
from suites import graph_build, graph_load, graph_recall, graph_size, graph_tail, graph_vacuum

ALL = {
    "flat-exact": flat_exact,
    "flat-scan": flat_scan,
    "flat-load": flat_load,
    "flat-size": flat_size,
    "flat-vacuum": flat_vacuum,
    "graph-recall": graph_recall,
    "graph-size": graph_size,
    "graph-vacuum": graph_vacuum,
    "graph-tail": graph_tail,
    "graph-load": graph_load,
    "graph-build": graph_build,
    "pgbench": pgbench_mix,
    "inprocess": inprocess,
    "tuning": tuning,
}
