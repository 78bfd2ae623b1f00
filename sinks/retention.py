"""Deletes the oldest recordings by age, by size, and when the disk fills up."""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

CLIPS = "clips"
_SEGMENT = re.compile(r"\d{8}T\d{6}\.\d{3}Z(-\d+)?\.(mp4|mkv)")
_CLIP = re.compile(r"[0-9a-f]{16}\.mp4")


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be kept; None = no limit."""

    keep_s: float | None = None
    keep_clips_s: float | None = None
    keep_bytes: int | None = None
    min_free_bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Kept:
    """A finished recording. `n_bytes` is shared between the names of one file."""

    path: Path
    ended_s: float
    n_bytes: int
    is_clip: bool


class Retention:
    """Keeps a folder of recordings within limits. Any thread may call it.

    Segments lie in a folder per source, clips in a folder per source below `clips`. What goes first is the oldest
    segment of all sources; clips go only when no segment is left. Files that are still written are not known here and
    stay; so do files that no recorder made.

    Args:
        folder: of the recordings; what lies in it already is counted in.
        limits: what may be kept.
        now_s: the wall clock, which file times are on (s).
        free_bytes: how much room a folder's disk has.
    """

    def __init__(
        self,
        folder: Path,
        limits: Limits,
        *,
        now_s: Callable[[], float] = time.time,
        free_bytes: Callable[[Path], int] | None = None,
    ) -> None:
        self._folder = folder
        self._limits = limits
        self._now_s = now_s
        self._free_bytes = free_bytes or room
        self._lock = threading.Lock()
        found = sorted(_finished(folder), key=lambda kept: kept.ended_s)
        self._segments = [kept for kept in found if not kept.is_clip]
        self._clips = [kept for kept in found if kept.is_clip]
        self._n_bytes = sum(kept.n_bytes for kept in found)
        self._said_full = False
        self.n_deleted = 0

    def add(self, path: Path) -> None:
        """A segment or clip is finished; from now on it may go."""
        kept = _look_at(path, is_clip=_CLIP.fullmatch(path.name) is not None)
        if kept is None:
            return
        with self._lock:
            (self._clips if kept.is_clip else self._segments).append(kept)
            self._n_bytes += kept.n_bytes

    def enforce(self) -> None:
        """Delete what is over the limits."""
        limits = self._limits
        with self._lock:
            self._drop_old(self._segments, limits.keep_s)
            self._drop_old(self._clips, limits.keep_clips_s)
            while limits.keep_bytes is not None and self._n_bytes > limits.keep_bytes and self._drop_oldest():
                pass
            if self._free_bytes(self._folder) < limits.min_free_bytes:
                self._say_full()
                while self._free_bytes(self._folder) < limits.min_free_bytes and self._drop_oldest():
                    pass

    def make_room(self) -> bool:
        """The disk is full: delete the oldest recording, whatever the limits. Returns whether there was one."""
        with self._lock:
            self._say_full()
            return self._drop_oldest()

    def _drop_old(self, kept: list[_Kept], keep_s: float | None) -> None:
        while keep_s is not None and kept and kept[0].ended_s < self._now_s() - keep_s:
            self._delete(kept)

    def _drop_oldest(self) -> bool:
        oldest = self._segments or self._clips
        if oldest:
            self._delete(oldest)
        return bool(oldest)

    def _delete(self, kept: list[_Kept]) -> None:
        gone = kept.pop(0)
        self._n_bytes -= gone.n_bytes
        try:
            gone.path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("%s: wanted to delete this old recording, found: %s", gone.path, error.strerror)
            return
        self.n_deleted += 1

    def _say_full(self) -> None:
        if not self._said_full:
            self._said_full = True
            logger.warning("%s: the disk is full; from now on the oldest recordings are deleted", self._folder)


def room(folder: Path) -> int:
    """Bytes that may still be written to the disk of a folder. Raises OSError."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def _finished(folder: Path) -> Iterator[_Kept]:
    """What former runs left."""
    for pattern, name, is_clip in (("*/*", _SEGMENT, False), (f"{CLIPS}/*/*", _CLIP, True)):
        for path in folder.glob(pattern):
            if name.fullmatch(path.name) and (kept := _look_at(path, is_clip=is_clip)) is not None:
                yield kept


def _look_at(path: Path, *, is_clip: bool) -> _Kept | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return _Kept(path, status.st_mtime, status.st_size // status.st_nlink, is_clip)
