"""How fast every object moves, and where to."""

from __future__ import annotations

import numpy as np

from pipeline.analytics.config import SourceRules
from pipeline.analytics.geometry import Placement
from pipeline.analytics.ground_plane import GroundPlane
from pipeline.analytics.slots import grown
from pipeline.analytics.view import View
from pipeline.core.arrays import BoolArray

_SAMPLES = 32
"""Frames kept; at higher frame rates than the window has room for, some are left out."""

_EVERY = 8
"""Velocities are worked out so many times per window: they hardly change in between."""

KMH = 3.6
"""km/h in one m/s."""


class Speeds:
    """Velocities by slot: the slope of a straight line through the anchor's places within the window (least squares).

    Places are those of detections; predicted boxes, boxes that an edge of the picture cuts, and points above the
    horizon tell nothing. A velocity is known once such places span half the window, and unknown again once they do
    not.

    Args:
        rules: ground plane, window and anchor.

    Attributes:
        unit: of `speed`: `km/h` with a ground plane, else `px/s`.
        plane: the ground plane, once placed; None where the rules have none.
        velocity: float64 (capacity, 2), by slot: m/s in the axes of the plan, else px/s; nan where unknown.
        speed: float64 (capacity,), in `unit`; nan where unknown.
    """

    def __init__(self, rules: SourceRules) -> None:
        self._rules = rules
        self._placement = Placement(rules.units)
        self._window_s = rules.speed_window_s
        self._spacing_s = rules.speed_window_s / _SAMPLES
        # A box that ends beyond them is cut by the picture where it matters for the anchor.
        self._least = self._most = np.zeros(4)
        self.unit = "px/s" if rules.ground_plane is None else "km/h"
        self.plane: GroundPlane | None = None
        self.velocity = np.zeros((0, 2))
        self.speed = np.zeros(0)
        # A ring of frames: their times and, by slot, whether the frame tells the object's place, and the place.
        self._worked_out_s = -np.inf
        self._newest_s = np.zeros(0)
        self._next = 0
        self._times = np.full(_SAMPLES, -np.inf)
        self._told = np.zeros((_SAMPLES, 0))
        self._places = np.zeros((_SAMPLES, 0, 2))

    def place(self, shape_hw: tuple[int, int]) -> None:
        """The size of the picture is known, or has changed: places seen before do not count any more.

        Raises:
            ConfigError: the points of the ground plane disagree.
        """
        config = self._rules.ground_plane
        self._placement.move_to(shape_hw)
        self.plane = None if config is None else GroundPlane(config, self._placement.px(config.image, "ground_plane"))
        height, width = shape_hw
        # Boxes of what the picture cuts end a few pixels off its edge: a detector's error, as beside lines and zones.
        edge = self._placement.band_px(None)
        top = -np.inf if self._rules.anchor == "bottom_center" else edge
        bottom = np.inf if self._rules.anchor == "top_center" else height - edge
        self._least = np.array([edge, top, -np.inf, -np.inf])
        self._most = np.array([np.inf, np.inf, width - edge, bottom])
        self._times[:] = -np.inf

    def update(self, view: View) -> bool:
        """Take the places of the next frame. True: velocities are new; False: too little time has passed for that."""
        self._make_room(view)
        now = view.time_s
        if now - self._times[self._next - 1] >= self._spacing_s:
            self._keep(view)
        if now - self._worked_out_s < self._window_s / _EVERY - 1e-9:
            return False
        self._worked_out_s = now
        self._work_out(now)
        return True

    def _work_out(self, now: float) -> None:
        # Sums over the frames within the window, of all objects at once: weights by frame x what frames tell.
        ages = self._times - now
        within = ages >= -self._window_s - 1e-9
        ages = np.where(within, ages, 0.0)
        of_frame = np.stack([within, ages, ages * ages])
        n, t, tt = of_frame @ self._told
        x, tx = (of_frame[:2] @ self._places.reshape(_SAMPLES, -1)).reshape(2, -1, 2)
        n = np.maximum(n, 1.0)
        oldest = (self._told * ages[:, None]).min(axis=0)
        known = self._newest_s - now - oldest >= self._window_s / 2 - 1e-9
        spread = np.where(known, tt - t * t / n, np.nan)
        self.velocity = (tx - x * (t / n)[:, None]) / spread[:, None]
        self.speed = np.hypot(self.velocity[:, 0], self.velocity[:, 1])
        if self.plane is not None:
            self.speed *= KMH

    def notes(self, view: View) -> dict[int, str]:
        """Speeds in words by track id, for pictures; of objects on a ground plane, as px/s tell nobody much."""
        if self.plane is None:
            return {}
        speeds = self.speed[view.slot]
        told = np.isfinite(speeds)
        ids, rounded = view.track_id[told].tolist(), np.rint(speeds[told]).astype(np.int64).tolist()
        return {track_id: f"{speed} km/h" for track_id, speed in zip(ids, rounded, strict=True)}

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
        places = view.anchor if self.plane is None else self.plane.to_world(view.anchor)
        tells = self._whole(view) & ~view.predicted
        if self.plane is not None:
            tells &= np.isfinite(places[:, 0])
        self._times[self._next] = view.time_s
        self._told[self._next] = self._places[self._next] = 0
        slots = view.slot[tells]
        self._newest_s[slots] = view.time_s
        self._told[self._next, slots] = 1
        self._places[self._next, slots] = places[tells]
        self._next = (self._next + 1) % _SAMPLES

    def _whole(self, view: View) -> BoolArray:
        """Whose anchor is where the object ends, not where the picture does."""
        box = view.xyxy
        return np.asarray(((box > self._least) & (box < self._most)).all(axis=1))
