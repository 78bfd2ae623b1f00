"""How many objects are in each zone."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from pipeline.core.arrays import BoolArray, Float64Array, IntArray

Instant = tuple[float, int]
"""Seconds, and `captured_ns` of the frame at them."""


class Headcount:
    """Objects in each zone now, at most, and on average; who was seen last.

    Args:
        crowd: float64 (Z,): more than so many are too many; inf: never.
        empty_s: float64 (Z,): nobody for longer is too long; inf: never.

    Attributes:
        now: int64 (Z,): objects in the zone.
        max: int64 (Z,): the most of them at any frame.
        object_s: float64 (Z,): the sum over all objects of their time in it (s).
        lasted_s: how long all this has gone on (s).
        is_empty: bool (Z,): nobody for too long.
        last_in_s: float64 (Z,): when somebody who has left was seen in it last; at first, the first frame (s).
        last_in_ns: int64 (Z,): `captured_ns` of that.
    """

    def __init__(self, crowd: Float64Array, empty_s: Float64Array) -> None:
        n = len(crowd)
        self._crowd, self._empty_s = crowd, empty_s
        self._has_begun = False
        self.now: IntArray = np.zeros(n, np.int64)
        self.max: IntArray = np.zeros(n, np.int64)
        self.object_s = np.zeros(n)
        self.lasted_s = 0.0
        self.is_empty: BoolArray = np.zeros(n, bool)
        self.last_in_s = np.zeros(n)
        self.last_in_ns: IntArray = np.zeros(n, np.int64)

    def pass_time(self, time_s: float, captured_ns: int, dt_s: float) -> None:
        """Things stood as the frame before left them until this one."""
        if not self._has_begun:
            self._has_begun = True
            self.last_in_s[:], self.last_in_ns[:] = time_s, captured_ns
        self.object_s += self.now * dt_s
        self.lasted_s += dt_s

    def enter(self, zones: Iterable[int]) -> None:
        """One object each is in these zones now; a zone may stand there several times."""
        for zone in zones:
            self.now[zone] += 1

    def leave(self, zone: int, last_in: Instant) -> None:
        """An object has left; it was seen in the zone last at `last_in`."""
        self.now[zone] -= 1
        if last_in[0] > self.last_in_s[zone]:
            self.last_in_s[zone], self.last_in_ns[zone] = last_in

    def look(self, time_s: float) -> tuple[list[int], list[int], list[int]]:
        """All objects of a frame have entered and left.

        Returns:
            Zones that have been empty for too long from now on; those that are no more; those with too many.
        """
        np.maximum(self.max, self.now, out=self.max)
        nobody = self.now == 0
        emptied = nobody & (time_s - self.last_in_s > self._empty_s) & ~self.is_empty
        filled = self.is_empty & ~nobody
        self.is_empty ^= emptied | filled
        too_many = self.now > self._crowd
        return emptied.nonzero()[0].tolist(), filled.nonzero()[0].tolist(), too_many.nonzero()[0].tolist()
