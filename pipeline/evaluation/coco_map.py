"""COCO average precision: AP over IoU 0.50:0.95, by size, and by class.

Source: COCO detection evaluation (cocodataset.org), computed by faster-coco-eval.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.boxes import xyxy_to_ltwh
from pipeline.core.class_names import class_ids
from pipeline.core.detections import Detections
from pipeline.core.errors import DatasetError, MissingExtraError, UsageError
from pipeline.core.whole_file import write_whole
from pipeline.evaluation.dataset import LabelledImages

_STATS = ("ap", "ap50", "ap75", "ap_s", "ap_m", "ap_l", "ar_1", "ar_10", "ar_100", "ar_s", "ar_m", "ar_l")


@dataclass(frozen=True, slots=True)
class ClassAp:
    """Average precision of one class, in [0, 1]; None where the data hold no object of the class."""

    ap: float | None
    ap50: float | None


@dataclass(frozen=True, slots=True)
class CocoMap:
    """What COCO's evaluation says. Fractions of 1; None where no object counts (no large object: no `ap_l`).

    Attributes:
        ap, ap50, ap75: average precision over IoU 0.50:0.95, at 0.50, at 0.75; mean over classes.
        ap_s, ap_m, ap_l: AP of objects below 32^2, up to 96^2, and above, px^2.
        ar_1, ar_10, ar_100: average recall with that many boxes per image.
        ar_s, ar_m, ar_l: average recall with 100 boxes, by size.
        n_images, n_boxes: images, and predicted boxes, that were counted.
        per_class: by name, in the order of the data set.
    """

    ap: float | None
    ap50: float | None
    ap75: float | None
    ap_s: float | None
    ap_m: float | None
    ap_l: float | None
    ar_1: float | None
    ar_10: float | None
    ar_100: float | None
    ar_s: float | None
    ar_m: float | None
    ar_l: float | None
    n_images: int
    n_boxes: int
    per_class: dict[str, ClassAp]

    def to_dict(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        return asdict(self)


def coco_results(
    image_id: int, detections: Detections, category_ids: Sequence[int] | Mapping[int, int]
) -> list[dict[str, Any]]:
    """One image's boxes in COCO's result format.

    Args:
        image_id: the image's number in the data set.
        detections: boxes in px of the original image.
        category_ids: COCO category number by class_id of the detections.
    """
    rows = zip(
        xyxy_to_ltwh(detections.xyxy).tolist(),
        detections.confidence.tolist(),
        detections.class_id.tolist(),
        strict=True,
    )
    return [
        {"image_id": image_id, "category_id": category_ids[class_id], "bbox": ltwh, "score": confidence}
        for ltwh, confidence, class_id in rows
    ]


def coco_map(
    dataset: LabelledImages, predictions: Sequence[dict[str, Any]], classes: Sequence[str | int] | None = None
) -> CocoMap:
    """Score predictions.

    Args:
        dataset: images with labels.
        predictions: records {image_id, category_id, bbox (ltwh px), score}, as `coco_results` makes them.
        classes: names or numbers of the data set's classes to score; None scores all.

    Raises:
        MissingExtraError: faster-coco-eval is not installed.
        ConfigError: a class that the data set has not.
        DatasetError: a prediction for an image that the data set has not.
    """
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError as error:
        raise MissingExtraError("faster-coco-eval", "eval", "COCO AP") from error
    chosen = range(len(dataset.class_names)) if classes is None else class_ids(classes, dataset.class_names)
    if not chosen:
        raise UsageError("classes: wanted at least one class to score, found none")
    known = {image.image_id for image in dataset.images}
    stranger = next((p["image_id"] for p in predictions if p["image_id"] not in known), None)
    if stranger is not None:
        raise DatasetError(f"predictions: image {stranger} is not among the {len(known)} images of {dataset.path}")
    category_ids = [dataset.category_ids[index] for index in chosen]
    scored = [p for p in predictions if p["category_id"] in set(category_ids)]
    truth = COCO(dataset.as_coco())
    # Copies: loadRes writes into the records that it is given.
    evaluation = COCOeval_faster(truth, truth.loadRes([dict(p) for p in scored]), iouType="bbox")
    evaluation.params.catIds = category_ids
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    precision = np.asarray(evaluation.eval["precision"])
    per_class = {
        dataset.class_names[index]: ClassAp(_mean(precision[:, :, k, 0, -1]), _mean(precision[0, :, k, 0, -1]))
        for k, index in enumerate(chosen)
    }
    stats = {name: _known(value) for name, value in zip(_STATS, evaluation.stats, strict=False)}
    return CocoMap(**stats, n_images=len(dataset.images), n_boxes=len(scored), per_class=per_class)


def write_json(path: Path, value: Any) -> None:
    """Write a result or predictions as one JSON file; a reader never sees half of it."""
    write_whole(path, json.dumps(value) + "\n")


def _known(value: float) -> float | None:
    """COCO's evaluation says -1 where nothing counts."""
    return None if value < 0 else float(value)


def _mean(precision: NDArray[np.float64]) -> float | None:
    counted = precision[precision > -1]
    return float(counted.mean()) if counted.size else None
