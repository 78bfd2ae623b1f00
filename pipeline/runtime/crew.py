"""The threads of a run."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

from pipeline.runtime.worker import Worker


class Crew:
    """Workers that come and go while a run goes on. From any thread.

    Args:
        workers: those that are there from the start.
    """

    def __init__(self, workers: Iterable[Worker]) -> None:
        # Replaced, never changed: others go through it while workers come.
        self._workers: tuple[Worker, ...] = tuple(workers)
        self._started = False
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Worker]:
        return iter(self._workers)

    @property
    def alive(self) -> list[Worker]:
        """Those whose threads have not ended."""
        return [worker for worker in self._workers if worker.alive]

    def start(self) -> None:
        """Start all that are there; those that join later start at once."""
        with self._lock:
            self._started = True
            workers = self._workers
        for worker in workers:
            worker.start()

    def add(self, worker: Worker) -> None:
        """Another one."""
        with self._lock:
            # Threads that have ended are let go, else a camera that is restarted every hour adds up.
            self._workers = (*(w for w in self._workers if w.alive or not w.began), worker)
            if self._started:
                worker.start()

    def forget(self, worker: Worker) -> None:
        """Nobody waits for this thread any more; it ends by itself should it ever wake."""
        with self._lock:
            self._workers = tuple(other for other in self._workers if other is not worker)
