"""One stage in one thread: runs its loop and reports the error that ended it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pipeline.core.errors import StageError
from pipeline.core.frame import Frame
from pipeline.runtime.channel import ChannelClosedError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Work:
    """One call of a stage's own code that goes on."""

    since_ns: int


class Worker:
    """A named thread that runs `body` once and reports how it ended.

    Args:
        stage: name of the stage in reports and errors; also the thread's name.
        body: the stage's whole life, its `finally` included. ChannelClosedError ends it cleanly.
        on_error: called once, from the worker's thread, with the StageError that ended it.
    """

    def __init__(self, stage: str, body: Callable[[Worker], None], on_error: Callable[[StageError], None]) -> None:
        self.stage = stage
        self.at: Frame | None = None
        """The frame in hand, for the error text."""
        self.work: Work | None = None
        """The call of the stage's own code that goes on, for the watchdog; None while it waits."""
        self._body = body
        self._on_error = on_error
        # Not a daemon: a daemon thread would be cut off inside a C library at exit, with files half written.
        self._thread = threading.Thread(target=self._run, name=stage, daemon=False)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for the end; False if it has not come within `timeout_s`. A thread that never began has ended."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Around a call of the stage's own code, which may hang."""
        self.work = Work(time.monotonic_ns())
        try:
            yield
        finally:
            self.work = None

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def began(self) -> bool:
        """Whether the thread was started."""
        return self._thread.ident is not None

    def guard(self, body: Callable[[Worker], None]) -> bool:
        """Run `body` in the calling thread; False if it ended the stage, by the end of its channel or by an error."""
        try:
            body(self)
        except ChannelClosedError:
            return False
        except Exception as error:
            logger.debug("stage %s failed", self.stage, exc_info=True)
            self._on_error(StageError(self.stage, error, str(self.at) if self.at is not None else None))
            return False
        return True

    def _run(self) -> None:
        self.guard(self._body)
