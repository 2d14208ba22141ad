"""The suites that bench/run offers, in the order it runs them."""

from suites import beside_pgvector, budget_pressure, budget_restart, budget_shift, column_types, filtered_recall, filtered_search, flat_exact, flat_load, flat_scan, flat_size, flat_vacuum, hybrid_search, inprocess, pgbench_mix, plan_choice, sparse_recall, tuning
from suites import graph_build, graph_inserts, graph_limits, graph_load, graph_memory, graph_recall, graph_restart, graph_search
from suites import graph_segments, graph_size, graph_tail, graph_vacuum

ALL = {
    "flat-exact": flat_exact,
    "flat-scan": flat_scan,
    "flat-load": flat_load,
    "flat-size": flat_size,
    "flat-vacuum": flat_vacuum,
    "graph-search": graph_search,
    "graph-segments": graph_segments,
    "graph-restart": graph_restart,
    "graph-recall": graph_recall,
    "graph-limits": graph_limits,
    "graph-size": graph_size,
    "graph-vacuum": graph_vacuum,
    "graph-tail": graph_tail,
    "graph-load": graph_load,
    "graph-inserts": graph_inserts,
    "graph-build": graph_build,
    "graph-memory": graph_memory,
    "filtered-search": filtered_search,
    "filtered-recall": filtered_recall,
    "hybrid-search": hybrid_search,
    "plan-choice": plan_choice,
    "column-types": column_types,
    "sparse-recall": sparse_recall,
    "beside-pgvector": beside_pgvector,
    "budget-shift": budget_shift,
    "budget-pressure": budget_pressure,
    "budget-restart": budget_restart,
    "pgbench": pgbench_mix,
    "inprocess": inprocess,
    "tuning": tuning,
}
