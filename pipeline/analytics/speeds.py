"""How fast every object moves, and where to."""

from __future__ import annotations

import numpy as np

from pipeline.analytics.config import SourceRules
from pipeline.analytics.geometry import Placement
from pipeline.analytics.ground_plane import GroundPlane
from pipeline.analytics.objects import grown
from pipeline.analytics.view import View
from pipeline.core.arrays import BoolArray

_SAMPLES = 32
"""Points kept of each object; at higher frame rates than the window has room for, some frames are left out."""

_EDGE = 0.005
"""A box so close to an edge of the picture (share of the diagonal) is cut off: its anchor says nothing of motion."""

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
        self._edge_px = 0.0
        self.unit = "px/s" if rules.ground_plane is None else "km/h"
        self.plane: GroundPlane | None = None
        self.velocity = np.zeros((0, 2))
        self.speed = np.zeros(0)
        self._times = np.zeros((0, _SAMPLES))
        self._places = np.zeros((0, _SAMPLES, 2))
        self._next = np.zeros(0, np.int64)
        self._newest_s = np.zeros(0)

    def place(self, shape_hw: tuple[int, int]) -> None:
        """The size of the picture is known, or has changed: places seen before do not count any more.

        Raises:
            ConfigError: the points of the ground plane disagree.
        """
        config = self._rules.ground_plane
        self._placement.move_to(shape_hw)
        self.plane = None if config is None else GroundPlane(config, self._placement.px(config.image, "ground_plane"))
        self._edge_px = _EDGE * float(np.hypot(*shape_hw))
        self._times[:] = -np.inf
        self._newest_s[:] = -np.inf

    def update(self, view: View) -> None:
        """Take the places of the next frame."""
        self._make_room(view)
        slots, now = view.slot, view.time_s
        places = view.anchor if self.plane is None else self.plane.to_world(view.anchor)
        tells = ~view.predicted & self._whole(view) & (now - self._newest_s[slots] >= self._spacing_s)
        if self.plane is not None:
            tells &= np.isfinite(places[:, 0])
        keep = slots[tells]
        at = self._next[keep]
        self._times[keep, at] = now
        self._places[keep, at] = places[tells]
        self._next[keep] = (at + 1) % _SAMPLES
        self._newest_s[keep] = now

        # Times before now, 0 where there is no place within the window.
        times = self._times[slots] - now
        within = times >= -self._window_s - 1e-9
        times = np.where(within, times, 0.0)
        n = np.maximum(within.sum(axis=1), 1)
        known = self._newest_s[slots] - now - times.min(axis=1) >= self._window_s / 2 - 1e-9
        times -= (times.sum(axis=1) / n)[:, None]
        times *= within
        spread = np.where(known, np.einsum("ms,ms->m", times, times), np.nan)
        velocity = np.einsum("ms,msc->mc", times, self._places[slots]) / spread[:, None]
        self.velocity[slots] = velocity
        speed = np.hypot(velocity[:, 0], velocity[:, 1])
        self.speed[slots] = speed if self.plane is None else speed * KMH

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
            for name in ("velocity", "speed", "_times", "_places", "_next", "_newest_s"):
                setattr(self, name, grown(getattr(self, name), view.capacity))
        if len(view.born):
            self.velocity[view.born] = np.nan
            self.speed[view.born] = np.nan
            self._times[view.born] = -np.inf
            self._newest_s[view.born] = -np.inf

    def _whole(self, view: View) -> BoolArray:
        """Whose anchor is where the object ends, not where the picture does."""
        height, width = view.shape_hw
        edge, box = self._edge_px, view.xyxy
        whole: BoolArray = (box[:, 0] > edge) & (box[:, 2] < width - edge)
        if self._rules.anchor != "bottom_center":
            whole &= box[:, 1] > edge
        if self._rules.anchor != "top_center":
            whole &= box[:, 3] < height - edge
        return whole
