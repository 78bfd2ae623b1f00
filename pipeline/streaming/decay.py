"""How fast boxes become wrong in a scene, by how its tracks move."""

from __future__ import annotations

from collections import deque

import numpy as np

from pipeline.core.arrays import Float64Array, FloatArray
from pipeline.core.motion import TrackMotion

DELAYS_S = np.array([0.0, 0.033, 0.067, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.2, 2.0])
"""Delays that are looked at; between them it is interpolated, and beyond the last nothing gets worse."""
_THRESHOLDS = np.arange(0.5, 1.0, 0.05)
"""Those of COCO's AP."""
REMEMBERED = 64
"""Frames that are looked back on."""


class Decay:
    """Share of boxes that still count after a delay, where nothing makes up for it.

    A box still counts at a threshold where it overlaps itself, moved on by its velocity, by at least that IoU; the
    share is the mean over the ten thresholds of COCO's AP and over all boxes.
    """

    def __init__(self) -> None:
        self._kept: deque[tuple[Float64Array, int]] = deque(maxlen=REMEMBERED)

    def add(self, xyxy: FloatArray, motion: TrackMotion) -> None:
        """Take the tracks of a frame: float32 (m, 4) px, and how they move, row by row."""
        if len(xyxy):
            kept = [_kept(_iou(xyxy, motion.moved(xyxy, float(delay_s)))) for delay_s in DELAYS_S]
            self._kept.append((np.array(kept), len(xyxy)))

    def kept(self, delay_s: Float64Array) -> Float64Array:
        """Share of boxes that still count after each delay (s); 1 where no track was seen lately."""
        n = sum(count for _, count in self._kept)
        if not n:
            return np.ones_like(delay_s)
        mean = sum((kept for kept, _ in self._kept), np.zeros(len(DELAYS_S))) / n
        return np.interp(delay_s, DELAYS_S, mean)


def _kept(iou: FloatArray) -> float:
    """Sum over boxes of the share of thresholds that they reach."""
    return float((iou[:, None] >= _THRESHOLDS).mean(1).sum())


def _iou(a: FloatArray, b: FloatArray) -> FloatArray:
    """IoU row by row, float32 (m,)."""
    size = np.maximum(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0)
    both = size.prod(1)
    either = (a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - both
    iou: FloatArray = both / np.maximum(either, np.finfo(np.float32).tiny)
    return iou
