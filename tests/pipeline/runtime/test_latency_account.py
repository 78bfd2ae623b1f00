"""What latency costs live sources: what is fed to the account, and when there are figures."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.core.detections import Detections
from pipeline.core.frame import CaptureClock, Frame, StreamInfo
from pipeline.core.motion import TrackMotion
from pipeline.core.result import FrameResult
from pipeline.core.timeline import Timeline
from pipeline.core.tracks import Tracks
from pipeline.runtime.compensate import Compensate
from pipeline.runtime.latency_account import NOT_ASKED, NOT_LIVE, NOT_TRACKED, TOO_EARLY, LatencyAccount, Moment
from pipeline.runtime.report import StreamingReport
from pipeline.runtime.runner import Runner
from pipeline.runtime.runner_settings import RunnerSettings
from pipeline.runtime.sink_worker import SinkBinding

MS = 1_000_000


def info(source_id: str = "cam", *, is_live: bool = True) -> StreamInfo:
    return StreamInfo(source_id, 64, 48, 10.0, is_live, None)


def result(index: int, x: float | None = None, *, latency_ms: int = 50, **what: Any) -> FrameResult:
    """One object of 40 px at x (10 px further with every frame), 10 frames a second."""
    source_id, side = what.pop("source_id", "cam"), what.pop("side", 48)
    captured_ns = index * 100 * MS
    n_breaks = what.pop("n_breaks", 0)
    picture = np.zeros((side, 64, 3), np.uint8)
    frame = Frame(source_id, index, picture, index / 10, captured_ns, CaptureClock.RECEIVE, n_breaks)
    left = 10.0 * index if x is None else x
    box = np.array([[left, 0, left + 40, 40]], np.float32)
    one = np.ones(1, np.int64)
    tracks = Tracks(box, np.full(1, 0.9, np.float32), one - 1, one, one - 1)
    speed = TrackMotion(np.array([[100, 0, 100, 0]], np.float32), np.ones(1, np.float32), np.ones(1, np.float32))
    timeline = Timeline(captured=captured_ns, emitted=captured_ns + latency_ms * MS)
    return FrameResult(frame, Detections.empty(), tracks, timeline, motion=speed, **what)


def report_of(account: LatencyAccount, source: StreamInfo) -> StreamingReport:
    return account.report({source.source_id: source})[source.source_id]


@pytest.fixture
def account() -> LatencyAccount:
    account = LatencyAccount(0.5, frames_per_s=None)
    account.opened(info())
    return account


def test_a_source_that_is_late(account: LatencyAccount) -> None:
    for index in range(11):
        account.emitted(result(index))
    report = report_of(account, info())
    assert (report.note, report.age_at_display, report.display) == ("", None, None)
    assert report.emission is not None
    assert (report.emission.age_ms, report.emission.staleness_frames) == (100.0, 1.0)
    assert report.emission.mean_iou == pytest.approx(0.6)
    assert report.emission.ap50_points_lost == pytest.approx(50 * 10 / 101)
    assert set(account.costs("cam")) == {"emission"}
    assert account.costs("elsewhere") == {}


def test_a_display_is_late_by_its_own_instants(account: LatencyAccount) -> None:
    for index in range(11):
        late = result(index)
        account.emitted(late)
        account.displayed(late, late.frame.captured_ns + 120 * MS)
        # Another output shows it later: it was seen already.
        account.displayed(late, late.frame.captured_ns + 190 * MS)
    report = report_of(account, info())
    assert report.emission is not None
    assert report.display is not None
    assert (report.emission.staleness_frames, report.display.staleness_frames) == (1.0, 2.0)
    assert report.display.mean_iou == pytest.approx(20 / 60)
    assert report.age_at_display is not None
    assert report.age_at_display.count == 11
    assert report.age_at_display.p50_ms == pytest.approx(120, rel=0.02)
    assert set(account.costs("cam")) == {"emission", "display"}


@pytest.mark.parametrize(("kind", "iou"), [(Compensate.OFF, 30 / 50), (Compensate.EMIT, 35 / 45)])
def test_moved_boxes_are_judged_where_they_are_shown(kind: Compensate, iou: float) -> None:
    """Moved to emission, half a frame after capture, the boxes are half a frame old when the next frame arrives."""
    account = LatencyAccount(compensate=kind, frames_per_s=None)
    account.opened(info())
    for index in range(11):
        account.emitted(result(index))
    cost = account.costs("cam")["emission"]
    assert cost.mean_iou == pytest.approx(iou)
    assert cost.ap50_points_lost is None


def test_frames_that_were_filled_in_are_shown_but_tell_no_truth(account: LatencyAccount) -> None:
    for index in range(20):
        is_filled = index % 2 == 1
        # What was filled in lies; it is emitted before the next frame arrives.
        account.emitted(result(index, x=500.0 if is_filled else None, filled=is_filled))
    cost = report_of(account, info()).emission
    assert cost is not None
    assert cost.frames == 18
    assert cost.below_50 == pytest.approx(8 / 17), "frames 2, 4, ... show what was filled in"


@pytest.mark.parametrize("change", [{"n_breaks": 1}, {"side": 32}], ids=["break", "size"])
def test_another_scene(account: LatencyAccount, change: dict[str, Any]) -> None:
    for index in range(5):
        account.emitted(result(index, x=0))
    for index in range(5, 10):
        account.emitted(result(index, x=900, **change))
    cost = account.costs("cam")["emission"]
    assert (cost.mean_iou, cost.frames) == (1.0, 8)


def test_a_source_that_begins_anew_counts_from_0(account: LatencyAccount) -> None:
    for index in range(5):
        account.emitted(result(index, x=0))
        account.displayed(result(index, x=0), (index * 100 + 60) * MS)
    account.ended("cam")
    account.opened(info())
    for index in range(3):
        again = result(index, x=900)
        account.emitted(again)
        account.displayed(again, again.frame.captured_ns + 60 * MS)
    report = report_of(account, info())
    assert report.emission is not None
    assert report.display is not None
    assert report.age_at_display is not None
    assert (report.emission.frames, report.display.frames, report.age_at_display.count) == (6, 6, 8)
    assert report.emission.mean_iou == report.display.mean_iou == 1.0


def test_sources_are_apart(account: LatencyAccount) -> None:
    account.opened(info("still"))
    for index in range(5):
        account.emitted(result(index))
        account.emitted(result(index, x=0, source_id="still"))
    assert account.costs("cam")["emission"].mean_iou == pytest.approx(0.6)
    assert account.costs("still")["emission"].mean_iou == 1.0


def test_why_there_are_no_figures(account: LatencyAccount) -> None:
    file = info("file", is_live=False)
    account.opened(file)
    account.emitted(result(0, source_id="file"))
    account.displayed(result(0, source_id="file"), 5)
    assert report_of(account, file) == StreamingReport(NOT_LIVE)
    assert report_of(account, info()) == StreamingReport(TOO_EARLY)
    account.emitted(replace(result(0), tracked=False))
    account.displayed(replace(result(0), tracked=False), 5)
    assert report_of(account, info()) == StreamingReport(NOT_TRACKED)
    off = LatencyAccount(is_on=False)
    off.opened(info())
    off.emitted(result(0))
    assert report_of(off, info()) == StreamingReport(NOT_ASKED)


def live_or_not(stages: Any, *, is_live: bool, **settings: Any) -> Runner:
    """12 frames to a file and a display; of live ones, each comes when the one before was shown."""
    shown = threading.Event()
    shown.set()

    def wait(index: int) -> None:
        assert shown.wait(10)
        shown.clear()

    live = stages.Sink(is_live=True, before=lambda result: shown.set())
    sinks = [SinkBinding("file", stages.Sink()), SinkBinding("display", live)]
    source = stages.Source("a", 12, is_live=is_live, wait=wait if is_live else None)
    return Runner([source], stages.Detector(), stages.Tracker, sinks, RunnerSettings(**settings))


def test_it_stands_in_the_report_of_a_live_run(stages: Any) -> None:
    report = live_or_not(stages, is_live=True, offline_ap50=0.5).run().to_json()["sources"]["a"]["streaming"]
    json.dumps(report)
    assert report["note"] == ""
    assert report["age_at_display"]["count"] == 12
    # How many of the 12, which come at once, are asked about is up to the clock.
    assert 1 <= report["emission"]["frames"] <= 11
    assert 0 <= report["emission"]["ap50_points_lost"] <= 50


@pytest.mark.parametrize(
    ("is_live", "settings", "note"), [(False, {}, NOT_LIVE), (True, {"latency_cost": False}, NOT_ASKED)]
)
def test_a_run_without_figures_says_why(stages: Any, is_live: bool, settings: dict[str, bool], note: str) -> None:
    report = live_or_not(stages, is_live=is_live, **settings).run()
    assert report.sources["a"].streaming == StreamingReport(note)


def test_the_state_of_a_live_source_tells_it(stages: Any) -> None:
    runner = live_or_not(stages, is_live=True)
    runner.run()
    costs = runner.source_status()[0].latency_costs
    assert {"emission"} <= set(costs) <= set(Moment)
    assert 1 <= costs["emission"].frames <= 11
