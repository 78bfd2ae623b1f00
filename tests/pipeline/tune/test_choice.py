"""Which row is chosen, and which ones are shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.benchmark.configuration import Configuration
from pipeline.core.errors import UsageError
from pipeline.tune.choice import Limits, best_within, pareto_front
from pipeline.tune.simulated import Row


def row(sap: float, latency_ms: float = 10.0, cores: float = 1.0, weights: str = "w.pt") -> Row:
    configuration = Configuration(weights, "eager", "fp32", 64)
    return Row(configuration, "eager", "fp32", "idle-free", "off", sap, sap, sap, latency_ms, latency_ms, 25.0, cores)


FEW = st.sampled_from([0.1, 0.2, 0.3, 0.4])


@given(st.lists(st.builds(row, FEW, FEW, FEW), min_size=1, max_size=12))
def test_the_front_holds_what_nothing_beats(rows: list[Row]) -> None:
    def better_or_equal(a: Row, b: Row) -> bool:
        return a.sap >= b.sap and a.latency_p95_ms <= b.latency_p95_ms and a.cores <= b.cores

    front = pareto_front(rows)
    for one in front:
        assert not any(better_or_equal(other, one) for other in front if other is not one)
    for one in rows:
        assert any(better_or_equal(other, one) for other in front)
    assert [one.sap for one in front] == sorted((one.sap for one in front), reverse=True)


@given(st.lists(st.builds(row, FEW, FEW, FEW), min_size=1, max_size=12))
def test_without_limits_the_best_is_on_top(rows: list[Row]) -> None:
    assert best_within(rows, Limits()).sap == max(one.sap for one in rows)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (Limits(), "best"),
        (Limits(max_latency_ms=30), "quick"),
        (Limits(max_cores=0.6), "thrifty"),
        (Limits(max_latency_ms=30, max_cores=0.6), "small"),
    ],
)
def test_limits(limits: Limits, expected: str) -> None:
    rows = [
        row(0.5, 100, 2.0, "best"),
        row(0.4, 20, 1.5, "quick"),
        row(0.3, 50, 0.5, "thrifty"),
        row(0.2, 10, 0.2, "small"),
    ]
    assert best_within(rows, limits).configuration.weights == expected


def test_of_rows_that_are_as_good_the_cheapest() -> None:
    rows = [row(0.500, 10, 2.0, "dear"), row(0.499, 10, 0.5, "cheap"), row(0.49, 10, 0.1, "worse")]
    assert best_within(rows, Limits()).configuration.weights == "cheap"


def test_nothing_keeps_to_the_limits() -> None:
    rows = [row(0.5, 100, 2.0), row(0.3, 60, 0.5, "near.pt")]
    with pytest.raises(UsageError) as refused:
        best_within(rows, Limits(max_latency_ms=50, max_cores=1))
    assert str(refused.value) == (
        "tune: wanted latency up to 50 ms (p95) and up to 1 cores, found none that keeps to it; the nearest is near.pt "
        "at 64 px, eager fp32, scheduler idle-free, compensate off: sAP 30.0, latency 60.0 ms (p95), 0.50 cores"
    )
