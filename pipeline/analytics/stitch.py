"""Which new tracks go on where a track broke off."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from pipeline.analytics.config import StitchConfig
from pipeline.core.arrays import Float64Array, FloatArray, IntArray
from pipeline.core.boxes import iou_matrix

WINDOW_S = 0.3
"""An object's velocity is that of its last sightings, this long (s)."""

LEAST_LIKENESS = 0.1
FULL_GAP_S = 1.0
"""After a gap this long or longer, the likeness must be `min_iou`; after a shorter one, less in proportion."""


@dataclass(frozen=True, slots=True, eq=False)
class Vanished:
    """Objects that were in view a short while ago and are not now.

    Attributes:
        slot: int64 (k,).
        class_id: int64 (k,).
        xyxy: float32 (k, 4) px: boxes at the last sighting.
        first_s: float64 (k,): first sighting (s).
        last_s: float64 (k,): last sighting (s).
    """

    slot: IntArray
    class_id: IntArray
    xyxy: FloatArray
    first_s: Float64Array
    last_s: Float64Array


class Stitcher:
    """Remembers how objects moved, and finds the new box that each vanished one may have become.

    The likeness of a new box and a vanished object of its class is how much the box overlaps (IoU) with the object's
    last box, or with that box moved on at the object's velocity, whichever is more; times the ratio of their heights
    and that of their widths, smaller by larger. It must be `min_iou` after a gap of a second or more, less in
    proportion after a shorter one, and 0.1 at the least: the longer the gap, the more likely that somebody else came.
    The most alike go first; each box and each object goes into one pair at most.

    Args:
        config: longest gap, least overlap.
    """

    def __init__(self, config: StitchConfig) -> None:
        self._gap_s = config.gap_s
        self._min_iou = config.min_iou
        self._seen: deque[tuple[float, IntArray, FloatArray]] = deque()

    def remember(self, time_s: float, slot: IntArray, xyxy: FloatArray) -> None:
        """Take the boxes of a frame: slot int64 (m,), xyxy float32 (m, 4) px. Nobody may change them any more."""
        self._seen.append((time_s, slot, xyxy))
        while self._seen[0][0] < time_s - self._gap_s - WINDOW_S:
            self._seen.popleft()

    def forget(self) -> None:
        """What was seen is of no use any more: the pictures have another size."""
        self._seen.clear()

    def match(self, time_s: float, xyxy: FloatArray, class_id: IntArray, vanished: Vanished) -> list[tuple[int, int]]:
        """Pairs of a row of the new boxes, xyxy float32 (n, 4) px with class_id int64 (n,), and a slot."""
        moved = vanished.xyxy.astype(np.float64)
        moved += np.tile(self._velocity_px_s(vanished) * (time_s - vanished.last_s)[:, None], 2)
        likeness = np.maximum(iou_matrix(xyxy, moved), iou_matrix(xyxy, vanished.xyxy))
        likeness *= _ratios(xyxy[:, 2:] - xyxy[:, :2], vanished.xyxy[:, 2:] - vanished.xyxy[:, :2])
        gap_s = np.minimum(time_s - vanished.last_s, FULL_GAP_S)
        enough = likeness >= np.maximum(self._min_iou * gap_s / FULL_GAP_S, LEAST_LIKENESS)
        rows, columns = np.nonzero(enough & (class_id[:, None] == vanished.class_id))
        pairs: list[tuple[int, int]] = []
        rows_left, columns_left = set(rows.tolist()), set(columns.tolist())
        for pair in np.argsort(-likeness[rows, columns], kind="stable").tolist():
            row, column = int(rows[pair]), int(columns[pair])
            if row in rows_left and column in columns_left:
                rows_left.remove(row)
                columns_left.remove(column)
                pairs.append((row, int(vanished.slot[column])))
        return pairs

    def _velocity_px_s(self, vanished: Vanished) -> Float64Array:
        """float64 (k, 2): least-squares velocity of the boxes' centres in the window before each vanished."""
        k = len(vanished.slot)
        since_s = np.maximum(vanished.last_s - WINDOW_S, vanished.first_s)
        earliest_s = since_s.min()
        frames = [seen for seen in self._seen if seen[0] >= earliest_s and len(seen[1])]
        if not frames:
            return np.zeros((k, 2))
        slot = np.concatenate([slots for _, slots, _ in frames])
        time_s = np.repeat([time for time, _, _ in frames], [len(slots) for _, slots, _ in frames])
        xyxy = np.concatenate([boxes for _, _, boxes in frames]).astype(np.float64)
        column_of = np.full(max(slot.max(), vanished.slot.max()) + 1, -1)
        column_of[vanished.slot] = np.arange(k)
        column = column_of[slot]
        wanted = (column >= 0) & (time_s >= since_s[column])
        column, xyxy = column[wanted], xyxy[wanted]
        t = time_s[wanted] - vanished.last_s[column]
        n = np.maximum(np.bincount(column, minlength=k), 1)
        t -= (np.bincount(column, t, k) / n)[column]
        spread = np.bincount(column, t * t, k)
        centre = (xyxy[:, :2] + xyxy[:, 2:]) / 2
        rise = np.stack([np.bincount(column, t * centre[:, axis], k) for axis in (0, 1)], axis=1)
        return np.divide(rise, spread[:, None], out=np.zeros((k, 2)), where=spread[:, None] > 0)


def _ratios(a: FloatArray, b: FloatArray) -> FloatArray:
    """Products of the ratios of widths and of heights, smaller by larger: sizes (n, 2) and (k, 2) to (n, k)."""
    small = np.minimum(a[:, None], b).prod(axis=2)
    large = np.maximum(a[:, None], b).prod(axis=2)
    ratios: FloatArray = np.divide(small, large, out=np.zeros_like(small), where=large > 0)
    return ratios
