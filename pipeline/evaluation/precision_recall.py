"""Precision, recall and AP as YOLOv7's validation reports them, for following a training.

The figures differ a little from COCO's (`coco_map`): crowds are not known, and a prediction only ever competes for the
one label that it overlaps most.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import BoolArray, FloatArray, IntArray
from pipeline.core.boxes import iou_matrix

F64Array = NDArray[np.float64]

IOU_LEVELS: FloatArray = np.linspace(0.5, 0.95, 10, dtype=np.float32)
"""The ten IoU levels of COCO's AP."""

_CONFIDENCE_AXIS = np.linspace(0, 1, 1000)
_RECALL_AXIS = np.linspace(0, 1, 101)


@dataclass(frozen=True, slots=True, eq=False)
class PrecisionRecall:
    """Curves and figures by class; m classes are those that have labels.

    Attributes:
        class_id: int64 (m,), ascending.
        ap: float64 (m, 10), by IoU level.
        precision, recall, f1: float64 (m,), at the confidence whose mean F1 is best, IoU 0.5.
        best_confidence: that confidence.
        precision_curve, recall_curve: float64 (m, 1000), over confidence 0..1.
    """

    class_id: IntArray
    ap: F64Array
    precision: F64Array
    recall: F64Array
    f1: F64Array
    best_confidence: float
    precision_curve: F64Array
    recall_curve: F64Array

    @property
    def map50(self) -> float:
        """Mean AP at IoU 0.5; 0 without labels."""
        return float(self.ap[:, 0].mean()) if len(self.ap) else 0.0

    @property
    def map50_95(self) -> float:
        """Mean AP over the ten IoU levels; 0 without labels."""
        return float(self.ap.mean()) if len(self.ap) else 0.0

    @property
    def fitness(self) -> float:
        """0.1 mAP@0.5 + 0.9 mAP@0.5:0.95: what picks the best epoch."""
        return 0.1 * self.map50 + 0.9 * self.map50_95


def match_predictions(
    predicted_xyxy: FloatArray, predicted_class: IntArray, label_xyxy: FloatArray, label_class: IntArray
) -> BoolArray:
    """Which predictions of one image are right, (n, 10) by IoU level.

    Args:
        predicted_xyxy: (n, 4) px, by falling confidence.
        predicted_class: (n,).
        label_xyxy: (m, 4) px.
        label_class: (m,).

    A prediction goes for the label of its class that it overlaps most; if a more confident one has taken that label, it
    is wrong, even where it overlaps another label well.
    """
    right = np.zeros((len(predicted_xyxy), len(IOU_LEVELS)), np.bool_)
    if not len(predicted_xyxy) or not len(label_xyxy):
        return right
    iou = np.where(predicted_class[:, None] == label_class, iou_matrix(predicted_xyxy, label_xyxy), 0)
    best = iou.argmax(axis=1)
    taken: set[int] = set()
    for row in np.flatnonzero(iou.max(axis=1) > IOU_LEVELS[0]):
        if int(best[row]) not in taken:
            taken.add(int(best[row]))
            right[row] = iou[row, best[row]] > IOU_LEVELS
    return right


def precision_recall(
    right: BoolArray,
    confidence: FloatArray,
    predicted_class: IntArray,
    label_class: IntArray,
    *,
    to_full_recall: bool = False,
) -> PrecisionRecall:
    """Figures over all images.

    Args:
        right: (n, 10) from `match_predictions`, all images one after the other.
        confidence: (n,) in [0, 1].
        predicted_class: (n,).
        label_class: (m,), every label.
        to_full_recall: False ends the curve just behind the highest recall that was reached (YOLOv7's default); True
            draws it on to recall 1 (YOLOv5's and COCO's way, slightly higher AP).
    """
    order = np.argsort(-confidence, kind="stable")
    right, confidence, predicted_class = right[order], confidence[order], predicted_class[order]
    classes, n_labels = np.unique(label_class, return_counts=True)
    ap = np.zeros((len(classes), right.shape[1]))
    precision_curve = np.zeros((len(classes), len(_CONFIDENCE_AXIS)))
    recall_curve = np.zeros_like(precision_curve)
    for row, (class_id, labels) in enumerate(zip(classes, n_labels, strict=True)):
        of_class = predicted_class == class_id
        if not of_class.any():
            continue
        hits = right[of_class].cumsum(axis=0)
        recall = hits / labels
        precision = hits / np.arange(1, len(hits) + 1)[:, None]
        # np.interp wants rising abscissae: confidence falls, so both sides are negated.
        falling = -confidence[of_class]
        recall_curve[row] = np.interp(-_CONFIDENCE_AXIS, falling, recall[:, 0], left=0)
        precision_curve[row] = np.interp(-_CONFIDENCE_AXIS, falling, precision[:, 0], left=1)
        ap[row] = [_average(recall[:, k], precision[:, k], to_full_recall) for k in range(right.shape[1])]
    f1 = 2 * precision_curve * recall_curve / (precision_curve + recall_curve + 1e-16)
    best = int(f1.mean(axis=0).argmax()) if len(classes) else 0
    return PrecisionRecall(
        class_id=classes.astype(np.int64),
        ap=ap,
        precision=precision_curve[:, best],
        recall=recall_curve[:, best],
        f1=f1[:, best],
        best_confidence=float(_CONFIDENCE_AXIS[best]),
        precision_curve=precision_curve,
        recall_curve=recall_curve,
    )


def _average(recall: F64Array, precision: F64Array, to_full_recall: bool) -> float:
    """Area under the falling envelope of one curve, sampled at 101 recalls."""
    end = 1.0 if to_full_recall else recall[-1] + 0.01
    recall = np.concatenate([[0.0], recall, [end]])
    envelope = np.maximum.accumulate(np.concatenate([[1.0], precision, [0.0]])[::-1])[::-1]
    return float(np.trapezoid(np.interp(_RECALL_AXIS, recall, envelope), _RECALL_AXIS))


class ConfusionMatrix:
    """What was taken for what. Row: predicted class; column: labelled class; the last of each is "nothing there".

    Args:
        num_classes: nc.
        conf_thres: predictions above this confidence count.
        min_iou: a prediction and a label belong together above this IoU.

    Attributes:
        counts: int64 (nc + 1, nc + 1).
    """

    def __init__(self, num_classes: int, conf_thres: float = 0.25, min_iou: float = 0.45) -> None:
        self.counts = np.zeros((num_classes + 1, num_classes + 1), np.int64)
        self._conf_thres = conf_thres
        self._min_iou = min_iou

    def add(
        self,
        predicted_xyxy: FloatArray,
        confidence: FloatArray,
        predicted_class: IntArray,
        label_xyxy: FloatArray,
        label_class: IntArray,
    ) -> None:
        """Count one image. Pairs are formed by falling IoU, whatever their classes."""
        counted = confidence > self._conf_thres
        predicted_xyxy, predicted_class = predicted_xyxy[counted], predicted_class[counted]
        iou = iou_matrix(predicted_xyxy, label_xyxy)
        free_prediction = np.ones(len(predicted_class), np.bool_)
        free_label = np.ones(len(label_class), np.bool_)
        rows, columns = np.nonzero(iou > self._min_iou)
        for pair in np.argsort(-iou[rows, columns], kind="stable"):
            row, column = rows[pair], columns[pair]
            if free_prediction[row] and free_label[column]:
                free_prediction[row] = free_label[column] = False
                self.counts[predicted_class[row], label_class[column]] += 1
        classes = len(self.counts)
        self.counts[:, -1] += np.bincount(predicted_class[free_prediction], minlength=classes)
        self.counts[-1] += np.bincount(label_class[free_label], minlength=classes)
