"""The one monotonic clock of a run, and a simulated one for tests and schedule simulation."""

from __future__ import annotations

import threading
import time

from pipeline.core.errors import UsageError


class MonotonicClock:
    """`time.monotonic_ns`. It never jumps; wall-clock time appears only in logs and event records."""

    def now_ns(self) -> int:
        """Nanoseconds since an arbitrary origin."""
        return time.monotonic_ns()

    def wait_until(self, at_ns: int, interrupted: threading.Event) -> bool:
        """Sleep until `at_ns`, or until `interrupted` is set. Returns False if it was interrupted."""
        while (left_ns := at_ns - time.monotonic_ns()) > 0:
            if interrupted.wait(left_ns / 1e9):
                return False
        return not interrupted.is_set()


class SimulatedClock:
    """A clock that stands still until it is told to move: exact times, no sleeping."""

    def __init__(self, start_ns: int = 0) -> None:
        self._now_ns = start_ns
        self._lock = threading.Lock()

    def now_ns(self) -> int:
        """The simulated instant."""
        with self._lock:
            return self._now_ns

    def advance(self, by_ns: int) -> int:
        """Move on by `by_ns` nanoseconds (0 or more) and return the new instant."""
        if by_ns < 0:
            raise UsageError(f"SimulatedClock.advance: wanted 0 ns or more, found {by_ns}")
        with self._lock:
            self._now_ns += by_ns
            return self._now_ns

    def wait_until(self, at_ns: int, interrupted: threading.Event) -> bool:
        """Jump to `at_ns` unless it has passed. Returns False if `interrupted` is set."""
        if interrupted.is_set():
            return False
        with self._lock:
            self._now_ns = max(self._now_ns, at_ns)
        return True
