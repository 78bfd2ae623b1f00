"""What is true of every picture of a stream."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.core.arrays import BoolArray, Float64Array, read_only
from pipeline.core.errors import UsageError
from pipeline.streaming.boxes import Boxes
from pipeline.streaming.stream import Stream


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """The labels of one sequence, frame by frame.

    Attributes:
        stream: its pictures in time.
        boxes: one Boxes per frame; the score means nothing, track_id -1 = the labels tell no identity.
        crowd: bool (n,) per frame, in the order of the boxes: found or not, such a box counts neither for nor against
            (COCO's crowds, MOT's boxes with confidence 0).
        area: float64 (n,) per frame, px^2: decides whether an object is small, medium or large.
        class_names: names by class_id.

    Raises:
        UsageError: another number of frames than the stream has, or a class without a name; names sequence and frame.
        ShapeError: flags or areas that do not fit the boxes.
    """

    stream: Stream
    boxes: tuple[Boxes, ...]
    crowd: tuple[BoolArray, ...]
    area: tuple[Float64Array, ...]
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        name, n_frames = self.stream.name, self.stream.n_frames
        for what in ("boxes", "crowd", "area"):
            if len(getattr(self, what)) != n_frames:
                raise UsageError(
                    f"{name}: wanted {what} of {n_frames} frames, found {len(getattr(self, what))}; "
                    "a frame without objects has empty ones"
                )
        for frame, (boxes, crowd, area) in enumerate(zip(self.boxes, self.crowd, self.area, strict=True)):
            read_only(f"{name}, frame {frame}: crowd", crowd, np.bool_, (len(boxes),))
            read_only(f"{name}, frame {frame}: area", area, np.float64, (len(boxes),))
            strange = (boxes.class_id < 0) | (boxes.class_id >= len(self.class_names))
            if strange.any():
                raise UsageError(
                    f"{name}, frame {frame}: wanted classes 0..{len(self.class_names) - 1}, "
                    f"found {boxes.class_id[strange][0]}"
                )
