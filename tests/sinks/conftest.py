"""Results and video readers for the tests of sinks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.core.detections import Detections
from pipeline.core.event import Event
from pipeline.core.frame import CaptureClock, Frame, StreamInfo
from pipeline.core.result import FrameResult
from pipeline.core.timeline import Timeline
from pipeline.core.tracks import Tracks

FRAME_NS = 40_000_000


def build_result(
    index: int = 0,
    *,
    boxes: Sequence[Sequence[float]] = (),
    track_id: Sequence[int] | None = None,
    class_id: Sequence[int] | None = None,
    confidence: Sequence[float] | None = None,
    predicted: Sequence[int] = (),
    source_id: str = "cam",
    image: np.ndarray | None = None,
    pts_s: float | None = None,
    captured_ns: int | None = None,
    tracked: bool = True,
    events: tuple[Event, ...] = (),
    dropped_before: int = 0,
) -> FrameResult:
    n = len(boxes)
    xyxy = np.array(boxes, np.float32).reshape(n, 4)
    scores = np.array([0.9] * n if confidence is None else confidence, np.float32)
    classes = np.array([0] * n if class_id is None else class_id, np.int64)
    ids = np.array(range(1, n + 1) if track_id is None else track_id, np.int64)
    rows = np.arange(n, dtype=np.int64)
    rows[list(predicted)] = -1
    at = index * FRAME_NS if captured_ns is None else captured_ns
    picture = np.full((48, 64, 3), 90, np.uint8) if image is None else image
    return FrameResult(
        frame=Frame(source_id, index, picture, pts_s, at, CaptureClock.FILE),
        detections=Detections(xyxy, scores, classes),
        tracks=Tracks(xyxy, scores, classes, ids, rows) if tracked else Tracks.empty(),
        timeline=Timeline(at, at + 1_000_000, at + 2_000_000, at + 7_000_000, at + 8_500_000, at + 9_000_000),
        dropped_before=dropped_before,
        events=events,
        tracked=tracked,
    )


@dataclass(frozen=True)
class Video:
    """A video read back: times in seconds, BGR pictures."""

    pts_s: list[float]
    pictures: list[np.ndarray]
    duration_s: float | None
    codec: str
    color_range: int
    colorspace: int
    keyframes_s: list[float]


def read(path: Path) -> Video:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        return Video(
            pts_s=[float(f.pts * f.time_base) for f in frames],
            pictures=[f.to_ndarray(format="bgr24") for f in frames],
            duration_s=None if container.duration is None else container.duration / 1e6,
            codec=stream.codec_context.name,
            color_range=int(stream.codec_context.color_range),
            colorspace=int(stream.codec_context.colorspace),
            keyframes_s=[float(f.pts * f.time_base) for f in frames if f.key_frame],
        )


@pytest.fixture(scope="session")
def make_result() -> Callable[..., FrameResult]:
    """Builds a FrameResult: the index, then what should differ from an empty 64x48 frame."""
    return build_result


@pytest.fixture(scope="session")
def make_info() -> Callable[..., StreamInfo]:
    """Builds a StreamInfo of a 64x48 file at 25 frames a second."""

    def build(source_id: str = "cam", *, fps: float | None = 25.0, is_live: bool = False) -> StreamInfo:
        return StreamInfo(source_id, 64, 48, fps, is_live, None)

    return build


@pytest.fixture(scope="session")
def read_video() -> Callable[[Path], Video]:
    """Decodes a video file to its end."""
    return read
