"""Objects that lose their speed at once."""

from __future__ import annotations

import numpy as np

from pipeline.analytics.slots import grown
from pipeline.analytics.view import View
from pipeline.core.arrays import BoolArray, Float64Array

SAMPLES = 64
"""Speeds kept of each object."""


class SuddenStops:
    """Tells once of every object that was fast and stands a moment later, by slot and zone.

    Args:
        from_speed: float64 (zones,): who was this fast was fast; inf where a zone does not ask.
        within_s: float64 (zones,): the longest moment (s).
    """

    def __init__(self, from_speed: Float64Array, within_s: Float64Array) -> None:
        self._from_speed = from_speed
        self._within_s = within_s
        self._stand_speed = np.zeros(len(from_speed))
        self._spacing_s = within_s.max(initial=0.0) / SAMPLES
        # A ring of frames: their times, and the speeds by slot.
        self._next = 0
        self._times = np.full(SAMPLES, -np.inf)
        self._speeds = np.zeros((SAMPLES, 0))
        self._slow = np.zeros((0, len(from_speed)), bool)
        self._told_s = np.zeros((0, len(from_speed)))

    def place(self, stand_speed: Float64Array) -> None:
        """Slower stands, float64 (zones,): it may depend on the size of the picture."""
        self._stand_speed = stand_speed

    def meet(self, view: View) -> None:
        """Make room for the objects that come. At every frame, before `update`."""
        if view.capacity > len(self._slow):
            self._speeds = grown(self._speeds.T, view.capacity).T.copy()
            self._slow = grown(self._slow, view.capacity)
            self._told_s = grown(self._told_s, view.capacity)
        if len(view.born):
            self._speeds[:, view.born] = np.nan
            self._slow[view.born] = True
            self._told_s[view.born] = -np.inf

    def update(self, view: View, speed: Float64Array, inside: BoolArray) -> list[tuple[int, int, float]]:
        """Take the speeds, where they are new.

        Args:
            view: the frame.
            speed: float64 (capacity,), by slot; nan where unknown.
            inside: bool (m, zones): who is in which zone.

        Returns:
            Of each stop: slot, zone, the highest speed within the moment before.
        """
        self._keep(view, speed)
        slots = view.slot
        now_speed = speed[slots][:, None]
        was_slow = self._slow[slots]
        slow = now_speed < self._stand_speed
        self._slow[slots] = slow | (was_slow & np.isnan(now_speed))
        told = []
        for row, zone in np.argwhere(slow & ~was_slow & inside).tolist():
            slot = int(slots[row])
            since_s = max(view.time_s - self._within_s[zone], self._told_s[slot, zone])
            peak = np.nanmax(self._speeds[self._times >= since_s, slot], initial=0.0)
            if peak >= self._from_speed[zone]:
                self._told_s[slot, zone] = view.time_s
                told.append((slot, zone, float(peak)))
        return told

    def _keep(self, view: View, speed: Float64Array) -> None:
        if view.time_s - self._times[self._next - 1] >= self._spacing_s:
            self._times[self._next] = view.time_s
            self._speeds[self._next] = speed
            self._next = (self._next + 1) % SAMPLES
