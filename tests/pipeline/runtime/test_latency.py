from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.runtime.latency import RECENT, Durations


def test_nothing_measured_is_zero() -> None:
    durations = Durations()
    assert durations.over_run().count == 0
    assert durations.recent().p99_ms == 0.0


@given(st.lists(st.integers(0, 10**11), min_size=1, max_size=400))
def test_percentiles_of_a_run_are_within_their_bound(values_ns: list[int]) -> None:
    durations = Durations()
    for value in values_ns:
        durations.add(value)
    seen = durations.over_run()
    ordered = np.sort(values_ns)
    for q, shown_ms in ((0.5, seen.p50_ms), (0.95, seen.p95_ms), (0.99, seen.p99_ms)):
        exact_ms = ordered[int(np.ceil(q * len(ordered))) - 1] / 1e6
        assert shown_ms == pytest.approx(exact_ms, rel=0.012, abs=2e-6)
    assert seen.count == len(values_ns)
    assert seen.max_ms == pytest.approx(max(values_ns) / 1e6)
    assert seen.mean_ms == pytest.approx(np.mean(values_ns) / 1e6)


def test_recent_forgets_what_is_long_ago() -> None:
    durations = Durations()
    durations.add(10**9)
    for _ in range(RECENT):
        durations.add(10**6)
    assert durations.recent().max_ms == 1.0
    assert durations.over_run().max_ms == 1000.0


def test_a_clock_that_steps_back_counts_as_nothing() -> None:
    durations = Durations()
    durations.add(-5)
    assert durations.over_run().max_ms == 0.0


@given(st.lists(st.integers(0, 10**11), max_size=300), st.lists(st.floats(1e-4, 60), min_size=1, max_size=8))
def test_counts_up_to_bounds(values_ns: list[int], bounds_s: list[float]) -> None:
    durations = Durations()
    for value in values_ns:
        durations.add(value)
    bounds_s.sort()
    seen = durations.up_to(bounds_s)
    assert (seen.count, seen.total_s) == (len(values_ns), pytest.approx(sum(values_ns) / 1e9))
    for bound_s, n in zip(bounds_s, seen.up_to, strict=True):
        assert (
            sum(v <= bound_s * 0.994 * 1e9 for v in values_ns)
            <= n
            <= sum(v <= bound_s * 1.006 * 1e9 for v in values_ns)
        )
    assert list(seen.up_to) == sorted(seen.up_to)
