"""How many were there: from intervals of presence to averages and maxima by span of time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.core.arrays import Float64Array, IntArray
from pipeline.records.buckets import Bucket


def merged(intervals: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The union of intervals, in order and apart from each other."""
    union: list[tuple[float, float]] = []
    for start, end in sorted(intervals):
        if union and start <= union[-1][1]:
            union[-1] = (union[-1][0], max(union[-1][1], end))
        else:
            union.append((start, end))
    return union


def clipped(intervals: Sequence[tuple[float, float]], first_s: float, last_s: float) -> list[tuple[float, float]]:
    """The parts of intervals from first to last; those wholly outside are left out."""
    return [(max(a, first_s), min(b, last_s)) for a, b in intervals if b >= first_s and a <= last_s]


def seconds_by_span(intervals: Sequence[tuple[float, float]], spans: Sequence[Bucket]) -> Float64Array:
    """Seconds that the intervals have in each span, added up: float64 (len(spans),)."""
    if not spans:
        return np.zeros(0)
    edges = np.array([spans[0].start_s, *(span.end_s for span in spans)])
    # Relative to the first edge: sums of seconds since 1970 would lose the milliseconds.
    times = np.asarray(intervals, np.float64).reshape(-1, 2) - edges[0]
    edges = edges - edges[0]
    return np.diff(_passed(times[:, 0], edges) - _passed(times[:, 1], edges))


def most_by_span(intervals: Sequence[tuple[float, float]], spans: Sequence[Bucket]) -> IntArray:
    """The most intervals at any instant of each span, their ends included: int64 (len(spans),)."""
    times = np.asarray(intervals, np.float64).reshape(-1, 2)
    starts, ends = np.sort(times[:, 0]), np.sort(times[:, 1])
    # The number only grows where an interval starts; there it is those that have started less those that have ended.
    at_start = np.searchsorted(starts, starts, "right") - np.searchsorted(ends, starts, "left")
    most = np.zeros(len(spans), np.int64)
    for number, span in enumerate(spans):
        here = np.searchsorted(starts, span.start_s, "right") - np.searchsorted(ends, span.start_s, "left")
        first, last = np.searchsorted(starts, (span.start_s, span.end_s), "left")
        most[number] = max(int(here), int(at_start[first:last].max(initial=0)))
    return most


def _passed(times: Float64Array, edges: Float64Array) -> Float64Array:
    """For each edge, the sum of the times from each instant before it until it."""
    ordered = np.sort(times)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    n_before = np.searchsorted(ordered, edges, "left")
    passed: Float64Array = n_before * edges - sums[n_before]
    return passed
