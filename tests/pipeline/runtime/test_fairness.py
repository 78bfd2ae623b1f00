"""A fast camera cannot starve a slow one."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from pipeline.runtime.runner import Runner, SinkBinding


@pytest.mark.timeout(30)
def test_a_slow_camera_beside_a_fast_one_loses_nothing(stages: SimpleNamespace) -> None:
    """200 against 10 frames per second, and a detector that takes 25 of them."""
    pace = threading.Event()
    fast = stages.Source("fast", 10**9, is_live=True, wait=lambda index: pace.wait(0.005))
    slow = stages.Source("slow", 20, is_live=True, wait=lambda index: pace.wait(0.1))
    sink = stages.Sink()
    runner = Runner(
        [fast, slow],
        stages.Detector(before=lambda frames: pace.wait(0.04)),
        stages.Tracker,
        [SinkBinding("s", sink)],
    )
    ender = threading.Timer(2.6, runner.stop)
    ender.start()
    report = runner.run()
    ender.join()
    assert report.sources["slow"].emitted >= 18
    assert report.sources["fast"].dropped["newer"] > report.sources["fast"].emitted > 15
