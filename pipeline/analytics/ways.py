"""How often every object was seen, and how long its way was."""

from __future__ import annotations

import numpy as np

from pipeline.analytics.ground_plane import GroundPlane
from pipeline.analytics.slots import grown
from pipeline.analytics.steps import Steps
from pipeline.analytics.view import View
from pipeline.core.arrays import Float64Array, IntArray


class Ways:
    """Sightings and paths by slot.

    Attributes:
        sightings: int64 (capacity,): frames that showed the object.
        predicted: int64 (capacity,): those with a predicted box.
        path: float64 (capacity,): length of its way, m on a ground plane, else px.
    """

    def __init__(self) -> None:
        self._steps = Steps()
        self._plane: GroundPlane | None = None
        self._least_px = 0.0
        self.sightings: IntArray = np.zeros(0, np.int64)
        self.predicted: IntArray = np.zeros(0, np.int64)
        self.path = np.zeros(0)

    def place(self, plane: GroundPlane | None, least_px: float, factors: Float64Array) -> None:
        """The size of the picture is known, or has changed.

        Args:
            plane: the ground; None: paths are told in pixels.
            least_px: shorter steps are trembling.
            factors: float64 (2,), what carries x and y of the pictures before into these.
        """
        self._plane, self._least_px = plane, least_px
        self._steps.scale(factors)
        if plane is None:
            self.path *= np.sqrt(factors[0] * factors[1])

    def update(self, view: View) -> None:
        """Take the next frame."""
        if view.capacity > len(self.path):
            for name in ("sightings", "predicted", "path"):
                setattr(self, name, grown(getattr(self, name), view.capacity))
        self.sightings[view.born] = self.predicted[view.born] = 0
        self.path[view.born] = 0.0
        self.sightings[view.slot] += 1
        self.predicted[view.slot] += view.predicted
        if self._steps.due(view):
            self._walk(view)

    def _walk(self, view: View) -> None:
        rows = self._steps.take(view, self._least_px)
        slots = view.slot[rows]
        begins, ends = self._steps.from_px[slots], view.anchor[rows]
        if self._plane is not None:
            begins, ends = self._plane.to_world(begins), self._plane.to_world(ends)
        way = ends - begins
        length = np.hypot(way[:, 0], way[:, 1])
        self.path[slots] += np.where(np.isfinite(length), length, 0.0)
        self._steps.end(view, rows)
