"""How much new boxes are like objects that were in view a short while ago."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pipeline.core.arrays import Float64Array, FloatArray, IntArray
from pipeline.core.boxes import iou_matrix

WINDOW_S = 0.3
"""An object's velocity is that of its last sightings, this long (s)."""

LEAST_LIKENESS = 0.1
FULL_GAP_S = 1.0
"""After a gap this long or longer, the likeness must be `min_iou`; after a shorter one, less in proportion."""

Seen = tuple[float, IntArray, FloatArray]
"""A frame's time (s), the slots of its objects int64 (m,), and their boxes xyxy float32 (m, 4) px."""


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


def alike(
    time_s: float, xyxy: FloatArray, class_id: IntArray, vanished: Vanished, seen: Iterable[Seen], min_iou: float
) -> list[tuple[float, int, int]]:
    """Pairs that may be one object, as `Stitcher` says.

    Args:
        time_s: now (s).
        xyxy: float32 (n, 4) px: the new boxes.
        class_id: int64 (n,): their classes.
        vanished: whom they may be.
        seen: the frames of the last while, in order.
        min_iou: least likeness after a second.

    Returns:
        Likeness, row of the new boxes, number of the vanished.
    """
    new, last = xyxy.astype(np.float64), vanished.xyxy.astype(np.float64)
    moved = last + np.tile(_velocity_px_s(vanished, seen) * (time_s - vanished.last_s)[:, None], 2)
    likeness = np.maximum(iou_matrix(new, moved), iou_matrix(new, last))
    likeness *= _ratios(new[:, 2:] - new[:, :2], last[:, 2:] - last[:, :2])
    gap_s = np.minimum(time_s - vanished.last_s, FULL_GAP_S)
    enough = likeness >= np.maximum(min_iou * gap_s / FULL_GAP_S, LEAST_LIKENESS)
    rows, numbers = np.nonzero(enough & (class_id[:, None] == vanished.class_id))
    return list(zip(likeness[rows, numbers].tolist(), rows.tolist(), numbers.tolist(), strict=True))


def _velocity_px_s(vanished: Vanished, seen: Iterable[Seen]) -> Float64Array:
    """float64 (k, 2): least-squares velocity of the boxes' centres in the window before each vanished."""
    k = len(vanished.slot)
    since_s = np.maximum(vanished.last_s - WINDOW_S, vanished.first_s)
    earliest_s = since_s.min()
    frames = [frame for frame in seen if frame[0] >= earliest_s and len(frame[1])]
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


def _ratios(a: Float64Array, b: Float64Array) -> Float64Array:
    """Products of the ratios of widths and of heights, smaller by larger: sizes (n, 2) and (k, 2) to (n, k)."""
    small, large = np.minimum(a[:, None], b), np.maximum(a[:, None], b)
    small, large = small[..., 0] * small[..., 1], large[..., 0] * large[..., 1]
    ratios: Float64Array = np.divide(small, large, out=np.zeros_like(small), where=large > 0)
    return ratios
