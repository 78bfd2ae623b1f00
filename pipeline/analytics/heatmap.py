"""Where objects were, and how they moved, on a grid."""

from __future__ import annotations

import numpy as np

from pipeline.analytics.config import HeatmapConfig
from pipeline.analytics.geometry import Placement
from pipeline.analytics.kernels import DEFAULT, RuleKernels
from pipeline.analytics.view import View
from pipeline.core.arrays import BoolArray, FloatArray
from pipeline.core.class_names import class_ids
from pipeline.core.scene import Heatmap


class HeatmapGrid:
    """Gathers presence and flow of one source.

    Up to ten times a second, every object in the frame adds the time that has passed to the cell of its anchor point;
    predicted boxes count as well.
    Flow is told by steps of half a cell or more that took a second at most: what stands adds nothing to it, however
    much its box trembles.

    Args:
        config: the grid.
        class_names: names by class_id.
        kernels: what does the work.
    """

    def __init__(self, config: HeatmapConfig, class_names: tuple[str, ...], kernels: RuleKernels = DEFAULT) -> None:
        self._columns = config.columns
        self._placement = Placement("px")
        self._cells = kernels.Cells(config.columns)
        self._cell_px = 1.0
        self._classes: BoolArray | None = None
        if config.classes:
            self._classes = np.zeros(len(class_names) + 1, bool)
            self._classes[list(class_ids(config.classes, class_names))] = True

    @property
    def presence(self) -> FloatArray:
        """float32 (rows, columns): seconds by cell. It goes on changing."""
        return self._cells.presence

    def place(self, shape_hw: tuple[int, int]) -> None:
        """Lay the grid over pictures of this size. Before the first view, and when the size changes.

        A picture of another shape has another number of rows: rows that it lacks are lost, new ones begin empty.
        """
        height, width = shape_hw
        self._cell_px = width / self._columns
        rows = max(int(np.ceil(height / self._cell_px)), 1)
        self._cells.place(rows, self._cell_px, self._placement.move_to(shape_hw))

    def update(self, view: View) -> None:
        """Take the next frame."""
        self._cells.update(view, self._classes)

    def result(self) -> Heatmap:
        """Presence and flow so far."""
        moved_px, moved_s = self._cells.moved_px, self._cells.moved_s[:, None]
        flow = np.divide(moved_px, moved_s, out=np.zeros_like(moved_px), where=moved_s > 0)
        return Heatmap(self._cell_px, self.presence.copy(), flow.reshape(*self.presence.shape, 2).astype(np.float32))
