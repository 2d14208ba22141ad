"""The suites that bench/run offers, in the order it runs them."""

from suites import flat_exact, flat_load, flat_scan, flat_size, flat_vacuum, inprocess, pgbench_mix, tuning

ALL = {
    "flat-exact": flat_exact,
    "flat-scan": flat_scan,
    "flat-load": flat_load,
    "flat-size": flat_size,
    "flat-vacuum": flat_vacuum,
    "pgbench": pgbench_mix,
    "inprocess": inprocess,
    "tuning": tuning,
}
