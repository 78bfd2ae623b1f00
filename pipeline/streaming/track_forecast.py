"""Our forecast: all that was detected, each box moved by the motion of its track.

The tracker looks at every output that is shown. A box that belongs to a track moves by the velocity of the track, and
from where the detector put it towards where the tracker sees it: the detector's error of one frame says little about
the next. A box without a track moves with no one. A track that the newest output misses is shown for a moment longer,
where it should be, at half its score: it is more often missed than gone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.core.arrays import BoolArray, Float64Array
from pipeline.core.boxes import clip, iou_matrix, ltwh_to_xyxy, xyxy_to_ltwh
from pipeline.core.detections import Detections
from pipeline.core.protocols import ForecastingTracker
from pipeline.core.result import HORIZON_S
from pipeline.streaming.boxes import Boxes
from pipeline.streaming.outputs import Output
from pipeline.streaming.stream import Stream

CORRECTED_S = 0.1
"""Time in which a box goes most of the way (1 - 1/e) from the detector's place to the tracker's."""
MISSED_S = 0.7
"""How long a track is shown that is not found again."""
MISSED_SCORE = 0.5
"""What its score is multiplied by."""
SAME_IOU = 0.5
"""A missed track that overlaps a box of its class by more than this is that box."""


@dataclass(frozen=True, slots=True, eq=False)
class _Moving:
    """Boxes and how they go on.

    Attributes:
        boxes: n boxes.
        velocity: float64 (n, 4), of left, top, right, bottom in px/s.
        error: float64 (n, 4), from the detector's sides to the tracker's, px.
        missed_s: float64 (n,), since when the detector has not seen them.
    """

    boxes: Boxes
    velocity: Float64Array
    error: Float64Array
    missed_s: Float64Array

    @classmethod
    def still(cls, boxes: Boxes) -> _Moving:
        """Boxes of which nothing is known."""
        none = np.zeros((len(boxes), 4))
        return cls(boxes, none, none, np.zeros(len(boxes)))

    def after(self, ahead_s: float) -> Float64Array:
        """Corners so many seconds on, (n, 4) px."""
        corrected = 1 - math.exp(-ahead_s / CORRECTED_S)
        xyxy: Float64Array = ltwh_to_xyxy(self.boxes.ltwh) + self.velocity * ahead_s + self.error * corrected
        return xyxy

    def missed_by(self, newer: Boxes, after_s: float) -> _Moving:
        """Those with a track that `newer` boxes, so many seconds on, have neither found nor covered."""
        missed_s = self.missed_s + after_s
        xyxy = self.after(after_s)
        iou = iou_matrix(xyxy, ltwh_to_xyxy(newer.ltwh))
        covered = (iou > SAME_IOU) & (self.boxes.class_id[:, None] == newer.class_id)
        track_id = self.boxes.track_id
        rows = (track_id >= 0) & ~np.isin(track_id, newer.track_id) & (missed_s <= MISSED_S) & ~covered.any(axis=1)
        rows &= (xyxy[:, 2:] > xyxy[:, :2]).all(axis=1)
        score = self.boxes.score * np.where(self.missed_s == 0, MISSED_SCORE, 1)
        boxes = Boxes(_ltwh(xyxy), score, self.boxes.class_id, track_id).select(rows)
        return _Moving(boxes, self.velocity[rows], np.zeros((len(boxes), 4)), missed_s[rows])

    def joined(self, other: _Moving) -> _Moving:
        """These, then those."""
        a, b = self.boxes, other.boxes
        boxes = Boxes(
            np.concatenate([a.ltwh, b.ltwh]),
            np.concatenate([a.score, b.score]),
            np.concatenate([a.class_id, b.class_id]),
            np.concatenate([a.track_id, b.track_id]),
        )
        return _Moving(
            boxes,
            np.concatenate([self.velocity, other.velocity]),
            np.concatenate([self.error, other.error]),
            np.concatenate([self.missed_s, other.missed_s]),
        )


class TrackForecast:
    """Moves detections to a later frame by the tracks that they belong to. Implements shown.Forecast.

    Ids of the shown boxes are the tracker's; -1 = no track yet.

    Args:
        make_tracker: makes the tracker of a stream.
    """

    def __init__(self, make_tracker: Callable[[Stream], ForecastingTracker]) -> None:
        self._make_tracker = make_tracker

    def begin(self, stream: Stream) -> None:
        """A new tracker, that has seen nothing."""
        self._stream = stream
        self._tracker = self._make_tracker(stream)
        self._last: Output | None = None
        self._last_frame = -1
        self._now = _Moving.still(Boxes.empty())

    def boxes(self, output: Output, frame: int) -> Boxes:
        """The boxes at a frame, at most `HORIZON_S` from their own; cut to the picture, those that left it left out.

        At the output's own frame nothing is moved or cut.
        """
        if output is not self._last:
            self._last = output
            # Of frames that come late, overtaken by newer ones, the tracker cannot take any.
            if output.input_frame > self._last_frame:
                self._now = self._look(output)
                self._last_frame = output.input_frame
            else:
                self._now = _Moving.still(output.boxes)
        ahead_s = min((frame - output.input_frame) * self._stream.interval_s, HORIZON_S)
        if ahead_s <= 0:
            return self._now.boxes.select(self._now.missed_s == 0)
        xyxy = np.asarray(clip(self._now.after(ahead_s), (self._stream.height_px, self._stream.width_px)), np.float64)
        inside: BoolArray = np.asarray((xyxy[:, 2:] > xyxy[:, :2]).all(axis=1))
        boxes = self._now.boxes
        return Boxes(_ltwh(xyxy), boxes.score, boxes.class_id, boxes.track_id).select(inside)

    def _look(self, output: Output) -> _Moving:
        found, n = output.boxes, len(output.boxes)
        interval_s = self._stream.interval_s
        xyxy = np.asarray(ltwh_to_xyxy(found.ltwh), np.float64)
        detections = Detections(xyxy.astype(np.float32), found.score.astype(np.float32), found.class_id)
        tracks = self._tracker.update(detections, output.input_frame, output.input_frame * interval_s)
        seen = tracks.detection_row >= 0
        row = tracks.detection_row[seen]
        velocity, error, track_id = np.zeros((n, 4)), np.zeros((n, 4)), np.full(n, -1)
        velocity[row] = self._tracker.motion().velocity[seen]
        error[row] = tracks.xyxy[seen] - xyxy[row]
        track_id[row] = tracks.track_id[seen]
        boxes = Boxes(found.ltwh, found.score, found.class_id, track_id)
        missed = self._now.missed_by(boxes, (output.input_frame - self._last_frame) * interval_s)
        return _Moving(boxes, velocity, error, np.zeros(n)).joined(missed)


def _ltwh(xyxy: Float64Array) -> Float64Array:
    return np.asarray(xyxy_to_ltwh(xyxy), np.float64)
