"""The forecast of the streaming perception paper: boxes joined by overlap, a Kalman filter, straight on from there.

It reads only what comes out, and is taken to cost no time.

Source: Li, Wang and Ramanan, "Towards Streaming Perception" (arXiv 2005.10420).
"""

from __future__ import annotations

import numpy as np

from pipeline.core.arrays import BoolArray, Float64Array, IntArray
from pipeline.core.boxes import iou_matrix, ltwh_to_xyxy, xyxy_to_ltwh
from pipeline.streaming.boxes import Boxes
from pipeline.streaming.outputs import Output
from pipeline.streaming.stream import Stream

_MIN_IOU = 0.3
_MIN_AREA_PX2 = 75
_MEASUREMENT_VARIANCE = 10.0
_FIRST_VARIANCE = 100.0


class PublishedForecast:
    """Joins each output's boxes to the last one's, and moves those that were joined with the filter's velocity.

    The state of a track is left, top, width, height and their velocities per frame: F is the identity with dt,
    Q = dt^2 I, R = 10 I, P0 = 100 I. The four coordinates then never mix and have the same variances, so three numbers
    per track say what the 8 x 8 covariance would.

    A track that is not found again is dropped at once; an output without boxes leaves the old tracks, moved on. Boxes
    keep the ids of the output; scores are those of the last box found.
    """

    def begin(self, stream: Stream) -> None:
        """Forget the last stream."""
        self._size = np.array([stream.width_px, stream.height_px], np.float64)
        self._last: Output | None = None
        self._begin_tracks(Boxes.empty())

    def boxes(self, output: Output, frame: int) -> Boxes:
        """The tracks at a frame, cut to the picture; those below 75 px^2 (of whole px) are left out."""
        if output is not self._last:
            if self._last is not None:
                self._predict(output.input_frame - self._last.input_frame)
            if len(output.boxes):
                self._find(output.boxes)
            self._last = output
        return self._cut(self._ltwh + (frame - output.input_frame) * self._velocity)

    def _begin_tracks(self, boxes: Boxes) -> None:
        n = len(boxes)
        self._boxes, self._ltwh, self._velocity = boxes, boxes.ltwh, np.zeros((n, 4))
        self._place, self._mixed, self._speed = np.full(n, _FIRST_VARIANCE), np.zeros(n), np.full(n, _FIRST_VARIANCE)

    def _predict(self, n_frames: int) -> None:
        noise = float(n_frames**2)
        self._ltwh = self._ltwh + n_frames * self._velocity
        self._place = self._place + 2 * n_frames * self._mixed + noise * self._speed + noise
        self._mixed = self._mixed + n_frames * self._speed
        self._speed = self._speed + noise

    def _find(self, boxes: Boxes) -> None:
        boxes = boxes.select(np.argsort(-boxes.score, kind="stable"))
        tracks, rows = _associate(self._ltwh, self._boxes.class_id, boxes)
        fresh = np.setdiff1d(np.arange(len(boxes)), rows)
        place, mixed, speed = self._place[tracks], self._mixed[tracks], self._speed[tracks]
        to_place, to_speed = place / (place + _MEASUREMENT_VARIANCE), mixed / (place + _MEASUREMENT_VARIANCE)
        before, velocity = self._ltwh[tracks], self._velocity[tracks]
        wrong = boxes.ltwh[rows] - before
        self._begin_tracks(boxes.select(np.concatenate([rows, fresh])))
        n = len(rows)
        self._ltwh = np.concatenate([before + to_place[:, None] * wrong, self._ltwh[n:]])
        self._velocity[:n] = velocity + to_speed[:, None] * wrong
        self._place[:n] = place - to_place * place
        self._mixed[:n] = mixed - to_place * mixed
        self._speed[:n] = speed - to_speed * mixed

    def _cut(self, ltwh: Float64Array) -> Boxes:
        xyxy = ltwh_to_xyxy(ltwh)
        cut = np.asarray(xyxy_to_ltwh(np.clip(xyxy, 0, np.tile(self._size, 2))), np.float64)
        whole = np.trunc(cut[:, 2:])
        keep: BoolArray = (cut[:, 2:] > 0).all(axis=1) & (whole[:, 0] * whole[:, 1] >= _MIN_AREA_PX2)
        boxes = self._boxes
        return Boxes(cut, boxes.score, boxes.class_id, boxes.track_id).select(keep)


def _associate(ltwh: Float64Array, class_id: IntArray, boxes: Boxes) -> tuple[IntArray, IntArray]:
    """Each box in its order takes the track of its class that it overlaps most, of equal ones the later.

    Returns:
        rows of the tracks and rows of the boxes, int64 (k,) each.
    """
    iou = iou_matrix(ltwh_to_xyxy(boxes.ltwh), ltwh_to_xyxy(ltwh))
    iou[boxes.class_id[:, None] != class_id[None]] = -1
    pairs: list[tuple[int, int]] = []
    if iou.shape[1]:
        for row in range(len(boxes)):
            track = iou.shape[1] - 1 - int(np.argmax(iou[row, ::-1]))
            if iou[row, track] >= _MIN_IOU:
                pairs.append((track, row))
                iou[:, track] = -1
    tracks, rows = np.array(pairs, np.int64).reshape(-1, 2).T
    return tracks, rows
