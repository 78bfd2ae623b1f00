"""What is simulated and scored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pipeline.benchmark.configuration import Configuration
from pipeline.core.errors import UsageError
from pipeline.streaming.boxes import Boxes
from pipeline.streaming.score import average_precision
from pipeline.streaming.truth import Truth
from pipeline.tune.simulated import Row, Simulations
from pipeline.tune.tracked import track_every_frame

CONFIGURATION = Configuration("light.pt", "eager", "fp32", 64)


@pytest.fixture
def rows_of(truth: Truth, seen: Callable[[int], Any], timing_of: Any) -> Callable[..., dict[tuple[str, str], Row]]:
    def rows(runtime_ms: float, *schedulers: str) -> dict[tuple[str, str], Row]:
        simulations = Simulations(seen(3), truth)
        found = simulations.rows(
            CONFIGURATION, timing_of(runtime_ms), schedulers or ("idle-free",), ("off", "emit", "display")
        )
        return {(row.scheduler, row.compensate): row for row in found}

    return rows


def test_a_detector_that_keeps_up_shows_the_frame_before(
    rows_of: Callable[..., Any], truth: Truth, seen: Callable[[int], Any]
) -> None:
    row = rows_of(10.0)["idle-free", "off"]
    # Each frame is answered by the one before it, which is done by then.
    offline = track_every_frame(seen(3), truth.stream)
    late = average_precision([truth], [dict(enumerate([Boxes.empty(), *offline[:-1]]))])
    assert row.sap == late.ap
    assert row.sap50 == late.ap50
    assert (row.latency_p50_ms, row.latency_p95_ms) == (10.0, 10.0)
    assert row.runs_per_s == 25.0
    assert row.cores == pytest.approx(0.1 + 25 * 0.015)


@pytest.mark.parametrize("runtime_ms", [10.0, 70.0, 130.0])
def test_compensation_wins_back_what_latency_takes(runtime_ms: float, rows_of: Callable[..., Any]) -> None:
    rows = rows_of(runtime_ms)
    off, emit, display = (rows["idle-free", to] for to in ("off", "emit", "display"))
    assert off.offline_ap > 0.9
    assert off.sap < emit.sap < display.sap <= off.offline_ap + 1e-9
    assert len({row.latency_p95_ms for row in (off, emit, display)}) == 1


def test_a_slower_detector_shows_less(rows_of: Callable[..., Any]) -> None:
    saps = [rows_of(runtime_ms)["idle-free", "off"].sap for runtime_ms in (10.0, 70.0, 130.0, 300.0)]
    assert saps == sorted(saps, reverse=True)
    assert saps[0] > saps[-1] + 0.2


def test_a_stride_halves_the_work(rows_of: Callable[..., Any]) -> None:
    rows = rows_of(10.0, "idle-free", "stride-2")
    every, half = rows["idle-free", "off"], rows["stride-2", "off"]
    assert half.runs_per_s == every.runs_per_s / 2
    assert half.cores == pytest.approx(0.1 + 12.5 * 0.015)
    assert half.sap < every.sap


def test_waiting_can_be_better(rows_of: Callable[..., Any]) -> None:
    # 1.8 frames: of two runs that follow at once, the second begins with a frame that is nearly an interval old.
    rows = rows_of(72.0, "idle-free", "shrinking-tail", "planned")
    assert rows["planned", "off"].sap >= rows["shrinking-tail", "off"].sap - 0.005
    assert rows["planned", "off"].sap > rows["idle-free", "off"].sap


def test_a_detector_that_is_never_done_in_time(rows_of: Callable[..., Any]) -> None:
    row = rows_of(5000.0)["idle-free", "display"]
    assert (row.sap, row.runs_per_s) == (0.0, 0.0)
    assert row.latency_p95_ms == float("inf")


def test_an_unknown_scheduler(rows_of: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match="scheduler: wanted idle-free"):
        rows_of(10.0, "hurried")
