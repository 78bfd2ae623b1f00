"""What stood when frames arrived, against the objects that were there: one comparison, counted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.core.arrays import BoolArray, Float64Array, FloatArray, IntArray
from pipeline.core.boxes import iou_matrix
from pipeline.streaming.between import Between
from pipeline.streaming.loss_tally import BINS, Fate, LossTally, score_bins

MATCH_IOU = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """Boxes that are shown from an instant on.

    Attributes:
        at_ns: since when.
        index: number of the frame behind them.
        captured_ns: when that was captured.
        xyxy: float32 (n, 4) px, as shown.
        confidence: float32 (n,).
        class_id, track_id: int64 (n,).
    """

    at_ns: int
    index: int
    captured_ns: int
    xyxy: FloatArray
    confidence: FloatArray
    class_id: IntArray
    track_id: IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """Frames at whose arrival the same boxes stood.

    Attributes:
        index: int64 (q,), their numbers.
        arrived_ns: int64 (q,).
        xyxy: float64 (q, m, 4), where the objects were.
        present: bool (q, m), which of them were there.
    """

    index: IntArray
    arrived_ns: IntArray
    xyxy: Float64Array
    present: BoolArray


def count_missed(tally: LossTally, asked: Asked) -> None:
    """Count frames at whose arrival nothing had been shown."""
    tally.frames += len(asked.index)
    tally.missed_frames += len(asked.index)
    tally.objects += float(asked.present.sum())


def count_standing(
    tally: LossTally, boxes: Standing, between: Between, asked: Asked, first_said_ns: Mapping[int, int]
) -> None:
    """Count frames at whose arrival some boxes stood.

    A box and an object belong together by their id. What is left, boxes that have lost their object and objects
    without a box, belongs together by overlap, the largest first: a box that has come to lie on another object counts
    for that one in a score by labels, too.

    Args:
        tally: is added to.
        boxes: what stood.
        between: the objects.
        asked: when, and where the objects were.
        first_said_ns: by id, when an object was in an output for the first time.
    """
    n_asked = len(asked.index)
    age_ms = (asked.arrived_ns - boxes.captured_ns) / 1e6
    tally.frames += n_asked
    tally.age_ms += float(age_ms.sum())
    tally.staleness_frames += float((asked.index - boxes.index).sum())
    tally.boxes += n_asked * len(boxes.track_id)

    row, own = np.nonzero(boxes.track_id[:, None] == between.track_id)
    is_there = asked.present[:, own]
    iou = np.where(is_there, _iou(boxes.xyxy[row], asked.xyxy[:, own]), 0.0)
    n_there = np.count_nonzero(is_there)
    tally.pairs += n_there
    tally.iou += float(iou.sum())
    tally.pair_age_ms += float(is_there.sum(1) @ age_ms)
    tally.below_50 += n_there - np.count_nonzero(iou >= 0.5)
    tally.below_75 += n_there - np.count_nonzero(iou >= 0.75)

    box_found = np.zeros((n_asked, len(boxes.track_id)), np.bool_)
    found = np.zeros_like(asked.present)
    box_found[:, row] = found[:, own] = iou >= MATCH_IOU
    _find_by_overlap(boxes, between, asked, box_found, found)
    fate = np.full(box_found.shape, Fate.GONE)
    fate[:, row] = np.where(is_there, Fate.WRONG, Fate.GONE)
    fate[box_found] = Fate.FOUND
    cell = fate * BINS + score_bins(boxes.confidence)
    tally.fates += np.bincount(cell.ravel(), minlength=tally.fates.size).reshape(tally.fates.shape)

    has_no_box = np.ones(len(between.track_id), np.bool_)
    has_no_box[own] = False
    unseen = asked.present & ~found & has_no_box
    n_unseen = np.count_nonzero(unseen)
    if n_unseen:
        said_ns = [first_said_ns.get(track_id, math.inf) for track_id in between.track_id.tolist()]
        n_returned = np.count_nonzero(unseen & (np.array(said_ns) <= boxes.at_ns))
        tally.returned += n_returned
        tally.new += n_unseen - n_returned
    tally.objects += np.count_nonzero(asked.present) - n_unseen


def _find_by_overlap(boxes: Standing, between: Between, asked: Asked, box_found: BoolArray, found: BoolArray) -> None:
    """Match what is not found yet, frame by frame, and say so in `box_found` and `found`."""
    missing = asked.present & ~found
    for q in np.flatnonzero(~box_found.all(1) & missing.any(1)).tolist():
        rows, objects = np.flatnonzero(~box_found[q]), np.flatnonzero(missing[q])
        overlap = iou_matrix(boxes.xyxy[rows].astype(np.float64), asked.xyxy[q, objects])
        overlap = np.where(boxes.class_id[rows][:, None] == between.class_id[objects], overlap, 0.0)
        while overlap.max() >= MATCH_IOU:
            row, column = divmod(int(overlap.argmax()), len(objects))
            box_found[q, rows[row]] = found[q, objects[column]] = True
            overlap[row] = overlap[:, column] = 0.0


def _iou(boxes: FloatArray, objects: Float64Array) -> Float64Array:
    """Overlap of n boxes, (n, 4), with an object each at q moments, (q, n, 4); 0 where both are empty."""
    shared = _area(np.minimum(boxes[:, 2:], objects[..., 2:]) - np.maximum(boxes[:, :2], objects[..., :2]))
    union = _area(boxes[:, 2:] - boxes[:, :2]) + _area(objects[..., 2:] - objects[..., :2]) - shared
    iou: Float64Array = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return iou


def _area(size: FloatArray | Float64Array) -> Float64Array:
    """Of boxes (..., width and height); one turned inside out has none."""
    sides = np.maximum(size, 0.0)
    area: Float64Array = sides[..., 0] * sides[..., 1]
    return area
