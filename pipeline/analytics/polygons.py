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

    Attributes:
        first_edge: int64 (polygons,): each polygon's first edge. Its others follow. Edges run downwards, so that a
            neighbour's shared edge gives the very same crossing, to the last bit.
        upper: float64 (edges, 2): where an edge begins, x, y.
        bottom: float64 (edges,): y of its end.
        along: float64 (edges, 2): from its beginning to its end.
        slope: float64 (edges,): change of x by y; 0 of a level edge, which no ray meets.
        length_2: float64 (edges,): its length squared; 1 where it has none.
    """

    def __init__(self, corners: Sequence[Float64Array]) -> None:
        self._n = len(corners)
        begins = np.concatenate([np.zeros((0, 2)), *corners])
        ends = np.concatenate([np.zeros((0, 2)), *(np.roll(polygon, -1, axis=0) for polygon in corners)])
        n_edges = np.array([len(polygon) for polygon in corners], np.int64)
        self.first_edge: IntArray = np.cumsum(n_edges) - n_edges
        up = (begins[:, 1] > ends[:, 1])[:, None]
        self.upper, lower = np.where(up, ends, begins), np.where(up, begins, ends)
        self.along = lower - self.upper
        self._x, self._top, self.bottom = self.upper[:, 0].copy(), self.upper[:, 1].copy(), lower[:, 1].copy()
        height = self.along[:, 1]
        level = height == 0
        self.slope = np.where(level, 0.0, self.along[:, 0] / np.where(level, 1.0, height))
        length_2 = (self.along**2).sum(axis=1)
        self.length_2 = np.where(length_2 > 0, length_2, 1.0)
        # Edges by polygon, those with fewer filled up with their last one, which changes no minimum.
        nth = np.minimum(np.arange(n_edges.max(initial=0)), n_edges[:, None] - 1)
        self._edges_of = self.first_edge[:, None] + nth

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
        meets &= y < self.bottom
        meets &= x < self._x + (y - self._top) * self.slope
        inside: BoolArray = np.bitwise_xor.reduceat(meets, self.first_edge, axis=1)
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
        along = self.along[edges]
        off = points[:, None] - self.upper[edges]
        share = (off[..., 0] * along[..., 0] + off[..., 1] * along[..., 1]) / self.length_2[edges]
        np.minimum(np.maximum(share, 0.0, out=share), 1.0, out=share)
        off -= share[:, :, None] * along
        off *= off
        nearest: Float64Array = np.sqrt((off[..., 0] + off[..., 1]).min(axis=1))
        return nearest
