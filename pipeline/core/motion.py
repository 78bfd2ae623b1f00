"""Where tracks are going: enough to say where they will be when somebody looks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.core.arrays import BoolArray, FloatArray, IntArray, read_only


@dataclass(frozen=True, slots=True, eq=False)
class TrackMotion:
    """How the boxes of one frame's Tracks move, row by row. Small and immutable: it travels with the result.

    Attributes:
        velocity: float32 (m, 4), change of left, top, right, bottom in px/s.
        std_px: float32 (m,), standard deviation of a box's middle now, in px.
        std_px_s: float32 (m,), standard deviation of its velocity, in px/s.

    Raises:
        ShapeError: a shape or dtype differs from the above.
    """

    velocity: FloatArray
    std_px: FloatArray
    std_px_s: FloatArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "velocity", read_only("TrackMotion.velocity", self.velocity, np.float32, (None, 4)))
        m = len(self.velocity)
        for name in ("std_px", "std_px_s"):
            object.__setattr__(self, name, read_only(f"TrackMotion.{name}", getattr(self, name), np.float32, (m,)))

    def __len__(self) -> int:
        return len(self.velocity)

    def select(self, mask: BoolArray | IntArray) -> TrackMotion:
        """The rows that `mask` (bool (m,) or int (k,)) picks, in its order."""
        return TrackMotion(self.velocity[mask], self.std_px[mask], self.std_px_s[mask])

    def moved(self, xyxy: FloatArray, ahead_s: float) -> FloatArray:
        """The boxes `xyxy` float32 (m, 4) of the same rows, so many seconds on; sides never cross."""
        boxes = xyxy + self.velocity * np.float32(ahead_s)
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2
        boxes[:, :2] = np.minimum(boxes[:, :2], middle)
        boxes[:, 2:] = np.maximum(boxes[:, 2:], middle)
        return boxes

    def std_after(self, ahead_s: float) -> FloatArray:
        """Standard deviation of the boxes' middles so many seconds on, float32 (m,) px."""
        std: FloatArray = np.hypot(self.std_px, self.std_px_s * np.float32(ahead_s))
        return std
