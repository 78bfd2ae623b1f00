"""A camera at this machine: USB or built in."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Mapping
from typing import cast

import av
import av.error
from av.container import Flags
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from pipeline.core.errors import SourceError, UsageError
from pipeline.core.frame import CaptureClock, Frame, StreamInfo
from pipeline.core.protocols import Clock
from sources.av_interrupt import interruptible
from sources.decoder import VideoDecoder
from sources.libav import OpenFailure, OpenOptions, open_input, setup_logging
from sources.network_errors import reading_failed

DEVICE_FORMATS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}
"""FFmpeg's name of the camera interface of each platform."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class CameraConfig:
    """Which camera and what it is asked for."""

    device: str = Field(description="number of the camera (0 = the first), or its device or name as the system has it")
    width_px: int | None = Field(default=None, ge=1, description="picture width (px); null = the camera's choice")
    height_px: int | None = Field(default=None, ge=1, description="picture height (px); null = the camera's choice")
    fps: float | None = Field(default=None, gt=0, description="frames per second; null = the camera's choice")
    pixel_format: str | None = Field(
        default=None,
        description="FFmpeg's name of the pixel format or codec, such as mjpeg; null = the camera's choice",
    )
    open_timeout_s: float = Field(default=10.0, gt=0, description="limit of opening (s)")
    read_timeout_s: float = Field(default=10.0, gt=0, description="a camera that gives nothing for so long failed (s)")

    def __post_init__(self) -> None:
        if (self.width_px is None) != (self.height_px is None):
            raise ValueError("wanted width_px and height_px together, found only one of them")


class CameraSource:
    """Frames of a local camera. It is live and ends only by failing (unplugged, taken by another program).

    Args:
        config: the camera.
        source_id: unique name of the source within the run.
        clock: clock of `Frame.captured_ns`.
    """

    def __init__(self, config: CameraConfig, *, source_id: str, clock: Clock) -> None:
        self._config = config
        self._source_id = source_id
        self._clock = clock
        self._shown = f"camera {config.device}"
        self._interrupted = threading.Event()
        self._decoder: VideoDecoder | None = None
        self._first: Frame | None = None
        self._index = 0
        self._corrupt = 0

    @property
    def source_id(self) -> str:
        """Unique name of the source within the run."""
        return self._source_id

    @property
    def counters(self) -> Mapping[str, int]:
        """`corrupt`: damaged frames that were left out."""
        return {"corrupt": self._corrupt}

    def open(self) -> StreamInfo:
        """Open the camera and take the first frame.

        Raises:
            SourceError: there is no such camera (the text lists those that exist), or it gives no picture; retryable,
                since a camera can be plugged in. Also when interrupted.
            UsageError: the source is open already.
        """
        if self._decoder is not None:
            raise UsageError(f"{self._source_id}: open() was called twice; close() it first")
        if self._interrupted.is_set():
            raise SourceError(f"{self._shown}: was interrupted before it was open")
        device_format = DEVICE_FORMATS.get(sys.platform)
        if device_format is None:
            known = ", ".join(DEVICE_FORMATS)
            raise SourceError(f"{self._shown}: wanted one of the platforms {known}, found {sys.platform}")

        try:
            with interruptible(self._interrupted):
                container = open_input(device_target(self._config.device, device_format), self._options(device_format))
        except OpenFailure as failure:
            cameras = list_cameras(device_format)
            there = ", ".join(cameras) if cameras else "none"
            raise SourceError(
                f"{self._shown}: cannot be opened: {failure}; cameras of this machine: {there}", retryable=bool(cameras)
            ) from failure
        # Where the driver allows it, waiting is done here, since FFmpeg cannot be interrupted within the driver.
        container.flags |= cast(int, Flags.non_block.value)
        self._decoder = VideoDecoder(container, shown=self._shown, interrupted=self._interrupted, live=True)
        self._first = self._next_frame(self._decoder)
        if self._first is None:
            raise SourceError(f"{self._shown}: was interrupted before its first frame")
        height, width = self._first.shape_hw
        return StreamInfo(self._source_id, width, height, self._decoder.declared_fps, True, None)

    def read(self) -> Frame | None:
        """The next frame; None after `interrupt`.

        Raises:
            SourceError: the camera is gone or gives nothing; retryable.
        """
        if self._decoder is None:
            raise UsageError(f"{self._source_id}: read() was called on a source that is not open; call open() first")
        if self._interrupted.is_set():
            return None
        if self._first is not None:
            frame, self._first = self._first, None
            return frame
        return self._next_frame(self._decoder)

    def interrupt(self) -> None:
        """Make a blocked `open` or `read` return; on Linux at the camera's next frame, which v4l2 waits for."""
        self._interrupted.set()

    def close(self) -> None:
        """Release the camera. Idempotent."""
        decoder, self._decoder, self._first = self._decoder, None, None
        if decoder is not None:
            decoder.close()

    def _next_frame(self, decoder: VideoDecoder) -> Frame | None:
        begun_s = time.monotonic()
        try:
            with interruptible(self._interrupted):
                picture = decoder.next(wait_s=self._config.read_timeout_s)
        except av.error.FFmpegError as error:
            if self._interrupted.is_set():
                return None
            timed_out = time.monotonic() - begun_s >= self._config.read_timeout_s
            raise reading_failed(self._shown, error, self._index, timed_out, self._config.read_timeout_s) from error
        finally:
            self._corrupt = decoder.corrupt
        if picture is None:
            if self._interrupted.is_set():
                return None
            raise SourceError(f"{self._shown}: it stopped giving frames (unplugged?)", retryable=True)
        frame = Frame(
            self._source_id, self._index, picture.image, picture.pts_s, self._clock.now_ns(), CaptureClock.RECEIVE
        )
        self._index += 1
        return frame

    def _options(self, device_format: str) -> OpenOptions:
        config = self._config
        options = {"fflags": "nobuffer"}
        if config.width_px is not None:
            options["video_size"] = f"{config.width_px}x{config.height_px}"
        if config.fps is not None:
            options["framerate"] = f"{config.fps:g}"
        if config.pixel_format is not None:
            options["input_format" if device_format == "v4l2" else "pixel_format"] = config.pixel_format
        return OpenOptions(
            format=device_format,
            options=tuple(options.items()),
            open_timeout_s=config.open_timeout_s,
            read_timeout_s=config.read_timeout_s,
        )


def device_target(device: str, device_format: str) -> str:
    """What FFmpeg is to open for a camera number or name, on the platform with that camera interface."""
    if device_format == "v4l2":
        return f"/dev/video{device}" if device.isdecimal() else device
    if device_format == "dshow":
        names = list_cameras(device_format)
        name = names[int(device)] if device.isdecimal() and int(device) < len(names) else device
        return f"video={name}"
    return device


def list_cameras(device_format: str) -> list[str]:
    """The cameras that the system has, under the names by which it opens them; [] where it cannot tell."""
    setup_logging()
    try:
        devices = av.enumerate_input_devices(device_format)
    except (av.error.FFmpegError, ValueError):
        return []
    names = [d.name for d in devices if not d.media_types or "video" in d.media_types]
    return sorted(names, key=lambda n: [int(d) for d in re.findall(r"\d+", n)]) if device_format == "v4l2" else names
