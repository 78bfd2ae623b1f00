"""Workers as processes of this machine."""

from __future__ import annotations

import multiprocessing
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from pipeline.archive.job import Job, Message, Outcome, Task, Unusable
from pipeline.archive.worker import READY, work

ATTEMPTS = 2
"""A video whose worker dies is tried once more, in a fresh process: it may not have been the cause."""
_LOOK_EVERY_S = 0.2
_END_WITHIN_S = 5.0


class _Worker:
    """One process and the video that it has."""

    def __init__(self, job: Job, *, verbose: bool) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection: Connection
        self.connection, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(target=work, args=(job, theirs), kwargs={"verbose": verbose})
        self.process.start()
        theirs.close()
        self.task: Task | None = None
        self.ready = False

    def give(self, task: Task) -> None:
        """Hand a video over. A process that is dead already keeps it too, until its death is seen."""
        self.task = task
        try:
            self.connection.send(task)
        except OSError:
            return

    def end(self) -> None:
        """End the process now, whatever it does."""
        self.connection.close()
        self.process.terminate()
        self.process.join(_END_WITHIN_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process.close()


class LocalPool:
    """Processes that each load the detector once and take one video after another.

    Args:
        job: the same for all videos.
        tasks: in the order in which they begin.
        n_workers: processes, at most one per video.
        stopping: once set, everything ends, and what is not whole is given up.
        verbose: workers log.
    """

    def __init__(
        self, job: Job, tasks: Sequence[Task], n_workers: int, stopping: threading.Event, *, verbose: bool = False
    ) -> None:
        self._job = job
        self._waiting = deque(tasks)
        self._n_workers = min(n_workers, len(tasks))
        self._stopping = stopping
        self._verbose = verbose
        self._attempts: dict[int, int] = {}
        self._workers: list[_Worker] = []

    def messages(self) -> Iterator[Message]:
        """What goes on, as it happens, until every video has its Outcome, one is Unusable, or `stopping` is set."""
        try:
            self._workers = [self._start() for _ in range(self._n_workers)]
            while self._workers and not self._stopping.is_set():
                # A worker that has died is seen by the end of its connection, after all that it had sent.
                ready = wait([worker.connection for worker in self._workers], timeout=_LOOK_EVERY_S)
                for worker in [worker for worker in self._workers if worker.connection in ready]:
                    yield from self._hear(worker)
        finally:
            for worker in self._workers:
                worker.end()
            self._workers = []

    def _start(self) -> _Worker:
        return _Worker(self._job, verbose=self._verbose)

    def _hear(self, worker: _Worker) -> Iterator[Message]:
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):
            yield from self._bury(worker)
            return
        if message == READY:
            worker.ready = True
            self._give_next(worker)
            return
        if isinstance(message, Outcome):
            worker.task = None
            self._give_next(worker)
        yield message

    def _give_next(self, worker: _Worker) -> None:
        if not self._waiting:
            self._workers.remove(worker)
            worker.end()
            return
        task = self._waiting.popleft()
        self._attempts[task.number] = self._attempts.get(task.number, 0) + 1
        worker.give(task)

    def _bury(self, worker: _Worker) -> Iterator[Message]:
        """A worker has died: its video is tried again or given up, and another worker takes its place."""
        self._workers.remove(worker)
        worker.process.join(_END_WITHIN_S)
        how, task, ready = _how(worker.process.exitcode), worker.task, worker.ready
        worker.end()
        if task is not None:
            if self._attempts[task.number] < ATTEMPTS:
                self._waiting.appendleft(task)
            else:
                reason = f"its worker {how}, {ATTEMPTS} times (out of memory? fewer --workers may help)"
                yield Outcome(task.video.name, "failed", reason=reason)
        if not ready:
            # Fewer workers may fit where this many do not.
            if self._waiting and not self._workers:
                yield Unusable(f"every worker {how} before its first video (out of memory? fewer --workers may help)")
        elif self._waiting:
            self._workers.append(self._start())


def _how(code: int | None) -> str:
    return f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with code {code}"
