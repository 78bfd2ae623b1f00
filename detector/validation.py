"""Measuring a detector on labelled images."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from detector.checkpoint import read_header
from detector.data.read import read_training_set
from detector.preprocess import Preprocess
from detector.zoo import resolve_weights
from pipeline.core.arrays import ImageArray
from pipeline.core.class_names import class_ids
from pipeline.core.detections import Detections
from pipeline.core.errors import DatasetError, UsageError
from pipeline.evaluation.coco_dataset import read_coco
from pipeline.evaluation.coco_map import CocoMap, coco_map, coco_results
from pipeline.evaluation.dataset import LabelledImage, LabelledImages

_log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with the number of images done, and of all."""


def reference_settings(weights: str) -> dict[str, Any]:
    """Fields of DetectorConfig with which the publishers of the weights' family measured AP.

    Args:
        weights: PyTorch weights: a file, or a name of the zoo.

    Raises:
        CheckpointError: the weights cannot be had or read.
    """
    return published_settings(read_header(resolve_weights(weights)).preprocess)


def published_settings(preprocess: Preprocess) -> dict[str, Any]:
    """The same for a family, told by what its networks take."""
    if preprocess == "yolox":
        return {"conf_thres": 0.01, "iou_thres": 0.65, "multi_label": False, "rect": False}
    return {"conf_thres": 0.001, "iou_thres": 0.65, "multi_label": True, "rect": True}


class ImageDetector(Protocol):
    """What is measured: YoloDetector, or a network under training behind the same two names."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names by class_id."""

    def detect_images(self, images: Sequence[ImageArray]) -> list[Detections]:
        """Boxes of each BGR image, px of the image."""


@dataclass(frozen=True, slots=True)
class Validation:
    """What was measured.

    Attributes:
        result: AP and its parts.
        predictions: COCO result records of every box, before any restriction to classes.
        unmatched_detector: classes of the detector that the data set has not; their boxes were left out.
        unmatched_dataset: scored classes of the data set that the detector does not know; their AP is 0.
    """

    result: CocoMap
    predictions: list[dict[str, Any]]
    unmatched_detector: tuple[str, ...]
    unmatched_dataset: tuple[str, ...]


def read_dataset(path: Path, split: str = "val", images_dir: Path | None = None) -> LabelledImages:
    """Labels to measure against.

    Args:
        path: a COCO .json, which must be without fault; or a data.yaml or a folder in VOC's layout, of which what
            cannot be used is left out with a warning, as in training. Images of these are numbered from 0.
        split: which one of a data.yaml or a folder.
        images_dir: where the images of a COCO .json are.

    Raises:
        DatasetError: none of these, or it cannot be used.
        UsageError: `images_dir` for anything but a COCO .json.
    """
    if path.suffix.lower() == ".json":
        return read_coco(path, images_dir)
    if images_dir is not None:
        raise UsageError(f"--images: wanted a COCO .json with it, found {path}; name `images` in the data.yaml instead")
    dataset, report = read_training_set(path, split)
    if report.bad:
        _log.warning("%s, %s: %s; `tracklight dataset check` tells which", path, split, report.counts_text())
    return dataset.as_labelled()


def validate(
    detector: ImageDetector,
    dataset: LabelledImages,
    *,
    classes: Sequence[str | int] | None = None,
    batch_size: int = 1,
    progress: Progress | None = None,
) -> Validation:
    """Run the detector over a data set and score its boxes by COCO's rules.

    Classes are matched by name, so a model of 80 classes can be measured on a data set that has six of them.

    Args:
        detector: what is measured, with the thresholds that it was made with; see `reference_settings`.
        dataset: from `read_dataset`.
        classes: names or numbers of the data set's classes to score; None scores all.
        batch_size: images per call of the detector.
        progress: told after every batch.

    Raises:
        MissingExtraError: faster-coco-eval is not installed.
        ConfigError: a class that the data set has not.
        DatasetError: an image cannot be opened, or no class is common to detector and data set.
    """
    wanted = class_ids(classes, dataset.class_names) if classes is not None else range(len(dataset.class_names))
    scored = (dataset.class_names[index] for index in wanted)
    unknown = tuple(name for name in scored if name not in detector.class_names)
    if unknown:
        _log.warning("the detector does not know these classes of the data: %s", ", ".join(unknown))
    category_of = _categories(detector.class_names, dataset)
    known = np.isin(np.arange(len(detector.class_names)), list(category_of))
    predictions: list[dict[str, Any]] = []
    done = 0
    for part in _parts(dataset.images, batch_size):
        for image, found in zip(part, detector.detect_images([_pixels(image) for image in part]), strict=True):
            matched = found.select(known[found.class_id])
            predictions += coco_results(image.image_id, matched, category_of)
        done += len(part)
        if progress is not None:
            progress(done, len(dataset.images))
    return Validation(
        result=coco_map(dataset, predictions, classes),
        predictions=predictions,
        unmatched_detector=tuple(name for name in detector.class_names if name not in dataset.class_names),
        unmatched_dataset=unknown,
    )


def _categories(detector_names: Sequence[str], dataset: LabelledImages) -> dict[int, int]:
    """The data set's category number by class_id of the detector, for the names that both have."""
    number_of = dict(zip(dataset.class_names, dataset.category_ids, strict=True))
    categories = {index: number_of[name] for index, name in enumerate(detector_names) if name in number_of}
    if not categories:
        raise DatasetError(
            f"{dataset.path}: wanted classes that the detector knows ({', '.join(detector_names[:5])}, ...), "
            f"found: {', '.join(dataset.class_names[:5])}"
        )
    return categories


def _parts(images: Sequence[LabelledImage], size: int) -> Iterator[Sequence[LabelledImage]]:
    for begin in range(0, len(images), size):
        yield images[begin : begin + size]


def _pixels(image: LabelledImage) -> ImageArray:
    pixels = cv2.imread(str(image.path))
    if pixels is None:
        state = "a file that cannot be decoded" if image.path.exists() else "no file"
        raise DatasetError(f"{image.path}: wanted an image, found {state}")
    if pixels.shape[:2] != image.shape_hw:
        raise DatasetError(
            f"{image.path}: wanted the {image.shape_hw} px (h, w) that the labels speak of, found {pixels.shape[:2]}"
        )
    return np.asarray(pixels, np.uint8)
