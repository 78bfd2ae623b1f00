"""A text file that grows by whole records and is complete after each of them, whatever kills the process."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.core.errors import SinkError
from sinks.output_path import claim_output, write_failure


class LineFile:
    """Every `append` is one system call without a buffer in between, so a killed process leaves whole records.

    Args:
        path: the file.
        exist_ok: whether a file that exists may be replaced.
        tail: text that closes the file. It stands at the end after every `append`, and the next one overwrites it.

    Raises:
        SinkError: the file cannot be created.
    """

    def __init__(self, path: Path, *, exist_ok: bool, tail: str = "") -> None:
        self._path = path
        self._tail = tail.encode()
        self._descriptor: int | None = claim_output(path, exist_ok=exist_ok)
        self._end = 0

    def append(self, text: str) -> None:
        """Write the text and the tail behind it.

        Raises:
            SinkError: the file is closed, or the system refuses (disk full); the file is then as it was before.
        """
        if self._descriptor is None:
            raise SinkError(f"{self._path}: wanted to write, found the file closed")
        data = text.encode() + self._tail
        try:
            self._write_at(self._descriptor, data, self._end)
        except OSError as error:
            self._restore(self._descriptor)
            raise SinkError(write_failure(self._path, error)) from error
        self._end += len(data) - len(self._tail)

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @staticmethod
    def _write_at(descriptor: int, data: bytes, offset: int) -> None:
        os.lseek(descriptor, offset, os.SEEK_SET)
        # The system takes a part only when the disk is nearly full; the next call then gives the reason.
        while data:
            data = data[os.write(descriptor, data) :]

    def _restore(self, descriptor: int) -> None:
        """Take a torn record back. The tail fits: its room was taken when the record before was written."""
        try:
            os.ftruncate(descriptor, self._end)
            if self._end:
                self._write_at(descriptor, self._tail, self._end)
        except OSError as error:
            raise SinkError(write_failure(self._path, error)) from error
