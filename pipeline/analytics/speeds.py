"""How fast every object moves, and where to."""

from __future__ import annotations

import numpy as np

from pipeline.analytics.config import SourceRules
from pipeline.analytics.geometry import Placement
from pipeline.analytics.ground_plane import GroundPlane
from pipeline.analytics.kernels import DEFAULT, RuleKernels
from pipeline.analytics.view import View
from pipeline.core.arrays import Float64Array

KMH = 3.6
"""km/h in one m/s."""


class Speeds:
    """Velocities by slot: the slope of a straight line through the anchor's places within the window (least squares).

    Places are those of detections; predicted boxes, boxes that an edge of the picture cuts, and points above the
    horizon tell nothing. A velocity is known once such places span half the window, and unknown again once they do
    not.

    Args:
        rules: ground plane, window and anchor.
        kernels: what does the work.

    Attributes:
        unit: of `speed`: `km/h` with a ground plane, else `px/s`.
        plane: the ground plane, once placed; None where the rules have none.
    """

    def __init__(self, rules: SourceRules, kernels: RuleKernels = DEFAULT) -> None:
        self._rules = rules
        self._placement = Placement(rules.units)
        self._slopes = kernels.Slopes(rules.speed_window_s, 1.0 if rules.ground_plane is None else KMH)
        self.unit = "px/s" if rules.ground_plane is None else "km/h"
        self.plane: GroundPlane | None = None

    @property
    def velocity(self) -> Float64Array:
        """float64 (capacity, 2), by slot: m/s in the axes of the plan, else px/s; nan where unknown."""
        return self._slopes.velocity

    @property
    def speed(self) -> Float64Array:
        """float64 (capacity,), in `unit`; nan where unknown."""
        return self._slopes.speed

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
        least, most = np.array([edge, top, -np.inf, -np.inf]), np.array([np.inf, np.inf, width - edge, bottom])
        self._slopes.place(self.plane, least, most)

    def update(self, view: View) -> bool:
        """Take the places of the next frame. True: velocities are new; False: too little time has passed for that."""
        return self._slopes.update(view)

    def kmh(self, view: View) -> Float64Array | None:
        """float64 (m,), of the objects of a frame, nan where unknown; None without a ground plane."""
        return None if self.plane is None else self.speed[view.slot]
