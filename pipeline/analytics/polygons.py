"""Which points lie in which polygons, and how far off: all points against all polygons at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.core.arrays import BoolArray, Float64Array, IntArray


class Polygons:
    """Several polygons.

    A point is inside if a ray from it to the right meets the outline an odd number of times (even-odd rule). The
    left and upper parts of the outline belong to the polygon, the right and lower ones don't: of two polygons that
    share an edge from corner to corner, exactly one has each point of it.

    Args:
        corners: float64 (k, 2) by polygon, k >= 3: x, y of the corners in order, either way round.
    """

    def __init__(self, corners: Sequence[Float64Array]) -> None:
        self._n = len(corners)
        if not corners:
            return
        begins = np.concatenate(corners)
        ends = np.concatenate([np.roll(polygon, -1, axis=0) for polygon in corners])
        self._first_edge = np.cumsum([0, *(len(polygon) for polygon in corners[:-1])])
        # Edges run downwards, so that a neighbour's shared edge gives the very same crossing, to the last bit.
        up = (begins[:, 1] > ends[:, 1])[:, None]
        upper, lower = np.where(up, ends, begins), np.where(up, begins, ends)
        self._upper, self._along = upper, lower - upper
        self._x, self._top, self._bottom = upper[:, 0].copy(), upper[:, 1].copy(), lower[:, 1].copy()
        height = self._along[:, 1]
        level = height == 0
        self._slope = np.where(level, 0.0, self._along[:, 0] / np.where(level, 1.0, height))
        length_2 = (self._along**2).sum(axis=1)
        self._length_2 = np.where(length_2 > 0, length_2, 1.0)
        # Edges by polygon, those with fewer filled up with their last one, which changes no minimum.
        n_edges = np.array([len(polygon) for polygon in corners])
        nth = np.minimum(np.arange(n_edges.max()), n_edges[:, None] - 1)
        self._edges_of = self._first_edge[:, None] + nth

    def contain(self, points: Float64Array) -> BoolArray:
        """Which points lie in which polygons.

        Args:
            points: float64 (m, 2), x, y.

        Returns:
            bool (m, number of polygons).
        """
        if not self._n or not len(points):
            return np.zeros((len(points), self._n), bool)
        x, y = points[:, :1], points[:, 1:]
        meets = self._top <= y
        meets &= y < self._bottom
        meets &= x < self._x + (y - self._top) * self._slope
        inside: BoolArray = np.bitwise_xor.reduceat(meets, self._first_edge, axis=1)
        return inside

    def distance(self, points: Float64Array, polygon: IntArray) -> Float64Array:
        """How far points lie from outlines, also from inside.

        Args:
            points: float64 (m, 2), x, y.
            polygon: int64 (m,): which polygon's outline, for each point.

        Returns:
            float64 (m,), 0 or more.
        """
        edges = self._edges_of[polygon]
        along = self._along[edges]
        off = points[:, None] - self._upper[edges]
        share = np.einsum("mkx,mkx->mk", off, along) / self._length_2[edges]
        np.minimum(np.maximum(share, 0.0, out=share), 1.0, out=share)
        off -= share[:, :, None] * along
        nearest: Float64Array = np.sqrt(np.einsum("mkx,mkx->mk", off, off).min(axis=1))
        return nearest
