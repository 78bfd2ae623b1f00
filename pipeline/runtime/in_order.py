"""Puts what several threads work on at once back into the order in which they took it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

from pipeline.runtime.channel import Channel, ChannelClosedError

Taken = TypeVar("Taken")
Done = TypeVar("Done")


class InOrder(Generic[Taken, Done]):
    """Numbers the work that threads take, and hands their results on by those numbers.

    Args:
        source: gives the next piece of work; called by one thread at a time.
        channel: where the results go.
        max_ahead: how many pieces of work a thread may be ahead of the slowest one; what is held meanwhile is bounded
            by it.
        lose: gets the results that nobody will get, because the channel was closed before their turn came.
    """

    def __init__(
        self,
        source: Callable[[], Taken],
        channel: Channel[Done],
        max_ahead: int,
        lose: Callable[[Iterable[Done]], None],
    ) -> None:
        self._source = source
        self._channel = channel
        self._max_ahead = max_ahead
        self._lose = lose
        self._taking = threading.Lock()
        self._giving = threading.Lock()
        self._changed = threading.Condition()
        self._n_taken = 0
        self._next = 0
        self._held: dict[int, Sequence[Done]] = {}
        self._aborted = False

    def take(self) -> tuple[int, Taken]:
        """The next piece of work and its number. Each number must be `done`, or the run be aborted."""
        with self._taking:
            taken = self._source()
            number = self._n_taken
            self._n_taken += 1
            return number, taken

    def done(self, number: int, results: Sequence[Done]) -> None:
        """Hand over the results of a piece of work (0 or more). Waits while that is too far ahead.

        Raises:
            ChannelClosedError: nobody takes results any more; `lose` got those that were left.
        """
        with self._changed:
            self._changed.wait_for(lambda: number < self._next + self._max_ahead or self._aborted)
            refused = self._aborted
            if not refused:
                self._held[number] = results
        if refused:
            self._lose(results)
            raise ChannelClosedError
        with self._giving:
            while (ready := self._pop_ready()) is not None:
                self._give(ready)

    def _pop_ready(self) -> Sequence[Done] | None:
        with self._changed:
            ready = self._held.pop(self._next, None)
            if ready is not None:
                self._next += 1
                self._changed.notify_all()
            return ready

    def _give(self, results: Sequence[Done]) -> None:
        for position, result in enumerate(results):
            try:
                self._channel.put(result)
            except ChannelClosedError:
                self._lose(results[position:])
                raise

    def abort(self) -> list[Done]:
        """Stop at once: later results are refused. Returns those that are held. Idempotent."""
        with self._changed:
            self._aborted = True
            left = [result for number in sorted(self._held) for result in self._held[number]]
            self._held.clear()
            self._changed.notify_all()
            return left
