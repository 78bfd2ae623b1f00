"""How fast boxes become wrong in a scene, told by a tracker's own results: those of now against earlier ones."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from pipeline.core.arrays import Float64Array, FloatArray
from pipeline.core.motion import TrackMotion
from pipeline.core.result import FrameResult
from pipeline.core.tracks import Tracks

DELAYS_S = (0.04, 0.08, 0.12, 0.16, 0.24, 0.32, 0.48, 0.64, 1.0, 1.5)
"""Delays that are looked for; between those found it is interpolated, and beyond the last nothing gets worse."""
_NEAR = 0.3
"""A result counts for a delay where it is off by less than this share of it."""
_THRESHOLDS = np.arange(0.5, 1.0, 0.05)
"""Those of COCO's AP."""
REMEMBERED = 64
"""Comparisons per delay that are looked back on."""
SURE = 0.6
"""Detections from this confidence on are there to be found: the score with which ByteTrack begins a track."""


@dataclass(frozen=True, slots=True)
class _Result:
    at_s: float
    tracks: Tracks
    motion: TrackMotion | None


@dataclass(frozen=True, slots=True)
class _Compared:
    """Boxes that still count, of so many, after a delay."""

    delay_s: float
    kept: float
    of: int


class Decay:
    """Share of AP that is left after a delay, in two ways.

    A box of an earlier result counts at a threshold where a box of now overlaps it by at least that IoU; the share is
    the mean over the ten thresholds of COCO's AP and over all boxes. Tracks that have come or gone meanwhile are wrong.

    `kept` compares with the box of the same track: what the motion of the scene costs. `found` compares with whatever
    the detector is sure of now, which is less where the tracker cannot keep up: what a viewer loses with the frames as
    far apart as they are.

    Args:
        moved: earlier boxes are moved on by their motion first, as a run does that makes up for latency.
    """

    def __init__(self, *, moved: bool = False) -> None:
        self._moved = moved
        self._results: dict[str, deque[_Result]] = {}
        self._kept = _Shares()
        self._found = _Shares()

    def add(self, source_id: str, at_s: float, result: FrameResult, *, compare: bool) -> None:
        """Take a detected and tracked frame.

        Args:
            source_id: results of one source are compared with each other.
            at_s: when the frame was captured (s).
            result: its tracks, how they move, and its detections.
            compare: hold them against earlier ones too; this is what costs time.
        """
        results = self._results.setdefault(source_id, deque())
        if results and at_s <= results[-1].at_s:
            results.clear()
        while results and at_s - results[0].at_s > DELAYS_S[-1] * (1 + _NEAR):
            results.popleft()
        if compare and results:
            self._compare(results, at_s, result)
        results.append(_Result(at_s, result.tracks, result.motion))

    def forget(self, source_id: str) -> None:
        """Nothing of the source has to do with what comes."""
        self._results.pop(source_id, None)

    def forget_found(self) -> None:
        """Another detector from now on."""
        self._found = _Shares()
        self._results.clear()

    def kept(self, delay_s: Float64Array) -> Float64Array:
        """What the motion of the scene leaves after each delay (s); 1 where nothing was compared yet."""
        return self._kept.after(delay_s)

    def found(self, delay_s: Float64Array) -> Float64Array:
        """What a viewer has left after each delay (s); 1 where nothing was compared yet."""
        return self._found.after(delay_s)

    def _compare(self, results: deque[_Result], at_s: float, now: FrameResult) -> None:
        ages = at_s - np.array([result.at_s for result in results])
        detections = now.detections.select(now.detections.confidence >= SURE)
        for delay in DELAYS_S:
            nearest = int(np.abs(ages - delay).argmin())
            age_s = float(ages[nearest])
            if abs(age_s - delay) >= _NEAR * delay:
                continue
            then = results[nearest]
            boxes = then.tracks.xyxy
            if self._moved and then.motion is not None:
                boxes = then.motion.moved(boxes, age_s)
            _, rows_then, rows_now = np.intersect1d(
                then.tracks.track_id, now.tracks.track_id, assume_unique=True, return_indices=True
            )
            same = _iou(boxes[rows_then], now.tracks.xyxy[rows_now])
            self._kept.add(delay, age_s, same, max(len(now.tracks), len(boxes)))
            overlaps = _iou(boxes[:, None], detections.xyxy[None])
            overlaps[then.tracks.class_id[:, None] != detections.class_id] = 0
            best = overlaps.max(1, initial=0)
            self._found.add(delay, age_s, best, max(len(detections), len(boxes)))


class _Shares:
    """Shares of boxes that reach the thresholds, by delay."""

    def __init__(self) -> None:
        self._compared: dict[float, deque[_Compared]] = {delay: deque(maxlen=REMEMBERED) for delay in DELAYS_S}

    def add(self, delay: float, age_s: float, iou: FloatArray, n: int) -> None:
        """Boxes that overlap by `iou`, float32 (k,), of n."""
        self._compared[delay].append(_Compared(age_s, float((iou[:, None] >= _THRESHOLDS).mean(1).sum()), n))

    def after(self, delay_s: Float64Array) -> Float64Array:
        at, share = [0.0], [1.0]
        for compared in self._compared.values():
            n = sum(one.of for one in compared)
            if n:
                at.append(sum(one.delay_s for one in compared) / len(compared))
                share.append(sum(one.kept for one in compared) / n)
        # One delay after the other: what is older is not better.
        order = np.argsort(at)
        return np.interp(delay_s, np.array(at)[order], np.minimum.accumulate(np.array(share)[order]))


def _iou(a: FloatArray, b: FloatArray) -> FloatArray:
    """IoU of boxes (..., 4), float32."""
    size = np.maximum(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0)
    both = size.prod(-1)
    either = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - both
    iou: FloatArray = both / np.maximum(either, np.finfo(np.float32).tiny)
    return iou
