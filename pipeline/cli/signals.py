"""Ctrl-C and SIGTERM while something runs that can be asked to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

from pipeline.cli import logs


class Stoppable(Protocol):
    """What a signal stops."""

    def stop(self, *, at_once: bool = False) -> None:
        """Ask for the end; `at_once`: what is not written yet is given up."""


@contextmanager
def signals_noted() -> Iterator[list[int]]:
    """While inside, Ctrl-C and SIGTERM are only noted, in the list that it gives.

    An exception out of a signal handler can be lost in whatever runs at that moment; a note cannot.
    """
    received: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda number, _frame: received.append(number)) for number in numbers]
    try:
        yield received
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def stop_on_signals(running: Stoppable, reload: Callable[[], None] | None = None) -> Iterator[list[int]]:
    """While inside, Ctrl-C and SIGTERM stop `running`; the second gives up what is not written yet, the third leaves.

    Args:
        running: what is stopped.
        reload: called at SIGHUP, in a thread of its own; None leaves SIGHUP as it is.

    Yields:
        the signals received so far.
    """
    received: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        if len(received) > 2:
            raise KeyboardInterrupt
        if len(received) == 1:
            logs.say("stopping; once more to leave at once")
        running.stop(at_once=len(received) == 2)

    reloading: list[threading.Thread] = []

    def hang_up(_number: int, _frame: FrameType | None) -> None:
        # Not here: the main thread may hold a lock that reloading needs.
        if reload is not None and not any(thread.is_alive() for thread in reloading):
            reloading[:] = [threading.Thread(target=reload, name="reload")]
            reloading[0].start()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    if reload is not None and hasattr(signal, "SIGHUP"):
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, hang_up)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for thread in reloading:
            thread.join()
