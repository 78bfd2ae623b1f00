"""Slopes of straight lines through every object's places of the last moments."""

from __future__ import annotations

import numpy as np

from pipeline.analytics.ground_plane import GroundPlane
from pipeline.analytics.slots import grown
from pipeline.analytics.view import View
from pipeline.core.arrays import BoolArray, Float64Array

SAMPLES = 32
"""Frames kept; at higher frame rates than the window has room for, some are left out."""

EVERY = 8
"""Velocities are worked out so many times per window: they hardly change in between."""


class Slopes:
    """Velocities by slot. `Speeds` says what they are.

    Args:
        window_s: places of this time count (s).
        scale: `speed` is the velocity's length times this.

    Attributes:
        velocity: float64 (capacity, 2): m/s in the axes of the plan, px/s without a ground plane; nan where unknown.
        speed: float64 (capacity,): nan where unknown.
    """

    def __init__(self, window_s: float, scale: float) -> None:
        self._window_s = window_s
        self._scale = scale
        self._plane: GroundPlane | None = None
        self._least = self._most = np.zeros(4)
        self.velocity = np.zeros((0, 2))
        self.speed = np.zeros(0)
        # A ring of frames: their times and, by slot, whether the frame tells the object's place, and the place.
        self._worked_out_s = -np.inf
        self._newest_s = np.zeros(0)
        self._next = 0
        self._times = np.full(SAMPLES, -np.inf)
        self._told = np.zeros((SAMPLES, 0))
        self._places = np.zeros((SAMPLES, 0, 2))

    def place(self, plane: GroundPlane | None, least: Float64Array, most: Float64Array) -> None:
        """The size of the picture is known, or has changed: places seen before do not count any more.

        Args:
            plane: the ground; None: places are those in the picture.
            least: float64 (4,): a box that is not above it in all of x1, y1, x2, y2 tells no place.
            most: float64 (4,): the same of one that is not below it.
        """
        self._plane, self._least, self._most = plane, least, most
        self._times[:] = -np.inf

    def update(self, view: View) -> bool:
        """Take the places of the next frame. True: velocities are new; False: too little time has passed for that."""
        self._make_room(view)
        now = view.time_s
        if now - self._times[self._next - 1] >= self._window_s / SAMPLES:
            self._keep(view)
        if now - self._worked_out_s < self._window_s / EVERY - 1e-9:
            return False
        self._worked_out_s = now
        self._work_out(now)
        return True

    def _work_out(self, now: float) -> None:
        # Sums over the frames within the window, of all objects at once: weights by frame x what frames tell. The
        # frames are added one after the other, which a matrix product would not promise.
        ages = self._times - now
        within = ages >= -self._window_s - 1e-9
        ages = np.where(within, ages, 0.0)[:, None]
        counted = within[:, None] * self._told
        aged = ages * self._told
        n, t, tt = counted.sum(axis=0), aged.sum(axis=0), (ages * aged).sum(axis=0)
        x, tx = (within[:, None, None] * self._places).sum(axis=0), (ages[:, :, None] * self._places).sum(axis=0)
        n = np.maximum(n, 1.0)
        known = self._newest_s - now - aged.min(axis=0) >= self._window_s / 2 - 1e-9
        spread = np.where(known, tt - t * t / n, np.nan)
        self.velocity = (tx - x * (t / n)[:, None]) / spread[:, None]
        self.speed = np.hypot(self.velocity[:, 0], self.velocity[:, 1]) * self._scale

    def _make_room(self, view: View) -> None:
        if view.capacity > len(self.speed):
            self.velocity, self.speed = grown(self.velocity, view.capacity), grown(self.speed, view.capacity)
            self._told = grown(self._told.T, view.capacity).T.copy()
            self._newest_s = grown(self._newest_s, view.capacity)
            self._places = grown(self._places.transpose(1, 0, 2), view.capacity).transpose(1, 0, 2).copy()
        if len(view.born):
            self.velocity[view.born] = np.nan
            self.speed[view.born] = np.nan
            self._newest_s[view.born] = -np.inf
            self._told[:, view.born] = 0
            self._places[:, view.born] = 0

    def _keep(self, view: View) -> None:
        """Put the frame into the ring, in the place of the oldest."""
        places = view.anchor if self._plane is None else self._plane.to_world(view.anchor)
        tells = self._whole(view) & ~view.predicted
        if self._plane is not None:
            tells &= np.isfinite(places[:, 0])
        self._times[self._next] = view.time_s
        self._told[self._next] = self._places[self._next] = 0
        slots = view.slot[tells]
        self._newest_s[slots] = view.time_s
        self._told[self._next, slots] = 1
        self._places[self._next, slots] = places[tells]
        self._next = (self._next + 1) % SAMPLES

    def _whole(self, view: View) -> BoolArray:
        """Whose anchor is where the object ends, not where the picture does."""
        box = view.xyxy
        return np.asarray(((box > self._least) & (box < self._most)).all(axis=1))
