"""Where objects were, and how they moved, on a grid."""

from __future__ import annotations

import numpy as np

from pipeline.analytics.config import HeatmapConfig
from pipeline.analytics.geometry import Placement
from pipeline.analytics.steps import Steps
from pipeline.analytics.view import View
from pipeline.core.arrays import BoolArray, Float64Array, FloatArray, IntArray
from pipeline.core.class_names import class_ids
from pipeline.core.scene import Heatmap

_LONGEST_S = 1.0
"""Most time that one sighting stands for (s): nobody knows who stood where while no frames came."""


class HeatmapGrid:
    """Gathers presence and flow of one source.

    Up to ten times a second, every object in the frame adds the time that has passed to the cell of its anchor point;
    predicted boxes count as well.
    Flow is told by steps of half a cell or more that took a second at most: what stands adds nothing to it, however
    much its box trembles.

    Args:
        config: the grid.
        class_names: names by class_id.

    Attributes:
        presence: float32 (rows, columns): seconds by cell. It goes on changing.
    """

    def __init__(self, config: HeatmapConfig, class_names: tuple[str, ...]) -> None:
        self._columns = config.columns
        self._class_ids = np.array(class_ids(config.classes, class_names), np.int64)
        self._placement = Placement("px")
        self._steps = Steps()
        self._cell_px = 1.0
        self._passed_s = 0.0
        self.presence: FloatArray = np.zeros((0, config.columns), np.float32)
        # In float32, weeks of presence would not grow by one frame's time any more.
        self._presence_s = np.zeros(0)
        self._moved_px = np.zeros((0, 2))
        self._moved_s = np.zeros(0)

    def place(self, shape_hw: tuple[int, int]) -> None:
        """Lay the grid over pictures of this size. Before the first view, and when the size changes.

        A picture of another shape has another number of rows: rows that it lacks are lost, new ones begin empty.
        """
        factors = self._placement.move_to(shape_hw)
        self._steps.scale(factors)
        self._moved_px *= factors
        height, width = shape_hw
        self._cell_px = width / self._columns
        n = max(int(np.ceil(height / self._cell_px)), 1) * self._columns
        for name in ("_presence_s", "_moved_px", "_moved_s"):
            before = getattr(self, name)
            after = np.zeros((n, *before.shape[1:]))
            after[: len(before)] = before[:n]
            setattr(self, name, after)
        self.presence = self._presence_s.reshape(-1, self._columns).astype(np.float32)

    def update(self, view: View) -> None:
        """Take the next frame."""
        self._passed_s += min(view.dt_s, _LONGEST_S)
        if not self._steps.due(view):
            return
        passed_s, self._passed_s = self._passed_s, 0.0
        counts = self._counts(view.class_id)
        moved = self._steps.take(view, self._cell_px / 2)
        if len(moved):
            self._flow(view, moved[counts[moved]])
            self._steps.end(view, moved)
        cells = self._cells(view.anchor[counts])
        np.add.at(self._presence_s, cells, passed_s)
        self.presence.reshape(-1)[cells] = self._presence_s[cells]

    def _flow(self, view: View, rows: IntArray) -> None:
        slots = view.slot[rows]
        took_s = view.time_s - self._steps.from_s[slots]
        quick = (took_s > 0) & (took_s <= _LONGEST_S)
        way = view.anchor[rows] - self._steps.from_px[slots]
        cells = self._cells(view.anchor[rows] - way / 2)[quick]
        np.add.at(self._moved_px, cells, way[quick])
        np.add.at(self._moved_s, cells, took_s[quick])

    def _counts(self, class_id: IntArray) -> BoolArray:
        if not len(self._class_ids):
            return np.ones(len(class_id), bool)
        return np.asarray(np.isin(class_id, self._class_ids))

    def _cells(self, points_px: Float64Array) -> IntArray:
        """Numbers of the cells of points (k, 2); the nearest cell of one outside the picture."""
        cells = (points_px / self._cell_px).astype(np.int64)
        np.maximum(cells, 0, out=cells)
        np.minimum(cells, [self._columns - 1, len(self.presence) - 1], out=cells)
        return np.asarray(cells[:, 1] * self._columns + cells[:, 0])

    def result(self) -> Heatmap:
        """Presence and flow so far."""
        flow = np.divide(
            self._moved_px, self._moved_s[:, None], out=np.zeros_like(self._moved_px), where=self._moved_s[:, None] > 0
        )
        return Heatmap(self._cell_px, self.presence.copy(), flow.reshape(*self.presence.shape, 2).astype(np.float32))
