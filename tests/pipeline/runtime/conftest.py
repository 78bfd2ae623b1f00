"""Small stages to wire into runners."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from pipeline.core.detections import Detections
from pipeline.core.errors import SourceError
from pipeline.core.frame import CaptureClock, Frame, StreamInfo
from pipeline.core.result import FrameResult
from pipeline.core.tracks import Tracks


@dataclass
class CountingSource:
    """Frames whose pixels hold their index. Live ones wait for `gate` between frames."""

    source_id: str = "a"
    n_frames: int = 10
    is_live: bool = False
    fail_at: int | None = None
    open_error: Exception | None = None
    wait: Callable[[int], None] | None = None
    opened: int = 0
    closed: int = 0
    _index: int = 0
    interrupted: threading.Event = field(default_factory=threading.Event)

    def open(self) -> StreamInfo:
        self.opened += 1
        if self.open_error:
            raise self.open_error
        return StreamInfo(self.source_id, 8, 8, 25.0, self.is_live, self.n_frames)

    def read(self) -> Frame | None:
        if self.interrupted.is_set() or self._index >= self.n_frames:
            return None
        if self._index == self.fail_at:
            raise SourceError("the cable was pulled")
        if self.wait:
            self.wait(self._index)
        image = np.full((8, 8, 3), self._index % 256, np.uint8)
        frame = Frame(self.source_id, self._index, image, self._index / 25, time.monotonic_ns(), CaptureClock.FILE)
        self._index += 1
        return frame

    def interrupt(self) -> None:
        self.interrupted.set()

    def close(self) -> None:
        self.closed += 1

    @property
    def counters(self) -> dict[str, int]:
        return {"corrupt": 0}


@dataclass
class FakeDetector:
    """One box per frame, as wide as the frame's first pixel value."""

    fail_at: int | None = None
    before: Callable[[Sequence[Frame]], None] | None = None
    batches: list[list[tuple[str, int]]] = field(default_factory=list)
    class_names: tuple[str, ...] = ("thing",)

    def warmup(self) -> None: ...

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        self.batches.append([(f.source_id, f.index) for f in frames])
        if self.before:
            self.before(frames)
        if self.fail_at is not None and any(f.index == self.fail_at for f in frames):
            raise ValueError("no such layer")
        return [
            Detections(
                np.array([[0, 0, int(f.image[0, 0, 0]) + 1, 4]], np.float32),
                np.array([0.9], np.float32),
                np.array([0]),
            )
            for f in frames
        ]

    def close(self) -> None: ...


class FakeTracker:
    """Everything is track 1; remembers what it was given."""

    def __init__(self, info: StreamInfo) -> None:
        self.info = info
        self.seen: list[int] = []

    def update(self, detections: Detections, frame_index: int, pts_s: float | None) -> Tracks:
        self.seen.append(frame_index)
        n = len(detections)
        return Tracks(detections.xyxy, detections.confidence, detections.class_id, np.arange(1, n + 1), np.arange(n))

    def reset(self) -> None:
        self.seen.clear()


@dataclass
class ListSink:
    """Keeps every result."""

    needs_image: bool = False
    needs_main_thread: bool = False
    is_live: bool = False
    shared: bool = True
    fail_at: int | None = None
    before: Callable[[FrameResult], None] | None = None
    results: list[FrameResult] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)
    closed: int = 0
    thread: str = ""

    def open(self, info: StreamInfo) -> None:
        self.opened.append(info.source_id)

    def write(self, result: FrameResult) -> None:
        self.thread = threading.current_thread().name
        if self.before:
            self.before(result)
        if result.frame.index == self.fail_at:
            raise OSError(28, "No space left on device")
        self.results.append(result)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def stages() -> type:
    """The fakes, by name."""
    return type(
        "Stages",
        (),
        {"Source": CountingSource, "Detector": FakeDetector, "Tracker": FakeTracker, "Sink": ListSink},
    )
