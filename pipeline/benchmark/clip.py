"""The video that is measured on: the user's own or a made one, and long enough for the default seconds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np

from pipeline.core.arrays import ImageArray
from pipeline.core.clock import MonotonicClock
from pipeline.core.errors import SourceError
from sources.video_file import VideoFileConfig, VideoFileSource

MIN_FRAMES = 1800
"""Shorter clips are played again and again: 700 frames/s last for the default of 2 s and the warm-up before. A longer
measurement of the whole pipeline ends with the clip."""
MADE_HW, MADE_FPS, MADE_FRAMES = (720, 1280), 30, 120


@dataclass(frozen=True, slots=True)
class Clip:
    """A video.

    Attributes:
        path: where it is.
        name: what reports call it.
        width_px: width of its frames.
        height_px: height of its frames.
        frames: how many it has.
        plays: how many times the original stands in it.
    """

    path: Path
    name: str
    width_px: int
    height_px: int
    frames: int
    plays: int


def prepare_clip(source: Path | None, folder: Path, *, min_frames: int = MIN_FRAMES) -> Clip:
    """A clip of at least `min_frames` frames.

    Args:
        source: a video file; None makes one (`make_clip`).
        folder: where made files go.
        min_frames: a shorter video is repeated, its packets as they are, into a file of its own.

    Raises:
        SourceError: no video file, or one that FFmpeg cannot read.
    """
    path = source or make_clip(folder / "made.mp4", MADE_FRAMES)
    opened = VideoFileSource(VideoFileConfig(path=path), source_id=path.stem, clock=MonotonicClock())
    try:
        info = opened.open()
    finally:
        opened.close()
    name = source.name if source else f"made: moving shapes, {MADE_FRAMES} frames"
    try:
        frames = _count_packets(path)
        plays = max(1, -(-min_frames // max(frames, 1)))
        if plays > 1:
            path = _repeated(path, folder / "repeated.mkv", plays)
    except av.FFmpegError as error:
        raise SourceError(f"{path}: wanted a video that can be repeated to {min_frames} frames: {error}") from error
    return Clip(path, name, info.width_px, info.height_px, frames * plays, plays)


def make_clip(path: Path, n_frames: int, shape_hw: tuple[int, int] = MADE_HW) -> Path:
    """Write an H.264 video of shapes that move over a still, textured ground; the same on every call."""
    height, width = shape_hw
    rng = np.random.default_rng(0)
    coarse = rng.integers(60, 180, (max(height // 24, 1), max(width // 24, 1), 3), np.uint8)
    ground = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    grain = rng.integers(0, 24, ground.shape, np.uint8)
    ground = np.add(ground, grain, dtype=np.uint8)
    start, speed = rng.uniform(0.1, 0.9, (12, 2)), rng.uniform(-0.01, 0.01, (12, 2))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=MADE_FPS, options={"preset": "veryfast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for i in range(n_frames):
            picture = _with_shapes(ground, np.abs((start + i * speed) % 2 - 1))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode())
    return path


def _with_shapes(ground: ImageArray, places: np.ndarray) -> ImageArray:
    picture = ground.copy()
    height, width = ground.shape[:2]
    for k, (x, y) in enumerate(places.tolist()):
        centre = (int(x * width), int(y * height))
        half = (height // (10 + k), height // (5 + k))
        color = (40 * k % 256, 90 * k % 256, 255 - 20 * k)
        cv2.ellipse(picture, centre, half, 0, 0, 360, color, -1)
        cv2.circle(picture, (centre[0], max(centre[1] - half[1], 0)), half[0], (200, 180, 170), -1)
    return picture


def _count_packets(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for packet in container.demux(video=0) if packet.size)


def _repeated(path: Path, target: Path, plays: int) -> Path:
    """The packets of the video again and again, times going on; nothing is decoded."""
    with av.open(str(target), "w") as output:
        copy, offset = None, 0
        for _ in range(plays):
            with av.open(str(path)) as container:
                video = container.streams.video[0]
                if copy is None:
                    copy = output.add_stream_from_template(video)
                first, end = None, 0
                for packet in container.demux(video):
                    if not packet.size or packet.pts is None or packet.dts is None:
                        continue
                    first = min(packet.pts, first) if first is not None else packet.pts
                    end = max(end, packet.pts + (packet.duration or 1))
                    packet.pts += offset
                    packet.dts += offset
                    packet.stream = copy
                    output.mux(packet)
                offset += end - (first or 0)
    return target
