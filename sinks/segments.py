"""A recording without end, in files of equal length that are named by when they begin."""

from __future__ import annotations

import contextlib
import errno
import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import av
from av.video.stream import VideoStream

from sinks.mp4_repair import cut_torn_end
from sinks.packets import CodedPicture, PacketFile
from sinks.retention import Retention

logger = logging.getLogger(__name__)

RETRY_S = 5.0
"""How long a recording that cannot be written waits for the next attempt."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


class SegmentWriter:
    """Writes one source's coded pictures into segments.

    A segment that cannot be written costs that segment's last second. On a full disk the oldest recordings go, and a
    new segment begins at once; after any other failure it begins a little later. Either is said once.

    Args:
        folder: of the source; made when the first segment begins.
        suffix: .mp4 or .mkv.
        segment_s: length of a segment (s).
        retention: what makes room, and takes over what is finished.
        now_s: a monotonic clock.
    """

    def __init__(
        self,
        folder: Path,
        suffix: str,
        segment_s: float,
        retention: Retention,
        *,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._suffix = suffix
        self._segment_s = segment_s
        self._retention = retention
        self._now_s = now_s
        self._file: PacketFile | None = None
        self._slot = 0
        self._retry_s = 0.0
        self._broken = False
        self.n_begun = 0
        self.n_unwritten = 0

    def is_due(self, at_s: float) -> bool:
        """Whether a new segment should begin with the picture of this time, which must be a key frame then."""
        if self._file is None:
            return self._now_s() >= self._retry_s
        return int(at_s // self._segment_s) != self._slot

    def add(self, pictures: Sequence[CodedPicture], at_s: float, utc: datetime, template: VideoStream) -> None:
        """Write pictures of one instant.

        Args:
            pictures: in order.
            at_s: their time on the axis that is cut at multiples of the segment's length (s).
            utc: their wall time.
            template: the stream that they come from.
        """
        try:
            if pictures and pictures[0].is_key:
                self._retention.enforce()
                if self.is_due(at_s):
                    self.close()
                    self._slot = int(at_s // self._segment_s)
                    self._begin(utc, template)
            if self._file is not None:
                self._file.add(pictures)
                return
        except (av.FFmpegError, OSError) as error:
            self._failed(error)
        self.n_unwritten += len(pictures)

    def close(self) -> None:
        """Finish the segment that is being written."""
        file, self._file = self._file, None
        if file is None:
            return
        try:
            file.close()
        except av.FFmpegError as error:
            self._file = file
            self._failed(error)
        else:
            self._retention.add(file.path)

    def _begin(self, utc: datetime, template: VideoStream) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._file = PacketFile(self._free_path(utc), template)
        self.n_begun += 1
        if self._broken:
            self._broken = False
            logger.warning("%s: recording goes on", self._folder)

    def _free_path(self, utc: datetime) -> Path:
        """A name that no file has: after a clock was set back, an instant comes twice."""
        stem = f"{utc.astimezone(UTC):%Y%m%dT%H%M%S}.{utc.microsecond // 1000:03d}Z"
        path, n = self._folder / f"{stem}{self._suffix}", 1
        while path.exists():
            n += 1
            path = self._folder / f"{stem}-{n}{self._suffix}"
        return path

    def _failed(self, error: av.FFmpegError | OSError) -> None:
        file, self._file = self._file, None
        if file is not None:
            self._rescue(file)
        if error.errno in _FULL and self._retention.make_room():
            return
        self._retry_s = self._now_s() + RETRY_S
        if not self._broken:
            self._broken = True
            logger.warning(
                "%s: recording stops, for the disk takes nothing: %s; trying again every %g s",
                *(self._folder, error.strerror or error, RETRY_S),
            )

    def _rescue(self, file: PacketFile) -> None:
        """Keep what is whole of a segment that failed."""
        # Closing tries to write the end, which fails like the write before.
        with contextlib.suppress(av.FFmpegError):
            file.close()
        with contextlib.suppress(OSError):
            if self._suffix == ".mkv" or cut_torn_end(file.path):
                self._retention.add(file.path)
            else:
                file.path.unlink()
