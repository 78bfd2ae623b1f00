"""Annotated video in a file, with the times of the source's own frames."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import av
from av.container import OutputContainer
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from pipeline.core.arrays import ImageArray
from pipeline.core.errors import SinkError, UsageError
from pipeline.core.frame import StreamInfo
from pipeline.core.result import FrameResult
from sinks.draw import Annotator, DrawConfig
from sinks.encoder import Codec, EncoderSettings, Preset, VideoEncoder
from sinks.media_time import TICKS_PER_S, MediaTime
from sinks.mp4_repair import cut_torn_end
from sinks.output_path import claim_output, write_failure
from sinks.picture_size import PictureSize

_MOV_OPTIONS = {
    # Fragments while it is written, so that a killed run leaves a film; an ordinary seekable file when it is closed.
    # The header waits for the first fragment: only then can it say at what time the film begins.
    "movflags": "hybrid_fragmented+delay_moov",
    "flush_packets": "1",
}
_MATROSKA_OPTIONS = {"cluster_time_limit": "1000", "flush_packets": "1"}
CONTAINERS = {
    ".mp4": ("mp4", _MOV_OPTIONS),
    ".m4v": ("mp4", _MOV_OPTIONS),
    ".mov": ("mov", _MOV_OPTIONS),
    ".mkv": ("matroska", _MATROSKA_OPTIONS),
}
_ASSUMED_FPS = 25.0


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class VideoFileConfig:
    """Where the video goes, and how it is encoded."""

    path: Path = Field(description="file to write (.mp4 .m4v .mov .mkv)")
    exist_ok: bool = Field(default=False, description="overwrite the file if it exists")
    codec: Codec = Field(default="h264", description="video codec")
    crf: int = Field(default=23, ge=0, le=51, description="constant quality; lower is better and larger")
    bitrate_kbps: int | None = Field(default=None, ge=10, description="mean bit rate (kbit/s) instead of crf")
    preset: Preset = Field(default="auto", description="speed of encoding against size; auto = fast and small enough")
    threads: int = Field(default=0, ge=0, le=64, description="encoder threads; 0 = by the cores there are")
    draw: DrawConfig = Field(default_factory=DrawConfig, description="what is drawn")


class VideoFileSink:
    """Writes one source's frames with what was found in them.

    The video has the size of the first frame (odd sides are padded to even ones) and the times of the source's frames,
    to 1/90000 s (1/1000 s in .mkv). A run without frames leaves no file. A killed run leaves a playable file without
    the last second, and of a recorded source also without the frames that the encoder looks ahead.

    Args:
        config: the file and the encoder's settings.
        class_names: names by class_id.

    Raises:
        UsageError: the suffix is not that of a known video file.
    """

    needs_image = True
    needs_main_thread = False
    is_live = False
    shared = False

    def __init__(self, config: VideoFileConfig, *, class_names: tuple[str, ...]) -> None:
        suffix = config.path.suffix
        if suffix.lower() not in CONTAINERS:
            raise UsageError(
                f"{config.path}: wanted a video file ({' '.join(CONTAINERS)}), found the suffix {suffix!r}"
            )
        self._config = config
        self._annotator = Annotator(config.draw, class_names)
        self._info: StreamInfo | None = None
        self._recording: _Recording | None = None

    def open(self, info: StreamInfo) -> None:
        """Claim the file. Raises SinkError."""
        if self._info is None:
            os.close(claim_output(self._config.path, exist_ok=self._config.exist_ok))
            self._info = info

    def write(self, result: FrameResult) -> None:
        """Draw and encode one frame. Raises SinkError; what was written before stays playable."""
        if self._info is None:
            raise SinkError(f"{self._config.path}: wanted open() before write(), found the sink not open")
        if self._recording is None:
            self._recording = _Recording(self._config, self._info, result.frame.shape_hw)
        self._recording.add(result, self._annotator.draw(result))

    def close(self) -> None:
        """Finish the file. Idempotent. Raises SinkError if the end cannot be written."""
        if self._recording is not None:
            self._recording.close()
        elif self._info is not None:
            # A video without a picture is no video: players refuse it.
            self._config.path.unlink(missing_ok=True)
        self._info = None


class _Recording:
    """A file that is being written: from the first frame, whose size it has, to its end.

    Raises:
        SinkError: from the constructor and from every method; a failed recording takes no more frames.
    """

    def __init__(self, config: VideoFileConfig, info: StreamInfo, shape_hw: tuple[int, int]) -> None:
        self._path = config.path
        self._times = MediaTime(info)
        self._size = PictureSize(shape_hw, str(config.path))
        fps = info.declared_fps or _ASSUMED_FPS
        self._duration_ticks = round(TICKS_PER_S / fps)
        self._pending: tuple[av.VideoFrame, int] | None = None
        self._container: OutputContainer | None = None
        settings = EncoderSettings(
            codec=config.codec,
            preset=config.preset,
            crf=config.crf,
            bitrate_kbps=config.bitrate_kbps,
            threads=config.threads,
            low_latency=info.is_live,
        )
        container_format, options = CONTAINERS[config.path.suffix.lower()]
        try:
            self._container = av.open(str(config.path), "w", container_format, options=options)
            self._encoder = VideoEncoder(self._container, settings, (self._size.height_px, self._size.width_px), fps)
        except av.FFmpegError as error:
            raise self._give_up(error) from error

    def add(self, result: FrameResult, picture: ImageArray) -> None:
        """Take a picture. It is encoded when the next one comes, because only then is its duration known."""
        if self._container is None:
            raise SinkError(f"{self._path}: wanted to write {result.frame}, found the file closed")
        ticks = self._times.ticks(result.frame)
        before, self._pending = self._pending, (self._encoder.convert(self._size.fit(picture)), ticks)
        if before is not None:
            self._duration_ticks = ticks - before[1]
            self._encode(self._container, before)

    def close(self) -> None:
        """Write what is held back, and the end of the file. Idempotent."""
        if self._container is None:
            return
        if self._pending is not None:
            self._encode(self._container, self._pending)
        try:
            self._container.mux(self._encoder.flush())
            self._container.close()
        except av.FFmpegError as error:
            raise self._give_up(error) from error
        self._container = None

    def _encode(self, container: OutputContainer, pending: tuple[av.VideoFrame, int]) -> None:
        picture, ticks = pending
        try:
            container.mux(self._encoder.encode(picture, ticks, self._duration_ticks))
        except av.FFmpegError as error:
            raise self._give_up(error) from error

    def _give_up(self, error: av.FFmpegError) -> SinkError:
        """End the file after a failure, with what it holds whole so far. Returns what to raise."""
        container, self._container = self._container, None
        if container is not None:
            # Closing tries to write the end, which fails like the write before; that one is reported.
            with contextlib.suppress(av.FFmpegError):
                container.close()
        if self._path.is_file() and self._path.suffix.lower() != ".mkv" and not cut_torn_end(self._path):
            self._path.unlink()
        return SinkError(write_failure(self._path, OSError(error.errno, error.strerror)))
