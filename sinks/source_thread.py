"""A thread for each source of a sink that serves them all, so that none waits for another."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from pipeline.core.errors import SinkError
from pipeline.core.result import FrameResult


class SourceThread:
    """Hands results of one source to a function in a thread of its own.

    Args:
        name: of the thread.
        take: called with every result, in order.
        finish: called once in the thread, at the end or after `take` failed.
        capacity: results that may wait.
        drops: when all places are taken, the oldest result goes and is counted; otherwise `put` waits.
    """

    def __init__(
        self,
        name: str,
        take: Callable[[FrameResult], None],
        finish: Callable[[], None],
        *,
        capacity: int,
        drops: bool,
    ) -> None:
        self.n_dropped = 0
        self._name = name
        self._take = take
        self._finish = finish
        self._capacity = capacity
        self._drops = drops
        self._waiting: deque[FrameResult] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._loop, name=name, daemon=False)
        self._thread.start()

    def put(self, result: FrameResult) -> None:
        """Pass a result on. Raises what `take` or `finish` raised, once; SinkError after that."""
        with self._changed:
            while True:
                self._raise_error()
                if self._closing:
                    raise SinkError(f"{self._name}: wanted to write {result.frame}, found it closed")
                if len(self._waiting) < self._capacity:
                    break
                if self._drops:
                    self._waiting.popleft()
                    self.n_dropped += 1
                else:
                    self._changed.wait()
            self._waiting.append(result)
            self._changed.notify_all()

    def close(self) -> None:
        """Let what waits be taken, then end the thread. Idempotent. Raises what the thread raised, once."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        self._raise_error()

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            self._closing = True
            raise error

    def _loop(self) -> None:
        try:
            try:
                while (result := self._next()) is not None:
                    self._take(result)
            finally:
                self._finish()
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that put
            with self._changed:
                self._error = error
                self._waiting.clear()
                self._changed.notify_all()

    def _next(self) -> FrameResult | None:
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
            result = self._waiting.popleft() if self._waiting else None
            self._changed.notify_all()
            return result
