"""The stretch of the user's recording that everything is measured on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from pipeline.config.build import make_source
from pipeline.config.cameras import LIVE_KINDS, addresses_of
from pipeline.config.schema import RunConfig, Section
from pipeline.core.clock import MonotonicClock
from pipeline.core.errors import SourceError, UsageError
from pipeline.core.frame import Frame
from pipeline.core.protocols import Source
from pipeline.stream_eval.frame_rate import frame_rate, rate_text
from pipeline.streaming.stream import Stream

MIN_FRAMES = 10
"""Fewer say nothing about what moves."""
_MOST_OFF = 0.5
"""A frame may be so many intervals away from its place at a steady rate."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A stretch from the beginning of a recording.

    Attributes:
        source: a video file or a folder of pictures, as after `--source`.
        fps: pictures per second as a fraction, `30000/1001`; of a video its own.
        asked_fps: what the user gave for pictures without times, or None.
        n_frames: how many frames the stretch has.
        is_whole: the stretch is the whole recording.
        width_px, height_px: size of its frames.
        digest: of the recording's contents.
    """

    source: str
    fps: str
    asked_fps: float | None
    n_frames: int
    is_whole: bool
    width_px: int
    height_px: int
    digest: str

    @property
    def name(self) -> str:
        """What reports call it."""
        return Path(self.source).name

    @property
    def stream(self) -> Stream:
        """Its frames in time."""
        return Stream(self.name, Fraction(self.fps), self.n_frames, self.width_px, self.height_px)

    def to_json(self) -> dict[str, Any]:
        """Plain values; `Clip(**values)` is the way back."""
        return asdict(self)

    def source_settings(self) -> Section:
        """Section `source` of a run that plays it at its own rate, again and again."""
        replay: Section = {"loop": True}
        return {"replay": replay if self.asked_fps is None else {**replay, "fps": self.asked_fps}}

    def frames(self) -> Iterator[Frame]:
        """The frames of the stretch, as fast as they are asked for. Raises SourceError."""
        with _recording(self.source) as source:
            source.open()
            yield from _first(source, self.n_frames)


def open_clip(address: str, *, seconds: float, fps: float | None = None) -> Clip:
    """Look at a recording: how long, how fast, how large.

    Args:
        address: a video file or a folder of pictures.
        seconds: the longest stretch to take, from the beginning.
        fps: pictures per second, for pictures that have no times.

    Raises:
        SourceError: it cannot be read.
        UsageError: it is live, has no steady frame rate, or is too short.
    """
    with _recording(address) as source:
        info = source.open()
        rate = _rate(address, fps, info.declared_fps)
        wanted = max(round(seconds * rate), 1)
        times, n_frames = [], 0
        for frame in _first(source, wanted):
            n_frames += 1
            if fps is None and frame.pts_s is not None:
                times.append(frame.pts_s)
        is_whole = source.read() is None
    if n_frames < MIN_FRAMES:
        raise UsageError(f"{address}: wanted {MIN_FRAMES} frames or more to tune on, found {n_frames}")
    _check_steady(address, times, rate)
    return Clip(address, str(rate), fps, n_frames, is_whole, info.width_px, info.height_px, _digest(Path(address)))


@contextmanager
def _recording(address: str) -> Iterator[Source]:
    """The source, not open yet, closed at the end."""
    config = RunConfig(sources=(address,))
    found = addresses_of(config)
    if len(found) != 1 or str(found[0].kind) in LIVE_KINDS:
        what = "a live source" if len(found) == 1 else f"{len(found)} sources"
        raise UsageError(f"--source: wanted one recording (a video file, or a folder of pictures), found {what}")
    source = make_source(config, found[0], MonotonicClock())
    try:
        yield source
    finally:
        source.close()


def _first(source: Source, n_frames: int) -> Iterator[Frame]:
    for _ in range(n_frames):
        frame = source.read()
        if frame is None:
            return
        yield frame


def _rate(address: str, given: float | None, declared: float | None) -> Fraction:
    rate = given or declared
    if rate is None:
        raise UsageError(f"{address}: wanted pictures per second, found none in it; name them with --fps")
    return frame_rate(rate)


def _check_steady(address: str, times: list[float], rate: Fraction) -> None:
    for number, at_s in enumerate(times):
        off = (at_s - times[0]) * float(rate) - number
        if abs(off) > _MOST_OFF:
            raise UsageError(
                f"{address}: wanted a steady {rate_text(rate)}, found frame {number} {abs(off):.1f} frames too "
                f"{'late' if off > 0 else 'early'}; make a copy with a steady rate (ffmpeg -i IN -r {rate} OUT)"
            )


def _digest(path: Path) -> str:
    """Of a file its contents; of a folder names, sizes and times of its files, since it may be large."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    if not path.is_dir():
        raise SourceError(f"{path}: wanted a video file or a folder of pictures, found neither")
    listed = hashlib.sha256()
    for one in sorted(path.iterdir()):
        about = one.stat()
        listed.update(f"{one.name}\0{about.st_size}\0{about.st_mtime_ns}\n".encode())
    return listed.hexdigest()
