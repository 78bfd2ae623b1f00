"""Media time of decoded frames: seconds that start near 0 and always grow."""

from __future__ import annotations

from fractions import Fraction

JUMP_BACK_S = 0.2
"""Frames come in display order, so a step back by more than this is a new recording and not disorder."""


class MediaTime:
    """Turns the time stamps of one stream into seconds that strictly increase.

    Steps forward, however long, are kept: the frame rate may vary, and a gap is a fact. A frame without a stamp, or
    with one that does not grow, gets the earliest instant that does; after a real jump back (files joined end to
    end, a camera that restarted its clock) time goes on one frame period after the last frame.

    Args:
        start: stamp that counts as 0, in units of `time_base`, or None for the first stamp seen.
        time_base: seconds per unit.
        period_s: expected time between frames, for stamps that are missing.
    """

    def __init__(self, start: int | None, time_base: Fraction, period_s: float) -> None:
        self._origin = start
        self._time_base = time_base
        self._period_s = period_s
        self._shift_s = 0.0
        self._last_s: float | None = None
        self.repaired = 0

    def seconds(self, stamp: int | None) -> float:
        """The media time of the next frame in display order.

        Args:
            stamp: its presentation time stamp in units of `time_base`, or None where it has none.
        """
        if stamp is None:
            self.repaired += 1
            return self._advance(self._period_s)
        if self._origin is None:
            self._origin = stamp
        at_s = float((stamp - self._origin) * self._time_base) + self._shift_s
        if self._last_s is None or at_s > self._last_s:
            self._last_s = at_s
            return at_s
        self.repaired += 1
        if at_s >= self._last_s - JUMP_BACK_S:
            return self._advance(min(float(self._time_base), self._period_s))
        self._shift_s += self._last_s + self._period_s - at_s
        return self._advance(self._period_s)

    def _advance(self, by_s: float) -> float:
        self._last_s = 0.0 if self._last_s is None else self._last_s + by_s
        return self._last_s
