"""How far measuring is, how long the rest will take, and whether something more fits into the time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

GUESSED_TIMING_S = 9.0
"""Of one timing, before one is known."""
GUESSED_START_S = 4.0
"""Of a process that looks for boxes: loading, beside the frames themselves."""


class Pace:
    """Counts jobs of two kinds and their seconds.

    Args:
        limit_s: when measuring must be over.
        n_time: timings to do.
        n_find: passes over all frames to do.
        clock_s: seconds that pass.
    """

    def __init__(self, limit_s: float, n_time: int, n_find: int, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self._until_s = clock_s() + limit_s
        self._n = n_time + n_find
        self._left_time, self._left_find = n_time, n_find
        self._time_s: list[float] = []
        self._find_s: list[float] = []
        self._over_estimate: list[float] = []

    def place(self) -> str:
        """Which job comes now: `[3/24]`."""
        return f"[{self._n - self._left_time - self._left_find + 1}/{self._n}]"

    def left(self, find_s: float | None = None) -> str:
        """How long all the rest will take, in words; nothing while that is not known.

        Args:
            find_s: seconds that the frames of the pass that begins now will take.
        """
        if not self._time_s or not self._find_s:
            return ""
        seconds = self._left_time * _mean(self._time_s, 0) + self._left_find * _mean(self._find_s, 0)
        if find_s is not None:
            seconds += self._pass_s(find_s) - _mean(self._find_s, 0)
        return f"; about {duration(min(max(seconds, 1), self._time_left_s()))} left"

    def has_time_to_time(self) -> bool:
        """Whether a timing would be over in time."""
        return _mean(self._time_s, GUESSED_TIMING_S) <= self._time_left_s()

    def has_time_to_find(self, frames_s: float) -> bool:
        """Whether a pass over all frames, which take so many seconds, would be over in time."""
        return self._pass_s(frames_s) <= self._time_left_s()

    def add_finds(self, n: int) -> None:
        """So many more passes are to be done."""
        self._n += n
        self._left_find += n

    def skip_time(self) -> None:
        """A timing need not be done."""
        self._left_time -= 1

    def skip_find(self) -> None:
        """A pass need not be done."""
        self._left_find -= 1

    @contextmanager
    def timing(self) -> Iterator[None]:
        """While a timing is done."""
        began_s = self._clock_s()
        self._left_time -= 1
        yield
        self._time_s.append(self._clock_s() - began_s)

    @contextmanager
    def finding(self, frames_s: float) -> Iterator[None]:
        """While a pass over all frames is done, which were to take so many seconds."""
        began_s = self._clock_s()
        self._left_find -= 1
        yield
        self._find_s.append(self._clock_s() - began_s)
        self._over_estimate.append(self._find_s[-1] - frames_s)

    def _pass_s(self, frames_s: float) -> float:
        return max(frames_s + _mean(self._over_estimate, GUESSED_START_S), 0.0)

    def _time_left_s(self) -> float:
        return self._until_s - self._clock_s()


def duration(seconds: float) -> str:
    """In words: 40 s, 3 min."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _mean(values: list[float], without: float) -> float:
    return sum(values) / len(values) if values else without
