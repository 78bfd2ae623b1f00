"""How fast boxes become wrong in a scene, told by a tracker's own results: those of now against earlier ones."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.core.arrays import Float64Array, FloatArray
from pipeline.core.motion import TrackMotion
from pipeline.core.tracks import Tracks

DELAYS_S = (0.04, 0.08, 0.12, 0.16, 0.24, 0.32, 0.48, 0.64, 1.0, 1.5)
"""Delays that are looked for; between those found it is interpolated, and beyond the last nothing gets worse."""
_NEAR = 0.3
"""A result counts for a delay where it is off by less than this share of it."""
_THRESHOLDS = np.arange(0.5, 1.0, 0.05)
"""Those of COCO's AP."""
_FOLLOWED_IOU = 0.3
"""What overlaps by less from one detection to the next, a tracker takes for something else."""
REMEMBERED = 64
"""Comparisons per delay that are looked back on."""


@dataclass(frozen=True, slots=True)
class _Result:
    at_s: float
    tracks: Tracks
    motion: TrackMotion | None


@dataclass(frozen=True, slots=True)
class _Compared:
    """Boxes that still count, and boxes that a tracker would know again, of so many, after a delay."""

    delay_s: float
    kept: float
    followed: int
    of: int


class Decay:
    """Share of boxes that still count after a delay.

    A box of an earlier result counts at a threshold where the box of the same track overlaps it now by at least that
    IoU. Tracks that have come or gone meanwhile count as wrong. The share is the mean over the ten thresholds of COCO's
    AP and over all boxes. Both sides are estimates, so that jitter is in it too, about the same at all delays.

    Args:
        moved: earlier boxes are moved on by their motion first, as a run does that makes up for latency.
    """

    def __init__(self, *, moved: bool = False) -> None:
        self._moved = moved
        self._results: dict[str, deque[_Result]] = {}
        self._compared: dict[float, deque[_Compared]] = {delay: deque(maxlen=REMEMBERED) for delay in DELAYS_S}

    def add(self, source_id: str, at_s: float, tracks: Tracks, motion: TrackMotion | None, *, compare: bool) -> None:
        """Take the tracks of a detected frame.

        Args:
            source_id: results of one source are compared with each other.
            at_s: when the frame was captured (s).
            tracks: its tracks.
            motion: how they move, or None.
            compare: hold them against earlier ones too; this is what costs time.
        """
        results = self._results.setdefault(source_id, deque())
        if results and at_s <= results[-1].at_s:
            results.clear()
        while results and at_s - results[0].at_s > DELAYS_S[-1] * (1 + _NEAR):
            results.popleft()
        if compare and results:
            self._compare(results, at_s, tracks)
        results.append(_Result(at_s, tracks, motion))

    def forget(self, source_id: str) -> None:
        """Nothing of the source has to do with what comes."""
        self._results.pop(source_id, None)

    def kept(self, delay_s: Float64Array) -> Float64Array:
        """Share of boxes that still count after each delay (s); 1 where nothing was compared yet."""
        return self._after(delay_s, "kept")

    def followed(self, interval_s: Float64Array) -> Float64Array:
        """Share of boxes that a tracker knows again where detections are so far apart (s), as `kept`."""
        return self._after(interval_s, "followed")

    def _after(self, delay_s: Float64Array, what: Literal["kept", "followed"]) -> Float64Array:
        at, share = [0.0], [1.0]
        for compared in self._compared.values():
            n = sum(one.of for one in compared)
            if n:
                at.append(sum(one.delay_s for one in compared) / len(compared))
                share.append(sum(getattr(one, what) for one in compared) / n)
        # One delay after the other: what is older is not better.
        order = np.argsort(at)
        return np.interp(delay_s, np.array(at)[order], np.minimum.accumulate(np.array(share)[order]))

    def _compare(self, results: deque[_Result], at_s: float, now: Tracks) -> None:
        ages = at_s - np.array([result.at_s for result in results])
        for delay, compared in self._compared.items():
            nearest = int(np.abs(ages - delay).argmin())
            if abs(ages[nearest] - delay) < _NEAR * delay:
                then, age_s = results[nearest], float(ages[nearest])
                iou = self._overlaps(then, age_s, now)
                kept = float((iou[:, None] >= _THRESHOLDS).mean(1).sum())
                n = max(len(now), len(then.tracks))
                compared.append(_Compared(age_s, kept, int((iou >= _FOLLOWED_IOU).sum()), n))

    def _overlaps(self, then: _Result, age_s: float, now: Tracks) -> FloatArray:
        """IoU of the tracks that are there then and now."""
        _, rows_then, rows_now = np.intersect1d(
            then.tracks.track_id, now.track_id, assume_unique=True, return_indices=True
        )
        boxes = then.tracks.xyxy
        if self._moved and then.motion is not None:
            boxes = then.motion.moved(boxes, age_s)
        return _iou(boxes[rows_then], now.xyxy[rows_now])


def _iou(a: FloatArray, b: FloatArray) -> FloatArray:
    """IoU row by row, float32 (m,)."""
    size = np.maximum(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0)
    both = size.prod(1)
    either = (a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - both
    iou: FloatArray = both / np.maximum(either, np.finfo(np.float32).tiny)
    return iou
