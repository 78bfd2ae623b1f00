"""Charts and pictures of what a detector finds in a validation set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from detector.train.confusion import ConfusionMatrix, inside
from detector.train.pictures import Compared, draw_predictions
from detector.train.plots import plot_confidence, plot_confusion, plot_precision_recall
from detector.validation import ImageDetector
from pipeline.core.arrays import ImageArray, IntArray
from pipeline.core.boxes import ltwh_to_xyxy
from pipeline.core.detections import Detections
from pipeline.core.errors import DatasetError
from pipeline.evaluation.dataset import LabelledImage, LabelledImages
from pipeline.evaluation.precision_recall import IOU_LEVELS, PrecisionRecall, match_predictions, precision_recall

_MAX_PICTURES = 16


def summarise(folder: Path, detector: ImageDetector, dataset: LabelledImages, names: Sequence[str]) -> PrecisionRecall:
    """Run a detector over a validation set and write pr_curve.png, confidence.png, confusion.png and predictions.jpg.

    Classes are matched by name; boxes of classes that the data have not are left out. A box in a crowd, or in another
    ignored place, that belongs to no label counts neither for nor against.

    Args:
        folder: where the files go; made if need be.
        detector: with a low confidence threshold, such as 0.001: the curves end where its boxes end.
        dataset: the validation set, with at least one image.
        names: what the charts call the classes of the data set, by class_id.

    Returns:
        The curves; `best_confidence` is where F1 is best.

    Raises:
        MissingExtraError: matplotlib is not installed.
        DatasetError: an image cannot be opened.
        OSError: a file cannot be written.
    """
    of_data = _class_id_of_data(detector.class_names, dataset.class_names)
    confusion = ConfusionMatrix(len(dataset.class_names))
    compared: list[Compared] = []
    shown = set(np.linspace(0, len(dataset.images) - 1, _MAX_PICTURES).round().astype(int).tolist())
    right, scored, labels = [np.zeros((0, len(IOU_LEVELS)), np.bool_)], [Detections.empty()], [np.zeros(0, np.int64)]
    for number, image in enumerate(dataset.images):
        pixels = _pixels(image)
        (raw,) = detector.detect_images([pixels])
        found = _renumbered(raw, of_data)
        everything = ltwh_to_xyxy(image.ltwh).astype(np.float32)
        xyxy, class_id = everything[~image.crowd], image.class_id[~image.crowd]
        crowds, crowd_class = everything[image.crowd], image.class_id[image.crowd]
        confusion.update(found, xyxy, class_id, crowds)
        hits = match_predictions(found.xyxy, found.class_id, xyxy, class_id)
        in_crowd = (inside(found.xyxy, crowds) & (found.class_id[:, None] == crowd_class)).any(axis=1)
        counted = hits.any(axis=1) | ~in_crowd
        right.append(hits[counted])
        scored.append(found.select(counted))
        labels.append(class_id)
        if number in shown:
            compared.append(Compared(pixels, xyxy, class_id, found))
    curves = precision_recall(
        np.concatenate(right),
        np.concatenate([found.confidence for found in scored]),
        np.concatenate([found.class_id for found in scored]),
        np.concatenate(labels),
    )
    plot_precision_recall(curves, names, folder / "pr_curve.png")
    plot_confidence(curves, names, folder / "confidence.png")
    plot_confusion(confusion.matrix, names, folder / "confusion.png")
    draw_predictions(compared, names, folder / "predictions.jpg", _MAX_PICTURES)
    return curves


def _class_id_of_data(detector_names: Sequence[str], data_names: Sequence[str]) -> IntArray:
    """The data set's class_id by the detector's; -1 for classes that the data have not."""
    number_of = {name: number for number, name in enumerate(data_names)}
    return np.array([number_of.get(name, -1) for name in detector_names], np.int64)


def _renumbered(found: Detections, class_id_of_data: IntArray) -> Detections:
    """Boxes by falling confidence, with the data set's classes."""
    class_id = class_id_of_data[found.class_id]
    order = np.argsort(-found.confidence, kind="stable")
    return Detections(found.xyxy, found.confidence, class_id).select(order[class_id[order] >= 0])


def _pixels(image: LabelledImage) -> ImageArray:
    pixels = cv2.imread(str(image.path))
    if pixels is None:
        raise DatasetError(f"{image.path}: wanted an image, found a file that cannot be read any more")
    return np.asarray(pixels, np.uint8)
