"""A first try at the labels of a picture, from a detector's boxes and, where there is time, from tracks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pipeline.core.arrays import FloatArray
from pipeline.core.boxes import clip, iou_matrix
from pipeline.core.detections import Detections
from pipeline.core.result import FrameResult

MIN_SIGHTINGS = 3
"""A track is confirmed once it has been seen in so many frames."""
HOLD_FRAMES = 5
"""A picture waits for so many later frames of its source before its tracks are judged."""
SAME_OBJECT_IOU = 0.6
"""Boxes of different classes or tracks that overlap by more are two names for one object; the better one counts."""
MIN_SIDE_PX = 2.0
FORGET_FRAMES = 1000
"""Tracks that were not seen for so many frames are over for every tracker."""


@dataclass(frozen=True, slots=True, eq=False)
class PreLabel:
    """One box.

    Attributes:
        xyxy: float32 (4,), px, within the picture.
        class_id: number of the class.
        score: the detector's confidence, or the mean of its track's where that is more.
        track_id: the track that confirms it, or None.
        unsure: True: something may be there; not to be trained as an object nor as background.
    """

    xyxy: FloatArray
    class_id: int
    score: float
    track_id: int | None
    unsure: bool


@dataclass(slots=True)
class _Sightings:
    count: int = 0
    confidence_sum: float = 0.0
    last_frame: int = 0


class TrackMemory:
    """How often, and how well, each track of one source was seen."""

    def __init__(self) -> None:
        self._tracks: dict[int, _Sightings] = {}
        self._cleared_at = 0

    def see(self, result: FrameResult) -> None:
        """Take note of the tracks of the next frame."""
        tracks = result.tracks
        index = result.frame.index
        for track_id, row in zip(tracks.track_id.tolist(), tracks.detection_row.tolist(), strict=True):
            if row >= 0:
                seen = self._tracks.setdefault(track_id, _Sightings())
                seen.count += 1
                seen.confidence_sum += float(result.detections.confidence[row])
                seen.last_frame = index
        if index - self._cleared_at >= FORGET_FRAMES:
            limit, self._cleared_at = index - FORGET_FRAMES, index
            self._tracks = {key: seen for key, seen in self._tracks.items() if seen.last_frame >= limit}

    def mean_confidence(self, track_id: int) -> float | None:
        """Mean confidence of a track's boxes so far; None while it is not confirmed."""
        seen = self._tracks.get(track_id)
        return None if seen is None or seen.count < MIN_SIGHTINGS else seen.confidence_sum / seen.count


def labels_from_detections(
    detections: Detections, shape_hw: tuple[int, int], *, conf: float, unsure: float
) -> list[PreLabel]:
    """Labels of a picture without a past or future.

    Args:
        detections: the detector's boxes.
        shape_hw: height and width of the picture.
        conf: boxes of this confidence or more are labels.
        unsure: of the others, those of this confidence or more are places to ignore.
    """
    rows = zip(detections.xyxy, detections.class_id.tolist(), detections.confidence.tolist(), strict=True)
    found = [PreLabel(box, class_id, score, None, score < conf) for box, class_id, score in rows if score >= unsure]
    return _each_object_once(found, shape_hw)


def labels_from_tracks(result: FrameResult, memory: TrackMemory, *, conf: float, unsure: float) -> list[PreLabel]:
    """Labels of a frame whose source is tracked: what a confirmed track vouches for, and places to ignore.

    A box counts where its own confidence or the mean of its confirmed track reaches `conf`, so an object keeps its box
    in a frame where it is hard to see. That box is the detector's if it is confident here, the track's otherwise. What
    no confirmed track vouches for is a place to ignore, however confident the detector is of it.

    Args:
        result: the frame with its detections and tracks.
        memory: what is known of the tracks by now, which may be some frames later.
        conf: least score of a label.
        unsure: least score of a place to ignore.
    """
    found: list[PreLabel] = []
    vouched: set[int] = set()
    tracks, detections = result.tracks, result.detections
    for number, row in enumerate(tracks.detection_row.tolist()):
        track_id = int(tracks.track_id[number])
        mean = memory.mean_confidence(track_id)
        if row < 0 or mean is None:
            continue
        now = float(detections.confidence[row])
        score = max(now, mean)
        if score >= conf:
            box = detections.xyxy[row] if now >= conf else tracks.xyxy[number]
            found.append(PreLabel(box, int(tracks.class_id[number]), score, track_id, False))
            vouched.add(row)
    for row, score in enumerate(detections.confidence.tolist()):
        if row not in vouched and score >= unsure:
            found.append(PreLabel(detections.xyxy[row], int(detections.class_id[row]), score, None, True))
    return _each_object_once(found, result.frame.shape_hw)


def _each_object_once(found: Iterable[PreLabel], shape_hw: tuple[int, int]) -> list[PreLabel]:
    """Boxes cut at the picture's border, labels first, best first; doubles and slivers left out."""
    kept: list[PreLabel] = []
    for label in sorted(found, key=lambda label: (label.unsure, -label.score)):
        xyxy = clip(label.xyxy[None], shape_hw).astype(np.float32)
        if min(xyxy[0, 2:] - xyxy[0, :2]) < MIN_SIDE_PX:
            continue
        if kept and iou_matrix(xyxy, np.stack([other.xyxy for other in kept])).max() > SAME_OBJECT_IOU:
            continue
        kept.append(PreLabel(xyxy[0], label.class_id, label.score, label.track_id, label.unsure))
    return kept
