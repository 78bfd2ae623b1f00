"""Finds stages that hang: one that has had the same work in hand for too long."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.runtime.worker import Worker


class Watchdog:
    """Looks at workers now and then. Each piece of work that takes too long is reported once.

    Waiting for work, or for room to hand it on, is not hanging: only the time within a stage's own call counts.

    Args:
        limit_s: how long a stage may take for one piece of work; 0 = for ever.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_ns = limit_s * 1e9
        self._reported: dict[Worker, object] = {}

    def hanging(self, workers: Iterable[Worker], now_ns: int) -> list[Worker]:
        """Workers that hang and were not reported for this piece of work; `now_ns` is `time.monotonic_ns()`."""
        found = []
        for worker in workers if self._limit_ns else ():
            work = worker.work
            if work is None or not worker.alive:
                self._reported.pop(worker, None)
            elif now_ns - work.since_ns > self._limit_ns and self._reported.get(worker) is not work:
                self._reported[worker] = work
                found.append(worker)
        return found
