"""The inner loops of tracker.numpy_tracks.

All functions take the two blocks of a TrackTable, `real` (n, 31) float64 and `whole` (n, 7) int64, and say what they
change in place. Detections come as the arrays of pipeline.core.detections.Detections.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tracker import kalman
from tracker.association import NEVER, MatchRule, associate, fuse_score, iou_cost
from tracker.track_table import (
    CLASS_ID,
    COV,
    DETECTION_ROW,
    LAST_FRAME,
    LAST_SEEN_S,
    MEAN,
    SCORE,
    STATE,
    TRACK_ID,
    WAS_REMOVED,
    TrackState,
)

Float32 = NDArray[np.float32]
Real = NDArray[np.float64]
Whole = NDArray[np.int64]


def predict(real: Real, whole: Whole, moves_new: bool, dt_s: float, noise: tuple[float, ...]) -> None:
    """Move the tracks on by `dt_s` and mark all of them as not matched.

    Args:
        real: changed in place.
        whole: changed in place.
        moves_new: whether tracks in state NEW move too.
        dt_s: seconds.
        noise: `kalman.Motion.step_noise(dt_s)`.
    """
    whole[:, DETECTION_ROW] = -1
    state = whole[:, STATE]
    # A lost track keeps its height: an old trend in size soon makes the box absurd.
    real[state >= TrackState.LOST, 7] = 0
    if moves_new:
        kalman.predict(real[:, MEAN], real[:, COV], dt_s, noise)
    else:
        rows = np.flatnonzero(state != TrackState.NEW)
        mean, cov = real[rows, MEAN], real[rows, COV]
        kalman.predict(mean, cov, dt_s, noise)
        real[rows, MEAN], real[rows, COV] = mean, cov


def split(
    xyxy: Float32, score: Float32, low_score: float, high_score: float, exclusive: bool
) -> tuple[Whole, Whole, int]:
    """Rows of the detections with high and with low scores, both ascending, and the first row not finite, or -1.

    Thresholds are compared as float32, as the scores are. Boxes without area are in neither set.

    Args:
        xyxy: (n, 4) px.
        score: (n,).
        low_score: least score of the low set.
        high_score: least score of the high set.
        exclusive: a score equal to a threshold is in neither set.
    """
    finite = np.isfinite(xyxy).all(axis=1) & np.isfinite(score)
    low, high = np.float32(low_score), np.float32(high_score)
    usable = (xyxy[:, 2] > xyxy[:, 0]) & (xyxy[:, 3] > xyxy[:, 1])
    is_high = score > high if exclusive else score >= high
    is_low = (score < high) & (score > low if exclusive else score >= low)
    broken = -1 if finite.all() else int(finite.argmin())
    return np.flatnonzero(usable & is_high), np.flatnonzero(usable & is_low), broken


def match(
    real: Real,
    whole: Whole,
    rows: Whole,
    xyxy: Float32,
    score: Float32,
    class_id: Whole,
    columns: Whole,
    rule: MatchRule,
) -> tuple[Whole, Whole, Whole, Whole]:
    """Associate the tracks `rows` with the detections `columns`.

    Returns:
        matched rows and the column of each, then the rows and the columns left over.
    """
    cost = iou_cost(kalman.boxes(real[rows, MEAN]), xyxy[columns].astype(np.float64), rule.extent_px)
    if rule.fuse_score:
        cost = fuse_score(cost, score[columns].astype(np.float64))
    if rule.per_class:
        cost[whole[rows, CLASS_ID][:, None] != class_id[columns][None, :]] = NEVER
    tracks, detections = associate(cost, rule.max_cost)
    return rows[tracks], columns[detections], np.delete(rows, tracks), np.delete(columns, detections)


def correct(
    real: Real, whole: Whole, rows: Whole, xyxy: Float32, score: Float32, columns: Whole, frame: int, now_s: float
) -> None:
    """Correct the tracks `rows` by the detections `columns`, and note score, row and time: all are TRACKED.

    Args:
        real: changed in place.
        whole: changed in place.
        rows: (k,).
        xyxy: (n, 4) px.
        score: (n,).
        columns: (k,).
        frame: number of this update.
        now_s: tracker time.
    """
    mean, cov = real[rows, MEAN], real[rows, COV]
    kalman.correct(mean, cov, kalman.measurement(xyxy[columns]))
    real[rows, MEAN], real[rows, COV] = mean, cov
    real[rows, SCORE] = score[columns]
    real[rows, LAST_SEEN_S] = now_s
    whole[rows, STATE] = TrackState.TRACKED
    whole[rows, LAST_FRAME] = frame
    whole[rows, DETECTION_ROW] = columns


def duplicates(
    real: Real, whole: Whole, n_seen: int, max_cost: float, per_class: bool, extent_px: float
) -> tuple[Whole, Whole]:
    """Pairs of a seen and a lost track (table rows) whose cost 1 - IoU is below `max_cost`, in row order."""
    box = kalman.boxes(real[:, MEAN])
    cost = iou_cost(box[:n_seen], box[n_seen:], extent_px)
    if per_class:
        cost[whole[:n_seen, CLASS_ID][:, None] != whole[n_seen:, CLASS_ID][None, :]] = NEVER
    seen, lost = np.nonzero(cost < max_cost)
    return seen, lost + n_seen


def rows_in_order(whole: Whole, n_seen: int, n_before: int) -> tuple[Whole, int]:
    """Where every row belongs after a frame: the tracks seen in it, then the lost ones; the others are left out.

    Seen are the seen tracks that were matched again, those that began in this frame, and the lost ones that were found.
    Lost are the other lost tracks that were never removed, and then the tracked ones that were missed: their state
    becomes LOST. New tracks without a match are left out.

    Args:
        whole: changed in place.
        n_seen: rows before this one were seen in the frame before, the rest were lost.
        n_before: rows from this one on began in this frame.

    Returns:
        the rows to keep, in order, and how many of them were seen.
    """
    row = np.arange(len(whole))
    matched = whole[:, DETECTION_ROW] >= 0
    was_seen, state = row < n_seen, whole[:, STATE]
    keeps = ~matched & (whole[:, WAS_REMOVED] == 0)
    lost_before = np.flatnonzero(keeps & ~was_seen)
    lost_now = np.flatnonzero(keeps & was_seen & (state == TrackState.TRACKED))
    whole[lost_now, STATE] = TrackState.LOST
    kept, born = np.flatnonzero(matched & was_seen), row[n_before:]
    found = n_seen + np.flatnonzero(matched[n_seen:n_before])
    order = np.concatenate([kept, born, found, lost_before, lost_now])
    return order, len(kept) + len(born) + len(found)


def shown_rows(whole: Whole, last_state: int) -> Whole:
    """Rows of the tracks in a state from TRACKED to `last_state`."""
    state = whole[:, STATE]
    return np.flatnonzero((state >= TrackState.TRACKED) & (state <= last_state))


def select(real: Real, whole: Whole, last_state: int) -> tuple[Float32, Float32, Whole, Whole, Whole]:
    """Corners in px, score, class, id and detection row of the tracks in a state from TRACKED to `last_state`.

    All are read-only.
    """
    rows = shown_rows(whole, last_state)
    xyxy = kalman.boxes(real[rows, MEAN]).astype(np.float32)
    score = real[rows, SCORE].astype(np.float32)
    chosen = whole[rows].T.copy()
    for array in (xyxy, score, chosen):
        array.setflags(write=False)
    return xyxy, score, chosen[CLASS_ID], chosen[TRACK_ID], chosen[DETECTION_ROW]
