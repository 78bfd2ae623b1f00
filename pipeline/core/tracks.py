"""What a tracker says about one frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.core.arrays import BoolArray, FloatArray, IntArray, read_only
from pipeline.core.errors import UsageError


@dataclass(frozen=True, slots=True, eq=False)
class Tracks:
    """Confirmed objects of one frame, in the pixels of the original frame.

    Attributes:
        xyxy: float32 (m, 4), left, top, right, bottom in px.
        confidence: float32 (m,), confidence of the last matched detection.
        class_id: int64 (m,).
        track_id: int64 (m,), 1 or more, unique within the source and never used again.
        detection_row: int64 (m,), the row of the frame's Detections that the track was matched to; -1 = predicted only.

    Raises:
        ShapeError: a shape or dtype differs from the above.
        UsageError: an id below 1, or one that stands twice.
    """

    xyxy: FloatArray
    confidence: FloatArray
    class_id: IntArray
    track_id: IntArray
    detection_row: IntArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "xyxy", read_only("Tracks.xyxy", self.xyxy, np.float32, (None, 4)))
        m = len(self.xyxy)
        object.__setattr__(self, "confidence", read_only("Tracks.confidence", self.confidence, np.float32, (m,)))
        for name in ("class_id", "track_id", "detection_row"):
            object.__setattr__(self, name, read_only(f"Tracks.{name}", getattr(self, name), np.int64, (m,)))
        if m:
            ids = self.track_id.tolist()
            if min(ids) < 1:
                raise UsageError(f"Tracks.track_id: wanted ids of 1 or more, found {min(ids)}")
            if len(set(ids)) != m:
                raise UsageError("Tracks.track_id: wanted each id once per frame, found one twice")

    @classmethod
    def empty(cls) -> Tracks:
        """No tracks."""
        none = np.zeros(0, np.int64)
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), none, none, none)

    @classmethod
    def unchecked(
        cls, xyxy: FloatArray, confidence: FloatArray, class_id: IntArray, track_id: IntArray, detection_row: IntArray
    ) -> Tracks:
        """Tracks whose arrays keep every promise above by construction, read-only included: nothing is checked.

        Only for a tracker's own output, where checking would cost as much as tracking. Everyone else calls `Tracks`.
        """
        tracks = object.__new__(cls)
        object.__setattr__(tracks, "xyxy", xyxy)
        object.__setattr__(tracks, "confidence", confidence)
        object.__setattr__(tracks, "class_id", class_id)
        object.__setattr__(tracks, "track_id", track_id)
        object.__setattr__(tracks, "detection_row", detection_row)
        return tracks

    def __len__(self) -> int:
        return len(self.xyxy)

    def select(self, mask: BoolArray | IntArray) -> Tracks:
        """The rows that `mask` (bool (m,) or int (k,)) picks, in its order."""
        return Tracks(
            self.xyxy[mask], self.confidence[mask], self.class_id[mask], self.track_id[mask], self.detection_row[mask]
        )
