"""Statistics: exact on small numbers."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.benchmark.figures import Spread, over_repeats, percentile, ratio_by_turns, stage_figures, verdict
from pipeline.core.errors import UsageError


@pytest.mark.parametrize(
    ("values", "fraction", "expected"),
    [
        ([5], 0.5, 5),
        ([1, 2], 0.5, 1),
        ([1, 2, 3], 0.5, 2),
        ([3, 1, 2], 0.99, 3),
        (range(1, 101), 0.95, 95),
        ([4], 0, 4),
    ],
)
def test_percentile_is_a_value_that_was_measured(values: list[float], fraction: float, expected: float) -> None:
    assert percentile(list(values), fraction) == expected


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.sampled_from([0.5, 0.95, 0.99]))
def test_percentile_is_numpys_inverted_distribution(values: list[float], fraction: float) -> None:
    assert percentile(values, fraction) == np.percentile(values, fraction * 100, method="inverted_cdf")


def test_figures_of_a_stage() -> None:
    found = stage_figures([10.0, 30.0, 20.0], frames=6, wall_s=0.06, cpu_s=0.12)
    assert (found.calls, found.p50_ms, found.p95_ms, found.p99_ms) == (3, 20.0, 30.0, 30.0)
    assert (found.frames_per_s, found.cpu_s_per_frame) == (pytest.approx(100), pytest.approx(0.02))


@pytest.mark.parametrize("call", [lambda: percentile([], 0.5), lambda: percentile([1], 1.5), lambda: over_repeats([])])
def test_nothing_gives_no_figure(call: object) -> None:
    with pytest.raises(UsageError):
        call()  # type: ignore[operator]
    with pytest.raises(UsageError, match="longer --seconds"):
        stage_figures([], frames=0, wall_s=1.0, cpu_s=0.0)


def test_spread_over_repeats() -> None:
    found = over_repeats([12.0, 10.0, 8.0])
    assert found == Spread(10.0, 8.0, 12.0, 3)
    assert found.relative == pytest.approx(0.4)
    assert over_repeats([0.0]).relative == 0.0


def test_a_slow_round_slows_both_and_leaves_the_ratio() -> None:
    ours, theirs = [30.0, 15.0, 33.0], [10.0, 5.0, 11.0]
    found = ratio_by_turns(ours, theirs)
    assert (found.median, found.low, found.high) == pytest.approx((3.0, 3.0, 3.0))
    with pytest.raises(UsageError, match="as many of both"):
        ratio_by_turns(ours, theirs[:2])


@pytest.mark.parametrize(
    ("old", "new", "higher_is_better", "expected"),
    [
        ([10, 11, 12], [20, 21, 22], True, "better"),
        ([10, 11, 12], [20, 21, 22], False, "worse"),
        ([20, 21, 22], [10, 11, 12], True, "worse"),
        ([20, 21, 22], [10, 11, 12], False, "better"),
        ([10, 11, 20], [19, 30, 31], True, "within the noise"),  # the ranges meet
        ([100, 100, 100], [102, 102, 102], True, "within the noise"),  # less than 3 %
        ([10, 10], [20, 20], True, "too few repeats"),
    ],
)
def test_verdict(old: list[float], new: list[float], higher_is_better: bool, expected: str) -> None:
    assert verdict(over_repeats(new), over_repeats(old), higher_is_better=higher_is_better) == expected


@pytest.mark.parametrize(("repeats", "one_in"), [(3, 10), (5, 126)])
def test_how_often_chance_looks_like_a_difference(repeats: int, one_in: int) -> None:
    """Over every order in which the values of two equal things can fall."""
    ranks = range(1, 2 * repeats + 1)
    found = 0
    for chosen in combinations(ranks, repeats):
        others = [rank for rank in ranks if rank not in chosen]
        # Far apart, so that only the ranges decide.
        first, second = over_repeats([10.0**k for k in chosen]), over_repeats([10.0**k for k in others])
        found += verdict(first, second, higher_is_better=True) != "within the noise"
    total = sum(1 for _ in combinations(ranks, repeats))
    assert total == found * one_in
