"""Which detection continues which track: overlap costs and the assignment of least total cost."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import lap
import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import ShapeError
from tracker.kalman import RealArray

NEVER = 2.0
"""Cost of a pair that must not match; every real cost is at most 1."""

Rows = NDArray[np.int64]


class MatchRule(NamedTuple):
    """What one association stage asks for.

    Attributes:
        max_cost: pairs with a higher cost never match.
        fuse_score: cost is 1 - IoU * score instead of 1 - IoU.
        per_class: pairs of different classes never match.
        extent_px: see `iou_cost`.
    """

    max_cost: float
    fuse_score: bool
    per_class: bool
    extent_px: float


class Assignment(NamedTuple):
    """Who matched whom.

    Attributes:
        tracks: int64 (k,), rows of the cost matrix that matched, ascending.
        detections: int64 (k,), the column of each of them.
    """

    tracks: Rows
    detections: Rows


def iou_cost(a: RealArray, b: RealArray, extent_px: float) -> RealArray:
    """1 - IoU of every pair of the boxes (n, 4) and (m, 4) in xyxy px, (n, m) in [0, 1].

    Args:
        a: (n, 4) float64.
        b: (m, 4) float64.
        extent_px: 0: corners are points of the plane. 1: corners are pixel indices and both belong to the box, as in
            ByteTrack's code; boxes that only touch then overlap.
    """
    width = np.minimum(a[:, None, 2], b[:, 2]) - np.maximum(a[:, None, 0], b[:, 0]) + extent_px
    height = np.minimum(a[:, None, 3], b[:, 3]) - np.maximum(a[:, None, 1], b[:, 1]) + extent_px
    intersection = np.maximum(width, 0) * np.maximum(height, 0)
    area_a = (a[:, 2] - a[:, 0] + extent_px) * (a[:, 3] - a[:, 1] + extent_px)
    area_b = (b[:, 2] - b[:, 0] + extent_px) * (b[:, 3] - b[:, 1] + extent_px)
    union = area_a[:, None] + area_b[None, :] - intersection
    return np.asarray(1 - np.divide(intersection, union, out=np.zeros_like(intersection), where=intersection > 0))


def fuse_score(cost: RealArray, score: RealArray) -> RealArray:
    """1 - IoU * score from the cost 1 - IoU (n, m) and the detections' scores (m,), (n, m) in [0, 1].

    Source: ByteTrack's code; the paper (arXiv 2110.06864) does not mention it.
    """
    return np.asarray(1 - (1 - cost) * score[None, :])


def associate(cost: RealArray, max_cost: float) -> Assignment:
    """Match tracks to detections with minimum total cost.

    Args:
        cost: (n, m) float64; n or m may be 0. Not modified.
        max_cost: pairs with a higher cost are left unmatched.

    Raises:
        ShapeError: cost is not two-dimensional.

    Source: ByteTrack (arXiv 2110.06864), section 3.
    """
    if cost.ndim != 2:
        raise ShapeError(f"associate: wanted a cost matrix (n, m), found shape {cost.shape}")
    allowed = cost <= max_cost
    partner = np.full(len(cost), -1, np.int64)
    # A pair that has only each other needs no search.
    alone = allowed & (allowed.sum(axis=1, keepdims=True) == 1) & (allowed.sum(axis=0) == 1)
    rows, columns = np.nonzero(alone)
    partner[rows] = columns
    for rows, columns in blocks(allowed & ~alone):
        part = np.ix_(rows, columns)
        found = solve(np.where(allowed[part], cost[part], NEVER), max_cost)
        partner[rows] = np.where(found >= 0, columns[found], -1)
    tracks = np.flatnonzero(partner >= 0)
    return Assignment(tracks, partner[tracks])


def blocks(allowed: NDArray[np.bool_]) -> list[tuple[Rows, Rows]]:
    """The parts of `allowed` (n, m) that share no row or column: rows and columns of each, ascending.

    Rows and columns without a pair are in none.
    """
    columns_of: dict[int, set[int]] = defaultdict(set)
    rows_of: dict[int, set[int]] = defaultdict(set)
    for row, column in np.argwhere(allowed).tolist():
        columns_of[row].add(column)
        rows_of[column].add(row)
    found, seen = [], set[int]()
    for first in columns_of:
        if first in seen:
            continue
        rows, columns, ahead = set[int](), set[int](), {first}
        while ahead:
            rows |= ahead
            reached = set[int]().union(*(columns_of[row] for row in ahead)) - columns
            columns |= reached
            ahead = set[int]().union(*(rows_of[column] for column in reached)) - rows
        seen |= rows
        found.append((np.array(sorted(rows)), np.array(sorted(columns))))
    return found


def solve(cost: RealArray, max_cost: float) -> Rows:
    """The column matched to each row of `cost` (n, m), or -1: least total cost, none above `max_cost`; n, m >= 1."""
    _, found, _ = lap.lapjv(cost, extend_cost=True, cost_limit=max_cost)
    return np.asarray(found, np.int64)
