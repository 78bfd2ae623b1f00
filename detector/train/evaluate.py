"""Measuring the averaged network between epochs."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from detector.backends.eager import EagerBackend, EagerConfig
from detector.data.augment import AugmentConfig
from detector.data.image_store import ImageStore
from detector.data.loader import EpochBatches, TrainingPictures, training_loader
from detector.data.training_set import TrainingSet
from detector.detector import DetectorConfig, YoloDetector
from detector.models import DetectionModel
from detector.open_network import OpenedNetwork
from detector.train.step import DetectionLoss, network_input
from detector.validation import validate
from pipeline.evaluation.coco_map import CocoMap

UNCHANGED = AugmentConfig(mosaic=0, hsv_h=0, hsv_s=0, hsv_v=0, translate=0, scale=(1, 1), flip_lr=0)
"""Pictures as they are."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one validation gave.

    Attributes:
        coco: average precision by COCO's rules.
        losses: mean losses per image over the validation split, by name.
    """

    coco: CocoMap
    losses: dict[str, float]

    @property
    def fitness(self) -> float:
        """What is made as large as possible: 0.1 AP50 + 0.9 AP, as published for YOLOv7."""
        return 0.1 * (self.coco.ap50 or 0.0) + 0.9 * (self.coco.ap or 0.0)


class Evaluator:
    """Validates networks of one run.

    Args:
        dataset: the validation split.
        class_names: of the network.
        side: of the network's input, px.
        device: where it runs.
        loss: the loss whose parts are told; None tells none.
        batch_size: images at a time.
    """

    def __init__(
        self,
        dataset: TrainingSet,
        class_names: Sequence[str],
        side: int,
        device: torch.device,
        loss: DetectionLoss | None,
        batch_size: int = 16,
    ) -> None:
        self._dataset = dataset
        self._labelled = dataset.as_labelled()
        self._class_names = tuple(class_names)
        self._side = side
        self._device = device
        self._loss = loss
        self._batch_size = batch_size
        self._store = ImageStore(dataset.images, side)

    def detector(self, model: DetectionModel, *, conf_thres: float = 0.001) -> YoloDetector:
        """The network behind the interface of every detector; `model` is not changed."""
        backend = EagerBackend(model, EagerConfig(device=str(self._device), cuda_graphs=False))
        config = DetectorConfig(
            conf_thres=conf_thres,
            iou_thres=0.65,
            multi_label=model.preprocess == "yolov7",
            rect=True,
            max_candidates=4096,
        )
        side_hw = (self._side, self._side)
        return YoloDetector(config, network=OpenedNetwork(backend, self._class_names, side_hw, model.preprocess))

    def measure(self, model: DetectionModel) -> Measured:
        """Average precision and losses of a network in evaluation mode.

        Raises:
            MissingExtraError: faster-coco-eval is not installed.
        """
        measured = validate(self.detector(model), self._labelled, batch_size=self._batch_size)
        return Measured(measured.result, self._losses(model) if self._loss else {})

    @torch.inference_mode()
    def _losses(self, model: DetectionModel) -> dict[str, float]:
        """Means over images; every candidate answers for its object, so that figures of all epochs compare."""
        if self._loss is None:
            return {}
        pictures = TrainingPictures(self._dataset, self._store, UNCHANGED, 0, 0)
        shapes = [image.shape_hw for image in self._dataset.images]
        count = min(self._batch_size, len(shapes))
        batches = EpochBatches(shapes, count, self._side, model.max_stride, 0)
        sums: dict[str, float] = defaultdict(float)
        for batch in training_loader(pictures, batches, workers=0):
            images = network_input(batch.images, self._device, model.preprocess, torch.channels_last)
            loss = self._loss(model.raw(images), batch.targets.to(self._device))
            for name, value in loss.parts.items():
                sums[name] += float(value) / len(batches)
        return dict(sums)


def better(a: float, b: float) -> bool:
    """Whether fitness a is better than b; nothing is worse than no number."""
    return not math.isnan(a) and (math.isnan(b) or a > b)
