"""Boxes of one picture as they are scored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.core.arrays import BoolArray, Float64Array, FloatArray, IntArray, read_only
from pipeline.core.detections import Detections
from pipeline.core.tracks import Tracks


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """Boxes in the form of COCO and MOT files, in double precision so that published figures are met exactly.

    Attributes:
        ltwh: float64 (n, 4), left, top, width, height in px of the source's picture.
        score: float64 (n,), in [0, 1].
        class_id: int64 (n,).
        track_id: int64 (n,); -1 = none.

    Raises:
        ShapeError: a shape or dtype differs from the above.
    """

    ltwh: Float64Array
    score: Float64Array
    class_id: IntArray
    track_id: IntArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "ltwh", read_only("Boxes.ltwh", self.ltwh, np.float64, (None, 4)))
        n = len(self.ltwh)
        object.__setattr__(self, "score", read_only("Boxes.score", self.score, np.float64, (n,)))
        for name in ("class_id", "track_id"):
            object.__setattr__(self, name, read_only(f"Boxes.{name}", getattr(self, name), np.int64, (n,)))

    @classmethod
    def empty(cls) -> Boxes:
        """No boxes."""
        return cls(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int64))

    @classmethod
    def of_tracks(cls, tracks: Tracks) -> Boxes:
        """A tracker's boxes."""
        return cls(
            _ltwh(tracks.xyxy),
            tracks.confidence.astype(np.float64),
            tracks.class_id,
            tracks.track_id,
        )

    @classmethod
    def of_detections(cls, detections: Detections) -> Boxes:
        """A detector's boxes, without ids."""
        none = np.full(len(detections), -1, np.int64)
        return cls(
            _ltwh(detections.xyxy),
            detections.confidence.astype(np.float64),
            detections.class_id,
            none,
        )

    def __len__(self) -> int:
        return len(self.ltwh)

    def select(self, rows: BoolArray | IntArray) -> Boxes:
        """The rows that `rows` (bool (n,) or int (k,)) picks, in its order."""
        return Boxes(self.ltwh[rows], self.score[rows], self.class_id[rows], self.track_id[rows])


def _ltwh(xyxy: FloatArray) -> Float64Array:
    boxes = xyxy.astype(np.float64)
    boxes[:, 2:] -= boxes[:, :2]
    return boxes
