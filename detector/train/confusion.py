"""What a detector takes for what, over a validation set."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from pipeline.core.arrays import BoolArray, IntArray
from pipeline.core.boxes import Boxes, area, iou_matrix
from pipeline.core.detections import Detections
from pipeline.evaluation import precision_recall

_LEAST_INSIDE = 0.5


class ConfusionMatrix:
    """Counts pairs of a predicted and a labelled class, found by overlap alone.

    Args:
        num_classes: nc.
        conf_thres: predictions above this confidence count.
        iou_thres: a prediction and a label belong together above this IoU.
    """

    def __init__(self, num_classes: int, conf_thres: float = 0.25, iou_thres: float = 0.45) -> None:
        self._pairs = precision_recall.ConfusionMatrix(num_classes, conf_thres, iou_thres)
        self._iou_thres = iou_thres

    @property
    def matrix(self) -> IntArray:
        """int64 (nc + 1, nc + 1). Row: predicted class; column: labelled class; the last of each: nothing there."""
        return self._pairs.counts

    def update(self, detections: Detections, xyxy: Boxes, class_id: IntArray, ignore_xyxy: ArrayLike = ()) -> None:
        """Count one image.

        A prediction in an ignored place that overlaps no label enough to belong to it counts nowhere.

        Args:
            detections: of the image.
            xyxy: float (n, 4), px, the labels.
            class_id: int64 (n,), their classes.
            ignore_xyxy: float (m, 4), px: places where something may be that has no label.
        """
        stray = iou_matrix(detections.xyxy, xyxy).max(axis=1, initial=0) <= self._iou_thres
        ignored = stray & inside(detections.xyxy, np.reshape(ignore_xyxy, (-1, 4))).any(axis=1)
        counted = detections.select(~ignored)
        self._pairs.add(counted.xyxy, counted.confidence, counted.class_id, xyxy.astype(np.float32), class_id)


def inside(xyxy: Boxes, places: Boxes) -> BoolArray:
    """Which boxes lie in which places by more than half of their area: bool (n, m) for boxes (n, 4), places (m, 4)."""
    left_top = np.maximum(xyxy[:, None, :2], places[None, :, :2])
    right_bottom = np.minimum(xyxy[:, None, 2:], places[None, :, 2:])
    common = np.maximum(right_bottom - left_top, 0).prod(axis=2)
    return np.asarray(common > _LEAST_INSIDE * area(xyxy)[:, None])
