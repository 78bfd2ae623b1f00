"""What must be known of a head to read its maps outside of the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from detector.models import DetectionModel


@dataclass(frozen=True, slots=True)
class HeadSpec:
    """How logits of a head become boxes; see detector.decode for the formulas.

    Attributes:
        family: `yolov7` (anchors) or `yolox` (none).
        strides: px per cell of each level.
        anchors_px: per level, width and height of each anchor; empty for `yolox`, which has one box per cell.
        num_classes: nc.
    """

    family: Literal["yolov7", "yolox"]
    strides: tuple[int, ...]
    anchors_px: tuple[tuple[tuple[float, float], ...], ...]
    num_classes: int

    @classmethod
    def of(cls, model: DetectionModel) -> HeadSpec:
        """The head of a network."""
        if model.family == "yolox":
            return cls("yolox", model.strides, (), model.num_classes)
        anchors = model.detection_head.anchors_px.tolist()  # type: ignore[operator]
        return cls(
            "yolov7",
            model.strides,
            tuple(tuple((float(w), float(h)) for w, h in level) for level in anchors),
            model.num_classes,
        )

    @property
    def num_anchors(self) -> int:
        """Boxes per cell."""
        return len(self.anchors_px[0]) if self.anchors_px else 1
