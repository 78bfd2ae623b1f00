"""How much of a box is lost to latency, by how fast its object moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.core.arrays import BoolArray, Float64Array
from pipeline.core.boxes import iou_matrix, ltwh_to_xyxy
from pipeline.stream_eval.answers import Answers
from pipeline.streaming.boxes import Boxes
from pipeline.streaming.shown import Shown
from pipeline.streaming.truth import Truth

FOUND_IOU = 0.5
"""An object counts where its box without latency overlaps it by so much: what is never found loses nothing."""
MOST_BINS = 10
_LEAST_PER_BIN = 30


@dataclass(frozen=True, slots=True)
class SpeedBin:
    """Objects of similar speed; an equal number in every bin.

    Attributes:
        from_speed, to_speed: in sizes of the object (square root of its box's area) per second.
        median_speed: the one in the middle.
        n: boxes of the truth.
        iou_lost: mean of IoU without latency less IoU as shown.
        iou_lost_p25, iou_lost_p75: the middle half lies between.
        share_below_50: share of them whose shown box overlaps them by less than 0.5.
    """

    from_speed: float
    to_speed: float
    median_speed: float
    n: int
    iou_lost: float
    iou_lost_p25: float
    iou_lost_p75: float
    share_below_50: float


def error_by_speed(answers: Sequence[Answers], shown: Sequence[Shown]) -> list[SpeedBin]:
    """Bins by rising speed; none where the truth has no tracks, or hardly anything was found."""
    rows = [_rows(one, seen) for one, seen in zip(answers, shown, strict=True)]
    table = np.concatenate([np.zeros((0, 3)), *rows])
    table = table[np.argsort(table[:, 0], kind="stable")]
    n_bins = min(MOST_BINS, len(table) // _LEAST_PER_BIN)
    return [_bin(part) for part in np.array_split(table, n_bins)] if n_bins else []


def _rows(answers: Answers, shown: Shown) -> Float64Array:
    """Speed, IoU without latency and IoU as shown of every object found, (n, 3)."""
    truth, offline = answers.labelled.truth, answers.without_latency
    rows = [np.zeros((0, 3))]
    for frame, found in offline.items():
        speed = _speeds(truth, frame)
        best = _best_iou(truth.boxes[frame], found)
        counts: BoolArray = ~truth.crowd[frame] & np.isfinite(speed) & (best >= FOUND_IOU)
        as_shown = _best_iou(truth.boxes[frame], shown.boxes[frame])
        rows.append(np.column_stack([speed, best, as_shown])[counts])
    return np.concatenate(rows)


def _speeds(truth: Truth, frame: int) -> Float64Array:
    """Speed of each box's middle from the frame before to the frame after, in sizes per second; NaN where unknown."""
    boxes = truth.boxes[frame]
    speed = np.full(len(boxes), np.nan)
    before, after = max(frame - 1, 0), min(frame + 1, truth.stream.n_frames - 1)
    if before == after:
        return speed
    middle_before, middle_after = _middles(truth.boxes[before]), _middles(truth.boxes[after])
    span_s = (after - before) * truth.stream.interval_s
    for row, (track, (_, _, width, height)) in enumerate(
        zip(boxes.track_id.tolist(), boxes.ltwh.tolist(), strict=True)
    ):
        if track >= 0 and track in middle_before and track in middle_after and width > 0 and height > 0:
            moved = np.hypot(*(middle_after[track] - middle_before[track]))
            speed[row] = moved / span_s / np.sqrt(width * height)
    return speed


def _middles(boxes: Boxes) -> dict[int, Float64Array]:
    middles = boxes.ltwh[:, :2] + boxes.ltwh[:, 2:] / 2
    return dict(zip(boxes.track_id.tolist(), middles, strict=True))


def _best_iou(truth: Boxes, found: Boxes) -> Float64Array:
    """The best IoU of each true box with a box of its class; 0 where there is none."""
    if not len(truth) or not len(found):
        return np.zeros(len(truth))
    iou = iou_matrix(ltwh_to_xyxy(truth.ltwh), ltwh_to_xyxy(found.ltwh))
    same = truth.class_id[:, None] == found.class_id
    return np.asarray(np.where(same, iou, 0).max(axis=1), np.float64)


def _bin(table: Float64Array) -> SpeedBin:
    speed, without, shown = table.T
    lost = without - shown
    return SpeedBin(
        from_speed=float(speed[0]),
        to_speed=float(speed[-1]),
        median_speed=float(np.median(speed)),
        n=len(table),
        iou_lost=float(lost.mean()),
        iou_lost_p25=float(np.quantile(lost, 0.25)),
        iou_lost_p75=float(np.quantile(lost, 0.75)),
        share_below_50=float((shown < FOUND_IOU).mean()),
    )
