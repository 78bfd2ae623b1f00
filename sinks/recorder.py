"""Records every source without end: segments in a folder, and clips around events."""

from __future__ import annotations

import fcntl
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, TextIO

import av
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from pipeline.core.errors import SinkError
from pipeline.core.event import Event
from pipeline.core.frame import Frame, StreamInfo
from pipeline.core.result import FrameResult
from pipeline.core.scene import Closing
from sinks.clips import ClipConfig, ClipMaker
from sinks.draw import Annotator, DrawConfig
from sinks.encoder import EncoderSettings, Preset
from sinks.media_time import TICKS_PER_S, MediaTime
from sinks.packets import PacketEncoder
from sinks.picture_size import PictureSize
from sinks.retention import Limits, Retention
from sinks.segments import SegmentWriter
from sinks.source_thread import SourceThread

_ASSUMED_FPS = 25.0
_DAY_S = 86_400.0
_GB = 1e9
_WAITING = 8
"""Pictures of a source that may wait for the encoder: at 1080p they hold 50 MB."""
_LOCK = ".lock"


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class RecorderConfig:
    """Where recordings go, what is in them, and how long they stay."""

    path: Path = Field(description="folder of the recordings")
    segment_s: float = Field(default=60.0, ge=1, le=86_400, description="length of a segment (s)")
    container: Literal["mp4", "mkv"] = Field(default="mp4", description="kind of file of the segments")
    annotated: bool = Field(default=True, description="with what was found drawn; false = the bare picture")
    keep_days: float | None = Field(default=None, gt=0, description="delete segments that are older (days)")
    keep_gb: float | None = Field(default=None, gt=0, description="most that all recordings hold (GB = 1e9 bytes)")
    min_free_gb: float = Field(default=1.0, ge=0, description="leave this much of the disk free (GB = 1e9 bytes)")
    clips: ClipConfig = Field(default_factory=ClipConfig, description="footage around events")
    crf: int = Field(default=23, ge=0, le=51, description="constant quality; lower is better and larger")
    bitrate_kbps: int | None = Field(default=None, ge=10, description="mean bit rate (kbit/s) instead of crf")
    preset: Preset = Field(default="auto", description="speed of encoding against size; auto = fast and small enough")
    threads: int = Field(default=0, ge=0, le=64, description="encoder threads; 0 = by the cores there are")
    draw: DrawConfig = Field(default_factory=DrawConfig, description="what is drawn")


class RecorderSink:
    """Records all sources, each in a thread of its own, encoded once for segments and clips.

    Whatever ends the process, what was recorded plays up to its last whole second. A full or failing disk never ends
    the run and holds up nobody: the oldest recordings go, and pictures that cannot be written are counted. A live
    source whose encoder is too slow loses pictures, which are counted, too; a recorded one waits.

    Args:
        config: what is recorded.
        class_names: names by class_id.
    """

    needs_image = True
    needs_main_thread = False
    is_live = False
    shared = True

    def __init__(self, config: RecorderConfig, *, class_names: tuple[str, ...]) -> None:
        self._config = config
        self._class_names = class_names
        self._lock: TextIO | None = None
        self._retention: Retention | None = None
        self._infos: dict[str, StreamInfo] = {}
        self._sources: dict[str, _SourceRecorder] = {}
        self._past: Counter[str] = Counter()
        """Of sources that have ended."""

    @property
    def counters(self) -> Mapping[str, int]:
        """Files, and pictures that are in none."""
        counts = Counter(self._past)
        for source in list(self._sources.values()):
            counts.update(source.counters)
        return {**counts, "deleted": self._retention.n_deleted if self._retention is not None else 0}

    def open(self, info: StreamInfo) -> None:
        """Claim the folder at the first source. Raises SinkError."""
        if self._retention is None:
            self._retention = self._claim()
        self._end(info.source_id)
        self._infos[info.source_id] = info

    def write(self, result: FrameResult) -> None:
        """Hand the picture to its source's thread. Raises SinkError if the sink is not open."""
        source_id = result.frame.source_id
        if self._lock is None or self._retention is None or source_id not in self._infos:
            raise SinkError(f"{self._config.path}: wanted open() before write(), found it not open for {source_id}")
        if source_id not in self._sources:
            # Also where a source that was begun anew is open before the end of its old self was told.
            info = self._infos[source_id]
            self._sources[source_id] = _SourceRecorder(self._config, info, self._class_names, self._retention)
        self._sources[source_id].take(result)

    def end_source(self, closing: Closing) -> None:
        """The source has ended: finish its files, with the clips of what its end has ended."""
        source = self._sources.get(closing.source_id)
        if source is not None:
            source.tell(closing.events)
            self._end(closing.source_id)

    def release(self, source_id: str) -> None:
        """The source has ended, with or without rules: finish its files."""
        self._end(source_id)

    def close(self) -> None:
        """Finish all files. Idempotent."""
        lock, self._lock = self._lock, None
        try:
            for source_id in list(self._sources):
                self._end(source_id)
        finally:
            if lock is not None:
                lock.close()

    def _end(self, source_id: str) -> None:
        source = self._sources.get(source_id)
        if source is not None:
            source.thread.close()
            del self._sources[source_id]
            self._past.update(source.counters)

    def _claim(self) -> Retention:
        """Two that record into one folder would delete each other's files."""
        config = self._config
        try:
            config.path.mkdir(parents=True, exist_ok=True)
            self._lock = (config.path / _LOCK).open("a")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SinkError(
                f"{config.path}: wanted this folder for our recordings, found another run that records into it; "
                "name another folder"
            ) from None
        except OSError as error:
            raise SinkError(f"{config.path}: wanted a folder to record into, found: {error.strerror}") from error
        days, clip_days = config.keep_days, config.clips.keep_days
        limits = Limits(
            keep_s=None if days is None else days * _DAY_S,
            keep_clips_s=None if clip_days is None else clip_days * _DAY_S,
            keep_bytes=None if config.keep_gb is None else int(config.keep_gb * _GB),
            min_free_bytes=int(config.min_free_gb * _GB),
        )
        return Retention(config.path, limits)


class _SourceRecorder:
    """One source: its thread, its encoder, its files."""

    def __init__(
        self, config: RecorderConfig, info: StreamInfo, class_names: tuple[str, ...], retention: Retention
    ) -> None:
        self._annotator = Annotator(config.draw, class_names) if config.annotated else None
        self._segments = SegmentWriter(
            config.path / info.source_id, f".{config.container}", config.segment_s, retention
        )
        self._clips = ClipMaker(config.clips, config.path, info.source_id, retention)
        self._name = f"recording of {info.source_id}"
        self._settings = EncoderSettings(
            preset=config.preset, crf=config.crf, bitrate_kbps=config.bitrate_kbps, threads=config.threads
        )
        self._info = info
        self._times = MediaTime(info)
        self._begun_utc = datetime.now(UTC)
        self._fps = info.declared_fps or _ASSUMED_FPS
        self._stream: tuple[PacketEncoder, PictureSize] | None = None
        self._shape_hw = (0, 0)
        self._last_ticks: int | None = None
        self._events: deque[Event] = deque()
        self.thread = SourceThread(
            f"record:{info.source_id}", self._record, self._finish, capacity=_WAITING, drops=info.is_live
        )

    @property
    def counters(self) -> Mapping[str, int]:
        """Files, and pictures that are in none."""
        return {
            "segments": self._segments.n_begun,
            "clips": self._clips.n_clips,
            "clips_failed": self._clips.n_failed,
            "too_slow": self.thread.n_dropped,
            "unwritten": self._segments.n_unwritten,
        }

    def take(self, result: FrameResult) -> None:
        """Queue a picture. What happened in it is kept even where the picture is dropped."""
        self.tell(result.events)
        self.thread.put(result)

    def tell(self, events: Iterable[Event]) -> None:
        """Queue what happened."""
        self._events.extend(events)

    def _record(self, result: FrameResult) -> None:
        frame = result.frame
        encoder, size = self._encoder_for(frame.shape_hw)
        ticks = self._times.ticks(frame)
        utc, at_s = self._wall_time(frame, ticks)
        duration = round(TICKS_PER_S / self._fps) if self._last_ticks is None else ticks - self._last_ticks
        self._last_ticks = ticks
        image = self._annotator.draw(result) if self._annotator is not None else frame.image
        try:
            pictures = encoder.encode(size.fit(image), ticks, duration, key=self._segments.is_due(at_s))
        except av.FFmpegError as error:
            raise SinkError(f"{self._name}: wanted to encode {frame}, found: {error.strerror}") from error
        self._tell_clips()
        self._segments.add(pictures, at_s, utc, encoder.template)
        self._clips.add(pictures, self._event_time_s(frame, ticks), encoder.template)

    def _encoder_for(self, shape_hw: tuple[int, int]) -> tuple[PacketEncoder, PictureSize]:
        """A camera that was set up anew gets files of its new size."""
        if self._stream is None or self._shape_hw != shape_hw:
            self._segments.close()
            size = PictureSize(shape_hw, self._name)
            encoder = PacketEncoder(self._settings, (size.height_px, size.width_px), self._fps, "file")
            self._stream, self._shape_hw = (encoder, size), shape_hw
        return self._stream

    def _wall_time(self, frame: Frame, ticks: int) -> tuple[datetime, float]:
        """When a frame was; and its place on the axis that is cut into segments (s).

        Segments of live sources begin at round times of the wall clock. A recorded source has none: it is told as if
        it had been played from the moment at which it was opened.
        """
        if not self._info.is_live:
            at_s = ticks / TICKS_PER_S
            return self._begun_utc + timedelta(seconds=at_s), at_s
        utc_s = time.time() - (time.monotonic_ns() - frame.captured_ns) / 1e9
        return datetime.fromtimestamp(utc_s, UTC), utc_s

    def _event_time_s(self, frame: Frame, ticks: int) -> float:
        """The frame's time as events tell it."""
        if self._info.is_live:
            return frame.captured_ns / 1e9
        return ticks / TICKS_PER_S if frame.pts_s is None else frame.pts_s

    def _tell_clips(self) -> None:
        while self._events:
            self._clips.tell((self._events.popleft(),))

    def _finish(self) -> None:
        self._tell_clips()
        self._clips.close()
        self._segments.close()
