"""Footage around events, cut from coded pictures without encoding anything again."""

from __future__ import annotations

import contextlib
import logging
import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass as plain_dataclass
from dataclasses import field
from pathlib import Path

import av
from av.video.stream import VideoStream
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from pipeline.core.event import Event, EventKind
from sinks.packets import CodedPicture, PacketFile
from sinks.retention import CLIPS, Retention

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ClipConfig:
    """Which events get a clip, and how much of what was before and after."""

    kinds: tuple[EventKind, ...] = Field(default=(), description="kinds of events that get a clip; empty = none")
    pre_s: float = Field(default=5.0, ge=0, le=60, description="footage before the event (s)")
    post_s: float = Field(default=5.0, ge=0, le=600, description="footage after the event (s)")
    max_s: float = Field(default=120.0, ge=5, le=3600, description="longest clip (s)")
    keep_days: float | None = Field(default=None, gt=0, description="delete clips that are older (days)")


def clip_path(folder: Path, source_id: str, event_id: str) -> Path:
    """Where the clip of an event is, or will be, in a folder of recordings."""
    return folder / CLIPS / source_id / f"{event_id}.mp4"


@plain_dataclass(slots=True)
class _Clip:
    """A clip that is being written. Several events that overlap share one: a file of several names."""

    file: PacketFile
    begun_s: float
    names: list[Path]
    until_s: float = 0.0
    going_on: set[str] = field(default_factory=set)
    """Ids of events that have not ended; the clip does not end before them."""

    def is_over(self, at_s: float, max_s: float) -> bool:
        """Whether a picture of this time no longer belongs to it."""
        return (at_s > self.until_s and not self.going_on) or at_s - self.begun_s > max_s


class ClipMaker:
    """Cuts one source's clips. Times are those of events (s).

    A clip begins with the key frame at or before `pre_s` before its event, as far back as there is footage. Events
    that begin before the clip of the one before has ended share it. An event that lasts is shown to its end.

    Args:
        config: what gets a clip.
        folder: of the recordings.
        source_id: whose clips they are.
        retention: takes over what is finished.
    """

    def __init__(self, config: ClipConfig, folder: Path, source_id: str, retention: Retention) -> None:
        self._config = config
        self._folder = folder
        self._source_id = source_id
        self._retention = retention
        self._ring: deque[tuple[float, CodedPicture]] = deque()
        self._template: VideoStream | None = None
        self._clip: _Clip | None = None
        self._said_broken = False
        self.n_clips = 0
        self.n_failed = 0

    def add(self, pictures: Sequence[CodedPicture], at_s: float, template: VideoStream) -> None:
        """Take coded pictures of one instant."""
        if template is not self._template:
            # Another stream: its pictures fit neither the file nor what lies before them.
            self.close()
            self._ring.clear()
            self._template = template
        self._ring.extend((at_s, picture) for picture in pictures)
        self._forget(at_s - self._config.pre_s)
        clip = self._clip
        if clip is None:
            return
        if clip.is_over(at_s, self._config.max_s):
            self.close()
        elif not self._write(clip, pictures):
            self._clip = None

    def tell(self, events: Sequence[Event]) -> None:
        """Take what happened, before the pictures of that instant."""
        for event in events:
            if event.kind not in self._config.kinds:
                continue
            path = clip_path(self._folder, self._source_id, event.event_id)
            clip = self._clip
            if (clip is None or event.event_id not in clip.going_on) and not path.exists():
                clip = self._begun(event, path)
            if clip is not None and path in clip.names:
                self._follow(clip, event)

    def close(self) -> None:
        """Finish the clip that is being written."""
        clip, self._clip = self._clip, None
        if clip is None:
            return
        try:
            clip.file.close()
        except av.FFmpegError as error:
            self._failed(clip.file.path, error)
        self._hand_over(clip)

    def _begun(self, event: Event, path: Path) -> _Clip | None:
        """Give an event a clip: its own, or a share in the one that is being written."""
        if self._clip is None:
            self._clip = self._begin(path, event.start_s - self._config.pre_s)
        else:
            self._share(self._clip, path)
        return self._clip

    def _follow(self, clip: _Clip, event: Event) -> None:
        """Have the clip last as long as the event."""
        if event.end_s is None:
            clip.going_on.add(event.event_id)
        else:
            clip.going_on.discard(event.event_id)
            clip.until_s = max(clip.until_s, event.end_s + self._config.post_s)

    def _begin(self, path: Path, from_s: float) -> _Clip | None:
        if self._template is None or not self._ring:
            return None
        keys = [i for i, (at_s, picture) in enumerate(self._ring) if picture.is_key and at_s <= from_s]
        first = keys[-1] if keys else 0
        footage = list(self._ring)[first:]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = PacketFile(path, self._template)
        except (av.FFmpegError, OSError) as error:
            self._failed(path, error)
            return None
        self.n_clips += 1
        clip = _Clip(file, footage[0][0], [path])
        return clip if self._write(clip, [picture for _, picture in footage]) else None

    def _share(self, clip: _Clip, path: Path) -> None:
        try:
            os.link(clip.file.path, path)
        except FileExistsError:
            return
        except OSError as error:
            self._failed(path, error)
            return
        clip.names.append(path)
        self.n_clips += 1

    def _write(self, clip: _Clip, pictures: Sequence[CodedPicture]) -> bool:
        """Whether it could be written; if not, it is over, with what it holds whole."""
        try:
            clip.file.add(pictures)
        except av.FFmpegError as error:
            self._failed(clip.file.path, error)
            # Closing tries to write the end, which fails like the write before.
            with contextlib.suppress(av.FFmpegError):
                clip.file.close()
            self._hand_over(clip)
            return False
        return True

    def _hand_over(self, clip: _Clip) -> None:
        for name in clip.names:
            self._retention.add(name)

    def _forget(self, before_s: float) -> None:
        """Drop whole groups of pictures that end before this time."""
        ring = self._ring
        while True:
            following = next((i for i, (_, picture) in enumerate(ring) if i and picture.is_key), None)
            if following is None or ring[following][0] > before_s:
                return
            for _ in range(following):
                ring.popleft()

    def _failed(self, path: Path, error: av.FFmpegError | OSError) -> None:
        self.n_failed += 1
        if not self._said_broken:
            self._said_broken = True
            logger.warning("%s: this clip cannot be written: %s", path, error.strerror or error)
