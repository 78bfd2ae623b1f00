"""When to begin with a frame, and when to wait for the next: schedulers of one device.

Source: Li, Wang and Ramanan, "Towards Streaming Perception" (arXiv 2005.10420).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Protocol

from pipeline.core.errors import UsageError
from pipeline.streaming.planned import Planned
from pipeline.streaming.runtimes import Runtimes
from pipeline.streaming.stream import NS, Stream


class Scheduler(Protocol):
    """Decides each time that the device is free and holds a frame that it has not looked at."""

    def begin(self, stream: Stream, runtimes: Runtimes) -> None:
        """A stream begins: forget the last one.

        Args:
            stream: the stream.
            runtimes: how long a frame is expected to take.
        """
        ...

    def take(self, now_ns: int, newest: int, waited: bool) -> bool:
        """Run on the newest frame now (True), or look again when the next one arrives (False).

        Args:
            now_ns: the time, ns since the stream's first frame arrived.
            newest: the newest frame, not looked at before.
            waited: the device was idle until this frame arrived at this very moment.
        """
        ...


class IdleFree:
    """Never idle while there is a frame that it has not seen."""

    def begin(self, stream: Stream, runtimes: Runtimes) -> None:
        """Nothing to prepare."""

    def take(self, now_ns: int, newest: int, waited: bool) -> bool:
        """Always."""
        return True


class ShrinkingTail:
    """Waits where that shortens the part of an interval by which a run outlasts the frame after it.

    With r, the mean runtime in frames, and f, how long the newest frame has been there in frames: waits if r > 1 and
    r < floor(f + r). Never right after a wait.

    Source: Li, Wang and Ramanan (arXiv 2005.10420).
    """

    def begin(self, stream: Stream, runtimes: Runtimes) -> None:
        """Take the mean of the runtimes."""
        self._frames_per_ns = stream.fps / NS
        self._runtime = runtimes.exact_mean_ns * self._frames_per_ns

    def take(self, now_ns: int, newest: int, waited: bool) -> bool:
        """Unless waiting shortens the tail."""
        if waited or self._runtime <= 1:
            return True
        since: Fraction = now_ns * self._frames_per_ns - newest
        return self._runtime >= (since + self._runtime) // 1


class StrideK:
    """Runs on every k-th frame that it looks at; a frame that arrives during a run is not looked at.

    Args:
        k: 1 is every frame.

    Raises:
        UsageError: k below 1.
    """

    def __init__(self, k: int) -> None:
        if k < 1:
            raise UsageError(f"stride: wanted a whole number from 1, found {k}")
        self._k = k
        self._looked_at = 0

    def begin(self, stream: Stream, runtimes: Runtimes) -> None:
        """Count anew."""
        self._looked_at = 0

    def take(self, now_ns: int, newest: int, waited: bool) -> bool:
        """The first, and every k-th after it."""
        turn = self._looked_at % self._k == 0
        self._looked_at += 1
        return turn


def scheduler(name: str) -> Scheduler:
    """A scheduler by its name: idle-free, shrinking-tail, planned, stride-2 (any number).

    Raises:
        UsageError: another name.
    """
    stride = re.fullmatch(r"stride-([0-9]+)", name)
    if stride:
        return StrideK(int(stride[1]))
    named: dict[str, Callable[[], Scheduler]] = {
        "idle-free": IdleFree,
        "shrinking-tail": ShrinkingTail,
        "planned": Planned,
    }
    if name not in named:
        raise UsageError(f"scheduler: wanted {', '.join(named)} or stride-K (stride-2), found {name!r}")
    return named[name]()
