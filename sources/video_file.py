"""A recorded video file: every frame, as fast as it is asked for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from pathlib import Path

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from pipeline.core.errors import SourceError, UsageError
from pipeline.core.frame import CaptureClock, Frame, StreamInfo
from pipeline.core.protocols import Clock
from sources.decoder import VideoDecoder
from sources.hardware import HwDecode, open_with_hardware
from sources.libav import OpenFailure, OpenOptions

log = logging.getLogger(__name__)

TRUNCATED_S = 1.0
"""A file that ends this much before its announced duration is reported as cut off."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class VideoFileConfig:
    """Where the file is and how to decode it."""

    path: Path = Field(description="video file, in any container and codec that FFmpeg reads")
    hw_decode: HwDecode = Field(
        default="none",
        description="hardware decoder: none, auto (the first that works), or its name (an error where it fails)",
    )
    threads: int = Field(default=0, ge=0, description="decoder threads; 0 = by the cores there are")


class VideoFileSource:
    """Frames of a video file in display order, upright, in the pixels as stored (sample aspect ratio not applied).

    Media time is relative to the start of the video stream and keeps a variable frame rate. Damaged frames are left
    out and counted as `corrupt`; a file that is cut off plays as far as it goes and is counted as `truncated`.

    Args:
        config: the file.
        source_id: unique name of the source within the run.
        clock: clock of `Frame.captured_ns`.
    """

    def __init__(self, config: VideoFileConfig, *, source_id: str, clock: Clock) -> None:
        self._config = config
        self._source_id = source_id
        self._clock = clock
        self._interrupted = threading.Event()
        self._decoder: VideoDecoder | None = None
        self._first: Frame | None = None
        self._index = 0
        self._counters = {"corrupt": 0, "pts_repaired": 0, "truncated": 0}

    @property
    def source_id(self) -> str:
        """Unique name of the source within the run."""
        return self._source_id

    @property
    def counters(self) -> Mapping[str, int]:
        """`corrupt` frames left out, `pts_repaired` media times made up, `truncated` 1 where the file is cut off."""
        return dict(self._counters)

    def open(self) -> StreamInfo:
        """Open the file and decode its first frame.

        Raises:
            SourceError: there is no such file, or it holds no video that can be decoded. Never retryable.
            UsageError: the source is open already.
        """
        if self._decoder is not None:
            raise UsageError(f"{self._source_id}: open() was called twice; close() it first")
        shown = str(self._config.path)
        _check_file(self._config.path)
        # "file:" keeps FFmpeg from reading a colon in the name as a protocol.
        options = OpenOptions(options=(("protocol_whitelist", "file,crypto,data"),))
        try:
            container = open_with_hardware(f"file:{self._config.path}", options, self._config.hw_decode, shown)
        except OpenFailure as failure:
            raise SourceError(
                f"{shown}: wanted a video file, found one that FFmpeg cannot read: {failure}; "
                "is it a video, and was it copied completely?"
            ) from failure
        self._decoder = VideoDecoder(
            container,
            shown=shown,
            interrupted=self._interrupted,
            live=False,
            skip_bad_reads=True,
            threads=self._config.threads,
        )
        self._first = self._next_frame(self._decoder)
        if self._first is None:
            why = "it was interrupted" if self._interrupted.is_set() else "none in it can be decoded (damaged?)"
            raise SourceError(f"{shown}: wanted a first frame, found none: {why}")
        height, width = self._first.shape_hw
        return StreamInfo(self._source_id, width, height, self._decoder.declared_fps, False, self._decoder.n_frames)

    def read(self) -> Frame | None:
        """The next frame; None at the end of the file or after `interrupt`."""
        if self._decoder is None:
            raise UsageError(f"{self._source_id}: read() was called on a source that is not open; call open() first")
        if self._interrupted.is_set():
            return None
        if self._first is not None:
            frame, self._first = self._first, None
            return frame
        return self._next_frame(self._decoder)

    def interrupt(self) -> None:
        """Make `open` and `read` return at the next packet."""
        self._interrupted.set()

    def close(self) -> None:
        """Close the file. Idempotent."""
        decoder, self._decoder, self._first = self._decoder, None, None
        if decoder is not None:
            decoder.close()

    def _next_frame(self, decoder: VideoDecoder) -> Frame | None:
        picture = decoder.next()
        self._counters["corrupt"] = decoder.corrupt
        self._counters["pts_repaired"] = decoder.pts_repaired
        if picture is None:
            self._report_truncation(decoder)
            return None
        now_ns = self._clock.now_ns()
        frame = Frame(self._source_id, self._index, picture.image, picture.pts_s, now_ns, CaptureClock.FILE)
        self._index += 1
        return frame

    def _report_truncation(self, decoder: VideoDecoder) -> None:
        if self._interrupted.is_set() or self._counters["truncated"] or decoder.duration_s is None:
            return
        last_s = decoder.last_pts_s or 0.0
        if decoder.duration_s - last_s > TRUNCATED_S + 1 / (decoder.declared_fps or 1):
            self._counters["truncated"] = 1
            log.warning(
                "%s: the file says that it lasts %.1f s, but its video ends at %.1f s (cut off or damaged?)",
                self._config.path,
                decoder.duration_s,
                last_s,
            )


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise SourceError(f"{path}: wanted a video file, found a folder; give a file in it")
    if not path.exists():
        raise SourceError(f"{path}: wanted a video file, found nothing there; check the path")
    if not path.is_file():
        raise SourceError(f"{path}: wanted a video file, found a pipe or device; save the video to a file first")
    if path.stat().st_size == 0:
        raise SourceError(f"{path}: wanted a video file, found an empty file (0 bytes); was it copied completely?")
