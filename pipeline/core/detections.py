"""What a detector says about one frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.core.arrays import BoolArray, FloatArray, IntArray, read_only


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Boxes of one frame, in the pixels of the original frame.

    Attributes:
        xyxy: float32 (n, 4), left, top, right, bottom in px.
        confidence: float32 (n,), in [0, 1].
        class_id: int64 (n,), index into the detector's `class_names`.

    Raises:
        ShapeError: a shape or dtype differs from the above.
    """

    xyxy: FloatArray
    confidence: FloatArray
    class_id: IntArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "xyxy", read_only("Detections.xyxy", self.xyxy, np.float32, (None, 4)))
        n = len(self.xyxy)
        object.__setattr__(self, "confidence", read_only("Detections.confidence", self.confidence, np.float32, (n,)))
        object.__setattr__(self, "class_id", read_only("Detections.class_id", self.class_id, np.int64, (n,)))

    @classmethod
    def empty(cls) -> Detections:
        """No boxes."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.xyxy)

    def select(self, mask: BoolArray | IntArray) -> Detections:
        """The rows that `mask` (bool (n,) or int (k,)) picks, in its order."""
        return Detections(self.xyxy[mask], self.confidence[mask], self.class_id[mask])
