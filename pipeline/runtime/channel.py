"""Bounded hand-over of items between threads: policy, close, abort, counters."""

from __future__ import annotations

import threading
import time
from collections import deque
from enum import StrEnum
from typing import Generic, TypeVar

from pipeline.core.errors import UsageError

T = TypeVar("T")


class Policy(StrEnum):
    """What `put` does when the channel is full. The kind of a source or sink fixes it, never a frame rate."""

    BLOCK = "block"
    """Wait for room: nothing is ever dropped."""
    NEWEST = "newest"
    """Drop the oldest item: the consumer always gets the newest ones."""


class ChannelClosedError(Exception):
    """The channel was closed and is drained (`get`), or was closed or aborted (`put`). Ends a worker's loop cleanly."""


class Channel(Generic[T]):
    """A bounded queue with a policy.

    Ownership of an item moves with it: after `put` the sender must not touch it. End of stream is `close()` (the
    consumer drains what is left); failure is `abort()` (both ends stop at once). There are no poison items: putting
    one into a full queue whose consumer is gone would block for ever.

    Args:
        capacity: most items held, 1 or more.
        policy: what a put into a full channel does.
        condition: shared by channels that one consumer waits on together; own one by default.
    """

    def __init__(self, capacity: int, policy: Policy, condition: threading.Condition | None = None) -> None:
        if capacity < 1:
            raise UsageError(f"Channel: wanted a capacity of 1 or more, found {capacity}")
        self.capacity = capacity
        self.policy = policy
        self._items: deque[T] = deque()
        self._notes: deque[tuple[int, T]] = deque()
        """Each with the number of items that went before it."""
        self._changed = condition or threading.Condition()
        self._closed = False
        self._aborted = False
        self.n_put = 0
        self.n_displaced = 0

    def put(self, item: T) -> T | None:
        """Hand an item over; waits for room under `Policy.BLOCK`.

        Returns:
            the item that was displaced by this one, or None.

        Raises:
            ChannelClosedError: the channel is closed or aborted; the item was not taken.
        """
        with self._changed:
            if self.policy is Policy.BLOCK:
                self._changed.wait_for(lambda: len(self._items) < self.capacity or self._closed)
            if self._closed:
                raise ChannelClosedError
            displaced = None
            if len(self._items) == self.capacity:
                displaced = self._items.popleft()
                self.n_displaced += 1
            self._items.append(item)
            self.n_put += 1
            self._changed.notify_all()
            return displaced

    def note(self, item: T) -> None:
        """Hand over something that must not be lost and comes seldom.

        It keeps its place in the order, but takes no room, displaces nothing and is not displaced.

        Raises:
            ChannelClosedError: the channel is closed or aborted; the item was not taken.
        """
        with self._changed:
            if self._closed:
                raise ChannelClosedError
            self._notes.append((self.n_put, item))
            self._changed.notify_all()

    def get(self, timeout_s: float | None = None) -> T | None:
        """The oldest item.

        Returns:
            the item, or None when `timeout_s` passed without one.

        Raises:
            ChannelClosedError: aborted, or closed and drained.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            while not self._items and not self._notes:
                if self._closed:
                    raise ChannelClosedError
                left_s = None if deadline is None else deadline - time.monotonic()
                if left_s is not None and left_s <= 0:
                    return None
                self._changed.wait(left_s)
            return self._take()

    def poll(self) -> T | None:
        """The oldest item, or None at once where there is none. For a consumer that waits on a shared condition."""
        with self._changed:
            return self._take() if self._items or self._notes else None

    def peek(self) -> T | None:
        """The oldest item that is no note, left where it is; None where there is none."""
        with self._changed:
            return self._items[0] if self._items else None

    def _take(self) -> T:
        is_note = self._notes and self._notes[0][0] <= self.n_put - len(self._items)
        item = self._notes.popleft()[1] if is_note else self._items.popleft()
        self._changed.notify_all()
        return item

    def close(self) -> None:
        """End of stream: further puts are refused, the consumer drains what is left. Idempotent."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def abort(self) -> list[T]:
        """Failure: both ends stop at once. Returns the items that nobody will get. Idempotent."""
        with self._changed:
            self._closed = self._aborted = True
            left = [*self._items, *(item for _, item in self._notes)]
            self._items.clear()
            self._notes.clear()
            self._changed.notify_all()
            return left

    @property
    def aborted(self) -> bool:
        """Whether `abort` was called."""
        with self._changed:
            return self._aborted

    @property
    def closed(self) -> bool:
        """No further item is taken in; some may be left."""
        with self._changed:
            return self._closed

    @property
    def finished(self) -> bool:
        """Closed and drained: no item will ever come."""
        with self._changed:
            return self._closed and not self._items and not self._notes

    def __len__(self) -> int:
        """Items held, notes left out."""
        with self._changed:
            return len(self._items)
