"""What each kind of output gets of late results, on a clock that only the test moves."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.core.clock import SimulatedClock
from pipeline.core.detections import Detections
from pipeline.core.event import Event, EventKind
from pipeline.core.frame import CaptureClock, Frame, StreamInfo
from pipeline.core.motion import TrackMotion
from pipeline.core.protocols import ForecastingTracker
from pipeline.core.result import FrameResult
from pipeline.core.scene import Closing, Scene, SceneLayout
from pipeline.core.tracks import Tracks
from pipeline.runtime.compensate import Compensate, is_compensated
from pipeline.runtime.runner import Runner
from pipeline.runtime.runner_settings import RunnerSettings
from pipeline.runtime.sink_worker import SinkBinding

pytestmark = pytest.mark.timeout(20)
MS = 1_000_000
T0 = 5_000 * MS
PERIOD_MS, DETECT_MS, SINK_MS = 40, 100, 30
PX_PER_MS = 0.1
"""Every object moves to the right at 100 px/s."""


class Mover:
    """One track where the detection is, 2 px sure, at a velocity that never changes."""

    def __init__(self, info: StreamInfo) -> None:
        self._n = 0

    def update(self, detections: Detections, frame_index: int, pts_s: float | None) -> Tracks:
        one = np.ones(len(detections), np.int64)
        self._n = len(one)
        return Tracks(detections.xyxy, detections.confidence, detections.class_id, one, one - 1)

    def motion(self) -> TrackMotion:
        velocity = np.tile(np.array([100, 0, 100, 0], np.float32), (self._n, 1))
        return TrackMotion(velocity, np.full(self._n, 2, np.float32), np.zeros(self._n, np.float32))

    def reset(self) -> None: ...


@dataclass
class Camera:
    """Frames with times of capture `PERIOD_MS` apart. `before(index)` holds a frame back."""

    n_frames: int
    is_live: bool = True
    source_id: str = "cam"
    before: Callable[[int], None] = lambda index: None
    counters: dict[str, int] = field(default_factory=dict)
    _index: int = 0

    def open(self) -> StreamInfo:
        return StreamInfo(self.source_id, 8, 8, 25.0, self.is_live, None)

    def read(self) -> Frame | None:
        if self._index == self.n_frames:
            return None
        self.before(self._index)
        index, self._index = self._index, self._index + 1
        image = np.full((8, 8, 3), index, np.uint8)
        return Frame(self.source_id, index, image, index / 25, captured_ns(index), CaptureClock.RECEIVE)

    def interrupt(self) -> None: ...

    def close(self) -> None: ...


def captured_ns(index: int) -> int:
    return T0 + index * PERIOD_MS * MS


def left_px(at_ns: int) -> float:
    """Where the object's left side is at an instant."""
    return (at_ns - T0) / MS * PX_PER_MS


class Seer:
    """Finds the object where it was when the frame was captured; done `DETECT_MS` after that."""

    class_names = ("thing",)

    def __init__(self, clock: SimulatedClock) -> None:
        self._clock = clock

    def warmup(self) -> None: ...

    def detect(self, frames: list[Frame]) -> list[Detections]:
        self._clock.wait_until(frames[-1].captured_ns + DETECT_MS * MS, threading.Event())
        lefts = [left_px(frame.captured_ns) for frame in frames]
        return [
            Detections(np.array([[left, 0, left + 9, 9]], np.float32), np.array([0.9], np.float32), np.array([0]))
            for left in lefts
        ]

    def close(self) -> None: ...


@dataclass
class Output:
    """A sink that keeps what it gets, and tells after each what number it was."""

    compensated: str = ""
    is_live: bool = False
    on_open: Callable[[], object] = lambda: None
    needs_image: bool = False
    needs_main_thread: bool = False
    shared: bool = True
    got: list[FrameResult] = field(default_factory=list)
    wrote: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def open(self, info: StreamInfo) -> None:
        self.on_open()

    def write(self, result: FrameResult) -> None:
        self.got.append(result)
        self.wrote.release()

    def close(self) -> None: ...

    @property
    def at_ns(self) -> list[int | None]:
        return [result.boxes_at_ns for result in self.got]

    @property
    def lefts(self) -> list[float]:
        return [round(float(result.tracks.xyxy[0, 0]), 3) for result in self.got]

    @property
    def frames(self) -> list[int]:
        return [result.frame.index for result in self.got]


@dataclass
class Watching(Output):
    """A sink that also sees frames."""

    seen: list[int] = field(default_factory=list)

    def see(self, frame: Frame) -> None:
        self.seen.append(frame.index)


def run(clock: SimulatedClock, camera: Camera, kind: Compensate, *sinks: object, analyst: object = None) -> Runner:
    bindings = [SinkBinding(f"s{number}", sink) for number, sink in enumerate(sinks)]  # type: ignore[arg-type]
    settings = RunnerSettings(compensate=kind, live_sink_capacity=8)
    runner = Runner([camera], Seer(clock), Mover, bindings, settings, clock, analyst)  # type: ignore[arg-type]
    runner.run()
    return runner


def one_late_result(kind: Compensate, *, is_live: bool = True) -> tuple[Output, Output, Output]:
    """One frame, emitted 100 ms after its capture; each output is 30 ms late with taking it."""
    clock = SimulatedClock(T0)
    handed = threading.Barrier(3)

    def late() -> None:
        # All have their result in hand, then time passes once.
        if handed.wait(5) == 0:
            clock.advance(SINK_MS * MS)
        handed.wait(5)

    data, pictures, record = (
        Output("data", on_open=late),
        Output("pictures", on_open=late),
        Output(on_open=late),
    )
    run(clock, Camera(1, is_live), kind, data, pictures, record)
    return data, pictures, record


def test_the_trackers_word_travels_with_the_result() -> None:
    assert isinstance(Mover(StreamInfo("a", 1, 1, None, True, None)), ForecastingTracker)
    data, _, _ = one_late_result(Compensate.OFF)
    motion = data.got[0].motion
    assert motion is not None
    assert motion.velocity.tolist() == [[100, 0, 100, 0]]


def test_a_tracker_that_says_nothing_moves_nothing(stages: SimpleNamespace) -> None:
    sink = Output("data")
    source = stages.Source("cam", 3, is_live=True)
    runner = Runner([source], stages.Detector(), stages.Tracker, [SinkBinding("s", sink)], EMIT)  # type: ignore[arg-type]
    runner.run()
    assert {result.motion for result in sink.got} == {None}
    assert set(sink.at_ns) == {None}


EMIT = RunnerSettings(compensate=Compensate.EMIT)


@pytest.mark.parametrize(
    ("kind", "data_ms"),
    [(Compensate.OFF, None), (Compensate.EMIT, DETECT_MS), (Compensate.DISPLAY, DETECT_MS + SINK_MS)],
)
def test_data_is_moved_to_its_emission_or_to_when_it_is_written(kind: Compensate, data_ms: int | None) -> None:
    data, _, record = one_late_result(kind)
    assert data.at_ns == [None if data_ms is None else T0 + data_ms * MS]
    assert data.lefts == [left_px(T0 + (data_ms or 0) * MS)]
    assert data.got[0].timeline.emitted == T0 + DETECT_MS * MS
    assert (record.at_ns, record.lefts) == ([None], [0.0]), "a record keeps its frame's own boxes"
    assert data.got[0].detections.xyxy[0, 0] == 0


@pytest.mark.parametrize("kind", [Compensate.OFF, Compensate.EMIT])
def test_pictures_show_their_own_boxes_unless_they_are_newer(kind: Compensate) -> None:
    _, pictures, _ = one_late_result(kind)
    assert (pictures.at_ns, pictures.lefts) == ([None], [0.0])


@pytest.mark.parametrize("kind", list(Compensate))
def test_a_recorded_source_has_no_latency(kind: Compensate) -> None:
    for sink in one_late_result(kind, is_live=False):
        assert (sink.at_ns, sink.lefts, sink.frames) == ([None], [0.0], [0])


def test_live_pictures_show_every_frame_with_boxes_where_they_are_by_then() -> None:
    """The detector gets frame 0 and is then fast enough for one frame in three."""
    clock, pictures, record, watching = SimulatedClock(T0), Output("pictures", is_live=True), Output(), Watching()

    def before(index: int) -> None:
        if index == 1:
            assert record.wrote.acquire(timeout=5)
        elif index > 1:
            assert pictures.wrote.acquire(timeout=5)

    runner = run(clock, Camera(7, before=before), Compensate.DISPLAY, pictures, record, watching)
    assert pictures.frames == [1, 2, 3, 4, 5, 6], "none is shown before the first result is there"
    # The object moves evenly, so that wherever the boxes come from they are where the object is in that picture.
    assert pictures.lefts == [left_px(captured_ns(index)) for index in range(1, 7)]
    assert pictures.at_ns == [captured_ns(index) for index in range(1, 7)]
    assert [int(result.frame.image[0, 0, 0]) for result in pictures.got] == [1, 2, 3, 4, 5, 6]
    assert record.lefts == [left_px(captured_ns(index)) for index in record.frames]
    assert (watching.seen, watching.frames, set(watching.at_ns)) == ([1, 2, 3, 4, 5, 6], record.frames, {None})
    report = runner.report()
    assert report.sinks["s0"].written == 6
    account = report.sources["cam"]
    assert account.produced == account.emitted + sum(account.dropped.values()) == 7
    assert account.emitted == len(record.got)


def test_pictures_of_recorded_sources_stay_results() -> None:
    pictures, watching = Output("pictures", is_live=True), Watching()
    run(SimulatedClock(T0), Camera(5, is_live=False), Compensate.DISPLAY, pictures, watching)
    assert (pictures.frames, watching.seen) == ([0, 1, 2, 3, 4], [])
    assert set(pictures.at_ns) == {None}


@pytest.mark.parametrize("kind", [Compensate.OFF, Compensate.EMIT])
def test_nobody_sees_frames_unless_pictures_are_to_be_newer(kind: Compensate) -> None:
    watching = Watching()
    run(SimulatedClock(T0), Camera(5), kind, watching)
    assert watching.seen == []


def test_a_picture_output_that_fails_does_not_end_the_source() -> None:
    """Its channel is closed while the source still reads: the error is the output's, and the source is not blamed."""
    clock, record, broken = SimulatedClock(T0), Output(), Output("pictures", is_live=True)
    failed = threading.Event()

    def fail(result: FrameResult) -> None:
        failed.set()
        raise OSError("the screen is gone")

    broken.write = fail  # type: ignore[method-assign]

    def before(index: int) -> None:
        if index == 1:
            assert record.wrote.acquire(timeout=5)
        if index == 2:
            assert failed.wait(5)

    with pytest.raises(Exception, match=r"^sink:s0 at frame 1 of cam: OSError: the screen is gone"):
        run(clock, Camera(9, before=before), Compensate.DISPLAY, broken, record)


class Recount:
    """An analyst that keeps where it saw the object, and tells an event there."""

    def __init__(self, info: StreamInfo) -> None:
        self.lefts: list[float] = []

    def update(self, frame: Frame, tracks: Tracks) -> tuple[tuple[Event, ...], Scene]:
        box = tuple(tracks.xyxy[0].tolist())
        event = Event("0" * 16, EventKind.CROSSING, "door", "cam", 0.0, 0.0, frame.captured_ns, frame.index, box=box)
        none = np.zeros(0, np.int64)
        scene = Scene(SceneLayout((), (), np.zeros((0, 2, 2)), (), ()), np.zeros((0, 2)), none, none, none.astype(bool))
        return (event,), scene

    def finish(self) -> Closing:
        return Closing("cam", 1.0, 0, ())


@pytest.mark.parametrize("kind", list(Compensate))
def test_rules_and_events_stay_with_the_boxes_that_were_measured(kind: Compensate) -> None:
    data = Output("data")
    run(SimulatedClock(T0), Camera(1), kind, data, analyst=Recount)
    [result] = data.got
    [event] = result.events
    assert (event.box, event.captured_ns) == ((0.0, 0.0, 9.0, 9.0), T0)
    assert (result.boxes_at_ns is None) == (kind is Compensate.OFF)


@pytest.mark.parametrize(
    ("sink", "emit", "display"),
    [
        (Output("data"), True, True),
        (Output("pictures"), False, True),
        (Watching(), False, True),
        (Output(), False, False),
    ],
)
def test_which_outputs_a_setting_changes(sink: Output, emit: bool, display: bool) -> None:
    assert is_compensated(sink, Compensate.EMIT) == emit  # type: ignore[arg-type]
    assert is_compensated(sink, Compensate.DISPLAY) == display  # type: ignore[arg-type]
