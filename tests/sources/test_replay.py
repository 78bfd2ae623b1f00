"""Replay: an exact schedule on a simulated clock."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.core.clock import MonotonicClock, SimulatedClock
from pipeline.core.errors import SourceError
from pipeline.core.frame import CaptureClock, Frame
from sources.images import ImagesConfig, ImagesSource
from sources.replay import ReplayConfig, ReplaySource
from sources.video_file import VideoFileConfig, VideoFileSource

Clip = Callable[..., Path]
START_NS = 1_000_000_007


def replay(path: Path, clock: SimulatedClock, **config: object) -> ReplaySource:
    def make() -> VideoFileSource:
        return VideoFileSource(VideoFileConfig(path=path), source_id="inner", clock=clock)

    return ReplaySource(ReplayConfig(**config), make, source_id="replay", clock=clock)


def take(source: ReplaySource, n: int) -> list[Frame]:
    frames = []
    while len(frames) < n and (frame := source.read()) is not None:
        frames.append(frame)
    return frames


@pytest.mark.parametrize(
    ("config", "milliseconds"),
    [
        ({}, [0, 100, 200, 1000]),
        ({"speed": 2}, [0, 50, 100, 500]),
        ({"speed": 0.5}, [0, 200, 400, 2000]),
        ({"fps": 4}, [0, 250, 500, 750]),
        ({"fps": 4, "speed": 2}, [0, 125, 250, 375]),
    ],
    ids=str,
)
def test_every_frame_appears_at_its_exact_instant(clip: Clip, config: dict, milliseconds: list[int]) -> None:
    clock = SimulatedClock(START_NS)
    source = replay(clip(n=4, fps=10, pts=[0, 1, 2, 10]), clock, **config)
    info = source.open()
    frames = take(source, 10)
    source.close()
    assert info.is_live
    assert info.source_id == "replay"
    assert [f.captured_ns for f in frames] == [START_NS + m * 1_000_000 for m in milliseconds]
    assert clock.now_ns() == frames[-1].captured_ns
    assert [f.index for f in frames] == [0, 1, 2, 3]
    assert all(f.clock is CaptureClock.SCHEDULED and f.source_id == "replay" for f in frames)


def test_thirds_of_a_second_do_not_drift(clip: Clip) -> None:
    clock = SimulatedClock()
    source = replay(clip(n=91), clock, fps=30)
    source.open()
    frames = take(source, 100)
    source.close()
    assert [f.captured_ns for f in frames] == [round(i * 10**9 / 30) for i in range(91)]
    assert frames[90].captured_ns == 3 * 10**9


def test_a_late_reader_gets_frames_at_once_with_their_old_instants(clip: Clip) -> None:
    clock = SimulatedClock()
    source = replay(clip(n=4, fps=10), clock)
    source.open()
    first = source.read()
    clock.advance(250_000_000)
    late = take(source, 3)
    source.close()
    assert [f.captured_ns for f in [first, *late]] == [0, 100_000_000, 200_000_000, 300_000_000]
    assert clock.now_ns() == 300_000_000


def test_a_loop_goes_on_in_index_and_time(clip: Clip, number: Callable[[np.ndarray], int]) -> None:
    clock = SimulatedClock()
    source = replay(clip(n=3, fps=10), clock, loop=True)
    assert source.open().n_frames is None
    frames = take(source, 8)
    source.close()
    assert [number(f.image) for f in frames] == [0, 1, 2, 0, 1, 2, 0, 1]
    assert [f.index for f in frames] == list(range(8))
    assert [f.captured_ns for f in frames] == [i * 100_000_000 for i in range(8)]
    assert [f.pts_s for f in frames] == pytest.approx([i / 10 for i in range(8)])
    assert source.counters["loops"] == 2


def test_images_need_fps(tmp_path: Path) -> None:
    for i in range(3):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.zeros((8, 8, 3), np.uint8))
    clock = SimulatedClock()

    def make() -> ImagesSource:
        return ImagesSource(ImagesConfig(path=str(tmp_path)), source_id="inner", clock=clock)

    source = ReplaySource(ReplayConfig(), make, source_id="r", clock=clock)
    source.open()
    with pytest.raises(SourceError, match="set fps"):
        source.read()
    source.close()
    source = ReplaySource(ReplayConfig(fps=2), make, source_id="r", clock=clock)
    source.open()
    assert [f.pts_s for f in take(source, 5)] == [0, 0.5, 1.0]
    source.close()


class SlowToDecode(VideoFileSource):
    """Decoding takes 30 ms of the simulated clock."""

    clock: SimulatedClock

    def read(self) -> Frame | None:
        frame = super().read()
        self.clock.advance(30_000_000)
        return frame


@pytest.mark.parametrize(("in_time", "late_ms"), [(False, 0), (True, 30)])
def test_decoding_ahead_costs_nothing_and_decoding_in_time_does(in_time: bool, late_ms: int, clip: Clip) -> None:
    clock, path = SimulatedClock(START_NS), clip(n=3, fps=10)

    def make() -> VideoFileSource:
        source = SlowToDecode(VideoFileConfig(path=path), source_id="inner", clock=clock)
        source.clock = clock
        return source

    source = ReplaySource(ReplayConfig(fps=10, decode_in_time=in_time), make, source_id="r", clock=clock)
    source.open()
    frames, there_ns = [], []
    while (frame := source.read()) is not None:
        frames.append(frame)
        there_ns.append(clock.now_ns())
    source.close()
    captured_ns = [frame.captured_ns for frame in frames]
    assert [c - captured_ns[0] for c in captured_ns] == [0, 100_000_000, 200_000_000]
    assert [t - c for t, c in zip(there_ns, captured_ns, strict=True)] == [late_ms * 1_000_000] * 3


def test_decoding_in_time_needs_a_rate() -> None:
    with pytest.raises(ValueError, match="decode_in_time needs fps"):
        ReplayConfig(decode_in_time=True)


def test_interrupt_ends_the_wait_for_the_next_frame(clip: Clip) -> None:
    clock = MonotonicClock()
    path = clip(n=2, fps=10)
    source = ReplaySource(
        ReplayConfig(fps=0.01),
        lambda: VideoFileSource(VideoFileConfig(path=path), source_id="inner", clock=clock),
        source_id="r",
        clock=clock,
    )
    source.open()
    assert source.read() is not None
    timer = threading.Timer(0.1, source.interrupt)
    timer.start()
    assert source.read() is None
    timer.join()
    source.close()
