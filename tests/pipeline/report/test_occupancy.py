"""How many were there, against counting instant by instant."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.records.buckets import Bucket
from pipeline.report.occupancy import clipped, merged, most_by_span, seconds_by_span

# On a grid of a quarter second, so that counting every eighth misses nothing.
instants = st.integers(0, 80).map(lambda n: n / 4)
intervals = st.lists(st.tuples(instants, instants).map(sorted).map(tuple), max_size=12)
spans = st.lists(st.integers(1, 12), min_size=1, max_size=8).map(
    lambda lengths: [Bucket(float(a), float(a + n)) for a, n in zip(np.cumsum([0, *lengths]), lengths, strict=False)]
)


@settings(max_examples=150, deadline=None)
@given(intervals, spans, st.sampled_from([0.0, 1.75e9]))
def test_seconds_and_most(times: list[tuple[float, float]], cut: list[Bucket], offset: float) -> None:
    moved = [(a + offset, b + offset) for a, b in times]
    moved_cut = [Bucket(span.start_s + offset, span.end_s + offset) for span in cut]
    seconds, most = seconds_by_span(moved, moved_cut), most_by_span(moved, moved_cut)
    for number, span in enumerate(cut):
        overlap = sum(max(min(b, span.end_s) - max(a, span.start_s), 0.0) for a, b in times)
        assert seconds[number] == pytest.approx(overlap, abs=1e-5)
        ticks = np.arange(span.start_s, span.end_s, 0.125)
        assert most[number] == max(sum(a <= tick <= b for a, b in times) for tick in ticks)


@settings(max_examples=100, deadline=None)
@given(intervals)
def test_the_union_is_apart_and_covers_the_same(times: list[tuple[float, float]]) -> None:
    union = merged(times)
    assert all(before[1] < after[0] for before, after in pairwise(union))
    for tick in np.arange(-1, 22, 0.125):
        assert any(a <= tick <= b for a, b in union) == any(a <= tick <= b for a, b in times)


def test_parts_within_a_window() -> None:
    assert clipped([(0, 4), (5, 9), (10, 12)], 3, 8) == [(3, 4), (5, 8)]
