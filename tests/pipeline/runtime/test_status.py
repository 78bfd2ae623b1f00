"""What a source is doing, as the dashboard and the metrics tell it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from pipeline.core.control import SourceState
from pipeline.core.errors import SourceError
from pipeline.runtime.runner import Runner
from pipeline.runtime.runner_settings import RunnerSettings
from pipeline.runtime.sink_worker import SinkBinding
from pipeline.runtime.statistics import PACE_S, RunStatistics
from pipeline.runtime.status import STALLED_S

pytestmark = pytest.mark.timeout(20)


def test_states_of_a_run(stages: SimpleNamespace) -> None:
    may_open, sink = threading.Event(), stages.Sink()
    endless = stages.Source("live", 10**9, is_live=True, wait=lambda index: threading.Event().wait(0.002))
    slow = stages.Source("slow", 2)
    opens = slow.open
    slow.open = lambda: (may_open.wait(10), opens())[1]
    sources = [
        endless,
        slow,
        stages.Source("short", 3),
        stages.Source("broken", 5, fail_at=1),
        stages.Source("absent", open_error=SourceError("no such camera")),
    ]
    runner = Runner(
        sources, stages.Detector(), stages.Tracker, [SinkBinding("s", sink)], RunnerSettings(keep_open=True)
    )
    thread = threading.Thread(target=runner.run)
    thread.start()
    wait_for(lambda: len([r for r in sink.results if r.frame.source_id == "short"]) == 3 and len(sink.results) > 20)
    wait_for(lambda: states(runner)["broken"] == SourceState.FAILED)
    assert states(runner) == {
        "live": SourceState.LIVE,
        "slow": SourceState.CONNECTING,
        "short": SourceState.ENDED,
        "broken": SourceState.FAILED,
        "absent": SourceState.FAILED,
    }
    status = {one.source_id: one for one in runner.source_status()}
    assert status["absent"].error == "source:absent: no such camera"
    assert (status["slow"].is_live, status["slow"].width_px, status["slow"].age_s) == (None, 0, None)
    assert (status["live"].is_live, status["live"].width_px, status["live"].height_px) == (True, 8, 8)
    assert status["live"].frames_per_s > 1
    assert status["live"].latency_p50_ms > 0
    assert status["live"].produced >= status["live"].emitted > 0
    runner.remove_source("live")
    assert "live" not in states(runner)
    may_open.set()
    runner.stop()
    thread.join()


def test_what_a_reconnecting_source_says_counts_and_silence_is_a_stall(
    stages: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, sink = threading.Event(), stages.Sink()
    source = stages.Source("cam", 9, is_live=True, wait=lambda index: gate.wait(10) if index else None)
    source.state = "live"
    runner = Runner([source], stages.Detector(), stages.Tracker, [SinkBinding("s", sink)])
    thread = threading.Thread(target=runner.run)
    thread.start()
    wait_for(lambda: len(sink.results) == 1)
    assert states(runner)["cam"] == SourceState.LIVE
    for said in ("connecting", "backing_off"):
        source.state = said
        assert states(runner)["cam"] == said
    source.state = "live"
    later_ns = time.monotonic_ns() + round((STALLED_S + 0.5) * 1e9)
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.runtime.runner.time.monotonic_ns", lambda: later_ns)
        assert states(runner)["cam"] == SourceState.STALLED
    gate.set()
    thread.join()
    assert states(runner)["cam"] == SourceState.ENDED


def test_pace_is_that_of_the_last_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now_ns = [1_000_000_000]
    monkeypatch.setattr("pipeline.runtime.statistics.time.monotonic_ns", lambda: now_ns[0])
    statistics = RunStatistics(["a"])
    assert statistics.pace("a", now_ns[0]).frames_per_s == 0
    for _ in range(100):
        now_ns[0] += 100_000_000
        statistics.emitted("a", 20_000_000)
    pace = statistics.pace("a", now_ns[0])
    assert pace.frames_per_s == pytest.approx(10, rel=0.03)
    assert pace.latency.p50_ms == 20
    assert pace.age_s == 0
    assert statistics.pace("a", now_ns[0] + round(PACE_S / 2 * 1e9)).frames_per_s == pytest.approx(5, rel=0.05)
    assert statistics.pace("a", now_ns[0] + round(PACE_S * 2e9)).frames_per_s == 0
    # Faster than the memory of it: 1000 a second.
    for _ in range(2000):
        now_ns[0] += 1_000_000
        statistics.emitted("a", 20_000_000)
    assert statistics.pace("a", now_ns[0]).frames_per_s == pytest.approx(1000, rel=0.01)


def states(runner: Runner) -> dict[str, SourceState]:
    return {status.source_id: status.state for status in runner.source_status()}


def wait_for(condition: Callable[[], bool]) -> None:
    waited = threading.Event()
    for _ in range(2000):
        if condition():
            return
        waited.wait(0.005)
    raise AssertionError("did not come about in 10 s")
