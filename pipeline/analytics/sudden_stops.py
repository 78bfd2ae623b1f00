"""Objects that lose their speed at once."""

from __future__ import annotations

import numpy as np

from pipeline.analytics.objects import grown
from pipeline.analytics.view import View
from pipeline.core.arrays import BoolArray, Float64Array


class SuddenStops:
    """Tells once of every object that was fast and stands a moment later, by slot and zone.

    Args:
        from_speed: float64 (zones,): who was this fast was fast; inf where a zone does not ask.
        within_s: float64 (zones,): the longest moment (s).
    """

    def __init__(self, from_speed: Float64Array, within_s: Float64Array) -> None:
        self._from_speed = from_speed
        self._within_s = within_s
        n = len(from_speed)
        self._fast_s = np.zeros((0, n))
        # The highest speed in a stretch of within_s, and in the stretch before it.
        self._peak = np.zeros((0, n))
        self._peak_before = np.zeros((0, n))
        self._stretch_s = np.zeros((0, n))

    def meet(self, view: View) -> None:
        """Make room for the objects that come."""
        if view.capacity > len(self._peak):
            for name in ("_fast_s", "_peak", "_peak_before", "_stretch_s"):
                setattr(self, name, grown(getattr(self, name), view.capacity))
        if len(view.born):
            self._fast_s[view.born] = -np.inf
            self._stretch_s[view.born] = -np.inf

    def update(
        self, view: View, speed: Float64Array, inside: BoolArray, stand: Float64Array
    ) -> list[tuple[int, int, float]]:
        """Take the speeds at the next frame.

        Args:
            view: the frame.
            speed: float64 (m, 1), nan where unknown.
            inside: bool (m, zones): who is in which zone.
            stand: float64 (zones,): slower stands.

        Returns:
            Of each stop: slot, zone, the highest speed within twice the moment before.
        """
        slots, now = view.slot, view.time_s
        fast = speed >= self._from_speed
        fast_s = self._fast_s[slots]
        if fast.any():
            peak, over = self._peak[slots], now - self._stretch_s[slots] > self._within_s
            lately = now - fast_s <= self._within_s
            self._peak_before[slots] = np.where(fast & over, np.where(lately, peak, 0.0), self._peak_before[slots])
            self._peak[slots] = np.where(fast, np.where(over, speed, np.maximum(speed, peak)), peak)
            self._stretch_s[slots] = np.where(over & fast, now, self._stretch_s[slots])
            self._fast_s[slots] = fast_s = np.where(fast, now, fast_s)
        stops = inside & (speed < stand) & (now - fast_s <= self._within_s)
        told = []
        for row, zone in np.argwhere(stops).tolist():
            slot = int(slots[row])
            self._fast_s[slot, zone] = -np.inf
            told.append((slot, zone, float(max(self._peak[slot, zone], self._peak_before[slot, zone]))))
        return told
