"""One decoded picture and where it came from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from pipeline.core.arrays import ImageArray, read_only
from pipeline.core.errors import UsageError


class CaptureClock(StrEnum):
    """How good `Frame.captured_ns` is as the instant at which the scene was seen."""

    RECEIVE = "receive"
    """The decoder handed the frame over: later than the scene by the camera's and the network's delay."""
    RTCP = "rtcp"
    """The camera's own wall clock, from RTCP sender reports."""
    SCHEDULED = "scheduled"
    """A replay source's schedule: exact by construction."""
    FILE = "file"
    """A recorded file read as fast as it goes: the instant of decoding, unrelated to the scene."""


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What a source knows about itself once open.

    Attributes:
        source_id: unique name of the source within a run.
        width_px: width of the frames it starts with, after rotation.
        height_px: height of the frames it starts with, after rotation.
        declared_fps: frame rate that the container announces, or None. Shown to people, never trusted.
        is_live: True: only the newest frame matters. False: no frame may be dropped.
        n_frames: number of frames if the container knows it, or None. An estimate, for progress bars and the like.
    """

    source_id: str
    width_px: int
    height_px: int
    declared_fps: float | None
    is_live: bool
    n_frames: int | None

    def __post_init__(self) -> None:
        if not self.source_id:
            raise UsageError("StreamInfo.source_id: wanted a name, found an empty text")
        if self.width_px < 1 or self.height_px < 1:
            raise UsageError(f"StreamInfo size: wanted at least 1x1 px, found {self.width_px}x{self.height_px}")
        if self.declared_fps is not None and not self.declared_fps > 0:
            raise UsageError(f"StreamInfo.declared_fps: wanted a positive number or None, found {self.declared_fps}")


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded frame. Nobody draws on it: `image` is read-only, and sinks draw on a copy.

    Attributes:
        source_id: which source it came from.
        index: number of the frame in its source, from 0; counts every frame the source produced, dropped ones too.
        image: uint8 (h, w, 3), BGR.
        pts_s: media time in seconds, or None where the source has none.
        captured_ns: monotonic clock, nanoseconds; see `clock`.
        clock: how good `captured_ns` is.
        n_breaks: how often the source broke and came back before this frame.
    """

    source_id: str
    index: int
    image: ImageArray
    pts_s: float | None
    captured_ns: int
    clock: CaptureClock
    n_breaks: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "image", read_only("Frame.image", self.image, np.uint8, (None, None, 3)))
        if self.index < 0:
            raise UsageError(f"Frame.index: wanted 0 or more, found {self.index}")

    @property
    def shape_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.image.shape[0], self.image.shape[1]

    def __str__(self) -> str:
        return f"frame {self.index} of {self.source_id}"
