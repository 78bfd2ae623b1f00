"""Which frames the detector takes: every n-th, or those that a scheduler picks. On a simulated clock."""

from __future__ import annotations

import threading
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from pipeline.core.clock import SimulatedClock
from pipeline.core.frame import CaptureClock, Frame
from pipeline.runtime.arrivals import LEAST, Arrivals
from pipeline.runtime.batcher import Batcher
from pipeline.runtime.channel import Channel, Policy
from pipeline.runtime.choice import FrameChoice
from pipeline.runtime.live_scheduler import LEAST_RUNTIMES
from pipeline.streaming.runtimes import Runtimes
from pipeline.streaming.schedulers import Scheduler, scheduler
from pipeline.streaming.simulate import simulate
from pipeline.streaming.stream import Stream

pytestmark = pytest.mark.timeout(20)

INTERVAL_NS = 40_000_000
_PICTURE = np.zeros((2, 2, 3), np.uint8)


def _frame(index: int, source_id: str = "a") -> Frame:
    return Frame(source_id, index, _PICTURE, None, index * INTERVAL_NS, CaptureClock.RECEIVE)


class _Refusing:
    """Refuses what it is told to; remembers what it was asked."""

    def __init__(self, *refused: int) -> None:
        self.refused = refused
        self.asked: list[tuple[int, bool]] = []
        self.n_begun = 0

    def begin(self, stream: Stream, runtimes: Runtimes) -> None:
        self.n_begun += 1

    def take(self, now_ns: int, newest: int, waited: bool) -> bool:
        self.asked.append((newest, waited))
        return newest not in self.refused


class _Camera:
    """Frames every 40 ms of simulated time; rate and runtimes of its scheduler are known from the start."""

    def __init__(self, make_scheduler: Callable[[], Scheduler], runtime_ns: int) -> None:
        self.clock = SimulatedClock()
        self.arrivals = Arrivals()
        self.choice = FrameChoice(self.arrivals, self.clock, None, make_scheduler)
        self.n_arrived = 0
        for _ in range(LEAST):
            self.next()
        assert self.choice.takes(_frame(LEAST - 1), waited=True)
        for _ in range(LEAST_RUNTIMES):
            self.choice.ran([_frame(0)], runtime_ns)

    def next(self) -> Frame:
        """The next frame, at its time."""
        self.until(self.n_arrived * INTERVAL_NS)
        return _frame(self.n_arrived - 1)

    def until(self, at_ns: int) -> None:
        """Let time pass, and frames arrive."""
        while self.n_arrived * INTERVAL_NS <= at_ns:
            self.clock.advance(max(self.n_arrived * INTERVAL_NS - self.clock.now_ns(), 0))
            self.arrivals.note(_frame(self.n_arrived), self.clock.now_ns())
            self.n_arrived += 1
        self.clock.advance(max(at_ns - self.clock.now_ns(), 0))


@pytest.mark.parametrize("name", ["idle-free", "shrinking-tail", "stride-3", "planned"])
@pytest.mark.parametrize("runtime_ns", [25_000_000, 50_000_000, 70_000_000, 130_000_000])
def test_in_a_run_a_scheduler_picks_what_it_picks_in_simulation(name: str, runtime_ns: int) -> None:
    camera = _Camera(lambda: scheduler(name), runtime_ns)
    frame, waited, picked = camera.next(), True, []
    first = frame.index
    while len(picked) < 40:
        if camera.choice.takes(frame, waited=waited):
            camera.choice.took(frame)
            picked.append(frame.index - first)
            camera.until(camera.clock.now_ns() + runtime_ns)
            camera.choice.ran([frame], runtime_ns)
        waited = camera.n_arrived - 1 == frame.index
        frame = camera.next() if waited else _frame(camera.n_arrived - 1)

    stream, runtimes, simulated = (
        Stream("s", Fraction(25), 400, 1, 1),
        Runtimes.constant(runtime_ns / 1e6),
        scheduler(name),
    )
    simulated.begin(stream, runtimes)
    assert picked == [run.frame for run in simulate(stream, simulated, runtimes.draws(0))][:40]


def test_until_rate_and_runtimes_are_known_every_newest_frame_is_taken() -> None:
    refusing = _Refusing(*range(100))
    arrivals, clock = Arrivals(), SimulatedClock()
    choice = FrameChoice(arrivals, clock, None, lambda: refusing)
    for index in range(LEAST + 3):
        arrivals.note(_frame(index), clock.advance(INTERVAL_NS))
        assert choice.takes(_frame(index), waited=True)
    assert refusing.asked == []


def test_a_frame_is_asked_about_once_and_taken_after_all_where_the_next_is_late() -> None:
    refusing = _Refusing(LEAST)
    camera = _Camera(lambda: refusing, 90_000_000)
    frame = camera.next()
    assert not camera.choice.takes(frame, waited=False)
    camera.clock.advance(10_000_000)
    assert not camera.choice.takes(frame, waited=False)
    assert refusing.asked == [(LEAST, False)]
    assert camera.choice.patience_s() == pytest.approx(0.07)
    camera.clock.advance(70_000_000)
    assert camera.choice.takes(frame, waited=True)
    camera.choice.took(frame)
    assert camera.choice.patience_s() is None


def test_a_scheduler_begins_anew_when_runtimes_change_and_not_at_every_frame() -> None:
    told = _Refusing()
    camera = _Camera(lambda: told, 50_000_000)
    for runtime_ns in (*[50_000_000] * 200, *[80_000_000] * 200):
        assert camera.choice.takes(camera.next(), waited=True)
        camera.choice.ran([_frame(0)], runtime_ns)
    # 200 frames are 8 s, and it begins anew at most every 5 s.
    assert 2 <= told.n_begun <= 3


def test_batches_wait_for_the_next_frame_where_the_scheduler_refuses_one() -> None:
    refusing = _Refusing(LEAST)
    camera = _Camera(lambda: refusing, 90_000_000)
    batcher = Batcher(1, 0.0, camera.choice)
    channel: Channel[Frame] = Channel(1, Policy.NEWEST, batcher.changed)
    batcher.expect("a")
    batcher.add("a", channel)
    refused, nxt = camera.next(), _frame(LEAST + 1)
    channel.put(refused)
    got: list[list[Frame]] = []
    thread = threading.Thread(target=lambda: got.append(batcher.gather()))
    thread.start()
    with batcher.changed:
        batcher.changed.wait_for(lambda: refusing.asked, timeout=5)
    camera.next()
    assert channel.put(nxt) is refused
    thread.join(5)
    assert got == [[nxt]]
    assert refusing.asked == [(LEAST, False), (LEAST + 1, True)]


def test_a_scheduler_is_not_asked_while_another_source_waits_nor_at_the_end() -> None:
    refusing = _Refusing(*range(100))
    camera = _Camera(lambda: refusing, 90_000_000)
    batcher = Batcher(1, 0.0, camera.choice)
    live: Channel[Frame] = Channel(1, Policy.NEWEST, batcher.changed)
    recorded: Channel[Frame] = Channel(8, Policy.BLOCK, batcher.changed)
    for name, channel in (("a", live), ("b", recorded)):
        batcher.expect(name)
        batcher.add(name, channel)
    frame = camera.next()
    live.put(frame)
    recorded.put(_frame(0, "b"))
    assert batcher.gather() == [frame]
    # A recorded source has no scheduler.
    assert [one.source_id for one in batcher.gather()] == ["b"]
    last = camera.next()
    live.put(last)
    live.close()
    assert batcher.gather() == [last]
    assert refusing.asked == []


def _filling(every_nth: int, policy: Policy, capacity: int, max_batch: int = 1) -> tuple[Batcher, Channel[Frame]]:
    clock = SimulatedClock()
    batcher = Batcher(max_batch, 0.0, FrameChoice(Arrivals(), clock, every_nth))
    channel: Channel[Frame] = Channel(capacity, policy, batcher.changed)
    batcher.expect("a")
    batcher.add("a", channel)
    return batcher, channel


def _gathered(batcher: Batcher) -> list[str]:
    """`3` = to be detected, `(3)` = passes."""
    batch = batcher.gather()
    passed = batcher.passed()
    return [f"({frame.index})" if frame in passed else str(frame.index) for frame in batch]


def test_of_a_recorded_source_exactly_every_nth_is_detected() -> None:
    batcher, channel = _filling(3, Policy.BLOCK, 16)
    for index in range(8):
        channel.put(_frame(index))
    channel.close()
    found: list[str] = []
    while batch := _gathered(batcher):
        found += batch
    assert found == ["0", "(1)", "(2)", "3", "(4)", "(5)", "6", "(7)"]


def test_frames_that_pass_do_not_count_in_a_batch() -> None:
    batcher, channel = _filling(2, Policy.BLOCK, 16, max_batch=3)
    for index in range(7):
        channel.put(_frame(index))
    assert _gathered(batcher) == ["0", "(1)", "2", "(3)", "4"]


def test_frames_of_a_live_source_pass_at_once_and_the_newest_that_is_due_is_detected() -> None:
    batcher, channel = _filling(2, Policy.NEWEST, 30)
    channel.put(_frame(0))
    assert _gathered(batcher) == ["0"]
    # While that was detected: 1 is not due, 2 is due but not the newest, 3 is both.
    for index in (1, 2, 3):
        channel.put(_frame(index))
    assert _gathered(batcher) == ["(1)", "(2)"]
    assert _gathered(batcher) == ["3"]
    channel.put(_frame(4))
    assert _gathered(batcher) == ["(4)"]


def test_the_first_detected_frame_may_be_one_with_others_before_it() -> None:
    batcher, channel = _filling(5, Policy.NEWEST, 30)
    for index in range(3):
        channel.put(_frame(index))
    assert _gathered(batcher) == ["(0)", "(1)"]
    assert _gathered(batcher) == ["2"]
    channel.put(_frame(3))
    assert _gathered(batcher) == ["(3)"]


def test_frames_pass_without_waiting_for_another_source_to_be_detected() -> None:
    batcher, channel = _filling(2, Policy.NEWEST, 30, max_batch=4)
    other: Channel[Frame] = Channel(8, Policy.BLOCK, batcher.changed)
    batcher.expect("b")
    batcher.add("b", other)
    channel.put(_frame(0))
    assert _gathered(batcher) == ["0"]
    channel.put(_frame(1))
    other.put(_frame(0, "b"))
    batch = batcher.gather()
    assert [(frame.source_id, frame.index) for frame in batch] == [("a", 1)]
    assert [(frame.source_id, frame.index) for frame in batcher.gather()] == [("b", 0)]


def test_a_source_that_begins_anew_is_detected_from_its_first_frame() -> None:
    batcher, channel = _filling(10, Policy.BLOCK, 16)
    for index in (0, 1, 0, 1):
        channel.put(_frame(index))
    assert [_gathered(batcher) for _ in range(3)] == [["0"], ["(1)", "0"], ["(1)"]]


def test_frames_beyond_what_is_held_are_displaced_oldest_first() -> None:
    _, channel = _filling(2, Policy.NEWEST, 2)
    displaced = [channel.put(_frame(index)) for index in range(4)]
    assert [frame.index if frame else None for frame in displaced] == [None, None, 0, 1]
