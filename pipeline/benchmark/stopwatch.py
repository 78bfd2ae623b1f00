"""Times calls until enough are measured."""

from __future__ import annotations

import time
from collections.abc import Callable

from pipeline.benchmark.figures import StageFigures, stage_figures
from pipeline.benchmark.usage import cpu_s

WARM_UP_SHARE = 0.25
"""Part of the measuring time that goes before it, unmeasured: caches, clocks and branch predictors settle."""
MIN_CALLS = 3


class Stopwatch:
    """Wall and CPU time of one stage's calls."""

    def __init__(self) -> None:
        self._durations_ms: list[float] = []
        self._frames = 0
        self._cpu_s = 0.0

    def add(self, wall_s: float, cpu_s: float, frames: int) -> None:
        """One call that took `wall_s` and `cpu_s` for so many frames."""
        self._durations_ms.append(wall_s * 1e3)
        self._frames += frames
        self._cpu_s += cpu_s

    def figures(self) -> StageFigures:
        """What the calls come to."""
        wall_s = sum(self._durations_ms) / 1e3
        return stage_figures(self._durations_ms, frames=self._frames, wall_s=wall_s, cpu_s=self._cpu_s)


def time_calls(call: Callable[[int], object], seconds: float, *, frames_per_call: int = 1) -> StageFigures:
    """Call again and again for `seconds`, after a warm-up.

    Args:
        call: gets the number of the call, from 0.
        seconds: how long to measure.
        frames_per_call: frames that one call works on.
    """
    watch = Stopwatch()
    k = 0
    for share, measured in ((WARM_UP_SHARE, False), (1.0, True)):
        until_s, at_least = time.perf_counter() + share * seconds, k + MIN_CALLS
        while k < at_least or time.perf_counter() < until_s:
            began_s, began_cpu_s = time.perf_counter(), cpu_s()
            call(k)
            if measured:
                watch.add(time.perf_counter() - began_s, cpu_s() - began_cpu_s, frames_per_call)
            k += 1
    return watch.figures()
