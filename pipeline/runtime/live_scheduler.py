"""A scheduler of streaming perception, asked in a real run: time, frame rate and runtimes are measured ones."""

from __future__ import annotations

from collections import deque
from fractions import Fraction

import numpy as np

from pipeline.core.frame import Frame
from pipeline.runtime.arrivals import Arrivals
from pipeline.streaming.runtimes import Runtimes
from pipeline.streaming.schedulers import Scheduler
from pipeline.streaming.stream import NS, Stream

RUNTIMES = 100
"""Last runtimes that the scheduler is told."""
LEAST_RUNTIMES = 5
"""Runtimes before the scheduler is asked at all; the newest frame is taken until then."""
CHANGED = 0.05
"""The scheduler begins anew where the mean runtime, in frames, differs by so much from what it was told."""
AGAIN_NS = 5_000_000_000
"""But not more often than that: a plan costs time."""
PATIENCE = 2
"""Intervals after which a frame that was to wait for the next one is taken after all: the next one is late."""
HORIZON_FRAMES = 1_000_000_000
"""A live stream has no end."""


class LiveScheduler:
    """Asks a scheduler for one source. Called by one thread at a time.

    Args:
        source_id: the source.
        scheduler: as in simulation.
        arrivals: when frames arrived, and how fast.
    """

    def __init__(self, source_id: str, scheduler: Scheduler, arrivals: Arrivals) -> None:
        self._source_id = source_id
        self._scheduler = scheduler
        self._arrivals = arrivals
        self._runtimes: deque[int] = deque(maxlen=RUNTIMES)
        self._stream: Stream | None = None
        self._told = 0.0
        self._told_ns = 0
        self._declined: int | None = None
        self._late_ns: int | None = None

    def ran(self, runtime_ns: int) -> None:
        """A frame of the source was detected."""
        self._runtimes.append(max(runtime_ns, 1))

    def forget_runtimes(self) -> None:
        """Another detector from now on."""
        self._runtimes.clear()

    def take(self, frame: Frame, now_ns: int, waited: bool) -> bool:
        """Detect this newest frame now (True), or wait for the next one.

        Args:
            frame: the newest of the source.
            now_ns: the time, on the run's clock.
            waited: the detector was idle when the frame arrived.
        """
        interval_ns = self._arrivals.interval_ns(self._source_id)
        arrived_ns = self._arrivals.arrived_ns(frame)
        if interval_ns is None or arrived_ns is None or len(self._runtimes) < LEAST_RUNTIMES:
            return True
        self._late_ns = arrived_ns + PATIENCE * interval_ns
        if now_ns >= self._late_ns:
            return True
        if self._declined == frame.index:
            return False
        stream = self._begun(interval_ns, now_ns)
        # Once the next frame is late by less than the patience, this one is as old as a newest frame can be.
        since_ns = min(now_ns - arrived_ns, interval_ns - 1)
        if self._scheduler.take(stream.arrival_ns(frame.index) + since_ns, frame.index, waited):
            return True
        self._declined = frame.index
        return False

    def late_in_s(self, now_ns: int) -> float:
        """In how long the frame that was refused last is taken after all."""
        return max(0, self._late_ns - now_ns) / NS if self._late_ns is not None else 0.0

    def _begun(self, interval_ns: int, now_ns: int) -> Stream:
        """The stream that the scheduler was told last; told anew where what is measured has changed."""
        runtime_frames = sum(self._runtimes) / len(self._runtimes) / interval_ns
        changed = abs(runtime_frames - self._told) > CHANGED * self._told and now_ns - self._told_ns >= AGAIN_NS
        if self._stream is None or changed:
            self._told, self._told_ns = runtime_frames, now_ns
            self._stream = Stream(self._source_id, Fraction(NS, interval_ns), HORIZON_FRAMES, 1, 1)
            runtimes = Runtimes(np.fromiter(self._runtimes, np.int64), self._source_id)
            self._scheduler.begin(self._stream, runtimes)
        return self._stream
