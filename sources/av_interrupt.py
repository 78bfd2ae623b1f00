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
    deadline_s: float | None = None
    leaps: int = 0

    def monotonic(self) -> float:
        now_s = time.monotonic()
        is_late = self.deadline_s is not None and now_s > self.deadline_s
        if not is_late and (self.interrupted is None or not self.interrupted.is_set()):
            return now_s
        self.leaps += 1
        return now_s + self.leaps * _LEAP_S


_time = _InterruptibleTime()


@contextmanager
def interruptible(interrupted: threading.Event, limit_s: float | None = None) -> Iterator[None]:
    """Within this block, FFmpeg calls of this thread on containers with a time-out end soon once the event is set.

    They end as a time-out does: with an FFmpeg error.

    Args:
        interrupted: ends them.
        limit_s: so does so much time within the block, over all calls together (s).
    """
    vars(av.container.core)["time"] = _time
    before = _time.interrupted, _time.deadline_s
    _time.interrupted = interrupted
    _time.deadline_s = None if limit_s is None else time.monotonic() + limit_s
    try:
        yield
    finally:
        _time.interrupted, _time.deadline_s = before
