"""The stages that no detector changes, each alone: decode, track, draw, encode."""

from __future__ import annotations

import tempfile
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from pipeline.benchmark.figures import StageFigures
from pipeline.benchmark.measured import Measured
from pipeline.benchmark.stopwatch import time_calls
from pipeline.benchmark.usage import peak_memory_mb
from pipeline.config.build import tracker_factory
from pipeline.core.arrays import ImageArray
from pipeline.core.clock import MonotonicClock
from pipeline.core.detections import Detections
from pipeline.core.errors import UsageError
from pipeline.core.frame import CaptureClock, Frame, StreamInfo
from pipeline.core.protocols import Tracker
from pipeline.core.result import FrameResult
from pipeline.core.timeline import Timeline
from pipeline.core.tracks import Tracks
from sinks.draw import Annotator, DrawConfig
from sinks.video_file import VideoFileConfig as VideoOutput
from sinks.video_file import VideoFileSink
from sources.video_file import VideoFileConfig as VideoInput
from sources.video_file import VideoFileSource

N_OBJECTS = 10
"""Objects per frame for the tracker and for drawing: fixed, so that figures of different clips can be compared."""
_SCENE_FRAMES = 300
_HELD_FRAMES = 24
"""Decoded frames that are kept, and used in turn: few, since they count as memory of the process."""
_FPS = 30.0


def measure_shared_stages(clip: Path, seconds: float) -> Measured:
    """Time every shared stage for `seconds`.

    Raises:
        SourceError: the clip cannot be read.
    """
    info, images = first_frames(clip, _HELD_FRAMES)
    scene = walking_objects(_SCENE_FRAMES, N_OBJECTS, (info.height_px, info.width_px))
    stages = {
        "decode": _decode(clip, seconds),
        "track": _track(info, scene, seconds),
        "draw": _draw(info, images, scene, seconds),
        "encode": _encode(info, images, seconds),
    }
    return Measured(stages, peak_memory_mb(), notes={"objects_per_frame": N_OBJECTS})


def first_frames(clip: Path, n: int) -> tuple[StreamInfo, list[ImageArray]]:
    """What the video says of itself, and its first frames, uint8 (h, w, 3) BGR: `n`, or as many as it has.

    Raises:
        SourceError: there is no such file, or it holds no video that can be decoded.
    """
    source = VideoFileSource(VideoInput(path=clip), source_id=clip.stem, clock=MonotonicClock())
    try:
        info = source.open()
        images = [frame.image for frame in islice(iter(source.read, None), n)]
    finally:
        source.close()
    return info, images


def walking_objects(n_frames: int, n_objects: int, shape_hw: tuple[int, int]) -> list[Detections]:
    """Boxes of objects that walk at constant speed, as a detector sees them: with noise, and one in twelve missed."""
    rng = np.random.default_rng(0)
    limits = np.array([shape_hw[1], shape_hw[0]], np.float64)
    centre = rng.uniform(0.1, 0.9, (n_objects, 2)) * limits
    velocity = rng.uniform(-0.003, 0.003, (n_objects, 2)) * limits
    half = limits[1] * np.column_stack([rng.uniform(0.02, 0.05, n_objects), rng.uniform(0.05, 0.12, n_objects)])
    frames = []
    for _ in range(n_frames):
        centre = centre + velocity
        velocity = np.where((centre < 0) | (centre > limits), -velocity, velocity)
        seen = rng.random(n_objects) > 1 / 12
        middle = centre[seen] + rng.normal(0, 1, (int(seen.sum()), 2))
        xyxy = np.concatenate([middle - half[seen], middle + half[seen]], axis=1).astype(np.float32)
        score = np.where(rng.random(len(xyxy)) < 1 / 6, 0.3, 0.9).astype(np.float32)
        frames.append(Detections(xyxy, score, np.zeros(len(xyxy), np.int64)))
    return frames


def _decode(clip: Path, seconds: float) -> StageFigures:
    # The first read has been done by `open`, and the file is opened once in a clip's length: neither is seen in p99.
    source: VideoFileSource | None = None

    def read(_k: int) -> None:
        nonlocal source
        if source is None or source.read() is None:
            if source is not None:
                source.close()
            source = VideoFileSource(VideoInput(path=clip), source_id=clip.stem, clock=MonotonicClock())
            source.open()
            source.read()

    try:
        return time_calls(read, seconds)
    finally:
        if source is not None:
            source.close()


def _track(info: StreamInfo, scene: list[Detections], seconds: float) -> StageFigures:
    tracker = _tracker(info)

    def update(k: int) -> None:
        if k % len(scene) == 0:
            tracker.reset()
        tracker.update(scene[k % len(scene)], k, k / _FPS)

    return time_calls(update, seconds)


def _draw(info: StreamInfo, images: list[ImageArray], scene: list[Detections], seconds: float) -> StageFigures:
    annotator = Annotator(DrawConfig(), ("object",))
    tracker = _tracker(info)
    results = [
        _result(info, k, image, detections, tracker.update(detections, k, k / _FPS))
        for k, (image, detections) in enumerate(zip(cycle(images), scene, strict=False))
    ]

    def draw(k: int) -> None:
        annotator.draw(results[k % len(results)])

    return time_calls(draw, seconds)


def _encode(info: StreamInfo, images: list[ImageArray], seconds: float) -> StageFigures:
    nothing = DrawConfig(boxes=False, labels=False, trails=False)
    with tempfile.TemporaryDirectory() as folder:
        sink = VideoFileSink(VideoOutput(path=Path(folder) / "out.mp4", draw=nothing), class_names=("object",))
        try:
            sink.open(info)
            # There and back again: a jump from the last frame to the first would cost the encoder a new picture.
            order = [*range(len(images)), *range(len(images) - 2, 0, -1)]
            figures = time_calls(
                lambda k: sink.write(
                    _result(info, k, images[order[k % len(order)]], Detections.empty(), Tracks.empty())
                ),
                seconds,
            )
        finally:
            sink.close()
    return figures


def _tracker(info: StreamInfo) -> Tracker:
    """The default one."""
    factory = tracker_factory({})
    if factory is None:
        raise UsageError("bench: wanted the default tracker, found none")
    return factory(info)


def _result(info: StreamInfo, k: int, image: ImageArray, detections: Detections, tracks: Tracks) -> FrameResult:
    """A result as the pipeline makes it."""
    frame = Frame(info.source_id, k, image, k / _FPS, k, CaptureClock.FILE)
    return FrameResult(frame, detections, tracks, Timeline(k, k, k, k, k, k))
