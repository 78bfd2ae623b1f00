"""Coming back after a break: attempts, waits, numbers, states. Against scripted sources on a simulated clock."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping

import numpy as np
import pytest

from pipeline.core.clock import MonotonicClock, SimulatedClock
from pipeline.core.control import SourceState
from pipeline.core.errors import SourceError
from pipeline.core.frame import CaptureClock, Frame, StreamInfo
from sources.network_errors import AccessDeniedError, NoSuchStreamError
from sources.reconnect import ReconnectConfig, ReconnectingSource

IMAGE = np.zeros((4, 4, 3), np.uint8)
BROKEN = SourceError("broken", retryable=True)
FATAL = SourceError("wrong password", retryable=False)
MISSING = NoSuchStreamError("404")


class Scripted:
    """A source that gives `frames` frames (or fails to open) and then fails or ends."""

    def __init__(
        self,
        clock: SimulatedClock,
        *,
        opening: SourceError | None = None,
        frames: int = 0,
        ending: SourceError | None = BROKEN,
        is_live: bool = True,
    ) -> None:
        self._clock = clock
        self._opening, self._frames, self._ending, self._is_live = opening, frames, ending, is_live
        self._index = 0
        self.closed = False
        self.source_id = "inner"

    @property
    def counters(self) -> Mapping[str, int]:
        return {"corrupt": 2}

    def open(self) -> StreamInfo:
        if self._opening is not None:
            raise self._opening
        return StreamInfo("cam", 4, 4, None, self._is_live, None)

    def read(self) -> Frame | None:
        if self._index == self._frames:
            if self._ending is None:
                return None
            raise self._ending
        now_ns = self._clock.advance(100_000_000)
        frame = Frame("inner", self._index, IMAGE, self._index / 10, now_ns, CaptureClock.RECEIVE)
        self._index += 1
        return frame

    def interrupt(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


def wrapped(
    clock: SimulatedClock, *script: dict, **config: object
) -> tuple[ReconnectingSource, list[Scripted], list[int]]:
    made: list[Scripted] = []
    at_ns: list[int] = []

    def make() -> Scripted:
        at_ns.append(clock.now_ns())
        made.append(Scripted(clock, **script[min(len(made), len(script) - 1)]))
        return made[-1]

    settings = ReconnectConfig(**{"jitter": 0.0, "wait_for_first": True, **config})
    return ReconnectingSource(settings, make, source_id="cam", clock=clock), made, at_ns


def test_numbers_and_media_time_go_on_over_a_break() -> None:
    clock = SimulatedClock()
    source, made, _ = wrapped(clock, {"frames": 2}, {"frames": 3}, {"frames": 1}, first_delay_s=1.0)
    source.open()
    frames = [source.read() for _ in range(6)]
    assert [f.index for f in frames] == [0, 1, 2, 3, 4, 5]
    # The break lasts the wait of 1 s and the 0.1 s until the first frame after it.
    assert [f.pts_s for f in frames] == pytest.approx([0, 0.1, 1.2, 1.3, 1.4, 2.5])
    assert all(f.source_id == "cam" for f in frames)
    assert source.state is SourceState.LIVE
    assert source.counters == {"corrupt": 6, "reconnects": 2}
    source.close()
    assert all(s.closed for s in made)
    assert source.state is SourceState.ENDED


def test_waits_double_up_to_the_longest_and_start_again_after_a_frame() -> None:
    clock = SimulatedClock()
    down = {"opening": BROKEN}
    source, _, at_ns = wrapped(
        clock, down, down, down, down, {"frames": 1}, {"frames": 1}, first_delay_s=1.0, max_delay_s=3.0
    )
    source.open()
    assert np.diff(at_ns).tolist() == [10**9, 2 * 10**9, 3 * 10**9, 3 * 10**9]
    source.read()
    source.read()
    assert at_ns[5] - at_ns[4] == 10**9 + 10**8
    source.close()


def test_a_stream_that_opens_and_breaks_at_once_is_not_hammered() -> None:
    clock = SimulatedClock()
    source, made, at_ns = wrapped(clock, {"frames": 0}, first_delay_s=1.0, max_delay_s=4.0, max_attempts=4)
    source.open()
    with pytest.raises(SourceError, match="gave up after 4 attempts"):
        source.read()
    assert np.diff(at_ns).tolist() == [10**9, 2 * 10**9, 4 * 10**9]
    assert len(made) == 4
    source.close()


def test_jitter_only_shortens_the_wait() -> None:
    clock = SimulatedClock()
    at_ns: list[int] = []

    def make() -> Scripted:
        at_ns.append(clock.now_ns())
        return Scripted(clock, opening=BROKEN)

    config = ReconnectConfig(wait_for_first=True, max_attempts=40, first_delay_s=1, max_delay_s=1, jitter=0.5)
    source = ReconnectingSource(config, make, source_id="cam", clock=clock, rng=random.Random(1))
    with pytest.raises(SourceError):
        source.open()
    waits = np.diff(at_ns) / 1e9
    assert ((waits >= 0.5) & (waits <= 1.0)).all()
    assert np.ptp(waits) > 0.2


def test_giving_up_names_the_last_reason_and_stays_failed() -> None:
    source, made, _ = wrapped(SimulatedClock(), {"opening": BROKEN}, max_attempts=3)
    with pytest.raises(SourceError, match=r"broken \(gave up after 3 attempts in a row\)") as raised:
        source.open()
    assert raised.value.retryable is False
    assert len(made) == 3
    assert all(s.closed for s in made)
    source.close()
    assert source.state is SourceState.FAILED


@pytest.mark.parametrize("error", [FATAL, MISSING])
def test_what_will_not_pass_ends_at_once(error: SourceError) -> None:
    source, made, _ = wrapped(SimulatedClock(), {"opening": error})
    with pytest.raises(SourceError) as raised:
        source.open()
    assert raised.value is error
    assert len(made) == 1
    assert source.state is SourceState.FAILED
    source.close()


def test_what_was_live_is_awaited_whatever_it_answers() -> None:
    """A damaged answer looks like a refusal for any reason."""
    clock = SimulatedClock()
    source, _, _ = wrapped(
        clock, {"frames": 1}, {"opening": MISSING}, {"frames": 1}, {"opening": FATAL}, {"frames": 1, "ending": None}
    )
    source.open()
    assert [source.read().index for _ in range(3)] == [0, 1, 2]
    assert [frame.n_breaks for frame in (source._last,)] == [2]
    source.close()


def test_a_recording_is_not_begun_again() -> None:
    recording = {"frames": 2, "is_live": False}
    source, made, _ = wrapped(SimulatedClock(), {**recording, "ending": None})
    assert source.open().is_live is False
    assert [source.read() is None for _ in range(3)] == [False, False, True]
    source.close()
    source, made, _ = wrapped(SimulatedClock(), recording)
    source.open()
    source.read()
    source.read()
    with pytest.raises(SourceError, match="broken"):
        source.read()
    assert len(made) == 1
    source.close()


def test_interrupt_ends_a_wait_between_attempts() -> None:
    clock = MonotonicClock()
    config = ReconnectConfig(wait_for_first=True, first_delay_s=1000, max_delay_s=1000)
    attempted = threading.Event()

    def make() -> Scripted:
        attempted.set()
        return Scripted(SimulatedClock(), opening=BROKEN)

    source = ReconnectingSource(config, make, source_id="cam", clock=clock)
    thread = threading.Thread(target=lambda: (attempted.wait(), source.interrupt()))
    thread.start()
    with pytest.raises(SourceError, match="interrupted"):
        source.open()
    thread.join()
    source.close()


def test_a_stream_that_was_never_there_is_told_at_once_and_one_that_was_is_waited_for() -> None:
    source, made, _ = wrapped(SimulatedClock(), {"opening": BROKEN}, wait_for_first=False)
    with pytest.raises(SourceError, match=r"wait_for_first=true"):
        source.open()
    assert len(made) == 1
    assert source.state is SourceState.FAILED

    source, made, _ = wrapped(SimulatedClock(), {"frames": 1}, {"opening": BROKEN}, {"frames": 1}, wait_for_first=False)
    source.open()
    assert [source.read().index for _ in range(2)] == [0, 1]
    assert len(made) == 3


def test_a_refused_password_is_final_before_the_stream_was_live() -> None:
    source, made, _ = wrapped(SimulatedClock(), {"opening": AccessDeniedError("401")})
    with pytest.raises(AccessDeniedError):
        source.open()
    assert len(made) == 1


def test_a_password_refused_later_is_tried_four_times_and_then_seldom() -> None:
    clock = SimulatedClock()
    denied = {"opening": AccessDeniedError("401")}
    source, _, at_ns = wrapped(
        clock, {"frames": 1}, *[denied] * 6, {"frames": 2}, first_delay_s=1.0, max_delay_s=4.0, denied_delay_s=60.0
    )
    source.open()
    assert source.read() is not None
    assert source.read() is not None
    waits_s = np.diff(at_ns) / 1e9
    assert waits_s[1:].tolist() == [2, 4, 4, 60, 60, 60]
    assert source.state is SourceState.LIVE
    source.close()


def test_a_camera_that_is_away_for_long_fills_no_log(caplog: pytest.LogCaptureFixture) -> None:
    clock = SimulatedClock()
    source, made, _ = wrapped(clock, {"frames": 1}, *[{"opening": BROKEN}] * 200, {"frames": 1}, max_attempts=0)
    source.open()
    assert source.read() is not None
    assert source.read() is not None
    assert len(made) == 202
    said = [message for message in caplog.messages if "trying again" in message]
    assert len(said) < 12
    assert "trying again (attempt 128)" in said[-1]
    assert caplog.messages[-1] == "cam: live again"
