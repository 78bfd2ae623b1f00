"""How runtimes are taken from a run."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from pipeline.core.detections import Detections
from pipeline.core.errors import StopRequest
from pipeline.core.frame import CaptureClock, Frame
from pipeline.core.result import FrameResult
from pipeline.core.timeline import Timeline
from pipeline.core.tracks import Tracks
from pipeline.tune import timing
from pipeline.tune.timing import RuntimeMeter, Timing, is_known

MS = 1_000_000
PICTURE = np.zeros((2, 2, 3), np.uint8)


@pytest.mark.parametrize(
    ("samples", "seconds", "known"),
    [
        ([10] * 59, 7.9, False),
        ([10] * 60, 1.9, False),
        ([10] * 60, 2.0, True),
        # Half of them 10, half 20: nobody knows the median.
        ([10, 20] * 50, 3.0, False),
        ([10, 20] * 50, 8.0, True),
        # One in ten is slow: the median is known all the same.
        ([10] * 90 + [500] * 10, 3.0, True),
        ([], 8.0, False),
        ([1000], 8.0, True),
    ],
)
def test_measuring_ends_when_the_median_is_known(samples: list[int], seconds: float, known: bool) -> None:
    assert is_known(samples, seconds) is known


def result(captured_ms: int, detected_ms: int, emitted_ms: int) -> FrameResult:
    frame = Frame("street", 0, PICTURE, 0.0, captured_ms * MS, CaptureClock.SCHEDULED)
    stamps = (captured_ms, captured_ms, captured_ms, detected_ms, emitted_ms, emitted_ms)
    return FrameResult(frame, Detections.empty(), Tracks.empty(), Timeline(*(at * MS for at in stamps)))


def test_a_frame_counts_from_when_it_could_be_begun_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "WARM_UP_RESULTS", 1)
    meter = RuntimeMeter()
    meter.write(result(0, 400, 401))
    # Captured while the first one was being detected: begun with at 400.
    meter.write(result(40, 430, 432))
    # The detector was idle until it was captured.
    meter.write(result(480, 510, 511))
    assert meter.samples_ns == [32 * MS, 31 * MS]


def test_the_run_is_stopped_when_enough_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "MIN_S", 0.0)
    monkeypatch.setattr(timing, "MIN_RESULTS", 10)
    meter = RuntimeMeter()
    for k in range(timing.WARM_UP_RESULTS + 9):
        meter.write(result(40 * k, 40 * k + 9, 40 * k + 10))
    with pytest.raises(StopRequest):
        meter.write(result(1000, 1009, 1010))
    assert meter.samples_ns == [10 * MS] * 10
    assert meter.seconds > 0


def test_a_timing_survives_json(timing_of: Any) -> None:
    one: Timing = timing_of(20.0)
    assert Timing.from_json(json.loads(json.dumps(one.to_json()))) == one
    assert one.median_s == 0.02
    assert one.cores_at(one.runs_per_s) == pytest.approx(one.cores_busy)
    assert one.cores_at(0) == pytest.approx(0.1)
