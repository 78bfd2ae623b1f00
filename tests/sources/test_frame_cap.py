"""At most so many frames of a source per second."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from pipeline.core.frame import CaptureClock, Frame, StreamInfo
from sources.frame_cap import FrameCap

IMAGE = np.zeros((4, 4, 3), np.uint8)


class Paced:
    """Frames at the given media times."""

    source_id = "cam"

    def __init__(self, times_s: list[float]) -> None:
        self.counters = {"corrupt": 1}
        self._frames = [Frame("cam", i, IMAGE, t, int(t * 1e9), CaptureClock.RECEIVE) for i, t in enumerate(times_s)]
        self.interrupted = threading.Event()

    def open(self) -> StreamInfo:
        return StreamInfo("cam", 4, 4, 25.0, True, None)

    def read(self) -> Frame | None:
        return self._frames.pop(0) if self._frames and not self.interrupted.is_set() else None

    def interrupt(self) -> None:
        self.interrupted.set()

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("fps", "cap", "wanted"), [(25, 5, 50), (25, 10, 100), (25, 25, 250), (25, 60, 250), (30, 12.5, 125)]
)
def test_the_rate_is_the_one_wanted(fps: float, cap: float, wanted: int) -> None:
    rng = np.random.default_rng(0)
    times = (np.arange(10 * fps) / fps + rng.uniform(0, 0.05 / fps, 10 * fps)).tolist()
    source = FrameCap(Paced(times), cap)
    assert source.open().declared_fps == min(25.0, cap)
    frames = list(iter(source.read, None))
    assert len(frames) == pytest.approx(wanted, rel=0.2)
    assert [f.index for f in frames] == list(range(len(frames)))
    assert source.counters == {"corrupt": 1, "over_cap": 10 * fps - len(frames)}
    if cap < fps:
        assert np.diff([f.pts_s for f in frames]).min() > 0.8 / cap - 1 / fps


def test_after_a_gap_there_is_no_burst() -> None:
    source = FrameCap(Paced([0.0, 60.0, 60.04, 60.08, 60.5, 61.0]), 2)
    assert [f.pts_s for f in iter(source.read, None)] == [0.0, 60.0, 60.5, 61.0]
