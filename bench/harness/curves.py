"""Arithmetic of comparisons: the rate at a recall, ratios of series that took turns, when a series has become steady."""

import math
import statistics

# A recall of 1 has no logarithm of its misses; this many stand for none. Below one in a thousand queries' ten answers.
LEAST_MISS = 5e-5


def rate_at(curve, recall):
    """Queries/s at a recall, of a curve of (recall, queries/s) in the order of rising effort; None if it does not get there.

    Between two points the logarithm of the rate is linear in that of the misses. A curve that begins above the recall has
    its first rate: less effort is not to be had.
    """
    if not curve:
        return None
    if curve[0][0] >= recall:
        return curve[0][1]
    for (below, fast), (above, slow) in zip(curve, curve[1:]):
        if below < recall <= above:
            share = _between(_log_miss(below), _log_miss(recall), _log_miss(above))
            return math.exp(math.log(fast) + share * (math.log(slow) - math.log(fast)))
    return None


def paired(ours, theirs, recall):
    """Ratios of our rate to theirs at a recall, turn by turn, of two lists of curves; empty if one does not get there."""
    rates = [(rate_at(one, recall), rate_at(other, recall)) for one, other in zip(ours, theirs)]
    return [one / other for one, other in rates if one is not None and other is not None]


def steady(trace):
    """Median latency of the last quarter of a trace of (end, latency)."""
    return statistics.median(latency for _, latency in trace[-max(1, len(trace) // 4):])


def warm_after(trace, window=50, factor=1.25):
    """When the medians of `window` executions in a row have come to within `factor` of the steady latency, for good.

    Returns the moment in the trace's unit at which the last window that was slower ended, 0 if none was.
    """
    bound = factor * steady(trace)
    warm = 0.0
    for first in range(0, len(trace) - window + 1, window):
        part = trace[first : first + window]
        if statistics.median(latency for _, latency in part) > bound:
            warm = part[-1][0]
    return warm


def reaches(trace, rate, window=50e3, windows=10):
    """When executions of a trace of (end, latency), in microseconds, have come to `rate` a second: the beginning of the first
    `windows` windows in a row whose median rate is that; None if they never do."""
    if not trace:
        return None
    counts = [0] * (int(trace[-1][0] / window) + 1)
    for end, _ in trace:
        counts[int(end / window)] += 1
    # The last one is not whole.
    for first in range(len(counts) - windows):
        if statistics.median(counts[first : first + windows]) >= rate * window / 1e6:
            return first * window
    return None


def _log_miss(recall):
    return math.log(max(1.0 - recall, LEAST_MISS))


def _between(low, value, high):
    return (value - low) / (high - low) if high != low else 1.0
