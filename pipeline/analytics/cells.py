"""Sums of presence and motion by cell of a grid."""

from __future__ import annotations

import numpy as np

from pipeline.analytics.steps import Steps
from pipeline.analytics.view import View
from pipeline.core.arrays import BoolArray, Float64Array, FloatArray, IntArray

LONGEST_S = 1.0
"""Most time that one sighting or step stands for (s): nobody knows who was where while no frames came."""


class Cells:
    """The cells of a heat map. `HeatmapGrid` says what they gather.

    Args:
        columns: cells across the picture.

    Attributes:
        presence: float32 (rows, columns): seconds by cell. It goes on changing.
        presence_s: float64 (rows x columns,): the same. In float32, weeks of presence would not grow by one frame's
            time any more.
        moved_px: float64 (rows x columns, 2): sum of all steps through a cell, x, y (px).
        moved_s: float64 (rows x columns,): time that they took (s).
    """

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._steps = Steps()
        self._cell_px = 1.0
        self._passed_s = 0.0
        self.presence: FloatArray = np.zeros((0, columns), np.float32)
        self.presence_s = np.zeros(0)
        self.moved_px = np.zeros((0, 2))
        self.moved_s = np.zeros(0)

    def place(self, rows: int, cell_px: float, factors: Float64Array) -> None:
        """Lay the grid over pictures of another size. Rows that it lacks are lost, new ones begin empty.

        Args:
            rows: cells down the picture.
            cell_px: side of a cell (px).
            factors: float64 (2,), what carries x and y of the pictures before into these.
        """
        self._steps.scale(factors)
        self.moved_px *= factors
        self._cell_px = cell_px
        n = rows * self._columns
        for name in ("presence_s", "moved_px", "moved_s"):
            before = getattr(self, name)
            after = np.zeros((n, *before.shape[1:]))
            after[: len(before)] = before[:n]
            setattr(self, name, after)
        self.presence = self.presence_s.reshape(-1, self._columns).astype(np.float32)

    def update(self, view: View, classes: BoolArray | None) -> None:
        """Take the next frame.

        Args:
            view: the frame.
            classes: bool (classes + 1,): whether objects of a class count, the last one for classes without a name;
                None: all count.
        """
        self._passed_s += min(view.dt_s, LONGEST_S)
        if not self._steps.due(view):
            return
        passed_s, self._passed_s = self._passed_s, 0.0
        counts = _counts(view.class_id, classes)
        moved = self._steps.take(view, self._cell_px / 2)
        self._flow(view, moved[counts[moved]])
        self._steps.end(view, moved)
        cells = self._of(view.anchor[counts])
        np.add.at(self.presence_s, cells, passed_s)
        self.presence.reshape(-1)[cells] = self.presence_s[cells]

    def _flow(self, view: View, rows: IntArray) -> None:
        slots = view.slot[rows]
        took_s = view.time_s - self._steps.from_s[slots]
        quick = (took_s > 0) & (took_s <= LONGEST_S)
        way = view.anchor[rows] - self._steps.from_px[slots]
        cells = self._of(view.anchor[rows] - way / 2)[quick]
        np.add.at(self.moved_px, cells, way[quick])
        np.add.at(self.moved_s, cells, took_s[quick])

    def _of(self, points_px: Float64Array) -> IntArray:
        """Numbers of the cells of points (k, 2); the nearest cell of one outside the picture."""
        cells = (points_px / self._cell_px).astype(np.int64)
        np.maximum(cells, 0, out=cells)
        np.minimum(cells, [self._columns - 1, len(self.presence) - 1], out=cells)
        return np.asarray(cells[:, 1] * self._columns + cells[:, 0])


def _counts(class_id: IntArray, classes: BoolArray | None) -> BoolArray:
    if classes is None:
        return np.ones(len(class_id), bool)
    n = len(classes) - 1
    return np.asarray(classes[np.where(class_id < n, class_id, n)])
