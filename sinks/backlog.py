"""What waits to be delivered, in the order in which it came."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol

Record = Mapping[str, Any]


class Backlog(Protocol):
    """Gives each record out until it is known to have arrived: at least once. From any thread."""

    def append(self, record: Record) -> None:
        """Keep a record (JSON-ready); the oldest ones make room, and are counted."""

    def next(self) -> tuple[int, Record] | None:
        """The oldest record that was not given out yet, and its number; None where there is none."""

    def done(self, number: int) -> None:
        """The record of this number has arrived, and so have all before it."""

    def rewind(self) -> None:
        """Give everything out again that has not arrived."""

    def close(self) -> None:
        """Nothing is asked of it any more. Idempotent."""

    @property
    def n_waiting(self) -> int:
        """Records that have not arrived."""

    @property
    def n_dropped(self) -> int:
        """Records that had to make room, or could not be kept."""

    @property
    def place(self) -> str:
        """Where what waits will be found by the next run; empty where it ends with the process."""


class MemoryBacklog:
    """A backlog that ends with the process.

    Args:
        capacity: most records that wait.
    """

    place = ""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._records: deque[tuple[int, Record]] = deque()
        self._n_appended = 0
        self._next = 0
        self._n_dropped = 0

    def append(self, record: Record) -> None:
        """Keep a record; the oldest ones make room, and are counted."""
        with self._lock:
            if len(self._records) == self._capacity:
                self._records.popleft()
                self._n_dropped += 1
            self._records.append((self._n_appended, record))
            self._n_appended += 1

    def next(self) -> tuple[int, Record] | None:
        """The oldest record that was not given out yet, and its number; None where there is none."""
        with self._lock:
            if not self._records:
                return None
            # Numbers follow each other without a gap.
            offset = max(self._next - self._records[0][0], 0)
            if offset >= len(self._records):
                return None
            found = self._records[offset]
            self._next = found[0] + 1
            return found

    def done(self, number: int) -> None:
        """The record of this number has arrived, and so have all before it."""
        with self._lock:
            while self._records and self._records[0][0] <= number:
                self._records.popleft()

    def rewind(self) -> None:
        """Give everything out again that has not arrived."""
        with self._lock:
            self._next = 0

    def close(self) -> None:
        """Nothing to do."""

    @property
    def n_waiting(self) -> int:
        """Records that have not arrived."""
        with self._lock:
            return len(self._records)

    @property
    def n_dropped(self) -> int:
        """Records that had to make room."""
        with self._lock:
            return self._n_dropped
