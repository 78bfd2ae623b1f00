"""A backlog on disk: what could not be delivered yet outlives the process."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import re
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pipeline.core.errors import SinkError
from sinks.backlog import Record
from sinks.output_path import write_failure

logger = logging.getLogger(__name__)

SEGMENTS = 16
"""A spool's bound is shared by so many files; the oldest makes room as a whole."""
_NAME = re.compile(r"(\d{16})\.jsonl")


@dataclass(slots=True)
class _Segment:
    path: Path
    first: int
    n_records: int
    size: int

    @property
    def end(self) -> int:
        return self.first + self.n_records


class Spool:
    """A Backlog in a folder of JSON lines, within a bound on its size. It goes on where the process before left off.

    Records are numbered through; a file is named after its first one, and `arrived` tells how many have arrived. Each
    append is one system call: a killed process leaves whole records, and perhaps a torn one that was not counted. What
    arrived just before a kill may be given out again. A power cut may cost what the system had not written yet.

    Args:
        folder: for this spool alone; made where it is missing.
        max_bytes: of all files together.

    Raises:
        SinkError: the folder cannot be used, or another process uses it.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._segments: deque[_Segment] = deque()
        self._writing: int | None = None
        self._reading: tuple[_Segment, BinaryIO] | None = None
        self._line = 0
        self._n_dropped = 0
        self._is_refused = False
        self._is_closed = False
        with contextlib.ExitStack() as undo:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                self._guard = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                undo.callback(os.close, self._guard)
                fcntl.flock(self._guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._position = os.open(folder / "arrived", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                undo.callback(os.close, self._position)
                self._arrived = self._end = int(os.pread(self._position, 32, 0).strip() or b"0")
                self._find_segments()
                self._note_arrived()
            except BlockingIOError:
                raise SinkError(f"{folder}: wanted a spool of its own, found that another one uses it") from None
            except ValueError:
                raise SinkError(f"{folder / 'arrived'}: wanted a number, found none; move the folder away") from None
            except OSError as error:
                raise SinkError(write_failure(folder, error)) from error
            undo.pop_all()
        self._next = self._arrived

    @property
    def place(self) -> str:
        """The folder."""
        return str(self._folder)

    @property
    def n_waiting(self) -> int:
        """Records that have not arrived."""
        with self._lock:
            return self._end - self._arrived

    @property
    def n_dropped(self) -> int:
        """Records that had to make room, could not be kept, or were found damaged."""
        with self._lock:
            return self._n_dropped

    def append(self, record: Record) -> None:
        """Keep a record; the oldest ones make room. A disk that refuses costs the record, and is said once."""
        line = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            try:
                self._write(line)
            except OSError as error:
                self._n_dropped += 1
                if not self._is_refused:
                    logger.warning("not kept for later: %s", write_failure(self._folder, error))
                self._is_refused = True
            else:
                self._is_refused = False

    def next(self) -> tuple[int, Record] | None:
        """The oldest record that was not given out yet, and its number; None where there is none."""
        with self._lock:
            self._next = max(self._next, self._arrived)
            while self._next < self._end and not self._is_closed:
                number, self._next = self._next, self._next + 1
                try:
                    record = json.loads(self._read(number))
                except (OSError, ValueError):
                    self._n_dropped += 1  # a damaged line: power cut, bad disk
                else:
                    return number, record
            return None

    def done(self, number: int) -> None:
        """The record of this number has arrived, and so have all before it."""
        with self._lock:
            if number >= self._arrived and not self._is_closed:
                self._arrived = min(number + 1, self._end)
                self._note_arrived()
                # The last one is still written to.
                while len(self._segments) > 1 and self._segments[0].end <= self._arrived:
                    self._remove_oldest()

    def rewind(self) -> None:
        """Give everything out again that has not arrived."""
        with self._lock:
            self._next = self._arrived

    def close(self) -> None:
        """Let go of the folder. Idempotent."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            self._stop_reading()
            for descriptor in (self._writing, self._position, self._guard):
                if descriptor is not None:
                    os.close(descriptor)

    # -- files --------------------------------------------------------------------------------------------------------

    def _write(self, line: bytes) -> None:
        if self._is_closed:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if len(line) > self._max_bytes:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        segment, descriptor = self._segment_for(len(line))
        while len(self._segments) > 1 and sum(one.size for one in self._segments) + len(line) > self._max_bytes:
            self._remove_oldest()
        n_written = os.write(descriptor, line)
        if n_written < len(line):
            # The system takes a part only when the disk is nearly full.
            os.ftruncate(descriptor, segment.size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        segment.size += n_written
        segment.n_records += 1
        self._end += 1

    def _segment_for(self, n_bytes: int) -> tuple[_Segment, int]:
        """The file to append to; a new one where the last is full, or of another process."""
        if self._writing is not None:
            last = self._segments[-1]
            if not last.size or last.size + n_bytes <= self._max_bytes / SEGMENTS:
                return last, self._writing
            os.close(self._writing)
            self._writing = None
        path = self._folder / f"{self._end:016d}.jsonl"
        self._writing = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._segments.append(_Segment(path, self._end, 0, 0))
        if len(self._segments) > 1 and self._segments[0].end <= self._arrived:
            self._remove_oldest()
        return self._segments[-1], self._writing

    def _read(self, number: int) -> bytes:
        """The line of a record that is there. Raises OSError."""
        if self._reading is None or not self._reading[0].first <= number < self._reading[0].end:
            self._stop_reading()
            segment = next((one for one in self._segments if one.first <= number < one.end), None)
            if segment is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            self._reading = segment, segment.path.open("rb")
            self._line = segment.first
        segment, file = self._reading
        if number < self._line:
            file.seek(0)
            self._line = segment.first
        while self._line < number:
            file.readline()
            self._line += 1
        self._line += 1
        return file.readline()

    def _stop_reading(self) -> None:
        if self._reading is not None:
            self._reading[1].close()
            self._reading = None

    def _find_segments(self) -> None:
        """Take over what an earlier process left, without the line that its end may have torn."""
        for path in sorted(self._folder.iterdir()):
            if (match := _NAME.fullmatch(path.name)) is None:
                continue
            first, data = int(match.group(1)), path.read_bytes()
            n_records, size = data.count(b"\n"), data.rfind(b"\n") + 1
            if not n_records or first + n_records <= self._arrived:
                path.unlink()
                continue
            if size < len(data):
                os.truncate(path, size)
            self._segments.append(_Segment(path, first, n_records, size))
            self._end = first + n_records
        if self._segments:
            self._arrived = max(self._arrived, self._segments[0].first)

    def _remove_oldest(self) -> None:
        oldest = self._segments.popleft()
        if self._reading is not None and self._reading[0] is oldest:
            self._stop_reading()
        self._n_dropped += max(oldest.end - self._arrived, 0)
        if oldest.end > self._arrived:
            self._arrived = oldest.end
            self._note_arrived()
        with contextlib.suppress(FileNotFoundError):
            oldest.path.unlink()

    def _note_arrived(self) -> None:
        # Should the disk refuse, some records are given out again after a restart, no more.
        with contextlib.suppress(OSError):
            os.pwrite(self._position, f"{self._arrived:020d}\n".encode(), 0)
