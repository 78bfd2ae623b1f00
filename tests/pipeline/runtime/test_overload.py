"""What gives way under overload: decisions on a simulated clock, then whole runs with every frame accounted for."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.core.clock import SimulatedClock
from pipeline.core.detections import Detections
from pipeline.core.errors import UsageError
from pipeline.core.frame import CaptureClock, Frame
from pipeline.core.motion import TrackMotion
from pipeline.core.result import FrameResult
from pipeline.core.timeline import Timeline
from pipeline.core.tracks import Tracks
from pipeline.runtime.camera_filter import CameraFilter
from pipeline.runtime.ladder import LadderDetector
from pipeline.runtime.overload import Overload, OverloadPolicy, OverloadRules
from pipeline.runtime.runner import Runner
from pipeline.runtime.runner_settings import RunnerSettings
from pipeline.runtime.sink_worker import SinkBinding
from pipeline.streaming.schedulers import scheduler

pytestmark = pytest.mark.timeout(20)

MS = 1_000_000
INTERVAL_NS = 40 * MS
_PICTURE = np.zeros((100, 100, 3), np.uint8)


class _Rung:
    """A detector that takes its time on a simulated clock."""

    def __init__(self, clock: SimulatedClock, cost_ms: float, class_names: tuple[str, ...] = ("thing",)) -> None:
        self.clock, self.cost_ms, self.class_names = clock, cost_ms, class_names
        self.load = 1.0
        self.n_frames = self.n_closed = 0

    def warmup(self) -> None: ...

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        self.n_frames += len(frames)
        self.clock.advance(round(self.cost_ms * self.load * MS))
        return [Detections.empty() for _ in frames]

    def close(self) -> None:
        self.n_closed += 1


class _World:
    """One camera of 25 frames per second and a detector that always has the newest frame."""

    def __init__(self, rules: OverloadRules, costs_ms: Sequence[float], speed_px_s: float = 0.0) -> None:
        self.clock = SimulatedClock()
        self.rungs = [_Rung(self.clock, cost_ms) for cost_ms in costs_ms]
        self.ladder = LadderDetector(self.rungs, [f"{cost:g} ms" for cost in costs_ms], self.clock)
        self.overload = Overload(rules, self.clock, ladder=self.ladder)
        self.speed_px_s = speed_px_s
        self.n_arrived = 0

    def pass_s(self, seconds: float, load: float = 1.0) -> str:
        """Let time pass while everything takes `load` times as long; the rung in the end."""
        for rung in self.rungs:
            rung.load = load
        until_ns = self.clock.now_ns() + round(seconds * 1e9)
        while self.clock.now_ns() < until_ns:
            self._arrive(max(self.clock.now_ns(), self.n_arrived * INTERVAL_NS))
            frame, begin_ns = self.newest, self.clock.now_ns()
            self.ladder.detect([frame])
            end_ns = self.clock.now_ns()
            self._arrive(end_ns)
            self.overload.detected([frame], begin_ns, end_ns)
            self.overload.emitted(self._result(frame), end_ns - frame.captured_ns)
        return self.overload.rung

    def _arrive(self, upto_ns: int) -> None:
        self.clock.advance(max(upto_ns - self.clock.now_ns(), 0))
        while self.n_arrived * INTERVAL_NS <= upto_ns:
            captured_ns = self.n_arrived * INTERVAL_NS
            self.newest = Frame("a", self.n_arrived, _PICTURE, None, captured_ns, CaptureClock.RECEIVE)
            self.overload.arrived(self.newest)
            self.n_arrived += 1

    def _result(self, frame: Frame) -> FrameResult:
        left = self.speed_px_s * frame.captured_ns / 1e9
        tracks = Tracks(
            np.array([[left, 10, left + 40, 50]], np.float32),
            np.ones(1, np.float32),
            *(np.ones(1, np.int64) for _ in range(3)),
        )
        found = Detections(tracks.xyxy, tracks.confidence, tracks.class_id)
        return FrameResult(frame, found, tracks, Timeline())


def _stepped(**rules: float) -> OverloadRules:
    return OverloadRules(policy=OverloadPolicy.SMALLER_INPUT, window_s=1.0, recover_s=3.0, **rules)  # type: ignore[arg-type]


def test_under_load_the_run_goes_down_and_comes_back_when_the_load_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    world = _World(_stepped(), [30, 20, 10])
    with caplog.at_level(logging.WARNING):
        assert world.pass_s(4.5) == "30 ms"
        assert world.pass_s(2.5, load=2.5) == "10 ms"
        assert world.pass_s(10, load=2.5) == "10 ms"
        assert world.pass_s(10) == "30 ms"
    lines = [record.message for record in caplog.records]
    assert len(lines) == 3
    assert re.fullmatch(r"overload: 30 ms -> 10 ms \(\d+% of frames missed\)", lines[0])
    assert lines[1:] == [
        "overload: 10 ms -> 20 ms (there is room: 50% busy expected)",
        "overload: 20 ms -> 30 ms (there is room: 75% busy expected)",
    ]


def test_the_report_tells_the_time_on_each_rung_and_every_change() -> None:
    world = _World(_stepped(), [30, 20, 10])
    world.pass_s(4.5)
    world.pass_s(5.5, load=2.5)
    report = world.overload.report()
    rungs = report["rungs"]
    assert isinstance(rungs, list)
    assert [rung["name"] for rung in rungs] == ["30 ms", "20 ms", "10 ms"]
    assert [rung["cost"] for rung in rungs] == pytest.approx([1, 2 / 3, 1 / 3])
    assert sum(rung["time_s"] for rung in rungs) == pytest.approx(10 - 0.54, abs=0.1)
    assert rungs[1]["time_s"] == 0
    assert report["n_changes"] == world.overload.n_changes == 1
    changes = report["changes"]
    assert isinstance(changes, list)
    assert [(change["from"], change["to"]) for change in changes] == [("30 ms", "10 ms")]
    assert report["resident_mb"] == world.ladder.resident_mb > 1
    assert changes[0]["at_s"] == pytest.approx(6, abs=1)
    # The first frame went through every rung until half a second was over, to know what they cost: not counted.
    assert sum(rung["detected"] for rung in rungs) + 3 * 9 + 1 == sum(rung.n_frames for rung in world.rungs)


def test_a_load_that_comes_and_goes_changes_the_rung_less_and_less() -> None:
    world = _World(_stepped(), [30, 10])
    changes = []
    for _ in range(12):
        before = world.overload.n_changes
        world.pass_s(5)
        world.pass_s(2, load=2.5)
        changes.append(world.overload.n_changes - before)
    assert sum(changes[:6]) >= sum(changes[6:])
    assert sum(changes) <= 14


def test_results_that_are_too_old_are_an_overload_too() -> None:
    assert _World(_stepped(), [35, 10]).pass_s(5) == "35 ms"
    assert _World(_stepped(max_age_s=0.03), [35, 10]).pass_s(5) == "10 ms"


def _best(*accuracy: float) -> OverloadRules:
    return OverloadRules(policy=OverloadPolicy.BEST, accuracy=accuracy, window_s=1.0)


@pytest.mark.parametrize(
    ("speed_px_s", "wanted"),
    [
        (0, "300 ms"),  # nothing moves: late boxes are as good as early ones
        (10, "100 ms"),
        (400, "20 ms"),
    ],
)
def test_the_best_rung_depends_on_how_fast_the_scene_moves(speed_px_s: float, wanted: str) -> None:
    assert _World(_best(0.5, 0.45, 0.35), [300, 100, 20], speed_px_s).pass_s(10) == wanted


def test_the_best_rung_depends_on_the_load() -> None:
    world = _World(_best(0.5, 0.45), [36, 12], speed_px_s=50)
    assert world.pass_s(6) == "36 ms"
    assert world.pass_s(10, load=6) == "12 ms"
    assert world.pass_s(30) == "36 ms"


def test_every_nth_chosen_by_itself_follows_the_load() -> None:
    clock = SimulatedClock()
    rules = OverloadRules(policy=OverloadPolicy.EVERY_NTH, window_s=1.0, recover_s=2.0)
    overload = Overload(rules, clock)

    def pass_s(seconds: float, cost_ms: float) -> int:
        until_ns, index = clock.now_ns() + round(seconds * 1e9), [clock.now_ns() // INTERVAL_NS]
        detected = -100
        while clock.now_ns() < until_ns:
            now_ns = clock.now_ns()
            while index[0] * INTERVAL_NS <= now_ns:
                newest = Frame("a", index[0], _PICTURE, None, index[0] * INTERVAL_NS, CaptureClock.RECEIVE)
                overload.arrived(newest)
                index[0] += 1
            if newest.index - detected < (overload.choice.every_nth or 1):
                clock.advance(index[0] * INTERVAL_NS - now_ns)
                continue
            detected = newest.index
            clock.advance(round(cost_ms * MS))
            overload.detected([newest], now_ns, clock.now_ns())
        return overload.choice.every_nth or 0

    assert pass_s(5, 30) == 1
    assert pass_s(5, 100) == 3
    assert pass_s(30, 30) == 1
    assert overload.rung == "every 1"


def test_a_ladder_belongs_to_a_ladder_policy() -> None:
    clock = SimulatedClock()
    ladder = LadderDetector([_Rung(clock, 2), _Rung(clock, 1)], ["a", "b"], clock)
    with pytest.raises(UsageError, match="LadderDetector with a ladder policy only, found none"):
        Overload(_stepped(), clock)
    with pytest.raises(UsageError, match="LadderDetector with a ladder policy only, found one"):
        Overload(OverloadRules(), clock, ladder=ladder)
    with pytest.raises(UsageError, match="two detectors or more"):
        LadderDetector([_Rung(clock, 2)], ["a"], clock)
    ladder.close()


# -- whole runs -------------------------------------------------------------------------------------------------------


class _Walker:
    """A tracker of one object that walks 10 px per frame of 40 ms."""

    def __init__(self, info: object) -> None:
        self.seen: list[int] = []

    def update(self, detections: Detections, frame_index: int, pts_s: float | None) -> Tracks:
        self.seen.append(frame_index)
        xyxy = np.array([[10.0 * frame_index, 0, 10.0 * frame_index + 5, 5]], np.float32)
        one = np.ones(1, np.int64)
        return Tracks(xyxy, np.ones(1, np.float32), one * 0, one * 4, one * 0)

    def motion(self) -> TrackMotion:
        return TrackMotion(np.array([[250, 0, 250, 0]], np.float32), np.ones(1, np.float32), np.ones(1, np.float32))

    def reset(self) -> None: ...


def _run(
    stages: SimpleNamespace, source: object, detector: object, rules: OverloadRules, **settings: object
) -> tuple[Runner, list[FrameResult], _Walker]:
    sink, trackers = stages.Sink(), []

    def make(info: object) -> _Walker:
        trackers.append(_Walker(info))
        return trackers[-1]

    runner = Runner(
        [source],
        detector,
        make,
        [SinkBinding("l", sink)],
        RunnerSettings(overload=rules, **settings),  # type: ignore[arg-type, list-item]
    )
    runner.run()
    return runner, sink.results, trackers[0]


@pytest.mark.parametrize("workers", [1, 3])
def test_a_recording_of_which_every_third_frame_is_detected_has_all_frames_in_order(
    stages: SimpleNamespace, workers: int
) -> None:
    detector = stages.Detector()
    rules = OverloadRules(policy=OverloadPolicy.EVERY_NTH, every_nth=3)
    source = stages.Source(n_frames=20)
    # Wide enough that nothing leaves the picture.
    wide = np.zeros((8, 400, 3), np.uint8)
    read = source.read
    source.read = lambda: None if (f := read()) is None else Frame("a", f.index, wide, f.pts_s, f.captured_ns, f.clock)
    runner, results, tracker = _run(stages, source, detector, rules, detect_workers=workers)
    assert [result.frame.index for result in results] == list(range(20))
    assert sorted(index for batch in detector.batches for _, index in batch) == tracker.seen == list(range(0, 20, 3))
    assert [result.filled for result in results] == [index % 3 != 0 for index in range(20)]
    # The tracks are where the object is, under one id; a row of a detection only where there was one.
    assert [float(result.tracks.xyxy[0, 0]) for result in results] == pytest.approx([10.0 * k for k in range(20)])
    assert {result.tracks.track_id[0] for result in results} == {4}
    assert all((result.tracks.detection_row[0] < 0) == result.filled for result in results)
    report = runner.report()
    assert (report.sources["a"].emitted, report.sources["a"].dropped) == (20, {})
    assert report.sources["a"].counters["filled"] == 13
    assert report.overload == {"policy": "every_nth", "every_nth": 3, "filled": 13}
    for result in results:
        line = result.timeline
        stamps = [line.captured, line.dequeued, line.detect_begin, line.detect_end, line.track_end, line.emitted]
        assert stamps == sorted(stamps)


def test_a_live_source_is_filled_in_while_the_detector_works(stages: SimpleNamespace) -> None:
    """While frame 0 is detected, 1 to 6 come; there is room for four: 1 and 2 are dropped, 3 to 5 filled in."""
    busy, all_there = threading.Event(), threading.Event()
    source = stages.Source(n_frames=7, is_live=True, wait=lambda index: busy.wait(5) if index == 1 else None)
    inner = source.read

    def read() -> Frame | None:
        frame = inner()
        if frame is None:
            all_there.set()
        return frame

    source.read = read

    def detect(frames: Sequence[Frame]) -> None:
        busy.set()
        all_there.wait(5)

    rules = OverloadRules(policy=OverloadPolicy.EVERY_NTH, every_nth=2, max_held=4)
    runner, results, tracker = _run(stages, source, stages.Detector(before=detect), rules)
    assert [(result.frame.index, result.filled) for result in results] == [
        (0, False),
        (3, True),
        (4, True),
        (5, True),
        (6, False),
    ]
    assert tracker.seen == [0, 6]
    account = runner.report().sources["a"]
    assert (account.produced, account.emitted, dict(account.dropped)) == (7, 5, {"newer": 2})


@pytest.mark.parametrize(
    "rules",
    [
        OverloadRules(),
        OverloadRules(policy=OverloadPolicy.EVERY_NTH),
        OverloadRules(policy=OverloadPolicy.EVERY_NTH, every_nth=4, max_held=2),
        _stepped(),
        _best(0.5, 0.4),
    ],
    ids=lambda rules: f"{rules.policy}-{rules.every_nth}",
)
@pytest.mark.parametrize("end", ["end", "stop", "failure"])
@pytest.mark.parametrize("picks", ["idle-free", "planned"])
def test_every_frame_is_accounted_for_under_every_policy(
    stages: SimpleNamespace, rules: OverloadRules, end: str, picks: str
) -> None:
    sink = stages.Sink()
    detector = stages.Detector(fail_at=40 if end == "failure" else None)
    if rules.policy in ("smaller_input", "best"):
        detector = LadderDetector([detector, stages.Detector()], ["big", "small"], SimulatedClock())
    sources = [stages.Source("a", 60, is_live=True), stages.Source("b", 60)]
    make_scheduler = None if picks == "idle-free" else lambda: scheduler(picks)
    settings = RunnerSettings(overload=rules, max_batch=2, make_scheduler=make_scheduler)
    runner = Runner(sources, CameraFilter(detector, {}), _Walker, [SinkBinding("l", sink)], settings)
    if end == "stop":
        sink.before = lambda result: runner.stop() if result.frame.index == 30 else None
    if end == "failure":
        with pytest.raises(Exception, match="no such layer"):
            runner.run()
    else:
        runner.run()
    for name, account in runner.ledger.snapshot().items():
        assert account.missing == 0
        indexes = [result.frame.index for result in sink.results if result.frame.source_id == name]
        assert indexes == sorted(set(indexes))
        if end == "end":
            assert account.emitted == len(indexes)
    if end == "end":
        assert runner.ledger.snapshot()["b"].emitted == 60
