"""Real motion of objects, told apart from boxes that tremble."""

from __future__ import annotations

import numpy as np

from pipeline.analytics.slots import grown
from pipeline.analytics.view import View
from pipeline.core.arrays import Float64Array, IntArray

PER_S = 10.0
"""How often places are looked at; in between, nothing walks far."""


class Steps:
    """Cuts each object's way into steps: from the end of its last step to the first place that is far enough.

    Attributes:
        from_px: float64 (capacity, 2), by slot: where the object's last step ended (px).
        from_s: float64 (capacity,): when (s).
    """

    def __init__(self) -> None:
        self.from_px = np.zeros((0, 2))
        self.from_s = np.zeros(0)
        self._looked_s = -np.inf

    def due(self, view: View) -> bool:
        """Meet the objects that are new in this frame. True where it is time to look at the places of all."""
        if view.capacity > len(self.from_s):
            self.from_px, self.from_s = grown(self.from_px, view.capacity), grown(self.from_s, view.capacity)
        if len(view.born):
            self.end(view, np.isin(view.slot, view.born).nonzero()[0])
        if view.time_s - self._looked_s < 1 / PER_S - 1e-9:
            return False
        self._looked_s = view.time_s
        return True

    def scale(self, factors: Float64Array) -> None:
        """The pictures have another size from the next one on: float64 (2,), x and y factors."""
        self.from_px *= factors

    def take(self, view: View, least_px: float) -> IntArray:
        """Rows of the view whose objects have come `least_px` or more from the end of their last step.

        The caller uses `from_px` and `from_s`, then calls `end` for them.
        """
        off = view.anchor - self.from_px[view.slot]
        off *= off
        return np.asarray((off[:, 0] + off[:, 1] >= least_px**2).nonzero()[0])

    def end(self, view: View, rows: IntArray) -> None:
        """End the steps of these rows where their objects are now."""
        self.from_px[view.slot[rows]] = view.anchor[rows]
        self.from_s[view.slot[rows]] = view.time_s
