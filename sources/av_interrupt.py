"""Interrupting a blocked FFmpeg call from another thread, which PyAV does not offer.

While FFmpeg waits for the network it asks a callback, every 100 ms, whether to give up. PyAV's callback gives up only
when `time.monotonic()` has passed the start of the call plus its time-out, so stopping a camera that hangs would take
the whole time-out (for a live HLS playlist: up to a segment, on every stop). Therefore the name `time` of that one
PyAV module is bound to a stand-in whose `monotonic` runs far ahead in a thread whose source has been interrupted.
Other threads and other modules see the real time. If PyAV ever reads the time in another way, an interrupt lasts until
the time-out again, and tests/sources/test_av_interrupt.py says so.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import av.container.core

_LEAP_S = 1e6
"""Further than any time-out; each reading leaps once more, since the start of a call is such a reading too."""


class _InterruptibleTime(threading.local):
    """What PyAV's container module sees as the module `time`; it uses nothing but `monotonic`. State per thread."""

    interrupted: threading.Event | None = None
    leaps: int = 0

    def monotonic(self) -> float:
        if self.interrupted is None or not self.interrupted.is_set():
            return time.monotonic()
        self.leaps += 1
        return time.monotonic() + self.leaps * _LEAP_S


_time = _InterruptibleTime()


@contextmanager
def interruptible(interrupted: threading.Event) -> Iterator[None]:
    """Within this block, FFmpeg calls of this thread on containers with a time-out end soon once the event is set.

    They end as a time-out does: with an FFmpeg error.
    """
    vars(av.container.core)["time"] = _time
    before = _time.interrupted
    _time.interrupted = interrupted
    try:
        yield
    finally:
        _time.interrupted = before
