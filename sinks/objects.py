"""What a sink shows of a result: its tracks, or its detections where no tracker ran."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.core.arrays import BoolArray, FloatArray, IntArray
from pipeline.core.result import FrameResult


@dataclass(frozen=True, slots=True, eq=False)
class ShownObjects:
    """The objects of one frame in the form that every sink writes.

    Attributes:
        xyxy: float32 (n, 4), px of the original frame.
        confidence: float32 (n,), in [0, 1].
        class_id: int64 (n,).
        track_id: int64 (n,), or None where no tracker ran.
        predicted: bool (n,), True where the tracker assumes a place that no detection confirmed.
    """

    xyxy: FloatArray
    confidence: FloatArray
    class_id: IntArray
    track_id: IntArray | None
    predicted: BoolArray

    def __len__(self) -> int:
        return len(self.xyxy)


def shown_objects(result: FrameResult) -> ShownObjects:
    """The tracks of a result; its detections where no tracker ran."""
    if result.tracked:
        tracks = result.tracks
        predicted = tracks.detection_row < 0
        return ShownObjects(tracks.xyxy, tracks.confidence, tracks.class_id, tracks.track_id, predicted)
    found = result.detections
    return ShownObjects(found.xyxy, found.confidence, found.class_id, None, np.zeros(len(found), np.bool_))


def class_name(class_names: Sequence[str], class_id: int) -> str:
    """The name of a class, or its number where the model has no name for it."""
    return class_names[class_id] if 0 <= class_id < len(class_names) else str(class_id)


def object_records(result: FrameResult, class_names: Sequence[str]) -> list[dict[str, object]]:
    """The objects of a result as plain values: coordinates with 2 decimals (px), confidence with 4.

    `track_id` is None where no tracker ran; an object whose place the tracker only assumes has `predicted`. Where the
    tracks were moved off their frame, each has `std_px`, the standard deviation of its middle (2 decimals).
    """
    shown = shown_objects(result)
    ids: list[int | None] = [None] * len(shown) if shown.track_id is None else shown.track_id.tolist()
    # float32 through Python floats: rounding in float32 would print 0.8999999761581421.
    columns = (shown.class_id, shown.confidence, shown.xyxy, shown.predicted)
    motion = None if result.boxes_at_ns is None else result.motion
    stds: list[float | None] = [None] * len(shown) if motion is None else motion.std_px.tolist()
    rows = zip(ids, *(column.tolist() for column in columns), stds, strict=True)
    return [
        {
            "track_id": track_id,
            "class_id": class_id,
            "class": class_name(class_names, class_id),
            "confidence": round(confidence, 4),
            "xyxy": [round(value, 2) for value in xyxy],
            **({"predicted": True} if predicted else {}),
            **({} if std_px is None else {"std_px": round(std_px, 2)}),
        }
        for track_id, class_id, confidence, xyxy, predicted, std_px in rows
    ]
