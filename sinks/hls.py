"""Annotated video as HLS: short segments and a playlist of the newest, which any web server can hand out."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import time
from pathlib import Path
from typing import BinaryIO, Literal

import av
from av.container import OutputContainer
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from pipeline.core.errors import SinkError, UsageError
from pipeline.core.frame import StreamInfo
from pipeline.core.result import FrameResult
from sinks.draw import Annotator, DrawConfig
from sinks.encoder import EncoderSettings, Preset, VideoEncoder
from sinks.media_time import TICKS_PER_S, MediaTime
from sinks.output_path import claim_output, write_failure
from sinks.picture_size import PictureSize

logger = logging.getLogger(__name__)

_ASSUMED_FPS = 25.0
RETRY_S = 5.0
"""How long a playlist that cannot be written waits for the next attempt."""
_SEGMENT_SUFFIX = {"mpegts": ".ts", "fmp4": ".m4s"}


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class HlsConfig:
    """Where the playlist goes, and what is in it."""

    path: Path = Field(description="playlist to write (.m3u8); its segments lie beside it")
    exist_ok: bool = Field(default=False, description="replace the playlist and its segments if they exist")
    segment_s: float = Field(
        default=1.0, ge=1, le=60, description="length of a segment (s); players lag by about three"
    )
    window: int = Field(default=10, ge=3, le=1000, description="segments in the playlist; older files are deleted")
    segment_type: Literal["mpegts", "fmp4"] = Field(default="mpegts", description="kind of file of the segments")
    crf: int = Field(default=23, ge=0, le=51, description="constant quality; lower is better and larger")
    bitrate_kbps: int | None = Field(default=None, ge=10, description="mean bit rate (kbit/s) instead of crf")
    preset: Preset = Field(default="auto", description="speed of encoding against size; auto = fast and small enough")
    threads: int = Field(default=0, ge=0, le=64, description="encoder threads; 0 = by the cores there are")
    draw: DrawConfig = Field(default_factory=DrawConfig, description="what is drawn")


class HlsSink:
    """Writes one source as HLS. Segments appear when they are whole, and the playlist is replaced at once.

    A disk that fails later on does not end the run: pictures are dropped and counted until it can be written again.

    Args:
        config: the playlist and the encoder's settings.
        class_names: names by class_id.

    Raises:
        UsageError: the path is no .m3u8.
    """

    needs_image = True
    needs_main_thread = False
    is_live = True
    shared = False
    compensated = "pictures"

    def __init__(self, config: HlsConfig, *, class_names: tuple[str, ...]) -> None:
        if config.path.suffix.lower() != ".m3u8":
            raise UsageError(f"{config.path}: wanted a playlist (.m3u8), found the suffix {config.path.suffix!r}")
        if "%" in str(config.path):
            raise UsageError(f"{config.path}: wanted a name without %, which FFmpeg would fill in")
        self._config = config
        self._annotator = Annotator(config.draw, class_names)
        self._info: StreamInfo | None = None
        self._stream: _Stream | None = None
        self._retry_s = 0.0
        self._broken = False
        self._n_unwritten = 0

    @property
    def counters(self) -> dict[str, int]:
        """Pictures that could not be written."""
        return {"unwritten": self._n_unwritten}

    def open(self, info: StreamInfo) -> None:
        """Claim the playlist and remove what a former run left of it. Raises SinkError."""
        if self._info is None:
            path = self._config.path
            os.close(claim_output(path, exist_ok=self._config.exist_ok))
            own = re.compile(rf"{re.escape(path.stem)}-(\d+\.(ts|m4s)|init\.mp4)(\.tmp)?")
            for left in [file for file in path.parent.iterdir() if own.fullmatch(file.name)]:
                left.unlink()
        self._info = info

    def write(self, result: FrameResult) -> None:
        """Draw and encode one frame. Raises SinkError if the sink is not open."""
        if self._info is None:
            raise SinkError(f"{self._config.path}: wanted open() before write(), found the sink not open")
        if self._stream is None and time.monotonic() < self._retry_s:
            self._n_unwritten += 1
            return
        try:
            if self._stream is None:
                self._stream = _Stream(self._config, self._info, result.frame.shape_hw)
            self._stream.add(result, self._annotator)
        except (av.FFmpegError, OSError) as error:
            self._n_unwritten += 1
            self._failed(error)
            return
        if self._broken:
            self._broken = False
            logger.warning("%s: is written again", self._config.path)

    def close(self) -> None:
        """Finish the last segment and mark the playlist as complete. Idempotent."""
        stream, info = self._stream, self._info
        self._stream = self._info = None
        path = self._config.path
        if stream is not None:
            try:
                stream.close()
            except (av.FFmpegError, OSError) as error:
                raise SinkError(write_failure(path, OSError(error.errno, error.strerror))) from error
        elif info is not None and path.is_file() and not path.stat().st_size:
            # A playlist without a segment is none: players refuse it.
            path.unlink()

    def _failed(self, error: av.FFmpegError | OSError) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            # Closing tries to write the end, which fails like the write before.
            with contextlib.suppress(av.FFmpegError, OSError):
                stream.close()
        self._retry_s = time.monotonic() + RETRY_S
        if not self._broken:
            self._broken = True
            said = write_failure(self._config.path, OSError(error.errno, error.strerror))
            logger.warning("%s; pictures are dropped, trying again every %g s", said, RETRY_S)


class _Stream:
    """A playlist that is being written. Raises av.FFmpegError and OSError from every method."""

    def __init__(self, config: HlsConfig, info: StreamInfo, shape_hw: tuple[int, int]) -> None:
        path = config.path
        self._times = MediaTime(info)
        self._size = PictureSize(shape_hw, str(path))
        fps = info.declared_fps or _ASSUMED_FPS
        self._duration_ticks = round(TICKS_PER_S / fps)
        options = {
            "hls_time": str(config.segment_s),
            "hls_list_size": str(config.window),
            "hls_flags": "delete_segments+temp_file+independent_segments+program_date_time",
            "hls_segment_type": config.segment_type,
            "hls_segment_filename": str(path.with_name(f"{path.stem}-%d{_SEGMENT_SUFFIX[config.segment_type]}")),
            "hls_fmp4_init_filename": _init_name(path),
            # Players that stay over a restart must not take new segments for old ones.
            "hls_start_number_source": "epoch",
        }
        # FFmpeg's own files would hide that a segment could not be written.
        self._container: OutputContainer = av.open(str(path), "w", format="hls", options=options, io_open=_open_file)
        settings = EncoderSettings(
            preset=config.preset,
            crf=config.crf,
            bitrate_kbps=config.bitrate_kbps,
            threads=config.threads,
            low_latency=True,
        )
        self._encoder = VideoEncoder(self._container, settings, (self._size.height_px, self._size.width_px), fps)

    def add(self, result: FrameResult, annotator: Annotator) -> None:
        picture = self._encoder.convert(self._size.fit(annotator.draw(result)))
        ticks = self._times.ticks(result.frame)
        self._container.mux(self._encoder.encode(picture, ticks, self._duration_ticks))

    def close(self) -> None:
        self._container.mux(self._encoder.flush())
        self._container.close()


def _init_name(path: Path) -> str:
    return f"{path.stem}-init.mp4"


def _open_file(url: str, flags: int, options: object) -> BinaryIO:
    """A file as FFmpeg asks for it; FFmpeg closes it."""
    return Path(url).open("wb", 0)
